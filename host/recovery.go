package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// RecoverPipeline implements Operations.
func (h *Host) RecoverPipeline(ctx context.Context, name string, resend bool) (*operation.Recovery, error) {
	r, err := h.recoverPipeline(ctx, name, resend)
	return r, h.dir.Explain(err)
}

func (h *Host) recoverPipeline(ctx context.Context, name string, resend bool) (*operation.Recovery, error) {
	p := h.config.Pipeline(name)
	if p == nil {
		return nil, fmt.Errorf("%w: %s", catalog.ErrUnknownPipeline, name)
	}
	if err := h.ready(ctx, p); err != nil {
		return nil, err
	}
	leave, err := h.steps(p.Name).Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	stored, err := h.registered(ctx, p)
	if err != nil {
		return nil, err
	}
	r, restart, err := h.compareHistory(ctx, p, stored)
	if err != nil {
		return nil, fmt.Errorf("recover pipeline %s: %w", p.Name, err)
	}
	if !r.Differs || !resend {
		return r, nil
	}
	if r.Untried {
		return nil, fmt.Errorf("recover pipeline %s: nothing was tried yet: run it first (penstock pipelines run %s), "+
			"since runs of the destination that are this catalog's own are adopted without sending anything", p.Name, p.Name)
	}
	if err := h.catalog.RestartPipeline(ctx, stored, *restart); err != nil {
		return nil, err
	}
	r.NextRun = max(stored.LastRun, restart.Last.Number) + 1
	return r, nil
}

// compareHistory finds the last run that the catalog and the destination both
// have.
func (h *Host) compareHistory(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline) (*operation.Recovery, *catalog.Restart, error) {
	d, err := h.places.Configured(ctx, p.Destination, p.Project)
	if err != nil {
		return nil, nil, err
	}
	if err := d.Start(ctx); err != nil {
		return nil, nil, err
	}
	contents, err := h.catalog.RunContents(ctx, stored.ID)
	if err != nil {
		return nil, nil, err
	}
	open, err := h.catalog.OpenRun(ctx, stored.ID)
	if err != nil {
		return nil, nil, err
	}
	status := func(number int64) (protocol.Status, error) {
		s, err := d.Status(ctx, protocol.Run{
			ProjectID: stored.ProjectID, Pipeline: stored.Name, PipelineID: stored.ID, Stream: stored.Stream, Mode: destination.Mode(stored.Stream), Number: number,
		})
		if err == nil && s.State == protocol.InDoubt {
			err = errors.New("the destination still works on a commit; try again in a minute")
		}
		return s, err
	}
	next, err := status(stored.LastRun + 1)
	if err != nil {
		return nil, nil, err
	}
	last := next.Last
	r := &operation.Recovery{
		Pipeline: p.Name, Destination: p.Destination.Reference(), Recorded: stored.Committed.Number, Committed: last.Number,
		Untried: open == nil && last.Number > stored.Committed.Number,
		Differs: last.Number != stored.Committed.Number || differ(last.Content, stored.Committed.Content),
	}
	if r.Differs && open != nil && open.Number <= last.Number {
		s, err := status(open.Number)
		if err != nil {
			return nil, nil, err
		}
		// The catalog's own run: its next attempt records it.
		r.Differs = s.Content == "" || s.Content != open.Content
	}
	for r.Agreed = min(r.Recorded, last.Number); r.Differs && r.Agreed > 0; r.Agreed-- {
		s, err := status(r.Agreed)
		if err != nil {
			return nil, nil, err
		}
		if !differ(s.Content, contents[r.Agreed]) {
			break
		}
	}
	return r, &catalog.Restart{
		Agreed: r.Agreed, Last: pipeline.Committed{Number: last.Number, Content: last.Content}, Fence: next.Fence,
	}, nil
}

// differ reports whether two contents are of different runs. One that is not
// known is that of a run from before contents were kept.
func differ(a, b string) bool { return a != "" && b != "" && a != b }
