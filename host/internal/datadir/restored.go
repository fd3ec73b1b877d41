package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/penstock-io/penstock/host/internal/durable"
	"github.com/penstock-io/penstock/host/internal/private"
)

// UnrestoredError says that a restore of a data directory began and did not end.
type UnrestoredError struct{ DataDir string }

func (e *UnrestoredError) Error() string {
	return fmt.Sprintf("the data directory %s is half restored, because 'penstock restore' was interrupted: run it again", e.DataDir)
}

// CheckRestored returns an *UnrestoredError if a restore of the data directory began
// and did not end.
func CheckRestored(d Dir) error {
	_, err := os.Lstat(d.Path(RestoreFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("use data directory: %w", err)
	}
	return &UnrestoredError{d.Data}
}

// BeginRestore notes durably that a restore of the data directory begins, and where its
// blobs go. The caller has locked the directories, which are empty.
func BeginRestore(d Dir) error {
	f, err := private.OpenFile(d.Path(RestoreFile), os.O_CREATE|os.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteString(d.Blobs)
	return errors.Join(err, f.Sync(), f.Close(), durable.SyncDir(d.Data))
}

// Unrestored reports whether a restore of the data directory began and did not end, so
// that everything in it and in the directory of its blobs is that restore's. It is an
// error if the blobs went to another directory then.
func Unrestored(d Dir) (bool, error) {
	blobs, err := os.ReadFile(d.Path(RestoreFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("use data directory: %w", err)
	case len(blobs) > 0 && string(blobs) != d.Blobs: // an empty file: nothing was written after it
		return false, fmt.Errorf("a restore into %s was interrupted that wrote blobs to %s, and blobs is %s now: set blobs as it was, or empty both directories",
			d.Data, blobs, d.Blobs)
	}
	return true, nil
}

// EndRestore notes durably that a restore has ended.
func EndRestore(d Dir) error {
	if err := os.Remove(d.Path(RestoreFile)); err != nil {
		return err
	}
	return durable.SyncDir(d.Data)
}
