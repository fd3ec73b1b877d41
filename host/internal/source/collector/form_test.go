package collector

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// A body that is neither JSON nor the base64 of JSON is kept as it was sent,
// and whole.
func TestBodiesThatAreNoJSONAreKeptAsSent(t *testing.T) {
	event := ev(`,"x":"` + strings.Repeat("x", 90_000) + `"`)
	for name, test := range map[string]struct{ data, kept string }{
		"base64 that breaks off":      {b64(event)[:5001], b64(event)[:5001]},
		"base64 with a stray sign":    {b64(event)[:4000] + "!" + b64(event), b64(event)[:4000] + "!" + b64(event)},
		"base64 of no JSON":           {b64("hello " + event), b64("hello " + event)},
		"base64 of half a JSON":       {b64(event[:50_000]), event[:50_000]},
		"padding in the middle":       {b64(event[:5000]) + b64(event), b64(event[:5000]) + b64(event)},
		"no base64, with many spaces": {strings.Repeat("a b", 30_000), strings.Repeat("a b", 30_000)},
		"JSON that breaks off":        {event[:80_000], event[:80_000]},
	} {
		for _, r := range []*http.Request{
			post("/track", asForm, "verbose=1&data="+url.QueryEscape(test.data)), get("/track?verbose=1&data=" + url.QueryEscape(test.data)),
		} {
			t.Run(name+", "+r.Method, func(t *testing.T) {
				b := &book{}
				o := options(b)
				o.MaxBody = 1 << 20
				w := send(newCollector(t, o), r)
				if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), `{"status":0,`) {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				refused := b.refused()
				if len(refused) != 1 || refused[0].Reason != schema.InvalidJSON || string(refused[0].Record) != test.kept {
					t.Errorf("%.300s, want %.200q", fmt.Sprint(refused), test.kept)
				}
			})
		}
	}
}

// So is a body that is neither JSON nor a form with data.
func TestBodiesWithoutDataAreKeptAsSent(t *testing.T) {
	for _, body := range []string{
		`"a text"`, "123", "null", "<xml/>", "hello%41=1&verbose=%31&x=%zz", "dat%61x=" + ev(""), "verbose=1&ip=%30", "--b\r\nContent-Disposition: form-data; name=data\r\n\r\n1",
	} {
		for _, contentType := range []string{asJSON, asForm, asText, ""} {
			b := &book{}
			w := send(newCollector(t, options(b)), post("/track", contentType, body))
			if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), "0") && !strings.HasPrefix(w.Body.String(), `{"status":0,`) {
				t.Errorf("%s: %d %s", body, w.Code, w.Body)
			}
			if refused := b.refused(); len(refused) != 1 || refused[0].Reason != schema.InvalidJSON || string(refused[0].Record) != body {
				t.Errorf("%q is kept as %q", body, fmt.Sprint(refused))
			}
		}
	}
	for _, r := range []*http.Request{post("/track", asForm, ""), get("/track?verbose=0"), post("/track", asForm, "data="), post("/track", asJSON, "[]")} {
		b := &book{}
		says(t, send(newCollector(t, options(b)), r), http.StatusOK, "0")
		if refused := b.refused(); len(refused) != 0 {
			t.Errorf("nothing was sent, and %v is kept", refused)
		}
	}
}

// Records are kept whole, also those that are longer than a record may be.
func TestRefusedRecordsAreKeptWhole(t *testing.T) {
	unknown := func(size int) string {
		const around = `{"event":"e","properties":{"token":"nobody","x":""}}`
		return strings.Replace(around, `""`, `"`+strings.Repeat("x", size-len(around)-2)+`"`, 1)
	}
	for _, size := range []int{87_000, schema.MaxRecord, schema.MaxRecord + 1} {
		b := &book{}
		o := options(b)
		o.MaxBody = 4 << 20
		record := unknown(size)
		send(newCollector(t, o), post("/track", asJSON, record))
		if refused := b.refused(); len(refused) != 1 || string(refused[0].Record) != record {
			t.Errorf("%d bytes: %d are refused: %.300s", size, len(refused), fmt.Sprint(refused))
		}
	}
}

// Base64 is decoded about as fast as the standard library does it when it is
// plain, and may be odd.
func BenchmarkBase64(b *testing.B) {
	plain := []byte(b64("[" + strings.Repeat(ev(`,"x":"ûûû>>>???"`)+",", 1000) + "]"))
	odd := bytes.ReplaceAll(plain, []byte("+"), []byte(" "))
	text := make([]byte, len(plain))
	run := func(name string, data []byte, decode func() int) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for range b.N {
				copy(text, data)
				if n := decode(); n == 0 {
					b.Fatal("nothing is decoded")
				}
			}
		})
	}
	ours := func() int {
		p := parameters{data: text}
		records, _ := p.records()
		return len(records)
	}
	run("plain", plain, ours)
	run("pluses as spaces", odd, ours)
	to := make([]byte, len(plain))
	run("library", plain, func() int {
		n, _ := base64.StdEncoding.Decode(to, text)
		return n
	})
}

// mixpanel-browser encodes each surrogate by itself, and cuts strings between
// the two.
func TestSurrogatesInBase64(t *testing.T) {
	t.Parallel()
	const mountain = "\xed\xa0\xbc\xed\xbf\x94" // U+1F3D4 as two surrogates
	for sent, want := range map[string]string{
		`{"a":"` + mountain + `"}`:                        `{"a":"🏔"}`,
		`{"a":"x` + mountain + mountain + `é한"}`:          `{"a":"x🏔🏔é한"}`,
		`{"a":"` + mountain[:3] + `"}`:                    `{"a":"` + "\ufffd" + `"}`,
		`{"a":"` + mountain[3:] + mountain + `"}`:         `{"a":"` + "\ufffd🏔" + `"}`,
		`{"a":"` + mountain[:3] + mountain + `"}`:         `{"a":"` + "\ufffd🏔" + `"}`,
		`{"a":"퟿ 한국 🏔"}`:                                  `{"a":"퟿ 한국 🏔"}`,
		`{"a":"` + mountain[:2] + `"}`:                    `{"a":"` + mountain[:2] + `"}`,
		`{"a":1}` + mountain[:1]:                          `{"a":1}` + mountain[:1],
		`{"` + mountain + `":"` + mountain + `","b":[1]}`: `{"🏔":"🏔","b":[1]}`,
	} {
		p := parameters{data: []byte(base64.StdEncoding.EncodeToString([]byte(sent)))}
		if got, ok := p.records(); !ok || string(got) != want {
			t.Errorf("%q becomes %q, want %q", sent, got, want)
		}
	}
}

// Strings that a client has cut in half of a character are repaired, and
// counted.
func TestHalfCharactersAreRepaired(t *testing.T) {
	b := &book{}
	c := newCollector(t, options(b))
	send(c, post("/track", "application/json", `[{"event":"\ud83d","properties":{"token":"shop-token","$device_id":"d\ud83d","$user_id":"u"}},{"event":"\ud83d\ude00","properties":{"token":"shop-token","distinct_id":"u"}}]`))
	send(c, post("/engage", "application/json", `{"$token":"shop-token","$distinct_id":"\ud83d","$set":{"a":"\ud83d"}}`))
	lines := b.taken()
	for _, line := range lines {
		if strings.Contains(line, `\ud83d`) != strings.Contains(line, `\ud83d\ude00`) {
			t.Errorf("not repaired: %s", line)
		}
	}
	if len(lines) != 4 {
		t.Errorf("%d rows, want 2 events, 1 link and 1 operation:\n%s", len(lines), strings.Join(lines, ""))
	}
	repaired := map[string]int64{}
	for _, n := range c.Counts() {
		if n.Outcome == Repaired {
			repaired[n.Endpoint] = n.Records
		}
	}
	if repaired["track"] != 1 || repaired["engage"] != 1 {
		t.Errorf("repaired %v", repaired)
	}
}
