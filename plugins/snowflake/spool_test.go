package snowflake

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Processes that begin to spool in the same place at a time do not take each other's new
// directory for that of a killed process.
func TestSpoolsThatBeginTogether(t *testing.T) {
	base := t.TempDir()
	for range 20 {
		var group sync.WaitGroup
		spools := make([]*spool, 8)
		for i := range spools {
			spools[i] = &spool{base: base}
			group.Go(func() {
				if _, err := spools[i].path(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, s := range spools {
			if dir, err := os.MkdirTemp(s.dir, "attempt-"); err != nil {
				t.Errorf("an attempt has no directory: %q, %v", dir, err)
			}
			if err := s.close(); err != nil {
				t.Error(err)
			}
		}
	}
	if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A spool that something has removed, such as a cleaner of old temporary files, is made
// again.
func TestASpoolThatWasRemoved(t *testing.T) {
	s := &spool{base: t.TempDir()}
	first, err := s.path()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(first); err != nil {
		t.Fatal(err)
	}
	second, err := s.path()
	if err != nil || first == second {
		t.Fatal(second, err)
	}
	if again, err := s.path(); again != second || err != nil {
		t.Error(again, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// A spool that is removed under a run costs attempts, and not the run. The session that was
// open then has its directory in the old spool, and is not used again.
func TestASpoolThatWasRemovedUnderARun(t *testing.T) {
	o := startOutside(t)
	for name, config := range map[string]map[string]any{"internal": o.warehouse.config(), "external": o.config()} {
		t.Run(name, func(t *testing.T) {
			d := openAt(t, config, func(d *destination) { d.partSize = 1 })
			create := d.create
			d.create = func(path string) (spoolFile, error) {
				if err := os.RemoveAll(d.spool.dir); err != nil {
					t.Error(err)
				}
				return create(path)
			}
			c, run := events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
			if _, err := export(t.Context(), d, run, c); protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(err.Error(), "has removed it from the spool") {
				t.Errorf("the export ends with %v", err)
			}
			if err := d.Abort(t.Context(), run, false); err != nil {
				t.Error(err)
			}
			d.create = create
			run.Fence++
			if n, err := whole(t.Context(), func() *destination { return d }, run, c); err != nil || n > 2 {
				t.Fatal(n, err)
			}
			o.expect(t, config, sdk.Events, c.want())
		})
	}
}

// The driver's encrypted copy of a file is in the spool as well: the temporary directory
// may be small.
func TestCopiesOfTheDriverAreSpooled(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	config["spool_dir"] = t.TempDir()
	d := openAt(t, config)
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	c := events("one", "2026-06-01")
	if n, err := whole(t.Context(), func() *destination { return d }, testRun(sdk.Events, 1, 1), c); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	w.expect(t, config, sdk.Events, c.want())
}

// Without encryption on this host the driver makes no copy of a file, and the rows arrive as
// otherwise. The stage says who encrypts.
func TestFilesThatTheServiceEncrypts(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	config["client_side_encryption"] = false
	d := openAt(t, config)
	run, c := testRun(sdk.Events, 1, 1), events("one", "2026-06-01")
	if _, err := export(t.Context(), d, run, c); err != nil {
		t.Fatal(err)
	}
	var stored int64
	err := d.within(t.Context(), "", func(x *session) error {
		files, err := d.list(t.Context(), x, d.stage.name(), attemptDir(run))
		if err == nil && len(files) == 1 {
			stored = files[0].size
		}
		return err
	})
	if a, missing := d.attempt(run); err != nil || missing != nil || stored != a.files[0].size {
		t.Errorf("the stage has %d bytes of %+v: %v", stored, a, err)
	}
	run.Fence++
	runOne(t, config, run, c)
	w.expect(t, config, sdk.Events, c.want())
	if found := failed(openAt(t, config).Check(t.Context())); len(found) > 0 {
		t.Errorf("the check says %v", found)
	}
}

// The spool holds two files of an attempt at most: one that is uploaded and one that is
// written, whatever the size of the run.
func TestTheSpoolIsBounded(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	most := 0
	d := openAt(t, config, func(d *destination) {
		d.partSize = 1
		d.create = func(path string) (spoolFile, error) {
			f, err := createFile(path)
			files, readErr := os.ReadDir(filepath.Dir(path))
			if readErr != nil {
				t.Error(readErr)
			}
			most = max(most, len(files))
			return f, err
		}
	})
	c := events("one", "2026-06-01", "2026-06-02", "2026-06-03", "2026-06-04")
	if n, err := whole(t.Context(), func() *destination { return d }, testRun(sdk.Events, 1, 1), c); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	w.expect(t, config, sdk.Events, c.want())
	if most == 0 || most > 2 {
		t.Errorf("the spool had %d files at a time", most)
	}
	if files, err := filepath.Glob(filepath.Join(d.spool.dir, "*", "*")); err != nil || len(files) > 0 {
		t.Errorf("the spool keeps %v, %v", files, err)
	}
}

// fullFile is a file on a disk that becomes full.
type fullFile struct {
	spoolFile
	room int
}

func (f *fullFile) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return f.spoolFile.Write(p)
}

// A spool whose disk is full fails the attempt with an error that names the next step. Its
// files are removed, and the run is exported when there is room.
func TestASpoolWhoseDiskIsFull(t *testing.T) {
	w := startWarehouse(t)
	for room := range 3 {
		config := w.config()
		d := openAt(t, config, func(d *destination) {
			d.partSize = 1
			d.create = func(path string) (spoolFile, error) {
				f, err := createFile(path)
				return &fullFile{f, room * 60}, err
			}
		})
		c, run := events("one", "2026-06-01", "2026-06-02"), testRun(sdk.Events, 1, 1)
		_, err := export(t.Context(), d, run, c)
		expectFull(t, d, run, err)
		d.create = createFile
		run.Fence++
		if n, err := whole(t.Context(), func() *destination { return d }, run, c); err != nil || n != 1 {
			t.Errorf("again: %d attempts, %v", n, err)
		}
		w.expect(t, config, sdk.Events, c.want())
		if left := w.staged(t, config); len(left) > 0 {
			t.Errorf("the stage holds %v", left)
		}
	}
}

// expectFull compares the error of an attempt whose disk was full, and ends the attempt
// as the host does.
func expectFull(t *testing.T, d *destination, run sdk.Run, err error) {
	t.Helper()
	if protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), "set spool_dir to a larger disk") {
		t.Errorf("the error of a full disk is %v", err)
	}
	if err := d.Abort(t.Context(), run, false); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(d.spool.dir, "*")); err != nil || !slices.Equal(left, []string{filepath.Join(d.spool.dir, lockName)}) {
		t.Errorf("the spool keeps %v, %v", left, err)
	}
}

// The same on a disk that is full, where the driver's encrypted copy does not fit either.
func TestADiskThatIsFull(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("SKIPPED: a small disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	w := startWarehouse(t)
	config := w.config()
	config["spool_dir"] = disk
	d := openAt(t, config)
	c, run := events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
	if _, err := d.spool.path(); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	for extra := 2; extra >= 0; extra-- { // pages that are free
		if err := os.Truncate(filler.Name(), 0); err != nil {
			t.Fatal(err)
		}
		fill(t, filler.Name(), disk, uint64(extra))
		_, err := export(t.Context(), d, run, c)
		if extra < 2 {
			expectFull(t, d, run, err)
		} else if err != nil {
			t.Errorf("with room: %v", err)
		} else if err := d.Abort(t.Context(), run, false); err != nil {
			t.Error(err)
		}
		run.Fence++
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	if n, err := whole(t.Context(), func() *destination { return d }, run, c); err != nil || n != 1 {
		t.Errorf("again: %d attempts, %v", n, err)
	}
	w.expect(t, config, sdk.Events, c.want())
}

// fill writes a file until so many blocks of a disk are free.
func fill(t *testing.T, name, disk string, free uint64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		var s syscall.Statfs_t
		if err := syscall.Statfs(disk, &s); err != nil {
			t.Fatal(err)
		}
		if s.Bfree <= free {
			return
		}
		if _, err := f.Write(make([]byte, s.Bsize)); err != nil {
			t.Fatal(err)
		}
	}
}

// The directory that a killed process has left is removed with its files by the next one,
// and that of a living process stays.
func TestSpoolsOfKilledProcesses(t *testing.T) {
	base := t.TempDir()
	killed, living := &spool{base: base}, &spool{base: base}
	for _, s := range []*spool{killed, living} {
		dir, err := s.path()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "attempt-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "attempt-1", "000001.json.gz"), []byte("rows"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := killed.lock.Close(); err != nil { // as the kernel does
		t.Fatal(err)
	}
	next := &spool{base: base}
	if _, err := next.path(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed.dir); !os.IsNotExist(err) {
		t.Errorf("the spool of a killed process: %v", err)
	}
	if _, err := os.Stat(filepath.Join(living.dir, "attempt-1", "000001.json.gz")); err != nil {
		t.Error(err)
	}
	for _, s := range []*spool{living, next} {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}
