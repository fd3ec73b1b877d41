package faultproxy

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Proxy is a reverse proxy in front of one server. It stops when the test ends.
// Its methods may be used concurrently, also while requests are under way.
type Proxy struct {
	// URL is where clients reach the proxy: scheme, host and port.
	URL string
	// Certificate is the proxy's own, in DER, after StartTLS; nil otherwise. It
	// is valid for 127.0.0.1.
	Certificate []byte

	t         testing.TB
	target    *url.URL
	transport *http.Transport
	direct    *http.Transport // without a write buffer, so that every written byte is sent

	mu       sync.Mutex // guards the fields below
	keep     bool       // the beginning of bodies
	rules    []*injection
	expired  map[string]func(*exchange) // by credentials: the answer to requests that have them
	requests []*Request                 // in the order in which they arrived
	arrived  chan struct{}              // closed and replaced when a request arrives
}

// Start starts a proxy for the server at target, such as
// "http://127.0.0.1:7070". The server's certificate is not checked.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	p := newProxy(t, target)
	server := p.server()
	server.Start()
	p.URL = server.URL
	return p
}

// StartTLS is Start with a proxy that speaks TLS, with a certificate that only
// Client trusts. A client that is tested is given Certificate.
func StartTLS(t testing.TB, target string) *Proxy {
	t.Helper()
	p := newProxy(t, target)
	server := p.server()
	server.StartTLS()
	p.URL = server.URL
	p.Certificate = server.Certificate().Raw
	return p
}

func newProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		t.Fatalf("start a fault proxy for %q: it must be scheme://host:port (%v)", target, err)
	}
	transport := &http.Transport{DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	direct := transport.Clone()
	direct.WriteBufferSize, direct.DisableKeepAlives = 1, true
	return &Proxy{t: t, target: u, transport: transport, direct: direct, expired: map[string]func(*exchange){}, arrived: make(chan struct{})}
}

// server returns a server that is not started yet. It is stopped, and the rules
// are checked, when the test ends.
func (p *Proxy) server() *httptest.Server {
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that are cut on purpose
	p.t.Cleanup(func() {
		server.CloseClientConnections() // a client may keep one for a request that is held
		server.Close()
		p.transport.CloseIdleConnections()
		p.reportUnused()
	})
	return server
}

// reportUnused fails the test for each rule that was never applied.
func (p *Proxy) reportUnused() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, in := range p.rules {
		if in.applied == 0 && !in.Optional {
			p.t.Errorf("no request met the fault %q (%s): %d matched, and it was for request %d of them", in.Fault.name, in.Match, in.matched, in.first())
		}
	}
}

// Client returns an HTTP client that trusts the proxy's certificate and keeps no
// connection.
func (p *Proxy) Client() *http.Client {
	transport := &http.Transport{DisableKeepAlives: true}
	if p.Certificate != nil {
		certificate, err := x509.ParseCertificate(p.Certificate)
		if err != nil {
			p.t.Fatal(err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		transport.TLSClientConfig.RootCAs.AddCert(certificate)
	}
	return &http.Client{Transport: transport}
}

// KeepBodies makes the proxy keep the beginning of bodies, up to a mebibyte
// each, for requests that arrive from then on.
func (p *Proxy) KeepBodies() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep = true
}

// ServeHTTP records the request, and forwards it or has a fault deal with it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{proxy: p, w: w, r: r, body: r.Body, record: newRequest(r)}
	if p.readsBodies() {
		x.readAhead()
	}
	p.begin(x)(x)
}

// readsBodies reports whether the beginning of bodies is needed: it is kept, or
// some rule matches it.
func (p *Proxy) readsBodies() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keep || slices.ContainsFunc(p.rules, func(in *injection) bool { return in.body != nil })
}

// begin records a request, and returns the function that deals with it.
func (p *Proxy) begin(x *exchange) func(*exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keep {
		x.record.Body = x.text
	}
	p.requests = append(p.requests, x.record)
	close(p.arrived)
	p.arrived = make(chan struct{})
	if refuse := p.expired[credentials(x.r)]; refuse != nil {
		x.record.Fault = "expired"
		return refuse
	}
	for _, in := range p.rules {
		if in.meet(x.record, x.text) {
			x.record.Fault = in.Fault.name
			return in.Fault.do
		}
	}
	return (*exchange).pass
}
