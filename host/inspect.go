package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/files"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Status implements Operations.
func (h *Host) Status(ctx context.Context) (*operation.Status, error) {
	s := &operation.Status{Version: version, DataDir: h.dir.Data, Running: h.serving, Projects: []operation.ProjectStatus{}}
	projects, err := h.catalog.Projects(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		links, err := h.identityStatus(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		missing, err := h.missingSegments(ctx, p.ID, p.Name)
		if err != nil {
			return nil, err
		}
		s.Projects = append(s.Projects, operation.ProjectStatus{
			Name: p.Name, ID: p.ID, TimeZone: p.TimeZone, Sequence: p.Sequence, Segments: p.Segments, Rows: p.Rows, Bytes: p.Bytes,
			Identity: links, Missing: missing, Failing: h.failing(p.ID),
		})
	}
	for _, p := range h.config.Projects {
		if !slices.ContainsFunc(projects, func(known catalog.Project) bool { return known.ID == p.ID }) {
			s.Projects = append(s.Projects, operation.ProjectStatus{Name: p.Name, ID: p.ID, TimeZone: p.TimeZone.String()})
		}
	}
	if s.Sources, err = h.sourceStatus(ctx); err != nil {
		return nil, err
	}
	if s.Collectors, err = h.collectorsNow(ctx); err != nil {
		return nil, err
	}
	if s.Pulls, err = h.pullStatus(); err != nil {
		return nil, err
	}
	if s.Quarantine, err = h.quarantineStatus(); err != nil {
		return nil, err
	}
	s.Pipelines, err = h.Pipelines(ctx)
	return s, err
}

// failing returns the reason why the journal of a project takes nothing now; "": it
// does, or the project is not configured.
func (h *Host) failing(id int64) string {
	if p := h.projects.ByID(id); p != nil {
		return textOf(p.Journal.Err())
	}
	return ""
}

// textOf returns the text of an error; "" for nil.
func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// collectorsNow is the status of collectors; of those that do not listen, the
// entries that wait in their logs are counted on disk.
func (h *Host) collectorsNow(ctx context.Context) ([]operation.CollectorStatus, error) {
	statuses, err := h.collectorStatus(ctx)
	if err != nil {
		return nil, err
	}
	for i, c := range h.config.Collectors {
		if statuses[i].Waiting != nil {
			continue
		}
		projects, err := h.waitingInLog(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", c.Reference(), err)
		}
		waiting := int64(0)
		for _, n := range projects {
			waiting += n
		}
		statuses[i].Waiting = &waiting
	}
	return statuses, nil
}

// waitingInLog counts the entries of a log, which no collector has open, that
// are not in the journal of their project, by project.
func (h *Host) waitingInLog(ctx context.Context, c *config.Collector) (map[int64]int64, error) {
	sealed := map[int64]uint64{}
	for _, p := range h.config.Projects {
		last, err := rowlog.Sealed(ctx, h.catalog, c.Reference(), p.ID)
		if err != nil {
			return nil, err
		}
		sealed[p.ID] = last
	}
	return rowlog.WaitingIn(h.collectorPath(c), sealed)
}

func (h *Host) sourceStatus(ctx context.Context) ([]operation.SourceStatus, error) {
	counts, err := h.quarantine.Counts()
	if err != nil {
		return nil, err
	}
	sources := []operation.SourceStatus{}
	for _, source := range h.config.Sources {
		cursors, err := h.catalog.Cursors(ctx, source.Project.ID, source.Reference())
		if err != nil {
			return nil, err
		}
		told, err := files.Describe(cursors)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", source.Reference(), err)
		}
		noFile, err := files.Unmatched(ctx, source.Pattern)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", source.Reference(), err)
		}
		sources = append(sources, operation.SourceStatus{
			Unread: h.unreadFiles(ctx, source), Name: source.Reference(), NoFile: noFile, Positions: told.Files, Replaced: told.Replaced,
			Warning: crowded(told), Repaired: told.Repaired, Waiting: told.Waiting, Quarantined: refusedTotals(counts[source.Reference()]),
		})
	}
	return sources, nil
}

// manyFiles is how many files a source remembers before status and the log say so.
const manyFiles = 10_000

// crowded returns a warning if a source remembers many files, or "". None is ever
// forgotten: its content could come back under another name, and operations on
// profiles would count twice.
func crowded(d files.Description) string {
	n := d.Files + d.Replaced
	if n < manyFiles {
		return ""
	}
	return fmt.Sprintf("it remembers %d files, with about 1 KiB of memory each, and forgets none, so that no record is read twice: "+
		"move the files that were read out of its path, and give the source another name to begin again", n)
}

// PausePipeline implements Operations.
func (h *Host) PausePipeline(ctx context.Context, name string, paused bool) (*operation.Pause, error) {
	state := pipeline.Active
	if paused {
		state = pipeline.Paused
	}
	before, err := h.knownPipeline(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := h.catalog.SetPipelineState(ctx, name, state); err != nil {
		return nil, err
	}
	done := &operation.Pause{Pipeline: name, Paused: paused, Changed: before.State != state}
	switch c := h.config.Pipeline(name); {
	case c == nil:
		done.Removed = true
	case c.Paused:
		at := c.AttributeRange("paused")
		done.Paused, done.Configured = true, fmt.Sprintf("%s:%d", at.Filename, at.Start.Line)
	}
	return done, nil
}

// latestRuns is how many runs of a pipeline are listed.
const latestRuns = 50

// Runs implements Operations.
func (h *Host) Runs(ctx context.Context, name string) ([]operation.RunStatus, error) {
	pipelines, err := h.catalog.Pipelines(ctx)
	if err != nil {
		return nil, err
	}
	statuses := []operation.RunStatus{}
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
			statuses = append(statuses, h.runStatus(p.Name, r))
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
func (h *Host) knownPipeline(ctx context.Context, name string) (*pipeline.Pipeline, error) {
	p, err := h.catalog.Pipeline(ctx, name)
	if !errors.Is(err, catalog.ErrUnknownPipeline) {
		return p, err
	}
	all, listErr := h.catalog.Pipelines(ctx)
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
func (h *Host) RetryRun(ctx context.Context, name string, number int64) error {
	p, err := h.knownPipeline(ctx, name)
	if err != nil {
		return err
	}
	return h.catalog.RetryRun(ctx, p.ID, number)
}

// CheckDestinations implements Operations.
func (h *Host) CheckDestinations(ctx context.Context, name string) ([]operation.DestinationCheck, error) {
	checks := []operation.DestinationCheck{}
	for _, d := range h.config.Destinations {
		if name != "" && d.Reference() != name {
			continue
		}
		projects := h.exporting(d)
		for _, p := range projects {
			checks = append(checks, h.checkDestination(ctx, d, p)...)
		}
		if len(projects) == 0 {
			checks = append(checks, operation.DestinationCheck{Destination: d.Reference(), Skipped: true, Detail: "no pipeline exports to it"})
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

func (h *Host) checkDestination(ctx context.Context, c *config.Destination, p *config.Project) []operation.DestinationCheck {
	d, err := h.places.Configured(ctx, c, p)
	var results []protocol.CheckResult
	if err == nil {
		results, err = d.Check(ctx, p.ID)
	}
	if err != nil {
		results = append(results, protocol.CheckResult{Action: "connect", Detail: err.Error()})
	}
	checks := make([]operation.DestinationCheck, 0, len(results))
	for _, r := range results {
		checks = append(checks, operation.DestinationCheck{Destination: c.Reference(), Project: p.Name, Action: r.Action, OK: r.OK, Detail: r.Detail})
	}
	return checks
}

// Segments implements Operations.
func (h *Host) Segments(ctx context.Context) ([]operation.SegmentStatus, error) {
	segments := []operation.SegmentStatus{}
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

func segmentStatus(project string, s journal.Segment) operation.SegmentStatus {
	status := operation.SegmentStatus{Project: project, Sequence: s.Seq, Blob: s.Blob, Bytes: s.Size, SealedAt: s.SealedAt, Extents: []operation.ExtentStatus{}}
	for _, e := range s.Extents {
		status.Rows += e.Rows
		status.Extents = append(status.Extents, operation.ExtentStatus{
			Kind: e.Kind.String(), UTCDate: e.UTCDate.String(), ZoneDate: e.ZoneDate.String(), Rows: e.Rows, Bytes: e.Bytes,
		})
	}
	return status
}
