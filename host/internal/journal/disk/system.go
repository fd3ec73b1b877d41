package disk

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/penstock-io/penstock/host/internal/durable"
)

// System holds the calls that a Dir makes to the operating system. Each call is
// one step; a crash can come between any two steps.
type System interface {
	// Mkdir makes one directory; fs.ErrExist when it is there.
	Mkdir(path string) error
	// CreateTemp makes a new file: see os.CreateTemp.
	CreateTemp(dir, pattern string) (File, error)
	Open(path string) (File, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
	WalkDir(root string, fn fs.WalkDirFunc) error
}

// File is an open file of a System.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Name() string
	Stat() (fs.FileInfo, error)
	// Sync makes the contents durable, not the name.
	Sync() error
}

// local is the operating system.
type local struct{}

func (local) Mkdir(path string) error { return os.Mkdir(path, 0o700) }

func (local) CreateTemp(dir, pattern string) (File, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (local) Open(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (local) Rename(from, to string) error { return os.Rename(from, to) }

func (local) Remove(path string) error { return os.Remove(path) }

func (local) SyncDir(path string) error { return durable.SyncDir(path) }

func (local) WalkDir(root string, fn fs.WalkDirFunc) error { return filepath.WalkDir(root, fn) }

// readOnly is the operating system without the calls that change files: they
// fail with EROFS.
type readOnly struct{ local }

func (readOnly) Mkdir(path string) error { return refuse("mkdir", path) }

func (readOnly) CreateTemp(dir, _ string) (File, error) { return nil, refuse("create", dir) }

func (readOnly) Rename(from, _ string) error { return refuse("rename", from) }

func (readOnly) Remove(path string) error { return refuse("remove", path) }

func (readOnly) SyncDir(path string) error { return refuse("sync", path) }

func refuse(operation, path string) error {
	return &fs.PathError{Op: operation, Path: path, Err: syscall.EROFS}
}
