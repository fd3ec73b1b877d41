package host

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Names are the names in a configuration, in the order of its blocks. Sources
// and destinations have their type before a point: "s3.lake".
type Names struct {
	Projects, Sources, Destinations, Pipelines []string
	Pulls                                      []string // sources that pull
	PluginDir                                  string   // absolute; "" if it is not known
}

// ReadNames reads the names that a configuration gives, as far as it can be
// read. It starts no plugin and opens no data directory.
func ReadNames(ctx context.Context, paths []string) Names {
	c, _ := readOffline(ctx, paths)
	n := Names{PluginDir: c.Host.PluginDir}
	for _, p := range c.Projects {
		n.Projects = append(n.Projects, p.Name)
	}
	for _, s := range c.Sources {
		n.Sources = append(n.Sources, s.Reference())
	}
	for _, s := range c.Collectors {
		n.Sources = append(n.Sources, s.Reference())
	}
	for _, s := range c.Mixpanel {
		n.Sources = append(n.Sources, s.Reference())
		n.Pulls = append(n.Pulls, s.Reference())
	}
	for _, d := range c.Destinations {
		n.Destinations = append(n.Destinations, d.Reference())
	}
	for _, p := range c.Pipelines {
		n.Pipelines = append(n.Pipelines, p.Name)
	}
	return n
}

// PluginDir returns the plugin directory that a configuration names, and the user that
// plugins run as, whatever else is wrong with it. When that cannot be read, the mistakes are a
// *ConfigurationError.
func PluginDir(ctx context.Context, paths []string) (dir, user string, err error) {
	c, diagnostics := readOffline(ctx, paths)
	if c.Host.PluginDir == "" {
		return "", "", &ConfigurationError{Diagnostics: diagnostics}
	}
	return c.Host.PluginDir, c.Host.PluginUser, nil
}

// readOffline reads a configuration without any plugin or catalog.
func readOffline(ctx context.Context, paths []string) (*Config, Diagnostics) {
	c, list := config.Load(ctx, config.Options{
		Paths: paths, Command: true, Now: time.Now(), Env: os.LookupEnv,
		Schema: func(context.Context, string, string) (schema.Schema, error) {
			return schema.Schema{}, errors.New("not asked")
		},
		Registered: func(string, string) (journal.Day, bool) { return 0, true },
	})
	return c, diagnostic.Found{List: list, Sources: c.Files}
}
