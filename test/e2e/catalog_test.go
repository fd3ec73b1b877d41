package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// segmentsOf returns the segments of a site's journal.
func segmentsOf(t *testing.T, s *site) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.Dir, "data", "blobs", "segments", "*", "*.seg"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	return found
}

// removeCatalog removes the catalog of a site.
func removeCatalog(t *testing.T, s *site) {
	t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(s.Dir, "data", "catalog.db"+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// A segment that the catalog lists and the disk lacks, and one that was cut off,
// are missed aloud, with days and rows. The rest of the journal is used.
func TestMissingSegmentsAreMissedAloud(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.events("a.ndjson", 0, 3, 3000)
	s.Once()
	s.events("b.ndjson", 5, 1, 700)
	s.Once()
	// The smaller one: its keys are merged with those of the small ones that follow.
	const rows = "700"
	inspected := s.Penstock(nil, "journal", "inspect").Out
	file := ""
	for _, name := range segmentsOf(t, s) {
		if strings.Contains(inspected, "segments/2195193/"+filepath.Base(name)+", "+rows+" rows") {
			file = name
		}
	}
	if file == "" {
		t.Fatalf("inspect names no segment of %s rows:\n%s", rows, inspected)
	}
	blob := "segments/2195193/" + filepath.Base(file)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(file, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	s.Says(s.Penstock(nil, "journal", "verify"), 3, "CORRUPT "+blob, rows+" rows of ", "may be lost", rows+" rows of the journal may be lost")

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	lost := []string{blob, rows + " rows of ", "may be lost"}
	s.Says(s.Penstock(nil, "journal", "verify"), 3, append(lost, "it is missing")...)
	s.Says(s.Penstock(nil, "status"), 0, append(lost, "MISSING: project shop: 1 segments")...)
	s.Says(s.Penstock(nil, "run", "--once"), 1, append(lost, "takes no rows")...)

	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Says(s.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
	s.Says(s.Penstock(nil, "run", "--once"), 0)

	// Once its keys are merged with those of others, the journal goes on without it.
	for n := range 8 {
		s.events(fmt.Sprintf("d%d.ndjson", n), 10+n, 1, 10)
		s.Once()
	}
	if merged, err := filepath.Glob(filepath.Join(s.Dir, "data", "blobs", "keys", "*", "*.seg")); err != nil || len(merged) == 0 {
		t.Fatalf("no keys were merged: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.events("e.ndjson", 25, 1, 50)
	s.Says(s.Penstock(nil, "run", "--once"), 1, append(lost, "50 records read, 50 rows new", "1 run, 50 rows")...)

	// Merged keys that are missing are in the segments, too.
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.Dir, "data", "blobs", "keys")); err != nil {
		t.Fatal(err)
	}
	s.Says(s.Penstock(nil, "run", "--once"), 1, "keys", "rebuild-catalog")
	s.Says(s.Penstock(nil, "journal", "rebuild-catalog"), 0, "kept: 1 pipeline with")
	s.Says(s.Penstock(nil, "run", "--once"), 0)
	s.Says(s.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
}

// A lost catalog, and an old one, are told from an empty journal.
func TestALostOrOldCatalogIsMissedAloud(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 300)
	s.Once()
	old := s.Read("data/catalog.db")
	s.events("b.ndjson", 1, 1, 300)
	s.Once()
	want := s.Rows("out")

	s.Write("data/catalog.db", old)
	s.Says(s.Penstock(nil, "journal", "verify"), 3, "CORRUPT catalog.db", "commit record of seal 2", "rebuild-catalog")
	s.Says(s.Penstock(nil, "run", "--once"), 1, "rebuild-catalog")
	// Its pipelines are kept, and the destination has the run that it does not know.
	s.Says(s.Penstock(nil, "journal", "rebuild-catalog"), 0, "restored: 2 segments", "kept: 1 pipeline with", "1 run\n")
	s.Says(s.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
	s.Says(s.Penstock(nil, "run", "--once"), 0)
	penstocktest.SameRows(t, s.Rows("out"), want)

	removeCatalog(t, s)
	s.Says(s.Penstock(nil, "journal", "verify"), 3, "CORRUPT catalog.db", "the catalog was lost")
	s.Says(s.Penstock(nil, "run", "--once"), 1, "the catalog was lost", "rebuild-catalog")

	// Without commit records nothing can be restored, and nothing is swept.
	removeCatalog(t, s)
	if err := os.RemoveAll(filepath.Join(s.Dir, "data", "blobs", "commits")); err != nil {
		t.Fatal(err)
	}
	before := segmentsOf(t, s)
	s.Says(s.Penstock(nil, "journal", "verify"), 3, "CORRUPT catalog.db", "lists no segment of project 2195193")
	s.Says(s.Penstock(nil, "run", "--once"), 1, "from a backup")
	if after := segmentsOf(t, s); len(after) != len(before) {
		t.Errorf("segments were removed: %v, before %v", after, before)
	}
}

// A catalog in order is not rebuilt without --force; with it, pipelines keep
// their ids, and no row is exported twice.
func TestAHealthyCatalogIsRebuiltOnlyWithForce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	fill(s)
	s.Once()
	want := s.Rows("out")
	pipelines := s.Penstock(nil, "pipelines", "list", "--json").Out
	runs := s.Penstock(nil, "runs", "list", "--json").Out
	s.Says(s.Penstock(nil, "journal", "rebuild-catalog"), 1, "is in order", "--force")
	r := s.Penstock(nil, "journal", "rebuild-catalog", "--force")
	s.Says(r, 0, "kept: 1 pipeline with")
	if strings.Contains(r.Out, "adopt") {
		t.Errorf("adopt would double the history:\n%s", r.Out)
	}
	if again := s.Penstock(nil, "pipelines", "list", "--json").Out; again != pipelines {
		t.Errorf("other pipelines:\n%s\nbefore:\n%s", again, pipelines)
	}
	if again := s.Penstock(nil, "runs", "list", "--json").Out; again != runs {
		t.Errorf("other runs:\n%s\nbefore:\n%s", again, runs)
	}
	s.events("more.ndjson", 20, 1, 40)
	s.Says(s.Once(), 0, "40 rows new")
	rows := s.Rows("out")
	if len(rows) != len(want)+40 {
		t.Errorf("%d rows are exported, %d before the rebuild and 40 after it", len(rows), len(want))
	}
}

// A damaged catalog says how to go on, and is rebuilt as far as it can be read.
func TestADamagedCatalogIsRebuilt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	fill(s)
	s.Once()
	whole := s.Read("data/catalog.db")

	for name, damaged := range map[string]string{
		"another file": "this is not a database, whatever its name says\n" + strings.Repeat("x", 4096),
		"cut":          whole[:len(whole)/2],
		"zeroes":       whole[:4096] + strings.Repeat("\x00", len(whole)-4096),
	} {
		s.Write("data/catalog.db", damaged)
		for _, command := range [][]string{{"status"}, {"run", "--once"}} {
			s.Says(s.Penstock(nil, command...), 1, "rebuild-catalog", "damaged")
		}
		s.Says(s.Penstock(nil, "journal", "rebuild-catalog"), 0, "restored: ", "the old catalog is kept as ")
		s.Says(s.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
		if t.Failed() {
			t.Fatalf("failed with %s", name)
		}
		s.Write("data/catalog.db", whole)
	}
}
