package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

func TestJournalVerifyFindsOneFlippedBit(t *testing.T) {
	s := newSite(t)
	fill(s)
	s.Once()
	if r := s.Penstock(nil, "journal", "verify"); r.Status != 0 || !strings.Contains(r.Out, "0 corruptions") {
		t.Fatalf("sound journal: status %d\n%s%s", r.Status, r.Out, r.Err)
	}
	segments, err := filepath.Glob(filepath.Join(s.Dir, "data", "blobs", "segments", "*", "*.seg"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{3, 100, len(data) / 3, len(data) - 200, len(data) - 45, len(data) - 3} {
		data[at] ^= 1
		if err := os.WriteFile(segments[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
		r := s.Penstock(nil, "journal", "verify")
		if r.Status != 3 || !strings.Contains(r.Out, "CORRUPT segments/") {
			t.Errorf("bit flipped at %d of %d: status %d\n%s%s", at, len(data), r.Status, r.Out, r.Err)
		}
		if at == 100 && !strings.Contains(r.Out, "block 0") {
			t.Errorf("the block is not named:\n%s", r.Out)
		}
		data[at] ^= 1
	}
}

// A lost catalog is rebuilt: no file is read again, records that come again under
// another name are known, and a target that holds the old pipeline's rows
// is not written to. Another one gets every row once.
func TestRebuildCatalogRestoresJournalAndCursors(t *testing.T) {
	s := newSite(t)
	fill(s)
	s.Once()
	before := s.Penstock(nil, "journal", "inspect", "--json")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(s.Dir, "data", "catalog.db"+suffix)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	r := s.Penstock(nil, "journal", "rebuild-catalog")
	if r.Status != 0 || !strings.Contains(r.Out, "3 source cursors") || !strings.Contains(r.Out, "not restored: pipelines") {
		t.Fatalf("rebuild-catalog: status %d\n%s%s", r.Status, r.Out, r.Err)
	}
	if after := s.Penstock(nil, "journal", "inspect", "--json"); after.Out != before.Out {
		t.Errorf("the journal is another one:\n%s\nbefore:\n%s", after.Out, before.Out)
	}
	refused := s.Penstock(nil, "run", "--once", "--retry-for", "1s")
	if refused.Status != 1 || !strings.Contains(refused.Err, "adopt") {
		t.Errorf("the target names another pipeline's id, and is not refused: status %d\n%s%s", refused.Status, refused.Out, refused.Err)
	}
	if !strings.Contains(refused.Out, "files.import: nothing new in 3 files") {
		t.Errorf("files were read again:\n%s", refused.Out)
	}

	want := s.Rows("out")
	s.Write("events/copy.ndjson", event(2, 77777, "")+"\n"+s.Read("events/a.ndjson"))
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `"./out"`, `"./elsewhere"`, 1))
	s.Says(s.Penstock(nil, "runs", "retry", "events_out", "1"), 0)
	again := s.Once()
	if !strings.Contains(again.Out, "files.import: 6,001 records read, 1 row new, 6,000 repeated") {
		t.Errorf("known records were taken for new ones:\n%s", again.Out)
	}
	rows := slices.DeleteFunc(s.Rows("elsewhere"), func(row string) bool { return strings.Contains(row, `"id-2-77777"`) })
	penstocktest.SameRows(t, rows, want)
}
