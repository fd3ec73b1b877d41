package redshift

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/redshiftdata"
	"github.com/hashicorp/go-hclog"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/plugins/internal/jsonlines"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parquet"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// Version is the plugin's version.
const Version = "0.1.0"

const (
	// longestString is the largest varchar of Redshift, in bytes.
	longestString = 65_535
	// setLimit is the largest replaced set, in bytes as gzip: it is one object, of
	// 10,000 parts of 5 MiB.
	setLimit = 40_000_000_000
)

// Plugin describes the destination for sdk.Serve.
func Plugin() sdk.Plugin {
	shared := s3bucket.NewPool()
	return sdk.Plugin{
		Name:         "redshift",
		Version:      Version,
		Schema:       attributes(),
		Capabilities: capabilities(),
		Environment:  s3bucket.Environment(),
		New: func(ctx context.Context, c sdk.Config) (sdk.Destination, error) {
			return open(ctx, c, shared)
		},
		Setup: prepare,
	}
}

func capabilities() sdk.Capabilities {
	c := lake.Capabilities()
	c.GuaranteeText = "Files of a run become visible one by one in partitions that exist, and a retry overwrites them with the same bytes; " +
		"only the manifest says that the run is committed. A replaced set is one object at a location of its own, and the table changes to it in one instant."
	return c
}

// destination is a Lake over a bucket, whose directories are tables of a catalog.
type destination struct {
	*lake.Lake
	store     lake.Store
	catalog   *catalog
	warehouse *warehouse
	project   sdk.Project
	root      string // of names
	base      string // URI of the bucket
}

func open(ctx context.Context, c sdk.Config, shared *parts.Pool) (*destination, error) {
	var conf config
	if err := c.Decode(&conf); err != nil {
		return nil, err
	}
	conf.Config = conf.Complete()
	if err := conf.check(lake.EmptyAttributes(c, "prefix", "session_token")); err != nil {
		return nil, err
	}
	root, err := lake.CleanPrefix(conf.Prefix)
	if err != nil {
		return nil, sdk.Configuration(err, "")
	}
	format, err := formatOf(conf)
	if err != nil {
		return nil, err
	}
	bucket, err := conf.Store(ctx, c.Project, shared)
	if err != nil {
		return nil, err
	}
	d := &destination{project: c.Project, root: root, base: conf.Base()}
	if d.catalog, err = newCatalog(ctx, conf, c.Project); err != nil {
		return nil, err
	}
	streams, err := setsOf(root, c.Project.ID)
	if err != nil {
		return nil, err
	}
	d.store = &sets{Store: bucket, catalog: d.catalog, streams: streams, now: time.Now, log: logger(c)}
	d.Lake = lake.New(lake.Options{Store: d.store, Root: root, Format: format, ObjectLimit: setLimit, OneObject: true, Logger: c.Logger})
	d.warehouse, err = newWarehouse(ctx, conf, c.Project)
	return d, err
}

// logger returns the logger of a configuration; tests have none.
func logger(c sdk.Config) hclog.Logger {
	if c.Logger == nil {
		return hclog.NewNullLogger()
	}
	return c.Logger
}

// formatOf returns the format of the files. Numbers stay as they are, since
// properties are a text.
func formatOf(c config) (lake.Format, error) {
	mode, err := unusual.ParseMode(c.Unusual)
	if err != nil {
		return nil, sdk.Configuration(err, "")
	}
	rules := &unusual.Rules{Mode: mode, RefusesNUL: true, KeepsNumber: func([]byte) bool { return true }}
	limit := columns.Limit{Bytes: longestString, Truncate: c.Oversize == "truncate"}
	if c.Format == "json" {
		return jsonlines.Format{Limit: limit, Unusual: rules}, nil
	}
	return parquet.Format{Limit: limit, Unusual: rules}, nil
}

func newCatalog(ctx context.Context, c config, project sdk.Project) (*catalog, error) {
	conf, err := c.AWS(ctx, c.glueRegion(), c.glueRole(), project)
	if err != nil {
		return nil, err
	}
	client := glue.NewFromConfig(conf, func(o *glue.Options) { o.BaseEndpoint = endpoint(c.GlueEndpoint, o.BaseEndpoint) })
	return &catalog{
		client: client, database: c.GlueDatabase, create: c.CreateDatabase, base: "s3://" + c.Bucket + "/", parquet: c.Format != "json",
	}, nil
}

func newWarehouse(ctx context.Context, c config, project sdk.Project) (*warehouse, error) {
	conf, err := c.AWS(ctx, c.redshiftRegion(), c.redshiftRole(), project)
	if err != nil {
		return nil, err
	}
	client := redshiftdata.NewFromConfig(conf, func(o *redshiftdata.Options) { o.BaseEndpoint = endpoint(c.RedshiftEndpoint, o.BaseEndpoint) })
	return &warehouse{client: client, config: c, region: c.glueRegion()}, nil
}

// endpoint returns the endpoint of an attribute. Without it the client keeps the one of
// the environment, as of AWS_ENDPOINT_URL_GLUE; nil: the region's.
func endpoint(attribute string, environment *string) *string {
	if attribute == "" {
		return environment
	}
	return aws.String(strings.TrimRight(attribute, "/"))
}

// Targets implements sdk.Destination.
func (d *destination) Targets() []sdk.Target { return lake.Targets(d.base, d.root, d.project.ID) }

// Open implements sdk.Opener. The table and the external schema exist before the
// first file.
func (d *destination) Open(ctx context.Context, run sdk.Run) (sdk.LastRun, error) {
	dir, err := lake.StreamDir(d.root, run.ProjectID, run.Stream)
	if err != nil {
		return sdk.LastRun{}, sdk.Permanent(err)
	}
	last, err := d.Lake.Open(ctx, run)
	if err != nil {
		return last, err
	}
	if run.Stream == sdk.Events { // the fence of a set has made its table
		if err := d.catalog.ready(ctx, run.Stream, dir); err != nil {
			return last, err
		}
	}
	return last, d.warehouse.ensure(ctx)
}

// Prepare implements sdk.Preparer. The partitions of the days are registered after
// their files are durable, and before the run can be committed.
func (d *destination) Prepare(ctx context.Context, run sdk.Run, receipt sdk.Receipt) error {
	if err := d.Lake.Prepare(ctx, run, receipt); err != nil || run.Stream != sdk.Events {
		return err
	}
	dir, err := lake.StreamDir(d.root, run.ProjectID, run.Stream)
	if err != nil {
		return sdk.Permanent(err)
	}
	days := make(map[string]string)
	for _, p := range receipt.Partitions {
		if p.Rows > 0 {
			days[p.Date] = dayDir(dir, p.Date)
		}
	}
	return d.catalog.addDays(ctx, days)
}

// Check implements sdk.Checker.
func (d *destination) Check(ctx context.Context) []sdk.CheckResult {
	results := lake.Check(ctx, d.store, d.root, d.project.ID, rand.Text())
	try := func(action string, f func() error) {
		r := sdk.CheckResult{Action: action, OK: true}
		if err := f(); err != nil {
			r.OK, r.Detail = false, lake.Detail(err)
		}
		results = append(results, r)
	}
	try("read Glue's catalog", func() error { return d.catalog.check(ctx) })
	try("query Redshift", func() error { return d.warehouse.check(ctx) })
	if last := &results[len(results)-1]; last.OK {
		last.Detail = d.warehouse.grantMissing()
	}
	return results
}
