package localfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// names makes directories, and makes their names durable: a directory that was made
// survives a power cut once the directory above it has been synced. One sync is enough for
// all directories that were made below another one before it begins, such as the days of a
// month.
//
// A directory that was there may be one that a killed process made and did not sync, so
// that the first file in a directory syncs those above up to root, whoever made it. The
// directories above root are synced only when they were made here.
type names struct {
	root string
	sync func(dir string) error

	mu sync.Mutex
	// above are the syncs that make the names of directories durable, and waiting those
	// of them that have not begun, by the directory that they sync.
	above, waiting map[string]func() error
}

func newNames(root string) *names {
	return &names{root: root, sync: syncDir, above: map[string]func() error{}, waiting: map[string]func() error{}}
}

// make makes a directory, and its missing parents.
func (n *names) make(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return classify(&fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR})
	case err == nil:
		n.found(dir)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return classify(err)
	}
	if err := n.make(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return classify(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wait(dir)
	return nil
}

// found notes a directory that was there, and those between it and root.
func (n *names) found(dir string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for ; strings.HasPrefix(dir, n.root+string(filepath.Separator)) && n.above[dir] == nil; dir = filepath.Dir(dir) {
		n.wait(dir)
	}
}

// wait lets a directory wait for the next sync of the one above it. n is locked.
func (n *names) wait(dir string) {
	parent := filepath.Dir(dir)
	if n.waiting[parent] == nil {
		n.waiting[parent] = sync.OnceValue(func() error {
			n.mu.Lock()
			delete(n.waiting, parent)
			n.mu.Unlock()
			return n.sync(parent)
		})
	}
	n.above[dir] = n.waiting[parent]
}

// persist makes durable what a directory holds, and its own name with those above. A
// directory that could not be synced stays so until the process ends: what a later sync says
// of the same changes is not to be trusted.
func (n *names) persist(dir string) error {
	if err := n.sync(dir); err != nil {
		return err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		n.mu.Lock()
		above := n.above[dir]
		n.mu.Unlock()
		if above == nil {
			continue
		}
		if err := above(); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return classify(err)
	}
	return classify(errors.Join(d.Sync(), d.Close()))
}
