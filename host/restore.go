package host

import (
	"context"

	"github.com/penstock-io/penstock/host/internal/backup"
)

// Restore restores the backup in a file into the data directory of a configuration,
// which must be empty or missing, like the directory of its blobs. After an error it is
// empty again.
func Restore(ctx context.Context, c *Config, path string) (*RestoreReport, error) {
	return backup.Restore(ctx, dirOf(c), path, version)
}
