package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// OnceOptions say how patient RunOnce is.
type OnceOptions struct {
	// RetryFor is how long transient errors are retried, for each pipeline.
	RetryFor time.Duration
}

// shownPlaces is how many objects a summary names.
const shownPlaces = 5

// addReceipt adds a run to the summary of its pipeline.
func addReceipt(s *operation.PipelineSummary, r *pipeline.Receipt) {
	s.Runs++
	s.Rows += r.Rows
	s.Rejected += r.Rejected
	for reason, rows := range r.Changed {
		if s.Changed == nil {
			s.Changed = make(map[string]int64)
		}
		s.Changed[reason] += rows
	}
	s.StoredBytes += r.StoredBytes
	for _, p := range r.Partitions {
		s.Objects += len(p.Objects)
		for _, object := range p.Objects {
			if len(s.Places) < shownPlaces {
				s.Places = append(s.Places, object)
			}
		}
	}
}

// RunOnce registers pipelines, brings acknowledged records of collectors into
// journals, reads every source to its present end, seals, and runs every
// pipeline until nothing is left to export. A source or pipeline that fails does
// not keep the others from their work. The summary comes with an error, unless
// nothing could begin.
func (h *Host) RunOnce(ctx context.Context, o OnceOptions) (*operation.Summary, error) {
	summary, err := h.runOnce(ctx, o)
	return summary, h.dir.Explain(err)
}

func (h *Host) runOnce(ctx context.Context, o OnceOptions) (*operation.Summary, error) {
	if err := h.plugins.Start(ctx); err != nil {
		return nil, err
	}
	summary := &operation.Summary{}
	failed := h.noteMissing(ctx, summary)
	if err := h.recover(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	if err := h.register(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	if err := h.retryFailed(ctx); err != nil {
		return nil, errors.Join(failed, err)
	}
	failed = errors.Join(failed, h.drainCollectors(ctx, summary))
	for i := range summary.Sources {
		if s := &summary.Sources[i]; s.Lost != nil {
			failed = errors.Join(failed, s.Lost)
			s.Error = strings.TrimPrefix(s.Error+"; "+s.Lost.Error(), "; ")
		}
	}
	failed = errors.Join(failed, h.readAll(ctx, summary), h.pullAll(ctx, o.RetryFor, summary))
	for _, p := range h.config.Pipelines {
		done := operation.PipelineSummary{Name: p.Name, Destination: p.Destination.Reference()}
		if err := h.catchUp(ctx, p, o.RetryFor, &done); err != nil {
			done.Error = err.Error()
			failed = errors.Join(failed, err)
		}
		summary.Pipelines = append(summary.Pipelines, done)
		if ctx.Err() != nil {
			return summary, fmt.Errorf("stopped: %w", context.Cause(ctx))
		}
	}
	return summary, failed
}

// recover opens the journals of all projects. A host that serves leaves one for later
// that cannot be opened.
func (h *Host) recover(ctx context.Context) error {
	if h.serving {
		return h.projects.OpenSome(ctx)
	}
	return h.projects.Open(ctx)
}

// noteMissing adds the missing segments of all projects to a summary. The error
// says the same.
func (h *Host) noteMissing(ctx context.Context, summary *operation.Summary) error {
	var failed error
	for _, p := range h.config.Projects {
		m, err := h.missingSegments(ctx, p.ID, p.Name)
		if m != nil {
			summary.Missing = append(summary.Missing, *m)
			err = m
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// skippedError says that paths were not read; the summary names them.
type skippedError int

func (e skippedError) Error() string {
	if e == 1 {
		return "a path was not read"
	}
	return fmt.Sprintf("%d paths were not read", int(e))
}

// readAll reads every source to its end and seals.
func (h *Host) readAll(ctx context.Context, summary *operation.Summary) error {
	var failed error
	for _, s := range h.config.Sources {
		done, err := h.read(ctx, s, false)
		if n := len(done.Skipped); n > 0 {
			err = errors.Join(err, skippedError(n))
		}
		if err != nil {
			err = fmt.Errorf("source %s: %w", s.Reference(), err)
			done.Error = err.Error()
			failed = errors.Join(failed, err)
		}
		summary.Sources = append(summary.Sources, done)
	}
	return failed
}
