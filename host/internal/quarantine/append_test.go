package quarantine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func appendTo(t *testing.T, s *Store, entries ...Entry) {
	t.Helper()
	if err := s.Append("collector.web", entries); err != nil {
		t.Fatal(err)
	}
}

func TestEntriesAreAppended(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	appendTo(t, s)
	appendTo(t, s, bad("r", "1"), bad("q", "2\xff"))
	appendTo(t, s, bad("r", "3"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 0)
	appendTo(t, s, bad("r", "4"))
	var got []string
	for _, e := range list(t, s) {
		got = append(got, e.ID+" "+e.Reason+" "+string(e.Bytes))
	}
	const file = "collector.web/tail-0000000000000001:"
	if diff := cmp.Diff([]string{file + "1 r 1", file + "2 q 2\xff", file + "3 r 3", file + "4 r 4"}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]map[string]int64{"collector.web": {"r": 3, "q": 1}}, totals(t, s)); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	used(t, s)
}

// Half a line that a crash has left is cut, and the next entry is whole.
func TestATornTailOfTheQuarantine(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 0)
	appendTo(t, s, bad("r", "1"), bad("r", "2"))
	path := filepath.Join(dir, "collector.web", "tail-0000000000000001.ndjson")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 10, len(data)/2 - 1} {
		if err := os.WriteFile(path, data[:len(data)-n], 0o600); err != nil {
			t.Fatal(err)
		}
		if n := len(list(t, s)); n != 1 { // as one that is being written
			t.Errorf("%d entries", n)
		}
		s := open(t, dir, 0)
		appendTo(t, s, bad("r", "3"))
		entries := list(t, s)
		if len(entries) != 2 || string(entries[1].Bytes) != "3" {
			t.Errorf("%d bytes torn off: %+v", n, entries)
		}
		used(t, s)
	}
}

func TestAppendingBeginsFilesAndEndsAtTheCap(t *testing.T) {
	s := open(t, t.TempDir(), 3<<20)
	long := strings.Repeat("x", 100_000)
	for range 40 {
		appendTo(t, s, bad("r", long))
	}
	kept := len(list(t, s))
	if got := totals(t, s)["collector.web"]["r"]; got != 40 || kept < 25 || kept > 31 {
		t.Errorf("%d kept, %d counted", kept, got)
	}
	files, err := s.source("collector.web").files()
	if err != nil || len(files) != 3 {
		t.Errorf("%d files, %v", len(files), err)
	}
	used(t, s)
}
