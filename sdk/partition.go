package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/internal/crashpoint"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// partitionOf checks the order of partitions.
func (a *attempt) partitionOf(m *pb.BeginPartition) (Partition, error) {
	p, err := protocol.PartitionFromProto(m)
	switch {
	case err != nil:
		return p, err
	case a.prepared:
		return p, fmt.Errorf("partition %d is out of turn: the run is prepared", p.Index)
	case a.run.Repair == nil && p.Index != len(a.receipt.Partitions):
		return p, fmt.Errorf("partition %d is out of turn: %d is due", p.Index, len(a.receipt.Partitions))
	case a.run.Repair != nil && (p.Index < a.due || p.Index >= a.run.Repair.Partitions):
		return p, fmt.Errorf("partition %d is out of turn in a repair of %d: %d or a later one is due", p.Index, a.run.Repair.Partitions, a.due)
	case a.run.Stream == Events && p.Date == "":
		return p, fmt.Errorf("partition %d of events has no date", p.Index)
	case a.run.Stream != Events && (p.Date != "" || p.Index > 0):
		return p, fmt.Errorf("%s have one partition without a date", a.run.Stream)
	}
	a.dates[p.Date], a.due = true, p.Index+1
	if a.maxDays > 0 && len(a.dates) > a.maxDays {
		return p, fmt.Errorf("the run has more than %d days", a.maxDays)
	}
	return p, nil
}

// write passes one partition to the destination and checks its receipt.
func (a *attempt) write(ctx context.Context, m *pb.BeginPartition) error {
	if err := a.ready(); err != nil {
		return err
	}
	p, err := a.partitionOf(m)
	if err != nil {
		return Permanent(err)
	}
	in := &incoming{attempt: a, partition: p}
	in.reader = batch.NewReader(in.next, in.reject)
	receipt, err := a.project.destination.Write(ctx, a.run, p, in.reader)
	if in.err != nil {
		return in.err // Write's error only repeats it, or hides it
	}
	if err != nil {
		return err
	}
	if receipt, err = check(p, receipt, in.reader); err != nil {
		return Permanent(fmt.Errorf("bug in the destination: partition %d: %w", p.Index, err))
	}
	a.receipt.Partitions = append(a.receipt.Partitions, receipt)
	t := in.reader.Totals()
	a.totals.Rows += t.Rows
	a.totals.RowsBytes += t.RowsBytes
	a.totals.PayloadBytes += t.PayloadBytes
	return nil
}

// check compares a receipt with the rows that the reader has handed out.
func check(p Partition, got PartitionReceipt, r *batch.Reader) (PartitionReceipt, error) {
	sent := r.Totals()
	got.Index, got.Date = p.Index, p.Date
	if got.Rejected == 0 {
		got.Rejected = r.Rejected()
	}
	switch {
	case !r.Done():
		return got, errors.New("Write returned before the end of the partition")
	case got.Rejected != r.Rejected():
		return got, fmt.Errorf("it says that it rejected %d rows and has rejected %d", got.Rejected, r.Rejected())
	case got.Rows+got.Rejected != sent.Rows:
		return got, fmt.Errorf("it stored %d rows and rejected %d of %d", got.Rows, got.Rejected, sent.Rows)
	case got.Rejected > 0 || len(got.Changed) > 0:
		return got, nil
	case got.RowsBytes != 0 && got.RowsBytes != sent.RowsBytes:
		return got, fmt.Errorf("it stored %d bytes of rows of %d", got.RowsBytes, sent.RowsBytes)
	case got.RowsCRC32 != 0 && got.RowsCRC32 != sent.RowsCRC32:
		return got, fmt.Errorf("it stored rows with CRC-32 %08x, sent were %08x", got.RowsCRC32, sent.RowsCRC32)
	}
	return got, nil
}

// incoming is the stream as one partition's reader sees it.
type incoming struct {
	attempt   *attempt
	partition Partition
	reader    *batch.Reader
	err       error // why the partition was cut
}

// next returns the partition's next batch, or io.EOF after an EndPartition
// whose totals are right.
func (in *incoming) next() (*batch.Batch, error) {
	b, err := in.receive()
	if err != nil && !errors.Is(err, io.EOF) {
		in.err = err
	}
	return b, err
}

func (in *incoming) receive() (*batch.Batch, error) {
	if n := in.attempt.extents.taken(); n > 0 {
		if err := in.attempt.answer(&pb.ExportResponse{Message: &pb.ExportResponse_Taken{Taken: &pb.Taken{Bytes: n}}}); err != nil {
			return nil, err
		}
	}
	m, err := in.attempt.requests.Recv()
	if err != nil {
		return nil, errCut
	}
	switch m := m.GetMessage().(type) {
	case *pb.ExportRequest_Batch:
		crashpoint.Here("plugin.write")
		return in.batch(m.Batch)
	case *pb.ExportRequest_EndPartition:
		if want, got := protocol.TotalsFromProto(m.EndPartition.GetTotals()), in.reader.Totals(); want != got {
			return nil, Permanent(fmt.Errorf("partition %d: the host has sent %s, here are %s",
				in.partition.Index, describe(want), describe(got)))
		}
		return nil, io.EOF
	case *pb.ExportRequest_Abort:
		return nil, &abortError{discard: m.Abort.GetDiscard()}
	default:
		return nil, Permanent(fmt.Errorf("%T is out of turn: partition %d is open", m, in.partition.Index))
	}
}

func (in *incoming) batch(m *pb.Batch) (*batch.Batch, error) {
	if c := m.GetCodec(); c != pb.Codec_CODEC_NDJSON_DEFLATE {
		return nil, Permanent(fmt.Errorf("batch has codec %s, which was not offered", c))
	}
	if n := max(len(m.GetPayload()), int(m.GetExtent().GetLength())); n > batch.MaxPayload || m.GetRowsBytes() > batch.MaxRowsBytes {
		return nil, Permanent(fmt.Errorf("batch has %d bytes of payload and %d of rows, at most %d and %d",
			n, m.GetRowsBytes(), batch.MaxPayload, batch.MaxRowsBytes))
	}
	payload, err := in.payload(m)
	if err != nil {
		return nil, err
	}
	b := &batch.Batch{
		Rows: int(m.GetRows()), Payload: payload, RowsBytes: int(m.GetRowsBytes()),
		RowsCRC32: m.GetRowsCrc32(), Flags: batch.Flags(m.GetFlags()),
	}
	if err := b.Check(); err != nil {
		return nil, Permanent(err)
	}
	return b, nil
}

// payload returns the payload of a batch, compared with its checksum: the one that
// was sent, or the one at the place that was sent instead.
func (in *incoming) payload(m *pb.Batch) ([]byte, error) {
	if m.GetExtent() != nil {
		return in.attempt.extents.read(protocol.ExtentFromProto(m.GetExtent()), m.GetPayloadCrc32C())
	}
	if sum := protocol.PayloadCRC32C(m.GetPayload()); sum != m.GetPayloadCrc32C() {
		return nil, Retryable(fmt.Errorf("batch was damaged on its way: CRC-32C of its payload is %08x, not %08x",
			sum, m.GetPayloadCrc32C()), 0)
	}
	return m.GetPayload(), nil
}

func (in *incoming) reject(row uint64, reason string, line []byte) error {
	return in.attempt.answer(&pb.ExportResponse{Message: &pb.ExportResponse_Rejected{
		Rejected: protocol.RejectedToProto(protocol.RejectedRow{
			Partition: in.partition.Index, Row: row, Reason: reason, Line: line,
		}),
	}})
}

func describe(t batch.Totals) string {
	return fmt.Sprintf("%d rows of %d bytes (CRC-32 %08x) in %d bytes of payload", t.Rows, t.RowsBytes, t.RowsCRC32, t.PayloadBytes)
}
