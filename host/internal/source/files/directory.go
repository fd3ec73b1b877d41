package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"
)

// directory is the local file system.
type directory struct {
	pattern string                 // absolute, or relative to the working directory
	dirFS   func(dir string) fs.FS // nil: os.DirFS
}

func (d directory) list(context.Context) (listing, error) {
	base, rest := doublestar.SplitPattern(filepath.ToSlash(filepath.Clean(d.pattern)))
	var found listing
	paths, err := d.glob(unescaped(base), rest, &found)
	if err != nil {
		return found, fmt.Errorf("look for %s: %w", d.pattern, err)
	}
	sort.Strings(paths)
	for _, path := range paths {
		name := filepath.Base(path)
		if strings.HasPrefix(name, ".") && name != filepath.Base(d.pattern) {
			continue // not complete: its writer renames it
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && isLink(path):
			found.skip(path, "it is a symbolic link to a file that does not exist")
		case errors.Is(err, fs.ErrNotExist): // it was removed since
		case err != nil:
			found.skip(path, cause(err))
		case info.IsDir():
			found.directories++
		case !info.Mode().IsRegular():
			found.skip(path, notRegular(info.Mode()))
		default:
			e := entry{path: path, size: info.Size(), modTime: info.ModTime().UnixNano()}
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				e.inode, e.changed = stat.Ino, changeTime(stat)
			}
			found.entries = append(found.entries, e)
		}
	}
	return found, nil
}

// isLink reports whether a path names a symbolic link.
func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// glob returns the paths below base that a pattern names. Directories that
// cannot be read are skipped.
func (d directory) glob(base, pattern string, found *listing) ([]string, error) {
	if pattern == "" || pattern == "." {
		return []string{base}, nil
	}
	dirFS := d.dirFS
	if dirFS == nil {
		dirFS = os.DirFS
	}
	names, err := doublestar.Glob(&tree{DirFS: dirFS(base), base: base, found: found}, pattern)
	for i := range names {
		names[i] = filepath.Join(base, filepath.FromSlash(names[i]))
	}
	return names, err
}

// unescaped returns a path in which a backslash stands before characters that
// would have a meaning in a pattern, without these.
func unescaped(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+1 < len(path) {
			i++
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// tree is a directory tree in which a directory that cannot be read is empty,
// and a loop of symbolic links ends.
type tree struct {
	DirFS fs.FS
	base  string
	found *listing
}

// Open implements fs.FS.
func (t *tree) Open(name string) (fs.File, error) { return t.DirFS.Open(name) }

// Stat implements fs.StatFS.
func (t *tree) Stat(name string) (fs.FileInfo, error) { return fs.Stat(t.DirFS, name) }

// ReadDir implements fs.ReadDirFS.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	full := filepath.Join(t.base, filepath.FromSlash(name))
	if t.loops(name) {
		t.found.skip(full, "it is a symbolic link to a directory that it lies in")
		return nil, nil
	}
	entries, err := fs.ReadDir(t.DirFS, name)
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return entries, err
	}
	t.found.skip(full, cause(err))
	return nil, nil
}

// loops reports whether a directory is one of those that it lies in.
func (t *tree) loops(name string) bool {
	own, err := fs.Stat(t.DirFS, name)
	if err != nil || name == "." {
		return false
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if info, err := fs.Stat(t.DirFS, dir); err == nil && os.SameFile(own, info) {
			return true
		}
		if dir == "." {
			return false
		}
	}
}

func notRegular(mode fs.FileMode) string {
	kind := "not a regular file"
	switch {
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	case mode&fs.ModeDevice != 0:
		kind = "a device"
	}
	return "it is " + kind + ", and only regular files are read"
}

// cause returns an error's text without the path that it concerns.
func cause(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// bare returns an error without the operation and the path that its caller adds.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// errNotRegular says that a path names something else than a file since it was
// listed.
var errNotRegular = errors.New("it is not a regular file")

func (d directory) open(_ context.Context, path string, from int64) (io.ReadCloser, error) {
	// Opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err == nil {
		_, err = f.Seek(from, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d directory) close() error { return nil }
