package localfs

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
)

// diskFullDelay is the shortest time before the host tries again on a full disk.
const diskFullDelay = 30 * time.Second

// classify gives an error of the file system its class. The error already names
// the operation and the path.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", lake.ErrNotFound, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return sdk.Retryable(fmt.Errorf("%w: free some space or raise the quota; the next attempt overwrites the files of this one", err), diskFullDelay)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		// Backups, mounts and rotating permissions do this for a moment.
		return sdk.Retryable(fmt.Errorf("%w: let the user that runs penstock create, read and remove files below the path, or choose another path", err), 0)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return sdk.Retryable(fmt.Errorf("%w: raise the limit of open files", err), 0)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG):
		return sdk.Configuration(err, "set path to a directory that exists or can be created")
	default:
		return sdk.Retryable(err, 0)
	}
}
