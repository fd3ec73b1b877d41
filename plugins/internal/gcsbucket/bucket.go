package gcsbucket

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
)

// Version is the plugin's version.
const Version = "0.1.0"

// Plugin describes the destination for sdk.Serve. The destinations that it
// makes share one set of buffers.
func Plugin() sdk.Plugin {
	shared := parts.NewPool(chunkBuffers, chunkSize)
	return sdk.Plugin{
		Name:         "gcs",
		Version:      Version,
		Schema:       attributes(),
		Capabilities: lake.Capabilities(),
		Environment:  gcp.Environment(),
		New: func(_ context.Context, c sdk.Config) (sdk.Destination, error) {
			return open(c, shared)
		},
		Setup: prepare,
	}
}

// destination is a lake in a bucket.
type destination struct {
	*lake.Lake
	store   *store
	config  config
	project sdk.Project
	root    string // of names
}

func open(c sdk.Config, shared *parts.Pool) (sdk.Destination, error) {
	var conf config
	if err := c.Decode(&conf); err != nil {
		return nil, err
	}
	if err := conf.check(lake.EmptyAttributes(c, "prefix")); err != nil {
		return nil, err
	}
	root, err := lake.CleanPrefix(conf.Prefix)
	if err != nil {
		return nil, sdk.Configuration(err, "")
	}
	s := newStore(conf, shared)
	return &destination{
		Lake:  lake.New(lake.Options{Store: s, Root: root, Format: formats.Named(conf.Format), Logger: c.Logger}),
		store: s, config: conf, project: c.Project, root: root,
	}, nil
}

// Targets implements sdk.Destination.
func (d *destination) Targets() []sdk.Target { return lake.Targets(d.base(), d.root, d.project.ID) }

// base is the bucket as a URI: gs://bucket/ at Google, where names of buckets
// are unique, else gs://host:port/bucket/.
func (d *destination) base() string {
	if d.config.account().IsGoogle() {
		return "gs://" + d.config.Bucket + "/"
	}
	u, err := url.Parse(d.config.Endpoint)
	if err != nil {
		return "gs://" + d.config.Bucket + "/" // New has parsed it
	}
	return "gs://" + strings.ToLower(u.Host) + "/" + d.config.Bucket + "/"
}

// Check implements sdk.Checker.
func (d *destination) Check(ctx context.Context) []sdk.CheckResult {
	results := lake.Check(ctx, d.store, d.root, d.project.ID, rand.Text())
	if d.config.Region != "" {
		results = append(results, d.checkRegion(ctx))
	}
	return results
}

// checkRegion compares the bucket's location with the configured one.
func (d *destination) checkRegion(ctx context.Context) sdk.CheckResult {
	r := sdk.CheckResult{Action: "compare the bucket's location"}
	location, err := d.store.location(ctx)
	switch {
	case err != nil:
		r.Detail = lake.Detail(err) + "; leave region out to do without"
	case !strings.EqualFold(location, d.config.Region):
		r.Detail = "the bucket is in " + location + ", region says " + d.config.Region + ": set region to the bucket's location"
	default:
		r.OK = true
	}
	return r
}
