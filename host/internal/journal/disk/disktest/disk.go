package disktest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
)

// Disk is a disk.System in memory. A loss of power keeps the contents that a file
// had at its last sync, and the names that a directory had at its last sync.
type Disk struct {
	script *Script
	*state
}

// state holds the files and directories of a disk. Disks that differ only in
// their scripts share one.
type state struct {
	mu   sync.Mutex
	root *node
	temp int
	open int // files
}

var _ disk.System = (*Disk)(nil)

// node is a file or a directory.
type node struct {
	data, synced   []byte           // a file's contents: now, and at its last sync
	names, durable map[string]*node // a directory's names: now, and at its last sync; nil in a file
}

func newDir() *node { return &node{names: map[string]*node{}, durable: map[string]*node{}} }

// New returns an empty disk. script decides which steps fail; with nil all
// succeed.
func New(script *Script) *Disk {
	if script == nil {
		script = &Script{}
	}
	return &Disk{script, &state{root: newDir()}}
}

// With returns the same disk as another process sees it: script decides which of
// that process's steps fail.
func (d *Disk) With(script *Script) *Disk { return &Disk{script, d.state} }

// Unsynced is a kind of change that a loss of power may undo.
type Unsynced int

// The kinds of unsynced changes.
const (
	Name     Unsynced = iota // a name that was added to or removed from a directory
	Contents                 // bytes that were written to a file since its last sync
)

// PowerLoss returns a copy of the disk as it is after a loss of power. It calls
// keep for each unsynced change, which survives if keep returns true. The disk
// itself and its open files do not change.
func (d *Disk) PowerLoss(script *Script, keep func(Unsynced) bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := New(script)
	after.temp = d.temp
	after.root = survive(d.root, keep)
	return after
}

func survive(n *node, keep func(Unsynced) bool) *node {
	if n.names == nil {
		data := n.synced
		if !slices.Equal(n.data, n.synced) && keep(Contents) {
			data = n.data
		}
		return &node{data: slices.Clone(data), synced: slices.Clone(data)}
	}
	after := newDir()
	for _, name := range slices.Sorted(maps.Keys(merged(n.names, n.durable))) {
		child := n.durable[name]
		if n.names[name] != child && keep(Name) {
			child = n.names[name]
		}
		if child != nil {
			after.names[name] = survive(child, keep)
		}
	}
	after.durable = maps.Clone(after.names)
	return after
}

func merged(a, b map[string]*node) map[string]*node {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// find returns the node at a path, or nil. d.mu is held.
func (d *Disk) find(path string) *node {
	n := d.root
	for element := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if element == "" {
			continue
		}
		if n == nil || n.names == nil {
			return nil
		}
		n = n.names[element]
	}
	return n
}

// dirOf returns the directory that holds a path. d.mu is held.
func (d *Disk) dirOf(op, path string) (*node, error) {
	dir := d.find(filepath.Dir(path))
	if dir == nil || dir.names == nil {
		return nil, &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist}
	}
	return dir, nil
}

func (d *Disk) do(step string, effect func() error) error {
	return d.script.Do(step, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		return effect()
	})
}

// Mkdir implements disk.System.
func (d *Disk) Mkdir(path string) error {
	return d.do("mkdir "+path, func() error {
		dir, err := d.dirOf("mkdir", path)
		if err != nil {
			return err
		}
		if dir.names[filepath.Base(path)] != nil {
			return &fs.PathError{Op: "mkdir", Path: path, Err: fs.ErrExist}
		}
		dir.names[filepath.Base(path)] = newDir()
		return nil
	})
}

// CreateTemp implements disk.System.
func (d *Disk) CreateTemp(dir, pattern string) (disk.File, error) {
	d.mu.Lock()
	d.temp++
	path := filepath.Join(dir, strings.Replace(pattern, "*", fmt.Sprint(d.temp), 1))
	d.mu.Unlock()
	f := &handle{disk: d, path: path, node: &node{}}
	return d.opened(f, d.do("create "+path, func() error {
		parent, err := d.dirOf("create", path)
		if err != nil {
			return err
		}
		parent.names[filepath.Base(path)] = f.node
		return nil
	}))
}

// opened returns the file and counts it as open, or returns err if it is set.
func (d *Disk) opened(f *handle, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
	return f, nil
}

// Open implements disk.System.
func (d *Disk) Open(path string) (disk.File, error) {
	f := &handle{disk: d, path: path}
	return d.opened(f, d.do("open "+path, func() error {
		if f.node = d.find(path); f.node == nil {
			return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return nil
	}))
}

// Rename implements disk.System. Both paths must be in the same directory.
func (d *Disk) Rename(from, to string) error {
	return d.do("rename "+from+" to "+to, func() error {
		dir, err := d.dirOf("rename", from)
		if err != nil {
			return err
		}
		n := dir.names[filepath.Base(from)]
		if n == nil || filepath.Dir(from) != filepath.Dir(to) {
			return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
		}
		delete(dir.names, filepath.Base(from))
		dir.names[filepath.Base(to)] = n
		return nil
	})
}

// Remove implements disk.System.
func (d *Disk) Remove(path string) error {
	return d.do("remove "+path, func() error {
		dir, err := d.dirOf("remove", path)
		if err != nil {
			return err
		}
		if dir.names[filepath.Base(path)] == nil {
			return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
		}
		delete(dir.names, filepath.Base(path))
		return nil
	})
}

// SyncDir implements disk.System.
func (d *Disk) SyncDir(path string) error {
	return d.do("sync directory "+path, func() error {
		n := d.find(path)
		if n == nil || n.names == nil {
			return &fs.PathError{Op: "sync", Path: path, Err: fs.ErrNotExist}
		}
		n.durable = maps.Clone(n.names)
		return nil
	})
}

// WalkDir implements disk.System. It is one step.
func (d *Disk) WalkDir(root string, fn fs.WalkDirFunc) error {
	type found struct {
		path string
		info info
	}
	var all []found
	err := d.do("list "+root, func() error {
		var visit func(path string, n *node)
		visit = func(path string, n *node) {
			all = append(all, found{path, infoOf(path, n)})
			for _, name := range slices.Sorted(maps.Keys(n.names)) {
				visit(filepath.Join(path, name), n.names[name])
			}
		}
		n := d.find(root)
		if n == nil {
			return &fs.PathError{Op: "lstat", Path: root, Err: fs.ErrNotExist}
		}
		visit(root, n)
		return nil
	})
	if err != nil {
		return fn(root, nil, err)
	}
	for _, f := range all {
		if err := fn(f.path, fs.FileInfoToDirEntry(f.info), nil); err != nil {
			return err
		}
	}
	return nil
}

// Files returns the paths of all files, sorted.
func (d *Disk) Files() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var files []string
	var visit func(path string, n *node)
	visit = func(path string, n *node) {
		if n.names == nil {
			files = append(files, path)
		}
		for name, child := range n.names {
			visit(path+"/"+name, child)
		}
	}
	visit("", d.root)
	slices.Sort(files)
	return files
}

// OpenFiles returns the number of files that were opened and not closed.
func (d *Disk) OpenFiles() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// handle is an open file of a Disk.
type handle struct {
	disk *Disk
	path string
	node *node
}

func (f *handle) Name() string { return f.path }

// Write implements io.Writer. A write that fails stores half of the bytes.
func (f *handle) Write(p []byte) (int, error) {
	n := len(p) / 2
	err := f.disk.script.Do("write "+f.path, func() error {
		n = len(p)
		return nil
	})
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.data = append(f.node.data, p[:n]...)
	return n, err
}

func (f *handle) ReadAt(p []byte, offset int64) (n int, err error) {
	err = f.disk.do("read "+f.path, func() error {
		if offset < int64(len(f.node.data)) {
			n = copy(p, f.node.data[offset:])
		}
		return nil
	})
	switch {
	case err != nil:
		return 0, err
	case n < len(p):
		return n, io.EOF
	default:
		return n, nil
	}
}

func (f *handle) Sync() error {
	return f.disk.do("sync "+f.path, func() error {
		f.node.synced = slices.Clone(f.node.data)
		return nil
	})
}

// Close closes the file even if it returns an error, as close(2) does.
func (f *handle) Close() error {
	f.disk.mu.Lock()
	f.disk.open--
	f.disk.mu.Unlock()
	return f.disk.do("close "+f.path, func() error { return nil })
}

func (f *handle) Stat() (fs.FileInfo, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return infoOf(f.path, f.node), nil
}

// info is the fs.FileInfo of a file or directory.
type info struct {
	name string
	size int64
	dir  bool
}

func infoOf(path string, n *node) info {
	return info{filepath.Base(path), int64(len(n.data)), n.names != nil}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) IsDir() bool        { return i.dir }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
