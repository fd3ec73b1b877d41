package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Names in a data directory.
const (
	lockFile      = "penstock.lock"
	socketFile    = "penstock.sock"
	catalogFile   = "catalog.db"
	quarantineDir = "quarantine"
	runDir        = "run"
)

// LockedError says that another process owns a data directory, or one that
// belongs to it.
type LockedError struct{ DataDir, Owner string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("the directory %s is in use by another penstock (process %s)", e.DataDir, e.Owner)
}

// within says whether a directory lies in another one.
func within(dir, other string) bool {
	relative, err := filepath.Rel(other, dir)
	return err == nil && filepath.IsLocal(relative)
}

// lockPatience is how long a host waits for a data directory: commands hold it
// for moments.
const (
	lockPatience = 5 * time.Second
	lockPause    = 50 * time.Millisecond
)

// waitLock is lock, with patience.
func waitLock(ctx context.Context, dataDir string) (*os.File, error) {
	for began := time.Now(); ; {
		f, err := lock(dataDir)
		var locked *LockedError
		if !errors.As(err, &locked) || time.Since(began) > lockPatience {
			return f, err
		}
		if err := wait(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

// lock takes the data directory, which is made when it is missing. The lock
// ends with the process.
func lock(dataDir string) (*os.File, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dataDir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner := "unknown"
		var text [32]byte
		if n, _ := f.ReadAt(text[:], 0); n > 0 {
			owner = string(text[:n])
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = &LockedError{DataDir: dataDir, Owner: owner}
		}
		return nil, errors.Join(err, f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprint(f, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), f.Close())
	}
	return f, nil
}
