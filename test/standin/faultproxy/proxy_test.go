package faultproxy_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// seen is a request as the server behind the proxy got it.
type seen struct {
	target, host, body string
	header, trailer    http.Header
	length             int64
	chunked            bool
	broken             bool // the body ended too early
}

// server records its requests, and answers with "answer to " and the target.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
	came chan struct{} // one for each request whose body was read
}

func startServer(t *testing.T, overTLS bool) *server {
	t.Helper()
	s := &server{came: make(chan struct{}, 100)}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.mu.Lock()
		s.seen = append(s.seen, seen{
			target: r.RequestURI, host: r.Host, body: string(body), header: r.Header.Clone(), trailer: r.Trailer.Clone(),
			length: r.ContentLength, chunked: slices.Contains(r.TransferEncoding, "chunked"), broken: err != nil,
		})
		s.mu.Unlock()
		s.came <- struct{}{}
		w.Header().Set("X-Answer", "yes")
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "answer to "+r.RequestURI)
		w.Header().Set("X-Sum", "42")
	})
	s.Server = httptest.NewUnstartedServer(handler)
	if overTLS {
		s.StartTLS()
	} else {
		s.Server.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// transports are plain and encrypted ways to and behind the proxy.
var transports = map[string]struct{ client, server bool }{
	"plain": {false, false}, "TLS to the proxy": {true, false}, "TLS to the server": {false, true}, "TLS": {true, true},
}

// each runs a test over every transport.
func each(t *testing.T, test func(t *testing.T, p *faultproxy.Proxy, s *server)) {
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(transports)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, transports[name].server)
			start := faultproxy.Start
			if transports[name].client {
				start = faultproxy.StartTLS
			}
			test(t, start(t, s.URL), s)
		})
	}
}

// answer is one answer as a client gets it.
type answer struct {
	status int
	body   string
	header http.Header
	err    error // of the request, or of the answer's body
}

func do(t *testing.T, p *faultproxy.Proxy, method, target string, body io.Reader, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := p.Client().Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, string(text), response.Header, err}
}

// put is a request that a rule can match in every way.
func put(t *testing.T, p *faultproxy.Proxy) answer {
	t.Helper()
	return do(t, p, http.MethodPut, "/b/k.json.gz?partNumber=2&uploadId=u", strings.NewReader("0123456789"), "X-Class", "gold")
}

func TestARequestWithoutARulePassesUnchanged(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, s *server) {
		const target = "/b/a%20b%2Fc+d//e%7E?prefix=a%2Fb&empty=&flag&z=1&a=2"
		got := do(t, p, http.MethodPut, target, strings.NewReader("text"), "X-One", "1", "User-Agent", "me", "Authorization", "secret")
		if got.status != http.StatusCreated || got.body != "answer to "+target || got.header.Get("X-Answer") != "yes" || got.err != nil {
			t.Errorf("answer %+v", got)
		}
		r := s.requests()[0]
		if r.target != target || r.body != "text" || r.length != 4 || r.chunked || "http://"+r.host != p.URL && "https://"+r.host != p.URL {
			t.Errorf("the server got %+v", r)
		}
		for _, h := range []string{"X-One", "User-Agent", "Authorization", "X-Forwarded-For", "Via", "Accept-Encoding"} {
			if want := map[string]string{"X-One": "1", "User-Agent": "me", "Authorization": "secret", "Accept-Encoding": "gzip"}[h]; r.header.Get(h) != want {
				t.Errorf("the server got %s: %q, want %q", h, r.header.Get(h), want)
			}
		}
		if r := p.Requests()[0]; r.Path != "/b/a%20b%2Fc+d//e%7E" || r.Status != http.StatusCreated || r.Fault != "" || r.Query.Get("prefix") != "a/b" || r.Header.Get("X-One") != "1" {
			t.Errorf("recorded %+v", r)
		}
	})
}

func TestABodyWithoutLengthAndItsTrailersPass(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, s *server) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.URL+"/x", io.MultiReader(strings.NewReader("some"), strings.NewReader("thing")))
		if err != nil {
			t.Fatal(err)
		}
		r.Trailer = http.Header{"X-Amz-Checksum": {"abc"}}
		response, err := p.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if got := response.Trailer.Get("X-Sum"); got != "42" {
			t.Errorf("the client got the trailer %q", got)
		}
		if got := s.requests()[0]; got.body != "something" || !got.chunked || got.trailer.Get("X-Amz-Checksum") != "abc" {
			t.Errorf("the server got %+v", got)
		}
		if got := p.Requests()[0]; got.Length != -1 || got.Trailer.Get("X-Amz-Checksum") != "abc" {
			t.Errorf("recorded %+v", got)
		}
	})
}

func TestAnAnswerOfTheProxy(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, s *server) {
		p.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPut}, Fault: faultproxy.Answer(503, http.Header{"retry-after": {"7"}}, "<Code>SlowDown</Code>")})
		got := do(t, p, http.MethodPut, "/x", bytes.NewReader(make([]byte, 1<<20)))
		if got.status != 503 || got.body != "<Code>SlowDown</Code>" || got.header.Get("Retry-After") != "7" || got.err != nil {
			t.Errorf("answer %+v", got)
		}
		if n := len(s.requests()); n != 0 {
			t.Errorf("the server got %d requests", n)
		}
		if got := p.Requests()[0]; got.Status != 503 || got.Fault != "answer 503" {
			t.Errorf("recorded %+v", got)
		}
		if got := put(t, p); got.status != http.StatusCreated {
			t.Errorf("the next request got %+v", got)
		}
	})
}

func TestAnAnswerToHEADHasNoBody(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, _ *server) {
		p.Add(faultproxy.Rule{Fault: faultproxy.Answer(404, nil, "nothing here")})
		if got := do(t, p, http.MethodHead, "/x", nil); got.status != 404 || got.body != "" || got.err != nil {
			t.Errorf("answer %+v", got)
		}
	})
}

func TestTheConnectionIsCutBeforeTheServerSeesTheRequest(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, s *server) {
		p.Add(faultproxy.Rule{Fault: faultproxy.CutBefore()})
		if got := put(t, p); !isCut(got.err) {
			t.Errorf("answer %+v", got)
		}
		if n := len(s.requests()); n != 0 {
			t.Errorf("the server got %d requests", n)
		}
		if got := p.Requests()[0]; got.Status != 0 || got.Fault != "cut before" {
			t.Errorf("recorded %+v", got)
		}
	})
}

func TestAnAnswerIsLost(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, s *server) {
		p.Add(faultproxy.Rule{Fault: faultproxy.LoseAnswer()})
		if got := put(t, p); !isCut(got.err) {
			t.Errorf("answer %+v", got)
		}
		if got := s.requests(); len(got) != 1 || got[0].body != "0123456789" || got[0].broken {
			t.Errorf("the server got %+v", got)
		}
	})
}

func TestABodyIsCut(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, s *server) {
		p.Add(faultproxy.Rule{Fault: faultproxy.CutBody(4)})
		if got := put(t, p); !isCut(got.err) {
			t.Errorf("answer %+v", got)
		}
		<-s.came
		if got := s.requests(); len(got) != 1 || got[0].body != "0123" || !got[0].broken {
			t.Errorf("the server got %+v", got)
		}
	})
}

func TestAnAnswerIsCut(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, s *server) {
		p.Add(faultproxy.Rule{Fault: faultproxy.CutAnswer(6)}, faultproxy.Rule{Fault: faultproxy.CutAnswer(0)})
		for _, want := range []string{"answer", ""} {
			if got := put(t, p); got.status != http.StatusCreated || got.body != want || !errors.Is(got.err, io.ErrUnexpectedEOF) {
				t.Errorf("answer %+v, want %q and an error", got, want)
			}
		}
		if n := len(s.requests()); n != 2 {
			t.Errorf("the server got %d requests", n)
		}
	})
}

func TestARequestIsHeld(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, s *server) {
		release := make(chan struct{})
		p.Add(faultproxy.Rule{Fault: faultproxy.Hold(release)}, faultproxy.Rule{Fault: faultproxy.Delay(time.Millisecond)}, faultproxy.Rule{Fault: faultproxy.Hang()})
		done := make(chan answer)
		go func() { done <- put(t, p) }()
		p.Await(faultproxy.Match{Method: http.MethodPut})
		select {
		case got := <-done:
			t.Fatalf("answer %+v before the release", got)
		default:
		}
		if n := len(s.requests()); n != 0 {
			t.Errorf("the server got %d requests before the release", n)
		}
		close(release)
		if got := <-done; got.status != http.StatusCreated {
			t.Errorf("answer %+v after the release", got)
		}
		if got := put(t, p); got.status != http.StatusCreated {
			t.Errorf("answer %+v after the delay", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			p.Await(faultproxy.Match{Path: "/hang"})
			cancel()
		}()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/hang", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := p.Client().Do(r)
		if err == nil {
			_ = response.Body.Close()
			t.Errorf("answer %s to a request that hangs", response.Status)
		}
		if n := len(s.requests()); n != 2 {
			t.Errorf("the server got %d requests, want none of the one that hangs", n)
		}
	})
}

func TestCredentialsExpire(t *testing.T) {
	each(t, func(t *testing.T, p *faultproxy.Proxy, _ *server) {
		p.Add(faultproxy.Rule{Match: faultproxy.Match{Path: "^/(aws|token|sas)/"}, Nth: 2, Times: 3, Fault: faultproxy.Expire(403, nil, "ExpiredToken")})
		const sign = "AWS4-HMAC-SHA256 Credential=AKIA/20261128/us-east-1/s3/aws4_request, SignedHeaders=host, Signature="
		steps := []struct {
			target string
			header []string
			want   int
		}{
			{"/aws/1", []string{"Authorization", sign + "01", "X-Amz-Security-Token", "old"}, 201},
			{"/aws/2", []string{"Authorization", sign + "02", "X-Amz-Security-Token", "old"}, 403},
			{"/other", []string{"Authorization", sign + "03", "X-Amz-Security-Token", "old"}, 403},
			{"/other", []string{"Authorization", sign + "04", "X-Amz-Security-Token", "new"}, 201},
			{"/token/1", []string{"Authorization", "Bearer a"}, 403},
			{"/x", []string{"Authorization", "Bearer a"}, 403},
			{"/x", []string{"Authorization", "Bearer b"}, 201},
			{"/sas/1?sig=a", nil, 403},
			{"/x?sig=a&x=1", nil, 403},
			{"/x?sig=b", nil, 201},
		}
		for i, step := range steps {
			if got := do(t, p, http.MethodGet, step.target, nil, step.header...); got.status != step.want {
				t.Errorf("step %d, %s: %d %s, want %d", i, step.target, got.status, got.body, step.want)
			}
		}
		if got := p.Requests()[2].Fault; got != "expired" {
			t.Errorf("recorded the fault %q", got)
		}
		p.Renew()
		if got := do(t, p, http.MethodGet, "/x?sig=a", nil); got.status != 201 {
			t.Errorf("after the renewal: %d %s", got.status, got.body)
		}
	})
}

func TestRulesMatch(t *testing.T) {
	t.Parallel()
	type match = faultproxy.Match
	compressed := &bytes.Buffer{}
	z := gzip.NewWriter(compressed)
	_, _ = z.Write([]byte("INSERT INTO t"))
	_ = z.Close()
	tests := map[string]struct {
		match match
		want  bool
	}{
		"everything":                 {match{}, true},
		"the method":                 {match{Method: "PUT"}, true},
		"another method":             {match{Method: "GET"}, false},
		"a path":                     {match{Path: `^/b/.*\.gz$`}, true},
		"an encoded path":            {match{Path: `a%20b`}, true},
		"another path":               {match{Path: `^/k`}, false},
		"no query in the path":       {match{Path: `partNumber`}, false},
		"a parameter":                {match{Query: "partNumber=2"}, true},
		"a parameter's name":         {match{Query: "uploadId"}, true},
		"two parameters":             {match{Query: "uploadId=u&partNumber"}, true},
		"another value":              {match{Query: "partNumber=1"}, false},
		"another parameter":          {match{Query: "uploads"}, false},
		"a header":                   {match{Header: map[string]string{"x-class": "^gold$"}}, true},
		"a header with any value":    {match{Header: map[string]string{"X-Class": ""}}, true},
		"a header that is not there": {match{Header: map[string]string{"X-None": ""}}, false},
		"another header":             {match{Header: map[string]string{"X-Class": "silver"}}, false},
		"a body":                     {match{Body: "^INSERT"}, true},
		"another body":               {match{Body: "DELETE"}, false},
		"all of it":                  {match{Method: "PUT", Path: "b", Query: "uploadId=u", Header: map[string]string{"X-Class": "g"}, Body: "t$"}, true},
		"all of it but one":          {match{Method: "PUT", Path: "b", Query: "uploadId=v", Header: map[string]string{"X-Class": "g"}, Body: "t$"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, false)
			p := faultproxy.Start(t, s.URL)
			p.KeepBodies()
			p.Add(faultproxy.Rule{Match: tt.match, Optional: true, Fault: faultproxy.Answer(429, nil, "")})
			got := do(t, p, http.MethodPut, "/b/a%20b.gz?partNumber=2&uploadId=u", bytes.NewReader(compressed.Bytes()), "X-Class", "gold", "Content-Encoding", "gzip")
			if matched := got.status == 429; matched != tt.want || (p.Applied() == 1) != tt.want || (len(p.Requests(tt.match)) == 1) != tt.want {
				t.Errorf("status %d, applied %d times, %d requests found; want a match: %t", got.status, p.Applied(), len(p.Requests(tt.match)), tt.want)
			}
			if !tt.want {
				if got := s.requests()[0].body; got != compressed.String() {
					t.Errorf("the server got the body %q", got)
				}
			}
		})
	}
}

func TestRulesApplyToTheirRequests(t *testing.T) {
	t.Parallel()
	answers := func(status int) faultproxy.Fault { return faultproxy.Answer(status, nil, "") }
	tests := map[string]struct {
		rules []faultproxy.Rule
		want  []int
	}{
		"the first":              {[]faultproxy.Rule{{Fault: answers(500)}}, []int{500, 201, 201, 201, 201}},
		"the third":              {[]faultproxy.Rule{{Nth: 3, Fault: answers(500)}}, []int{201, 201, 500, 201, 201}},
		"the second and third":   {[]faultproxy.Rule{{Nth: 2, Times: 2, Fault: answers(500)}}, []int{201, 500, 500, 201, 201}},
		"all from the fourth on": {[]faultproxy.Rule{{Nth: 4, Times: -1, Fault: answers(500)}}, []int{201, 201, 201, 500, 500}},
		"one rule after another": {[]faultproxy.Rule{{Fault: answers(500)}, {Fault: answers(503)}}, []int{500, 503, 201, 201, 201}},
		"a rule that waits lets others": {
			[]faultproxy.Rule{{Nth: 3, Fault: answers(500)}, {Times: -1, Fault: answers(503)}}, []int{503, 503, 500, 503, 503},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := faultproxy.Start(t, startServer(t, false).URL)
			p.Add(tt.rules...)
			var got []int
			for range tt.want {
				got = append(got, put(t, p).status)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("answers %v, want %v", got, tt.want)
			}
		})
	}
}

// A rule that no request met fails its test.
func TestAnUnusedRuleIsAnError(t *testing.T) {
	t.Parallel()
	s := startServer(t, false)
	for _, optional := range []bool{false, true} {
		inner := &watched{TB: t}
		p := faultproxy.Start(inner, s.URL)
		p.Add(faultproxy.Rule{Nth: 2, Optional: optional, Fault: faultproxy.CutBefore()})
		put(t, p)
		inner.end()
		if failed := len(inner.errors) == 1 && strings.Contains(inner.errors[0], "cut before"); failed == optional {
			t.Errorf("optional %t: errors %q", optional, inner.errors)
		}
	}
}

// watched is a test inside of a test.
type watched struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (w *watched) Cleanup(fn func()) { w.cleanups = append(w.cleanups, fn) }

func (w *watched) Errorf(format string, args ...any) {
	w.errors = append(w.errors, fmt.Sprintf(format, args...))
}

func (w *watched) end() {
	for _, fn := range slices.Backward(w.cleanups) {
		fn()
	}
}

// isCut reports whether err is that of a connection that ended before an answer.
func isCut(err error) bool {
	var op *net.OpError
	var record tls.RecordHeaderError
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.As(err, &op) && !errors.As(err, &record)
}
