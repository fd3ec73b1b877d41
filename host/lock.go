package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/private"
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

// within reports whether a directory lies in another one.
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
		if err := lifecycle.Wait(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

// locks are the locks of the directories of a host.
type locks []*os.File

// Close gives the directories back.
func (l locks) Close() error {
	var err error
	for _, f := range l {
		err = errors.Join(err, f.Close())
	}
	return err
}

// lockAll takes the data directory of a configuration, and the directory of its
// blobs if that lies elsewhere. The caller closes the locks.
func lockAll(ctx context.Context, c *Config) (locks, error) {
	f, err := waitLock(ctx, c.Host.DataDir)
	if err != nil {
		return nil, err
	}
	held, err := lockBlobs(c, locks{f})
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// lockBlobs adds the lock of the directory of blobs to that of the data
// directory, unless the one lies in the other.
func lockBlobs(c *Config, held locks) (locks, error) {
	if within(c.Host.Blobs, c.Host.DataDir) {
		return held, nil
	}
	f, err := lock(c.Host.Blobs)
	if err != nil {
		return held, err
	}
	return append(held, f), nil
}

// NoDataDirError says that the data directory of a configuration does not exist.
type NoDataDirError struct{ DataDir string }

func (e *NoDataDirError) Error() string {
	return fmt.Sprintf("the data directory %s does not exist: data_dir may be mistyped, or no host has run with it yet (penstock run makes it)", e.DataDir)
}

// CheckDataDir returns a *NoDataDirError if the data directory of a configuration
// does not exist.
func CheckDataDir(c *Config) error {
	info, err := os.Stat(c.Host.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &NoDataDirError{c.Host.DataDir}
	case err != nil:
		return fmt.Errorf("use data directory: %w", err)
	case !info.IsDir():
		return fmt.Errorf("the data directory %s is a file: name a directory as data_dir", c.Host.DataDir)
	}
	return nil
}

// lock takes the data directory, which is made when it is missing. The lock
// ends with the process.
func lock(dataDir string) (*os.File, error) {
	if err := private.MakeDir(dataDir); err != nil {
		return nil, fmt.Errorf("use data directory: %w", err)
	}
	path := filepath.Join(dataDir, lockFile)
	f, err := private.OpenFile(path, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	owner, err := lockOwner(path, f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), f.Close())
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = &LockedError{DataDir: dataDir, Owner: owner}
		}
		return nil, errors.Join(err, f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), f.Close())
	}
	return f, nil
}

// lockOwner reads the process that holds or held a lock. A file that holds
// anything else is not a lock: it is not overwritten.
func lockOwner(path string, f *os.File) (string, error) {
	var text [32]byte
	n, err := f.ReadAt(text[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if n == 0 {
		return "unknown", nil
	}
	if _, err := strconv.ParseUint(string(text[:n]), 10, 32); err != nil {
		return "", &private.RefusedError{Path: path, Reason: "holds something else than the number of a process", Remedy: "move it away"}
	}
	return string(text[:n]), nil
}
