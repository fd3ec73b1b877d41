package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJournalVerifyFindsOneFlippedBit(t *testing.T) {
	s := newSite(t)
	fill(s)
	s.once()
	if r := s.penstock(nil, "journal", "verify"); r.status != 0 || !strings.Contains(r.out, "0 damages") {
		t.Fatalf("sound journal: status %d\n%s%s", r.status, r.out, r.err)
	}
	segments, err := filepath.Glob(filepath.Join(s.dir, "data", "blobs", "segments", "*", "*.seg"))
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
		r := s.penstock(nil, "journal", "verify")
		if r.status != 3 || !strings.Contains(r.out, "DAMAGED segments/") {
			t.Errorf("bit flipped at %d of %d: status %d\n%s%s", at, len(data), r.status, r.out, r.err)
		}
		if at == 100 && !strings.Contains(r.out, "block 0") {
			t.Errorf("the block is not named:\n%s", r.out)
		}
		data[at] ^= 1
	}
}

// A catalog that was lost is made anew; what is read again afterwards brings
// nothing, and a pipeline that adopts its target exports what is new.
func TestRebuildCatalogRestoresJournalAndCursors(t *testing.T) {
	s := newSite(t)
	fill(s)
	s.once()
	before := s.penstock(nil, "journal", "inspect", "--json")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(s.dir, "data", "catalog.db"+suffix)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	r := s.penstock(nil, "journal", "rebuild-catalog")
	if r.status != 0 || !strings.Contains(r.out, "3 source cursors") || !strings.Contains(r.out, "not restored: pipelines") {
		t.Fatalf("rebuild-catalog: status %d\n%s%s", r.status, r.out, r.err)
	}
	if after := s.penstock(nil, "journal", "inspect", "--json"); after.out != before.out {
		t.Errorf("the journal is another one:\n%s\nbefore:\n%s", after.out, before.out)
	}
	refused := s.penstock(nil, "run", "--once", "--retry-for", "1s")
	if refused.status != 1 || !strings.Contains(refused.err, "adopt") {
		t.Errorf("the target names another pipeline's id, and is not refused: status %d\n%s%s", refused.status, refused.out, refused.err)
	}
	if !strings.Contains(refused.out, "files.import: 0 records read") {
		t.Errorf("files were read again:\n%s", refused.out)
	}
}
