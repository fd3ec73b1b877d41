package host

import (
	"context"
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// destination is a destination block's plugin, with the targets that it
// answered for each project.
type destination struct {
	*plugin.Destination
	config  *config.Destination
	targets map[int64][]protocol.Target
}

// Export adapts the plugin's export to what package export needs.
func (d *destination) Export(ctx context.Context, rejected func([]protocol.RejectedRow) error) (export.Session, error) {
	return d.Destination.Export(ctx, rejected)
}

// destination starts and configures a destination for a project. What the
// plugin finds wrong in its configuration is a *ConfigurationError.
func (h *Host) destination(ctx context.Context, c *config.Destination, p *config.Project) (*destination, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.places[c]
	if d == nil {
		d = &destination{Destination: h.plugins.Destination(c.Type, c.Name), config: c, targets: map[int64][]protocol.Target{}}
		h.places[c] = d
	}
	if _, ok := d.targets[p.ID]; ok {
		return d, nil
	}
	configured, err := d.Configure(ctx, protocol.Project{ID: p.ID, Name: p.Name, TimeZone: p.TimeZone.String(), Token: p.Token}, c.JSON)
	if err != nil {
		return nil, fmt.Errorf("configure destination %s: %w", c.Reference(), err)
	}
	if err := h.mistakes(c, configured.Diagnostics); err != nil {
		return nil, err
	}
	d.targets[p.ID] = configured.Targets
	return d, nil
}

// mistakes gives a plugin's diagnostics their places in the configuration.
// Warnings are logged.
func (h *Host) mistakes(c *config.Destination, found []protocol.Diagnostic) error {
	var list hcl.Diagnostics
	for _, d := range found {
		place := c.AttributeRange(d.Attribute)
		if d.Severity == protocol.SeverityWarning {
			h.log.Warn(d.Summary, "destination", c.Reference(), "attribute", d.Attribute, "detail", d.Detail)
			continue
		}
		list = append(list, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: d.Summary, Detail: d.Detail, Subject: &place})
	}
	if len(list) == 0 {
		return nil
	}
	return &ConfigurationError{Diagnostics{list: list, sources: h.config.Files}}
}

// targetsOf are the places that a pipeline writes to.
func (d *destination) targetsOf(p *config.Pipeline) []pipeline.Target {
	var targets []pipeline.Target
	for _, t := range d.targets[p.Project.ID] {
		if t.Stream == p.Stream {
			targets = append(targets, pipeline.Target{ProjectID: p.Project.ID, Stream: t.Stream, URI: t.URI})
		}
	}
	return targets
}
