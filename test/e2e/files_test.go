package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A path that names no file is said by validate, the log of a serving host (once),
// run --once and status, with a hint.
func TestPathsWithoutFiles(t *testing.T) {
	s := newSite(t)
	const none, directory = "/events/* matches no file (yet)\n", `/events matches no file (yet): it is a directory. Did you mean "`
	for _, command := range [][]string{{"validate"}, {"run", "--once"}, {"status"}} {
		r := s.Penstock(nil, command...)
		s.Says(r, 0, none)
		if n := strings.Count(r.Out+r.Err, "matches no file"); n != 1 {
			t.Errorf("%v says it %d times:\n%s%s", command, n, r.Out, r.Err)
		}
	}
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "./events/*", "./events", 1))
	s.Says(s.Penstock(nil, "validate"), 0, "penstock.hcl:13:", directory, "/events/*.ndjson")
	s.Says(s.Penstock(nil, "validate", "--offline"), 0, "not checked: whether the paths of sources name files")
	host := s.Serve()
	host.Until("the log says it", func() bool { return strings.Contains(host.Said(), "matches no file (yet): it is a directory") })
	host.Until("the source is read", func() bool { return strings.Contains(host.Said(), "source was read to its end") })
	host.Stop(syscall.SIGTERM)
	if n := strings.Count(host.Said(), "matches no file"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, host.Said())
	}
}

// The times of events that only fit the other data_timezone are doubted: by run
// --once, and by a host that follows a file without end.
func TestDoubtedTimes(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	// In projects created before 2023 the wall clock of the project is written as if
	// it were UTC.
	events := func(local bool) string {
		var b strings.Builder
		for n := range 25 {
			at := base.Add(time.Duration(n) * time.Hour)
			written := at.Unix()
			if local {
				_, offset := at.In(zone).Zone()
				written += int64(offset)
			}
			fmt.Fprintf(&b, `{"event":"e","properties":{"time":%d,"distinct_id":"u","$insert_id":"%d","$mp_api_timestamp_ms":%d}}`+"\n", written, n, at.UnixMilli())
		}
		return b.String()
	}
	for _, test := range []struct {
		configured string
		local      bool
		warning    string
	}{
		{"utc", false, ""},
		{"utc", true, `data_timezone is "utc", but the times of 25 events fit their $mp_api_timestamp_ms only with "project"`},
		{"project", true, ""},
		{"project", false, `data_timezone is "project", but the times of 25 events fit their $mp_api_timestamp_ms only with "utc"`},
	} {
		t.Run(fmt.Sprintf("%s local=%v", test.configured, test.local), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			text := strings.Replace(s.Read("penstock.hcl"), `token = env("SHOP_TOKEN")`, `timezone = "America/New_York"`, 1)
			text = strings.Replace(text, `"./events/*"`, fmt.Sprintf("\"./events/*\"\n  follow = true\n  data_timezone = %q", test.configured), 1)
			s.Write("penstock.hcl", text)
			s.Write("events/a.ndjson", events(test.local))
			r := s.Once()
			if said := "warning: " + test.warning; test.warning != "" {
				s.Says(r, 0, said, "check the setting before these rows are exported")
			} else if strings.Contains(r.Out+r.Err, "data_timezone") {
				t.Errorf("it is doubted:\n%s%s", r.Out, r.Err)
			}
			if test.warning == "" {
				return
			}
			if err := os.RemoveAll(filepath.Join(s.Dir, "data")); err != nil {
				t.Fatal(err)
			}
			host := s.Serve()
			host.Until("the times are doubted", func() bool { return strings.Contains(host.Said(), "data_timezone is") })
			host.Stop(syscall.SIGTERM)
			if n := strings.Count(host.Said(), "data_timezone is"); n != 1 {
				t.Errorf("it is said %d times:\n%s", n, host.Said())
			}
		})
	}
}
