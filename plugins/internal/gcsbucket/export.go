package gcsbucket

import (
	"slices"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Config holds the attributes of Attributes. Another destination fills it from its own
// configuration.
type Config = config

// Attributes returns the attributes of the bucket and of its credentials, for the
// schema of another destination, except those that are named.
func Attributes(except ...string) []schema.Attribute {
	return slices.DeleteFunc(attributes().Attributes, func(a schema.Attribute) bool { return slices.Contains(except, a.Name) })
}

// NewPool returns the chunk buffers that all stores of a process share.
func NewPool() *parts.Pool { return parts.NewPool(chunkBuffers, chunkSize) }

// Check returns the mistakes of the bucket's attributes together with those that
// were found before; nil: there are none.
func (c config) Check(found sdk.Diagnostics) error { return c.check(found) }

// Store returns the bucket as a store. It makes no network call.
func (c config) Store(shared *parts.Pool) lake.Store { return newStore(c, shared) }

// Setup returns the steps that make the bucket and the account that writes to it, for
// files that are written and deleted, and never replaced on condition.
func (c config) Setup(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	c.files = true
	return c.setup(r)
}

// IsGoogle reports whether the bucket is at Google, and not at a server of the
// attribute endpoint.
func (c config) IsGoogle() bool { return c.account().IsGoogle() }
