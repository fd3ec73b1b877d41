package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// A run that fails keeps the last log lines of the plugin, bounded and without secrets,
// until its next attempt. A host shows them through its socket.
func TestAFailedRunKeepsThePluginsLog(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, `
destination "picky" "out" {
  path     = "./out"
  password = "a secret word"
}
`, "picky.out")
	s.Write("events/a.ndjson", event(0, 1, "")+"\n")
	s.Write("out.refuse", "")
	s.Says(s.Penstock(nil, "run", "--once"), 1, "the store is closed")
	h := s.Serve()
	h.Until("the run is tried and fails again", func() bool { return strings.Contains(h.Said(), "pipeline failed, and waits for a person") })
	for _, flags := range [][]string{nil, {"--json"}} {
		r := s.Penstock(nil, append([]string{"runs", "show", "events_out", "1"}, flags...)...)
		s.Says(r, 0, "failed", "permanent", "the store is closed", "try 30 of", "as user picky with", "[redacted]")
		if strings.Contains(r.Out, "secret word") || strings.Contains(r.Out, "try 5 of") {
			t.Errorf("the log is not bounded, or has a secret:\n%s", r.Out)
		}
	}
	if err := os.Remove(filepath.Join(s.Dir, "out.refuse")); err != nil {
		t.Fatal(err)
	}
	s.Says(s.Penstock(nil, "runs", "retry", "events_out", "1"), 0)
	h.Until("the run succeeds", func() bool { return strings.Contains(h.Said(), `msg="run succeeded"`) })
	if r := s.Penstock(nil, "runs", "show", "events_out", "1"); r.Status != 0 || !strings.Contains(r.Out, "succeeded") || strings.Contains(r.Out, "try 30") {
		t.Errorf("after the retry: status %d\n%s%s", r.Status, r.Out, r.Err)
	}
	h.Stop(syscall.SIGTERM)
}
