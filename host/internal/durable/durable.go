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
// durable. One that is there may be of a process that was killed before it did so, and is
// synced as well, unless the directory above it may not be read: then its owner has made it.
func MakeDir(dir string) error { return makeDir(dir, SyncDir) }

func makeDir(dir string, sync func(string) error) error {
	parent := filepath.Dir(dir)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(parent, sync); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		return sync(parent)
	}
	// Of a file system that is read-only, or a parent that others own, the directory may be there.
	info, missing := os.Stat(dir)
	switch {
	case missing != nil:
		return err
	case !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	if err := sync(parent); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
