package snowflake

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/penstock-io/penstock/sdk"
)

// spoolPrefix begins the names of spool directories.
const spoolPrefix = "penstock-snowflake-"

// lockName is the lock file in a spool directory.
const lockName = "lock"

// spool is a directory of this process for files that wait for their upload. Its lock
// file is locked as long as the process lives: a directory whose lock is free was left
// by a killed process, and the next spool in the same place removes it.
type spool struct {
	base string // where the directory is made; empty: the temporary directory

	mu   sync.Mutex
	dir  string // empty: not made yet
	lock *os.File
}

// path returns the directory, and makes it at the first call, and again when something
// has removed it.
func (s *spool) path() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != "" {
		if isLockOf(s.lock, s.dir) {
			return s.dir, nil
		}
		_ = s.lock.Close()
		s.dir, s.lock = "", nil
	}
	base := s.base
	if base == "" {
		base = os.TempDir()
	}
	dir, lock, err := makeSpool(base)
	if errors.Is(err, os.ErrNotExist) {
		return "", sdk.Configuration(err, spoolHint)
	}
	if err != nil {
		return "", spoolError(err)
	}
	s.dir, s.lock = dir, lock
	return dir, nil
}

// makeSpool removes directories of killed processes, and makes a new one.
func makeSpool(base string) (string, *os.File, error) {
	if err := sweepSpools(base); err != nil {
		return "", nil, err
	}
	for range spoolTries {
		dir, lock, err := newSpool(base)
		if err == nil || !errors.Is(err, errSwept) {
			return dir, lock, err
		}
	}
	return "", nil, errSwept
}

// spoolTries is how often a spool is made before makeSpool gives up.
const spoolTries = 100

// errSwept is the error of a new directory that another process has taken for a killed
// one's: the directory is there a moment before its lock is held.
var errSwept = errors.New("another process has removed the new spool directory")

func newSpool(base string) (string, *os.File, error) {
	dir, err := os.MkdirTemp(base, spoolPrefix)
	if err != nil {
		return "", nil, fmt.Errorf("make the spool directory: %w", err)
	}
	lock, err := lockSpool(dir)
	if err == nil && isLockOf(lock, dir) {
		return dir, lock, nil
	}
	if err == nil {
		err = errors.Join(errSwept, lock.Close())
	} else if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		return "", nil, errSwept
	}
	return "", nil, errors.Join(err, os.RemoveAll(dir))
}

// isLockOf reports whether a lock file is still the one in a directory.
func isLockOf(lock *os.File, dir string) bool {
	mine, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join(dir, lockName))
	return err == nil && os.SameFile(mine, there)
}

// lockSpool takes the lock of a spool directory. The error of one that is taken is
// syscall.EWOULDBLOCK.
func lockSpool(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the spool: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the spool: %w", err), f.Close())
	}
	return f, nil
}

// sweepSpools removes the directories of processes that do not live any more.
func sweepSpools(base string) error {
	entries, err := os.ReadDir(base)
	if err != nil {
		return fmt.Errorf("list the spool: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), spoolPrefix) {
			continue
		}
		dir := filepath.Join(base, e.Name())
		lock, err := lockSpool(dir)
		if err != nil {
			continue // a living process's, or another user's
		}
		err = os.RemoveAll(dir)
		_ = lock.Close()
		if err != nil && !errors.Is(err, syscall.ENOTEMPTY) { // not empty: its process has just made it
			return fmt.Errorf("remove the spool of a killed process: %w", err)
		}
	}
	return nil
}

// close removes the directory.
func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	err := errors.Join(os.RemoveAll(s.dir), s.lock.Close())
	s.dir, s.lock = "", nil
	return err
}

// spoolFile is a file that is being written in the spool.
type spoolFile interface {
	io.WriteCloser
	Name() string
}

func createFile(path string) (spoolFile, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

// isFull reports whether an error says that a disk is full, or a quota used up. Errors of
// the driver, which writes copies, have it in their text only.
func isFull(err error) bool {
	if err == nil || serviceError(err) != nil {
		return false
	}
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}

// spoolHint is the next step for a spool that cannot be used.
const spoolHint = "let the host's user write to the directory of spool_dir, which must exist"

// spoolError classifies an error of the disk, where the spool was made.
func spoolError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrPermission) {
		return sdk.Configuration(err, spoolHint)
	}
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: another program, such as a cleaner of temporary files, has removed it from the spool", err)
	}
	if isFull(err) {
		err = fmt.Errorf("%w: the spool needs about 400 MiB for each project that is exported at a time; set spool_dir to a larger disk", err)
	}
	return sdk.Retryable(err, 0)
}
