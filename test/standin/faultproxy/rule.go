package faultproxy

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Match describes requests. A request matches when it has everything that is
// given; the zero Match matches every request.
type Match struct {
	// Method is the request's method, such as "PUT".
	Method string
	// Path is a regular expression that the request's path matches, as it was
	// sent: percent-encoded, without the query. It is not anchored.
	Path string
	// Query lists parameters that the request has, written as a query:
	// "uploads", "partNumber=2&uploadId". One without a value matches any value.
	Query string
	// Header maps names to regular expressions: the request has the header, and
	// one of its values matches.
	Header map[string]string
	// Body is a regular expression that the first mebibyte of the body matches,
	// decompressed when it is gzip. It costs memory, and a body is read up to
	// there before anything else happens.
	Body string
}

// Rule breaks requests. Rules are tried in the order in which they were added;
// the first that applies to a request deals with it, and the rules after it do
// not count that request. Two rules with one Match thus break the first matching
// request and the second.
type Rule struct {
	Match
	// Nth is the first matching request to which the rule applies, from 1. Zero
	// is 1.
	Nth int
	// Times is to how many matching requests in a row the rule applies. Zero is
	// 1; a negative number is all that follow.
	Times int
	// Fault breaks the requests to which the rule applies.
	Fault Fault
	// Optional rules may end up unused.
	Optional bool
}

// String describes the requests in a failed test.
func (m Match) String() string {
	words := []string{"any request"}
	if m.Method != "" {
		words[0] = m.Method
	}
	for _, w := range []struct{ name, value string }{{"path", m.Path}, {"query", m.Query}, {"body", m.Body}} {
		if w.value != "" {
			words = append(words, w.name+" "+w.value)
		}
	}
	for name, value := range m.Header {
		words = append(words, fmt.Sprintf("header %s: %s", name, value))
	}
	slices.Sort(words[1:])
	return strings.Join(words, ", ")
}

// injection is a rule in use. The proxy's lock guards its counts.
type injection struct {
	Rule
	matcher
	matched int // requests that the rule was offered and that match
	applied int
}

// matcher is a compiled Match.
type matcher struct {
	method string
	path   *regexp.Regexp
	query  url.Values
	header map[string]*regexp.Regexp
	body   *regexp.Regexp // nil: bodies do not matter
}

func (m Match) compile() (c matcher, err error) {
	c = matcher{method: m.Method, header: map[string]*regexp.Regexp{}}
	if c.path, err = regexp.Compile(m.Path); err != nil {
		return c, fmt.Errorf("path: %w", err)
	}
	if c.query, err = url.ParseQuery(m.Query); err != nil {
		return c, fmt.Errorf("query: %w", err)
	}
	for name, pattern := range m.Header {
		if c.header[name], err = regexp.Compile(pattern); err != nil {
			return c, fmt.Errorf("header %s: %w", name, err)
		}
	}
	if m.Body != "" {
		if c.body, err = regexp.Compile(m.Body); err != nil {
			return c, fmt.Errorf("body: %w", err)
		}
	}
	return c, nil
}

// matches reports whether a request matches. text is the beginning of its body.
func (c *matcher) matches(r *Request, text []byte) bool {
	if c.method != "" && c.method != r.Method || !c.path.MatchString(r.Path) {
		return false
	}
	for name, values := range c.query {
		for _, value := range values {
			if got, ok := r.Query[name]; !ok || value != "" && !slices.Contains(got, value) {
				return false
			}
		}
	}
	for name, pattern := range c.header {
		if !slices.ContainsFunc(r.Header.Values(name), pattern.MatchString) {
			return false
		}
	}
	return c.body == nil || c.body.Match(text)
}

// first is the number of the matching request that the rule applies to first.
func (in *injection) first() int { return max(in.Nth, 1) }

// meet counts a matching request, and reports whether the rule applies to it.
func (in *injection) meet(r *Request, text []byte) bool {
	if !in.matches(r, text) {
		return false
	}
	in.matched++
	if in.matched < in.first() || in.Times >= 0 && in.matched >= in.first()+max(in.Times, 1) {
		return false
	}
	in.applied++
	return true
}

// Add adds a rule. It holds for requests that arrive from then on.
func (p *Proxy) Add(rules ...Rule) {
	p.t.Helper()
	for _, r := range rules {
		m, err := r.compile()
		if err != nil {
			p.t.Fatalf("rule for %s: %v", r, err)
		}
		if r.Fault.do == nil {
			p.t.Fatalf("rule for %s: it has no fault", r)
		}
		p.mu.Lock()
		p.rules = append(p.rules, &injection{Rule: r, matcher: m})
		p.mu.Unlock()
	}
}

// Applied is to how many requests the rules have been applied, all together.
func (p *Proxy) Applied() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, in := range p.rules {
		n += in.applied
	}
	return n
}

// inflate decompresses the beginning of a gzip body, as far as it goes.
func inflate(p []byte, encoding string) []byte {
	if !strings.EqualFold(encoding, "gzip") {
		return p
	}
	z, err := gzip.NewReader(bytes.NewReader(p))
	if err != nil {
		return p
	}
	text, _ := io.ReadAll(io.LimitReader(z, matchedBody)) // the end may be missing
	return text
}

// Request is one request as the proxy received it, and how it ended.
type Request struct {
	Method string
	// Path is percent-encoded, as it was sent.
	Path   string
	Query  url.Values
	Host   string
	Header http.Header
	// Trailer has the headers that came after a body of unknown length.
	Trailer http.Header
	// Length is that of the body as its header has it; -1 when it has none.
	Length int64
	// Body is the beginning of the body after KeepBodies, decompressed when it
	// is gzip.
	Body []byte
	// Status is that of the answer that the client was sent; 0 while there is
	// none, and when the connection was cut.
	Status int
	// Fault names the fault that the request met; empty: none.
	Fault string
}

// String is the request's method and target.
func (r Request) String() string {
	if len(r.Query) == 0 {
		return r.Method + " " + r.Path
	}
	return r.Method + " " + r.Path + "?" + r.Query.Encode()
}

func newRequest(r *http.Request) *Request {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return &Request{
		Method: r.Method, Path: path, Query: r.URL.Query(), Host: r.Host, Header: r.Header.Clone(), Length: r.ContentLength,
	}
}

// Requests returns the requests so far, in the order in which they arrived. With
// matches it returns only those that match one of them; Match.Body needs
// KeepBodies.
func (p *Proxy) Requests(matches ...Match) []Request {
	p.t.Helper()
	found, _ := p.find(p.compileAll(matches))
	return found
}

// awaitTime is how long Await waits.
const awaitTime = time.Minute

// Await returns the first request that matches, as soon as it has arrived. The
// test ends when none does within a minute. It is for tests that hold a request
// and do something else before they release it.
func (p *Proxy) Await(m Match) Request {
	p.t.Helper()
	matchers := p.compileAll([]Match{m})
	timeout := time.NewTimer(awaitTime)
	defer timeout.Stop()
	for {
		found, next := p.find(matchers)
		if len(found) > 0 {
			return found[0]
		}
		select {
		case <-next:
		case <-timeout.C:
			p.t.Fatalf("no request came within %s: %s", awaitTime, m)
		}
	}
}

func (p *Proxy) compileAll(matches []Match) []matcher {
	p.t.Helper()
	matchers := make([]matcher, 0, len(matches))
	for _, m := range matches {
		c, err := m.compile()
		if err != nil {
			p.t.Fatalf("match requests: %v", err)
		}
		matchers = append(matchers, c)
	}
	return matchers
}

// find returns the requests that match one of matchers, or all when there is
// none, and a channel that is closed when the next request arrives.
func (p *Proxy) find(matchers []matcher) (found []Request, next <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if len(matchers) == 0 || slices.ContainsFunc(matchers, func(m matcher) bool { return m.matches(r, r.Body) }) {
			seen := *r
			seen.Header, seen.Trailer = r.Header.Clone(), r.Trailer.Clone()
			found = append(found, seen)
		}
	}
	return found, p.arrived
}
