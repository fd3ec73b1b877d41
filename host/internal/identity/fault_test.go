package identity_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/identity"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// faultyDisk is a file system that fails at one of its operations, or from it
// on.
type faultyDisk struct {
	vfs.FS
	writes bool // count the operations that change the disk; else those that read it
	at     int  // the operation that fails, from 1
	stays  bool // all later ones fail as well, until repair
	fault  error

	mu    sync.Mutex
	count int
	met   bool
}

// step returns the fault when it is due.
func (d *faultyDisk) step(write bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if write != d.writes || d.at == 0 {
		return nil
	}
	if d.count++; d.count == d.at || d.stays && d.count > d.at {
		d.met = true
		return d.fault
	}
	return nil
}

// repair ends the faults, and reports whether there was one.
func (d *faultyDisk) repair() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = 0
	return d.met
}

func (d *faultyDisk) steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

func (d *faultyDisk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return faultyFile{f, d}, nil
}

func (d *faultyDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.step(true); err != nil {
		return nil, err
	}
	return d.file(d.FS.Create(name, c))
}

func (d *faultyDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := d.step(true); err != nil {
		return nil, err
	}
	return d.file(d.FS.OpenReadWrite(name, c, o...))
}

func (d *faultyDisk) OpenDir(name string) (vfs.File, error) {
	if err := d.step(true); err != nil {
		return nil, err
	}
	return d.file(d.FS.OpenDir(name))
}

func (d *faultyDisk) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if err := d.step(false); err != nil {
		return nil, err
	}
	return d.file(d.FS.Open(name, o...))
}

func (d *faultyDisk) Remove(name string) error {
	if err := d.step(true); err != nil {
		return err
	}
	return d.FS.Remove(name)
}

func (d *faultyDisk) Rename(from, to string) error {
	if err := d.step(true); err != nil {
		return err
	}
	return d.FS.Rename(from, to)
}

func (d *faultyDisk) MkdirAll(dir string, perm os.FileMode) error {
	if err := d.step(true); err != nil {
		return err
	}
	return d.FS.MkdirAll(dir, perm)
}

func (d *faultyDisk) Lock(name string) (io.Closer, error) {
	if err := d.step(true); err != nil {
		return nil, err
	}
	return d.FS.Lock(name)
}

func (d *faultyDisk) List(dir string) ([]string, error) {
	if err := d.step(false); err != nil {
		return nil, err
	}
	return d.FS.List(dir)
}

func (d *faultyDisk) Stat(name string) (vfs.FileInfo, error) {
	if err := d.step(false); err != nil {
		return nil, err
	}
	return d.FS.Stat(name)
}

func (d *faultyDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}

type faultyFile struct {
	vfs.File
	disk *faultyDisk
}

// Write writes half of p if it fails.
func (f faultyFile) Write(p []byte) (int, error) {
	if err := f.disk.step(true); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f faultyFile) Sync() error {
	if err := f.disk.step(true); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f faultyFile) SyncData() error {
	if err := f.disk.step(true); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f faultyFile) SyncTo(length int64) (bool, error) {
	if err := f.disk.step(true); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}

func (f faultyFile) Close() error {
	return errors.Join(f.File.Close(), f.disk.step(true))
}

func (f faultyFile) Read(p []byte) (int, error) {
	if err := f.disk.step(false); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f faultyFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.disk.step(false); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, offset)
}

// stride is how many operations lie from one fault to the next. With -short most are
// left out: under the race detector Pebble notes the stack of each iterator, and all of
// them take ten minutes.
func stride() int {
	if testing.Short() {
		return 31
	}
	return 1
}

// The disk of the index fails at each of its operations, once or until it is
// repaired: the call returns an error, the process lives, and once the disk works
// the results are the same as without a fault. The same holds after a power cut at
// the fault.
func TestAFaultAtEachOperation(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		name   string
		rules  schema.Identity
		writes bool
		stays  bool
		fault  error
	}{
		{"a write fails, simplified", schema.Simplified, true, false, syscall.EIO},
		{"a write fails, original", schema.Original, true, false, syscall.EIO},
		{"the disk is full", schema.Original, true, true, syscall.ENOSPC},
		{"a read fails", schema.Original, false, false, syscall.EIO},
		{"nothing can be read", schema.Original, false, true, syscall.EACCES},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(3, 4))
			j := &memJournal{}
			for i := range 4 {
				j.add(t, fmt.Sprint("segment", i), 20, 3, randomLinks(r, kind.rules, 100)...)
			}
			want, _ := foldOnFaulty(t, &faultyDisk{FS: vfs.NewMem()}, kind.rules, j, func() {})
			if atOnce := foldAtOnce(t, kind.rules, j); want.Rows != atOnce.Rows || !cmp.Equal(want.Failures, atOnce.Failures) {
				t.Fatalf("without a fault: %+v, want %+v", want, atOnce)
			}
			for at, met := 1, true; met; at += stride() {
				memory := vfs.NewCrashableMem()
				disk := &faultyDisk{FS: memory, writes: kind.writes, at: at, stays: kind.stays, fault: kind.fault}
				var got, cut fold
				got, met = foldOnFaulty(t, disk, kind.rules, j, func() {
					after := &faultyDisk{FS: memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(at), 1))})}
					cut, _ = foldOnFaulty(t, after, kind.rules, j, func() {})
					if diff := cmp.Diff(want, cut); diff != "" {
						t.Errorf("fault at %d, power cut: %s", at, diff)
					}
				})
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("fault at %d: %s", at, diff)
				}
				if t.Failed() {
					return
				}
				if !met {
					t.Logf("%d operations at most", at-1)
					if at < 20 {
						t.Error("the index does little")
					}
				}
			}
		})
	}
}

// With any fault of the index's disk, a look-up of an acknowledged alias returns
// its target or an error. It never reports that the id is not an alias.
func TestAliasesOnAFailingDisk(t *testing.T) {
	t.Parallel()
	for at, met := 1, true; met; at += stride() {
		j := &memJournal{}
		met = false
		disk := &faultyDisk{FS: vfs.NewMem(), writes: true, at: at, stays: true, fault: syscall.ENOSPC}
		o := identity.Options{Dir: "index", Rules: schema.Legacy, Journal: j, Memory: 128 << 10, FS: disk}
		x, err := identity.Open(o)
		if err != nil {
			met = disk.repair()
			x = open(t, o)
		}
		a := identity.NewAliases(x)
		for seq := range int64(4) {
			var links []schema.Link
			for n := range 150 {
				links = append(links, alias(fmt.Sprintf("id-%d-%d", seq, n), fmt.Sprintf("alias-%d-%d", seq, n)))
			}
			if err := x.Fold(t.Context(), seq); err != nil {
				met = disk.repair() || met
				if err := x.Fold(t.Context(), seq); err != nil {
					t.Fatal(err)
				}
			}
			err := a.Store(len(links), func() error {
				j.add(t, fmt.Sprint("segment", seq), 150, 10, links...)
				return nil
			}, func() error {
				for _, l := range links {
					if err := a.Add(l.AnonymousID, l.IdentifiedID); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				continue // the client was told to come again
			}
			_ = a.Settle() // as far as the index can be read
			_ = x.Fold(t.Context(), seq+1)
			_ = a.Settle()
			for _, l := range links[:10] {
				if target, ok, err := a.Target(l.AnonymousID); err == nil && (!ok || target != l.IdentifiedID) {
					t.Fatalf("fault at %d: %s stands for %q, %v", at, l.AnonymousID, target, ok)
				}
			}
		}
		if met = disk.repair() || met; !met {
			t.Logf("%d operations at most", at-1)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// foldOnFaulty folds a journal segment by segment on a disk, and repairs the
// disk when an error says that it has failed.
func foldOnFaulty(t *testing.T, disk *faultyDisk, rules schema.Identity, j *memJournal, failed func()) (fold, bool) {
	t.Helper()
	met := false
	try := func(do func() error) {
		t.Helper()
		for range 3 {
			err := do()
			if err == nil {
				return
			}
			if !errors.Is(err, disk.fault) || met {
				t.Fatalf("fault at %d: %v", disk.at, err)
			}
			failed()
			met = disk.repair()
		}
		t.Fatalf("fault at %d: it does not recover", disk.at)
	}
	var x *identity.Index
	try(func() (err error) {
		x, err = identity.Open(identity.Options{
			Dir: "index", Rules: rules, Journal: j, Limit: smallLimit, Failures: 40, Batch: 10, Memory: 128 << 10, FS: disk,
		})
		return err
	})
	m := inMemory(t)
	var g *pipeline.Generation
	for _, seq := range []int64{1, j.seq()} {
		try(func() error {
			next, err := x.Generation(t.Context(), m.store, g, seq)
			if err == nil {
				g = next
			}
			return err
		})
	}
	m.of(g)
	var failures []identity.Failure
	try(func() (err error) {
		failures, err = x.Failures(0)
		return err
	})
	got := fold{g.Blob, g.Rows, failures, x.Stats()}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if n := disk.steps(); n > 100_000 {
		t.Errorf("%d operations: it tries without a pause", n)
	}
	return got, disk.repair() || met
}
