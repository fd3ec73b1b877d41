package host

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// replacement is the run that replaces the set at a pipeline's destination by
// the latest one; nil when that is there already.
func (h *Host) replacement(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline, asOf time.Time) (*pipeline.Run, error) {
	s := h.projects.Of(p.Project).State(p.Stream)
	leave, err := s.Gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	g, err := s.Latest(ctx)
	if err != nil || g == nil {
		return nil, err
	}
	last, err := h.exported(ctx, stored)
	if err != nil {
		return nil, err
	}
	next, err := pipeline.Replacement(stored, g, last.Rows, p.AllowShrink)
	if err != nil {
		return nil, err
	}
	if unchanged(g, last, p.AllowShrink) {
		return nil, h.catalog.MoveCursor(ctx, stored, next)
	}
	return h.plan(ctx, p, stored, &pipeline.Run{Generation: g, Next: next, AsOf: asOf}, false)
}

// unchanged reports whether a pipeline that exported last needs no run to export
// g: it is the same set, or nothing was exported and the set is empty.
func unchanged(g *pipeline.Generation, last pipeline.Generation, allowShrink bool) bool {
	return g.Blob == last.Blob || g.Rows == 0 && last.Blob == "" && !allowShrink
}

// exported is the generation that a pipeline without an open run has exported
// last; the zero value if there is none, or if the destination's last run is
// not this catalog's.
func (h *Host) exported(ctx context.Context, stored *pipeline.Pipeline) (pipeline.Generation, error) {
	runs, err := h.catalog.Runs(ctx, stored.ID, 1)
	if err != nil || len(runs) == 0 || runs[0].Generation == nil || runs[0].Number != stored.Committed.Number {
		return pipeline.Generation{}, err
	}
	return *runs[0].Generation, nil
}
