package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The example has no check: that is said, and its destination is not called unknown.
func TestADestinationWithoutACheckIsSkipped(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, "\ndestination \"ndjson\" \"out\" {\n  path = \"./out\"\n}\n", "ndjson.out")
	s.Says(s.Penstock(nil, "destinations", "check"), 0, "ndjson.out, shop, skipped: this plugin has no check")
	s.Says(s.Penstock(nil, "destinations", "check", "ndjson.out", "--json"), 0, `"skipped": true`, `"detail": "this plugin has no check"`)
	s.Says(s.Penstock(nil, "destinations", "check", "ndjson.other"), 1, `the configuration has no destination "ndjson.other"`)
}

// Destinations are listed with the pipelines that export to them, also before the first run
// and while a host serves.
func TestDestinationsAreListed(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, "\ndestination \"ndjson\" \"out\" {\n  path = \"./out\"\n}\ndestination \"ndjson\" \"apart\" {\n  path = \"./apart\"\n}\n", "ndjson.out")
	s.events("a.ndjson", 0, 3, 900)
	s.Says(s.Penstock(nil, "destinations", "list"), 0, "ndjson.apart", "none", "ndjson.out", "not registered yet", "never")
	s.Once()
	s.Says(s.Penstock(nil, "destinations", "list"), 0, "ndjson.out", "shop", "active", "900", "run 1 succeeded")
	h := s.Serve()
	h.Until("it answers", func() bool {
		r := s.Penstock(nil, "destinations", "list", "--json")
		return r.Status == 0 && strings.Contains(r.Out, `"name": "ndjson.apart"`) && strings.Contains(r.Out, `"rows": 900`)
	})
	h.Stop(syscall.SIGTERM)
}

// The example that authors copy keeps no receipts. A host that is killed
// between the commit and its record takes the run by its content.
func TestTheExampleDestinationSurvivesAKillBehindTheCommit(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, "\ndestination \"ndjson\" \"out\" {\n  path = \"./out\"\n}\n", "ndjson.out")
	s.events("a.ndjson", 0, 3, 900)
	s.Penstock([]string{"PENSTOCK_CRASH_AT=export.committed:1"}, "run", "--once")
	s.Once()
	s.events("b.ndjson", 3, 2, 100)
	s.Once()
	files, err := filepath.Glob(filepath.Join(s.Dir, "out", "*", "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			rows[line]++
		}
	}
	if len(rows) != 1000 {
		t.Errorf("%d rows at the destination, want 1000", len(rows))
	}
	for line, n := range rows {
		if n != 1 {
			t.Fatalf("%d times: %s", n, line)
		}
	}
}
