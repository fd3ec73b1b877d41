package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
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
var pluginPoints = []string{"plugin.open:1", "plugin.write:1", "plugin.extent:3", "plugin.prepare:1", "plugin.commit.before:1", "plugin.commit.after:1"}

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

// A run has the same objects, under the same names, whether its payloads are read from
// the journal's files or sent, and after a crash in the middle of it and a retry in the
// other way.
func TestExtentsAndPayloadsMakeTheSameObjects(t *testing.T) {
	const sending, crash = "PENSTOCK_PAYLOADS_ONLY=1", "PENSTOCK_CRASH_AT=export.streaming:7"
	s := newSite(t)
	fill(s)
	// The journal is filled once, and the run is planned: its rows and their order are fixed.
	if r := s.Penstock([]string{"PENSTOCK_CRASH_AT=export.streaming:1"}, "run", "--once"); r.Signal != syscall.SIGKILL {
		t.Fatalf("the host did not die: status %d\n%s", r.Status, r.Err)
	}
	planned := filepath.Join(s.Dir, "planned")
	move(t, filepath.Join(s.Dir, "data"), planned)
	var want map[string]string
	for _, tt := range []struct {
		name         string
		first, retry []string // environments of two hosts
	}{
		{"sent", nil, []string{sending}},
		{"read", nil, []string{}},
		{"read, then sent", []string{crash}, []string{sending}},
		{"sent, then read", []string{crash, sending}, []string{}},
		{"sent, then sent", []string{crash, sending}, []string{sending}},
		{"read, then read", []string{crash}, []string{}},
	} {
		for _, dir := range []string{"data", "out"} {
			if err := os.RemoveAll(filepath.Join(s.Dir, dir)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.CopyFS(filepath.Join(s.Dir, "data"), os.DirFS(planned)); err != nil {
			t.Fatal(err)
		}
		if tt.first != nil {
			if r := s.Penstock(tt.first, "run", "--once"); r.Signal != syscall.SIGKILL {
				t.Fatalf("%s: the host did not die: status %d\n%s", tt.name, r.Status, r.Err)
			}
		}
		if r := s.Penstock(tt.retry, "run", "--once"); r.Status != 0 {
			t.Fatalf("%s: status %d\n%s", tt.name, r.Status, r.Err)
		}
		got := s.Objects("out")
		if want == nil {
			want = got
		}
		if !maps.Equal(got, want) || len(got) < 5 {
			t.Errorf("%s: objects %q, want %q", tt.name, got, want)
		}
		checkNothingMore(t, s)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// The files are compressed, and so read in turns: each kill leaves several of them read in part.
func TestRowsSurviveManyKillsInARow(t *testing.T) {
	undisturbed := newSite(t)
	fillCompressed(undisturbed)
	undisturbed.Once()
	s := newSite(t)
	fillCompressed(s)
	for _, point := range append([]string{"files.read:3", "files.read:5", "files.read:7", "files.read:9"}, hostPoints...) {
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

// fillCompressed gives a site events of eight days in four compressed files, which have some
// pieces each.
func fillCompressed(s *site) {
	for day := range 4 {
		s.compressedEvents(fmt.Sprintf("%d.ndjson.gz", day), day, 5, 9000)
	}
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
