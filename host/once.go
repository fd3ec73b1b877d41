package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/runner"
)

// OnceOptions say how patient RunOnce is.
type OnceOptions struct {
	// RetryFor is how long transient errors are retried, for each pipeline.
	RetryFor time.Duration
}

// RunOnce registers pipelines, brings acknowledged records of collectors into
// journals, reads every source to its present end, seals, and runs every
// pipeline until nothing is left to export. Runs that are full are exported while
// sources are still read. A source or pipeline that fails does
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
	pipelines := runner.OnceOfAll(ctx, h.runner)
	failed = errors.Join(failed, readAll(ctx, h, o.RetryFor, summary, pipelines))
	done, err := runner.CatchUpAll(ctx, pipelines, o.RetryFor)
	summary.Pipelines = done
	if ctx.Err() != nil {
		return summary, fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	failed = errors.Join(failed, err)
	failed = errors.Join(failed, runner.CompleteAll(ctx, h.runner.View(true), summary.Pipelines))
	if _, err := h.upkeep.Pass(ctx, tidying); err != nil {
		h.log.Error("could not tidy the journal; the next run will retry", "error", err)
	}
	return summary, failed
}

// readAll reads all sources to their present end, and exports full runs until then.
func readAll(ctx context.Context, h *Host, retryFor time.Duration, summary *Summary, pipelines []*runner.Once) error {
	stop := runner.ExportFull(ctx, h.runner, pipelines)
	defer stop()
	return h.intake.ReadAll(ctx, retryFor, summary)
}
