package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A run that failed because of the configuration, or of something else that a
// person has to mend, is shown as such and tried again at the next start.
func TestAFailedRunIsTriedAgainAtEachStart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 100)
	s.Once()
	want := s.Rows("out")
	s.events("b.ndjson", 1, 1, 100)
	// Its directory is a file now, which the plugin calls a configuration error.
	if err := os.Rename(filepath.Join(s.Dir, "out"), filepath.Join(s.Dir, "aside")); err != nil {
		t.Fatal(err)
	}
	s.Write("out", "")
	const failed = "run 2 failed: configuration error"
	for range 2 {
		s.Says(s.Penstock(nil, "run", "--once", "--retry-for", "1s"), 1, "not a directory")
		s.Says(s.Penstock(nil, "status"), 0, "failed", failed, "start the host again")
		s.Says(s.Penstock(nil, "runs", "list"), 0, failed)
		s.Says(s.Penstock(nil, "runs", "list", "--json"), 0, `"error_class": "configuration"`)
	}
	h := s.Serve()
	h.Until("the run is tried and fails again", func() bool {
		return strings.Contains(h.Said(), `msg="pipeline failed, and waits for a person; the next start of a host tries again"`)
	})
	s.Says(s.Penstock(nil, "status"), 0, failed)
	h.Stop(syscall.SIGTERM)

	if err := os.Remove(filepath.Join(s.Dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.Dir, "aside"), filepath.Join(s.Dir, "out")); err != nil {
		t.Fatal(err)
	}
	s.Says(s.Once(), 0, "1 run, 100 rows")
	rows := s.Rows("out")
	if len(rows) != len(want)+100 {
		t.Errorf("%d rows are exported, want %d", len(rows), len(want)+100)
	}
	s.Says(s.Penstock(nil, "runs", "list"), 0, "succeeded")
}

// While a host retries a pipeline, status and the list of runs name the error and
// the time of the next attempt, and the pipeline catches up once the error has
// passed.
func TestStatusNamesTheNextAttempt(t *testing.T) {
	if !inside(t) {
		return
	}
	s := newSite(t)
	fill(s)
	resize := s.smallDisk("out", "64k")
	h := s.Serve()
	h.Until("the failure is said", func() bool { return strings.Contains(h.Said(), `msg="pipeline failed; will retry"`) })
	next := regexp.MustCompile(`(?s)events_out, run 1 retrying: .*no space left on device.* \(next attempt: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)`)
	for _, command := range [][]string{{"status"}, {"pipelines", "list"}, {"runs", "list"}} {
		if r := s.Penstock(nil, command...); r.Status != 0 || !next.MatchString(r.Out) {
			t.Errorf("%v: status %d:\n%s%s", command, r.Status, r.Out, r.Err)
		}
	}
	s.Says(s.Penstock(nil, "runs", "list", "--json"), 0, `"error_class": "retryable"`, `"retry_at": `)
	resize("64m")
	h.Until("the pipeline runs", func() bool { return strings.Contains(h.Said(), `msg="run succeeded" pipeline=events_out`) })
	h.Stop(syscall.SIGTERM)
}
