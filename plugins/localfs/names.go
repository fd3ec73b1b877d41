package localfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// names makes directories, and makes the names in them durable: a file or directory
// survives a power cut once the directory above it has been synced. One sync is enough for
// all directories that were made below another one before it begins, such as the days of a
// month.
//
// A name that is there may be one that a killed process made and did not sync, or whose sync
// failed. So the first file below a directory syncs all of those above it, and Read says of
// nothing that it is there before its directory was synced. Directories that are not this
// store's, and cannot be synced, are left out: those that others own, and those of file
// systems that have no fsync for directories.
type names struct {
	sync func(dir string) error

	mu sync.Mutex
	// above are the syncs that make the names of directories durable, and waiting those
	// of them that have not begun, by the directory that they sync.
	above, waiting map[string]*pendingSync
	renamed        map[string]int   // files that were renamed in a directory and are not durable
	failed         map[string]error // of directories that cannot be trusted any more
}

// pendingSync is the sync of a directory for those that were made or found below it.
type pendingSync struct {
	once  sync.Once
	err   error
	below []string // guarded by the mutex of names until the sync begins
	made  bool     // one of them was made here; likewise
}

func newNames() *names {
	return &names{sync: syncDir, above: map[string]*pendingSync{}, waiting: map[string]*pendingSync{}, renamed: map[string]int{}, failed: map[string]error{}}
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
	n.wait(dir, true)
	return nil
}

// found notes a directory that was there, and those above it.
func (n *names) found(dir string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for ; n.above[dir] == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		n.wait(dir, false)
	}
}

// wait lets a directory wait for the next sync of the one above it. n is locked.
func (n *names) wait(dir string, made bool) {
	parent := filepath.Dir(dir)
	if n.waiting[parent] == nil {
		n.waiting[parent] = &pendingSync{}
	}
	s := n.waiting[parent]
	s.below, s.made = append(s.below, dir), s.made || made
	n.above[dir] = s
}

// note counts a file of a directory that is not durable, or is so now.
func (n *names) note(dir string, by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.renamed[dir] += by
}

// persist makes the names in a directory durable, and its own name with those above.
func (n *names) persist(dir string) error {
	if err := n.syncNames(dir); err != nil {
		return err
	}
	return n.persistAbove(dir)
}

// persistAbove makes a directory's own name durable, with those above.
func (n *names) persistAbove(dir string) error {
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		n.mu.Lock()
		s := n.above[dir]
		n.mu.Unlock()
		if s == nil {
			continue
		}
		s.once.Do(func() { s.err = n.carryOut(s, filepath.Dir(dir)) })
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

// carryOut syncs a directory for those below it. After an error they wait for another sync.
func (n *names) carryOut(s *pendingSync, dir string) error {
	n.mu.Lock()
	if n.waiting[dir] == s {
		delete(n.waiting, dir)
	}
	n.mu.Unlock()
	err := n.syncNames(dir)
	if err == nil || cannotSync(err) && !s.made {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, below := range s.below {
		if n.above[below] == s {
			n.wait(below, s.made)
		}
	}
	return err
}

// settle is persist for a directory of which something is to be said that others may have
// put there.
func (n *names) settle(dir string) error {
	n.found(dir)
	err := n.syncNames(dir)
	n.mu.Lock()
	mine := n.renamed[dir] > 0
	n.mu.Unlock()
	if err != nil && (mine || !cannotSync(err)) {
		return err
	}
	return n.persistAbove(dir)
}

// syncNames syncs a directory, unless that has failed before: a later sync of the same
// changes is not to be trusted. A directory that could not be opened, or lacked room, is
// synced again.
func (n *names) syncNames(dir string) error {
	n.mu.Lock()
	failed := n.failed[dir]
	n.mu.Unlock()
	if failed != nil {
		return failed
	}
	err := n.sync(dir)
	if !isLasting(err) {
		return err
	}
	err = fmt.Errorf("%w: files that were written to this directory may be lost in a power cut; look at the disk, and start penstock again", err)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failed[dir] = err
	return err
}

// isLasting reports whether an error of syncing a directory leaves it unknown what is stored.
func isLasting(err error) bool {
	var of *fs.PathError
	return errors.As(err, &of) && of.Op == "sync" && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) && !cannotSync(err)
}

// cannotSync reports whether an error says that a directory cannot be synced at all.
func cannotSync(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EROFS)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return classify(err)
	}
	return classify(errors.Join(d.Sync(), d.Close()))
}
