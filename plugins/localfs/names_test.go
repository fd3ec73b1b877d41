package localfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake"
)

// power is a disk that forgets what was not synced: it knows the names that would be there
// after a power cut.
type power struct {
	t  *testing.T
	mu sync.Mutex

	durable map[string]bool
	syncs   map[string]int
}

func newPower(t *testing.T) *power {
	return &power{t: t, durable: map[string]bool{}, syncs: map[string]int{}}
}

// store returns one over the disk.
func (p *power) store(root string) *store {
	s := newStore(root)
	s.names.sync = p.sync
	return s
}

func (p *power) sync(dir string) error {
	entries, err := os.ReadDir(dir) // names that come later may be lost
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syncs[dir]++
	for _, e := range entries {
		p.durable[filepath.Join(dir, e.Name())] = true
	}
	return nil
}

// survives fails unless a file below root is there after a power cut.
func (p *power) survives(root, name string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for path := filepath.Join(root, filepath.FromSlash(name)); path != root; path = filepath.Dir(path) {
		if !p.durable[path] {
			p.t.Errorf("%s was said to be stored, and a power cut takes %s", name, path)
			return
		}
	}
}

var byOne = lake.Attempt{Nonce: "one"}

// days are files, one for each day of three months.
func days() (names []string) {
	for month := range 3 {
		for day := range 28 {
			names = append(names, fmt.Sprintf("7/mp_master_event/2026/%02d/%02d/run.json.gz", month+1, day+1))
		}
	}
	return names
}

func TestFilesSurviveAPowerCut(t *testing.T) {
	disk, root := newPower(t), t.TempDir()
	s := disk.store(root)
	var uploads []lake.Upload
	for _, name := range days() {
		u, err := s.Create(t.Context(), name, byOne)
		if err != nil {
			t.Fatal(err)
		}
		uploads = append(uploads, u)
	}
	for i, name := range days() {
		if err := uploads[i].Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		disk.survives(root, name)
	}
	for dir, n := range disk.syncs {
		if n != 1 {
			t.Errorf("%s was synced %d times; the days of a month share one sync", dir, n)
		}
	}
}

// Directories may be those of an attempt that was killed before it synced them.
func TestFilesInDirectoriesOfOthersSurviveAPowerCut(t *testing.T) {
	disk, root := newPower(t), t.TempDir()
	for _, name := range days() {
		if _, err := disk.store(root).Create(t.Context(), name, byOne); err != nil {
			t.Fatal(err)
		}
	}
	s := disk.store(root)
	for _, name := range days() {
		u, err := s.Create(t.Context(), name, lake.Attempt{Nonce: "two"})
		if err == nil {
			err = u.Finish(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		disk.survives(root, name)
	}
	if _, err := s.WriteIf(t.Context(), "7/_penstock/manifest.json", []byte("{}"), ""); err != nil {
		t.Fatal(err)
	}
	disk.survives(root, "7/_penstock/manifest.json")
}

func TestFilesOfManyGoroutinesSurviveAPowerCut(t *testing.T) {
	disk, root := newPower(t), t.TempDir()
	s := disk.store(root)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for _, name := range days() {
				u, err := s.Create(t.Context(), fmt.Sprintf("%s.%d", name, i), byOne)
				if err == nil {
					err = u.Finish(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
				disk.survives(root, fmt.Sprintf("%s.%d", name, i))
			}
		})
	}
	wg.Wait()
}

// A sync that failed is not tried again: it could succeed without the bytes being stored.
func TestADirectoryThatCannotBeSynced(t *testing.T) {
	root := t.TempDir()
	s := newStore(root)
	broken := errors.New("input/output error")
	s.names.sync = func(dir string) error {
		if filepath.Base(dir) == "2026" {
			return broken
		}
		return nil
	}
	for range 2 {
		u, err := s.Create(t.Context(), days()[0], byOne)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Finish(t.Context()); !errors.Is(err, broken) {
			t.Errorf("Finish in a directory whose name cannot be synced: %v", err)
		}
		s.names.sync = func(string) error { return nil }
	}
}
