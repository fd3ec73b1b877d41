package localfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
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

// The directories may be those of an attempt that was killed, root among them.
func TestRootOfOthersSurvivesAPowerCut(t *testing.T) {
	for _, path := range []string{"exports/lake", "/"} {
		disk, base := newPower(t), t.TempDir()
		root, name := filepath.Join(base, path), days()[0]
		below := filepath.ToSlash(filepath.Join(path, name))
		if path == "/" {
			root, name, below = "/", base[1:]+"/"+name, name
		}
		for _, nonce := range []string{"one", "two"} {
			s := disk.store(root)
			u, err := s.Create(t.Context(), name, lake.Attempt{Nonce: nonce})
			if err == nil && nonce == "two" {
				err = u.Finish(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		disk.survives(base, below)
	}
}

// A sync that failed is not tried again: it could succeed without the bytes being stored. A
// directory that could not be opened for one is.
func TestADirectoryThatCannotBeSynced(t *testing.T) {
	for _, at := range []string{"2026", "01", "lake", "above"} {
		for _, op := range []string{"sync", "open"} {
			root := filepath.Join(t.TempDir(), "above", "lake")
			s := newStore(root)
			finish := func() error {
				u, err := s.Create(t.Context(), days()[0], byOne)
				if err != nil {
					t.Fatal(err)
				}
				return u.Finish(t.Context())
			}
			broken := &fs.PathError{Op: op, Path: at, Err: syscall.EIO}
			s.names.sync = func(dir string) error {
				if filepath.Base(dir) == at {
					return classify(broken)
				}
				return nil
			}
			if err := finish(); !errors.Is(err, broken) {
				t.Errorf("Finish when %s cannot be synced: %v", at, err)
			}
			s.names.sync = func(string) error { return nil }
			if err := finish(); errors.Is(err, broken) != (op == "sync") {
				t.Errorf("Finish after the %s of %s has failed: %v", op, at, err)
			}
		}
	}
}

// A full disk passes.
func TestADirectoryThatLacksRoom(t *testing.T) {
	s := newStore(t.TempDir())
	full := error(&fs.PathError{Op: "sync", Path: "01", Err: syscall.ENOSPC})
	s.names.sync = func(string) error { return classify(full) }
	for _, want := range []error{full, nil} {
		u, err := s.Create(t.Context(), days()[0], byOne)
		if err == nil {
			err = u.Finish(t.Context())
		}
		if !errors.Is(err, want) {
			t.Errorf("Finish: %v, want %v", err, want)
		}
		s.names.sync = func(string) error { return nil }
	}
}

// A file is not said to be stored while the directory above root, which another goroutine has
// made, is being synced.
func TestRootIsMadeAndSyncedOnce(t *testing.T) {
	base := t.TempDir()
	s := newStore(filepath.Join(base, "a", "lake"))
	begun, release := make(chan struct{}), make(chan struct{})
	var synced atomic.Bool
	s.names.sync = func(dir string) error {
		if dir == base {
			close(begun)
			<-release
			synced.Store(true)
		}
		return nil
	}
	var wg sync.WaitGroup
	finish := func(nonce string) {
		wg.Go(func() {
			u, err := s.Create(t.Context(), days()[0]+nonce, lake.Attempt{Nonce: nonce})
			if err == nil {
				err = u.Finish(t.Context())
			}
			if err != nil || !synced.Load() {
				t.Errorf("Finish before the directory above was synced: %v", err)
			}
		})
	}
	finish("one")
	<-begun
	finish("two")
	close(release)
	wg.Wait()
}

// A directory above that cannot be synced, since somebody else owns it or its file system
// has no fsync for directories, is left out.
func TestADirectoryAboveThatCannotBeSynced(t *testing.T) {
	for _, cannot := range []*fs.PathError{{Op: "open", Err: syscall.EACCES}, {Op: "sync", Err: syscall.EINVAL}} {
		testAboveThatCannotBeSynced(t, cannot)
	}
}

func testAboveThatCannotBeSynced(t *testing.T, cannot *fs.PathError) {
	t.Helper()
	for _, made := range []bool{false, true} {
		root := t.TempDir()
		if !made {
			if err := os.MkdirAll(filepath.Join(root, filepath.Dir(days()[0])), dirMode); err != nil {
				t.Fatal(err)
			}
		}
		s := newStore(root)
		s.names.sync = func(dir string) error {
			if filepath.Base(dir) == "7" {
				return classify(cannot)
			}
			return nil
		}
		u, err := s.Create(t.Context(), days()[0], byOne)
		if err == nil {
			err = u.Finish(t.Context())
		}
		if errors.Is(err, cannot) != made {
			t.Errorf("directories made here: %t, %v; Finish: %v", made, cannot, err)
		}
	}
}

// A commit of which the directory could not be synced is not said to be there: neither when
// it is asked for, nor when it is tried again.
func TestACommitThatWasNotSynced(t *testing.T) {
	const manifests = "7/_penstock/mp_master_event"
	for _, broken := range []*fs.PathError{{Op: "sync", Err: syscall.EIO}, {Op: "open", Err: syscall.EMFILE}, {Op: "open", Err: syscall.EACCES}} {
		disk, root := newPower(t), t.TempDir()
		s := disk.store(root)
		l := lake.New(lake.Options{Store: s})
		run := eventsRun(1, 1)
		receipt, err := begin(t.Context(), l, run, 1)
		if err != nil {
			t.Fatal(err)
		}
		synced := disk.syncs[filepath.Join(root, manifests)]
		s.names.sync = func(dir string) error {
			if dir == filepath.Join(root, manifests) {
				return classify(broken)
			}
			return disk.sync(dir)
		}
		if err := l.Commit(t.Context(), run, receipt); !errors.Is(err, broken) {
			t.Fatalf("Commit: %v", err)
		}
		if status, err := l.Status(t.Context(), run); err == nil {
			t.Errorf("the commit was not synced, and its status is %v", status.State)
		}
		if err := l.Commit(t.Context(), run, receipt); err == nil {
			t.Error("the commit was not synced, and is done when it is tried again")
		}
		s.names.sync = disk.sync
		status, err := l.Status(t.Context(), run)
		if broken.Op == "sync" {
			if err == nil {
				t.Errorf("after a sync that failed, the status is %v", status.State)
			}
			continue
		}
		if err != nil || status.State != sdk.Committed || disk.syncs[filepath.Join(root, manifests)] == synced {
			t.Errorf("the status is %v, %v, after %d syncs", status.State, err, disk.syncs[filepath.Join(root, manifests)]-synced)
		}
	}
}

// A set that a killed process has switched, and not synced, is synced before it counts as
// committed, whatever its format has to read to know it again.
func TestASetThatWasSwitchedAndNotSynced(t *testing.T) {
	for format, set := range map[string]string{"json": "7/mp_people_data/p-c0ffee.json.gz", "parquet": "7/mp_people_data/p-c0ffee.parquet"} {
		disk, root := newPower(t), t.TempDir()
		s := disk.store(root)
		run := sdk.Run{ProjectID: 7, Pipeline: "p", PipelineID: "c0ffee", Stream: sdk.People, Mode: sdk.Replace, Number: 1, Fence: 1, Content: "content-1"}
		open := func(s *store) *lake.Lake { return lake.New(lake.Options{Store: s, Format: formats.Named(format)}) }
		l := open(s)
		receipt, err := begin(t.Context(), l, run, 1)
		if err != nil {
			t.Fatal(err)
		}
		killed := errors.New("killed")
		s.names.sync = func(string) error { return killed }
		if err := l.Commit(t.Context(), run, receipt); !errors.Is(err, killed) {
			t.Fatal(err)
		}
		next := run
		next.Fence = 2
		last, err := open(disk.store(root)).Open(t.Context(), next)
		if err != nil || last.Number != 1 {
			t.Fatalf("the set that was switched is not committed: %v, %v", last, err)
		}
		disk.survives(root, set)
	}
}
