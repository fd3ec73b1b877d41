package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
)

// RunNow runs a pipeline until no rows are left to export, whether or not it is due. It
// seals the journal first, and does not read sources. allowShrink confirms that a set
// may shrink. The pipeline is one that Ensure returned.
func (p *Pipeline) RunNow(ctx context.Context, allowShrink bool) (*operation.PipelineSummary, error) {
	stored, err := p.stored(ctx)
	if err != nil {
		return nil, err
	}
	if stored.State == pipeline.Cancelled {
		return nil, fmt.Errorf("%w; a pipeline with another name and adopt = true goes on where it stopped", catalog.ErrCancelled)
	}
	if isPaused(p.Config, stored) {
		return nil, fmt.Errorf("pipeline %s is paused", p.Config.Name)
	}
	asOf := p.o.Now().UTC()
	if err := p.project.Journal.Settle(ctx); err != nil {
		return nil, err
	}
	// A person asks for it: a failed run is tried again, too.
	if err := p.retryFailed(ctx); err != nil {
		return nil, err
	}
	done := newSummary(p.Config)
	for {
		receipt, err := p.step(ctx, asOf, allowShrink)
		if err != nil {
			return done, err
		}
		p.failed.Store(nil)
		if receipt == nil {
			return done, addLeftOut(ctx, p, done, stored)
		}
		addReceipt(done, receipt)
	}
}

// CatchUp runs a pipeline until no rows are left to export. It retries a
// transient error for at most retryFor, counted from the first failure in a
// row. The summary comes with an error, too.
func (p *Pipeline) CatchUp(ctx context.Context, retryFor time.Duration) (*operation.PipelineSummary, error) {
	return newOnce(ctx, p).CatchUp(ctx, retryFor)
}

// Once is a pipeline in a host that reads sources to their end, exports everything and
// ends. It is for one goroutine at a time.
type Once struct {
	pipeline *Pipeline
	done     *operation.PipelineSummary
	before   *pipeline.Pipeline // nil: it is not registered yet, or leaves nothing out
	err      error              // no further attempt is made for it
	full     fullRuns
}

// newOnce notes the state of a pipeline before any of its runs.
func newOnce(ctx context.Context, p *Pipeline) *Once {
	o := &Once{pipeline: p, done: newSummary(p.Config)}
	if !p.Config.LeaveLate {
		return o
	}
	var err error
	if o.before, err = p.stored(ctx); err != nil && !errors.Is(err, catalog.ErrUnknownPipeline) {
		o.err = err
	}
	return o
}

// OnceOfAll returns all pipelines of a runner, each in its present state.
func OnceOfAll(ctx context.Context, r *Runner) []*Once {
	var all []*Once
	for _, p := range r.All() {
		all = append(all, newOnce(ctx, p))
	}
	return all
}

// CatchUp runs the pipeline as Pipeline.CatchUp does. The summary is also of the runs of
// ExportFull.
func (o *Once) CatchUp(ctx context.Context, retryFor time.Duration) (*operation.PipelineSummary, error) {
	if o.err != nil {
		return o.done, o.err
	}
	p := o.pipeline
	asOf := p.o.Now().UTC()
	var failing time.Time
	pauses := lifecycle.Backoff{First: retryFirst, Limit: 30 * time.Second}
	for {
		receipt, err := p.step(ctx, asOf, false)
		switch {
		case err == nil && receipt == nil:
			return o.done, addLeftOut(ctx, p, o.done, o.before)
		case err == nil:
			addReceipt(o.done, receipt)
			failing = time.Time{}
			pauses.Reset()
			continue
		case ctx.Err() != nil:
			return o.done, err
		}
		if failing.IsZero() {
			failing = p.o.Now()
		}
		pause := max(pauses.Pause(), export.RetryAfter(err))
		if !retryable(err) || p.o.Now().Sub(failing)+pause > retryFor {
			return o.done, err
		}
		p.o.Observer.Report(progress.Report{Stage: "export", Name: p.Config.Name, Text: fmt.Sprintf("%v; will retry in %s", err, pause.Round(time.Millisecond))})
		if err := p.o.Wait(ctx, pause); err != nil {
			return o.done, err
		}
	}
}

// CatchUpAll runs pipelines one after the other, and returns the summary of each. After ctx
// has ended none is begun, and those are left out that ExportFull has exported nothing of.
func CatchUpAll(ctx context.Context, all []*Once, retryFor time.Duration) (summaries []operation.PipelineSummary, failed error) {
	stopped := false
	for _, o := range all {
		err := o.err
		if !stopped {
			_, err = o.CatchUp(ctx, retryFor)
			stopped = ctx.Err() != nil
		} else if err == nil && o.done.Runs == 0 {
			continue
		}
		if err != nil {
			o.done.Error = err.Error()
			failed = errors.Join(failed, err)
		}
		summaries = append(summaries, *o.done)
	}
	return summaries, failed
}

func newSummary(c *config.Pipeline) *operation.PipelineSummary {
	return &operation.PipelineSummary{Name: c.Name, Stream: c.Stream.String(), Destination: c.Destination.Reference()}
}

// addLeftOut adds the late rows that the pipeline has passed since it was before, which may
// be nil; those after its last run are in no receipt.
func addLeftOut(ctx context.Context, p *Pipeline, s *operation.PipelineSummary, before *pipeline.Pipeline) error {
	if !p.Config.LeaveLate {
		return nil
	}
	now, err := p.stored(ctx)
	if err != nil {
		return err
	}
	s.LeftOut = now.Cursor.LeftOut.Rows
	if before != nil {
		s.LeftOut -= before.Cursor.LeftOut.Rows
	}
	return nil
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
