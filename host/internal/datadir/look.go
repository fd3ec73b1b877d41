package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/penstock-io/penstock/host/internal/private"
)

// LockForLook keeps hosts and commands that write away from a data directory. One
// that no host has used yet, or that is read-only, needs no lock.
func (d Dir) LockForLook() (Locks, error) {
	f, err := private.OpenFile(d.Path(LockFile), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into data directory: %w", err)
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		owner, ownerErr := lockOwner(f.Name(), f)
		return nil, errors.Join(&LockedError{DataDir: d.Data, Owner: owner}, ownerErr, f.Close())
	case err != nil: // a file system without locks, such as some that are read-only
		return nil, f.Close()
	}
	return Locks{f}, nil
}
