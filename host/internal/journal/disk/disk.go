// Package disk keeps immutable files durably in a directory.
//
// It is not a general file system: a file is created whole under a temporary
// name, synced, renamed, and its directory synced; from then on it is only
// read or deleted. What Create's Commit returned from survives a crash of the
// machine; what it did not may be there under a temporary name, which Sweep
// removes.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Store keeps files by name: path elements of [a-z0-9_.-], separated by "/".
type Store interface {
	// Create begins a file. Nothing is there under its name before Commit.
	Create(ctx context.Context, name string) (Writer, error)
	// Open opens a file for reading; fs.ErrNotExist when there is none. The
	// caller closes it.
	Open(ctx context.Context, name string) (Reader, error)
	// Delete removes a file; one that is not there is no error. It is durable
	// when it returns.
	Delete(ctx context.Context, name string) error
	// List returns the names below a directory, sorted.
	List(ctx context.Context, dir string) ([]string, error)
}

// Writer is a file that is being written.
type Writer interface {
	io.Writer
	// Commit makes the file durable and visible; one of the same name is
	// replaced.
	Commit() error
	// Abort drops the file. After Commit it does nothing.
	Abort() error
}

// Reader is an open file.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Dir is a Store in a directory of the local disk.
type Dir struct{ root string }

// temporary begins the base name of files that are not committed.
const temporary = ".tmp-"

// OpenDir returns the store in root, which is made when it is missing.
func OpenDir(root string) (*Dir, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return &Dir{root: root}, nil
}

func (d *Dir) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// Create implements Store.
func (d *Dir) Create(_ context.Context, name string) (Writer, error) {
	path := d.path(name)
	if err := d.makeDirs(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), temporary+filepath.Base(path)+"-*")
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return &file{f: f, path: path, name: name}, nil
}

// makeDirs makes a directory and syncs the parents of what it made.
func (d *Dir) makeDirs(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if dir != d.root {
		if err := d.makeDirs(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// file is a Writer.
type file struct {
	f          *os.File
	path, name string
	done       bool
}

func (w *file) Write(p []byte) (int, error) { return w.f.Write(p) }

// Commit implements Writer.
func (w *file) Commit() error {
	if w.done {
		return nil
	}
	w.done = true
	err := w.f.Sync()
	err = errors.Join(err, w.f.Close())
	if err == nil {
		err = os.Rename(w.f.Name(), w.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", w.name, err), remove(w.f.Name()))
	}
	if err := syncDir(filepath.Dir(w.path)); err != nil {
		return fmt.Errorf("write %s: %w", w.name, err)
	}
	return nil
}

// Abort implements Writer.
func (w *file) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return errors.Join(w.f.Close(), remove(w.f.Name()))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// openFile is a Reader.
type openFile struct {
	*os.File
	size int64
}

func (f *openFile) Size() int64 { return f.size }

// Open implements Store.
func (d *Dir) Open(_ context.Context, name string) (Reader, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", name, err), f.Close())
	}
	return &openFile{File: f, size: info.Size()}, nil
}

// Delete implements Store.
func (d *Dir) Delete(_ context.Context, name string) error {
	path := d.path(name)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// List implements Store.
func (d *Dir) List(_ context.Context, dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(d.path(dir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || strings.HasPrefix(entry.Name(), temporary) {
			return nil
		}
		name, err := filepath.Rel(d.root, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	sort.Strings(names)
	return names, nil
}

// Sweep removes files that were never committed. No other process may be
// writing to the directory.
func (d *Dir) Sweep() error {
	return filepath.WalkDir(d.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasPrefix(entry.Name(), temporary) {
			return err
		}
		return remove(path)
	})
}
