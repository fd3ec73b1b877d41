package e2e

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
)

func TestTheSameRecordsAreExportedOnce(t *testing.T) {
	want := newSite(t)
	want.events("a.ndjson", 0, 5, 5000)
	want.Once()

	for name, arrange := range map[string]func(s *site){
		"a file under two names": func(s *site) {
			s.events("a.ndjson", 0, 5, 5000)
			s.events("copy.ndjson", 0, 5, 5000)
		},
		"overlapping files": func(s *site) {
			s.events("a.ndjson", 0, 5, 3000)
			s.events("b.ndjson", 0, 5, 5000)
		},
		"a file that comes again later": func(s *site) {
			s.events("a.ndjson", 0, 5, 5000)
			s.Once()
			s.events("again.ndjson", 0, 5, 5000)
		},
		"records repeated in the file": func(s *site) {
			var b strings.Builder
			for n := range 5000 {
				line := event(n%5, n, "") + "\n"
				b.WriteString(line)
				if n%3 == 0 {
					b.WriteString(line)
				}
			}
			s.Write("events/a.ndjson", b.String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			arrange(s)
			s.Once()
			penstocktest.SameRows(t, s.Rows("out"), want.Rows("out"))
		})
	}
}

func TestLateDataBecomesNewObjectsInItsOwnDay(t *testing.T) {
	s := newSite(t)
	s.events("a.ndjson", 3, 2, 1000)
	s.Once()
	before := s.Objects("out")
	s.events("late.ndjson", 0, 4, 1000)
	s.Once()
	after := s.Objects("out")
	checkUntouched(t, before, after)
	if len(after) != len(before)+4 {
		t.Errorf("%d objects became %d, want 4 more", len(before), len(after))
	}
	all := newSite(t)
	all.events("a.ndjson", 3, 2, 1000)
	all.events("late.ndjson", 0, 4, 1000)
	all.Once()
	penstocktest.SameRows(t, s.Rows("out"), all.Rows("out"))
}

func TestMalformedRecordsAreSetAside(t *testing.T) {
	s := newSite(t)
	good := event(0, 1, "")
	s.Write("events/bad.ndjson", strings.Join([]string{
		good,
		`{"event":"x","properties":{"time":`,
		"{\"event\":\"\xff\",\"properties\":{\"time\":1}}",
		`{"properties":{"time":1780000000}}`,
		`{"event":"no time","properties":{}}`,
		event(0, 2, ""),
		`{"event":"long","properties":{"time":1780000000,"x":"` + strings.Repeat("y", 1<<20) + `"}}`,
		event(0, 3, ""),
	}, "\n"))
	cut := filepath.Join(s.Dir, "events", "cut.ndjson.gz")
	writeCut(t, cut)
	// Nothing more is expected of a file that is this old.
	if old := time.Now().Add(-2 * time.Hour); os.Chtimes(cut, old, old) != nil {
		t.Fatal("the time of the file cannot be set")
	}
	r := s.Once()
	for _, reason := range []string{"invalid_json", "invalid_utf8", "no_event_name", "no_time", "too_long", "truncated_file"} {
		if !strings.Contains(r.Out, reason) {
			t.Errorf("the output does not count %s:\n%s", reason, r.Out)
		}
		if status := s.Penstock(nil, "status"); !strings.Contains(status.Out, reason) {
			t.Errorf("status does not count %s:\n%s", reason, status.Out)
		}
	}
	if rows := s.Rows("out"); len(rows) < 3+100 {
		t.Errorf("%d rows: the good records around the bad ones are missing", len(rows))
	}
	list := s.Penstock(nil, "quarantine", "list")
	if !strings.Contains(list.Out, "bad.ndjson") || list.Status != 0 {
		t.Errorf("quarantine list: %d\n%s\n%s", list.Status, list.Out, list.Err)
	}
}

// writeCut writes a gzip file that ends in the middle of its stream.
func writeCut(t *testing.T, path string) {
	t.Helper()
	var whole strings.Builder
	z := gzip.NewWriter(&whole)
	for n := range 5000 {
		if _, err := z.Write([]byte(event(1, 100000+n, "") + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(whole.String()[:whole.Len()/2]), 0o600); err != nil {
		t.Fatal(err)
	}
}
