package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/freeport"
	"github.com/penstock-io/penstock/test/penstocktest"
)

func TestMain(m *testing.M) {
	os.Exit(penstocktest.Main(m, map[string]string{"localfs": "./cmd/penstock-destination-localfs"}))
}

// Values of the configuration below.
const (
	shopToken = "tok-7c1d" // penstocktest.Environment
	shopID    = "2195193"
	clubToken = "tok-club-41"
	clubID    = "2195194"
	apiSecret = "secret-of-old-clients"
	username  = "ci.service"
	password  = "secret-of-ci"
)

const configuration = `
host {
  data_dir   = "./data"
  plugin_dir = %[1]q
  memory     = "4MiB"
}
project "shop" {
  id    = 2195193
  token = env("SHOP_TOKEN")
}
project "club" {
  id       = 2195194
  token    = "tok-club-41"
  identity = "original"
}
source "collector" "web" {
  projects     = ["shop", "club"]
  listen       = %[2]q
  api_secret   = file("./secret")
  cors_origins = [%[3]q]
  service_account "ci" {
    username = "ci.service"
    secret   = file("./password")
  }
}
source "collector" "tls" {
  projects   = ["shop", "club"]
  listen     = %[4]q
  tls_cert   = "./cert.pem"
  tls_key    = "./key.pem"
  api_secret = file("./secret")
  service_account "ci" {
    username = "ci.service"
    secret   = file("./password")
  }
}
destination "localfs" "out" {
  path = "./out"
}
pipeline "shop_events" {
  project     = "shop"
  stream      = "events"
  destination = "localfs.out"
  from_date   = %[5]q
}
pipeline "club_events" {
  project     = "club"
  stream      = "events"
  destination = "localfs.out"
  from_date   = %[5]q
}
`

// shop is an installation with a collector.
type shop struct {
	*penstocktest.Site
	t       *testing.T
	address string // of the collector
	secure  string // of the one with TLS
	relay   *relay // to the former
	began   time.Time
}

// newShop makes an installation. Pages of the origin may send to it.
func newShop(t *testing.T, origin string) *shop {
	t.Helper()
	s := &shop{Site: penstocktest.NewSite(t), t: t, address: freeAddress(t), secure: freeAddress(t), began: time.Now()}
	s.certificate()
	s.Write("secret", apiSecret)
	s.Write("password", password)
	s.Write("penstock.hcl", fmt.Sprintf(configuration, filepath.Join(penstocktest.Binaries, "plugins"),
		s.address, origin, s.secure, s.began.AddDate(0, 0, -60).Format("2006-01-02")))
	s.relay = newRelay(t, s.address)
	return s
}

// serve starts a host and waits until it takes records.
func (s *shop) serve() *penstocktest.Host {
	s.t.Helper()
	h := s.Serve()
	h.Until("the collector is ready", func() bool {
		answer, err := http.Get("http://" + s.address + "/readyz")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return h
}

// finish stops the host and exports the records that it has taken.
func (s *shop) finish(h *penstocktest.Host) {
	s.t.Helper()
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		s.t.Fatalf("the host ended with %v:\n%s", status, h.Said())
	}
	s.Once()
	if r := s.Penstock(nil, "journal", "verify"); r.Status != 0 {
		s.t.Errorf("journal verify: status %d\n%s%s", r.Status, r.Out, r.Err)
	}
}

// counted is how many records had an outcome, as the running host says.
func (s *shop) counted(outcome string) (n int64) {
	s.t.Helper()
	r := s.Penstock(nil, "status", "--json")
	var status struct {
		Collectors []struct {
			Records []struct {
				Outcome string
				Records int64
			}
		}
	}
	if err := json.Unmarshal([]byte(r.Out), &status); err != nil {
		s.t.Fatalf("%v in %s%s", err, r.Out, r.Err)
	}
	for _, c := range status.Collectors {
		for _, count := range c.Records {
			if count.Outcome == outcome {
				n += count.Records
			}
		}
	}
	return n
}

// certificate makes a certificate for the loopback address, which clients do not
// trust yet.
func (s *shop) certificate() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "collector"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.Write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// freeAddress is an address for a collector, which listens there again after each
// start.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// missing ends the test because a tool is not there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip("SKIPPED: " + what)
}

// node returns a command that runs a script of ours with the installed
// clients.
func node(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	binary, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node is not installed: Node.js 20 or later, and npm, are needed (Debian: apt-get install nodejs npm)")
	}
	modules, err := filepath.Abs("../../.cache/clients/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "mixpanel", "package.json")); err != nil {
		missing(t, "Mixpanel's clients are not installed: run `make tools` (looked in "+modules+")")
	}
	command := exec.Command(binary, script)
	command.Env = append(os.Environ(), "NODE_PATH="+modules)
	return command
}
