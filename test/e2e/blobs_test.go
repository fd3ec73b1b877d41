package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSegmentsInADirectoryOfTheirOwn(t *testing.T) {
	s := newSite(t)
	fill(s)
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "host {", "host {\n  blobs = \"./disk/journal\"", 1))
	s.Once()
	want := s.Rows("out")
	segments, err := filepath.Glob(filepath.Join(s.Dir, "disk", "journal", "segments", "*", "*.seg"))
	if err != nil || len(segments) == 0 || len(want) == 0 {
		t.Fatalf("%d segments, %d rows, %v", len(segments), len(want), err)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "data", "blobs")); !os.IsNotExist(err) {
		t.Errorf("there are blobs in data_dir: %v", err)
	}

	// Another host's.
	lock, err := os.OpenFile(filepath.Join(s.Dir, "disk", "journal", "penstock.lock"), os.O_RDWR, 0)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Says(s.Penstock(nil, "run", "--once"), 1, "disk/journal is in use")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}

	// Moved without a word, then with one.
	if err := os.Rename(filepath.Join(s.Dir, "disk"), filepath.Join(s.Dir, "larger")); err != nil {
		t.Fatal(err)
	}
	s.Says(s.Penstock(nil, "run", "--once"), 1, "disk/journal there is none: was blobs changed, or is a disk not mounted?")
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "./disk/", "./larger/", 1))
	s.events("more.ndjson", 50, 1, 10)
	s.Once()
	s.Says(s.Penstock(nil, "journal", "verify"), 0)
	if got := s.Rows("out"); len(got) != len(want)+10 {
		t.Errorf("%d rows, want %d", len(got), len(want)+10)
	}
}
