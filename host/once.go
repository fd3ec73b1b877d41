package host

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// OnceOptions say how patient RunOnce is.
type OnceOptions struct {
	// RetryFor is how long transient errors are retried, for each pipeline.
	RetryFor time.Duration
}

// RunOnce registers pipelines, brings acknowledged records of collectors into
// journals, reads every source to its present end, seals, and runs every
// pipeline until nothing is left to export. A source or pipeline that fails does
// not keep the others from their work. The summary comes with an error, unless
// nothing could begin.
func (h *Host) RunOnce(ctx context.Context, o OnceOptions) (*Summary, error) {
	summary, err := h.runOnce(ctx, o)
	return summary, h.dir.Explain(err)
}

// tidying is how long a run that does not serve tidies the journals at most.
const tidying = 5 * time.Minute

func (h *Host) runOnce(ctx context.Context, o OnceOptions) (*Summary, error) {
	summary := &Summary{}
	var failed error
	summary.Missing, failed = h.service().MissingSegments(ctx)
	if err := h.prepare(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	if err := h.runner.Register(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	if err := h.runner.RetryFailed(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	failed = errors.Join(failed, h.intake.ReadAll(ctx, o.RetryFor, summary))
	for _, p := range h.runner.All() {
		done, err := p.CatchUp(ctx, o.RetryFor)
		if err != nil {
			done.Error = err.Error()
			failed = errors.Join(failed, err)
		}
		summary.Pipelines = append(summary.Pipelines, *done)
		if ctx.Err() != nil {
			return summary, fmt.Errorf("stopped: %w", context.Cause(ctx))
		}
	}
	if _, err := h.upkeep.Pass(ctx, tidying); err != nil {
		h.log.Error("could not tidy the journal; the next run will retry", "error", err)
	}
	return summary, failed
}
