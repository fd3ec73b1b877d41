package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/runner"
)

// Pipelines implements Operations.
func (h pipelines) Pipelines(ctx context.Context) ([]operation.PipelineStatus, error) {
	return h.Runner.View(h.Serving).Pipelines(ctx)
}

// Pipeline implements Operations.
func (h pipelines) Pipeline(ctx context.Context, name string) (*operation.PipelineDetail, error) {
	if _, err := h.knownPipeline(ctx, name); err != nil {
		return nil, err
	}
	return runner.Details{View: h.Runner.View(h.Serving)}.Pipeline(ctx, name)
}

// Run implements Operations.
func (h pipelines) Run(ctx context.Context, name string, number int64) (*operation.RunDetail, error) {
	if _, err := h.knownPipeline(ctx, name); err != nil {
		return nil, err
	}
	return runner.Details{View: h.Runner.View(h.Serving)}.OneRun(ctx, name, number)
}

// CancelPipeline implements Operations.
func (h pipelines) CancelPipeline(ctx context.Context, name string) (*operation.Cancellation, error) {
	if _, err := h.knownPipeline(ctx, name); err != nil {
		return nil, err
	}
	if h.Runner.ByName(name) == nil {
		return nil, operation.Faultf(operation.Conflict, "pipeline %s is not in the configuration, so that no run of it is planned; penstock pipelines forget %s drops it. "+
			"To cancel it, put it back first: its destination is asked for its last run", name, name)
	}
	p, err := h.Runner.Ensure(ctx, name)
	if err != nil {
		return nil, h.Dir.Explain(err)
	}
	done, err := runner.Cancel(ctx, p)
	return done, h.Dir.Explain(err)
}

// ForgetPipeline implements Operations.
func (h pipelines) ForgetPipeline(ctx context.Context, name string, emptied bool) (*operation.Forgetting, error) {
	p, err := h.knownPipeline(ctx, name)
	if err != nil {
		return nil, err
	}
	if c := h.Config().Pipeline(name); c != nil {
		return nil, operation.Faultf(operation.Conflict, "pipeline %s is in the configuration (%s:%d): remove it there first, and reload a running host (penstock reload); the next run would register it again",
			name, c.Range.Filename, c.Range.Start.Line)
	}
	leave, err := runner.Exclude(ctx, h.Runner, name)
	if err != nil {
		return nil, err
	}
	defer leave()
	f, err := h.Catalog.ForgetPipeline(ctx, name, emptied, time.Now())
	var begun *catalog.BegunError
	if errors.As(err, &begun) {
		return nil, fmt.Errorf("%w. Put the pipeline back in the configuration and run penstock pipelines cancel %s, "+
			"or remove its rows from %s and forget it with --emptied", err, name, p.Destination)
	}
	if err != nil {
		return nil, err
	}
	return &operation.Forgetting{Pipeline: name, ID: f.ID, Destination: p.Destination, Runs: f.Runs, Targets: runner.Targets(p.Stream, f.Kept)}, nil
}

// RunPipeline implements Operations. It seals open segments first, and does not
// read sources.
func (h pipelines) RunPipeline(ctx context.Context, name string, allowShrink bool) (*operation.PipelineSummary, error) {
	p, err := h.Runner.Ensure(ctx, name)
	if err != nil {
		return nil, h.Dir.Explain(err)
	}
	done, err := p.RunNow(ctx, allowShrink)
	h.Runner.Wake(name)
	if err != nil {
		return done, h.Dir.Explain(err)
	}
	return done, h.Dir.Explain(runner.Complete(ctx, h.Runner.View(h.Serving), done))
}

// RecoverPipeline implements Operations.
func (h pipelines) RecoverPipeline(ctx context.Context, name string, resend bool) (*operation.Recovery, error) {
	p, err := h.Runner.Ensure(ctx, name)
	if err != nil {
		return nil, h.Dir.Explain(err)
	}
	r, err := p.Recover(ctx, resend)
	h.Runner.Wake(name)
	return r, h.Dir.Explain(err)
}

// VerifyPipeline implements Operations.
func (h pipelines) VerifyPipeline(ctx context.Context, r operation.VerifyRequest) (*operation.Verification, error) {
	if h.Runner.ByName(r.Pipeline) == nil {
		return nil, fmt.Errorf("%w: %s", catalog.ErrUnknownPipeline, r.Pipeline)
	}
	if err := r.ValidDates(); err != nil {
		return nil, operation.Faultf(operation.InvalidParameter, "%w", err)
	}
	p, err := h.Runner.Ensure(ctx, r.Pipeline)
	if err != nil {
		return nil, h.Dir.Explain(err)
	}
	report, err := p.Verify(ctx, r)
	return report, h.Dir.Explain(err)
}

// PausePipeline implements Operations.
func (h pipelines) PausePipeline(ctx context.Context, name string, paused bool) (*operation.Pause, error) {
	state := pipeline.Active
	if paused {
		state = pipeline.Paused
	}
	before, err := h.knownPipeline(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := h.Catalog.SetPipelineState(ctx, name, state); errors.Is(err, catalog.ErrCancelled) {
		return nil, fmt.Errorf("%w; a pipeline with another name and adopt = true goes on where it stopped", err)
	} else if err != nil {
		return nil, err
	}
	h.Runner.Hold(name, paused)
	done := &operation.Pause{Pipeline: name, Paused: paused, Changed: before.State != state}
	switch c := h.Config().Pipeline(name); {
	case c == nil:
		done.Removed = true
	case c.Paused:
		at := c.AttributeRange("paused")
		done.Paused, done.Configured = true, fmt.Sprintf("%s:%d", at.Filename, at.Start.Line)
	}
	return done, nil
}

// latestRuns is how many runs of a pipeline are listed if the filter has no limit.
const latestRuns = 50

// Runs implements Operations.
func (h pipelines) Runs(ctx context.Context, f operation.RunFilter) ([]operation.RunStatus, error) {
	limit, before, name := cmp.Or(f.Limit, latestRuns), cmp.Or(f.Before, math.MaxInt64), f.Pipeline
	if limit < 0 || limit > operation.MaxRuns {
		return nil, operation.Faultf(operation.InvalidParameter, "a list of %d runs was asked for: at least 1 and at most %d of a pipeline are listed at once", limit, operation.MaxRuns)
	}
	pipelines, err := h.Catalog.Pipelines(ctx)
	if err != nil {
		return nil, err
	}
	view, statuses := h.Runner.View(h.Serving), []operation.RunStatus{}
	known := false
	for _, p := range pipelines {
		if name != "" && p.Name != name {
			continue
		}
		known = true
		runs, err := h.Catalog.RunsBefore(ctx, p.ID, before, limit)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			statuses = append(statuses, view.Run(p.Name, r))
		}
	}
	if name != "" && !known {
		_, err := h.knownPipeline(ctx, name)
		return nil, err
	}
	return statuses, nil
}

// knownPipeline returns a registered pipeline. The error for another name lists
// the names that there are.
func (h pipelines) knownPipeline(ctx context.Context, name string) (*pipeline.Pipeline, error) {
	p, err := h.Catalog.Pipeline(ctx, name)
	if !errors.Is(err, catalog.ErrUnknownPipeline) {
		return p, err
	}
	all, listErr := h.Catalog.Pipelines(ctx)
	if listErr != nil || len(all) == 0 {
		return nil, fmt.Errorf("%w: %q; none is registered before the first run", catalog.ErrUnknownPipeline, name)
	}
	names := make([]string, 0, len(all))
	for _, p := range all {
		names = append(names, p.Name)
	}
	return nil, fmt.Errorf("%w: %q; registered are %s", catalog.ErrUnknownPipeline, name, strings.Join(names, ", "))
}

// RetryRun implements Operations.
func (h pipelines) RetryRun(ctx context.Context, name string, number int64) error {
	p, err := h.knownPipeline(ctx, name)
	if err != nil {
		return err
	}
	r, err := h.Catalog.Run(ctx, p.ID, number)
	switch {
	case err != nil:
		return err
	case r == nil:
		return operation.Faultf(operation.UnknownRun, "pipeline %s has no run %d: its latest is run %d", name, number, p.LastRun)
	case r.State != pipeline.RunFailed:
		state := h.Runner.View(h.Serving).Run(name, *r).State
		return operation.Faultf(operation.Conflict, "there is no failed run %d to try again: it is %s", number, retryText(state))
	}
	if err := h.Catalog.RetryRun(ctx, p.ID, number); err != nil {
		return err
	}
	h.Runner.Wake(name)
	return nil
}

// retryText says what becomes of a run that has not failed.
func retryText(state string) string {
	switch state {
	case "planned":
		return "planned: a running host, or the next 'penstock run', sends it"
	case "interrupted":
		return "interrupted: the next 'penstock run' tries it again"
	case "retrying":
		return "retrying: the running host tries it again by itself"
	}
	return state
}
