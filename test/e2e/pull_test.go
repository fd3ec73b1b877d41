package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

const pullSource = `
source "mixpanel" "pull" {
  project   = "shop"
  endpoint  = %q
  from_date = %q
  service_account {
    username = "sa"
    secret   = env("MP_SECRET")
  }
}
`

var pullSecret = []string{"MP_SECRET=pw-3f9c"}

// pulledFrom is the first day of the tests' events. It stays when midnight passes.
var pulledFrom = time.Now().UTC().AddDate(0, 0, -12).Truncate(24 * time.Hour)

// pulledDay is a day of the tests' events, counted from twelve days ago.
func pulledDay(n int) time.Time { return pulledFrom.AddDate(0, 0, n) }

// daysDue is how many days from pulledFrom a source pulls at an instant: a day that
// has not ended is pulled from an hour after it began.
func daysDue(now time.Time) int { return 1 + int(now.Add(-time.Hour).Sub(pulledFrom)/(24*time.Hour)) }

// pulledEvents are events of ten days, up to three days ago.
func pulledEvents(each int) (events []mixpanelserver.Event) {
	for day := range 10 {
		for n := range each {
			events = append(events, mixpanelserver.Event{
				Name: fmt.Sprint("Item ", n%7), Time: pulledDay(day).Add(time.Duration(n) * 1234 * time.Millisecond).UnixMilli(), DistinctID: fmt.Sprint("$device:D", n%97),
				Properties: fmt.Sprintf(`"$insert_id":"id-%d-%d","$device_id":"D%d","city":"Zürich 🏔","n":%d`, day, n, n%97, n),
			})
		}
	}
	return events
}

// newPullSite makes a site that pulls from a stand-in server.
func newPullSite(t *testing.T, more string, change func(*mixpanelserver.Options)) (*site, *mixpanelserver.Server) {
	t.Helper()
	o := mixpanelserver.Options{
		ProjectID: 2195193, Username: "sa", Secret: "pw-3f9c", PageSize: 100,
		Export: mixpanelserver.Limits{PerHour: 60, PerSecond: 3, Concurrent: 100}, Profiles: mixpanelserver.Limits{PerHour: 60, Concurrent: 5},
	}
	if change != nil {
		change(&o)
	}
	server := mixpanelserver.New(o)
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	s := &site{penstocktest.NewSite(t), t}
	host, _, _ := strings.Cut(fmt.Sprintf(hostAndProject, filepath.Join(penstocktest.Binaries, "plugins")), `source "files"`)
	s.Write("penstock.hcl", host+more+fmt.Sprintf(pullSource, listener.URL, pulledDay(0).Format(time.DateOnly))+localDestination+s.pipeline("events_out", "localfs.out"))
	return s, server
}

// fromFiles exports the same events out of a file.
func fromFiles(t *testing.T, events []mixpanelserver.Event) *site {
	t.Helper()
	s := newSite(t)
	var b strings.Builder
	for _, e := range events {
		id, err := json.Marshal(e.DistinctID)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, `{"event":%q,"properties":{"time":%d,"distinct_id":%s,%s}}`+"\n", e.Name, e.Time, id, e.Properties)
	}
	s.Write(filepath.Join("events", "all.ndjson"), b.String())
	s.Once()
	return s
}

// Events that are pulled are the rows that the same events out of files are, and a
// second pull after their ids were merged brings nothing new.
func TestPulledEventsAreTheRowsOfFiles(t *testing.T) {
	t.Parallel()
	events := pulledEvents(700)
	want := fromFiles(t, events).Rows("out")
	s, server := newPullSite(t, "", nil)
	server.Add(events...)
	due := daysDue(time.Now())
	r := s.Once(pullSecret...)
	if after := daysDue(time.Now()); !strings.Contains(r.Out+r.Err, fmt.Sprint(after, " days pulled")) {
		s.Says(r, 0, fmt.Sprint(due, " days pulled"))
	}
	s.Says(r, 0, "7,000 records read")
	penstocktest.SameRows(t, s.Rows("out"), want)
	for n := range 97 {
		server.Merge(fmt.Sprint("$device:D", n), fmt.Sprint("U", n%31))
	}
	r = s.Penstock(pullSecret, "sources", "pull", "mixpanel.pull", "--from", pulledDay(0).Format(time.DateOnly), "--to", pulledDay(9).Format(time.DateOnly))
	s.Says(r, 0, "10 days pulled", "7,000 records read, 0 rows new, 7,000 repeated")
	s.Once(pullSecret...)
	penstocktest.SameRows(t, s.Rows("out"), want)
	if strings.Contains(r.Out+r.Err, "pw-3f9c") {
		t.Error("the secret is shown")
	}
}

// The host dies by SIGKILL at each of these points of a pull: every event is
// exported once.
func TestPulledRowsSurviveAHostKilledAtEachPoint(t *testing.T) {
	t.Parallel()
	events := pulledEvents(300)
	want := fromFiles(t, events).Rows("out")
	for _, point := range []string{
		"pull.streaming:1", "pull.streaming:3", "pull.spooled:1", "pull.spooled:2", "pull.renamed:1", "pull.renamed:2", "pull.renamed:3", "journal.pending:1",
		"journal.committed:1", "journal.recorded:2", "pull.stored:1", "pull.stored:2",
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			s, server := newPullSite(t, "", nil)
			server.Add(events...)
			r := s.Penstock(append([]string{"PENSTOCK_CRASH_AT=" + point}, pullSecret...), "run", "--once")
			if r.Signal != syscall.SIGKILL {
				t.Fatalf("the host did not die at %s: status %d\n%s\n%s", point, r.Status, r.Out, r.Err)
			}
			s.Once(pullSecret...)
			penstocktest.SameRows(t, s.Rows("out"), want)
		})
	}
}

// A day whose stream is cut is retried, and nothing of it is exported before.
func TestACutDayIsNotExported(t *testing.T) {
	t.Parallel()
	events := pulledEvents(300)
	s, server := newPullSite(t, "", nil)
	server.Add(events...)
	bad := pulledDay(4).Format(time.DateOnly)
	server.Break(func(r mixpanelserver.Request) *mixpanelserver.Fault {
		if r.From <= bad && bad <= r.To {
			return &mixpanelserver.Fault{Marker: "terminated early"}
		}
		return nil
	})
	r := s.Penstock(pullSecret, "run", "--once", "--retry-for", "1s")
	s.Says(r, 1, "gave up in the middle of the stream")
	for _, row := range s.Rows("out") {
		if strings.Contains(row, `"insert_id":"id-4-`) {
			t.Fatalf("a row of the cut day was exported: %s", row)
		}
	}
	s.Says(s.Penstock(nil, "status"), 0, "missing")
	server.Break(nil)
	s.Once(pullSecret...)
	penstocktest.SameRows(t, s.Rows("out"), fromFiles(t, events).Rows("out"))
}

func TestSourcesCommands(t *testing.T) {
	t.Parallel()
	s, server := newPullSite(t, "", nil)
	server.Add(pulledEvents(50)...)
	day := pulledDay(3).Format(time.DateOnly)
	s.Says(s.Penstock(nil, "sources", "list"), 0, "mixpanel.pull", "12 days missing, until about")
	s.Says(s.Penstock(pullSecret, "sources", "check", "pull", "--from", day, "--to", day), 0, "nothing was stored", day, "50")
	s.Says(s.Penstock(nil, "status"), 0, "0  ", "59")
	s.Says(s.Penstock(pullSecret, "plan"), 0, "mixpanel.pull: 12 days to pull, until about")
	s.Says(s.Penstock([]string{"MP_SECRET=wrong"}, "sources", "check", "pull"), 1, "Unable to authenticate", "check the service account")
	s.Says(s.Penstock(pullSecret, "sources", "check", "pul"), 1, `no source that pulls is named "pul"; there is mixpanel.pull`)
	s.Says(s.Penstock(pullSecret, "sources", "check", "pull", "--from", "2999-01-01"), 1, "has not begun")
	s.Says(s.Penstock(nil, "sources", "check", "pull"), 2, "MP_SECRET")
	r := s.Penstock([]string{"MP_SECRET=wrong"}, "run", "--once")
	s.Says(r, 1, "check the service account")
	server.WithoutPlan()
	s.Says(s.Penstock(pullSecret, "run", "--once"), 1, "must include the API")
	server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault {
		return &mixpanelserver.Fault{Status: http.StatusTooManyRequests, Body: `{"error":"too many export requests in progress for this project"}`}
	})
	s.Says(s.Penstock(pullSecret, "run", "--once", "--retry-for", "1s"), 1, "too many export requests in progress")
	s.Says(s.Penstock(nil, "status"), 0, "waits for the limit")
	if text := s.Penstock(nil, "status", "--json").Out; strings.Contains(text, "pw-3f9c") || !strings.Contains(text, `"waits_for_limit": true`) {
		t.Error(text)
	}
}

// A line that is not an event is kept in quarantine once, however often its day is
// pulled.
func TestBadLinesOfAPullAreQuarantinedOnce(t *testing.T) {
	t.Parallel()
	s, server := newPullSite(t, "", nil)
	server.Add(pulledEvents(50)...)
	server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault {
		return &mixpanelserver.Fault{Lines: []string{"oops"}}
	})
	s.Once(pullSecret...)
	day := pulledDay(3).Format(time.DateOnly)
	s.Says(s.Penstock(pullSecret, "sources", "pull", "pull", "--from", day, "--to", day), 0, "in quarantine: 1 invalid_json")
	r := s.Penstock(nil, "quarantine", "list", "--json")
	if n := strings.Count(r.Out, `"oops"`) + strings.Count(r.Out, `"b29wcw=="`); n != 1 {
		t.Errorf("%d records are in quarantine:\n%s", n, r.Out)
	}
}

// A host that serves pulls what is due and answers commands.
func TestAServingHostPulls(t *testing.T) {
	t.Parallel()
	events := pulledEvents(100)
	s, server := newPullSite(t, "", nil)
	server.Add(events...)
	p := s.Serve(pullSecret...)
	p.Until("the source has caught up", func() bool { return strings.Contains(s.Penstock(nil, "sources", "list").Out, "caught up") })
	day := pulledDay(3).Format(time.DateOnly)
	s.Says(s.Penstock(nil, "sources", "pull", "pull", "--from", day, "--to", day), 0, "1 day pulled")
	p.Stop(syscall.SIGTERM)
	s.Once(pullSecret...)
	penstocktest.SameRows(t, s.Rows("out"), fromFiles(t, events).Rows("out"))
}

// Profiles that are pulled are exported, group profiles are not among them, and they
// are not read again within the hour.
func TestPulledProfilesAreExported(t *testing.T) {
	t.Parallel()
	s, server := newPullSite(t, "", nil)
	config := strings.Replace(s.Read("penstock.hcl"), `id    = 2195193`, "id    = 2195193\n  profiles_from = \"mixpanel\"", 1)
	config, _, _ = strings.Cut(config, "pipeline ")
	s.Write("penstock.hcl", config+`
pipeline "people_out" {
  project      = "shop"
  stream       = "people"
  destination  = "localfs.out"
  allow_shrink = true
}
`)
	profiles := func(from, to int) (list []mixpanelserver.Profile) {
		for n := from; n < to; n++ {
			list = append(list, mixpanelserver.Profile{DistinctID: fmt.Sprint("u", n), Properties: fmt.Sprintf(`{"n":%d,"$last_seen":"2026-06-01T10:00:00"}`, n)})
		}
		return append(list, mixpanelserver.Profile{DistinctID: "group", Properties: "{}", Group: true})
	}
	people := func() string {
		var all []string
		for object := range s.Objects("out") {
			if strings.Contains(object, "mp_people_data") && strings.HasSuffix(object, ".gz") {
				all = append(all, penstocktest.ReadObject(t, filepath.Join(s.Dir, "out", object))...)
			}
		}
		return strings.Join(all, "\n")
	}
	server.SetProfiles(profiles(0, 250)...)
	s.Says(s.Once(pullSecret...), 0, "profiles: 250 read")
	if text := people(); strings.Count(text, "\n") != 249 || strings.Contains(text, "group") ||
		!strings.Contains(text, `{"distinct_id":"u7","properties":{"$last_seen":"2026-06-01T10:00:00","n":7}}`) {
		t.Fatalf("%d lines, such as %.300s", strings.Count(text, "\n")+1, text)
	}
	server.SetProfiles(profiles(200, 300)...)
	s.Once(pullSecret...)
	if text := people(); strings.Contains(text, `"u250"`) {
		t.Error("profiles were read again within the hour")
	}
}
