package disk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/disk/disktest"
)

const root = "/blobs"

func onMemory(t *testing.T, d *disktest.Disk) *disk.Dir {
	t.Helper()
	store, err := disk.OpenOn(d, root)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// put writes a file in two parts.
func put(store disk.Store, name, contents string) error {
	w, err := store.Create(context.Background(), name)
	if err != nil {
		return err
	}
	for _, part := range []string{contents[:len(contents)/2], contents[len(contents)/2:]} {
		if _, err := io.WriteString(w, part); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Commit()
}

// all reads every file of a store.
func all(t *testing.T, store disk.Store) map[string]string {
	t.Helper()
	names, err := store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(names) {
		t.Errorf("names are not sorted: %q", names)
	}
	files := map[string]string{}
	for _, name := range names {
		r, err := store.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	return files
}

// A store in a directory of the operating system and a store on the disk in
// memory both hold the same files as a map after any sequence of calls.
func TestAStoreIsAMapOfNames(t *testing.T) {
	local, err := disk.OpenDir(filepath.Join(t.TempDir(), "some", "where"))
	if err != nil {
		t.Fatal(err)
	}
	for what, store := range map[string]*disk.Dir{"operating system": local, "memory": onMemory(t, disktest.New(nil))} {
		r := rand.New(rand.NewPCG(1, 5))
		model := map[string]string{}
		for step := range 300 {
			name := fmt.Sprintf("%c/%d/%d.seg", 'a'+rune(r.IntN(2)), r.IntN(3), r.IntN(4))
			switch r.IntN(4) {
			case 0, 1:
				contents := strings.Repeat(fmt.Sprint(step), r.IntN(1000))
				if err := put(store, name, contents); err != nil {
					t.Fatal(err)
				}
				model[name] = contents
			case 2:
				if err := store.Delete(t.Context(), name); err != nil {
					t.Fatal(err)
				}
				delete(model, name)
			case 3:
				w, err := store.Create(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(w, "dropped"); err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(w.Abort(), w.Abort(), w.Commit()); err != nil {
					t.Fatal(err)
				}
			}
			if got := all(t, store); !maps.Equal(got, model) {
				t.Fatalf("%s, step %d: holds %q, want %q", what, step, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(model)))
			}
		}
		below, err := store.List(t.Context(), "a/1")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range below {
			if !strings.HasPrefix(name, "a/1/") {
				t.Errorf("%s: %s is listed below a/1", what, name)
			}
		}
		if names, err := store.List(t.Context(), "nowhere"); err != nil || len(names) > 0 {
			t.Errorf("%s: a directory that is not there: %q, %v", what, names, err)
		}
		if _, err := store.Open(t.Context(), "a/nothing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: opening a missing file: %v", what, err)
		}
	}
}

func TestSweepRemovesOnlyUncommittedFiles(t *testing.T) {
	dir := t.TempDir()
	store, err := disk.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(store, "a/committed.seg", "contents"); err != nil {
		t.Fatal(err)
	}
	left, err := store.Create(t.Context(), "a/left.seg")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(left, "half"); err != nil {
		t.Fatal(err)
	}
	if n := countFiles(t, dir); n != 2 {
		t.Fatalf("%d files before the sweep, want 2", n)
	}
	if err := store.Sweep(); err != nil {
		t.Fatal(err)
	}
	if n := countFiles(t, dir); n != 1 {
		t.Errorf("%d files after the sweep, want 1", n)
	}
	if got := all(t, store); got["a/committed.seg"] != "contents" {
		t.Errorf("holds %q", got)
	}
	if err := left.Abort(); err != nil {
		t.Errorf("abort of a file that was swept: %v", err)
	}
}

func countFiles(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// losses are possible outcomes of a loss of power, by name: each decides which
// unsynced changes the disk keeps.
func losses(seed uint64) map[string]func(disktest.Unsynced) bool {
	r := rand.New(rand.NewPCG(seed, 6))
	return map[string]func(disktest.Unsynced) bool{
		"all is lost":        func(disktest.Unsynced) bool { return false },
		"all is kept":        func(disktest.Unsynced) bool { return true },
		"contents are lost":  func(w disktest.Unsynced) bool { return w == disktest.Name },
		"names are lost":     func(w disktest.Unsynced) bool { return w == disktest.Contents },
		"something is lost":  func(disktest.Unsynced) bool { return r.IntN(2) == 0 },
		"something is kept":  func(disktest.Unsynced) bool { return r.IntN(4) == 0 },
		"most of it is kept": func(disktest.Unsynced) bool { return r.IntN(4) > 0 },
	}
}

// The power fails after each step of a sequence of calls. The effect of a call
// that returned nil is kept; a file whose call returned an error is either whole
// or missing.
func TestCommittedFilesSurviveALossOfPower(t *testing.T) {
	const contents = "contents of a file"
	const gone = "a/2/x.seg"
	run := func(d *disktest.Disk) (committed []string, deleted bool) {
		store, err := disk.OpenOn(d, root)
		if err != nil {
			return nil, false
		}
		for _, name := range []string{"a/1/x.seg", gone, "a/1/y.seg"} {
			if put(store, name, contents) == nil {
				committed = append(committed, name)
			}
		}
		deleted = store.Delete(context.Background(), gone) == nil
		// Once Delete was called the file may exist or not.
		return slices.DeleteFunc(committed, func(name string) bool { return name == gone }), deleted
	}
	whole := &disktest.Script{}
	run(disktest.New(whole))
	for n := 1; n <= len(whole.Steps())+1; n++ {
		for _, fault := range []disktest.Fault{disktest.Before, disktest.After} {
			script := &disktest.Script{}
			script.FailAt(n, fault, true)
			d := disktest.New(script)
			committed, deleted := run(d)
			for what, keep := range losses(uint64(n)) {
				got := all(t, onMemory(t, d.PowerLoss(nil, keep)))
				for name, data := range got {
					if data != contents {
						t.Errorf("step %d, fault %d, %s: %s is cut short: %q", n, fault, what, name, data)
					}
				}
				for _, name := range committed {
					if got[name] == "" {
						t.Errorf("step %d, fault %d, %s: %s is lost", n, fault, what, name)
					}
				}
				if deleted && got[gone] != "" {
					t.Errorf("step %d, fault %d, %s: %s is there again", n, fault, what, gone)
				}
			}
		}
	}
}

// One step fails and later steps succeed. A retry, in the same process or in the
// next process, writes the file durably.
func TestRetryAfterAFault(t *testing.T) {
	whole := &disktest.Script{}
	if err := put(onMemory(t, disktest.New(whole)), "a/1/x.seg", "contents"); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(whole.Steps()); n++ {
		for _, fault := range []disktest.Fault{disktest.Before, disktest.After} {
			for _, sameProcess := range []bool{true, false} {
				script := &disktest.Script{}
				script.FailAt(n, fault, false)
				d := disktest.New(script)
				store, err := disk.OpenOn(d, root)
				if err != nil {
					store = onMemory(t, d)
				}
				err = errors.Join(err, put(store, "a/1/x.seg", "contents"))
				if !errors.Is(err, disktest.ErrInjected) {
					t.Fatalf("step %d: the fault was not reported: %v", n, err)
				}
				for _, file := range d.Files() {
					if strings.Contains(file, ".tmp-") && !strings.HasPrefix(whole.Steps()[n-1], "create") {
						t.Errorf("step %d, fault %d (%s): %s is left", n, fault, whole.Steps()[n-1], file)
					}
				}
				if !sameProcess {
					store = onMemory(t, d)
				}
				if err := put(store, "a/1/x.seg", "contents"); err != nil {
					t.Fatalf("step %d: the second attempt: %v", n, err)
				}
				for what, keep := range losses(uint64(n)) {
					if got := all(t, onMemory(t, d.PowerLoss(nil, keep))); got["a/1/x.seg"] != "contents" {
						t.Errorf("step %d, fault %d, %s: holds %q", n, fault, what, got)
					}
				}
			}
		}
	}
}

// A commit makes the contents durable before the name, and the name durable
// before it returns.
func TestTheOrderOfACommit(t *testing.T) {
	script := &disktest.Script{}
	store, err := disk.OpenOn(disktest.New(script), "/data/blobs")
	if err != nil {
		t.Fatal(err)
	}
	if err := put(store, "a/x.seg", "contents"); err != nil {
		t.Fatal(err)
	}
	if err := put(store, "a/y.seg", "contents"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"mkdir /data/blobs", "mkdir /data", "sync directory /", "mkdir /data/blobs", "sync directory /data",
		"mkdir /data/blobs/a", "sync directory /data/blobs",
		"create /data/blobs/a/.tmp-x.seg-1", "write /data/blobs/a/.tmp-x.seg-1", "write /data/blobs/a/.tmp-x.seg-1",
		"sync /data/blobs/a/.tmp-x.seg-1", "close /data/blobs/a/.tmp-x.seg-1",
		"rename /data/blobs/a/.tmp-x.seg-1 to /data/blobs/a/x.seg", "sync directory /data/blobs/a",
		"create /data/blobs/a/.tmp-y.seg-2", "write /data/blobs/a/.tmp-y.seg-2", "write /data/blobs/a/.tmp-y.seg-2",
		"sync /data/blobs/a/.tmp-y.seg-2", "close /data/blobs/a/.tmp-y.seg-2",
		"rename /data/blobs/a/.tmp-y.seg-2 to /data/blobs/a/y.seg", "sync directory /data/blobs/a",
	}
	if got := script.Steps(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A directory whose name could not be made durable is removed: a failed sync is reported once,
// and the next one would say that the name is durable.
func TestADirectoryWhoseSyncFailed(t *testing.T) {
	whole := &disktest.Script{}
	if err := put(onMemory(t, disktest.New(whole)), "a/x.seg", "contents"); err != nil {
		t.Fatal(err)
	}
	steps := whole.Steps()
	tried := 0
	for n, step := range steps {
		dir, made := strings.CutPrefix(step, "mkdir ")
		if !made || !strings.HasPrefix(steps[n+1], "sync directory") {
			continue
		}
		tried++
		script := &disktest.Script{}
		script.FailAt(n+2, disktest.Before, false) // the step behind, counted from 1
		d := disktest.New(script)
		store, err := disk.OpenOn(d, root)
		if err == nil {
			err = put(store, "a/x.seg", "contents")
		}
		if got := script.Steps(); !errors.Is(err, disktest.ErrInjected) || got[len(got)-1] != "remove "+dir {
			t.Errorf("%s: %v, and then %q", steps[n+1], err, got[n+2:])
		}
	}
	if tried < 2 {
		t.Errorf("%d directories were made", tried)
	}
}
