package service

import (
	"context"
	"slices"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/operation"
)

// Status implements Operations.
func (h status) Status(ctx context.Context) (*operation.Status, error) {
	s := &operation.Status{Version: h.Version, DataDir: h.Dir.Data, Running: h.Serving, Projects: []operation.ProjectStatus{}}
	projects, err := h.Catalog.Projects(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		folded, err := links(h).identityStatus(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		missing, err := h.missingSegments(ctx, p.ID, p.Name)
		if err != nil {
			return nil, err
		}
		s.Projects = append(s.Projects, operation.ProjectStatus{
			Name: p.Name, ID: p.ID, TimeZone: p.TimeZone, Sequence: p.Sequence, Segments: p.Segments, Rows: p.Rows, Bytes: p.Bytes,
			Identity: folded, Missing: missing, Failing: h.failing(p.ID),
		})
	}
	for _, p := range h.Config().Projects {
		if !slices.ContainsFunc(projects, func(known catalog.Project) bool { return known.ID == p.ID }) {
			s.Projects = append(s.Projects, operation.ProjectStatus{Name: p.Name, ID: p.ID, TimeZone: p.TimeZone.String()})
		}
	}
	if err := h.Intake.Describe(ctx, s); err != nil {
		return nil, err
	}
	if s.Quarantine, err = records(h).quarantineStatus(); err != nil {
		return nil, err
	}
	if s.Upkeep, err = h.Upkeep.Last(ctx); err != nil {
		return nil, err
	}
	s.Pipelines, err = h.Runner.View(h.Serving).Pipelines(ctx)
	return s, err
}

// Plan implements Operations. It starts no plugin: a destination's limit on
// days is not known to it.
func (h status) Plan(ctx context.Context) ([]operation.PlannedRun, error) {
	planned, err := h.Runner.View(h.Serving).Plan(ctx)
	if err != nil {
		return nil, err
	}
	for i, p := range h.Runner.All() {
		if planned[i].Unread, err = h.Intake.Unread(ctx, p.Config); err != nil {
			return nil, err
		}
	}
	return planned, nil
}

// failing returns the reason why the journal of a project takes nothing now; "": it
// does, or the project is not configured.
func (h status) failing(id int64) string {
	if p := h.Projects.ByID(id); p != nil {
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
