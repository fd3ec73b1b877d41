package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// certificate writes a certificate for this machine and its key, and returns who
// trusts it.
func (s *site) certificate() *x509.CertPool {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "penstock test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{{127, 0, 0, 1}}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.Write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(s.Read("cert.pem")))
	return pool
}

// A collector with a certificate speaks HTTP/1.1 and HTTP/2 through TLS, and
// nothing else.
func TestACollectorWithTLS(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	pool := c.certificate()
	c.Write("penstock.hcl", strings.Replace(c.Read("penstock.hcl"), `"127.0.0.1:0"`, "\"127.0.0.1:0\"\n  tls_cert = \"cert.pem\"\n  tls_key  = \"key.pem\"", 1))
	h := c.serve()
	const event = `{"event":"e","properties":{"token":"tok-7c1d"}}`
	for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		answer, err := (&http.Client{Transport: transport}).Post("https://"+*c.address.Load()+"/track", "application/json", strings.NewReader(event))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.Body.Close() != nil || answer.Proto != protocol || string(body) != "1" {
			t.Errorf("%s %s, %v", answer.Proto, body, err)
		}
		transport.CloseIdleConnections()
	}
	if status, answer, err := c.post("/track", "application/json", "", event); err == nil && status == http.StatusOK {
		t.Errorf("without TLS: %d %s", status, answer)
	}
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	if n := c.Journaled(); n != 2 {
		t.Errorf("%d rows are durable", n)
	}
}

// A collector without its certificate or address ends the host, with the reason.
func TestACollectorThatCannotListen(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for attributes, said := range map[string]string{
		"listen = \"" + taken.Addr().String() + "\"":                                         "address already in use",
		"listen = \"127.0.0.1:0\"\n  geoip = \"none.mmdb\"":                                  "none.mmdb: no such file",
		"listen = \"127.0.0.1:0\"\n  tls_cert = \"no-cert.pem\"\n  tls_key = \"no-key.pem\"": "no-cert.pem: no such file",
	} {
		c := newCollecting(t)
		c.Write("penstock.hcl", strings.Replace(c.Read("penstock.hcl"), `listen     = "127.0.0.1:0"`, attributes, 1))
		h := c.Serve()
		if status := h.Wait(); status.ExitStatus() != 1 || !strings.Contains(h.Said(), said) || !strings.Contains(h.Said(), "collector.web") {
			t.Errorf("%s: it ended with %v:\n%s", attributes, status, h.Said())
		}
	}
}
