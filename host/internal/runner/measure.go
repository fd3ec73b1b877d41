package runner

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// tally counts the attempts of a pipeline since the host started. It may be used
// concurrently.
type tally struct {
	mu    sync.Mutex
	count operation.Attempts
}

// note counts an attempt that took some time. Without an error and without a receipt
// nothing was left to export; an attempt that was cut or not made counts as none.
func (t *tally) note(ctx context.Context, receipt *pipeline.Receipt, err error, took time.Duration) {
	var failed *RunFailedError
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case receipt != nil && err == nil:
		t.count.Succeeded++
		t.count.Took += took
	case err == nil, ctx.Err() != nil, errors.As(err, &failed), errors.Is(err, errReloaded), errors.Is(err, pipeline.ErrPaused):
	case retryable(err):
		t.count.Retried++
	default:
		t.count.Failed++
	}
}

// attempts returns the counts.
func (t *tally) attempts() operation.Attempts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// Measure returns the numbers of all configured pipelines, in their order.
func Measure(ctx context.Context, r *Runner) ([]operation.PipelineMeasure, error) {
	var all []operation.PipelineMeasure
	for _, p := range r.All() {
		m, err := measure(ctx, p)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func measure(ctx context.Context, p *Pipeline) (operation.PipelineMeasure, error) {
	m := operation.PipelineMeasure{Pipeline: p.Config.Name, Paused: p.Config.Paused, Attempts: p.tally.attempts()}
	stored, err := p.stored(ctx)
	if errors.Is(err, catalog.ErrUnknownPipeline) {
		return m, nil // it is not registered yet
	}
	if err != nil {
		return m, err
	}
	m.Paused = isPaused(p.Config, stored)
	if m.Succeeded, err = p.o.Catalog.LastSuccess(ctx, stored.ID); err != nil {
		return m, err
	}
	m.Waiting, err = waiting(ctx, p, stored)
	return m, err
}

// waiting returns since when the oldest row waits that a pipeline has yet to export; zero:
// none does.
func waiting(ctx context.Context, p *Pipeline, stored *pipeline.Pipeline) (time.Time, error) {
	var extents []pipeline.Extent
	switch {
	case stored.State == pipeline.Cancelled:
		return time.Time{}, nil
	case pipeline.Replaced(stored.Stream):
		after, err := committedSeq(ctx, p.o.Catalog, stored)
		if err != nil {
			return time.Time{}, err
		}
		seq, err := p.o.Catalog.Sequence(ctx, stored.ProjectID)
		if err != nil || seq <= after {
			return time.Time{}, err
		}
		extents, _, err = p.project.State(stored.Stream).Unfolded(ctx, after, seq, 1)
		if err != nil {
			return time.Time{}, err
		}
	case !stored.Cursor.BackfillDone:
		return stored.CreatedAt, nil
	default:
		var err error
		if extents, _, _, err = next(ctx, p.o.Catalog, stored, pipeline.Limits{Bytes: 1}); err != nil {
			return time.Time{}, err
		}
	}
	if len(extents) == 0 {
		return time.Time{}, nil
	}
	return extents[0].SealedAt, nil
}

// committedSeq returns the sequence of the journal up to which the set at the destination
// is folded; 0: there is none.
func committedSeq(ctx context.Context, c *catalog.Catalog, stored *pipeline.Pipeline) (int64, error) {
	r, err := c.Run(ctx, stored.ID, stored.Committed.Number)
	if err != nil || r == nil || r.Generation == nil {
		return 0, err
	}
	return r.Generation.Seq, nil
}
