package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Hold stops the running attempt of a pipeline between two blocks, or lets attempts run
// again. The pipeline's state in the catalog is the caller's part.
func (r *Runner) Hold(name string, held bool) {
	if s := r.set.Load().shared[name]; s != nil {
		s.held.Store(held)
	}
	r.Wake(name)
}

// backfill returns the progress of a pipeline's backfill; nil if there is none, or it is
// over.
func (r *Runner) backfill(ctx context.Context, stored *pipeline.Pipeline) (*operation.Backfill, error) {
	if stored.Stream != batch.Events || stored.Cursor.BackfillDone {
		return nil, nil
	}
	done, err := pipeline.Backfilled(ctx, stored, func(ctx context.Context, after, to int64, fn func(int64, []pipeline.Extent) error) error {
		return r.o.Catalog.Extents(ctx, stored.ProjectID, pipeline.StreamKind(stored.Stream), after, to, fn)
	})
	if err != nil || done.Days == 0 {
		return nil, err
	}
	b := &operation.Backfill{
		Days: done.Days, DaysDone: done.DaysDone, Rows: done.Rows, RowsDone: done.RowsDone, Bytes: done.Bytes, BytesDone: done.BytesDone,
	}
	if p := r.ByName(stored.Name); p != nil {
		_, rows, bytes, perSecond := p.pace.measured()
		b.RowsDone, b.BytesDone, b.BytesPerSecond = b.RowsDone+rows, b.BytesDone+bytes, perSecond
		b.SecondsLeft = secondsLeft(b)
	}
	return b, nil
}

// secondsLeft returns the time that the rest of a backfill takes at its present rate; 0:
// it is not known.
func secondsLeft(b *operation.Backfill) int64 {
	left := b.Bytes - b.BytesDone
	if left <= 0 || b.BytesPerSecond <= 0 {
		return 0
	}
	return 1 + left/b.BytesPerSecond
}

// reportBackfill reports the progress of a backfill after one of its runs. An error of
// the catalog is left to the next step.
func (r *resolved) reportBackfill(ctx context.Context) {
	if r.stored.Cursor.BackfillDone || r.stored.Stream != batch.Events {
		return
	}
	text := "done"
	report := progress.Report{Stage: "backfill", Name: r.stored.Name}
	if stored, err := r.Pipeline.stored(ctx); err != nil {
		return
	} else if b, err := r.backfilled(ctx, stored); err != nil {
		return
	} else if b != nil {
		report.Rows, report.Bytes, report.Total = b.RowsDone, b.BytesDone, b.Bytes
		text = fmt.Sprintf("%d of %d days, %d of %d rows", b.DaysDone, b.Days, b.RowsDone, b.Rows)
		if b.SecondsLeft > 0 {
			text += fmt.Sprintf(", about %s left", time.Duration(b.SecondsLeft)*time.Second)
		}
	}
	report.Text = text
	r.o.Observer.Report(report)
}
