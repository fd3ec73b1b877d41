package runner

import (
	"context"
	"errors"
	"math"
	"sort"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// Plan returns the rows that the next run of each pipeline would export. It starts no
// plugin: a destination's limit on days is not known to it.
func (v *View) Plan(ctx context.Context) ([]operation.PlannedRun, error) {
	planned := []operation.PlannedRun{}
	for _, p := range v.All() {
		run, err := v.planned(ctx, p)
		if err != nil {
			return nil, err
		}
		planned = append(planned, run)
	}
	return planned, nil
}

// planned returns the rows that a pipeline's next run would export.
func (v *View) planned(ctx context.Context, p *Pipeline) (operation.PlannedRun, error) {
	stored, err := v.plannable(ctx, p)
	if err != nil {
		return operation.PlannedRun{}, err
	}
	run := operation.PlannedRun{Pipeline: p.Config.Name, Number: stored.LastRun + 1, Phase: phase(stored), Days: []operation.PlannedDay{}, State: unregisteredPipeline}
	if stored.ID != "" {
		status, err := v.status(ctx, stored)
		if err != nil {
			return run, err
		}
		run.State, run.NextRunAt, run.Outside = status.State, status.NextRunAt, status.Outside
	} else if run.Outside, err = outside(ctx, v.o.Catalog, stored); err != nil {
		return run, err
	}
	if pipeline.Replaced(p.Config.Stream) {
		return run, v.plannedSet(ctx, p, stored, &run)
	}
	var extents []pipeline.Extent
	open, err := v.o.Catalog.OpenRun(ctx, stored.ID)
	if err != nil {
		return run, err
	}
	if open != nil {
		run.Number, run.Fixed, extents = open.Number, true, open.Extents
	} else if extents, _, _, err = next(ctx, v.o.Catalog, stored, pipeline.Limits{Bytes: p.Config.MaxRun}); err != nil {
		return run, err
	}
	days := map[journal.Day]*operation.PlannedDay{}
	for _, e := range extents {
		d := days[e.UTCDate]
		if d == nil {
			d = &operation.PlannedDay{Date: e.UTCDate.String()}
			days[e.UTCDate] = d
		}
		d.Rows += e.Rows
		d.Bytes += e.Bytes
		run.Rows += e.Rows
		run.Bytes += e.Bytes
	}
	for _, d := range days {
		run.Days = append(run.Days, *d)
	}
	sort.Slice(run.Days, func(i, j int) bool { return run.Days[i].Date < run.Days[j].Date })
	return run, nil
}

// plannedSet adds the rows of a run that replaces a set. Changes that are not
// folded yet are only counted.
func (v *View) plannedSet(ctx context.Context, p *Pipeline, stored *pipeline.Pipeline, run *operation.PlannedRun) error {
	open, err := v.o.Catalog.OpenRun(ctx, stored.ID)
	if err != nil {
		return err
	}
	if open != nil {
		totals := open.Totals()
		run.Number, run.Fixed, run.Rows, run.Bytes = open.Number, true, totals.Rows, totals.Bytes
		return nil
	}
	g, err := v.o.Catalog.Generation(ctx, p.Config.Project.ID, p.Config.Stream)
	if err != nil {
		return err
	}
	if g == nil {
		g = &pipeline.Generation{}
	}
	seq, err := v.o.Catalog.Sequence(ctx, p.Config.Project.ID)
	if err != nil {
		return err
	}
	waiting, _, err := p.project.State(p.Config.Stream).Unfolded(ctx, g.Seq, seq, math.MaxInt64)
	if err != nil {
		return err
	}
	run.Rows, run.Bytes, run.Changes = g.Rows, g.Bytes, pipeline.Sum(waiting).Rows
	if run.Changes > 0 {
		return nil
	}
	last, err := exported(ctx, v.o.Catalog, stored)
	if err != nil {
		return err
	}
	if run.Unchanged = unchanged(g, last, p.Config.AllowShrink); !run.Unchanged {
		run.Refused = v.refusal(stored, g, last)
	}
	return nil
}

// plannable is the registered pipeline, or one that is made as if it were
// registered now.
func (v *View) plannable(ctx context.Context, p *Pipeline) (*pipeline.Pipeline, error) {
	stored, err := p.stored(ctx)
	if !errors.Is(err, catalog.ErrUnknownPipeline) {
		return stored, err
	}
	seq, seqErr := v.o.Catalog.Sequence(ctx, p.Config.Project.ID)
	if seqErr != nil {
		return nil, seqErr
	}
	return &pipeline.Pipeline{Definition: p.Config.Definition(), Cursor: pipeline.NewCursor(seq)}, nil
}
