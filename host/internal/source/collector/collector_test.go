package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// book is a log and a quarantine in memory. Lines and records are copied: they
// must not be kept.
type book struct {
	mu      sync.Mutex
	lines   []string // "1001 events {…}"
	rejects []Reject
	fail    error
}

func (b *book) Append(_ context.Context, parts []rowlog.Part, data []byte, _ []rowmark.Mark) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	for _, p := range parts {
		for _, r := range p.Rows {
			b.lines = append(b.lines, fmt.Sprintf("%d %s %s", p.Project, r.Kind, data[r.Offset:r.Offset+r.Length]))
		}
	}
	return nil
}

func (b *book) Reject(_ context.Context, records []Reject) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range records {
		r.Record = bytes.Clone(r.Record)
		b.rejects = append(b.rejects, r)
	}
	return nil
}

func (b *book) taken() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines = nil
	return lines
}

func (b *book) refused() []Reject {
	b.mu.Lock()
	defer b.mu.Unlock()
	rejects := b.rejects
	b.rejects = nil
	return rejects
}

// The projects of tests: a simplified, an original and one whose profiles are
// somebody else's.
var testProjects = []Project{
	{ID: 1001, Token: "shop-token"},
	{ID: 1002, Token: "news-token", Identity: schema.Original},
	{ID: 1003, Token: "wiki-token", NoProfiles: true},
}

func options(b *book) Options {
	return Options{
		Projects: testProjects, Access: Access{
			APISecret: "api-secret", Accounts: []Account{{"ci.service", "ci-secret"}},
			CORSOrigins: []string{"https://shop.example.com"}, RedirectOrigins: []string{"https://shop.example.com"},
		},
		MaxBody: 100_000, Log: b, Rejects: b, Now: func() time.Time { return now }, Random: zeros{},
	}
}

// zeros are not random.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func newCollector(t testing.TB, o Options) *Collector {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// post is a request with a body.
func post(target, contentType, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://in.example.com"+target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func get(target string) *http.Request {
	return httptest.NewRequest(http.MethodGet, "http://in.example.com"+target, nil)
}

func send(c http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// says checks an answer.
func says(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if w.Code != status || w.Body.String() != body {
		t.Errorf("%d %s, want %d %s", w.Code, w.Body, status, body)
	}
}

func TestAnEventBecomesARow(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	w := send(c, post("/track/?verbose=1&ip=1&_=1", "application/json",
		`{"event":"Signed Up","properties":{"token":"shop-token","time":1780315000,"distinct_id":"u","$insert_id":"i-1","ip":"1.2.3.4"}}`))
	says(t, w, http.StatusOK, `{"status":1,"error":null}`)
	want := `1001 events {"device_id":null,"distinct_id":"u","event_name":"Signed Up","insert_id":"i-1",` +
		`"properties":{"time":1780315000,"distinct_id":"u","$insert_id":"i-1","$user_id":"u","$mp_api_endpoint":"in.example.com",` +
		`"$mp_api_timestamp_ms":1780315200000,"$mp_event_size":127,"mp_processing_time_ms":1780315200000},"time":1780315000,"user_id":"u"}` + "\n"
	if lines := b.taken(); len(lines) != 1 || lines[0] != want {
		t.Errorf("\n got %s\nwant %s", lines, want)
	}
}

func TestOneRequestForSeveralProjects(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	var events []string
	for i := range 30 {
		events = append(events, fmt.Sprintf(`{"event":"e","properties":{"token":%q,"distinct_id":"u","$insert_id":"i-%d"}}`, testProjects[i%3].Token, i))
	}
	says(t, send(c, post("/track", "", "["+strings.Join(events, ",")+"]")), http.StatusOK, "1")
	lines := b.taken()
	if len(lines) != 30 {
		t.Fatalf("%d rows", len(lines))
	}
	for i, line := range lines {
		project, n := i/10, i%10*3+i/10
		if !strings.HasPrefix(line, fmt.Sprintf("%d events ", testProjects[project].ID)) || !strings.Contains(line, fmt.Sprintf(`"i-%d"`, n)) {
			t.Errorf("row %d is %s", i, line)
		}
	}
}

func TestEventsMakeLinks(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	event := func(name, token, properties string) string {
		return fmt.Sprintf(`{"event":%q,"properties":{"token":%q,"$insert_id":"i",%s}}`, name, token, properties)
	}
	for body, want := range map[string][]string{
		event("e", "shop-token", `"$device_id":"$device:D","$user_id":"U"`):   {`{"anonymous_id":"$device:D","identified_id":"U","time":1780315200,"verb":"link"}`},
		event("e", "shop-token", `"$device_id":"D"`):                          nil,
		event("$create_alias", "shop-token", `"distinct_id":"A","alias":"B"`): nil,
		event("e", "news-token", `"$device_id":"D","$user_id":"U"`):           nil,
		event("$identify", "news-token", `"distinct_id":"U","$anon_distinct_id":"$device:A"`): {
			`{"anonymous_id":"$device:A","identified_id":"U","time":1780315200,"verb":"identify"}`},
		event("$identify", "news-token", `"$identified_id":"U","$anon_id":"A"`): {
			`{"anonymous_id":"A","identified_id":"U","time":1780315200,"verb":"identify"}`},
		event("$create_alias", "news-token", `"distinct_id":"U","alias":1129999`): {
			`{"anonymous_id":"1129999","identified_id":"U","time":1780315200,"verb":"alias"}`},
		event("$merge", "news-token", `"$distinct_ids":["A","B"]`): nil, // not through /track
		event("$identify", "news-token", `"distinct_id":"U"`):      nil,
	} {
		says(t, send(c, post("/track", "", body)), http.StatusOK, "1")
		sameLinks(t, body, b.taken(), want)
	}
	r := post("/import?strict=0", "", event("$merge", "", `"time":1780315000,"$distinct_ids":["A", "B"]`))
	r.SetBasicAuth("news-token", "")
	says(t, send(c, r), http.StatusOK, "1")
	sameLinks(t, "$merge", b.taken(), []string{`{"anonymous_id":"B","identified_id":"A","time":1780315200,"verb":"merge"}`})
	// A known link is not logged again that day.
	for range 3 {
		says(t, send(c, post("/track", "", event("e", "shop-token", `"$device_id":"D","$user_id":"U"`))), http.StatusOK, "1")
		sameLinks(t, "again", b.taken(), nil)
	}
	var invalid int64
	for _, n := range c.Counts() {
		if n.Outcome == InvalidLink {
			invalid += n.Records
		}
	}
	if invalid != 1 {
		t.Errorf("%d invalid links", invalid)
	}
}

func sameLinks(t *testing.T, what string, lines, want []string) {
	t.Helper()
	var got []string
	for _, line := range lines {
		if _, link, ok := strings.Cut(line, " links "); ok {
			got = append(got, strings.TrimSuffix(link, "\n"))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(lines) == 0 {
		t.Errorf("%s: links %s among %d rows, want %s", what, got, len(lines), want)
	}
}

func TestOperationsBecomeRows(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	body := `[
		{"$token":"shop-token","$distinct_id":"u","$ip":"1.2.3.4","$set":{"a": 1},"$set_once":{"b":[ 2 ]}},
		{"$token":"shop-token","$distinct_id":12,"$time":1780000000,"$ignore_time":true,"$add":{"n":-1.5}},
		{"$token":"shop-token","$user_id":"w","$time":1999999999000,"$delete":""},
		{"$token":"shop-token","$device_id":"d","$unset":["x"]}
	]`
	says(t, send(c, post("/engage/", "", body)), http.StatusOK, "1")
	want := []string{
		`1001 profiles {"distinct_id":"u","operation":"$set","time":1780315200000,"last_seen":true,"value":{"a":1}}`,
		`1001 profiles {"distinct_id":"u","operation":"$set_once","time":1780315200000,"last_seen":true,"value":{"b":[2]}}`,
		`1001 profiles {"distinct_id":"12","operation":"$add","time":1780000000000,"last_seen":false,"value":{"n":-1.5}}`,
		`1001 profiles {"distinct_id":"w","operation":"$delete","time":1780315200000,"last_seen":true,"value":null}`,
		`1001 profiles {"distinct_id":"$device:d","operation":"$unset","time":1780315200000,"last_seen":true,"value":["x"]}`,
	}
	lines := b.taken()
	if got := strings.Join(lines, ""); got != strings.Join(want, "\n")+"\n" {
		t.Errorf("\n got %s\nwant %s", got, strings.Join(want, "\n"))
	}
}

// PHP encodes an empty object as an empty list, in each operation that takes an
// object.
func TestPHPsEmptyObjects(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	for _, verb := range []string{"$set", "$set_once", "$add", "$append", "$union", "$remove"} {
		for _, value := range []string{"[]", "[ ]", "{}"} {
			says(t, send(c, post("/engage", "", `{"$token":"shop-token","$distinct_id":"u","`+verb+`":`+value+`}`)), http.StatusOK, "1")
			want := `1001 profiles {"distinct_id":"u","operation":"` + verb + `","time":1780315200000,"last_seen":true,"value":{}}` + "\n"
			if lines := b.taken(); len(lines) != 1 || lines[0] != want {
				t.Errorf("%s %s: %q, want %q", verb, value, lines, want)
			}
		}
		says(t, send(c, post("/engage", "", `{"$token":"shop-token","$distinct_id":"u","`+verb+`":[1]}`)), http.StatusOK, "0")
	}
	says(t, send(c, post("/groups", "", `{"$token":"shop-token","$group_key":"k","$group_id":"g","$set":[]}`)), http.StatusOK, "1")
}

// Records that the log does not take are not answered with success, and not
// counted.
func TestALogThatFails(t *testing.T) {
	b := &book{fail: errors.New("no luck")}
	c := newCollector(t, options(b))
	w := send(c, post("/track", "", `{"event":"e","properties":{"token":"shop-token"}}`))
	says(t, w, http.StatusServiceUnavailable, `{"error":"the records could not be stored, try again","status":"error"}`)
	if w.Header().Get("Retry-After") != "5" || len(c.Counts()) != 0 {
		t.Errorf("%v, %v", w.Header(), c.Counts())
	}
}

// Refused records are kept when the answer does not name them.
func TestRefusedRecordsAreKept(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	says(t, send(c, get(`/track?data=[{"event":"e","properties":{"token":"nobody"}},{"event":"","properties":{"token":"shop-token"}},{}]`)), http.StatusOK, "1")
	want := []Reject{
		{Endpoint: "track", Reason: UnknownToken, Detail: "no project has this token", Record: []byte(`{"event":"e","properties":{"token":"nobody"}}`)},
		{Project: 1001, Endpoint: "track", Reason: schema.NoEventName, Detail: "'event' must not be missing or blank", Record: []byte(`{"event":"","properties":{"token":"shop-token"}}`)},
		{Endpoint: "track", Reason: NoToken, Detail: "'properties.token' is invalid: must not be missing", Record: []byte(`{}`)},
	}
	if got := b.refused(); fmt.Sprint(got) != fmt.Sprint(want) || len(b.taken()) != 0 {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

// onceLog is a log of which an Append fails.
type onceLog struct {
	*book
	calls int
}

func (l *onceLog) Append(ctx context.Context, parts []rowlog.Part, data []byte, marks []rowmark.Mark) error {
	if l.calls++; l.calls == 1 {
		return wal.ErrFull
	}
	return l.book.Append(ctx, parts, data, marks)
}

// The rows of a request for several projects are made durable together: a client that is told
// to send again counts nothing twice.
func TestARefusedRequestOfTwoProjects(t *testing.T) {
	log := &onceLog{book: &book{}}
	o := options(log.book)
	o.Log = log
	c := newCollector(t, o)
	body := `[{"$token":"shop-token","$distinct_id":"u","$add":{"n":1}},{"$token":"news-token","$distinct_id":"u","$add":{"n":1}}]`
	for _, want := range []int{http.StatusServiceUnavailable, http.StatusOK} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, post("/engage", "application/json", body))
		if w.Code != want {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if got := log.taken(); len(got) != 2 || log.calls != 2 {
		t.Errorf("%d calls of Append, rows %q", log.calls, got)
	}
}
