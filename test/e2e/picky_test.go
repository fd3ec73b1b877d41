package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const pickyDestination = `
destination "picky" "out" {
  path = "./out"
}
`

// A destination refuses single rows: they are set aside with reasons, counted
// per pipeline, and the rest is committed; also when the host dies in between.
func TestRowsThatADestinationRefusesAreSetAside(t *testing.T) {
	for _, point := range []string{"", "export.prepared:1", "export.committed:1"} {
		t.Run("killed at "+point, func(t *testing.T) {
			t.Parallel()
			s := newSiteWith(t, pickyDestination, "picky.out")
			var b strings.Builder
			for n := range 3000 {
				extra := ""
				if n%1000 == 7 {
					extra = `,"twice":1,"twice":2`
				}
				b.WriteString(event(n%3, n, extra) + "\n")
			}
			s.Write("events/a.ndjson", b.String())
			if point != "" {
				s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, "run", "--once")
			}
			r := s.Once()
			if !strings.Contains(r.Out, "3 rows") || !strings.Contains(r.Out, "refused by the destination") {
				t.Errorf("the refused rows are not said:\n%s", r.Out)
			}
			if stored := pickyRows(t, filepath.Join(s.Dir, "out")); stored != 2997 {
				t.Errorf("%d rows at the destination, want 2997", stored)
			}
			list := s.Penstock(nil, "quarantine", "list", "--source", "pipeline-events_out")
			if strings.Count(list.Out, "duplicate key") != 4 { // counted once, listed three times
				t.Errorf("quarantine list:\n%s%s", list.Out, list.Err)
			}
			if status := s.Penstock(nil, "pipelines", "list"); !strings.Contains(status.Out, "2,997") {
				t.Errorf("pipelines list:\n%s%s", status.Out, status.Err)
			}
		})
	}
}

// A destination that takes no people is found by validate, and before anything
// runs.
func TestAStreamThatADestinationDoesNotTake(t *testing.T) {
	t.Parallel()
	s := newPeopleSite(t, pickyDestination, "picky.out")
	s.Says(s.Penstock(nil, "validate"), 2, "Stream is not taken by the destination", "picky.out does not take people")
	s.Says(s.Penstock(nil, "run", "--once"), 2, "picky.out does not take people")
	if rows := pickyRows(t, filepath.Join(s.Dir, "out")); rows != 0 {
		t.Errorf("%d rows", rows)
	}
}

// pickyRows counts the rows that lie in the destination's directory.
func pickyRows(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rows += strings.Count(string(data), "\n")
	}
	return rows
}
