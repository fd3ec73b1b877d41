package e2e

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// aged lets all seals of a site lie a year back.
func (s *site) aged() {
	s.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.Dir, "data", "catalog.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`UPDATE segments SET sealed_at = sealed_at - 365 * 86400000`); err != nil {
		s.t.Fatal(err)
	}
}

// stats are those of the journal of a site's project.
func (s *site) stats() (stats struct {
	Files int64
	Keys  int64
	Days  []struct {
		Rows    int64 `json:"rows"`
		Removed int64 `json:"removed_rows"`
	}
	Held    []struct{ Holder string }
	Orphans []string
}) {
	s.t.Helper()
	r := s.Penstock(nil, "journal", "stats", "--json")
	all := []any{&stats}
	if err := json.Unmarshal([]byte(r.Out), &all); err != nil || r.Status != 0 {
		s.t.Fatalf("journal stats: %v, status %d\n%s%s", err, r.Status, r.Out, r.Err)
	}
	return stats
}

// The host dies by SIGKILL at each point of a rewrite that removes old rows. The next
// run goes on: the rows are removed, once, nothing else is, and they do not come back.
func TestRetentionSurvivesAHostKilledAtEachPoint(t *testing.T) {
	old := newSite(t)
	old.Write("penstock.hcl", strings.Replace(old.Read("penstock.hcl"), "host {\n", "host {\n  retention = \"1d\"\n", 1))
	old.events("a.ndjson", 0, 3, 1200)
	old.Once()
	old.events("b.ndjson", 1, 3, 900)
	old.Once()
	old.aged()
	rows := old.Rows("out")
	for _, point := range []string{"rewrite.pending", "rewrite.segment", "rewrite.committed", "rewrite.recorded", "rewrite.confirmed", "rewrite.forgotten"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			if err := os.CopyFS(filepath.Join(s.Dir, "copy"), os.DirFS(old.Dir)); err != nil {
				t.Fatal(err)
			}
			s = &site{s.At("copy"), t}
			r := s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, "run", "--once")
			if r.Signal != syscall.SIGKILL {
				t.Fatalf("the host did not die at %s: status %d\n%s\n%s", point, r.Status, r.Out, r.Err)
			}
			s.Once()
			s.checkRemoved(2100)
			s.Says(s.Penstock(nil, "journal", "rebuild-catalog", "--force"), 0, " segments with 0 rows")
			s.Once() // runs of keys are those of the segments again, and the merged ones are swept
			s.checkRemoved(2100)
			s.Write("events/again.ndjson", event(1, 77777, "")+"\n"+s.Read("events/a.ndjson"))
			again := s.Once()
			if !strings.Contains(again.Out, "1,201 records read, 1 row new, 1,200 repeated") {
				t.Errorf("removed rows were taken for new ones:\n%s", again.Out)
			}
			penstocktest.SameRows(t, withoutID(s.Rows("out"), "id-1-77777"), rows)
		})
	}
}

// withoutID returns rows but for that of an insert id.
func withoutID(rows []string, id string) (others []string) {
	for _, row := range rows {
		if !strings.Contains(row, `"`+id+`"`) {
			others = append(others, row)
		}
	}
	return others
}

// checkRemoved checks that all rows of a journal were removed, that nothing is left
// over, and that no verification takes that for damage.
func (s *site) checkRemoved(rows int64) {
	s.t.Helper()
	stats := s.stats()
	var left, removed int64
	for _, d := range stats.Days {
		left, removed = left+d.Rows, removed+d.Removed
	}
	if left != 0 || removed != rows || stats.Keys != rows || len(stats.Held)+len(stats.Orphans) > 0 {
		s.t.Errorf("%d rows are left and %d removed, want 0 and %d: %+v", left, removed, rows, stats)
	}
	s.Says(s.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
	s.Says(s.Penstock(nil, "pipelines", "verify", "events_out"), 0)
}
