package host

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-io/penstock/host/internal/datadir"
)

// Errors of data directories.
type (
	LockedError         = datadir.LockedError
	NoDataDirError      = datadir.MissingError
	HealthyCatalogError = datadir.HealthyCatalogError
)

// CheckDataDir returns a *NoDataDirError if the data directory of a configuration
// does not exist.
func CheckDataDir(c *Config) error { return dirOf(c).Check() }

// Hint returns the next step after an error that does not say it itself; "" if
// there is none.
func Hint(err error) string { return datadir.Hint(err) }

// RebuildOptions say when a catalog is rebuilt.
type RebuildOptions struct {
	// Force rebuilds a catalog that is in order, too.
	Force bool
}

// RebuildCatalog replaces the catalog in a configuration's data directory by one
// that is made from segments and commit records, and from the parts of the old
// one that can be read. The old file is kept. A catalog that is in order is a
// *HealthyCatalogError without Force. The data directory must exist, and no host
// may serve it.
func RebuildCatalog(ctx context.Context, c *Config, o RebuildOptions) (*RebuildReport, error) {
	if err := CheckDataDir(c); err != nil {
		return nil, err
	}
	if Serving(ctx, c) {
		return nil, errors.New("the catalog can be rebuilt only while no host is running: stop it first")
	}
	return datadir.Rebuild(ctx, dirOf(c), c.Projects, datadir.RebuildOptions{Force: o.Force, Now: time.Now})
}
