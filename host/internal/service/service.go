package service

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/intake"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/host/internal/runner"
	"github.com/penstock-io/penstock/host/internal/upkeep"
)

// Options are the parts of an open data directory. All are required; Destinations may
// be nil where only Views are asked for.
type Options struct {
	Version      string
	Config       func() *config.Config // the present one: a reload replaces it
	Dir          datadir.Dir
	Store        disk.Store
	Catalog      *catalog.Catalog
	Records      *quarantine.Store
	Projects     *project.Set
	Intake       *intake.Set
	Runner       *runner.Runner
	Upkeep       *upkeep.Upkeep
	Destinations *destination.Set
	// FindPlugin verifies the plugin of a destination type, which is not started. Only
	// Ready needs it.
	FindPlugin func(typ string) error
	// Restarts counts restarts of plugins by destination. Only Measure needs it.
	Restarts func() map[string]int64
	Backups  lifecycle.Gate // held while a backup is written
	Serving  bool           // this host serves
	// Reload reads the configuration again and changes to it, or only plans to; nil
	// unless this host serves.
	Reload func(ctx context.Context, plan bool) (*operation.ReloadReport, error)
}

// Service answers the requests of commands and of the API. It may be used
// concurrently.
type Service struct {
	status
	pipelines
	records
	links
	journals
	sources
	destinations
	backups
	close func() error
}

// The operations, by the part of the data directory that they are about.
type (
	status       struct{ *Options }
	pipelines    struct{ *Options }
	records      struct{ *Options }
	links        struct{ *Options }
	journals     struct{ *Options }
	sources      struct{ *Options }
	destinations struct{ *Options }
	backups      struct{ *Options }
)

var _ operation.Operations = (*Service)(nil)

// New returns the service of an open data directory. Its Close calls close.
func New(o Options, close func() error) *Service {
	return &Service{status{&o}, pipelines{&o}, records{&o}, links{&o}, journals{&o}, sources{&o}, destinations{&o}, backups{&o}, close}
}

// Close implements Operations.
func (s *Service) Close() error { return s.close() }

// CheckSource implements Operations.
func (h sources) CheckSource(ctx context.Context, name, from, to string) (*operation.SourceCheck, error) {
	return h.Intake.Pulls.Check(ctx, name, from, to)
}

// PullSource implements Operations.
func (h sources) PullSource(ctx context.Context, name, from, to string) (*operation.SourceSummary, error) {
	return h.Intake.Pulls.Pull(ctx, name, from, to, !h.Serving)
}
