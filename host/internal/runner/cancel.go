package runner

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// errCancelling ends the attempt at a run whose pipeline is cancelled.
var errCancelling = errors.New("the pipeline is being cancelled")

// Cancel ends a pipeline for good. A run that is not done is recorded if the
// destination has committed it, otherwise its rows are removed there. If the destination
// does not answer, the pipeline is left paused, and Cancel may be repeated. The pipeline
// is one that Ensure returned.
func Cancel(ctx context.Context, p *Pipeline) (*operation.Cancellation, error) {
	return ending{p}.cancel(ctx)
}

// ending is a pipeline that is cancelled.
type ending struct{ *Pipeline }

func (p ending) cancel(ctx context.Context) (*operation.Cancellation, error) {
	name := p.Config.Name
	stored, err := p.stored(ctx)
	if err != nil {
		return nil, err
	}
	done := &operation.Cancellation{Pipeline: name, Changed: stored.State != pipeline.Cancelled}
	if !done.Changed {
		kept, err := p.o.Catalog.Targets(ctx, stored.ID)
		done.Targets = Targets(stored.Stream, kept)
		return done, err
	}
	// No further step plans a run or begins an attempt.
	if err := p.o.Catalog.SetPipelineState(ctx, name, pipeline.Paused); err != nil {
		return nil, err
	}
	if stop := p.stop.Load(); stop != nil {
		(*stop)(errCancelling)
	}
	leave, err := p.steps.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := p.settle(ctx, stored, done); err != nil {
		return nil, fmt.Errorf("pipeline %s is paused and not cancelled, because it is not certain what became of its last run; "+
			"cancel it again when the cause is removed: %w", name, err)
	}
	kept, err := p.o.Catalog.CancelPipeline(ctx, name)
	done.Targets = Targets(stored.Stream, kept)
	return done, err
}

// settle ends the pipeline's run that is not done, if it was begun.
func (p ending) settle(ctx context.Context, stored *pipeline.Pipeline, done *operation.Cancellation) error {
	open, err := p.o.Catalog.OpenRun(ctx, stored.ID)
	if err != nil || open == nil {
		return err
	}
	done.Run = open.Number
	record, err := p.o.Catalog.Run(ctx, stored.ID, open.Number)
	if err != nil || record.Fence == 0 {
		return err
	}
	if open.State == pipeline.RunFailed {
		if err := p.o.Catalog.RetryRun(ctx, stored.ID, open.Number); err != nil {
			return err
		}
	}
	r, err := p.resolve(ctx, stored)
	if err != nil {
		return err
	}
	x, job := r.export(open)
	receipt, err := x.Settle(ctx, job)
	done.Committed = receipt != nil
	return err
}

// Targets describes the dates of a pipeline at its targets.
func Targets(stream fmt.Stringer, kept []catalog.Kept) []operation.TargetStatus {
	targets := []operation.TargetStatus{}
	for _, k := range kept {
		t := operation.TargetStatus{URI: k.URI, AdoptedBy: k.AdoptedBy}
		if stream.String() == "events" {
			t.From = k.Days.From.String()
			if k.Days.To != pipeline.Forever {
				t.To = k.Days.To.String()
			}
		}
		targets = append(targets, t)
	}
	return targets
}
