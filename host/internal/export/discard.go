package export

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Settle ends a run that is not done, for a pipeline that is cancelled. A run that the
// destination has committed is recorded, and its receipt returned. The rows of another
// one are removed from the destination; the receipt is nil then, and no earlier attempt
// can commit any more. If the destination has committed later runs, which this catalog
// does not know, the error is a *DivergedError. Settle may be repeated after any error.
func (x *Exporter) Settle(ctx context.Context, job Job) (*pipeline.Receipt, error) {
	lease, err := x.Store.AcquireRun(ctx, job.Pipeline.ID, job.Run.Number, x.Owner, x.LeaseTTL)
	if err != nil {
		return nil, fmt.Errorf("lease run %d of pipeline %s: %w", job.Run.Number, job.Pipeline.Name, err)
	}
	leased, release := x.keep(ctx, func(ctx context.Context) error { return x.Store.RenewRun(ctx, lease, x.LeaseTTL) })
	receipt, err := x.settle(leased, job, lease)
	if lost := release(); lost != nil && err != nil {
		err = errors.Join(lost, err)
	}
	if err == nil && receipt != nil {
		err = x.Store.RecordReceipt(ctx, lease, *receipt)
	}
	if err != nil {
		err = fmt.Errorf("run %d of pipeline %s: %w", job.Run.Number, job.Pipeline.Name, withHint(err))
		return nil, errors.Join(err, x.fail(ctx, lease, err))
	}
	return receipt, nil
}

func (x *Exporter) settle(ctx context.Context, job Job, lease pipeline.Lease) (*pipeline.Receipt, error) {
	t := newTransfer(job, lease, nil, x)
	session, err := job.Destination.Export(ctx, func([]protocol.RejectedRow) error { return nil })
	if err != nil {
		return nil, err
	}
	defer session.Close()
	run := t.protocolRun()
	last, err := session.Open(ctx, run)
	if err != nil {
		return nil, t.refused(ctx, run, err)
	}
	if last.Number > run.Number {
		// Its rows are of this pipeline's dates, and another pipeline that adopts these would
		// send them again.
		return nil, t.diverged(last, "the destination has committed run %d of this pipeline, and the last one of this catalog is run %d", last.Number, run.Number)
	}
	if last.Number == run.Number {
		receipt, err := t.committedEarlier(ctx, session, run)
		return &receipt, err
	}
	if err := t.follows(last); err != nil {
		return nil, err
	}
	return nil, session.Abort(ctx, true)
}
