package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// part is one partition of a run, with the totals of the rows that were sent.
type part struct {
	pipeline.Part
	sent    protocol.Totals
	refused uint64
}

// transfer is the state of one attempt: the rows sent so far, by partition, and
// the refused ones.
type transfer struct {
	job      Job
	lease    pipeline.Lease
	refusals Refusals
	progress func(run *pipeline.Run, rows, bytes int64)
	pace     func(ctx context.Context, bytes int) error
	store    Store
	wait     func(ctx context.Context, d time.Duration) error
	places   Places // nil: every payload is sent
	parts    []part
	rows     int64
	bytes    int64
}

func newTransfer(job Job, lease pipeline.Lease, refusals Refusals, x *Exporter) *transfer {
	progress := x.Progress
	if progress == nil {
		progress = func(*pipeline.Run, int64, int64) {}
	}
	pace := x.Pace
	if pace == nil {
		pace = func(context.Context, int) error { return nil }
	}
	return &transfer{
		job: job, lease: lease, refusals: refusals, progress: progress, pace: pace, store: x.Store, wait: x.Wait, places: x.Places, parts: partsOf(job),
	}
}

// partsOf returns the partitions of a job's run, with nothing sent.
func partsOf(job Job) (parts []part) {
	for _, p := range job.Run.Parts(job.Destination.Partitioning() == protocol.ByProjectDate) {
		parts = append(parts, part{Part: p})
	}
	return parts
}

// run opens the stream and either sends everything and commits, or finds the
// run committed and takes the receipt that the destination kept.
func (t *transfer) run(ctx context.Context, x *Exporter) (pipeline.Receipt, error) {
	session, err := t.job.Destination.Export(ctx, t.reject)
	if err != nil {
		return pipeline.Receipt{}, err
	}
	defer session.Close()
	receipt, err := t.converse(ctx, session, x)
	if err != nil {
		limit := abortTimeout
		if ctx.Err() != nil {
			limit = stopTimeout
		}
		abort, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		// The attempt's error names the cause; an error of Abort would only hide
		// it.
		_ = session.Abort(abort, false)
		return pipeline.Receipt{}, withLog(err, session)
	}
	return receipt, nil
}

func (t *transfer) converse(ctx context.Context, session Session, x *Exporter) (pipeline.Receipt, error) {
	run := t.protocolRun()
	last, err := session.Open(ctx, run)
	if err != nil {
		return pipeline.Receipt{}, t.refused(ctx, run, err)
	}
	if last.Number >= run.Number {
		return t.committedEarlier(ctx, session, run)
	}
	if err := t.follows(last); err != nil {
		return pipeline.Receipt{}, err
	}
	if err := t.send(ctx, session, x); err != nil {
		return pipeline.Receipt{}, err
	}
	prepared, err := session.Prepare(ctx, t.totals())
	if err != nil {
		return pipeline.Receipt{}, err
	}
	if err := t.verify(prepared); err != nil {
		return pipeline.Receipt{}, fmt.Errorf("prepared receipt: %w", err)
	}
	if err := t.refusals.Commit(); err != nil {
		return pipeline.Receipt{}, fmt.Errorf("keep refused rows: %w", err)
	}
	receipt := t.receipt(prepared)
	if err := t.store.RecordPrepared(ctx, t.lease, receipt); err != nil {
		return pipeline.Receipt{}, fmt.Errorf("record the prepared receipt: %w", err)
	}
	t.job.Run.Prepared = &receipt
	crashpoint.Here("export.prepared")
	return t.commit(ctx, session, run)
}

// commit requests the commit. If the answer is lost, it asks the destination
// for the run's status.
func (t *transfer) commit(ctx context.Context, session Session, run protocol.Run) (pipeline.Receipt, error) {
	committed, err := session.Commit(ctx)
	if err == nil {
		if err := t.verify(committed); err != nil {
			return pipeline.Receipt{}, fmt.Errorf("committed receipt: %w", err)
		}
		return t.receipt(committed), nil
	}
	status, statusErr := t.settled(ctx, run)
	if statusErr != nil || status.State != protocol.Committed {
		return pipeline.Receipt{}, errors.Join(err, statusErr)
	}
	receipt, ownErr := t.own(ctx, status)
	if ownErr != nil {
		return pipeline.Receipt{}, errors.Join(err, ownErr)
	}
	return receipt, nil
}

// committedEarlier takes the receipt of a run that an earlier attempt
// committed.
func (t *transfer) committedEarlier(ctx context.Context, session Session, run protocol.Run) (pipeline.Receipt, error) {
	status, err := t.settled(ctx, run)
	if err != nil {
		return pipeline.Receipt{}, fmt.Errorf("status of the committed run: %w", err)
	}
	if status.State != protocol.Committed {
		return pipeline.Receipt{}, permanent("the destination reported run %d as committed when it was opened, and now reports it as %s", run.Number, status.State)
	}
	receipt, err := t.own(ctx, status)
	if err != nil {
		return pipeline.Receipt{}, err
	}
	return receipt, session.Abort(ctx, false)
}

// statusPauses are the pauses between Status calls while a run is in doubt: a
// minute in all. Then the attempt ends, and the next one claims the target with
// a newer fence.
var statusPauses = []time.Duration{
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second,
	15 * time.Second, 30 * time.Second,
}

// statusFailures is the number of consecutive Status calls that may fail before
// the attempt ends. Each of them may take a minute. The next attempt asks
// again.
const statusFailures = 3

// settled asks for the status of a run until it is not in doubt.
func (t *transfer) settled(ctx context.Context, run protocol.Run) (protocol.Status, error) {
	failed := 0
	for asked := 0; ; asked++ {
		status, err := t.job.Destination.Status(ctx, run)
		switch {
		case err == nil && status.State != protocol.InDoubt:
			return status, nil
		case err == nil:
			failed = 0
			err = &protocol.Error{Class: protocol.Retryable, Err: fmt.Errorf("the destination does not know yet whether run %d is committed", run.Number)}
		case !Retryable(err):
			return protocol.Status{}, err
		default:
			failed++
		}
		if failed == statusFailures {
			return protocol.Status{}, err
		}
		if asked == len(statusPauses) {
			return protocol.Status{}, err
		}
		if waitErr := t.wait(ctx, statusPauses[asked]); waitErr != nil {
			return protocol.Status{}, errors.Join(err, waitErr)
		}
	}
}

// send streams all partitions.
func (t *transfer) send(ctx context.Context, session Session, x *Exporter) error {
	for i := range t.parts {
		if err := t.sendPartition(ctx, session, x, i); err != nil {
			return err
		}
	}
	return nil
}

// sendPartition streams one partition.
func (t *transfer) sendPartition(ctx context.Context, session Session, x *Exporter, index int) error {
	p := &t.parts[index]
	if err := session.BeginPartition(ctx, protocol.Partition{Index: index, Date: p.Date}); err != nil {
		return p.failed(err)
	}
	if err := t.sendPart(ctx, session, x, p); err != nil {
		return err
	}
	if err := session.EndPartition(ctx, p.sent); err != nil {
		return p.failed(err)
	}
	return nil
}

func (t *transfer) sendPart(ctx context.Context, session Session, x *Exporter, p *part) error {
	send := func(b journal.Block) error { return t.sendBlock(ctx, session, p, b) }
	if g := t.job.Run.Generation; g != nil {
		if err := x.Generations.Generation(ctx, t.job.Pipeline.Stream, g.Blob, send); err != nil {
			return fmt.Errorf("generation %s: %w", g.Blob, err)
		}
		return nil
	}
	for _, e := range p.Extents {
		var err error
		if session.Extents() {
			err = t.places.Places(ctx, e.Ref, func(b journal.Block, at journal.Place) error { return t.sendPlace(ctx, session, p, b, at) })
		} else {
			err = x.Blocks.Extent(ctx, e.Ref, send)
		}
		if err != nil {
			return p.failed(inSegment(err, e.Ref.Seq))
		}
	}
	return nil
}

// failed names the partition in an error of the host. An error of the plugin has no such
// name: it arrives while a later partition is sent, and its own text names the place.
func (p *part) failed(err error) error {
	if isOfPlugin(err) {
		return err
	}
	return fmt.Errorf("partition %s: %w", p.Date, err)
}

// inSegment names the segment in an error of the host, as failed names the partition.
func inSegment(err error, seq int64) error {
	if isOfPlugin(err) {
		return err
	}
	return fmt.Errorf("segment %d: %w", seq, err)
}

// isOfPlugin reports whether a plugin has reported an error.
func isOfPlugin(err error) bool {
	var e *protocol.Error
	return errors.As(err, &e)
}

// sendBlock sends a block with its payload.
func (t *transfer) sendBlock(ctx context.Context, session Session, p *part, b journal.Block) error {
	return t.sendBatch(ctx, p, b, len(b.Payload), func(sent *batch.Batch) error {
		sent.Payload = b.Payload
		return session.SendWithChecksum(ctx, sent, b.Checksum)
	})
}

// sendPlace sends a block with the place of its payload.
func (t *transfer) sendPlace(ctx context.Context, session Session, p *part, b journal.Block, at journal.Place) error {
	return t.sendBatch(ctx, p, b, at.Length, func(sent *batch.Batch) error {
		return session.SendExtent(ctx, sent, b.Checksum, protocol.Extent{File: at.Blob, Offset: at.Offset, Length: at.Length})
	})
}

// sendBatch waits for the pace, sends a block by send, and counts it. length is that
// of its payload in bytes.
func (t *transfer) sendBatch(ctx context.Context, p *part, b journal.Block, length int, send func(*batch.Batch) error) error {
	if err := t.pace(ctx, length); err != nil {
		return err
	}
	if err := send(&batch.Batch{Rows: b.Rows, RowsBytes: b.RowsBytes, RowsCRC32: b.RowsCRC32, Flags: b.Flags}); err != nil {
		return err
	}
	p.sent.Append(protocol.Totals{Rows: uint64(b.Rows), RowsBytes: uint64(b.RowsBytes), RowsCRC32: b.RowsCRC32, PayloadBytes: uint64(length)})
	t.rows += int64(b.Rows)
	t.bytes += int64(length)
	t.progress(t.job.Run, t.rows, t.bytes)
	crashpoint.Here("export.streaming")
	return nil
}

// reject adds rows that the destination refuses to the quarantine.
func (t *transfer) reject(rows []protocol.RejectedRow) error {
	for _, r := range rows {
		if r.Partition < 0 || r.Partition >= len(t.parts) {
			return permanent("the plugin rejected a row of partition %d, and there are %d", r.Partition, len(t.parts))
		}
		if err := t.refusals.Add(t.parts[r.Partition].Date, r); err != nil {
			return fmt.Errorf("keep a refused row: %w", err)
		}
		t.parts[r.Partition].refused++
	}
	return nil
}

func (t *transfer) protocolRun() protocol.Run {
	mode := protocol.Append
	if t.job.Pipeline.Stream != batch.Events {
		mode = protocol.Replace
	}
	run := protocol.Run{
		ProjectID: t.job.Pipeline.ProjectID, Pipeline: t.job.Pipeline.Name, PipelineID: t.job.Pipeline.ID,
		Stream: t.job.Pipeline.Stream, Mode: mode, Number: t.job.Run.Number, Content: t.job.Run.Content,
		Fence: t.lease.Fence, Adopt: t.job.Pipeline.Adopt, AsOf: t.job.Run.AsOf,
	}
	if t.places != nil {
		run.Extents = t.places.Root()
	}
	return run
}

// totals sums up all partitions.
func (t *transfer) totals() protocol.Totals {
	var sum protocol.Totals
	for _, p := range t.parts {
		sum.Rows += p.sent.Rows
		sum.RowsBytes += p.sent.RowsBytes
		sum.PayloadBytes += p.sent.PayloadBytes
	}
	return sum
}
