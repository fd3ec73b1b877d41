package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/host"
)

// Rows that lie before a pipeline's from_date or after its to_date are counted by run
// --once, plan and status, and the way out that they name exports them.
func TestRowsOutsideThePipelinesDates(t *testing.T) {
	s := newSite(t)
	s.events("old.ndjson", -400, 1, 10)
	s.events("new.ndjson", 0, 2, 4)
	day := func(n int) string { return base.AddDate(0, 0, n).Format("2006-01-02") }
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "  from_date ", fmt.Sprintf("  to_date = %q\n  from_date ", day(0)), 1))
	before := fmt.Sprintf("not exported: 10 rows of %s lie before %s, the first day", day(-400), day(-30))
	after := fmt.Sprintf("not exported: 2 rows of %s lie after %s, the last day", day(1), day(0))
	s.Says(s.Once(), 0, "events_out → localfs.out: 1 run, 2 rows", before, after)
	s.Says(s.Once(), 0, "nothing new to export", before, after)
	s.Says(s.Penstock(nil, "plan"), 0, before, after)
	s.Says(s.Penstock(nil, "status"), 0, before, after)
	s.Says(s.Penstock(nil, "pipelines", "show", "events_out"), 0, before, after)
	s.Says(s.Penstock(nil, "pipelines", "run", "events_out"), 0, before, after)
	var plan []host.PlannedRun
	r := s.Penstock(nil, "plan", "--json")
	if err := json.Unmarshal([]byte(r.Out), &plan); err != nil || plan[0].Outside == nil || plan[0].Outside.Before.Rows != 10 || plan[0].Outside.After.Rows != 2 {
		t.Errorf("%v in %s", err, r.Out)
	}

	text := strings.Replace(s.Read("penstock.hcl"), `"events_out"`, `"events_all"`, 1)
	text = strings.Replace(text, fmt.Sprintf("  to_date = %q\n", day(0)), "", 1)
	text = strings.Replace(text, fmt.Sprintf("%q", day(-30)), fmt.Sprintf("%q\n  adopt = true", day(-400)), 1)
	s.Write("penstock.hcl", strings.Replace(text, "host {", "host {\n  max_backfill = \"500d\"", 1))
	r = s.Once()
	s.Says(r, 0, "12 rows")
	if strings.Contains(r.Out, "not exported") {
		t.Errorf("all rows are exported:\n%s", r.Out)
	}
	if rows := s.Rows("out"); len(rows) != 14 {
		t.Errorf("%d rows are at the destination", len(rows))
	}
}

// A pipeline that is paused or cancelled is named as such, with the rows that wait.
func TestPausedAndCancelledPipelinesOfOnce(t *testing.T) {
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 10)
	s.Once()
	s.Says(s.Penstock(nil, "pipelines", "pause", "events_out"), 0)
	s.Says(s.Once(), 0, "events_out → localfs.out: paused; nothing waits")
	s.events("b.ndjson", 1, 1, 5)
	s.Says(s.Once(), 0, "events_out → localfs.out: paused; 5 rows wait for 'penstock pipelines resume events_out'")
	s.Says(s.Penstock(nil, "run", "--once", "--json"), 0, `"state": "paused"`, `"waiting": 5`)
	s.Says(s.Penstock(nil, "pipelines", "cancel", "events_out", "--yes"), 0)
	s.Says(s.Once(), 0, "events_out → localfs.out: cancelled; 5 rows are not exported")
	s.Says(s.Penstock(nil, "plan"), 0, "cancelled: no run is planned")
}

// While a host runs, plan and status say when a file is read that came after its source
// was read to the end, and which file is not read at all.
func TestFilesThatARunningHostDoesNotRead(t *testing.T) {
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 10)
	h := s.Serve()
	h.Until("the first file is exported", func() bool { return h.Reported("export events_out run 1") == 10 })
	s.events("b.ndjson", 1, 1, 5)
	s.Write("events/c.ndjson.xz", "\xfd7zXZ\x00\x00\x04")
	const late, skipped = "read at the next start, or with follow = true", "c.ndjson.xz: it is compressed with xz, which is not read: use gzip or zstd"
	for _, command := range []string{"plan", "status"} {
		s.Says(s.Penstock(nil, command), 0, "1 file, ", late, skipped)
	}
	h.Stop(syscall.SIGTERM)
	r := s.Penstock(nil, "plan")
	s.Says(r, 0, "1 file, ", skipped)
	if strings.Contains(r.Out, late) {
		t.Errorf("no host runs:\n%s", r.Out)
	}
	if err := os.Remove(filepath.Join(s.Dir, "events/c.ndjson.xz")); err != nil {
		t.Fatal(err)
	}
	s.Says(s.Once(), 0, "5 rows new")
}
