package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	runPrefix = "penstock-plugin-"
	// maxBase leaves room for our directory's name and the socket's: a unix
	// socket's path holds 107 bytes on Linux and 103 on macOS.
	maxBase = 103 - len("/"+runPrefix+"4294967295") - len("/plugin4294967295")
	// socketDirEnv tells a plugin where its socket goes.
	socketDirEnv = "PLUGIN_UNIX_SOCKET_DIR"
)

// runDir is the private directory of one plugin process: its socket, and its
// temporary files in tmp. A plugin that runs as another user has its socket in tmp,
// too, which belongs to that user; the rest stays the host's. The host holds a file lock on it, which the kernel
// releases when the host dies. Sweep removes only directories whose lock is free.
type runDir struct {
	path    string
	tmp     string
	sockets string
	lock    *os.File
}

// runBase returns the directory that holds private directories: dir, or the
// system's temporary directory if the path of a socket in dir would be too long.
func runBase(dir string) string {
	if dir == "" {
		return os.TempDir()
	}
	abs, err := filepath.Abs(dir)
	if err != nil || len(abs) > maxBase {
		return os.TempDir()
	}
	return abs
}

// newRunDir makes a private directory in base, for a plugin that runs as user; nil:
// as the host does.
func newRunDir(base string, user *User) (*runDir, error) {
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("make plugin's private directory: %w", err)
	}
	for range 10 {
		r, err := tryRunDir(base)
		if err == nil && r != nil && user != nil {
			if err = r.give(user); err != nil {
				return nil, errors.Join(fmt.Errorf("make plugin's private directory: %w", err), r.remove())
			}
		}
		if err != nil || r != nil {
			return r, err
		}
	}
	return nil, fmt.Errorf("make plugin's private directory: %s: something keeps removing it", base)
}

// tryRunDir returns nil when a sweep took the directory away before it was
// locked.
func tryRunDir(base string) (*runDir, error) {
	path, err := os.MkdirTemp(base, runPrefix)
	if err != nil {
		return nil, fmt.Errorf("make plugin's private directory: %w", err)
	}
	lock, err := lockDir(path)
	if err == nil {
		err = os.Mkdir(filepath.Join(path, "tmp"), 0o700)
	}
	if err == nil {
		return &runDir{path: path, tmp: filepath.Join(path, "tmp"), sockets: path, lock: lock}, nil
	}
	if lock != nil {
		_ = lock.Close()
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	_ = os.RemoveAll(path)
	return nil, fmt.Errorf("make plugin's private directory: %w", err)
}

// give lets a user reach tmp and own it.
func (r *runDir) give(user *User) error {
	r.sockets = r.tmp
	return errors.Join(os.Chmod(r.path, 0o711), os.Lchown(r.tmp, int(user.UID), int(user.GID)))
}

// remove deletes the directory, then releases the lock.
func (r *runDir) remove() error {
	return errors.Join(os.RemoveAll(r.path), r.lock.Close())
}

// lockDir takes the directory's lock, or fails with EWOULDBLOCK.
func lockDir(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Sweep removes the private directories that dead hosts left in base (empty:
// the system's temporary directory), and kills the processes that still run out of
// them. It returns how many directories it removed. Those of a running host, of
// whichever data directory, are not touched.
func Sweep(base string) (int, error) {
	base = runBase(base)
	entries, err := os.ReadDir(base)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("sweep plugin directories: %w", err)
	}
	var errs []error
	removed := 0
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), runPrefix) {
			continue
		}
		done, err := sweepOne(filepath.Join(base, e.Name()))
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep plugin directories: %w", err))
		}
		if done {
			removed++
		}
	}
	return removed, errors.Join(errs...)
}

func sweepOne(path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() {
		return false, nil // was removed since it was listed
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return false, nil
	}
	lock, err := lockDir(path)
	if err != nil {
		return false, nil // its host lives, or it is gone
	}
	defer lock.Close()
	killUsers(path)
	killUsers(filepath.Join(path, "tmp"))
	return true, os.RemoveAll(path)
}
