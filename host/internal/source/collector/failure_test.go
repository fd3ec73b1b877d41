package collector

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// Each request that is refused as a whole is counted with its reason, and
// logged: the first of each reason at once, later ones together.
func TestRefusedRequestsAreCountedAndLogged(t *testing.T) {
	b := &book{}
	o := options(b)
	var log bytes.Buffer
	at := now
	o.Now = func() time.Time { return at }
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	c := newCollector(t, o)
	verb := ev(`,"time":1780315000,"distinct_id":"u","$insert_id":"i"`)
	for _, test := range []struct {
		request func() *http.Request
		fail    error
		want    RequestCount
	}{
		{func() *http.Request { return post("/trak", asJSON, ev("")) }, nil, RequestCount{"other", 404, "unknown_path", 3}},
		{func() *http.Request { return as(post("/track", asJSON, ""), "X", "") }, nil, RequestCount{"track", 200, "", 3}},
		{func() *http.Request { r := post("/track", asJSON, ""); r.Method = http.MethodPut; return r }, nil, RequestCount{"track", 405, "bad_method", 3}},
		{func() *http.Request { return bodied("/track", halting{strings.NewReader("[")}) }, nil, RequestCount{"track", 400, "incomplete_body", 3}},
		{func() *http.Request { return bodied("/track", late{}) }, nil, RequestCount{"track", 408, "slow_body", 3}},
		{func() *http.Request { return post("/track", asJSON, strings.Repeat(" ", 100_001)) }, nil, RequestCount{"track", 413, "body_too_large", 3}},
		{func() *http.Request { return post("/track", asJSON, "["+strings.Repeat("1,", 2000)+"1]") }, nil, RequestCount{"track", 413, "too_many_records", 3}},
		{func() *http.Request { return as(post("/track", asJSON, "[]"), "Content-Encoding", "br") }, nil, RequestCount{"track", 415, "unknown_encoding", 3}},
		{func() *http.Request { return as(post("/track", asJSON, "[]"), "Content-Encoding", "gzip") }, nil, RequestCount{"track", 400, "corrupt_body", 3}},
		{func() *http.Request { return get("/track?callback=1&data=" + b64(ev(""))) }, nil, RequestCount{"track", 400, "bad_callback", 3}},
		{func() *http.Request { return get("/track?redirect=x&data=" + b64(ev(""))) }, nil, RequestCount{"track", 400, "bad_redirect", 3}},
		{func() *http.Request { return user(post("/import", asJSON, "[]"), "nobody", "wrong") }, nil, RequestCount{"import", 401, "invalid_credentials", 3}},
		{func() *http.Request { return user(post("/import", asJSON, "[]"), "ci.service", "ci-secret") }, nil, RequestCount{"import", 400, "no_project_id", 3}},
		{func() *http.Request { return imported("", asJSON, "[") }, nil, RequestCount{"import", 400, "invalid_json", 3}},
		{func() *http.Request { return imported("", asJSON, "["+ev("")+"]") }, nil, RequestCount{"import", 400, "invalid_records", 3}},
		{func() *http.Request { return imported("", asJSON, strings.Replace(verb, `"e"`, `"$merge"`, 1)) }, nil, RequestCount{"import", 400, "identity_verb", 3}},
		{func() *http.Request { return post("/engage", asJSON, op(`,"$set":{}`)) }, wal.ErrFull, RequestCount{"engage", 503, "disk_full", 3}},
		{func() *http.Request { return post("/engage", asJSON, op(`,"$set":{}`)) }, errors.New("no luck"), RequestCount{"engage", 503, "not_stored", 3}},
		{func() *http.Request { return post("/engage", asJSON, op(`,"$set":{}`)) }, wal.ErrTooLarge, RequestCount{"engage", 413, "rows_too_large", 3}},
	} {
		t.Run(test.want.Endpoint+" "+test.want.Reason, func(t *testing.T) {
			b.fail = test.fail
			log.Reset()
			lines := []string{}
			for _, wait := range []time.Duration{0, time.Second, 2 * time.Minute} {
				at = at.Add(wait)
				if w := send(c, test.request()); w.Code != test.want.Status {
					t.Fatalf("%d %s", w.Code, w.Body)
				}
				lines = append(lines, log.String())
				log.Reset()
			}
			found := false
			for _, n := range c.Requests() {
				found = found || n == test.want
			}
			if !found {
				t.Errorf("%+v is not among %+v", test.want, c.Requests())
			}
			for i, requests := range []int{1, 0, 2} {
				want := fmt.Sprintf("endpoint=%s status=%d reason=%s requests=%d ", test.want.Endpoint, test.want.Status, test.want.Reason, requests)
				if said := test.want.Reason != "" && requests > 0; said != (lines[i] != "") || said && !strings.Contains(lines[i], want) {
					t.Errorf("request %d logs %q, want %q", i, lines[i], want)
				}
				if strings.Contains(lines[i], "192.0.2.1") || strings.Contains(lines[i], "secret") || strings.Contains(lines[i], "nobody") {
					t.Errorf("a client is logged: %s", lines[i])
				}
			}
		})
	}
}

// Links are counted when they link something: not when ids are the same, an
// alias is taken, or the project's rules know no such verb.
func TestOnlyLinksWithEffectAreCounted(t *testing.T) {
	event := func(token, name, properties string) string {
		return fmt.Sprintf(`{"event":%q,"properties":{"token":%q,%s}}`, name, token, properties)
	}
	const anonymous = "1f1f2c0e-53a1-4f3b-8a4a-6a0e0f0a2c11"
	for _, test := range []struct {
		name, record string
		links, rows  int
	}{
		{"simplified, both ids", event("shop-token", "e", `"$device_id":"d","$user_id":"u"`), 1, 1},
		{"simplified, a verb", event("shop-token", "$create_alias", `"distinct_id":"u","alias":"x"`), 0, 0},
		{"original, identify", event("news-token", "$identify", `"$identified_id":"u","$anon_id":"`+anonymous+`"`), 1, 1},
		{"original, the same ids", event("news-token", "$identify", `"$identified_id":"u","$anon_id":"u"`), 0, 1},
		{"legacy, alias", event("old-token", "$create_alias", `"distinct_id":"u","alias":"x"`), 1, 1},
		{"legacy, alias that is known", event("old-token", "$create_alias", `"distinct_id":"v","alias":"known"`), 0, 1},
		{"legacy, alias of itself", event("old-token", "$create_alias", `"distinct_id":"u","alias":"u"`), 0, 1},
		{"legacy, identify", event("old-token", "$identify", `"$identified_id":"u","$anon_id":"`+anonymous+`"`), 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &book{}
			o := options(b)
			o.Projects = append([]Project{{ID: 1004, Token: "old-token", Identity: schema.Legacy}}, testProjects...)
			o.Aliases = knownAliases{"1004 known": "u"}
			c := newCollector(t, o)
			says(t, send(c, post("/track", asJSON, test.record)), http.StatusOK, "1")
			links := 0
			for _, n := range c.Counts() {
				if n.Outcome == Links {
					links += int(n.Records)
				}
			}
			if rows := strings.Count(strings.Join(b.taken(), ""), " links "); links != test.links || rows != test.rows {
				t.Errorf("%d links are counted, and %d rows are there; want %d and %d", links, rows, test.links, test.rows)
			}
		})
	}
}
