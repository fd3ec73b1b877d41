package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
)

// Anonymous ids: UUIDs of version 4.
const (
	anonymous1 = "11111111-1111-4111-8111-111111111111"
	anonymous2 = "22222222-2222-4222-9222-222222222222"
	anonymous3 = "33333333-3333-4333-a333-333333333333"
)

func anonymousID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

// vector is one of the test vectors of Mixpanel's identity rules. Requests are
// sent in their order; stored events are listed in the order of the requests.
type vector struct {
	name     string
	rules    string
	requests []identityRequest
	stored   []string          // distinct_id of events, without those of verbs
	mappings map[string]string // by id
	failures []string          // reasons, in the order of links
}

// identityRequest is one request of a vector.
type identityRequest struct {
	events []sentEvent
	track  bool // instead of /import
	status int  // 200 unless it is said
	answer string
}

// sentEvent is an event of a vector: props are its properties, without time,
// insert id and token.
type sentEvent struct {
	name  string
	props string
	days  int    // back in time
	id    string // insert id; one of its own unless it is said
}

func seen(props string) sentEvent { return sentEvent{name: "Seen", props: props} }

// each sends events one by one.
func each(events ...sentEvent) []identityRequest {
	var requests []identityRequest
	for _, e := range events {
		requests = append(requests, identityRequest{events: []sentEvent{e}})
	}
	return requests
}

func dev(id string) string       { return fmt.Sprintf(`"$device_id":%q`, id) }
func usr(id string) string       { return fmt.Sprintf(`"$user_id":%q`, id) }
func did(id string) string       { return fmt.Sprintf(`"distinct_id":%q`, id) }
func both(d, u string) string    { return dev(d) + "," + usr(u) }
func of(id string) sentEvent     { return seen(did(id)) }
func verb(n, p string) sentEvent { return sentEvent{name: n, props: p} }
func joined(a, b string) sentEvent {
	return verb("$merge", fmt.Sprintf(`"$distinct_ids":[%q,%q]`, a, b))
}
func aliased(id, alias string) sentEvent {
	return verb("$create_alias", fmt.Sprintf(`"distinct_id":%q,"alias":%q`, id, alias))
}
func identified(u, a string) sentEvent {
	return verb("$identify", fmt.Sprintf(`"$identified_id":%q,"$anon_id":%q`, u, a))
}

// identifiedMany are n links of ids to a user, in one request.
func identifiedMany(user string, from, n int) identityRequest {
	var r identityRequest
	for i := range n {
		r.events = append(r.events, identified(user, anonymousID(from+i)))
	}
	return r
}

func mappedMany(user string, from, n int) map[string]string {
	rows := map[string]string{}
	for i := range n {
		rows[anonymousID(from+i)] = user
	}
	return rows
}

func union(sets ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, s := range sets {
		maps.Copy(all, s)
	}
	return all
}

const noVerbs = `{"code":400,"error":"some data points in the request failed validation","failed_records":["identity events are not allowed when project is using simplified identity management"],"num_records_imported":0,"status":"Bad Request"}`

var vectors = []vector{
	{name: "s1", requests: each(seen(dev("D1")), seen(dev("D1")), seen(both("D1", "U1"))),
		stored: []string{"$device:D1", "$device:D1", "U1"}, mappings: map[string]string{"$device:D1": "U1"}},
	{name: "s2", requests: each(seen(dev("D1")), seen(dev("D1")), seen(both("D1", "U1")), seen(dev("D2")), seen(dev("D2")), seen(both("D2", "U1"))),
		stored:   []string{"$device:D1", "$device:D1", "U1", "$device:D2", "$device:D2", "U1"},
		mappings: map[string]string{"$device:D1": "U1", "$device:D2": "U1"}},
	{name: "s3", requests: each(seen(dev("D1")), seen(both("D1", "U1")), seen(dev("D2")), seen(dev("D2")), seen(both("D2", "U2"))),
		stored:   []string{"$device:D1", "U1", "$device:D2", "$device:D2", "U2"},
		mappings: map[string]string{"$device:D1": "U1", "$device:D2": "U2"}},
	{name: "s4", requests: each(seen(both("D", "U51")), seen(both("D", "U52")), seen(dev("D"))),
		stored: []string{"U51", "U52", "$device:D"}, mappings: map[string]string{"$device:D": "U51"},
		failures: []string{"errAnonDistinctIdAssignedAlready"}},
	{name: "s5", requests: each(of("$device:X")), stored: []string{"$device:X"}},
	{name: "s6", requests: each(of(anonymous1)), stored: []string{anonymous1}},
	{name: "s7", requests: each(seen(both("$device:X", "U8"))), stored: []string{"U8"}, mappings: map[string]string{"$device:X": "U8"}},
	{name: "s8", requests: each(seen(dev("D9")), sentEvent{name: "Seen", props: both("D9", "U9"), days: 30}),
		stored: []string{"$device:D9", "U9"}, mappings: map[string]string{"$device:D9": "U9"}},
	{name: "s9", requests: each(seen(dev("D")), seen(dev("D")), seen(both("D", "U10"))),
		stored: []string{"$device:D", "$device:D", "U10"}, mappings: map[string]string{"$device:D": "U10"}},
	{name: "s10", requests: each(seen(dev("D")), seen(dev("D")), seen(dev("D"))), stored: []string{"$device:D", "$device:D", "$device:D"}},
	{name: "s11", requests: each(seen(usr("U")), seen(usr("U"))), stored: []string{"U", "U"}},
	{name: "s12", requests: each(seen(did("Z") + "," + both("D", "U"))), stored: []string{"U"}, mappings: map[string]string{"$device:D": "U"}},
	{name: "s13", requests: each(verb("identity association", both("D", "U"))), stored: []string{"U"}, mappings: map[string]string{"$device:D": "U"}},
	{name: "s14", requests: each(seen(both("D", "U")), seen(both("D", "U"))), stored: []string{"U", "U"}, mappings: map[string]string{"$device:D": "U"}},
	{name: "s15", requests: each(seen(dev("+6512345678")), seen(both("+6512345678", "charlie")), seen(usr("+6512345678"))),
		stored: []string{"$device:+6512345678", "charlie", "+6512345678"}, mappings: map[string]string{"$device:+6512345678": "charlie"}},
	{name: "s16", requests: []identityRequest{
		{events: []sentEvent{identified("U", anonymous1)}, status: 400, answer: noVerbs},
		{events: []sentEvent{aliased("U", "X")}, status: 400, answer: noVerbs},
		{events: []sentEvent{joined("U", "X")}, status: 400, answer: noVerbs},
	}},
	{name: "s17", requests: []identityRequest{{track: true, events: []sentEvent{aliased("U", "X")}, answer: "1"}}},
	{name: "s18", requests: each(seen(dev("D1")), seen(dev("D1")), sentEvent{name: "Seen", props: both("D1", "U1"), id: "again"},
		sentEvent{name: "Seen", props: both("D1", "U1"), id: "again"}),
		stored: []string{"$device:D1", "$device:D1", "U1"}, mappings: map[string]string{"$device:D1": "U1"}},

	{name: "o1", rules: "original", requests: each(of(anonymous1), of(anonymous1), identified("U", anonymous1), of("U")),
		stored: []string{anonymous1, anonymous1, "U"}, mappings: map[string]string{anonymous1: "U"}},
	{name: "o2", rules: "original", requests: each(aliased(anonymous1, anonymous2), aliased(anonymous2, anonymous3), identified("U", anonymous1)),
		mappings: map[string]string{anonymous1: "U", anonymous2: "U", anonymous3: "U"}},
	{name: "o3", rules: "original", requests: each(aliased("U", anonymous1), aliased("U", anonymous2)),
		mappings: map[string]string{anonymous1: "U", anonymous2: "U"}},
	{name: "o4", rules: "original", requests: each(joined(anonymous1, anonymous2)), mappings: map[string]string{anonymous2: anonymous1}},
	{name: "o5", rules: "original", requests: each(joined(anonymous1, anonymous2), joined(anonymous2, anonymous3), identified("U", anonymous1)),
		mappings: map[string]string{anonymous1: "U", anonymous2: "U", anonymous3: "U"}},
	{name: "o6", rules: "original", requests: each(identified("U1", anonymous1), identified("U2", anonymous2), joined("U1", "U2")),
		mappings: map[string]string{"U2": "U1", anonymous1: "U1", anonymous2: "U1"}},
	{name: "o7", rules: "original", requests: []identityRequest{identifiedMany("U", 0, 510)},
		mappings: mappedMany("U", 0, 499), failures: slices.Repeat([]string{"errManyIDs"}, 11)},
	{name: "o8", rules: "original", requests: each(of("U"), of("session_abc123"), identified("U", "session_abc123")),
		stored: []string{"U", "session_abc123"}, failures: []string{"errAnonDistinctIdNonGUIDForm"}},
	{name: "o9", rules: "original", requests: each(identified(anonymous1, anonymous1)), failures: []string{"errSameIDs"}},
	{name: "o10", rules: "original", requests: each(identified("U1", anonymous1), identified("U2", anonymous1)),
		mappings: map[string]string{anonymous1: "U1"}, failures: []string{"errAnonDistinctIdAssignedAlready"}},
	{name: "o11", rules: "original", requests: each(aliased("U1", "X"), aliased("U2", "X")),
		mappings: map[string]string{"X": "U1"}, failures: []string{"errAliasAlreadyExists"}},
	{name: "o12", rules: "original", requests: each(seen(did("U") + "," + both("A", "U"))), stored: []string{"U"}},
	{name: "o13", rules: "original",
		requests: each(of(anonymousID(0)), identified("U", anonymousID(0)), of(anonymousID(1)), identified("U", anonymousID(1)),
			of(anonymousID(2)), identified("U", anonymousID(2)), of(anonymousID(3)), identified("U", anonymousID(3)),
			of(anonymousID(4)), identified("U", anonymousID(4))),
		stored:   []string{anonymousID(0), anonymousID(1), anonymousID(2), anonymousID(3), anonymousID(4)},
		mappings: mappedMany("U", 0, 5)},
	{name: "o14", rules: "original", requests: each(verb("$create_alias", `"distinct_id":"U","alias":1129999`)), mappings: map[string]string{"1129999": "U"}},
	{name: "o15", rules: "original",
		requests: each(sentEvent{name: "Seen", props: did(anonymous1), days: 9}, sentEvent{name: "$identify", props: identified("U", anonymous1).props, days: 1}),
		stored:   []string{anonymous1}, mappings: map[string]string{anonymous1: "U"}},
	{name: "o16", rules: "original", requests: append([]identityRequest{identifiedMany("U1", 0, 299), identifiedMany("U2", 1000, 299)}, each(joined("U1", "U2"))...),
		mappings: union(mappedMany("U1", 0, 299), mappedMany("U2", 1000, 299)), failures: []string{"errManyIDs"}},
	{name: "o17", rules: "original", requests: each(aliased(anonymous2, anonymous3), identified("U", anonymous1), aliased(anonymous1, anonymous2)),
		mappings: map[string]string{anonymous1: "U", anonymous2: "U", anonymous3: "U"}},
}

// identitySite is an installation with a project for each vector.
func identitySite(t *testing.T, all []vector) *site {
	t.Helper()
	return identitySiteWith(t, all, localDestination, "localfs.out")
}

func identitySiteWith(t *testing.T, all []vector, destination, reference string) *site {
	t.Helper()
	s := &site{penstocktest.NewSite(t), t}
	var b strings.Builder
	fmt.Fprintf(&b, `
host {
  data_dir   = "./data"
  plugin_dir = %q
  memory     = "4MiB"
}
`, filepath.Join(penstocktest.Binaries, "plugins"))
	b.WriteString(destination)
	var names []string
	for i, v := range all {
		rules := v.rules
		if rules == "" {
			rules = "simplified"
		}
		names = append(names, fmt.Sprintf("%q", v.name))
		fmt.Fprintf(&b, `
project %[1]q {
  id       = %[2]d
  token    = "tok-%[1]s"
  identity = %[3]q
}
pipeline "%[1]s_events" {
  project     = %[1]q
  stream      = "events"
  destination = %[5]q
  from_date   = %[4]q
}
`, v.name, 100+i, rules, base.AddDate(0, 0, -30).Format("2006-01-02"), reference)
		if rules != "legacy" {
			fmt.Fprintf(&b, `
pipeline "%[1]s_ids" {
  project     = %[1]q
  stream      = "identity"
  destination = %[2]q
}
`, v.name, reference)
		}
	}
	fmt.Fprintf(&b, `
source "collector" "web" {
  projects = [%s]
  listen   = "127.0.0.1:0"
}
`, strings.Join(names, ", "))
	s.Write("penstock.hcl", b.String())
	return s
}

// send sends a vector's requests, from the event with that number on.
func (v *vector) send(t *testing.T, address string, requests []identityRequest, number int) int {
	t.Helper()
	now := time.Now() // of all events: one that is sent again has the same second
	for _, r := range requests {
		var events []string
		for _, e := range r.events {
			id := e.id
			if id == "" {
				id = fmt.Sprintf("%s-%06d", v.name, number)
			}
			number++
			events = append(events, fmt.Sprintf(`{"event":%q,"properties":{"token":"tok-%s","time":%d,"$insert_id":%q,%s}}`,
				e.name, v.name, now.AddDate(0, 0, -e.days).Unix(), id, e.props))
		}
		path, status, answer := "/import?strict=0", 200, "1"
		if r.track {
			path = "/track"
		}
		if r.status != 0 {
			path, status = "/import?strict=1", r.status
		}
		if r.answer != "" {
			answer = r.answer
		}
		request, err := http.NewRequest(http.MethodPost, "http://"+address+path, strings.NewReader("["+strings.Join(events, ",")+"]"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.SetBasicAuth("tok-"+v.name, "")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != status || string(text) != answer {
			t.Errorf("%s: %s: %d %s, want %d %s", v.name, path, response.StatusCode, text, status, answer)
		}
	}
	return number
}

// collectorAddress waits until the collector listens.
func collectorAddress(h *penstocktest.Host) string {
	address := ""
	h.Until("the collector listens", func() bool {
		if found := listens.FindStringSubmatch(h.Said()); found != nil {
			address = found[1]
		}
		return address != ""
	})
	return address
}

// refusedLinks asks for refused links: reasons by project, in the order of
// links.
func (s *site) refusedLinks() map[string][]string {
	s.t.Helper()
	r := s.Penstock(nil, "identity", "failures", "--json", "--limit", "0")
	s.Says(r, 0)
	var list struct {
		Counts []struct {
			Project, Reason string
			Count           int
		}
		Failures []struct {
			Project, Reason, Description, Verb string
			Time                               time.Time
			AnonymousID                        string `json:"anonymous_id"`
			IdentifiedID                       string `json:"identified_id"`
		}
	}
	if err := json.Unmarshal([]byte(r.Out), &list); err != nil {
		s.t.Fatal(err)
	}
	found := map[string][]string{}
	for _, f := range slices.Backward(list.Failures) {
		found[f.Project] = append(found[f.Project], f.Reason)
		if f.Description == "" || f.Verb == "" || f.AnonymousID == "" || f.IdentifiedID == "" || time.Since(f.Time).Abs() > time.Hour {
			s.t.Errorf("%+v", f)
		}
	}
	counted := 0
	for _, c := range list.Counts {
		counted += c.Count
	}
	if counted != len(list.Failures) {
		s.t.Errorf("%d are counted, %d listed", counted, len(list.Failures))
	}
	return found
}

// storedIDs are the distinct_ids of a project's exported events in the order of
// their insert ids, without those of verbs.
func (s *site) storedIDs(project int) []string {
	s.t.Helper()
	byInsert := map[string]string{}
	dir := filepath.Join("out", fmt.Sprint(project), "mp_master_event")
	for object := range s.Objects(dir) {
		for _, line := range penstocktest.ReadObject(s.t, filepath.Join(s.Dir, dir, object)) {
			var row struct {
				DistinctID string `json:"distinct_id"`
				InsertID   string `json:"insert_id"`
				EventName  string `json:"event_name"`
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				s.t.Fatal(err)
			}
			if _, twice := byInsert[row.InsertID]; twice {
				s.t.Errorf("%s is there twice", row.InsertID)
			}
			if !strings.HasPrefix(row.EventName, "$") {
				byInsert[row.InsertID] = row.DistinctID
			}
		}
	}
	var ids []string
	// An id of its own sorts before those that are numbered, which is the last of its vector.
	keys := slices.Collect(maps.Keys(byInsert))
	slices.SortFunc(keys, func(a, b string) int {
		if (a == "again") != (b == "again") {
			return map[bool]int{true: 1, false: -1}[a == "again"]
		}
		return strings.Compare(a, b)
	})
	for _, k := range keys {
		ids = append(ids, byInsert[k])
	}
	return ids
}

// mapped are a project's exported mappings.
func (s *site) mapped(project int) map[string]string {
	s.t.Helper()
	rows := map[string]string{}
	dir := filepath.Join("out", fmt.Sprint(project), "mp_identity_mappings_data")
	for object := range s.Objects(dir) {
		for _, line := range penstocktest.ReadObject(s.t, filepath.Join(s.Dir, dir, object)) {
			var row struct {
				DistinctID string `json:"distinct_id"`
				Resolved   string `json:"resolved_distinct_id"`
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				s.t.Fatal(err)
			}
			if _, twice := rows[row.DistinctID]; twice {
				s.t.Errorf("%s is there twice", row.DistinctID)
			}
			rows[row.DistinctID] = row.Resolved
		}
	}
	return rows
}

// check compares the exported events and mappings of each vector.
func (s *site) check(all []vector) {
	s.t.Helper()
	for i := range all {
		v := &all[i]
		if diff := cmp.Diff(v.stored, s.storedIDs(100+i)); diff != "" {
			s.t.Errorf("%s: stored:\n%s", v.name, diff)
		}
		want := v.mappings
		if want == nil {
			want = map[string]string{}
		}
		if diff := cmp.Diff(want, s.mapped(100+i)); diff != "" {
			s.t.Errorf("%s: mappings:\n%s", v.name, diff)
		}
	}
}

func wantedFailures(all []vector) map[string][]string {
	want := map[string][]string{}
	for _, v := range all {
		if v.failures != nil {
			want[v.name] = v.failures
		}
	}
	return want
}

// Every vector of Mixpanel's identity rules, from the request to the exported
// files.
func TestIdentityVectors(t *testing.T) {
	t.Parallel()
	s := identitySite(t, vectors)
	h := s.Serve()
	address := collectorAddress(h)
	for i := range vectors {
		vectors[i].send(t, address, vectors[i].requests, 0)
	}
	want := wantedFailures(vectors)
	h.Until("all links are folded", func() bool { return cmp.Equal(want, s.refusedLinks()) })
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Errorf("ended with %d:\n%s", status.ExitStatus(), h.Said())
	}
	s.Once()
	s.check(vectors)
	if diff := cmp.Diff(want, s.refusedLinks()); diff != "" {
		t.Errorf("failures:\n%s", diff)
	}
	s.Says(s.Penstock(nil, "status"), 0, "REFUSED LINKS", "11 errManyIDs")
}

// A host that is killed while it collects, and then at each point of a fold,
// leaves the mappings and the refused links of one that never was.
func TestIdentitySurvivesKillsAtEachPoint(t *testing.T) {
	t.Parallel()
	s := identitySite(t, vectors)
	h := s.Serve()
	address := collectorAddress(h)
	for i := range vectors {
		vectors[i].send(t, address, vectors[i].requests, 0)
	}
	h.Stop(syscall.SIGKILL)
	for _, point := range []string{
		"identity.folded", "generation.block", "generation.blocks", "generation.listed", "identity.generation", "identity.flushed", "fold.recorded",
		"identity.folded:3", "identity.flushed:2", "export.streaming:3", "fold.recorded:2",
	} {
		r := s.Penstock([]string{"PENSTOCK_CRASH_AT=" + point}, "run", "--once")
		if r.Signal != syscall.SIGKILL {
			t.Fatalf("%s was not passed: status %d\n%s", point, r.Status, r.Err)
		}
	}
	s.Once()
	s.check(vectors)
	if diff := cmp.Diff(wantedFailures(vectors), s.refusedLinks()); diff != "" {
		t.Errorf("failures:\n%s", diff)
	}
}

var legacyVectors = []vector{
	{name: "l1", rules: "legacy", requests: each(of("X"), aliased("D", "X"), of("X"), of("D")), stored: []string{"X", "D", "D"}},
	{name: "l2", rules: "legacy", requests: each(aliased("D", "X"), aliased("E", "X"), of("X"), of("E")),
		stored: []string{"D", "E"}, failures: []string{"errAliasAlreadyExists"}},
	{name: "l3", rules: "legacy", requests: []identityRequest{
		{events: []sentEvent{of("X"), aliased("D", "X"), of("X"), aliased("E", "X"), of("X")}},
		{track: true, events: []sentEvent{of("X"), of("Y"), aliased("X", "Y"), of("Y")}},
	}, stored: []string{"X", "D", "D", "D", "Y", "D"}, failures: []string{"errAliasAlreadyExists"}},
	{name: "l4", rules: "legacy", requests: each(aliased("D", "X"), aliased("X", "Y"), of("Y"), aliased("Z", "D"), of("Y"), aliased("Y", "Z"), of("Z")),
		stored: []string{"D", "Z", "Z"}, failures: []string{"errSameIDs"}},
	{name: "l5", rules: "legacy", requests: each(identified("U", anonymous1), of(anonymous1), joined("U", "V"), of("V"), seen(did("W")+","+both("D", "U"))),
		stored: []string{anonymous1, "V", "W"}},
	{name: "l6", rules: "legacy", requests: each(verb("$create_alias", `"distinct_id":"é\"\\","alias":"\u0001 q"`), seen(`"distinct_id":"\u0001 q"`)),
		stored: []string{"é\"\\"}},
}

// In a legacy project, events after an alias are stored under the id that it
// stands for, also when the host was stopped or killed in between.
func TestLegacyAliases(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"one host": 0, "stopped": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := identitySite(t, legacyVectors)
			h := s.Serve()
			address := collectorAddress(h)
			numbers := make([]int, len(legacyVectors))
			for round, more := 0, true; more; round++ {
				more = false
				for i := range legacyVectors {
					v := &legacyVectors[i]
					if round < len(v.requests) {
						numbers[i] = v.send(t, address, v.requests[round:round+1], numbers[i])
						more = true
					}
				}
				if signal != 0 {
					h.Stop(signal)
					h = s.Serve()
					address = collectorAddress(h)
				}
			}
			h.Stop(syscall.SIGTERM)
			s.Once()
			s.check(legacyVectors)
			if diff := cmp.Diff(wantedFailures(legacyVectors), s.refusedLinks()); diff != "" {
				t.Errorf("failures:\n%s", diff)
			}
		})
	}
}

// Mappings in a bucket are replaced as on a disk, also when host or plugin are
// killed during the replacement.
func TestIdentityInABucket(t *testing.T) {
	t.Parallel()
	server := standin.StartS3(t, "lake")
	some := slices.DeleteFunc(slices.Clone(vectors), func(v vector) bool { return !slices.Contains([]string{"s2", "s4", "o2", "o6"}, v.name) })
	s := identitySiteWith(t, some, s3Destination(server), "s3.lake")
	env := "S3_SECRET=" + server.SecretKey
	numbers := make([]int, len(some))
	for round, point := range []string{"export.streaming:2", "plugin.commit.before:3", "plugin.commit.after:2"} {
		h := s.Serve(env)
		address := collectorAddress(h)
		for i := range some {
			v := &some[i]
			n := len(v.requests)
			numbers[i] = v.send(t, address, v.requests[round*n/3:(round+1)*n/3], numbers[i])
		}
		h.Stop(syscall.SIGTERM)
		s.Penstock([]string{env, "PENSTOCK_CRASH_AT=" + point}, "run", "--once", "--retry-for", "3s")
		s.Once(env)
	}
	download(t, server, filepath.Join(s.Dir, "out"))
	s.check(some)
}
