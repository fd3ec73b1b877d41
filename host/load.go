package host

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/validate"
)

// A configuration, and the mistakes in one.
type (
	Config             = config.Config
	Diagnostics        = diagnostic.Found
	DiagnosticEntry    = diagnostic.Entry
	ConfigurationError = diagnostic.ConfigurationError
	LoadOptions        = validate.Options
	DefinitionChange   = validate.DefinitionChange
)

// Load reads a configuration. Mistakes are a *ConfigurationError. The
// diagnostics, which may be warnings, and the configuration as far as it could
// be read are returned with an error, too.
func Load(ctx context.Context, o LoadOptions) (*Config, Diagnostics, error) {
	return validate.Load(ctx, o)
}

// DefinitionChanges compares the pipelines of a configuration with those that are
// registered in its data directory, which may be in use.
func DefinitionChanges(ctx context.Context, c *Config) ([]DefinitionChange, error) {
	return validate.DefinitionChanges(ctx, c)
}

// The steps that prepare a service for a destination.
type (
	DestinationSetup = destination.Setup
	SetupStep        = destination.Step
)

// SetupDestination asks a destination's plugin for the steps that prepare its
// service, as commands or for Terraform. It needs no data directory and no value
// of a secret. Mistakes that the plugin finds are a *ConfigurationError.
func SetupDestination(ctx context.Context, c *Config, name string, terraform bool) (*DestinationSetup, error) {
	return destination.AskSetup(ctx, c, name, terraform)
}

// dirOf returns the data directory of a configuration.
func dirOf(c *Config) datadir.Dir { return datadir.Dir{Data: c.Host.DataDir, Blobs: c.Host.Blobs} }
