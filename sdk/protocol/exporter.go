package protocol

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync/atomic"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/batch"
)

// castagnoli is the table of payload_crc32c.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PayloadCRC32C is the checksum that goes with a payload.
func PayloadCRC32C(payload []byte) uint32 { return crc32.Checksum(payload, castagnoli) }

var (
	errClosed = errors.New("the export was closed")
	errEnded  = &Error{Class: Retryable, Err: fmt.Errorf("%w: the plugin ended the stream", ErrLost)}
)

// Exporter carries out one run: Open, then for each partition BeginPartition,
// Send …, EndPartition, then Prepare and Commit. It is for one goroutine.
//
// A call that ends with an error ends the export: a call whose context ends
// before its answer cuts the stream, which is an abort. Close must be called
// in any case.
type Exporter struct {
	stream   pb.DestinationService_ExportClient
	cancel   context.CancelCauseFunc
	rejected func([]RejectedRow) error
	answers  chan *pb.ExportResponse
	count    atomic.Uint64

	extents bool   // Opened.extents
	ahead   credit // of extents

	done chan struct{} // closed when the receiver has ended
	err  error         // why, set before done is closed

	request pb.ExportRequest // used again for each batch
	batch   pb.ExportRequest_Batch
}

// Export begins an export. ctx is that of the whole export. rejected is called
// with the rows that the destination does not take, one call at a time, from
// another goroutine than the caller's; all calls are over when Prepare
// returns. An error of it cuts the stream. A nil rejected refuses rejections.
func (c *Client) Export(ctx context.Context, rejected func([]RejectedRow) error) (*Exporter, error) {
	if rejected == nil {
		rejected = func(rows []RejectedRow) error {
			return &Error{Class: Permanent, Err: fmt.Errorf("the destination rejected a row: %s", rows[0].Reason)}
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stream, err := c.rpc.Export(ctx)
	if err != nil {
		err = fromStatus(ctx, err)
		cancel(err)
		return nil, fmt.Errorf("export: %w", err)
	}
	e := &Exporter{
		stream: stream, cancel: cancel, rejected: rejected,
		answers: make(chan *pb.ExportResponse, 1), done: make(chan struct{}), ahead: newCredit(),
	}
	e.batch.Batch = new(pb.Batch)
	go e.receive(ctx)
	return e, nil
}

// receive runs until the stream is over. ctx is the stream's, before gRPC has
// derived its own from it.
func (e *Exporter) receive(ctx context.Context) {
	defer close(e.done)
	for e.err == nil {
		answer, err := e.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			e.err = io.EOF
		case err != nil:
			e.err = fromStatus(ctx, err)
		case answer.GetRejected() != nil:
			e.err = e.take(answer.GetRejected())
		case answer.GetTaken() != nil:
			e.err = e.ahead.taken(answer.GetTaken().GetBytes())
		default:
			e.err = e.deliver(answer)
		}
	}
	e.cancel(e.err)
}

func (e *Exporter) deliver(answer *pb.ExportResponse) error {
	select {
	case e.answers <- answer:
		return nil
	default:
		return &Error{Class: Permanent, Err: errors.New("the plugin sent an answer that was not asked for")}
	}
}

func (e *Exporter) take(r *pb.Rejected) error {
	rows := each(r.GetRows(), rejectedFromProto)
	if len(rows) == 0 {
		return nil
	}
	e.count.Add(uint64(len(rows)))
	return e.rejected(rows)
}

// Rejected counts the rows that were rejected so far.
func (e *Exporter) Rejected() uint64 { return e.count.Load() }

// Open claims the target for a run and returns the pipeline's last committed
// one. When its number is this run's or a later one nothing is to be sent:
// Close, and ask Status.
func (e *Exporter) Open(ctx context.Context, run Run) (LastRun, error) {
	request := &pb.ExportRequest{Message: &pb.ExportRequest_Open{Open: openToProto(run)}}
	answer, err := e.ask(ctx, request)
	if err == nil && answer.GetOpened() == nil {
		err = outOfTurn("Opened", answer)
	}
	if err != nil {
		return LastRun{}, fmt.Errorf("open run %d: %w", run.Number, err)
	}
	e.extents = run.Extents != "" && answer.GetOpened().GetExtents()
	return lastRunFromProto(answer.GetOpened()), nil
}

// Extents reports whether the plugin takes SendExtent. It is known after Open.
func (e *Exporter) Extents() bool { return e.extents }

// BeginPartition begins the next partition.
func (e *Exporter) BeginPartition(ctx context.Context, p Partition) error {
	err := e.send(ctx, &pb.ExportRequest{Message: &pb.ExportRequest_BeginPartition{
		BeginPartition: &pb.BeginPartition{Index: uint32(p.Index), Date: p.Date},
	}})
	if err != nil {
		return fmt.Errorf("begin partition %d: %w", p.Index, err)
	}
	return nil
}

// Send sends a batch of the open partition. It blocks while the plugin does
// not keep up. The batch may be used again after the call.
func (e *Exporter) Send(ctx context.Context, b *batch.Batch) error {
	return e.SendWithChecksum(ctx, b, PayloadCRC32C(b.Payload))
}

// SendWithChecksum is Send with the CRC-32C that the payload had when it was
// stored: the plugin then finds damage that happened since.
func (e *Exporter) SendWithChecksum(ctx context.Context, b *batch.Batch, crc32c uint32) error {
	return e.sendBatch(ctx, b, crc32c, nil)
}

// SendExtent sends a batch without its payload, which the plugin reads at a place in
// a file. crc32c is the CRC-32C of the payload as it was stored: an error of this
// call or a later one is ErrExtent if the plugin finds other bytes, or cannot read the
// file. It blocks while the plugin has 4 MiB or more of extents to take. The bytes at
// the place must not change before Prepare has returned; the file may be removed.
func (e *Exporter) SendExtent(ctx context.Context, b *batch.Batch, crc32c uint32, at Extent) error {
	if !e.extents {
		return fmt.Errorf("send extent: %w", &Error{Class: Permanent, Err: errors.New("the plugin takes payloads only")})
	}
	if err := e.awaitRoom(ctx); err != nil {
		return fmt.Errorf("send extent: %w", err)
	}
	e.ahead.sent(at.Length)
	return e.sendBatch(ctx, b, crc32c, &pb.Extent{File: at.File, Offset: uint64(at.Offset), Length: uint32(at.Length)})
}

func (e *Exporter) sendBatch(ctx context.Context, b *batch.Batch, crc32c uint32, at *pb.Extent) error {
	m := e.batch.Batch
	m.Rows, m.Codec, m.Payload, m.Extent = uint32(b.Rows), pb.Codec_CODEC_NDJSON_DEFLATE, b.Payload, at
	m.PayloadCrc32C, m.Flags = crc32c, uint32(b.Flags)
	m.RowsBytes, m.RowsCrc32 = uint64(b.RowsBytes), b.RowsCRC32
	e.request.Message = &e.batch
	if err := e.send(ctx, &e.request); err != nil {
		return fmt.Errorf("send batch: %w", err)
	}
	return nil
}

// awaitRoom waits until another extent may be sent.
func (e *Exporter) awaitRoom(ctx context.Context) error {
	for !e.ahead.room() {
		select {
		case <-e.ahead.changed:
		case <-ctx.Done():
			e.cancel(context.Cause(ctx))
			return context.Cause(ctx)
		case <-e.done:
			return e.over(ctx)
		}
	}
	return nil
}

// EndPartition ends the open partition, with the totals of the rows sent.
func (e *Exporter) EndPartition(ctx context.Context, t Totals) error {
	err := e.send(ctx, &pb.ExportRequest{Message: &pb.ExportRequest_EndPartition{
		EndPartition: &pb.EndPartition{Totals: totalsToProto(t)},
	}})
	if err != nil {
		return fmt.Errorf("end partition: %w", err)
	}
	return nil
}

// Prepare follows the last partition, with the totals over all partitions and
// RowsCRC32 0. It returns the receipt that the run will have after Commit,
// without dates.
func (e *Exporter) Prepare(ctx context.Context, t Totals) (Receipt, error) {
	request := &pb.ExportRequest{Message: &pb.ExportRequest_Prepare{Prepare: &pb.Prepare{Totals: totalsToProto(t)}}}
	answer, err := e.ask(ctx, request)
	if err == nil && answer.GetPrepared() == nil {
		err = outOfTurn("Prepared", answer)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("prepare: %w", err)
	}
	return receiptFromProto(answer.GetPrepared().GetReceipt()), nil
}

// Commit makes the run the last committed one. After an error that is
// ErrUnknown, which all are once something was sent, only Status knows whether
// it is.
func (e *Exporter) Commit(ctx context.Context) (Receipt, error) {
	if err := ctx.Err(); err != nil {
		return Receipt{}, fmt.Errorf("commit: %w", context.Cause(ctx))
	}
	answer, err := e.ask(ctx, &pb.ExportRequest{Message: &pb.ExportRequest_Commit{Commit: &pb.Commit{}}})
	if err == nil && answer.GetCommitted() == nil {
		err = outOfTurn("Committed", answer)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("commit: %w: %w", ErrUnknown, err)
	}
	return receiptFromProto(answer.GetCommitted().GetReceipt()), nil
}

// Abort ends the export without commit and waits until the plugin has done so.
// With discard the plugin removes the rows that the run has written; otherwise
// they stay for the next attempt.
func (e *Exporter) Abort(ctx context.Context, discard bool) error {
	err := e.send(ctx, &pb.ExportRequest{Message: &pb.ExportRequest_Abort{Abort: &pb.Abort{Discard: discard}}})
	if err == nil {
		if _, err = e.await(ctx); errors.Is(err, io.EOF) {
			return nil
		}
	}
	if err == nil {
		err = &Error{Class: Permanent, Err: errors.New("the plugin answered an abort")}
	}
	return fmt.Errorf("abort: %w", err)
}

// Close cuts the stream, unless the export is over, and waits until nothing
// of the export runs on this side. It may be called more than once.
func (e *Exporter) Close() {
	e.cancel(errClosed)
	<-e.done
}

func outOfTurn(want string, got *pb.ExportResponse) error {
	return &Error{Class: Permanent, Err: fmt.Errorf("the plugin answered %T where %s was due", got.GetMessage(), want)}
}

// ask sends a request and waits for its answer.
func (e *Exporter) ask(ctx context.Context, r *pb.ExportRequest) (*pb.ExportResponse, error) {
	if err := e.send(ctx, r); err != nil {
		return nil, err
	}
	answer, err := e.await(ctx)
	if errors.Is(err, io.EOF) {
		err = errEnded
	}
	return answer, err
}

// send returns the error that has ended the stream, if one has.
func (e *Exporter) send(ctx context.Context, r *pb.ExportRequest) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { e.cancel(context.Cause(ctx)) })
	defer stop()
	err := e.stream.Send(r)
	if err == nil {
		return nil
	}
	if !errors.Is(err, io.EOF) {
		return fromStatus(ctx, err)
	}
	<-e.done // the stream is over; the receiver knows why
	return e.over(ctx)
}

// over returns why the stream ended before the caller was done with it.
func (e *Exporter) over(ctx context.Context) error {
	if errors.Is(e.err, io.EOF) {
		return errEnded
	}
	return e.ended(ctx)
}

// await returns the next answer, or io.EOF when the plugin has ended the
// stream without an error.
func (e *Exporter) await(ctx context.Context) (*pb.ExportResponse, error) {
	select {
	case answer := <-e.answers:
		return answer, nil
	case <-ctx.Done():
		e.cancel(context.Cause(ctx))
		return nil, context.Cause(ctx)
	case <-e.done:
	}
	select {
	case answer := <-e.answers:
		return answer, nil
	default:
		return nil, e.ended(ctx)
	}
}

// ended returns the error that ended the receiver. If the caller's context has
// ended, it returns the context's error, which may have cut the stream.
func (e *Exporter) ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return e.err
}
