package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// DestinationSetup are the steps that prepare a service for a destination.
type DestinationSetup struct {
	Destination string      `json:"destination"` // "s3.lake"
	Steps       []SetupStep `json:"steps"`
}

// SetupStep is a piece of a shell script or of a Terraform file.
type SetupStep struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

// SetupDestination asks a destination's plugin for the steps that prepare its
// service, as commands or for Terraform. It needs no data directory and no value
// of a secret. Mistakes that the plugin finds are a *ConfigurationError.
func SetupDestination(ctx context.Context, c *Config, name string, terraform bool) (*DestinationSetup, error) {
	i := slices.IndexFunc(c.Destinations, func(d *config.Destination) bool { return d.Reference() == name })
	if i < 0 {
		return nil, fmt.Errorf("the configuration has no destination %q; it has %s", name, references(c))
	}
	user := &pluginUser{}
	if err := user.find(c.Host.PluginUser); err != nil {
		return nil, err
	}
	manager := plugin.NewManager(plugin.Options{Dir: c.Host.PluginDir, CacheDir: cacheDir(), User: user.user})
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		manager.Stop(ctx)
	}()
	return setup(ctx, c, c.Destinations[i], manager, terraform)
}

func references(c *Config) string {
	var names []string
	for _, d := range c.Destinations {
		names = append(names, d.Reference())
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func setup(ctx context.Context, c *Config, d *config.Destination, manager *plugin.Manager, terraform bool) (*DestinationSetup, error) {
	request := protocol.SetupRequest{Config: d.JSON, Unknown: d.Unknown, Format: protocol.SetupCommands}
	if terraform {
		request.Format = protocol.SetupTerraform
	}
	v := validation{config: c, destinations: newDestinations(c, manager, slog.New(slog.DiscardHandler))}
	for _, p := range v.projects(d) {
		request.Projects = append(request.Projects, protocol.Project{ID: p.ID, Name: p.Name, TimeZone: p.TimeZone.String(), Token: p.Token})
	}
	answer, err := manager.Destination(d.Type, d.Name).Setup(ctx, request)
	if errors.Is(err, protocol.ErrNoSetup) {
		return nil, fmt.Errorf("destination %s: the plugin for %s has no setup text; its documentation says what it needs", d.Reference(), d.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", d.Reference(), err)
	}
	var found diagnostic.Diagnostics
	for _, g := range answer.Diagnostics {
		if g.Severity == protocol.SeverityError {
			found = append(found, d.Diagnostic(hcl.DiagError, g.Attribute, g.Summary, g.Detail))
		}
	}
	if len(found) > 0 {
		return nil, &ConfigurationError{Diagnostics{list: found, sources: c.Files}}
	}
	out := &DestinationSetup{Destination: d.Reference(), Steps: []SetupStep{}}
	for _, s := range answer.Steps {
		out.Steps = append(out.Steps, SetupStep(s))
	}
	return out, nil
}
