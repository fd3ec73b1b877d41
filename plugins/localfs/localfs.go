package localfs

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Version is the plugin's version.
const Version = "0.1.0"

// Plugin describes the destination for sdk.Serve.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:         "localfs",
		Version:      Version,
		Schema:       attributes(),
		Capabilities: lake.Capabilities(),
		New:          open,
		Setup:        prepare,
	}
}

func attributes() schema.Schema {
	return schema.Schema{Attributes: []schema.Attribute{
		{
			Name: "path", Type: schema.Path, Required: true,
			Description: "The directory to write to. It is created if it does not exist.",
		},
		{
			Name: "prefix", Type: schema.String,
			Description: "The directories between path and the project's id, as in \"exports/mixpanel\".",
		},
		{
			Name: "format", Type: schema.String, Default: "json", Allowed: formats.Names(),
			Description: formats.Description("files"),
		},
	}}
}

type config struct {
	Path   string `json:"path"`
	Prefix string `json:"prefix"`
	Format string `json:"format"`
}

// destination is a Lake over a directory, with the targets and checks of one
// project.
type destination struct {
	*lake.Lake
	store   *store
	project sdk.Project
	root    string // of names
}

func open(_ context.Context, c sdk.Config) (sdk.Destination, error) {
	var conf config
	if err := c.Decode(&conf); err != nil {
		return nil, err
	}
	var mistakes sdk.Diagnostics
	if !filepath.IsAbs(conf.Path) {
		mistakes = append(mistakes, sdk.Diagnostic{
			Severity: sdk.SeverityError, Attribute: "path", Summary: "Path is not absolute",
			Detail: fmt.Sprintf("%q does not start at the root of the file system.", conf.Path),
		})
	}
	root, err := lake.CleanPrefix(conf.Prefix)
	if err != nil {
		mistakes = append(mistakes, sdk.Diagnostic{
			Severity: sdk.SeverityError, Attribute: "prefix", Summary: "Prefix cannot name a directory",
			Detail: err.Error() + ". Elements are separated by single slashes, as in \"exports/mixpanel\".",
		})
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	s := newStore(filepath.Clean(conf.Path))
	return &destination{
		Lake:    lake.New(lake.Options{Store: s, Root: root, Format: formats.Named(conf.Format), Logger: c.Logger}),
		store:   s,
		project: c.Project,
		root:    root,
	}, nil
}

// Targets implements sdk.Destination. Symbolic links in the path are resolved, so
// that two names of one directory give the same target.
func (d *destination) Targets() []sdk.Target {
	var targets []sdk.Target
	base := resolve(d.store.root)
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People, sdk.Identity} {
		dir, err := lake.StreamDir(d.root, d.project.ID, stream)
		if err != nil {
			continue
		}
		u := url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(base, dir)) + "/"}
		targets = append(targets, sdk.Target{Stream: stream, URI: u.String()})
	}
	return targets
}

// resolve follows the symbolic links in the part of the path that exists.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolve(parent), filepath.Base(path))
}

// Check implements sdk.Checker.
func (d *destination) Check(ctx context.Context) []sdk.CheckResult {
	return lake.Check(ctx, d.store, d.root, d.project.ID, rand.Text())
}
