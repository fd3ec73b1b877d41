package identity

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// overlay is a file system in which one directory is only read: files that are
// made there lie in a scratch directory instead, and files that are removed are
// only hidden. A key-value store thus works on a directory that must not be
// changed, or cannot be. Files are made and removed whole, as such a store does:
// none that is in the directory is ever changed.
//
//	dir: a b c    scratch: c d    hidden: b    the store sees: a c(scratch) d
type overlay struct {
	vfs.FS
	dir, scratch string

	mu     sync.Mutex
	hidden map[string]bool // names in dir
}

func newOverlay(fs vfs.FS, dir, scratch string) *overlay {
	return &overlay{FS: fs, dir: filepath.Clean(dir), scratch: scratch, hidden: map[string]bool{}}
}

// top returns where a file lies once it was made or changed.
func (o *overlay) top(name string) string {
	if rest, inside := strings.CutPrefix(filepath.Clean(name), o.dir); inside && (rest == "" || rest[0] == filepath.Separator) {
		return o.scratch + rest
	}
	return name
}

// at returns where a file lies that is to be read.
func (o *overlay) at(name string) string {
	top := o.top(name)
	if _, err := o.FS.Stat(top); err == nil || o.isHidden(name) {
		return top
	}
	return name
}

func (o *overlay) isHidden(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hidden[filepath.Clean(name)]
}

// hide hides a file of dir. It reports whether there was one that was seen.
func (o *overlay) hide(name string) bool {
	_, err := o.FS.Stat(name)
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := err == nil && !o.hidden[filepath.Clean(name)]
	o.hidden[filepath.Clean(name)] = true
	return seen
}

func (o *overlay) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return o.FS.Create(o.top(name), category)
}

func (o *overlay) Link(old, name string) error { return o.FS.Link(o.at(old), o.top(name)) }

func (o *overlay) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	return o.FS.Open(o.at(name), options...)
}

func (o *overlay) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	if at := o.at(name); at != o.top(name) {
		if _, err := o.FS.Stat(at); err == nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errReadOnly}
		}
	}
	return o.FS.OpenReadWrite(o.top(name), category, options...)
}

// errReadOnly says that a file of the directory below would be changed.
var errReadOnly = errors.New("the directory is only read")

func (o *overlay) OpenDir(name string) (vfs.File, error) { return o.FS.OpenDir(o.top(name)) }

func (o *overlay) Remove(name string) error {
	seen := o.top(name) != name && o.hide(name)
	err := o.FS.Remove(o.top(name))
	if seen && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (o *overlay) RemoveAll(name string) error {
	if o.top(name) != name {
		below, err := o.FS.List(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, file := range below {
			o.hide(filepath.Join(name, file))
		}
	}
	return o.FS.RemoveAll(o.top(name))
}

func (o *overlay) Rename(old, name string) error {
	if o.at(old) != o.top(old) {
		return &fs.PathError{Op: "rename", Path: old, Err: errReadOnly}
	}
	return o.FS.Rename(o.top(old), o.top(name))
}

func (o *overlay) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.Remove(old); err != nil {
		return nil, err
	}
	return o.Create(name, category)
}

func (o *overlay) MkdirAll(dir string, mode os.FileMode) error {
	return o.FS.MkdirAll(o.top(dir), mode)
}

func (o *overlay) Lock(name string) (io.Closer, error) { return o.FS.Lock(o.top(name)) }

func (o *overlay) List(dir string) ([]string, error) {
	names, err := o.FS.List(o.top(dir))
	if o.top(dir) == dir || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return names, err
	}
	below, belowErr := o.FS.List(dir)
	if belowErr != nil {
		if errors.Is(belowErr, fs.ErrNotExist) {
			return names, err
		}
		return nil, belowErr
	}
	for _, name := range below {
		if !o.isHidden(filepath.Join(dir, name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (o *overlay) Stat(name string) (vfs.FileInfo, error) { return o.FS.Stat(o.at(name)) }

func (o *overlay) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	return o.FS.GetDiskUsage(o.top(path))
}

func (o *overlay) Unwrap() vfs.FS { return o.FS }
