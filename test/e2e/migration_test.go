package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

// tracked is an event as an SDK sends it.
type tracked struct {
	name       string
	at         time.Time
	properties string // with the ids, without time and token
}

// sent is the event as an SDK sends it to a collector.
func (e tracked) sent() string {
	return fmt.Sprintf(`{"event":%q,"properties":{"token":"tok-7c1d","time":%d,%s}}`, e.name, e.at.UnixMilli(), e.properties)
}

// exported is the event as Mixpanel has it: with the properties that Mixpanel adds.
func (e tracked) exported(distinctID string) mixpanelserver.Event {
	ms := e.at.UnixMilli() + 2000
	return mixpanelserver.Event{
		Name: e.name, Time: e.at.UnixMilli(), DistinctID: distinctID, Processed: ms + 100,
		Properties: fmt.Sprintf(`%s,"$import":true,"$mp_api_endpoint":"api.mixpanel.com","$mp_api_timestamp_ms":%d,"$mp_event_size":217,"$city":"Wien","$region":"Wien","mp_country_code":"AT"`, e.properties, ms),
	}
}

// serversOwn are the properties that differ between a row that was collected and the
// row of the same event that was pulled (docs/pull.md).
var serversOwn = []string{"$mp_api_endpoint", "$mp_api_timestamp_ms", "$mp_event_size", "mp_processing_time_ms", "$city", "$region", "mp_country_code"}

// comparableRow returns a row without what is documented to differ between a pulled and a
// collected row: properties that servers add, the unit of time in properties, and the
// distinct_id in properties, which clients need not send.
func comparableRow(t *testing.T, line string) map[string]any {
	t.Helper()
	var row map[string]any
	if err := json.Unmarshal([]byte(line[strings.IndexByte(line, '{'):]), &row); err != nil {
		t.Fatal(err)
	}
	properties := row["properties"].(map[string]any)
	for _, name := range serversOwn {
		delete(properties, name)
	}
	if id, ok := properties["distinct_id"]; ok && id != row["distinct_id"] {
		t.Errorf("two ids in one row: %s", line)
	}
	delete(properties, "distinct_id") // the export always has it
	if at, ok := properties["time"].(float64); ok && at > 1e11 {
		properties["time"] = float64(int64(at / 1000))
	}
	return row
}

func rowsByID(t *testing.T, rows []string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, line := range rows {
		row := comparableRow(t, line)
		id, _ := row["insert_id"].(string)
		if all[id] != nil {
			t.Errorf("the event %s is there twice: %s", id, line)
		}
		all[id] = row
	}
	return all
}

// trackedEvents are events of every kind of ids and values, with the distinct_id under
// which Mixpanel ingests each.
func trackedEvents(at time.Time) (events []tracked, ids []string) {
	for n, e := range []struct{ distinctID, properties string }{
		{"$device:D1", `"$device_id":"D1"`},
		{"U1", `"$device_id":"D1","$user_id":"U1"`},
		{"U1", `"$user_id":"U1","distinct_id":"U1"`},
		{"bare-1", `"distinct_id":"bare-1","$user_id":"bare-1"`},
		{"$device:D2", `"distinct_id":"$device:D2","$device_id":"D2","text":"Zürich 🏔 \"quoted\" \\ / \u0007"`},
		{"U2", `"$device_id":"D2","$user_id":"U2","n":1,"x":-0.5,"big":9007199254740993,"e":1e3,"yes":true,"no":null`},
		{"U3", `"$user_id":"U3","list":["a",1,{"b":[]}],"object":{"$x":{"y":"z"}},"empty":"","":"no name"`},
	} {
		events = append(events, tracked{
			name: []string{"Signup", "$mp_web_page_view", "Kauf ✓"}[n%3], at: at.Add(time.Duration(n) * 1234 * time.Millisecond),
			properties: fmt.Sprintf(`"$insert_id":"id-%d",%s`, n, e.properties),
		})
		ids = append(ids, e.distinctID)
	}
	return events, ids
}

// newBoth makes a site with a collector and a source that pulls, of one project.
func newBoth(t *testing.T) (*collecting, *mixpanelserver.Server) {
	t.Helper()
	s, server := newPullSite(t, collectorSource, nil)
	return &collecting{site: s, sent: map[string]bool{}, acked: map[string]bool{}}, server
}

// collect sends events to the collector in one request.
func (c *collecting) collect(events ...tracked) {
	c.t.Helper()
	var all []string
	for _, e := range events {
		all = append(all, e.sent())
	}
	if status, answer, err := c.post("/import?strict=1", "application/json", "", "["+strings.Join(all, ",")+"]"); err != nil || status != 200 {
		c.t.Fatalf("%d %s (%v)", status, answer, err)
	}
}

// The same events, collected by one site and pulled by another, are the same rows, but
// for what is documented.
func TestPulledEventsAreTheRowsOfTheCollector(t *testing.T) {
	t.Parallel()
	events, ids := trackedEvents(pulledDay(9).Add(10 * time.Hour))
	c := newCollecting(t)
	h := c.serve()
	c.collect(events...)
	h.Stop(syscall.SIGTERM)
	c.Once()
	s, server := newPullSite(t, "", nil)
	for i, e := range events {
		server.Add(e.exported(ids[i]))
	}
	s.Once(pullSecret...)
	collected, pulled := rowsByID(t, c.Rows("out")), rowsByID(t, s.Rows("out"))
	if len(collected) != len(events) || len(pulled) != len(events) {
		t.Fatalf("%d rows were collected and %d pulled of %d events", len(collected), len(pulled), len(events))
	}
	for _, id := range slices.Sorted(maps.Keys(collected)) {
		if !reflect.DeepEqual(collected[id], pulled[id]) {
			t.Errorf("%s\ncollected %v\npulled    %v", id, collected[id], pulled[id])
		}
	}
}

// A project moves from Mixpanel to the collector: its history is pulled, SDKs send to
// both for a while, and then to the collector alone. No event is there twice, and none
// is missing, although Mixpanel merges ids in the meantime.
func TestMovingFromMixpanelToTheCollector(t *testing.T) {
	t.Parallel()
	c, server := newBoth(t)
	at := func(day, n int) time.Time { return pulledDay(day).Add(time.Duration(n) * time.Minute) }
	want := map[string]bool{}
	make := func(day, from, to int) (events []tracked) {
		for n := from; n < to; n++ {
			id := fmt.Sprintf("id-%d-%d", day, n)
			want[id] = true
			events = append(events, tracked{"Item", at(day, n), fmt.Sprintf(`"$insert_id":%q,"$device_id":"D%d"`, id, n%7)})
		}
		return events
	}
	toMixpanel := func(events []tracked) {
		for _, e := range events {
			_, device, _ := strings.Cut(e.properties, `"$device_id":"`)
			server.Add(e.exported("$device:" + strings.TrimSuffix(device, `"`)))
		}
	}
	for day := range 8 {
		toMixpanel(make(day, 0, 40))
	}
	c.Once(pullSecret...) // the history
	h := c.serve(pullSecret...)
	for day := 8; day < 10; day++ {
		both := make(day, 0, 30)
		toMixpanel(both)
		toMixpanel(make(day, 30, 40)) // apps that were not updated
		c.collect(both...)
		c.collect(make(day, 40, 50)...) // apps that send to the collector alone
	}
	for n := range 7 {
		server.Merge(fmt.Sprint("$device:D", n), fmt.Sprint("U", n))
	}
	from, to := pulledDay(7).Format(time.DateOnly), pulledDay(10).Format(time.DateOnly)
	c.Says(c.Penstock(nil, "sources", "pull", "pull", "--from", from, "--to", to), 0, "4 days pulled")
	h.Stop(syscall.SIGTERM)
	c.Once(pullSecret...)
	// The source is removed, and the collector goes on.
	config := c.Read("penstock.hcl")
	before, rest, _ := strings.Cut(config, `source "mixpanel"`)
	_, after, _ := strings.Cut(rest, "\ndestination")
	c.Write("penstock.hcl", before+"destination"+after)
	h = c.serve()
	c.collect(make(10, 0, 20)...)
	h.Stop(syscall.SIGTERM)
	c.Once()
	rows := rowsByID(t, c.Rows("out"))
	for id := range want {
		if rows[id] == nil {
			t.Errorf("the event %s is missing", id)
		}
	}
	if len(rows) != len(want) {
		t.Errorf("%d rows of %d events", len(rows), len(want))
	}
	for _, row := range rows {
		if id, _ := row["distinct_id"].(string); !strings.HasPrefix(id, "$device:") {
			t.Errorf("a row has the id of the merge: %v", row)
		}
	}
}

// profiles_from decides which of two sources writes profiles.
func TestTheAuthorityOverProfiles(t *testing.T) {
	t.Parallel()
	c, server := newBoth(t)
	config, _, _ := strings.Cut(c.Read("penstock.hcl"), "pipeline ")
	config += `
pipeline "people_out" {
  project      = "shop"
  stream       = "people"
  destination  = "localfs.out"
  allow_shrink = true
}
`
	const id = "id    = 2195193"
	authority := func(name string) {
		c.Write("penstock.hcl", strings.Replace(config, id, id+"\n  profiles_from = \""+name+"\"", 1))
	}
	people := func() string {
		var all []string
		for object := range c.Objects("out") {
			if strings.Contains(object, "mp_people_data") && strings.HasSuffix(object, ".gz") {
				all = append(all, penstocktest.ReadObject(t, filepath.Join(c.Dir, "out", object))...)
			}
		}
		slices.Sort(all)
		return strings.Join(all, "\n")
	}
	engage := func(plan string) string {
		h := c.serve(pullSecret...)
		defer h.Stop(syscall.SIGTERM)
		status, answer, err := c.post("/engage?verbose=1", "application/json", "", fmt.Sprintf(
			`[{"$token":"tok-7c1d","$distinct_id":"u1","$ignore_time":true,"$set":{"plan":%q}}]`, plan))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(status, " ", answer)
	}
	server.SetProfiles(mixpanelserver.Profile{DistinctID: "u1", Properties: `{"plan":"of mixpanel"}`}, mixpanelserver.Profile{DistinctID: "u2", Properties: `{}`})
	authority("mixpanel")
	if answer := engage("of an app"); !strings.Contains(answer, "profiles are read from Mixpanel") {
		t.Errorf("operations are answered with %s", answer)
	}
	c.Once(pullSecret...)
	if text := people(); !strings.Contains(text, "of mixpanel") || strings.Contains(text, "of an app") || strings.Count(text, "\n") != 1 {
		t.Errorf("with profiles of Mixpanel: %s", text)
	}
	authority("collector")
	if answer := engage("of an app"); !strings.Contains(answer, `"status":1`) {
		t.Errorf("operations are answered with %s", answer)
	}
	c.Once(pullSecret...)
	if text := people(); strings.Contains(text, "of mixpanel") || !strings.Contains(text, "of an app") || !strings.Contains(text, `"u2"`) {
		t.Errorf("with collected profiles: %s", text)
	}
}
