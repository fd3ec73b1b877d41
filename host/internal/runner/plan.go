package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// limits returns the limits of the pipeline's next run.
func (r *resolved) limits() pipeline.Limits {
	return pipeline.Limits{
		Bytes: r.Config.MaxRun, Days: r.destination.Description().Capabilities.MaxDaysPerRun, Zone: r.destination.ByZone(),
	}
}

// next picks the extents of a pipeline's next run. all reports whether no
// further extents are left to export.
func next(ctx context.Context, c *catalog.Catalog, stored *pipeline.Pipeline, limits pipeline.Limits) (extents []pipeline.Extent, cursor pipeline.Cursor, all bool, err error) {
	seq, err := c.Sequence(ctx, stored.ProjectID)
	if err != nil {
		return nil, pipeline.Cursor{}, false, err
	}
	kind := pipeline.StreamKind(stored.Stream)
	extents, cursor, err = pipeline.Next(ctx, stored, limits, seq, func(ctx context.Context, after, to int64, fn func(int64, []pipeline.Extent) error) error {
		return c.Extents(ctx, stored.ProjectID, kind, after, to, fn)
	})
	return extents, cursor, cursor.Reached(seq), err
}

// run returns the run that the pipeline has to carry out: the open one, or else
// a new one; nil when there are no rows to export. asOf is the time at which the
// journal was last sealed.
func (r *resolved) run(ctx context.Context, asOf time.Time) (*pipeline.Run, error) {
	if open, err := r.open(ctx); open != nil || err != nil {
		return open, err
	}
	if pipeline.Replaced(r.stored.Stream) {
		return r.replacement(ctx, asOf)
	}
	extents, cursor, all, err := next(ctx, r.o.Catalog, r.stored, r.limits())
	if err != nil {
		return nil, err
	}
	if len(extents) == 0 {
		return nil, r.o.Catalog.MoveCursor(ctx, r.stored, cursor)
	}
	if !all {
		asOf = time.Time{} // the remaining extents may have the same dates
	}
	return r.plan(ctx, &pipeline.Run{Extents: extents, Next: cursor, AsOf: asOf}, r.destination.ByZone())
}

// open returns the run that was planned and is not over; nil: there is none.
func (r *resolved) open(ctx context.Context) (*pipeline.Run, error) {
	open, err := r.o.Catalog.OpenRun(ctx, r.stored.ID)
	if err != nil || open == nil {
		return nil, err
	}
	return open, r.identify(ctx, open)
}

// plan computes the run's content and inserts the run into the catalog. With
// zone the run's parts have dates of the project's time zone, else UTC dates.
func (r *resolved) plan(ctx context.Context, run *pipeline.Run, zone bool) (*pipeline.Run, error) {
	content, err := r.content(ctx, run, zone)
	if err != nil {
		return nil, fmt.Errorf("plan a run of pipeline %s: %w", r.stored.Name, err)
	}
	run.Content, run.PlannedAt = content, r.o.Now().UTC()
	return run, r.o.Catalog.InsertRun(ctx, r.stored, run)
}

// identify gives a content to a run that an older host planned without one.
func (r *resolved) identify(ctx context.Context, run *pipeline.Run) error {
	if run.Content != "" {
		return nil
	}
	content, err := r.content(ctx, run, r.destination.ByZone())
	if err != nil {
		return fmt.Errorf("run %d of pipeline %s: %w", run.Number, r.stored.Name, err)
	}
	return r.o.Catalog.SetContent(ctx, run, content)
}

// content returns the digest that identifies a run: see pipeline.Content.
func (r *resolved) content(ctx context.Context, run *pipeline.Run, zone bool) (string, error) {
	id, err := r.o.Catalog.ID(ctx)
	if err != nil {
		return "", err
	}
	parts := run.Parts(zone)
	totals, err := r.totals(ctx, run, parts)
	if err != nil {
		return "", err
	}
	return pipeline.Content(id, r.stored, parts, totals), nil
}

// totals returns the rows, bytes and checksums of a run's parts, as the journal
// lists them.
func (p *Pipeline) totals(ctx context.Context, run *pipeline.Run, parts []pipeline.Part) ([]batch.Totals, error) {
	if g := run.Generation; g != nil {
		t, err := p.project.State(p.Config.Stream).Generations.Totals(ctx, g.Blob)
		return []batch.Totals{t}, err
	}
	reader := p.project.Journal.Reader()
	totals := make([]batch.Totals, len(parts))
	for i, part := range parts {
		for _, e := range part.Extents {
			t, err := reader.Totals(ctx, e.Ref)
			if err != nil {
				return nil, err
			}
			totals[i].Append(t)
		}
	}
	return totals, nil
}

// replacement returns the run that replaces the set at a pipeline's destination by
// the latest one; nil when that is there already.
func (r *resolved) replacement(ctx context.Context, asOf time.Time) (*pipeline.Run, error) {
	s := r.project.State(r.Config.Stream)
	leave, err := s.Gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	g, err := s.Latest(ctx)
	if err != nil || g == nil {
		return nil, err
	}
	last, err := exported(ctx, r.o.Catalog, r.stored)
	if err != nil {
		return nil, err
	}
	cursor, err := pipeline.Replacement(r.stored, g, last.Rows, r.allowShrink)
	if err != nil {
		return nil, err
	}
	if unchanged(g, last, r.allowShrink) {
		return nil, r.o.Catalog.MoveCursor(ctx, r.stored, cursor)
	}
	return r.plan(ctx, &pipeline.Run{Generation: g, Next: cursor, AsOf: asOf}, false)
}

// unchanged reports whether a pipeline that exported last needs no run to export
// g: it is the same set, or nothing was exported and the set is empty.
func unchanged(g *pipeline.Generation, last pipeline.Generation, allowShrink bool) bool {
	return g.Blob == last.Blob || g.Rows == 0 && last.Blob == "" && !allowShrink
}

// exported returns the generation that a pipeline without an open run has exported
// last; the zero value if there is none, or if the destination's last run is
// not this catalog's.
func exported(ctx context.Context, c *catalog.Catalog, stored *pipeline.Pipeline) (pipeline.Generation, error) {
	runs, err := c.Runs(ctx, stored.ID, 1)
	if err != nil || len(runs) == 0 || runs[0].Generation == nil || runs[0].Number != stored.Committed.Number {
		return pipeline.Generation{}, err
	}
	return *runs[0].Generation, nil
}
