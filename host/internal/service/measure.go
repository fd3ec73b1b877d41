package service

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/intake"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/runner"
)

// Measure returns the numbers of the host that metrics show. It takes time with the number
// of pipelines and sources, and not with the size of the journal.
func (s *Service) Measure(ctx context.Context) (*operation.Measures, error) {
	h := s.status.Options
	m := &operation.Measures{Version: h.Version, Ready: s.Ready(ctx)}
	projects, err := h.Catalog.Projects(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		j := operation.JournalMeasure{Project: p.Name, Bytes: p.Bytes}
		if open := h.Projects.ByID(p.ID); open != nil {
			stats := open.Journal.Stats()
			j.Kept, j.Duplicates = stats.Kept, stats.Duplicates
		}
		m.Journals = append(m.Journals, j)
	}
	if m.Sources, err = intake.Measure(ctx, h.Intake); err != nil {
		return nil, err
	}
	if m.Pipelines, err = runner.Measure(ctx, h.Runner); err != nil {
		return nil, err
	}
	for name, n := range h.Restarts() {
		m.Plugins = append(m.Plugins, operation.PluginMeasure{Destination: name, Restarts: n})
	}
	for name, d := range h.Dir.Disks() {
		m.Disks = append(m.Disks, operation.DiskMeasure{Directory: name, Free: d.Free, Size: d.Size})
	}
	m.QuarantineBytes, m.QuarantineCap = h.Records.Used()
	return m, nil
}
