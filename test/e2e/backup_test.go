package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// names lists a directory of the site.
func (s *site) names(dir string) (names []string) {
	s.t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Dir, dir))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A backup is written while clients send. Each record that was acknowledged before it
// began is in it, once, wherever the record was: in the journal or in the log.
func TestABackupWhileCollecting(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	h := c.serve()
	stop := c.load(4, 20)
	h.Until("clients are answered", func() bool { return c.count(c.acked) > 400 })
	var before map[string]bool
	var operations int
	c.note(func() { before, operations = maps.Clone(c.acked), c.ackedOperations })
	c.Says(c.Penstock(nil, "backup", "."), 0, "wrote", "collector", "not in a backup")
	h.Stop(syscall.SIGKILL)
	stop()

	found, err := filepath.Glob(filepath.Join(c.Dir, "penstock-*.tar"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "*.partial")); len(left) > 0 {
		t.Errorf("%q was left", left)
	}
	c.Says(c.Penstock(nil, "restore", found[0]), 1, "empty directory only")
	c.remove("data")
	c.Says(c.Penstock(nil, "restore", found[0]), 0, "1 project", "1 pipeline")
	c.Says(c.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
	c.acked, c.ackedOperations = before, operations
	c.check()
}

// A process that is killed while it writes or restores a backup leaves nothing that
// looks whole, and the next attempt succeeds.
func TestABackupIsKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file("a.ndjson", 0, 5)
	s.Once()
	undisturbed := s.Objects("out")
	for _, point := range []string{"backup.blob", "backup.written"} {
		if r := s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, "backup", "backup.tar"); r.Signal != syscall.SIGKILL {
			t.Fatalf("%s: it was not killed", point)
		}
		if point == "backup.blob" {
			s.Says(s.Penstock(nil, "restore", "backup.tar.partial"), 1, "not a whole backup")
		}
		if names := s.names("."); slices.Contains(names, "backup.tar") {
			t.Errorf("%s: there is a backup in %q", point, names)
		}
	}
	s.backup()
	s.Says(s.Penstock(nil, "backup", "backup.tar"), 1, "exists already")
	for _, name := range s.names(".") {
		if strings.Contains(name, "partial") {
			t.Errorf("%s was left", name)
		}
	}

	s.remove("data")
	for _, point := range []string{"restore.file:3", "restore.written"} {
		if r := s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, "restore", "backup.tar"); r.Signal != syscall.SIGKILL {
			t.Fatalf("%s: it was not killed", point)
		}
		s.Says(s.Penstock(nil, "run", "--once"), 1, "half restored", "penstock restore")
		s.Says(s.Penstock(nil, "status"), 1, "half restored")
	}
	s.Says(s.Penstock(nil, "restore", "backup.tar"), 0, "restored")
	s.Once()
	checkUntouched(t, undisturbed, s.Objects("out"))
	s.file("b.ndjson", 100, 5)
	s.Once()
	s.delivered("after the restore", slices.Concat(numbers(0, 5), numbers(100, 5))...)
}

// A disk that fills up while a backup is written or restored leaves nothing, and the
// host's data is as it was.
func TestABackupOnAFullDisk(t *testing.T) {
	if !inside(t) {
		return
	}
	s := newSite(t)
	fill(s)
	s.Once()
	s.smallDisk("small", "100k")
	s.Says(s.Penstock(nil, "backup", "small/backup.tar"), 1, "no space left", "make room")
	if names := s.names("small"); len(names) > 0 {
		t.Errorf("%q was left", names)
	}
	s.backup()
	s.remove("data")
	resize := s.smallDisk("data", "300k")
	s.Says(s.Penstock(nil, "restore", "backup.tar"), 1, "no space left")
	if names := s.names("data"); !slices.Equal(names, []string{"penstock.lock"}) {
		t.Errorf("%q was left", names)
	}
	resize("64m")
	s.Says(s.Penstock(nil, "restore", "backup.tar"), 0, "restored")
	before := s.Objects("out")
	s.Once()
	checkUntouched(t, before, s.Objects("out"))
}
