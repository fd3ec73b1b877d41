package azurecontainer

import (
	"os"
	"slices"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Config holds the attributes of Attributes. Another destination fills it from its own
// configuration.
type Config = config

// Attributes returns the attributes of the container and of its credentials, for the
// schema of another destination, except those that are named.
func Attributes(except ...string) []schema.Attribute {
	return slices.DeleteFunc(attributes().Attributes, func(a schema.Attribute) bool { return slices.Contains(except, a.Name) })
}

// Environment returns the variables that sdk.Plugin.Environment names for the container's
// credentials: those of Azure's own tools, and the endpoints of managed identities.
func Environment() []string {
	return []string{
		"AZURE_*", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT",
		"IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET",
	}
}

// NewPool returns the block buffers that all stores of a process share.
func NewPool() *parts.Pool { return parts.NewPool(blockBuffers, blockSize) }

// Complete returns the configuration with the variables of Azure's tools in the
// environment.
func (c config) Complete() config { return c.withEnvironment(os.LookupEnv) }

// Check returns the mistakes of the container's attributes together with those that
// were found before; nil: there are none.
func (c config) Check(found sdk.Diagnostics) error { return c.check(found) }

// Store returns the container as a store. It makes no network call.
func (c config) Store(shared *parts.Pool) (lake.Store, error) {
	return newStore(c, shared, newTransport())
}

// Setup returns the steps that make the container and the identity that writes to it.
func (c config) Setup(r sdk.SetupRequest) ([]sdk.SetupStep, error) { return c.setup(r) }

// Scope returns the resource id of the container as a word of a command.
func (c config) Scope() string { return `"` + c.scopeCommand() + `"` }
