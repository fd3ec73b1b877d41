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

// Store records attempts at runs.
type Store interface {
	// AcquireRun leases the run to owner with a new fence.
	AcquireRun(ctx context.Context, pipelineID string, number int64, owner string, ttl time.Duration) (pipeline.Lease, error)
	// RenewRun extends a lease by ttl; pipeline.ErrLeaseLost when another
	// owner holds it.
	RenewRun(ctx context.Context, lease pipeline.Lease, ttl time.Duration) error
	// RaiseFence makes the next lease's fence greater than recorded, the fence
	// that the destination has; pipeline.ErrLeaseLost when the lease is not the catalog's
	// latest.
	RaiseFence(ctx context.Context, lease pipeline.Lease, recorded int64) error
	// RecordPrepared stores the receipt of the prepared run, before the commit
	// is requested; pipeline.ErrLeaseLost when the fence is not the latest.
	RecordPrepared(ctx context.Context, lease pipeline.Lease, receipt pipeline.Receipt) error
	// RecordReceipt marks the run as succeeded and moves the pipeline's cursor,
	// in one transaction; pipeline.ErrLeaseLost when the fence is not the latest.
	RecordReceipt(ctx context.Context, lease pipeline.Lease, receipt pipeline.Receipt) error
	// ReplaceRun gives a run that was never prepared the extents, the cursor and the
	// content of another plan, in one transaction; pipeline.ErrLeaseLost when the fence is
	// not the latest.
	ReplaceRun(ctx context.Context, lease pipeline.Lease, plan *pipeline.Run) error
	// RecordLog keeps the plugin's last log lines with an attempt that fails;
	// pipeline.ErrLeaseLost when the fence is not the latest.
	RecordLog(ctx context.Context, lease pipeline.Lease, lines []string) error
	// RecordFailure stores the reason why an attempt ended and the class of the
	// error, and releases the lease. With final the run's state becomes failed.
	RecordFailure(ctx context.Context, lease pipeline.Lease, reason, class string, final bool) error
}

// Blocks reads the journal.
type Blocks interface {
	// Extent calls fn with each block of an extent, in order. The block is
	// valid until fn returns.
	Extent(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block) error) error
}

// Places lists blocks of a journal whose files a plugin on this machine can open.
type Places interface {
	// Root is the absolute path of the files' directory; empty: they are elsewhere.
	Root() string
	// Places calls fn with each block of an extent, in order, without its payload,
	// and with the payload's place below Root.
	Places(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block, journal.Place) error) error
}

// Generations reads the sets that runs of people and identity export.
type Generations interface {
	// Generation calls fn with each block of a generation, in order. The block
	// is valid until fn returns.
	Generation(ctx context.Context, stream batch.Stream, blob string, fn func(journal.Block) error) error
}

// Session is one Export stream of a plugin.
type Session interface {
	Open(ctx context.Context, run protocol.Run) (protocol.LastRun, error)
	BeginPartition(ctx context.Context, p protocol.Partition) error
	// SendWithChecksum sends a batch with the CRC-32C of its payload, as it was
	// when the payload was stored.
	SendWithChecksum(ctx context.Context, b *batch.Batch, crc32c uint32) error
	// Extents reports, after Open, whether the plugin takes SendExtent.
	Extents() bool
	// SendExtent sends the place of a payload below Run.Extents instead of the
	// payload. An error of it, or of a later call, is protocol.ErrExtent if the
	// plugin cannot read the payload there or finds other bytes.
	SendExtent(ctx context.Context, b *batch.Batch, crc32c uint32, at protocol.Extent) error
	EndPartition(ctx context.Context, totals protocol.Totals) error
	Prepare(ctx context.Context, totals protocol.Totals) (protocol.Receipt, error)
	Commit(ctx context.Context) (protocol.Receipt, error)
	Abort(ctx context.Context, discard bool) error
	Close()
}

// Destination is a configured destination plugin.
type Destination interface {
	// Export opens a stream. rejected is called, from one goroutine, with rows
	// that the destination refuses; all calls are over when Prepare returns.
	Export(ctx context.Context, rejected func([]protocol.RejectedRow) error) (Session, error)
	Status(ctx context.Context, run protocol.Run) (protocol.Status, error)
	Partitioning() protocol.Partitioning
}

// Refusals keeps the rows that a destination refused, for one run.
type Refusals interface {
	Add(date string, row protocol.RejectedRow) error
	// Commit makes the added rows durable. They replace the rows of an earlier
	// attempt at the run. The exporter calls it before the destination's commit,
	// so that a crash between the two loses no row; a retry refuses the same
	// rows again.
	Commit() error
	// Discard removes the rows that were added and not committed. After Commit
	// it does nothing.
	Discard() error
}

// Exporter carries out runs.
type Exporter struct {
	Store       Store
	Blocks      Blocks
	Places      Places        // nil: every payload is sent
	Generations Generations   // needed for runs that have one
	Owner       string        // of leases: unique to this process
	LeaseTTL    time.Duration // several times the duration of a renewal
	Ticker      func(time.Duration) (tick <-chan time.Time, stop func())
	// Wait returns nil after d, or earlier with the context's error.
	Wait func(ctx context.Context, d time.Duration) error
	// Progress is called after each block with the rows and the compressed bytes
	// that the attempt has sent; nil: not called.
	Progress func(run *pipeline.Run, rows, bytes int64)
	// Pace is called before each block with its bytes as stored, and waits until they may
	// be sent. Its error ends the attempt; nil: blocks are sent as fast as the
	// destination takes them.
	Pace func(ctx context.Context, bytes int) error
}

// Job names a planned run, the pipeline that it belongs to and the destination
// that it goes to.
type Job struct {
	Pipeline    *pipeline.Pipeline
	Run         *pipeline.Run
	Destination Destination
	// Totals returns the rows, bytes and checksum of each of the run's parts, as
	// the journal lists them. Only a run that the destination has committed
	// without its content needs it.
	Totals func(ctx context.Context) ([]protocol.Totals, error)
	// Replan returns the plan of the pipeline's next run that has a content, which is that
	// of the run that the destination has committed in the place of Run; nil: the journal
	// holds no such run. A nil Replan ends the attempt at such a run with a *DivergedError.
	Replan func(ctx context.Context, content string) (*pipeline.Run, error)
	// Refusals opens the place for rows that the destination refuses.
	Refusals func() (Refusals, error)
}

// Do makes one attempt at the run. It returns the recorded receipt, or an
// error; Retryable reports whether another attempt may succeed.
func (x *Exporter) Do(ctx context.Context, job Job) (*pipeline.Receipt, error) {
	receipt, err := x.once(ctx, job)
	if errors.Is(err, errRaised) {
		receipt, err = x.once(ctx, job)
	}
	if errors.Is(err, protocol.ErrExtent) {
		return x.sending().once(ctx, job)
	}
	return receipt, err
}

// sending returns an exporter that sends every payload. It reads each block, so that
// damage is found here, and named.
func (x *Exporter) sending() *Exporter {
	s := *x
	s.Places = nil
	return &s
}

// once makes an attempt with one fence.
func (x *Exporter) once(ctx context.Context, job Job) (*pipeline.Receipt, error) {
	lease, err := x.Store.AcquireRun(ctx, job.Pipeline.ID, job.Run.Number, x.Owner, x.LeaseTTL)
	if err != nil {
		return nil, fmt.Errorf("lease run %d of pipeline %s: %w", job.Run.Number, job.Pipeline.Name, err)
	}
	leased, release := x.keep(ctx, func(ctx context.Context) error { return x.Store.RenewRun(ctx, lease, x.LeaseTTL) })
	receipt, err := x.attempt(leased, job, lease)
	if lost := release(); lost != nil && err != nil {
		err = errors.Join(lost, err)
	}
	if err != nil {
		err = fmt.Errorf("run %d of pipeline %s: %w", job.Run.Number, job.Pipeline.Name, withHint(err))
		return nil, errors.Join(err, x.fail(ctx, lease, err))
	}
	return receipt, nil
}

// attempt exports, or finds out that an earlier attempt did, and records.
func (x *Exporter) attempt(ctx context.Context, job Job, lease pipeline.Lease) (*pipeline.Receipt, error) {
	refusals, err := job.Refusals()
	if err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	t := newTransfer(job, lease, refusals, x)
	receipt, err := t.run(ctx, x)
	// After a commit the refused rows are durable, and Discard does nothing;
	// after a failed attempt it removes them.
	if err := errors.Join(err, refusals.Discard()); err != nil {
		return nil, err
	}
	crashpoint.Here("export.committed")
	if err := x.Store.RecordReceipt(ctx, lease, receipt); err != nil {
		return nil, fmt.Errorf("record receipt: %w", err)
	}
	return &receipt, nil
}

// fail records the attempt's error in the catalog, also when ctx has ended.
func (x *Exporter) fail(ctx context.Context, lease pipeline.Lease, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	reason, class := cause.Error(), classOf(cause).String()
	var unlogged error // the reason of the failure is recorded all the same
	if errors.Is(cause, pipeline.ErrPaused) {
		reason, class = "", "" // the attempt did not fail
	} else if lines := lastLog(cause); len(lines) > 0 {
		unlogged = ignoreLost(x.Store.RecordLog(ctx, lease, lines))
	}
	err := x.Store.RecordFailure(ctx, lease, reason, class, !Retryable(cause) && !errors.Is(cause, context.Canceled))
	return errors.Join(ignoreLost(err), unlogged)
}

// ignoreLost returns nil for the loss of a lease: the attempt that has the run now
// records it.
func ignoreLost(err error) error {
	if errors.Is(err, pipeline.ErrLeaseLost) {
		return nil
	}
	return err
}

// keep renews a lease until release is called. The context that it returns ends
// when the lease is lost.
func (x *Exporter) keep(ctx context.Context, renew func(context.Context) error) (leased context.Context, release func() error) {
	leased, cancel := context.WithCancelCause(ctx)
	tick, stop := x.Ticker(x.LeaseTTL / 3)
	done := make(chan error, 1)
	quit := make(chan struct{})
	go func() {
		defer stop()
		for {
			select {
			case <-quit:
				done <- nil
				return
			case <-tick:
			}
			if err := renew(leased); errors.Is(err, pipeline.ErrLeaseLost) {
				cancel(err)
				done <- err
				return
			}
		}
	}()
	return leased, func() error {
		close(quit)
		err := <-done
		cancel(nil)
		return err
	}
}
