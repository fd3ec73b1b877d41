package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MakeDir makes a directory and its missing parents, with mode 0700, and makes their names
// durable. One that is there may be of a process that was killed before it did so: all
// directories above are synced, but for those that cannot be, such as those that others own
// and those of file systems that have no fsync for directories.
//
// A directory whose name could not be made durable is removed again: systems report a failed
// sync once, and the next one would say that the name is durable.
func MakeDir(dir string) error { return makeDir(filepath.Clean(dir), SyncDir) }

func makeDir(dir string, sync func(string) error) error {
	parent := filepath.Dir(dir)
	if parent == dir {
		return nil // it has no name
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(parent, sync); err != nil {
			return err
		}
		if err = os.Mkdir(dir, 0o700); err == nil {
			return keep(dir, sync)
		}
	}
	if err == nil {
		if err := keep(dir, sync); err != nil {
			return err
		}
		return makeDir(parent, sync)
	}
	// Where nothing may be made, such as on a file system that is read-only, it may be there.
	info, missing := os.Stat(dir)
	switch {
	case missing != nil:
		return err
	case !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	if err := sync(parent); err != nil && !cannotSync(err) {
		return err
	}
	return makeDir(parent, sync)
}

// keep makes the name of a directory that was just made durable, or removes it.
func keep(dir string, sync func(string) error) error {
	if err := sync(filepath.Dir(dir)); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	return nil
}

// cannotSync reports whether an error says that a directory cannot be synced at all.
func cannotSync(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EROFS)
}
