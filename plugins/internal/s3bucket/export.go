package s3bucket

import (
	"context"
	"os"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Config holds the attributes of Attributes. Another destination embeds it in its
// own configuration, or fills it from that.
type Config = config

// Attributes returns the attributes of the bucket and of its credentials, for the
// schema of another destination, except those that are named.
func Attributes(except ...string) []schema.Attribute {
	var found []schema.Attribute
	for _, a := range attributes().Attributes {
		if !slices.Contains(except, a.Name) {
			found = append(found, a)
		}
	}
	return found
}

// Environment returns the variables that sdk.Plugin.Environment names for the SDK's default
// credentials, region, profile and endpoints.
func Environment() []string { return []string{"AWS_*"} }

// NewPool returns the part buffers that all stores of a process share.
func NewPool() *parts.Pool { return parts.NewPool(partBuffers, partSize) }

// Complete returns the configuration with the endpoint of the environment.
func (c config) Complete() config { return c.withEnvironment(os.LookupEnv) }

// Check returns the mistakes of the bucket's attributes together with those that
// were found before; nil: there are none.
func (c config) Check(found sdk.Diagnostics) error { return c.check(found) }

// Store returns the bucket as a store. It makes no network call.
func (c config) Store(ctx context.Context, project sdk.Project, shared *parts.Pool) (lake.Store, error) {
	client, err := newClient(ctx, c, project)
	if err != nil {
		return nil, err
	}
	return newStore(client, c, shared), nil
}

// AWS returns the configuration for clients of other services in a region, with
// the credentials of the bucket or those of a role that they assume. It makes no
// network call.
func (c config) AWS(ctx context.Context, region, role string, project sdk.Project) (aws.Config, error) {
	c.Region, c.RoleARN = region, role
	return c.load(ctx, project)
}

// Base returns the URI of the bucket, with a slash at its end.
func (c config) Base() string { return (&destination{config: c}).base() }

// CredentialError classifies an error of getting credentials; nil for others.
func CredentialError(err error) error { return credentialError(err) }
