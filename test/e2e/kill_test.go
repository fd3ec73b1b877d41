package e2e

import (
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// The host dies by SIGKILL at each of these points. The number says at which
// passage, so that both the first and a later one are tried.
var hostPoints = []string{
	"files.read:1", "files.read:4",
	"journal.pending:1", "journal.pending:2",
	"journal.segment:1", "journal.segment:2",
	"journal.committed:1", "journal.committed:2",
	"journal.recorded:1",
	"export.streaming:1", "export.streaming:9",
	"export.prepared:1",
	"export.committed:1",
}

// The plugin dies by SIGKILL at each of these.
var pluginPoints = []string{"plugin.open:1", "plugin.write:1", "plugin.write:3", "plugin.prepare:1", "plugin.commit.before:1", "plugin.commit.after:1"}

func TestRowsSurviveAHostKilledAtEachPoint(t *testing.T) {
	undisturbed := newSite(t)
	fill(undisturbed)
	undisturbed.Once()
	want := undisturbed.Rows("out")
	if len(want) == 0 {
		t.Fatal("the undisturbed run exported nothing")
	}
	for _, point := range hostPoints {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			fill(s)
			r := s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, "run", "--once")
			if r.Signal != syscall.SIGKILL {
				t.Fatalf("the host did not die at %s: status %d\n%s\n%s", point, r.Status, r.Out, r.Err)
			}
			before := s.Objects("out")
			s.Once()
			penstocktest.SameRows(t, s.Rows("out"), want)
			checkUntouched(t, before, s.Objects("out"))
			checkNothingMore(t, s)
		})
	}
}

func TestRowsSurviveAPluginKilledAtEachPoint(t *testing.T) {
	undisturbed := newSite(t)
	fill(undisturbed)
	undisturbed.Once()
	want := undisturbed.Rows("out")
	for _, point := range pluginPoints {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			fill(s)
			// Each new plugin process dies there again, until the host gives up; but
			// when the run is committed already, the host finds that out instead.
			r := s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, "run", "--once", "--retry-for", "3s")
			if r.Signal != 0 || !strings.Contains(r.Err, "killed") {
				t.Errorf("the plugin's death at %s is not said: status %d\n%s", point, r.Status, r.Err)
			}
			before := s.Objects("out")
			s.Once()
			checkUntouched(t, before, s.Objects("out"))
			penstocktest.SameRows(t, s.Rows("out"), want)
			checkNothingMore(t, s)
		})
	}
}

func TestRowsSurviveManyKillsInARow(t *testing.T) {
	undisturbed := newSite(t)
	fill(undisturbed)
	undisturbed.Once()
	s := newSite(t)
	fill(s)
	for _, point := range hostPoints {
		r := s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, "run", "--once")
		if r.Signal != syscall.SIGKILL && r.Status != 0 {
			t.Fatalf("%s: status %d\n%s", point, r.Status, r.Err)
		}
	}
	s.Once()
	penstocktest.SameRows(t, s.Rows("out"), undisturbed.Rows("out"))
	checkNothingMore(t, s)
}

// fill gives a site events of five days in three files.
func fill(s *site) {
	s.events("a.ndjson", 0, 5, 6000)
	s.events("b.ndjson", 3, 5, 30000)
	s.events("c.jsonl", 7, 1, 2000)
}

// checkUntouched fails the test when an object that was whole before is
// another one after.
func checkUntouched(t *testing.T, before, after map[string]string) {
	t.Helper()
	for object, sum := range before {
		if after[object] != sum {
			t.Errorf("%s was %s and is %q after the retry", object, sum, after[object])
		}
	}
}

// checkNothingMore runs once more: nothing may change, and the journal must
// be sound and without left-overs.
func checkNothingMore(t *testing.T, s *site) {
	t.Helper()
	before := s.Objects("out")
	s.Once()
	after := s.Objects("out")
	checkUntouched(t, before, after)
	if len(before) != len(after) {
		t.Errorf("%d objects became %d by a run with nothing to do", len(before), len(after))
	}
	if r := s.Penstock(nil, "journal", "verify"); r.Status != 0 {
		t.Errorf("journal verify: status %d\n%s\n%s", r.Status, r.Out, r.Err)
	}
}
