package collector

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the golden file should hold")

const (
	asJSON  = "application/json"
	asLines = "application/x-ndjson"
	asForm  = "application/x-www-form-urlencoded"
	asText  = "text/plain;charset=UTF-8"
)

// ev is an event of the shop with some more properties.
func ev(more string) string {
	return `{"event":"e","properties":{"token":"shop-token"` + more + `}}`
}

// whole is an event that /import takes.
func whole(id string) string {
	return ev(`,"time":1780315000,"distinct_id":"u","$insert_id":"` + id + `"`)
}

// op is an operation of the shop.
func op(more string) string { return `{"$token":"shop-token","$distinct_id":"u"` + more + `}` }

func group(more string) string {
	return `{"$token":"shop-token","$group_key":"company","$group_id":"acme"` + more + `}`
}

// imported is a request to /import with a secret.
func imported(query, contentType, body string) *http.Request {
	r := post("/import"+query, contentType, body)
	r.SetBasicAuth("api-secret", "")
	if !strings.Contains(query, "project_id") {
		r.URL.RawQuery = strings.TrimPrefix(r.URL.RawQuery+"&project_id=1001", "&")
	}
	return r
}

// as sets a header.
func as(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}

func user(r *http.Request, name, password string) *http.Request {
	r.SetBasicAuth(name, password)
	return r
}

func packed(text string, level int) string {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, level)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

func deflated(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// halting is a body that breaks off.
type halting struct{ io.Reader }

func (h halting) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// late is a body that does not come in time.
type late struct{}

func (late) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func bodied(target string, body io.Reader) *http.Request {
	return httptest.NewRequest(http.MethodPost, "http://in.example.com"+target, body)
}

// answers are requests, good and bad, whose answers are in
// testdata/answers.txt.
var answers = []struct {
	name    string
	request func() *http.Request
}{
	// Requests of clients.
	{"node, single", func() *http.Request { return get("/track?ip=0&verbose=0&data=" + b64(ev(""))) }},
	{"node, batch: base64 with pluses that arrive as spaces", func() *http.Request {
		return post("/track", asForm, "ip=0&verbose=0&data="+strings.ReplaceAll(b64("["+ev(`,"x":"ûûû>>>???"`)+"]"), "+", " "))
	}},
	{"python", func() *http.Request {
		return post("/track", asForm, url.Values{"data": {ev(`,"time":1780315000.5`)}, "verbose": {"1"}, "ip": {"0"}}.Encode())
	}},
	{"python, import with its key in the form", func() *http.Request {
		return post("/import", asForm, url.Values{"data": {whole("i")}, "verbose": {"1"}, "ip": {"0"}, "api_key": {"api-secret"}, "project_id": {"1001"}}.Encode())
	}},
	{"python, import with a token as key", func() *http.Request {
		return post("/import", asForm, url.Values{"data": {whole("i")}, "verbose": {"1"}, "api_key": {"shop-token"}}.Encode())
	}},
	{"go, track", func() *http.Request {
		return as(post("/track?verbose=1", asJSON, "["+ev("")+"]"), "Accept", "text/plain")
	}},
	{"go, import", func() *http.Request {
		return user(as(post("/import?strict=1&verbose=1&project_id=1001", asJSON, packed("["+whole("i")+"]", 6)), "Content-Encoding", "gzip"), "ci.service", "ci-secret")
	}},
	{"go, merge", func() *http.Request {
		return user(post("/import", asForm, "data="+url.QueryEscape(`{"event":"$merge","properties":{"$distinct_ids":["a","b"],"token":"news-token","time":1780315000}}`)), "news-token", "")
	}},
	{"go, people", func() *http.Request {
		return post("/engage", asJSON, "["+op(`,"$delete":"null","$ignore_alias":"true"`)+"]")
	}},
	{"js, own host", func() *http.Request {
		return post("/track/?verbose=1&ip=1&_=1780315000000", asForm, "data="+url.QueryEscape(b64("["+ev("")+"]")))
	}},
	{"js, beacon", func() *http.Request {
		return post("/track/?verbose=1", asText, "data="+url.QueryEscape("["+ev("")+"]"))
	}},
	{"js, by script", func() *http.Request {
		return get("/track/?ip=1&verbose=1&callback=mixpanel._jsc%5B12345%5D&data=" + url.QueryEscape(b64(ev(""))))
	}},
	{"swift", func() *http.Request {
		return as(post("/track/?ip=1", asJSON, packed(`[{"event":"e","properties":{"token":"shop-token"},"$mp_metadata":{"$mp_event_id":"0123456789abcdef"}}]`, 1)), "Content-Encoding", "gzip")
	}},
	{"android, gzipped form", func() *http.Request {
		return as(post("/track", asForm, packed("data="+url.QueryEscape(b64("["+ev("")+"]")), 6)), "Content-Encoding", "gzip")
	}},
	{"java, import", func() *http.Request {
		return user(post("/import?strict=0", asJSON, "["+whole("i")+"]"), "shop-token", "")
	}},
	{"import, lines", func() *http.Request { return imported("?strict=1", asLines, whole("i-1")+"\n\n"+whole("i-2")+"\n") }},
	{"import, default is strict", func() *http.Request { return imported("", asJSON, "["+ev("")+"]") }},
	{"import, credentials that are not encoded", func() *http.Request {
		return as(post("/import?project_id=1001", asJSON, "["+whole("i")+"]"), "Authorization", "Basic ci.service:ci-secret")
	}},
	{"deflate", func() *http.Request {
		return as(post("/track", asJSON, deflated(ev(""))), "Content-Encoding", "deflate")
	}},
	{"several records without array", func() *http.Request { return post("/track?verbose=1", asJSON, ev("")+" "+ev("")) }},
	{"a byte order mark", func() *http.Request { return post("/track", asJSON, "\ufeff"+ev("")) }},
	{"form with JSON in its type only", func() *http.Request { return post("/track", asForm, ev("")) }},
	{"base64 of URLs without padding", func() *http.Request {
		return get("/track?data=" + base64.RawURLEncoding.EncodeToString([]byte(ev(`,"x":"ûûû>>>???"`))))
	}},
	{"image", func() *http.Request { return get("/track?img=1&data=" + b64(ev(""))) }},
	{"redirect", func() *http.Request {
		return get("/track?redirect=" + url.QueryEscape("https://shop.example.com:443/thanks?a=b") + "&data=" + b64(ev("")))
	}},
	{"ignored", func() *http.Request { return post("/track", asJSON, ev(`,"$ignore":true`)) }},

	// Bodies that are none.
	{"track, no data", func() *http.Request { return get("/track") }},
	{"track, no data, verbose", func() *http.Request { return get("/track?verbose=1") }},
	{"track, empty body", func() *http.Request { return post("/track?verbose=1", asJSON, "") }},
	{"track, empty array", func() *http.Request { return post("/track?verbose=1", asJSON, "[]") }},
	{"track, JSON that ends early", func() *http.Request { return post("/track?verbose=1", asJSON, "["+ev("")+","+ev("")[:20]) }},
	{"track, something behind the array", func() *http.Request { return post("/track?verbose=1", asJSON, "["+ev("")+"] x") }},
	{"track, data that is not base64", func() *http.Request { return get("/track?verbose=1&data=%21%21") }},
	{"track, base64 of something else", func() *http.Request { return get("/track?verbose=1&data=" + b64("hello")) }},
	{"track, a broken escape", func() *http.Request { return post("/track?verbose=1", asJSON, ev(`,"x":"\q"`)) }},
	{"track, a control character", func() *http.Request { return post("/track?verbose=1", asJSON, ev(",\"x\":\"\x01\"")) }},
	{"track, not UTF-8", func() *http.Request { return post("/track?verbose=1", asJSON, ev(",\"x\":\"\xff\"")) }},
	{"track, records that are no objects", func() *http.Request { return post("/track?verbose=1", asJSON, `[1,"a",null,[]]`) }},
	{"track, one of two", func() *http.Request { return post("/track?verbose=1", asJSON, "[1,"+ev("")+"]") }},
	{"track, invalid gzip", func() *http.Request { return as(post("/track", asJSON, ev("")), "Content-Encoding", "gzip") }},
	{"track, gzip that ends early", func() *http.Request {
		return as(post("/track", asJSON, packed(ev(""), 6)[:30]), "Content-Encoding", "gzip")
	}},
	{"track, invalid deflate", func() *http.Request {
		return as(post("/track", asJSON, "\xff\xff\xff\xff"), "Content-Encoding", "deflate")
	}},
	{"track, an encoding that is unknown", func() *http.Request { return as(post("/track", asJSON, ev("")), "Content-Encoding", "br") }},
	{"track, too long", func() *http.Request { return post("/track", asJSON, strings.Repeat(" ", 100_001)) }},
	{"track, too long and not said", func() *http.Request {
		return bodied("/track", io.MultiReader(strings.NewReader(strings.Repeat(" ", 100_001))))
	}},
	{"track, too long when unpacked", func() *http.Request {
		return as(post("/track", asJSON, packed(strings.Repeat(" ", 1_000_000), 9)), "Content-Encoding", "gzip")
	}},
	{"track, a body that breaks off", func() *http.Request { return bodied("/track", halting{strings.NewReader(ev(""))}) }},
	{"track, a body that comes too slowly", func() *http.Request { return bodied("/track", late{}) }},
	{"track, too many", func() *http.Request { return post("/track", asJSON, "["+strings.Repeat("{},", MaxRecords)+"{}]") }},
	{"import, JSON that ends early", func() *http.Request { return imported("", asJSON, "["+whole("i")) }},
	{"import, empty", func() *http.Request { return imported("", asJSON, "") }},
	{"import, empty array", func() *http.Request { return imported("", asJSON, "[]") }},
	{"import, too long", func() *http.Request { return imported("", asJSON, strings.Repeat(" ", 100_001)) }},
	{"import, too many", func() *http.Request { return imported("", asJSON, "["+strings.Repeat("{},", MaxRecords)+"{}]") }},
	{"import, lines with an invalid one", func() *http.Request {
		return imported("", asLines, whole("i-1")+"\nnot JSON\n"+whole("i-3"))
	}},
	{"import, a form that is not base64", func() *http.Request { return imported("", asForm, "data=!!") }},

	// Credentials of /import.
	{"import, no credentials", func() *http.Request { return post("/import", asJSON, "["+whole("i")+"]") }},
	{"import, a secret that is wrong", func() *http.Request { return user(post("/import", asJSON, "["+whole("i")+"]"), "wrong", "") }},
	{"import, an account that is wrong", func() *http.Request {
		return user(post("/import?project_id=1001", asJSON, "["+whole("i")+"]"), "ci.service", "wrong")
	}},
	{"import, an account without project", func() *http.Request {
		return user(post("/import", asJSON, "["+whole("i")+"]"), "ci.service", "ci-secret")
	}},
	{"import, a project that is unknown", func() *http.Request {
		return user(post("/import?project_id=7", asJSON, "["+whole("i")+"]"), "ci.service", "ci-secret")
	}},
	{"import, a token of another project", func() *http.Request {
		return user(post("/import?project_id=1002", asJSON, "["+whole("i")+"]"), "shop-token", "")
	}},
	{"import, a scheme that is unknown", func() *http.Request {
		return as(post("/import", asJSON, "["+whole("i")+"]"), "Authorization", "Bearer x")
	}},
	{"import, a secret for several projects", func() *http.Request {
		r := post("/import", asJSON, "["+whole("i-1")+","+strings.ReplaceAll(whole("i-2"), "shop-", "no-")+","+strings.ReplaceAll(whole("i-3"), `"token":"shop-token",`, "")+"]")
		return user(r, "api-secret", "")
	}},

	// Events that are refused.
	{"import, no event name", func() *http.Request {
		return imported("", asJSON, `[{"properties":{"time":1780315000,"distinct_id":"u","$insert_id":"i-1"}}]`)
	}},
	{"import, a blank event name", func() *http.Request { return imported("", asJSON, `[{"event":"  ","properties":{}}]`) }},
	{"import, no properties", func() *http.Request { return imported("", asJSON, `[{"event":"e"}]`) }},
	{"import, no time", func() *http.Request { return imported("", asJSON, "["+ev(`,"distinct_id":"u","$insert_id":"i"`)+"]") }},
	{"import, an invalid time", func() *http.Request {
		return imported("", asJSON, "["+ev(`,"time":"yesterday","distinct_id":"u","$insert_id":"i"`)+"]")
	}},
	{"import, before 1971", func() *http.Request {
		return imported("", asJSON, "["+ev(`,"time":1,"distinct_id":"u","$insert_id":"i"`)+"]")
	}},
	{"import, ahead", func() *http.Request {
		return imported("", asJSON, "["+ev(`,"time":1780322400,"distinct_id":"u","$insert_id":"i"`)+"]")
	}},
	{"import, milliseconds", func() *http.Request {
		return imported("", asJSON, "["+ev(`,"time":1780315000123,"distinct_id":"u","$insert_id":"i"`)+"]")
	}},
	{"import, no distinct_id", func() *http.Request { return imported("", asJSON, "["+ev(`,"time":1780315000,"$insert_id":"i"`)+"]") }},
	{"import, device instead of distinct_id", func() *http.Request {
		return imported("", asJSON, "["+ev(`,"time":1780315000,"$insert_id":"i","$device_id":"d"`)+"]")
	}},
	{"import, an id that is sent by mistake", func() *http.Request {
		return imported("", asJSON, "["+ev(`,"time":1780315000,"$insert_id":"i","distinct_id":"Anonymous"`)+"]")
	}},
	{"import, no insert id", func() *http.Request { return imported("", asJSON, "["+ev(`,"time":1780315000,"distinct_id":"u"`)+"]") }},
	{"import, an insert id with other characters", func() *http.Request { return imported("", asJSON, "["+whole("i_1")+"]") }},
	{"import, an insert id that is too long", func() *http.Request { return imported("", asJSON, "["+whole(strings.Repeat("i", 37))+"]") }},
	{"import, not UTF-8", func() *http.Request {
		return imported("", asJSON, "["+ev(",\"time\":1780315000,\"distinct_id\":\"u\",\"$insert_id\":\"i\",\"utm_source\":\"\xff\"")+"]")
	}},
	{"import, too many properties", func() *http.Request {
		var b strings.Builder
		for i := range 255 {
			fmt.Fprintf(&b, `,"p%d":1`, i)
		}
		return imported("", asJSON, "["+ev(b.String())+"]")
	}},
	{"import, too deep", func() *http.Request { return imported("", asJSON, "["+ev(`,"o":{"a":{"b":{"c":{}}}}`)+"]") }},
	{"import, a list that is too long", func() *http.Request { return imported("", asJSON, "["+ev(`,"l":[`+strings.Repeat("1,", 254)+`1]`)+"]") }},
	{"import, an object that is too long", func() *http.Request {
		return imported("", asJSON, "["+ev(`,"o":["`+strings.Repeat("x", 8192)+`"]`)+"]")
	}},
	{"import, some of four", func() *http.Request {
		return imported("?strict=1", asJSON, "["+whole("i-1")+","+ev("")+","+whole("i-3")+",7]")
	}},
	{"import, verbs in a simplified project", func() *http.Request {
		return imported("?strict=1", asJSON, "["+whole("i-1")+`,{"event":"$identify","properties":{"token":"shop-token"}},{"event":"$merge","properties":{"token":"shop-token"}}]`)
	}},
	{"import, verbs in a form", func() *http.Request {
		return imported("", asForm, "verbose=1&data="+url.QueryEscape(`{"event":"$merge","properties":{"token":"shop-token"}}`))
	}},
	{"import, not strict", func() *http.Request {
		return imported("?strict=0", asJSON, "["+ev("")+","+ev(`,"time":1780315000`)+"]")
	}},
	{"import, not strict and verbose", func() *http.Request { return imported("?strict=0&verbose=1", asJSON, "["+ev("")+"]") }},
	{"import, not strict and none", func() *http.Request { return imported("?strict=0", asJSON, "["+ev("")+"]") }},
	{"track, no token", func() *http.Request { return post("/track?verbose=1", asJSON, `{"event":"e","properties":{}}`) }},
	{"track, an unknown token", func() *http.Request {
		return post("/track?verbose=1", asJSON, `{"event":"e","properties":{"token":"no-token"}}`)
	}},
	{"track, a token that is not a string", func() *http.Request {
		return post("/track?verbose=1", asJSON, `{"event":"e","properties":{"token":{}}}`)
	}},
	{"track, six days ago", func() *http.Request { return post("/track?verbose=1", asJSON, ev(`,"time":1779796000`)) }},
	{"track, ahead becomes now", func() *http.Request { return post("/track?verbose=1", asJSON, ev(`,"time":1980315000`)) }},
	{"track, verbs in a simplified project", func() *http.Request {
		return post("/track?verbose=1", asJSON, `{"event":"$create_alias","properties":{"token":"shop-token"}}`)
	}},

	// Profiles and groups.
	{"engage, all operations", func() *http.Request {
		return post("/engage?verbose=1", asJSON, "["+strings.Join([]string{
			op(`,"$set":{"a":1}`), op(`,"$set_once":{"a":1}`), op(`,"$add":{"a":1}`), op(`,"$append":{"a":1}`), op(`,"$union":{"a":[1]}`),
			op(`,"$remove":{"a":1}`), op(`,"$unset":["a"]`), op(`,"$delete":""`)}, ",")+"]")
	}},
	{"engage, by form", func() *http.Request {
		return post("/engage/", asForm, "data="+url.QueryEscape(b64("["+op(`,"$set":{"a":1}`)+"]")))
	}},
	{"engage, no operation", func() *http.Request { return post("/engage?verbose=1", asJSON, op("")) }},
	{"engage, no id", func() *http.Request { return post("/engage?verbose=1", asJSON, `{"$token":"shop-token","$set":{}}`) }},
	{"engage, an id that is sent by mistake", func() *http.Request {
		return post("/engage?verbose=1", asJSON, `{"$token":"shop-token","$distinct_id":"undefined","$set":{}}`)
	}},
	{"engage, no token", func() *http.Request { return post("/engage?verbose=1", asJSON, `{"$distinct_id":"u","$set":{}}`) }},
	{"engage, an unknown token", func() *http.Request { return post("/engage", asJSON, `{"$token":"no","$distinct_id":"u","$set":{}}`) }},
	{"engage, $set of no object", func() *http.Request { return post("/engage?verbose=1", asJSON, op(`,"$set":[1]`)) }},
	{"engage, $add of a text", func() *http.Request { return post("/engage?verbose=1", asJSON, op(`,"$add":{"a":"1"}`)) }},
	{"engage, $union of no list", func() *http.Request { return post("/engage?verbose=1", asJSON, op(`,"$union":{"a":1}`)) }},
	{"engage, $remove of a list", func() *http.Request { return post("/engage?verbose=1", asJSON, op(`,"$remove":{"a":[1]}`)) }},
	{"engage, $unset of an object", func() *http.Request { return post("/engage?verbose=1", asJSON, op(`,"$unset":{"a":1}`)) }},
	{"engage, one wrong of two in a record", func() *http.Request { return post("/engage", asJSON, op(`,"$set":{"a":1},"$add":{"b":""}`)) }},
	{"engage, profiles that are somebody else's", func() *http.Request {
		return post("/engage?verbose=1", asJSON, `{"$token":"wiki-token","$distinct_id":"u","$set":{}}`)
	}},
	{"groups", func() *http.Request { return post("/groups/?verbose=1", asJSON, group(`,"$set":{"a":1}`)) }},
	{"groups of a project whose profiles are somebody else's", func() *http.Request {
		return post("/groups", asJSON, strings.ReplaceAll(group(`,"$set":{}`), "shop", "wiki"))
	}},
	{"groups, no key", func() *http.Request {
		return post("/groups?verbose=1", asJSON, `{"$token":"shop-token","$group_id":"a","$set":{}}`)
	}},
	{"groups, no id", func() *http.Request {
		return post("/groups?verbose=1", asJSON, `{"$token":"shop-token","$group_key":"k","$set":{}}`)
	}},
	{"groups, no operation", func() *http.Request { return post("/groups?verbose=1", asJSON, group("")) }},

	// Answers that lead elsewhere.
	{"callback with a script", func() *http.Request { return get("/track?callback=alert(1)//&data=" + b64(ev(""))) }},
	{"callback that is too long", func() *http.Request {
		return get("/track?callback=" + strings.Repeat("a", 129) + "&data=" + b64(ev("")))
	}},
	{"callback", func() *http.Request { return get("/track?callback=a.b&data=" + b64(ev(""))) }},
	{"redirect elsewhere", func() *http.Request { return get("/track?redirect=https://evil.example.com/&data=" + b64(ev(""))) }},
	{"redirect to what looks alike", func() *http.Request {
		return get("/track?redirect=https://shop.example.com@evil.example.com/&data=" + b64(ev("")))
	}},
	{"redirect to a backslash", func() *http.Request { return get(`/track?redirect=https:%5C%5Cshop.example.com&data=` + b64(ev(""))) }},
	{"redirect without scheme", func() *http.Request { return get("/track?redirect=//shop.example.com/&data=" + b64(ev(""))) }},
	{"redirect to a script", func() *http.Request { return get("/track?redirect=javascript:alert(1)&data=" + b64(ev(""))) }},
	{"redirect with a line break", func() *http.Request {
		return get("/track?redirect=https://shop.example.com/%0d%0aX:y&data=" + b64(ev("")))
	}},

	// Other paths and methods.
	{"method", func() *http.Request { return httptest.NewRequest(http.MethodPut, "/track", nil) }},
	{"method, import", func() *http.Request { return httptest.NewRequest(http.MethodDelete, "/import", nil) }},
	{"unknown path", func() *http.Request { return get("/lookup-tables") }},
	{"root", func() *http.Request { return get("/") }},
	{"decide", func() *http.Request { return get("/decide?version=3&token=shop-token&distinct_id=u") }},
	{"flags", func() *http.Request { return post("/flags/", asJSON, `{"context":{}}`) }},
	{"flags, definitions", func() *http.Request { return get("/flags/definitions?token=shop-token") }},
	{"settings", func() *http.Request { return get("/settings?token=shop-token") }},
	{"record", func() *http.Request { return post("/record/?seq=0", "application/octet-stream", "x") }},
	{"health", func() *http.Request { return get("/healthz") }},
	{"readiness", func() *http.Request { return get("/readyz") }},
	{"preflight", func() *http.Request {
		r := httptest.NewRequest(http.MethodOptions, "/track/", nil)
		r.Header.Set("Access-Control-Request-Headers", "content-type")
		return as(r, "Origin", "https://shop.example.com")
	}},
	{"preflight of another origin", func() *http.Request {
		return as(httptest.NewRequest(http.MethodOptions, "/track/", nil), "Origin", "https://evil.example.com")
	}},
	{"origin", func() *http.Request { return as(post("/track/", asJSON, ev("")), "Origin", "https://shop.example.com") }},
	{"another origin", func() *http.Request { return as(post("/track/", asJSON, ev("")), "Origin", "https://evil.example.com") }},
	{"no origin", func() *http.Request { return as(post("/track/", asJSON, ev("")), "Origin", "null") }},
}

// Every answer, with the outcome of the records, is in the golden file. -update
// writes it.
func TestAnswers(t *testing.T) {
	if len(answers) < 60 {
		t.Fatalf("%d cases", len(answers))
	}
	var all strings.Builder
	for _, a := range answers {
		b := &book{}
		c := newCollector(t, options(b))
		w := send(c, a.request())
		fmt.Fprintf(&all, "# %s\n%d %s\n", a.name, w.Code, shown(w.Header()))
		if w.Header().Get("Content-Type") == "image/gif" {
			fmt.Fprintf(&all, "%d bytes of image\n", w.Body.Len())
		} else {
			fmt.Fprintf(&all, "%s\n", w.Body)
		}
		for _, n := range c.Counts() {
			fmt.Fprintf(&all, "  %d %s\n", n.Records, n.Outcome)
		}
		for _, r := range b.refused() {
			record := r.Record
			if len(record) > 60 {
				record = append(record[:57:57], "…"...)
			}
			fmt.Fprintf(&all, "  kept: %q\n", record)
		}
		all.WriteByte('\n')
		var accepted int64
		for _, n := range c.Counts() {
			if n.Outcome == Accepted || n.Outcome == Links {
				accepted += n.Records
			}
		}
		if rows := len(b.taken()); int64(rows) != accepted {
			t.Errorf("%s: %d rows, and %d are counted", a.name, rows, accepted)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: a browser may guess what the answer is", a.name)
		}
	}
	const file = "testdata/answers.txt"
	if *update {
		if err := os.WriteFile(file, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", file, diff)
	}
}

// shown are the headers that matter.
func shown(h http.Header) string {
	text := h.Get("Content-Type")
	for _, name := range []string{
		"Location", "Retry-After", "Allow", "Vary", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials",
		"Access-Control-Allow-Methods", "Access-Control-Allow-Headers",
	} {
		if v := h.Get(name); v != "" {
			text += " " + name + "=" + v
		}
	}
	return text
}
