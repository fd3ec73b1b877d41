package mixpanelserver

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// clock is noon of 3 June 2026.
func clock() time.Time { return time.Date(2026, 6, 3, 12, 0, 0, 0, time.UTC) }

func start(t *testing.T, o Options) (*Server, string) {
	t.Helper()
	o.ProjectID, o.Username, o.Secret, o.APISecret, o.Now = 7, "sa", "pw", "old-secret", clock
	s := New(o)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func get(t *testing.T, address, user, secret string, header ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, secret)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return reply{err: err}
	}
	body, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, string(body), errors.Join(err, answer.Body.Close())}
}

const dates = "/api/2.0/export?project_id=7&from_date=2026-06-01&to_date=2026-06-02"

var some = []Event{
	{Name: "Signup", Time: 1780315200123, DistinctID: "$device:D1", Properties: `"$insert_id":"i1"`},   // 2026-06-01 12:00
	{Name: "Buy", Time: 1780401600456, DistinctID: "U1", Properties: `"$insert_id":"i2","n":1`},        // 2026-06-02 12:00
	{Name: "Later", Time: 1780488000789, DistinctID: "U1", Properties: `"$insert_id":"i3","city":"Z"`}, // 2026-06-03 12:00
}

func TestExportHasTheDocumentedShape(t *testing.T) {
	t.Parallel()
	s, at := start(t, Options{})
	s.Add(some...)
	seconds := `{"event":"Signup","properties":{"time":1780315200,"distinct_id":"$device:D1","$insert_id":"i1"}}` + "\n" +
		`{"event":"Buy","properties":{"time":1780401600,"distinct_id":"U1","$insert_id":"i2","n":1}}` + "\n"
	if r := get(t, at+dates, "sa", "pw"); r.body != seconds || r.header.Get("Content-Type") != "text/plain" {
		t.Errorf("%+v", r)
	}
	milliseconds := strings.NewReplacer("1780315200", "1780315200123", "1780401600", "1780401600456").Replace(seconds)
	if r := get(t, at+dates+"&time_in_ms=true", "old-secret", ""); r.body != milliseconds {
		t.Errorf("%+v", r)
	}
	if r := get(t, at+dates+`&limit=1`, "sa", "pw"); r.body != seconds[:strings.IndexByte(seconds, '\n')+1] {
		t.Errorf("limit: %+v", r)
	}
	if r := get(t, at+dates+`&event=`+url.QueryEscape(`["Buy"]`), "sa", "pw"); strings.Count(r.body, "\n") != 1 || !strings.Contains(r.body, "Buy") {
		t.Errorf("event: %+v", r)
	}
	s.Merge("$device:D1", "U1")
	if r := get(t, at+dates, "sa", "pw"); !strings.Contains(r.body, `"distinct_id":"U1","$insert_id":"i1","$distinct_id_before_identity":"$device:D1"`) {
		t.Errorf("merged: %+v", r)
	}
}

func TestSelectorsCompareTheTimeOfProcessing(t *testing.T) {
	t.Parallel()
	s, at := start(t, Options{})
	for n, processed := range []int64{1000, 2000, 0, 3000} {
		s.Add(Event{Name: fmt.Sprint("e", n), Time: some[0].Time, DistinctID: "U", Processed: processed})
	}
	for where, want := range map[string]string{
		"": "e0e1e2e3",
		`properties["mp_processing_time_ms"] >= 2000`:                                                "e1e3",
		`properties["mp_processing_time_ms"]>2000`:                                                   "e3",
		`properties["mp_processing_time_ms"] >= 1000 and properties["mp_processing_time_ms"] < 2000`: "e0",
	} {
		r := get(t, at+dates+"&where="+url.QueryEscape(where), "sa", "pw")
		var got string
		for line := range strings.Lines(r.body) {
			got += line[len(`{"event":"`):][:2]
		}
		if got != want || r.status != 200 {
			t.Errorf("%s: %d %s, want %s", where, r.status, got, want)
		}
	}
	for _, where := range []string{`properties["plan"] == 1`, `1 and 2`, `properties["mp_processing_time_ms"] >= 99999999999999999999`} {
		if r := get(t, at+dates+"&where="+url.QueryEscape(where), "sa", "pw"); r.status != 400 {
			t.Errorf("%s: %+v", where, r)
		}
	}
}

// A project that was created before 2023 has dates and times of its zone.
func TestExportOfAnOlderProject(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	s, at := start(t, Options{Zone: zone})
	s.Add(Event{Name: "Late", Time: 1780279200000, DistinctID: "U"}) // 2026-06-01 02:00 UTC, 31 May 22:00 there
	r := get(t, at+"/api/2.0/export?project_id=7&from_date=2026-05-31&to_date=2026-05-31", "sa", "pw")
	if r.body != `{"event":"Late","properties":{"time":1780264800,"distinct_id":"U"}}`+"\n" {
		t.Errorf("%+v", r)
	}
}

func TestRefusalsOfTheExport(t *testing.T) {
	t.Parallel()
	s, at := start(t, Options{})
	s.Add(some...)
	for _, tt := range []struct {
		query, user, secret string
		status              int
		text                string
	}{
		{dates, "", "", 401, "Unable to authenticate request"},
		{dates, "sa", "wrong", 401, "Unable to authenticate request"},
		{strings.Replace(dates, "project_id=7&", "", 1), "sa", "pw", 400, "project_id"},
		{strings.Replace(dates, "project_id=7", "project_id=8", 1), "sa", "pw", 403, "Unable to authenticate request"},
		{strings.Replace(dates, "06-02", "06-04", 1), "sa", "pw", 400, "to_date cannot be later than today"},
		{strings.Replace(dates, "06-02", "05-02", 1), "sa", "pw", 400, "from_date"},
		{strings.Replace(dates, "2026-06-02", "x", 1), "sa", "pw", 400, "yyyy-mm-dd"},
		{dates + "&limit=100001", "sa", "pw", 400, "limit"},
	} {
		if r := get(t, at+tt.query, tt.user, tt.secret); r.status != tt.status || !strings.Contains(r.body, tt.text) {
			t.Errorf("%s as %s: %+v", tt.query, tt.user, r)
		}
	}
	s.WithoutPlan()
	if r := get(t, at+dates, "sa", "pw"); r.status != http.StatusPaymentRequired {
		t.Errorf("%+v", r)
	}
}

func TestLimitsAreAnswered(t *testing.T) {
	t.Parallel()
	s, at := start(t, Options{Export: Limits{PerHour: 2, PerSecond: 9, Concurrent: 9}, Profiles: Limits{PerHour: 1, PerSecond: 9, Concurrent: 5}})
	for _, want := range []int{200, 200, 429} {
		if r := get(t, at+dates, "sa", "pw"); r.status != want || want == 429 && !strings.Contains(r.body, `{"error":"`) {
			t.Errorf("%+v, want %d", r, want)
		}
	}
	get(t, at+"/api/query/engage?project_id=7", "sa", "pw")
	r := get(t, at+"/api/query/engage?project_id=7", "sa", "pw")
	if r.status != 429 || r.header.Get("Retry-After") != "3601" || r.header.Get("RateLimit") != `"project";r=0;t=3601` ||
		r.header.Get("RateLimit-Policy") != `"project";q=1;w=3600, "project-concurrency";q=5;qu="concurrent-requests"` {
		t.Errorf("%+v", r)
	}
	if n := len(s.Requests()); n != 5 {
		t.Errorf("%d requests were noted", n)
	}
}

func TestLongBodiesAreCompressed(t *testing.T) {
	t.Parallel()
	s, at := start(t, Options{})
	for range 100 {
		s.Add(some[0])
	}
	whole := get(t, at+dates, "sa", "pw", "Accept-Encoding", "identity")
	r := get(t, at+dates, "sa", "pw", "Accept-Encoding", "gzip")
	if r.header.Get("Content-Encoding") != "gzip" || len(r.body) >= len(whole.body) {
		t.Fatalf("%v", r.header)
	}
	z, err := gzip.NewReader(strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != whole.body {
		t.Errorf("it decompresses to %d bytes of %d (%v)", len(text), len(whole.body), err)
	}
}

func TestFaultsBreakAnswers(t *testing.T) {
	t.Parallel()
	s, at := start(t, Options{})
	s.Add(some...)
	five := 5
	var fault *Fault
	s.Break(func(Request) *Fault { return fault })
	for _, tt := range []struct {
		fault *Fault
		ok    func(r reply) bool
	}{
		{&Fault{Reset: &five}, func(r reply) bool { return r.body == `{"eve` && r.err != nil }},
		{&Fault{Reset: &five, End: true}, func(r reply) bool { return r.body == `{"eve` && r.err == nil }},
		{&Fault{Marker: "terminated early\n"}, func(r reply) bool { return strings.HasSuffix(r.body, "}}\nterminated early\n") && r.err == nil }},
		{&Fault{Body: "<html>", ContentType: "text/html"}, func(r reply) bool { return r.status == 200 && r.body == "<html>" }},
		{&Fault{Status: 301, Header: http.Header{"Location": {"http://127.0.0.1:1/"}}}, func(r reply) bool { return r.err != nil }},
		{&Fault{Lines: []string{"bad"}}, func(r reply) bool { return strings.Contains(r.body, "}}\nbad\n{") }},
		{nil, func(r reply) bool { return r.status == 200 && r.err == nil }},
	} {
		fault = tt.fault
		if r := get(t, at+dates, "sa", "pw"); !tt.ok(r) {
			t.Errorf("%+v: %+v", tt.fault, r)
		}
	}
}

func TestProfilesComeInPagesOfASession(t *testing.T) {
	t.Parallel()
	s, at := start(t, Options{PageSize: 2})
	s.SetProfiles(Profile{"a", `{"n":1}`, false}, Profile{"g", `{}`, true}, Profile{"b", `{"n":2}`, false}, Profile{"c", `{"n":3}`, false})
	type page struct {
		Page     int              `json:"page"`
		PageSize int              `json:"page_size"`
		Results  []map[string]any `json:"results"`
		Session  string           `json:"session_id"`
		Status   string           `json:"status"`
		Total    int              `json:"total"`
	}
	read := func(query string) (p page, r reply) {
		r = get(t, at+"/api/query/engage?project_id=7"+query, "sa", "pw")
		if r.status == 200 {
			if err := json.Unmarshal([]byte(r.body), &p); err != nil {
				t.Fatal(err)
			}
		}
		return p, r
	}
	first, _ := read("")
	if first.Page != 0 || first.PageSize != 2 || len(first.Results) != 2 || first.Total != 3 || first.Status != "ok" || first.Session == "" {
		t.Errorf("%+v", first)
	}
	if first.Results[0]["$distinct_id"] != "a" || first.Results[1]["$distinct_id"] != "b" {
		t.Errorf("groups are mixed in: %+v", first.Results)
	}
	s.SetProfiles() // a session keeps its profiles
	if second, _ := read("&page=1&session_id=" + first.Session); len(second.Results) != 1 || second.Page != 1 {
		t.Errorf("%+v", second)
	}
	for _, query := range []string{"&page=1", "&page=1&session_id=other", "&page=x"} {
		if _, r := read(query); r.status != 400 {
			t.Errorf("%s: %+v", query, r)
		}
	}
}
