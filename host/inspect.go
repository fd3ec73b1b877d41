package host

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/source/files"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Status implements Operations.
func (h *Host) Status(ctx context.Context) (*Status, error) {
	s := &Status{Version: version, DataDir: h.config.Host.DataDir, Running: h.serving, Projects: []ProjectStatus{}}
	projects, err := h.catalog.Projects(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		links, err := h.identityStatus(p.ID)
		if err != nil {
			return nil, err
		}
		s.Projects = append(s.Projects, ProjectStatus{
			Name: p.Name, ID: p.ID, TimeZone: p.TimeZone, Sequence: p.Sequence, Segments: p.Segments, Rows: p.Rows, Bytes: p.Bytes,
			Identity: links,
		})
	}
	if s.Sources, err = h.sourceStatus(ctx); err != nil {
		return nil, err
	}
	if s.Collectors, err = h.collectorStatus(ctx); err != nil {
		return nil, err
	}
	if s.Quarantine, err = h.quarantineStatus(); err != nil {
		return nil, err
	}
	s.Pipelines, err = h.Pipelines(ctx)
	return s, err
}

func (h *Host) sourceStatus(ctx context.Context) ([]SourceStatus, error) {
	counts, err := h.quarantine.Counts()
	if err != nil {
		return nil, err
	}
	sources := []SourceStatus{}
	for _, source := range h.config.Sources {
		cursors, err := h.catalog.Cursors(ctx, source.Project.ID, source.Reference())
		if err != nil {
			return nil, err
		}
		told, err := files.Describe(cursors)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", source.Reference(), err)
		}
		noFile := ""
		if n, ok, err := files.Matched(ctx, source.Pattern); ok && err == nil && n == 0 {
			noFile = source.Pattern
		}
		sources = append(sources, SourceStatus{
			Name: source.Reference(), NoFile: noFile, Positions: told.Files, Repaired: told.Repaired, Waiting: told.Waiting,
			Quarantined: refusedTotals(counts[source.Reference()]),
		})
	}
	return sources, nil
}

// Pipelines implements Operations.
func (h *Host) Pipelines(ctx context.Context) ([]PipelineStatus, error) {
	stored, err := h.catalog.Pipelines(ctx)
	if err != nil {
		return nil, err
	}
	statuses := make([]PipelineStatus, 0, len(stored))
	for _, p := range stored {
		s, err := h.pipelineStatus(ctx, p)
		if err != nil {
			return nil, err
		}
		statuses = append(statuses, s)
	}
	return statuses, nil
}

func (h *Host) pipelineStatus(ctx context.Context, p *pipeline.Pipeline) (PipelineStatus, error) {
	s := PipelineStatus{
		Name: p.Name, ID: p.ID, Stream: p.Stream.String(), Destination: p.Destination, State: string(p.State),
		Phase: phase(p), Sequence: p.Cursor.Live.Seq, Runs: p.LastRun,
	}
	seq, err := h.catalog.Sequence(ctx, p.ProjectID)
	if err != nil {
		return s, err
	}
	s.Behind = seq - p.Cursor.Live.Seq
	runs, err := h.catalog.Runs(ctx, p.ID, 2)
	if err != nil {
		return s, err
	}
	if len(runs) > 0 {
		last := runStatus(p.Name, runs[0])
		s.LastRun = &last
	}
	if replaced(p.Stream) {
		return s, h.replacementStatus(ctx, p, runs, &s)
	}
	s.Rows, s.Rejected, _, err = h.catalog.ExportedTotals(ctx, p.ID)
	return s, err
}

// replacementStatus fills in what is known of a set that is replaced: runs are
// the pipeline's latest ones.
func (h *Host) replacementStatus(ctx context.Context, p *pipeline.Pipeline, runs []catalog.RunRecord, s *PipelineStatus) error {
	for _, r := range runs {
		if r.Receipt != nil {
			s.Rows, s.Rejected = r.Receipt.Rows, r.Receipt.Rejected
			break
		}
	}
	if len(runs) > 0 && !runs[0].State.Terminal() {
		return nil
	}
	g, err := h.catalog.Generation(ctx, p.ProjectID, p.Stream)
	if err != nil || g == nil {
		return err
	}
	s.Refused, err = h.refusal(ctx, p, g)
	return err
}

// refusal says why a generation would not replace what a pipeline without an
// open run has exported; "" when it would.
func (h *Host) refusal(ctx context.Context, p *pipeline.Pipeline, g *pipeline.Generation) (string, error) {
	last, err := h.exported(ctx, p)
	if err != nil {
		return "", err
	}
	c := h.pipeline(p.Name)
	if _, err := pipeline.Replacement(p, g, last.Rows, c != nil && c.AllowShrink); err != nil {
		return err.Error(), nil
	}
	return "", nil
}

// phase is a pipeline's phase in words.
func phase(p *pipeline.Pipeline) string {
	switch {
	case replaced(p.Stream):
		return "full set"
	case p.Cursor.BackfillDone:
		return "live"
	default:
		return "backfill"
	}
}

func runStatus(name string, r catalog.RunRecord) RunStatus {
	totals := r.Totals()
	s := RunStatus{
		Pipeline: name, Number: r.Number, State: string(r.State), Days: totals.Days,
		Rows: totals.Rows, Bytes: totals.Bytes, Fence: r.Fence, PlannedAt: r.PlannedAt, Error: r.Error,
	}
	if r.Generation == nil {
		s.From, s.To = totals.From.String(), totals.To.String()
	}
	if !r.FinishedAt.IsZero() {
		s.FinishedAt = &r.FinishedAt
	}
	if r.Receipt != nil {
		s.Rejected, s.StoredBytes = r.Receipt.Rejected, r.Receipt.StoredBytes
		for _, p := range r.Receipt.Partitions {
			s.Objects = append(s.Objects, p.Objects...)
		}
	}
	return s
}

// PausePipeline implements Operations.
func (h *Host) PausePipeline(ctx context.Context, name string, paused bool) error {
	state := pipeline.Active
	if paused {
		state = pipeline.Paused
	}
	return h.catalog.SetPipelineState(ctx, name, state)
}

// latestRuns is how many runs of a pipeline are listed.
const latestRuns = 50

// Runs implements Operations.
func (h *Host) Runs(ctx context.Context, name string) ([]RunStatus, error) {
	pipelines, err := h.catalog.Pipelines(ctx)
	if err != nil {
		return nil, err
	}
	statuses := []RunStatus{}
	known := false
	for _, p := range pipelines {
		if name != "" && p.Name != name {
			continue
		}
		known = true
		runs, err := h.catalog.Runs(ctx, p.ID, latestRuns)
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			statuses = append(statuses, runStatus(p.Name, r))
		}
	}
	if name != "" && !known {
		return nil, fmt.Errorf("%w: %s", catalog.ErrUnknownPipeline, name)
	}
	return statuses, nil
}

// RetryRun implements Operations.
func (h *Host) RetryRun(ctx context.Context, name string, number int64) error {
	p, err := h.catalog.Pipeline(ctx, name)
	if err != nil {
		return err
	}
	return h.catalog.RetryRun(ctx, p.ID, number)
}

// Plan implements Operations. It starts no plugin: a destination's limit on
// days is not known to it.
func (h *Host) Plan(ctx context.Context) ([]PlannedRun, error) {
	planned := []PlannedRun{}
	for _, p := range h.config.Pipelines {
		run, err := h.planned(ctx, p)
		if err != nil {
			return nil, err
		}
		planned = append(planned, run)
	}
	return planned, nil
}

func (h *Host) planned(ctx context.Context, p *config.Pipeline) (PlannedRun, error) {
	stored, err := h.plannable(ctx, p)
	if err != nil {
		return PlannedRun{}, err
	}
	run := PlannedRun{Pipeline: p.Name, Number: stored.LastRun + 1, Phase: phase(stored), Days: []PlannedDay{}}
	if replaced(p.Stream) {
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
	days := map[journal.Day]*PlannedDay{}
	for _, e := range extents {
		d := days[e.UTCDate]
		if d == nil {
			d = &PlannedDay{Date: e.UTCDate.String()}
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

// plannedSet fills in what a run that replaces a set would export. What is not
// folded yet is only counted.
func (h *Host) plannedSet(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline, run *PlannedRun) error {
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
	waiting, _, err := h.unfolded(ctx, h.state(p.Project, p.Stream), g.Seq, seq, math.MaxInt64)
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

// plannable is the registered pipeline, or what it would be if it were
// registered now.
func (h *Host) plannable(ctx context.Context, p *config.Pipeline) (*pipeline.Pipeline, error) {
	stored, err := h.registered(ctx, p)
	if err == nil {
		return stored, nil
	}
	seq, seqErr := h.catalog.Sequence(ctx, p.Project.ID)
	if seqErr != nil {
		return nil, seqErr
	}
	return &pipeline.Pipeline{Definition: definition(p), Cursor: pipeline.NewCursor(seq)}, nil
}

// CheckDestinations implements Operations.
func (h *Host) CheckDestinations(ctx context.Context, name string) ([]DestinationCheck, error) {
	checks := []DestinationCheck{}
	for _, d := range h.config.Destinations {
		if name != "" && d.Reference() != name {
			continue
		}
		projects := h.exporting(d)
		for _, p := range projects {
			checks = append(checks, h.checkDestination(ctx, d, p)...)
		}
		if len(projects) == 0 {
			checks = append(checks, DestinationCheck{Destination: d.Reference(), Skipped: true, Detail: "no pipeline exports to it"})
		}
	}
	if name != "" && len(checks) == 0 {
		return nil, fmt.Errorf("the configuration has no destination %q", name)
	}
	return checks, nil
}

// exporting returns the projects that pipelines export to a destination.
func (h *Host) exporting(d *config.Destination) []*config.Project {
	var projects []*config.Project
	for _, p := range h.config.Pipelines {
		if p.Destination == d && !slices.Contains(projects, p.Project) {
			projects = append(projects, p.Project)
		}
	}
	return projects
}

func (h *Host) checkDestination(ctx context.Context, c *config.Destination, p *config.Project) []DestinationCheck {
	d, err := h.places.configured(ctx, c, p)
	var results []protocol.CheckResult
	if err == nil {
		results, err = d.Check(ctx, p.ID)
	}
	if err != nil {
		results = append(results, protocol.CheckResult{Action: "connect", Detail: err.Error()})
	}
	checks := make([]DestinationCheck, 0, len(results))
	for _, r := range results {
		checks = append(checks, DestinationCheck{Destination: c.Reference(), Project: p.Name, Action: r.Action, OK: r.OK, Detail: r.Detail})
	}
	return checks
}

// Segments implements Operations.
func (h *Host) Segments(ctx context.Context) ([]SegmentStatus, error) {
	segments := []SegmentStatus{}
	for _, p := range h.config.Projects {
		err := h.catalog.Segments(ctx, p.ID, func(s journal.Segment) error {
			segments = append(segments, segmentStatus(p.Name, s))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return segments, nil
}

func segmentStatus(project string, s journal.Segment) SegmentStatus {
	status := SegmentStatus{Project: project, Sequence: s.Seq, Blob: s.Blob, Bytes: s.Size, SealedAt: s.SealedAt, Extents: []ExtentStatus{}}
	for _, e := range s.Extents {
		status.Rows += e.Rows
		status.Extents = append(status.Extents, ExtentStatus{
			Kind: e.Kind.String(), UTCDate: e.UTCDate.String(), ZoneDate: e.ZoneDate.String(), Rows: e.Rows, Bytes: e.Bytes,
		})
	}
	return status
}

// VerifyJournal implements Operations.
func (h *Host) VerifyJournal(ctx context.Context) (*JournalReport, error) {
	report := &JournalReport{Damages: []Damage{}}
	for _, p := range h.config.Projects {
		found, err := journal.Verify(ctx, h.store, func(ctx context.Context, fn func(journal.Segment) error) error {
			return h.catalog.Segments(ctx, p.ID, fn)
		}, func(ctx context.Context) ([]keys.Run, error) { return h.catalog.KeyRuns(ctx, p.ID) })
		if err != nil {
			return nil, err
		}
		report.Segments += found.Segments
		report.Blocks += found.Blocks
		report.Bytes += found.Bytes
		for _, d := range found.Damages {
			report.Damages = append(report.Damages, Damage(d))
		}
		if err := h.verifyStates(ctx, p, report); err != nil {
			return nil, err
		}
	}
	if err := h.verifyLogs(ctx, report); err != nil {
		return nil, err
	}
	return report, h.verifyQuarantine(ctx, report)
}
