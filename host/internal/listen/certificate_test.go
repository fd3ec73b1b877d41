package listen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certify writes a certificate with a serial number, and its key, as of a time.
func certify(t *testing.T, cert, key string, serial int64, at time.Time) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{{127, 0, 0, 1}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := LoadCertificate(cert, key, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a missing certificate is not reported")
	}
	began := time.Now().Add(-time.Minute)
	certify(t, cert, key, 1, began)
	c, err := LoadCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		loaded, err := c.config.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return loaded.Leaf.SerialNumber.Int64()
	}
	if serial() != 1 {
		t.Error("not the certificate in the file")
	}
	certify(t, cert, filepath.Join(dir, "other.pem"), 2, began.Add(time.Second))
	if n := serial(); n != 1 {
		t.Errorf("certificate %d is used without its key", n)
	}
	certify(t, cert, key, 3, began.Add(2*time.Second))
	if n := serial(); n != 3 {
		t.Errorf("certificate %d is used, and 3 is there", n)
	}
	// A reload finds one that was written within the resolution of the file's times.
	certify(t, cert, key, 4, began.Add(2*time.Second))
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if n := serial(); n != 4 {
		t.Errorf("certificate %d is used after a reload, and 4 is there", n)
	}
}
