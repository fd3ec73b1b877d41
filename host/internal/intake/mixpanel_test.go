package intake

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/host/internal/source/mixpanel"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

// pulling is a project with one source that pulls.
type pulling struct {
	*site
	source *Mixpanel
}

// openPulling opens a source that pulls from a stand-in server. more is added to the
// project.
func openPulling(t testing.TB, more string) (*pulling, *mixpanelserver.Server) {
	t.Helper()
	server := mixpanelserver.New(mixpanelserver.Options{ProjectID: 7, APISecret: "pw", PageSize: 10})
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	s := openSite(t, fmt.Sprintf(`
project "shop" {
  id = 7
  %s
}
source "mixpanel" "pull" {
  project    = "shop"
  endpoint   = %q
  from_date  = %q
  api_secret = "pw"
}
`, more, listener.URL, time.Now().UTC().AddDate(0, 0, -3).Format(time.DateOnly)))
	return &pulling{s, s.set.now.Load().pulls[0]}, server
}

// peopleOf are the rows of the latest profiles.
func peopleOf(t *testing.T, h *pulling) string {
	t.Helper()
	g, err := h.stores.Catalog.Generation(t.Context(), 7, batch.People)
	if err != nil {
		t.Fatal(err)
	}
	if g == nil {
		return ""
	}
	return projecttest.Text(t, h.project.People.Generations, g.Blob)
}

// A full read of profiles replaces all of them; one that is not whole changes
// nothing.
func TestPulledProfilesAreReplacedWhole(t *testing.T) {
	t.Parallel()
	h, server := openPulling(t, `profiles_from = "mixpanel"`)
	some := func(from, to int) (list []mixpanelserver.Profile) {
		for n := from; n < to; n++ {
			list = append(list, mixpanelserver.Profile{DistinctID: fmt.Sprint("u", n), Properties: fmt.Sprintf(`{"n":%d}`, n)})
		}
		return append(list, mixpanelserver.Profile{DistinctID: "group", Properties: "{}", Group: true})
	}
	read := func() error {
		_, err := (profiles{h.source}).refresh(t.Context(), 0)
		return err
	}
	server.SetProfiles(some(0, 25)...)
	if err := read(); err != nil {
		t.Fatal(err)
	}
	before := peopleOf(t, h)
	if strings.Count(before, "\n") != 25 || strings.Contains(before, "group") || !strings.Contains(before, `{"distinct_id":"u3","properties":{"n":3}}`) {
		t.Fatal(before)
	}
	first, err := h.stores.Catalog.Generation(t.Context(), 7, batch.People)
	if err != nil {
		t.Fatal(err)
	}
	// The same profiles are the same generation.
	if err := read(); err != nil {
		t.Fatal(err)
	}
	if again, err := h.stores.Catalog.Generation(t.Context(), 7, batch.People); err != nil || again.Blob != first.Blob {
		t.Errorf("%+v became %+v (%v)", first, again, err)
	}
	// Half a read, a wrong total, and the same profile twice change nothing.
	wrong := 26
	twice := append(some(0, 24), some(3, 4)...)
	for name, breaks := range map[string]func(){
		"half": func() {
			server.Break(func(r mixpanelserver.Request) *mixpanelserver.Fault {
				if r.Page == 2 {
					return &mixpanelserver.Fault{Status: 401, Body: "Unable to authenticate request"}
				}
				return nil
			})
		},
		"total": func() {
			server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault { return &mixpanelserver.Fault{Total: &wrong} })
		},
		"twice": func() { server.Break(nil); server.SetProfiles(twice...) },
	} {
		server.SetProfiles(some(50, 75)...)
		breaks()
		if err := read(); mixpanel.KindOf(err) == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if peopleOf(t, h) != before {
			t.Errorf("%s: the profiles were changed", name)
		}
	}
	server.Break(nil)
	server.SetProfiles(some(20, 30)...)
	if err := read(); err != nil {
		t.Fatal(err)
	}
	after := peopleOf(t, h)
	if strings.Count(after, "\n") != 10 || strings.Contains(after, `"u3"`) || !strings.Contains(after, `"u29"`) {
		t.Error(after)
	}
}

// Operations that were collected have no effect where profiles are pulled, and
// nothing is exported before the first full read.
func TestCollectedOperationsDoNotCountWhereProfilesArePulled(t *testing.T) {
	t.Parallel()
	h, server := openPulling(t, `profiles_from = "mixpanel"`)
	s := h.project.People
	projecttest.SealOperations(t, h.project.Journal, 0, 50)
	if g, err := s.Latest(t.Context()); g != nil || err != nil {
		t.Errorf("%+v (%v)", g, err)
	}
	server.SetProfiles(mixpanelserver.Profile{DistinctID: "u1", Properties: `{"plan":"pro"}`})
	if _, err := (profiles{h.source}).refresh(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	projecttest.SealOperations(t, h.project.Journal, 50, 90)
	g, err := s.Latest(t.Context())
	if err != nil || g.Rows != 1 || peopleOf(t, h) != `{"distinct_id":"u1","properties":{"plan":"pro"}}`+"\n" {
		t.Errorf("%+v: %s (%v)", g, peopleOf(t, h), err)
	}
}

// Events that are pulled bring identity links.
func TestPulledEventsLinkIDs(t *testing.T) {
	t.Parallel()
	h, server := openPulling(t, "")
	at := time.Now().UTC().AddDate(0, 0, -2)
	server.Add(
		mixpanelserver.Event{Name: "a", Time: at.UnixMilli(), DistinctID: "$device:D1", Properties: `"$insert_id":"1","$device_id":"D1"`},
		mixpanelserver.Event{Name: "b", Time: at.UnixMilli() + 1, DistinctID: "U1", Properties: `"$insert_id":"2","$device_id":"D1","$user_id":"U1"`},
		mixpanelserver.Event{Name: "c", Time: at.UnixMilli() + 2, DistinctID: "U2", Properties: `"$insert_id":"3","$device_id":"D1","$user_id":"U2","$identity_failure_reason":"x"`},
	)
	if _, err := h.source.ReadAll(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	s := h.project.Identity
	g, err := s.Latest(t.Context())
	if err != nil || g.Rows != 1 {
		t.Fatalf("%+v (%v)", g, err)
	}
	var rows string
	err = s.Generations.Rows(t.Context(), g.Blob, func(row []byte) error {
		rows += string(row)
		return nil
	})
	if want := `{"distinct_id":"$device:D1","resolved_distinct_id":"U1"}` + "\n"; err != nil || rows != want {
		t.Errorf("%s (%v), want %s", rows, err, want)
	}
}

// A pull warns when the times of its events contradict data_timezone.
func TestAPullWarnsOfTheWrongTimeZone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		received time.Duration // when the event arrived, after its time
		warns    bool
	}{{"times in UTC", 5 * time.Second, false}, {"times of a wall clock", 5*time.Second - 9*time.Hour, true}} {
		h, server := openPulling(t, `timezone = "Asia/Tokyo"`)
		at := time.Now().UTC().AddDate(0, 0, -2)
		for n := range 30 {
			server.Add(mixpanelserver.Event{
				Name: "a", Time: at.UnixMilli(), DistinctID: "u", Properties: fmt.Sprintf(`"$insert_id":"%d","$mp_api_timestamp_ms":%d`, n, at.Add(tt.received).UnixMilli()),
			})
		}
		date := at.Format(time.DateOnly)
		summary, err := h.set.Pulls.Pull(t.Context(), "pull", date, date, true)
		if err != nil || summary.Records != 30 || strings.Contains(summary.Warning, `fit their $mp_api_timestamp_ms only with "project"`) != tt.warns {
			t.Errorf("%s: %+v (%v)", tt.name, summary, err)
		}
	}
}

// A host that runs once does not ask a server that is down for each day in turn.
func TestAServerThatIsDownIsNotAskedForEachDay(t *testing.T) {
	t.Parallel()
	h, server := openPulling(t, "")
	server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault { return &mixpanelserver.Fault{Status: 503} })
	_, err := h.source.ReadAll(t.Context(), time.Second)
	if mixpanel.KindOf(err) != mixpanel.Unavailable || len(server.Requests()) != 1 {
		t.Errorf("%d queries: %v", len(server.Requests()), err)
	}
}
