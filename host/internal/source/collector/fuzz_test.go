package collector

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// statuses are all that a request which brings records may be answered with.
var statuses = map[int]bool{200: true, 302: true, 400: true, 401: true, 405: true, 413: true, 415: true}

// Whatever is sent: the answer is one of those that there are, rows are JSON,
// no record is neither counted nor refused, and memory is given back.
func FuzzRequest(f *testing.F) {
	f.Add("/track", "verbose=1", asJSON, "", []byte("["+ev("")+"]"))
	f.Add("/import", "strict=1", asLines, "", []byte(whole("i")+"\n"+whole("j")))
	f.Add("/import", "strict=0&project_id=1001", asForm, "gzip", []byte(packed("data="+b64(whole("i")), 6)))
	f.Add("/engage/", "", asForm, "", []byte("verbose=1&data="+url.QueryEscape("["+op(`,"$set":{"a":[1,{"b":"c\n"}]}`)+"]")))
	f.Add("/groups", "callback=f", asText, "deflate", []byte(deflated(group(`,"$union":{"a":[1]}`))))
	f.Add("/track", "data="+b64(ev(`,"$device_id":"d","$user_id":"u","ip":"::1"`)), "", "", []byte{})
	f.Add("/track", "", asJSON, "", []byte(`{"event":"\ud800","properties":{"token":"shop-token","\u0000":1e999,"a":"\xff"}}`))
	f.Fuzz(func(t *testing.T, path, query, contentType, encoding string, body []byte) {
		b := &book{}
		c := newCollector(t, options(b))
		r := httptest.NewRequest(http.MethodPost, "http://in.example.com/", bytes.NewReader(body))
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header["Content-Type"], r.Header["Content-Encoding"] = []string{contentType}, []string{encoding}
		r.SetBasicAuth("api-secret", "")
		w := send(c, r)
		if endpoint := strings.Trim(path, "/"); endpoint != track && endpoint != imports && endpoint != engage && endpoint != groups {
			return
		}
		if !statuses[w.Code] {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Header().Get("Content-Type") == jsonType && !json.Valid(w.Body.Bytes()) {
			t.Fatalf("not JSON: %s", w.Body)
		}
		if c.budget.usedNow() != 0 || len(c.budget.arriving) != 0 {
			t.Fatalf("%d bytes are not given back", c.budget.usedNow())
		}
		lines, counted := b.taken(), int64(0)
		for _, n := range c.Counts() {
			if n.Outcome == Accepted {
				counted += n.Records
			}
		}
		for _, line := range lines {
			_, row, _ := strings.Cut(line, " ")
			kind, row, _ := strings.Cut(row, " ")
			if _, err := schema.RowFlags([]byte(row)); err != nil || !strings.HasSuffix(row, "}\n") || strings.Count(row, "\n") != 1 {
				t.Fatalf("%v: %q", err, row)
			}
			if kind == "profiles" {
				if _, err := schema.ParseOperation([]byte(row)); err != nil {
					t.Fatalf("%v: %q", err, row)
				}
			}
			if kind == "links" {
				if _, err := schema.ParseLink([]byte(row)); err != nil {
					t.Fatalf("%v: %q", err, row)
				}
			}
		}
		if int64(len(lines)) < counted {
			t.Fatalf("%d rows, and %d records are counted", len(lines), counted)
		}
	})
}

// Text that the standard library decodes is decoded to the same, in all the
// spellings that clients have.
func FuzzBase64(f *testing.F) {
	f.Add([]byte("hello"))
	f.Add([]byte{0xfb, 0xff, 0xbf})
	f.Add([]byte("aGVs\nbG8="))
	f.Fuzz(func(t *testing.T, data []byte) {
		std := base64.StdEncoding.EncodeToString(data)
		for _, text := range []string{
			std, base64.RawStdEncoding.EncodeToString(data), base64.URLEncoding.EncodeToString(data), base64.RawURLEncoding.EncodeToString(data),
			strings.ReplaceAll(std, "+", " "),
		} {
			e, ok := parseBase64([]byte(text))
			if !ok {
				t.Fatalf("%q is not base64", text)
			}
			if start := e.start(); !bytes.HasPrefix(data, start) || len(start) < min(len(data), 3*startStep/4) {
				t.Fatalf("%q begins with %q, not with %q", text, start, data)
			}
			if got := e.decode(); !bytes.Equal(got, data) {
				t.Fatalf("%q becomes %q, not %q", text, got, data)
			}
		}
		before := bytes.Clone(data)
		e, ok := parseBase64(data)
		for _, text := range [][]byte{data, []byte(std), []byte("eyJh" + std), []byte("eyJh" + string(data)), []byte("eyJhIjoi" + std[:len(std)/2] + string(data) + std)} {
			sameRecords(t, text)
		}
		if !bytes.Equal(data, before) {
			t.Fatalf("%q was changed to %q", before, data)
		}
		if ok {
			got := e.decode()
			if want, err := base64.StdEncoding.DecodeString(string(before)); err == nil && !bytes.Equal(got, want) {
				t.Fatalf("%q becomes %q, not %q", before, got, want)
			}
		}
	})
}

// sameRecords fails unless records are found in a parameter as the general decoder finds
// them, whatever the one for the usual alphabet does first.
func sameRecords(t *testing.T, data []byte) {
	want, records := bytes.Clone(data), isJSON(data)
	if e, ok := parseBase64(bytes.TrimSpace(want)); !records && ok && isJSON(e.start()) {
		want, records = joinSurrogates(e.decode()), true
	}
	p := parameters{data: bytes.Clone(data)}
	if got, ok := p.records(); ok != records || !bytes.Equal(got, want) {
		t.Fatalf("%q becomes %q, %t; want %q, %t", data, got, ok, want, records)
	}
}

// A form that the standard library reads is read the same.
func FuzzForm(f *testing.F) {
	f.Add("data=%7B%7D&verbose=1&ip=0")
	f.Add("data=a+b%2Bc%zz&=1&callback=f&api_key=%")
	f.Fuzz(func(t *testing.T, form string) {
		var p parameters
		p.parse([]byte(form))
		want, err := url.ParseQuery(form)
		if err != nil {
			return
		}
		if got := string(p.data); got != want.Get("data") {
			t.Errorf("data is %q, not %q", got, want.Get("data"))
		}
		for name, got := range map[string]string{"callback": p.callback, "redirect": p.redirect, "project_id": p.projectID, "api_key": p.apiKey} {
			first := ""
			for _, v := range want[name] {
				if first == "" {
					first = v
				}
			}
			if got != first {
				t.Errorf("%s is %q, not %q", name, got, first)
			}
		}
	})
}

// FuzzGunzip decompresses bodies as package gzip does.
func FuzzGunzip(f *testing.F) {
	text := strings.Repeat(whole("i"), 20)
	f.Add([]byte(packed(text, 6)))
	f.Add([]byte(packed(text, 1) + packed("", 9) + packed("b", 0)))
	named := &bytes.Buffer{}
	w := gzip.NewWriter(named)
	w.Name, w.Comment, w.Extra = "a", "é", []byte("extra")
	_ = w.Close() // a buffer takes everything
	f.Add(named.Bytes())
	f.Add(append([]byte(packed(text, 6)), named.Bytes()[:11]...))
	f.Add(append([]byte(packed(text, 6)), 0))
	const limit = 1 << 14
	f.Fuzz(func(t *testing.T, sent []byte) {
		want, wantErr := []byte(nil), error(nil)
		if r, err := gzip.NewReader(bytes.NewReader(sent)); err != nil {
			wantErr = err
		} else {
			want, wantErr = io.ReadAll(io.LimitReader(r, limit+1))
		}
		s := &share{budget: newBudget(1<<20, time.Hour)}
		got, buffer, err := decompress(t.Context(), "gzip", sent, s, limit)
		switch {
		case len(want) > limit:
			if !errors.Is(err, errTooLarge) && wantErr == nil {
				t.Fatalf("%d bytes of a body that is too large: %v", len(got), err)
			}
		case (wantErr == nil) != (err == nil):
			t.Fatalf("%v, where package gzip says %v", err, wantErr)
		case err != nil && !errors.Is(err, errCorrupt):
			t.Fatal(err)
		case err == nil && !bytes.Equal(got, want):
			t.Fatalf("%q is not %q", got, want)
		}
		s.release(buffer)
		if s.held != 0 {
			t.Fatalf("%d bytes are not given back", s.held)
		}
	})
}
