package export_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/export"
)

// settle settles the bench's run as a pipeline that is cancelled does.
func (b *bench) settle() (committed bool, err error) {
	x := &export.Exporter{
		Store: b.catalog, Blocks: b.blocks, Generations: journaled, Owner: "cancel", LeaseTTL: time.Minute,
		Ticker: func(time.Duration) (<-chan time.Time, func()) { return nil, func() {} },
		Wait:   func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
	receipt, err := x.Settle(b.t.Context(), export.Job{Pipeline: b.pipeline, Run: b.run, Destination: b.place})
	return receipt != nil, err
}

// A run that was not committed is aborted, and no earlier attempt can commit any more.
func TestSettleAbortsARunThatIsNotCommitted(t *testing.T) {
	b := newBench(t)
	if committed, err := b.settle(); committed || err != nil {
		t.Fatalf("committed: %t, %v", committed, err)
	}
	if b.place.commits != 0 || b.place.fence != 1 {
		t.Errorf("%d commits, fence %d", b.place.commits, b.place.fence)
	}
	if open, err := b.catalog.OpenRun(t.Context(), b.pipeline.ID); err != nil || open == nil {
		t.Errorf("the run is no longer open: %+v, %v", open, err)
	}
}

// A run that the destination has committed, though its answer was lost, is recorded.
func TestSettleRecordsARunThatIsCommitted(t *testing.T) {
	b := newBench(t)
	b.place.last.Number, b.place.last.Content = b.run.Number, b.run.Content
	b.place.receipt.Partitions = nil
	b.place.noReceipt = true
	committed, err := b.settle()
	if !committed || err != nil {
		t.Fatalf("committed: %t, %v", committed, err)
	}
	if p, err := b.catalog.Pipeline(t.Context(), "p"); err != nil || p.Committed.Number != b.run.Number {
		t.Errorf("recorded: %+v, %v", p, err)
	}
}

// A pipeline whose destination has later runs than the catalog is not settled by the one
// run that the catalog knows: the rows of the others would belong to no pipeline.
func TestSettleStopsAtLaterRuns(t *testing.T) {
	b := newBench(t)
	b.place.last.Number, b.place.last.Content = b.run.Number+1, "f"
	committed, err := b.settle()
	var diverged *export.DivergedError
	if committed || !errors.As(err, &diverged) || diverged.Last.Number != b.run.Number+1 {
		t.Fatalf("committed: %t, %v", committed, err)
	}
	if p, err := b.catalog.Pipeline(t.Context(), "p"); err != nil || p.Committed.Number != 0 {
		t.Errorf("recorded: %+v, %v", p, err)
	}
}
