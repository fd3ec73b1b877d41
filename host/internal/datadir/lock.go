package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/private"
)

// LockedError says that another process owns a data directory, or one that
// belongs to it.
type LockedError struct{ DataDir, Owner string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("the directory %s is in use by another penstock (process %s)", e.DataDir, e.Owner)
}

// Patience is how long a host waits for a data directory, looking again after each
// Pause: commands hold it for moments.
const (
	Patience = 5 * time.Second
	Pause    = 50 * time.Millisecond
)

// LockData takes the data directory, which is made when it is missing. It waits for
// Patience. The caller closes the lock.
func (d Dir) LockData(ctx context.Context) (Locks, error) {
	for began := time.Now(); ; {
		f, err := d.TryLock()
		var locked *LockedError
		if !errors.As(err, &locked) || time.Since(began) > Patience {
			return f, err
		}
		if err := lifecycle.Wait(ctx, Pause); err != nil {
			return nil, err
		}
	}
}

// Locks are the locks of the directories of a host.
type Locks []*os.File

// Close gives the directories back.
func (l Locks) Close() error {
	var err error
	for _, f := range l {
		err = errors.Join(err, f.Close())
	}
	return err
}

// lockAll takes the data directory, and the directory of the blobs if that lies
// elsewhere. The caller closes the locks.
func (d Dir) lockAll(ctx context.Context) (Locks, error) {
	held, err := d.LockData(ctx)
	if err != nil {
		return nil, err
	}
	held, err = d.LockBlobs(held)
	if err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// LockBlobs adds the lock of the directory of blobs to that of the data
// directory, unless the one lies in the other.
func (d Dir) LockBlobs(held Locks) (Locks, error) {
	if !d.Apart() {
		return held, nil
	}
	f, err := lock(d.Blobs)
	if err != nil {
		return held, err
	}
	return append(held, f), nil
}

// TryLock takes the data directory, which is made when it is missing. The lock ends
// with the process. A directory that another process owns is a *LockedError.
func (d Dir) TryLock() (Locks, error) {
	f, err := lock(d.Data)
	if err != nil {
		return nil, err
	}
	return Locks{f}, nil
}

// lock takes a directory, which is made when it is missing. The lock
// ends with the process.
func lock(dataDir string) (*os.File, error) {
	if err := private.MakeDir(dataDir); err != nil {
		return nil, fmt.Errorf("use data directory: %w", err)
	}
	path := filepath.Join(dataDir, LockFile)
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
