package runner

import (
	"context"
	"math"

	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// replan returns the next run of a pipeline of events as a host may have planned it that
// had sealed less of the journal, or had other limits: the run that has a content. It
// returns nil if the journal holds no such run.
//
// An older catalog is put next to a journal of the seals 1 to 9, and its pipeline has
// exported the seals 1 and 2. The host of the newer catalog has exported the seals 3 to 5
// as run 2 and 6 to 9 as run 3. The run that is planned now has the seals 3 to 9, and the
// destination's run 2 has another content. replan tries seal 3, then 3 and 4, then 3 to 5,
// which is that run. The run that is planned after it begins with seal 6, and is run 3.
//
// Candidates end with each extent that the pipeline has not exported, in the order in which
// runs take them. There are at most pipeline.DefaultMaxExtents, as many as a run has
// extents. The totals of an extent are read once, and no row is. Extents that retention has
// removed are in no candidate. While the pipeline's open run is leased, its cursor does not
// move.
func replan(ctx context.Context, p *Pipeline, d *destination.Destination, content string) (*pipeline.Run, error) {
	if content == "" || pipeline.Replaced(p.Config.Stream) {
		return nil, nil
	}
	stored, err := p.stored(ctx)
	if err != nil {
		return nil, err
	}
	r := &resolved{Pipeline: p, stored: stored, destination: d}
	limits := pipeline.Limits{Bytes: math.MaxInt64, Zone: d.ByZone()}
	extents, _, _, err := next(ctx, p.o.Catalog, stored, limits)
	if err != nil {
		return nil, err
	}
	if limits.Extents, err = prefix(ctx, r, extents, content); err != nil || limits.Extents == 0 {
		return nil, err
	}
	plan := &pipeline.Run{}
	if plan.Extents, plan.Next, _, err = next(ctx, p.o.Catalog, stored, limits); err != nil {
		return nil, err
	}
	// More may have been sealed or removed since.
	if plan.Content, err = r.content(ctx, plan, limits.Zone); err != nil || plan.Content != content {
		return nil, err
	}
	return plan, nil
}

// prefix returns how many of the extents, from the first on, make a run that has a
// content; 0: no number does.
func prefix(ctx context.Context, r *resolved, extents []pipeline.Extent, content string) (int, error) {
	id, err := r.o.Catalog.ID(ctx)
	if err != nil {
		return 0, err
	}
	reader := r.project.Journal.Reader()
	digest := pipeline.NewDigest(id, r.stored, r.destination.ByZone())
	for i := range extents {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		totals, err := reader.Totals(ctx, extents[i].Ref)
		if err != nil {
			return 0, err
		}
		digest.Add(&extents[i], totals)
		if digest.Content() == content {
			return i + 1, nil
		}
	}
	return 0, nil
}
