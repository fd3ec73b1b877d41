package s3bucket

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
)

// Version is the plugin's version.
const Version = "0.1.0"

// Plugin describes the destination for sdk.Serve. All destinations of the process
// share one pool of part buffers.
func Plugin() sdk.Plugin {
	shared := parts.NewPool(partBuffers, partSize)
	return sdk.Plugin{
		Name:         "s3",
		Version:      Version,
		Schema:       attributes(),
		Capabilities: lake.Capabilities(),
		Environment:  Environment(),
		New: func(ctx context.Context, c sdk.Config) (sdk.Destination, error) {
			return open(ctx, c, shared)
		},
		Setup: prepare,
	}
}

// destination is a Lake over a bucket, with the targets and checks of one project.
type destination struct {
	*lake.Lake
	store   *store
	config  config
	project sdk.Project
	root    string // of names
}

func open(ctx context.Context, c sdk.Config, shared *parts.Pool) (sdk.Destination, error) {
	var conf config
	if err := c.Decode(&conf); err != nil {
		return nil, err
	}
	conf = conf.withEnvironment(os.LookupEnv)
	if err := conf.check(lake.EmptyAttributes(c, "prefix", "session_token")); err != nil {
		return nil, err
	}
	root, err := lake.CleanPrefix(conf.Prefix)
	if err != nil {
		return nil, sdk.Configuration(err, "")
	}
	client, err := newClient(ctx, conf, c.Project)
	if err != nil {
		return nil, err
	}
	s := newStore(client, conf, shared)
	return &destination{
		Lake:    lake.New(lake.Options{Store: s, Root: root, Format: formats.Named(conf.Format), Logger: c.Logger}),
		store:   s,
		config:  conf,
		project: c.Project,
		root:    root,
	}, nil
}

func newStore(client *s3.Client, c config, shared *parts.Pool) *store {
	return &store{
		client: client, bucket: c.Bucket, arn: c.bucketARN(), encrypt: c.encryption(), sums: newSums(c.Checksums),
		buffers: shared, forData: c.unsigned(), callTimeout: callTimeout,
	}
}

func (c config) encryption() encryption {
	switch c.Encryption {
	case encryptAES:
		return encryption{algorithm: types.ServerSideEncryptionAes256}
	case encryptKMS:
		e := encryption{algorithm: types.ServerSideEncryptionAwsKms}
		if c.KMSKeyID != "" {
			e.kmsKey = aws.String(c.KMSKeyID)
		}
		return e
	default:
		return encryption{}
	}
}

// Targets implements sdk.Destination.
func (d *destination) Targets() []sdk.Target { return lake.Targets(d.base(), d.root, d.project.ID) }

// base returns the bucket's URI: s3://bucket/ at Amazon, where bucket names are
// unique, and s3://host:port/path/bucket/ at other servers. checkService
// refuses Google.
func (d *destination) base() string {
	u, err := url.Parse(d.config.Endpoint)
	if err != nil || d.config.isAmazon() {
		return "s3://" + d.config.Bucket + "/"
	}
	return "s3://" + strings.ToLower(u.Host) + strings.TrimRight(u.Path, "/") + "/" + d.config.Bucket + "/"
}

// Check implements sdk.Checker.
func (d *destination) Check(ctx context.Context) []sdk.CheckResult {
	return lake.Check(ctx, d.store, d.root, d.project.ID, rand.Text())
}
