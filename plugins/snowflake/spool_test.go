package snowflake

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/sdk"
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
