package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"
	"sync"
)

// Store keeps files by name: path elements of [a-z0-9_.-], separated by "/".
type Store interface {
	// Create begins a file. Readers do not see it under its name before Commit.
	// The caller ends it with Commit or Abort.
	Create(ctx context.Context, name string) (Writer, error)
	// Open opens a file for reading; fs.ErrNotExist when there is none. The
	// caller closes it.
	Open(ctx context.Context, name string) (Reader, error)
	// Delete removes a file durably. It returns nil if the file does not exist.
	Delete(ctx context.Context, name string) error
	// List returns the names below a directory, sorted.
	List(ctx context.Context, dir string) ([]string, error)
}

// Writer is a file that is being written.
type Writer interface {
	io.Writer
	// Commit makes the file durable and visible. It replaces a file of the same
	// name. After Abort it does nothing.
	Commit() error
	// Abort drops the file. After Commit it does nothing.
	Abort() error
}

// Reader is an open file. Size is its length in bytes.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Dir is a Store in a directory.
type Dir struct {
	root   string
	system System

	mu     sync.Mutex
	synced map[string]bool // directories whose names in their parents are durable
}

// temporary begins the base name of files that are not committed.
const temporary = ".tmp-"

// OpenDir returns the store in root, which is made when it is missing.
func OpenDir(root string) (*Dir, error) { return OpenOn(local{}, root) }

// Local returns the operating system, for OpenOn.
func Local() System { return local{} }

// OpenReadOnly returns the store in root for reading. A missing root is an empty
// store. Calls that would change the store fail with EROFS.
func OpenReadOnly(root string) *Dir { return &Dir{root: root, system: readOnly{}} }

// OpenOn is OpenDir on a system other than the operating system.
func OpenOn(system System, root string) (*Dir, error) {
	d := &Dir{root: root, system: system, synced: map[string]bool{root: true}}
	if err := d.makeRoot(root); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return d, nil
}

// makeRoot makes a directory and its missing parents, and syncs the parents.
func (d *Dir) makeRoot(dir string) error {
	parent := filepath.Dir(dir)
	err := d.system.Mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := d.makeRoot(parent); err != nil {
			return err
		}
		err = d.system.Mkdir(dir)
	}
	return d.keepDir(dir, err)
}

// keepDir makes the name of a directory durable, whose Mkdir has returned an error. One that
// was just made is removed if that fails: a failed sync is reported once, and the next one
// would say that the name is durable.
func (d *Dir) keepDir(dir string, made error) error {
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return made
	}
	err := d.system.SyncDir(filepath.Dir(dir))
	if err != nil && made == nil {
		return errors.Join(err, d.system.Remove(dir))
	}
	return err
}

// Root returns the absolute path of the directory; empty if other processes cannot
// open it by its path: the system is not the operating system, or the path is relative.
func (d *Dir) Root() string {
	switch d.system.(type) {
	case local, readOnly:
		if filepath.IsAbs(d.root) {
			return d.root
		}
	}
	return ""
}

func (d *Dir) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// Create implements Store.
func (d *Dir) Create(_ context.Context, name string) (Writer, error) {
	path := d.path(name)
	if err := d.makeDirs(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	f, err := d.system.CreateTemp(filepath.Dir(path), temporary+filepath.Base(path)+"-*")
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return &file{dir: d, f: f, path: path, name: name}, nil
}

// makeDirs makes a directory and its parents, and syncs the parents. It also
// syncs the parents of a directory that exists already: the process that made it
// may have died before it synced.
func (d *Dir) makeDirs(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.makeDir(dir)
}

func (d *Dir) makeDir(dir string) error {
	if d.synced[dir] {
		return nil
	}
	if err := d.makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := d.keepDir(dir, d.system.Mkdir(dir)); err != nil {
		return err
	}
	d.synced[dir] = true
	return nil
}

// file is the Writer of a Dir: a temporary file that Commit renames to path.
type file struct {
	dir        *Dir
	f          File
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
		err = w.dir.system.Rename(w.f.Name(), w.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", w.name, err), w.dir.remove(w.f.Name()))
	}
	if err := w.dir.system.SyncDir(filepath.Dir(w.path)); err != nil {
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
	return errors.Join(w.f.Close(), w.dir.remove(w.f.Name()))
}

func (d *Dir) remove(path string) error {
	if err := d.system.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openFile is the Reader of a Dir. Its size is that at the time of Open.
type openFile struct {
	File
	size int64
}

func (f *openFile) Size() int64 { return f.size }

// Open implements Store.
func (d *Dir) Open(_ context.Context, name string) (Reader, error) {
	f, err := d.system.Open(d.path(name))
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
	err := d.remove(path)
	if err == nil {
		// Sync even if the file was missing already: the call that removed it
		// may have failed before it synced.
		err = d.system.SyncDir(filepath.Dir(path))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// List implements Store.
func (d *Dir) List(_ context.Context, dir string) ([]string, error) {
	var names []string
	err := d.system.WalkDir(d.path(dir), func(path string, entry fs.DirEntry, err error) error {
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
	return d.system.WalkDir(d.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasPrefix(entry.Name(), temporary) {
			return err
		}
		return d.remove(path)
	})
}
