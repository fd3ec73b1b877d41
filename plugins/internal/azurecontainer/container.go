package azurecontainer

import (
	"context"
	"crypto/rand"
	"os"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
)

// Version is the plugin's version.
const Version = "0.1.0"

// Plugin describes the destination for sdk.Serve. All destinations of the process
// share one pool of block buffers.
func Plugin() sdk.Plugin {
	shared := parts.NewPool(blockBuffers, blockSize)
	return sdk.Plugin{
		Name:         "azure",
		Version:      Version,
		Schema:       attributes(),
		Capabilities: lake.Capabilities(),
		Environment:  Environment(),
		New: func(_ context.Context, c sdk.Config) (sdk.Destination, error) {
			return open(c, shared)
		},
		Setup: prepare,
	}
}

// destination is a Lake over a container, with the targets and checks of one
// project.
type destination struct {
	*lake.Lake
	store   *store
	project sdk.Project
	root    string // of names
}

func open(c sdk.Config, shared *parts.Pool) (sdk.Destination, error) {
	var conf config
	if err := c.Decode(&conf); err != nil {
		return nil, err
	}
	conf = conf.withEnvironment(os.LookupEnv)
	if err := conf.check(lake.EmptyAttributes(c, "prefix")); err != nil {
		return nil, err
	}
	root, err := lake.CleanPrefix(conf.Prefix)
	if err != nil {
		return nil, sdk.Configuration(err, "")
	}
	s, err := newStore(conf, shared, newTransport())
	if err != nil {
		return nil, err
	}
	return &destination{
		Lake:    lake.New(lake.Options{Store: s, Root: root, Format: formats.Named(conf.Format), Logger: c.Logger}),
		store:   s,
		project: c.Project,
		root:    root,
	}, nil
}

// Targets implements sdk.Destination.
func (d *destination) Targets() []sdk.Target {
	return lake.Targets(d.store.config.targetBase(), d.root, d.project.ID)
}

// Check implements sdk.Checker.
func (d *destination) Check(ctx context.Context) []sdk.CheckResult {
	return lake.Check(ctx, d.store, d.root, d.project.ID, rand.Text())
}
