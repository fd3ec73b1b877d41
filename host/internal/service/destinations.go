package service

import (
	"context"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// ListDestinations implements Operations.
func (h destinations) ListDestinations(ctx context.Context) ([]operation.DestinationStatus, error) {
	registered, err := h.Runner.View(h.Serving).Pipelines(ctx)
	if err != nil {
		return nil, err
	}
	list := []operation.DestinationStatus{}
	for _, d := range h.Config().Destinations {
		s := operation.DestinationStatus{Name: d.Reference(), Plugin: d.Type, Pipelines: []operation.DestinationPipeline{}}
		for _, p := range h.Config().Pipelines {
			if p.Destination == d {
				s.Pipelines = append(s.Pipelines, exportOf(p, registered))
			}
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b operation.DestinationStatus) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// exportOf returns a configured pipeline as an export to its destination.
func exportOf(p *config.Pipeline, registered []operation.PipelineStatus) operation.DestinationPipeline {
	e := operation.DestinationPipeline{Name: p.Name, Project: p.Project.Name, Stream: p.Stream.String()}
	i := slices.IndexFunc(registered, func(s operation.PipelineStatus) bool { return s.Name == p.Name })
	if i >= 0 {
		e.State, e.Rows, e.LastRun = registered[i].State, registered[i].Rows, registered[i].LastRun
	}
	return e
}

// CheckDestinations implements Operations.
func (h destinations) CheckDestinations(ctx context.Context, name string) ([]operation.DestinationCheck, error) {
	checks, known := []operation.DestinationCheck{}, false
	for _, d := range h.Config().Destinations {
		if name != "" && d.Reference() != name {
			continue
		}
		known = true
		projects := h.exporting(d)
		for _, p := range projects {
			checks = append(checks, h.checkDestination(ctx, d, p)...)
		}
		if len(projects) == 0 {
			checks = append(checks, operation.DestinationCheck{Destination: d.Reference(), Skipped: true, Detail: "no pipeline exports to it"})
		}
	}
	if name != "" && !known {
		return nil, operation.Faultf(operation.UnknownDestination, "the configuration has no destination %q", name)
	}
	return checks, nil
}

// exporting returns the projects that pipelines export to a destination.
func (h destinations) exporting(d *config.Destination) []*config.Project {
	var projects []*config.Project
	for _, p := range h.Config().Pipelines {
		if p.Destination == d && !slices.Contains(projects, p.Project) {
			projects = append(projects, p.Project)
		}
	}
	return projects
}

// checkDestination returns the results of a plugin's check for one project: at
// least one, so that no destination is left out without a word.
func (h destinations) checkDestination(ctx context.Context, c *config.Destination, p *config.Project) []operation.DestinationCheck {
	d, err := h.Destinations.Configured(ctx, c, p)
	var results []protocol.CheckResult
	if err == nil {
		results, err = d.Check(ctx, p.ID)
	}
	if err != nil {
		results = append(results, protocol.CheckResult{Action: "connect", Detail: err.Error()})
	}
	if len(results) == 0 {
		return []operation.DestinationCheck{{Destination: c.Reference(), Project: p.Name, Skipped: true, Detail: "this plugin has no check"}}
	}
	checks := make([]operation.DestinationCheck, 0, len(results))
	for _, r := range results {
		checks = append(checks, operation.DestinationCheck{Destination: c.Reference(), Project: p.Name, Action: r.Action, OK: r.OK, Detail: r.Detail})
	}
	return checks
}
