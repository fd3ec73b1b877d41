package host

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/source/files"
)

// Plan implements Operations. It starts no plugin: a destination's limit on
// days is not known to it.
func (h *Host) Plan(ctx context.Context) ([]operation.PlannedRun, error) {
	planned := []operation.PlannedRun{}
	for _, p := range h.config.Pipelines {
		run, err := h.planned(ctx, p)
		if err == nil {
			run.Unread, err = h.unread(ctx, p)
		}
		if err != nil {
			return nil, err
		}
		planned = append(planned, run)
	}
	return planned, nil
}

// unread lists the sources with records for a pipeline that are not in the
// journal yet.
func (h *Host) unread(ctx context.Context, p *config.Pipeline) ([]operation.Unread, error) {
	var list []operation.Unread
	for _, s := range h.config.Sources {
		if s.Project != p.Project || s.Records != p.Stream {
			continue
		}
		if u := h.unreadFiles(ctx, s); u != nil {
			list = append(list, *u)
		}
	}
	for _, x := range h.pulls {
		if u := x.unpulled(p); u != nil {
			list = append(list, *u)
		}
	}
	collectors, err := h.collectorStatus(ctx)
	if err != nil {
		return nil, err
	}
	for i, c := range h.config.Collectors {
		if !slices.Contains(c.Projects, p.Project) {
			continue
		}
		n, err := h.unreadRequests(ctx, c, p.Project, collectors[i].Waiting)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", c.Reference(), err)
		}
		if n > 0 {
			list = append(list, operation.Unread{Source: c.Reference(), Requests: n, Bytes: collectors[i].LogBytes})
		}
	}
	return list, nil
}

// unreadRequests counts the requests for a project that are in a collector's log
// and not in a journal. waiting are those of all its projects, if it listens.
func (h *Host) unreadRequests(ctx context.Context, c *config.Collector, p *config.Project, waiting *int64) (int64, error) {
	if waiting != nil {
		return *waiting, nil
	}
	projects, err := h.waitingInLog(ctx, c)
	return projects[p.ID], err
}

// unreadFiles returns the part of a source that was not read yet; nil if there
// is nothing to read.
func (h *Host) unreadFiles(ctx context.Context, s *config.Source) *operation.Unread {
	pending, err := h.pending(ctx, s)
	switch {
	case err != nil:
		return &operation.Unread{Source: s.Reference(), Error: err.Error()}
	case pending.Files == 0:
		return nil
	}
	return &operation.Unread{Source: s.Reference(), Files: pending.Files, Bytes: pending.Bytes}
}

// errNotListed says that status and plan do not look into a bucket.
var errNotListed = errors.New("its files are in a bucket, which is only listed to read them")

// pending looks for the files of a source that are not read yet. It reads none
// of them.
func (h *Host) pending(ctx context.Context, s *config.Source) (files.Pending, error) {
	if strings.Contains(s.Pattern, "://") {
		return files.Pending{}, errNotListed
	}
	cursors, err := h.catalog.Cursors(ctx, s.Project.ID, s.Reference())
	if err != nil {
		return files.Pending{}, err
	}
	source, err := files.Open(ctx, files.Options{Name: s.Reference(), Pattern: s.Pattern, Follow: s.Follow, Cursors: cursors})
	if err != nil {
		return files.Pending{}, err
	}
	return source.Pending(), source.Close()
}

func (h *Host) planned(ctx context.Context, p *config.Pipeline) (operation.PlannedRun, error) {
	stored, err := h.plannable(ctx, p)
	if err != nil {
		return operation.PlannedRun{}, err
	}
	run := operation.PlannedRun{Pipeline: p.Name, Number: stored.LastRun + 1, Phase: phase(stored), Days: []operation.PlannedDay{}, State: unregisteredPipeline}
	if stored.ID != "" {
		status, err := h.pipelineStatus(ctx, stored)
		if err != nil {
			return run, err
		}
		run.State = status.State
	}
	if pipeline.Replaced(p.Stream) {
		return run, h.plannedSet(ctx, p, stored, &run)
	}
	var extents []pipeline.Extent
	open, err := h.catalog.OpenRun(ctx, stored.ID)
	if err != nil {
		return run, err
	}
	if open != nil {
		run.Number, run.Fixed, extents = open.Number, true, open.Extents
	} else if extents, _, _, err = h.next(ctx, stored, h.limits(p, nil)); err != nil {
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
func (h *Host) plannedSet(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline, run *operation.PlannedRun) error {
	open, err := h.catalog.OpenRun(ctx, stored.ID)
	if err != nil {
		return err
	}
	if open != nil {
		totals := open.Totals()
		run.Number, run.Fixed, run.Rows, run.Bytes = open.Number, true, totals.Rows, totals.Bytes
		return nil
	}
	g, err := h.catalog.Generation(ctx, p.Project.ID, p.Stream)
	if err != nil {
		return err
	}
	if g == nil {
		g = &pipeline.Generation{}
	}
	seq, err := h.catalog.Sequence(ctx, p.Project.ID)
	if err != nil {
		return err
	}
	waiting, _, err := h.projects.Of(p.Project).State(p.Stream).Unfolded(ctx, g.Seq, seq, math.MaxInt64)
	if err != nil {
		return err
	}
	run.Rows, run.Bytes, run.Changes = g.Rows, g.Bytes, pipeline.Sum(waiting).Rows
	if run.Changes > 0 {
		return nil
	}
	last, err := h.exported(ctx, stored)
	if err != nil {
		return err
	}
	if run.Unchanged = unchanged(g, last, p.AllowShrink); !run.Unchanged {
		run.Refused, err = h.refusal(ctx, stored, g)
	}
	return err
}

// plannable is the registered pipeline, or one that is made as if it were
// registered now.
func (h *Host) plannable(ctx context.Context, p *config.Pipeline) (*pipeline.Pipeline, error) {
	stored, err := h.registered(ctx, p)
	if !errors.Is(err, catalog.ErrUnknownPipeline) {
		return stored, err
	}
	seq, seqErr := h.catalog.Sequence(ctx, p.Project.ID)
	if seqErr != nil {
		return nil, seqErr
	}
	return &pipeline.Pipeline{Definition: p.Definition(), Cursor: pipeline.NewCursor(seq)}, nil
}
