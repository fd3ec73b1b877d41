package listen

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// A server that serves takes another handler and another certificate, also none, on the
// socket that it has.
func TestHandlerAndCertificateAreReplaced(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	load := func(name string, serial int64) *Certificate {
		cert, key := filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
		certify(t, cert, key, serial, time.Now())
		c, err := LoadCertificate(cert, key, log)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	says := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	s, err := Open(t.Context(), Options{Address: "127.0.0.1:0", Handler: says("first"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()

	ask := func(scheme string) (text, protocol string, serial int64) {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} //nolint:gosec // of a test
		defer transport.CloseIdleConnections()
		r, err := (&http.Client{Transport: transport}).Get(scheme + "://" + s.Address())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if r.TLS != nil {
			serial = r.TLS.PeerCertificates[0].SerialNumber.Int64()
		}
		return string(body), r.Proto, serial
	}
	if text, _, _ := ask("http"); text != "first" {
		t.Errorf("the handler says %q", text)
	}
	for i, name := range []string{"one", "two"} {
		s.Use(load(name, int64(i+1)))
		if err := s.Handle(says(name))(t.Context()); err != nil {
			t.Error(err)
		}
		if text, protocol, serial := ask("https"); text != name || protocol != "HTTP/2.0" || serial != int64(i+1) {
			t.Errorf("%q over %s with certificate %d", text, protocol, serial)
		}
	}
	s.Use(nil)
	if text, protocol, _ := ask("http"); text != "two" || protocol != "HTTP/1.1" || s.Secure() {
		t.Errorf("%q over %s", text, protocol)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
