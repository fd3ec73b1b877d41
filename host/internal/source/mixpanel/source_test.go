package mixpanel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

func TestDaysArePulled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.add([]int{7, 8, 9, 10, 11}, 500)
	want := []string{"2026-06-09 recent", "2026-06-08 recent", "2026-06-10 today"}
	if got := w.pullAll(); !slices.Equal(got, want) {
		t.Errorf("pulled %v, want %v", got, want)
	}
	if len(w.kept.lines) != 1500 || len(w.kept.cursors) != 3 || len(w.spooled()) != 0 {
		t.Errorf("%d lines, %d cursors, files %v", len(w.kept.lines), len(w.kept.cursors), w.spooled())
	}
	w.open()
	if got := w.pullAll(); got != nil {
		t.Errorf("after a restart %v was pulled", got)
	}
	// Tomorrow today's day is pulled whole, and the lookback again.
	w.clock.move(24 * time.Hour)
	want = []string{"2026-06-10 recent", "2026-06-11 today", "2026-06-09 again"}
	if got := w.pullAll(); !slices.Equal(got, want) {
		t.Errorf("a day later %v was pulled, want %v", got, want)
	}
	if len(w.kept.lines) != 2000 {
		t.Errorf("%d lines", len(w.kept.lines))
	}
}

// Wherever a stream is cut, nothing of its day is stored, and the day is pulled
// again.
func TestACutStreamStoresNothing(t *testing.T) {
	t.Parallel()
	for _, end := range []bool{false, true} {
		w := newWorld(t, func(o *mixpanelserver.Options) { o.Export = mixpanelserver.Limits{} })
		w.limits = Limits{}
		w.add([]int{9}, 3000)
		w.open()
		q, _, _ := w.source.Next()
		size, cuts := 0, 0
		w.server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault {
			return &mixpanelserver.Fault{Reset: &size, End: end}
		})
		for ; ; size += 509 {
			err := w.carryOut(q)
			if err == nil && size > 0 {
				break // it was whole
			}
			cuts++
			if k := KindOf(err); k != Truncated && size > 0 {
				t.Errorf("cut at %d: %v", size, err)
			}
			if len(w.kept.lines) > 0 || len(w.kept.cursors) > 0 || len(w.spooled()) > 0 {
				t.Fatalf("cut at %d: %d lines, %d cursors, files %v", size, len(w.kept.lines), len(w.kept.cursors), w.spooled())
			}
		}
		if cuts < 20 || len(w.kept.lines) != 3000 {
			t.Errorf("%d cuts, then %d lines", cuts, len(w.kept.lines))
		}
	}
}

// The end of a stream decides whether its day is whole.
func TestEndsOfStreams(t *testing.T) {
	t.Parallel()
	good := `{"event":"a","properties":{"time":1780963200000,"$insert_id":"1"}}` + "\n"
	tests := []struct {
		name, body, kind string
		say              string
	}{
		{"no events", "", "text/plain", ""},
		{"one event", good, "text/plain", ""},
		{"blank lines at the end", good + "\n \r\n", "text/plain", ""},
		{"blanks after the last newline", good + " \t", "text/plain", ""},
		{"blanks alone", " ", "text/plain", ""},
		{"a bad line in the middle", good + "oops\n" + good, "text/plain", ""},
		{"no newline", strings.TrimSpace(good), "text/plain", "middle of a line"},
		{"half a line", good + good[:20], "text/plain", "middle of a line"},
		{"half a line with a newline", good + good[:20] + "\n", "text/plain", "not JSON"},
		{"two values", good + "{}{}\n", "text/plain", "not JSON"},
		{"no JSON at the end", good + "oops\n", "text/plain", "not JSON"},
		{"a number at the end", good + "17\n", "text/plain", "not JSON"},
		{"the marker", good + "terminated early\n", "text/plain", "gave up"},
		{"the marker in brackets", good + "[terminated early]", "text/plain", "gave up"},
		{"the marker in brackets, on a line", good + "[terminated early]\n", "text/plain", "gave up"},
		{"the marker without newline", good + "terminated early", "text/plain", "gave up"},
		{"the marker alone", "export terminated early", "text/plain", "gave up"},
		{"the marker in the middle", good + "terminated early\n" + good, "text/plain", "gave up"},
		{"an event that speaks of the marker", strings.Replace(good, `"a"`, `"terminated early"`, 1), "text/plain", ""},
		{"an error as JSON", `{"error":"internal"}` + "\n", "text/plain", "ends with an error"},
		{"an error after events", good + `{"error":"internal"}` + "\n", "text/plain", "ends with an error"},
		{"an error that begins with its request", `{"request": "/api/2.0/export", "error": "internal"}` + "\n", "text/plain", "ends with an error"},
		{"an event that speaks of an error", `{"event":"a","properties":{"time":1780963200000,"error":"e"},"error":null}` + "\n", "text/plain", ""},
		{"a page as text", "<html>\n<body>busy</body>\n</html>\n", "text/plain", "HTML"},
		{"a page on one line", "<html>busy</html>", "text/plain", "HTML"},
		{"a page", "<html>busy</html>", "text/html; charset=utf-8", "HTML"},
		{"a text", "rate limit reached", "text/plain", "middle of a line"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault {
				return &mixpanelserver.Fault{Status: http.StatusOK, ContentType: tt.kind, Body: tt.body}
			})
			_, err := w.pull()
			if tt.say == "" {
				if err != nil || len(w.kept.cursors) == 0 {
					t.Errorf("%v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("%v does not say %q", err, tt.say)
			}
			if len(w.kept.cursors) > 0 || len(w.kept.lines) > 0 || len(w.spooled()) > 0 || NeedsPerson(err) {
				t.Errorf("%v; it stored %v, files %v", err, w.kept, w.spooled())
			}
		})
	}
}

func TestRefusalsAreToldApart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		header http.Header
		body   string
		kind   Kind
		say    string
		person bool
	}{
		{401, nil, "Unable to authenticate request", Unauthorized, "check the service account", true},
		{400, nil, "Unable to authenticate request", Unauthorized, "check the service account", true},
		{403, nil, `{"error":"no access"}`, Unauthorized, "no access", true},
		{402, nil, "upgrade", NoPlan, "plan", true},
		{429, nil, `{"error":"too many export requests in progress for this project"}`, TooMany, "too many export requests in progress", false},
		{400, nil, "to_date cannot be later than today", BadRequest, "clock", true},
		{429, http.Header{"Content-Encoding": {"gzip"}}, "", TooMany, "says nothing more", false},
		{500, nil, "", Unavailable, "answered 500", false},
		{503, nil, "<html>busy", Unavailable, "busy", false},
		{301, http.Header{"Location": {"https://eu.example.com/api"}}, "", Elsewhere, "https://eu.example.com; set region", true},
		{400, nil, `{"request":"/api/2.0/export","error":"request failed with error: invalid project id for cluster."}`, Elsewhere, "set region", true},
		{400, nil, "your secret is pw, is it?", BadRequest, "***", true},
		{400, nil, "Authorization: Basic c2E6cHc=", BadRequest, "Basic ***", true},
		{200, nil, "{}\nterminated early for pw\n", Truncated, "for ***", false},
	}
	for _, tt := range tests {
		w := newWorld(t, nil)
		w.server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault {
			return &mixpanelserver.Fault{Status: tt.status, Header: tt.header, Body: tt.body}
		})
		_, err := w.pull()
		if KindOf(err) != tt.kind || NeedsPerson(err) != tt.person || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%d %s: %v", tt.status, tt.body, err)
		}
	}
	w := newWorld(t, nil)
	w.secret = "wrong-secret"
	w.open()
	if _, err := w.pull(); KindOf(err) != Unauthorized || strings.Contains(err.Error(), w.secret) {
		t.Errorf("%v", err)
	}
	w = newWorld(t, nil)
	w.address = "http://127.0.0.1:1"
	w.open()
	if _, err := w.pull(); KindOf(err) != Unavailable || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

// A server that sends nothing for a while is given up.
func TestAStalledStreamIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.add([]int{9}, 300)
	w.stall = 100 * time.Millisecond
	w.open()
	never := make(chan struct{})
	w.server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault { return &mixpanelserver.Fault{Stall: never} })
	if _, err := w.pull(); KindOf(err) != Truncated || !strings.Contains(err.Error(), "sent nothing for 100ms") {
		t.Errorf("%v", err)
	}
	if len(w.kept.lines) > 0 || len(w.spooled()) > 0 {
		t.Errorf("%d lines, files %v", len(w.kept.lines), w.spooled())
	}
}

// A query for several days that fails is split, and the days that failed do not
// keep the others waiting.
func TestADayThatFailsIsPulledAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.from = "2026-05-01"
	w.add([]int{1, 2, 3, 9, 10}, 50)
	w.open()
	bad := "2026-05-20"
	w.server.Break(func(r mixpanelserver.Request) *mixpanelserver.Fault {
		if r.From <= bad && r.To >= bad {
			return &mixpanelserver.Fault{Marker: "terminated early"}
		}
		return nil
	})
	w.server.Add(mixpanelserver.Event{Name: "x", Time: time.Date(2026, 5, 20, 1, 0, 0, 0, time.UTC).UnixMilli()}, mixpanelserver.Event{Name: "x", Time: time.Date(2026, 5, 20, 1, 0, 0, 0, time.UTC).UnixMilli()})
	failed := 0
	for range 60 {
		q, at, ok := w.source.Next()
		if !ok {
			break
		}
		if at.After(w.clock.now()) {
			w.clock.move(at.Sub(w.clock.now()))
		}
		if err := w.carryOut(q); err != nil {
			failed++
		}
		if w.source.Status().Done == 39 {
			break
		}
	}
	if s := w.source.Status(); s.Done != 39 || w.kept.cursors[bad] != nil || failed < 2 {
		t.Errorf("%d days are done, %d queries failed", s.Done, failed)
	}
	w.server.Break(nil)
	w.clock.move(2 * time.Hour)
	w.pullAll()
	if s := w.source.Status(); s.Done != 40 || s.Err != nil {
		t.Errorf("%d days are done: %v", s.Done, s.Err)
	}
}

// A download that an earlier process left whole is stored without another query; an
// unfinished download is removed.
func TestDownloadsSurviveTheProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.add([]int{8, 9, 10}, 10)
	w.kept.fail = errors.New("the process dies")
	if _, err := w.pull(); !errors.Is(err, w.kept.fail) || len(w.spooled()) != 1 {
		t.Fatalf("%v, files %v", err, w.spooled())
	}
	if err := replaceFile(w.source.o.Dir+"/2026-06-08_2026-06-08_1.part", []byte("half")); err != nil {
		t.Fatal(err)
	}
	w.kept.fail = nil
	asked := len(w.server.Requests())
	w.open()
	if len(w.kept.lines) != 10 || w.kept.cursors["2026-06-09"] == nil || len(w.spooled()) != 0 || len(w.server.Requests()) != asked {
		t.Errorf("%d lines, cursors %s, files %v, %d queries", len(w.kept.lines), w.kept.cursors, w.spooled(), len(w.server.Requests())-asked)
	}
	if want := []string{"2026-06-08 recent", "2026-06-10 today"}; !slices.Equal(w.pullAll(), want) {
		t.Errorf("the other days were not pulled")
	}
}

// A download that could not be stored is stored later without another query.
func TestADownloadIsStoredLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.add([]int{8, 9, 10}, 10)
	w.kept.fail = errors.New("the disk is full")
	if _, err := w.pull(); !errors.Is(err, w.kept.fail) || !w.source.Failing() {
		t.Fatal(err)
	}
	w.kept.fail = nil
	if err := w.source.Resume(t.Context(), w.kept.store); err != nil {
		t.Fatal(err)
	}
	if len(w.kept.lines) != 10 || len(w.spooled()) != 0 || len(w.server.Requests()) != 1 || w.source.Failing() {
		t.Errorf("%d lines, files %v, %d queries", len(w.kept.lines), w.spooled(), len(w.server.Requests()))
	}
}

// A seal that moved the cursors, and was reported as failed, stops nothing.
func TestCursorsThatMovedDespiteAnErrorAreReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.add([]int{8, 9, 10}, 10)
	cancelled := errors.New("cancelled while it waited")
	q, _, _ := w.source.Next()
	err := w.source.fly(t.Context(), w.source.begin(q), func(ctx context.Context, d *Download, p ingest.Source) error {
		return errors.Join(w.kept.store(ctx, d, p), cancelled)
	})
	if !errors.Is(err, cancelled) || w.kept.cursors["2026-06-09"] == nil {
		t.Fatalf("%v, cursors %s", err, w.kept.cursors)
	}
	if err := w.source.Resume(t.Context(), w.kept.store); err != nil || len(w.spooled()) != 0 {
		t.Fatalf("%v, files %v", err, w.spooled())
	}
	if want := []string{"2026-06-08 recent", "2026-06-10 today"}; !slices.Equal(w.pullAll(), want) {
		t.Errorf("the other days were not pulled")
	}
	w.server.SetProfiles(mixpanelserver.Profile{DistinctID: "u1", Properties: "{}"})
	replace := func(fail error) error {
		return w.source.ReadProfiles(t.Context(), nil, func(_ context.Context, _ *ProfileSet, m journal.CursorMove) error {
			return errors.Join(w.kept.move(m), fail)
		})
	}
	if err := replace(cancelled); !errors.Is(err, cancelled) {
		t.Fatal(err)
	}
	if err := replace(nil); err != nil {
		t.Error(err)
	}
}

// A download that the disk damaged is pulled again.
func TestADamagedDownloadIsPulledAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.add([]int{8, 9, 10}, 10)
	w.kept.fail = errors.New("the process dies")
	if _, err := w.pull(); err == nil {
		t.Fatal("it did not die")
	}
	if err := replaceFile(w.source.o.Dir+"/"+w.spooled()[0], []byte("\xff\x06\x00\x00S2sTwO\x00\x10\x00\x00damaged")); err != nil {
		t.Fatal(err)
	}
	w.kept.fail = nil
	w.open()
	if len(w.spooled()) != 0 || len(w.kept.cursors) != 0 {
		t.Errorf("files %v, cursors %s", w.spooled(), w.kept.cursors)
	}
	w.pullAll()
	if len(w.kept.lines) != 30 {
		t.Errorf("%d lines", len(w.kept.lines))
	}
}

// A line that is too long is refused, and the lines around it are kept.
func TestALongLineIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.add([]int{9}, 3)
	long := `{"event":"` + strings.Repeat("x", 3*schema.MaxRecord) + `"}`
	w.server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault {
		return &mixpanelserver.Fault{Lines: []string{long, "short"}}
	})
	if _, err := w.pull(); err != nil {
		t.Fatal(err)
	}
	if len(w.kept.refused) != 1 || w.kept.refused[0].Reason != schema.TooLong || len(w.kept.lines) != 4 {
		t.Errorf("%d refused, %d lines", len(w.kept.refused), len(w.kept.lines))
	}
}

func TestCheckCountsAndStoresNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.add([]int{8, 9}, 10)
	from, to := w.source.o.From, w.source.o.From+1
	counts, err := w.source.Check(t.Context(), from, to, schema.Times{})
	if err != nil || len(counts) != 2 || counts[0].Events != 10 || counts[1].Events != 10 || counts[0].Day != "2026-06-08" {
		t.Errorf("%v (%v)", counts, err)
	}
	if len(w.kept.lines) > 0 || len(w.spooled()) > 0 {
		t.Errorf("it stored %d lines, files %v", len(w.kept.lines), w.spooled())
	}
}

// Dates and times of a project that was created before 2023 are those of its zone.
func TestDaysOfAnOlderProject(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *mixpanelserver.Options) { o.Zone = zone })
	w.zone = zone
	w.clock.at = time.Date(2026, 6, 10, 2, 0, 0, 0, time.UTC) // 9 June, 22:00 there
	w.add([]int{8, 9}, 10)
	w.open()
	if got, want := w.pullAll(), []string{"2026-06-08 recent", "2026-06-09 today"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	counts, err := w.source.Check(t.Context(), w.source.o.From, w.source.o.From, schema.Times{Zone: zone, Local: true})
	if err != nil || counts[0].Events != 10 {
		t.Errorf("%v (%v)", counts, err)
	}
}

func TestProfilesAreReadWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var all []mixpanelserver.Profile
	for n := range 10 {
		all = append(all, mixpanelserver.Profile{DistinctID: fmt.Sprint("u", n), Properties: fmt.Sprintf("{\"n\": %d,\n\"s\":\"a b\"}", n)})
	}
	w.server.SetProfiles(append(all, mixpanelserver.Profile{DistinctID: "g", Properties: "{}", Group: true})...)
	read := func() (map[string]bool, error) {
		found := map[string]bool{}
		var told [2]int64
		err := w.source.ReadProfiles(t.Context(), func(n, total int64) { told = [2]int64{n, total} }, func(_ ctx, set *ProfileSet, m journal.CursorMove) error {
			if told != [2]int64{set.Total, set.Total} || m.Position != profilesPosition {
				t.Errorf("told %v of %d", told, set.Total)
			}
			return set.Each(func(line []byte) error {
				found[string(line)] = true
				return nil
			})
		})
		return found, err
	}
	found, err := read()
	if err != nil || len(found) != 10 || !found[`{"$distinct_id":"u3","$properties":{"n":3,"s":"a b"}}`] {
		t.Errorf("%v (%v)", slices.Sorted(maps.Keys(found)), err)
	}
	if at := w.source.ProfilesDue(time.Hour); !at.Equal(w.clock.now().Add(time.Hour)) {
		t.Errorf("they are due at %s", at)
	}
	// A page that fails is asked for again, in its session.
	failed := 0
	w.server.Break(func(r mixpanelserver.Request) *mixpanelserver.Fault {
		if r.Page == 2 && failed < 3 {
			failed++
			w.server.SetProfiles()
			return []*mixpanelserver.Fault{{Status: 503}, {Status: 429, Header: http.Header{"Retry-After": {"90"}}}, {Body: "<html>", ContentType: "text/html"}}[failed-1]
		}
		return nil
	})
	w.server.SetProfiles(all...)
	if found, err := read(); err != nil || len(found) != 10 || failed != 3 || w.clock.waited < 90*time.Second {
		t.Errorf("%d profiles (%v), waited %s", len(found), err, w.clock.waited)
	}
	w.server.SetProfiles(all[:3]...) // a full page, and an empty one
	if found, err := read(); err != nil || len(found) != 3 {
		t.Errorf("%d profiles (%v)", len(found), err)
	}
	w.server.SetProfiles()
	if found, err := read(); err != nil || len(found) != 0 {
		t.Errorf("%d profiles (%v)", len(found), err)
	}
}

// A read that does not come to its end, or whose total disagrees, replaces nothing.
func TestProfilesThatAreNotWholeReplaceNothing(t *testing.T) {
	t.Parallel()
	wrong, ten := 11, 10
	for name, fault := range map[string]*mixpanelserver.Fault{
		"total":    {Total: &wrong},
		"reset":    {Reset: &ten},
		"html":     {Body: "<html>", ContentType: "text/html"},
		"error":    {Body: `{"status":"error","error":"no, pw"}`, ContentType: "application/json"},
		"page":     {Body: `{"status":"ok","page":7,"page_size":3,"results":[],"session_id":"s","total":0}`},
		"total 2":  {Body: `{"status":"ok","page":0,"page_size":3,"results":[],"session_id":"s"}`},
		"text":     {Body: `{"status":"ok","page":0,"page_size":3,"results":["x"],"session_id":"s","total":1}`},
		"plan":     {Status: 402},
		"forever":  {Status: 429},
		"requests": {Status: 400, Body: `{"error":"bad"}`},
	} {
		w := newWorld(t, nil)
		w.server.SetProfiles(mixpanelserver.Profile{DistinctID: "u", Properties: "{}"})
		w.server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault { return fault })
		err := w.source.ReadProfiles(t.Context(), nil, func(ctx, *ProfileSet, journal.CursorMove) error {
			t.Errorf("%s: the profiles were replaced", name)
			return nil
		})
		if err == nil || KindOf(err) == 0 || len(w.spooled()) > 0 || !w.source.ProfilesDue(time.Hour).IsZero() {
			t.Errorf("%s: %v, files %v", name, err, w.spooled())
		}
		if name == "error" && !strings.Contains(err.Error(), "ok: no, ***") {
			t.Errorf("%v", err)
		}
	}
}

// A limit that is never lifted is asked about less and less often.
func TestALimitThatIsNeverLifted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault { return &mixpanelserver.Fault{Status: 429} })
	began := w.clock.now()
	for range 30 {
		if _, err := w.pull(); KindOf(err) != TooMany {
			t.Fatal(err)
		}
	}
	if took := w.clock.now().Sub(began); took < 22*time.Hour || took > 30*time.Hour {
		t.Errorf("30 queries took %s", took)
	}
	w.server.Break(nil)
	w.pullAll()
	if s := w.source.Status(); s.Err != nil || s.Forecast.Days != 0 {
		t.Errorf("%+v", s)
	}
}

type ctx = context.Context
