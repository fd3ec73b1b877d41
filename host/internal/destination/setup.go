package destination

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Setup are the steps that prepare a service for a destination.
type Setup struct {
	Destination string `json:"destination"` // "s3.lake"
	Steps       []Step `json:"steps"`
}

// Step is a piece of a shell script or of a Terraform file.
type Step struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

// AskSetup asks a destination's plugin for the steps that prepare its
// service, as commands or for Terraform. It needs no data directory and no value
// of a secret. Mistakes that the plugin finds are a *ConfigurationError.
func AskSetup(ctx context.Context, c *config.Config, name string, terraform bool) (*Setup, error) {
	i := slices.IndexFunc(c.Destinations, func(d *config.Destination) bool { return d.Reference() == name })
	if i < 0 {
		return nil, fmt.Errorf("the configuration has no destination %q; it has %s", name, references(c))
	}
	user, err := plugin.LookupUser(c.Host.PluginUser)
	if err != nil {
		return nil, err
	}
	manager := plugin.NewManager(plugin.Options{Dir: c.Host.PluginDir, CacheDir: plugin.UserCacheDir(), User: user})
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lifecycle.StopTime)
		defer cancel()
		manager.Stop(ctx)
	}()
	return setup(ctx, c, c.Destinations[i], manager, terraform)
}

func references(c *config.Config) string {
	var names []string
	for _, d := range c.Destinations {
		names = append(names, d.Reference())
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func setup(ctx context.Context, c *config.Config, d *config.Destination, manager *plugin.Manager, terraform bool) (*Setup, error) {
	request := protocol.SetupRequest{Config: d.JSON, Unknown: d.Unknown, Format: protocol.SetupCommands}
	if terraform {
		request.Format = protocol.SetupTerraform
	}
	for _, p := range Projects(c, d) {
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
		return nil, &diagnostic.ConfigurationError{Diagnostics: diagnostic.Found{List: found, Sources: c.Files}}
	}
	out := &Setup{Destination: d.Reference(), Steps: []Step{}}
	for _, s := range answer.Steps {
		out.Steps = append(out.Steps, Step(s))
	}
	return out, nil
}
