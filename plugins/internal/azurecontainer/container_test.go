package azurecontainer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// configFor returns the configuration of a store over a server, with the account's
// key.
func configFor(a *standin.Azurite) config {
	return config{
		StorageAccount: a.Account, Container: "lake", Endpoint: a.Endpoint, AccountKey: a.Key,
		maxBackoff: 50 * time.Millisecond,
	}
}

func storeFor(t *testing.T, c config) *store {
	t.Helper()
	return storeOver(t, c, newTransport())
}

func storeOver(t *testing.T, c config, transport http.RoundTripper) *store {
	t.Helper()
	if err := c.check(nil); err != nil {
		t.Fatal(err)
	}
	s, err := newStore(c, parts.NewPool(blockBuffers, blockSize), transport)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if lent := s.pool.Lent(); lent != 0 {
			t.Errorf("%d block buffers were not given back", lent)
		}
	})
	return s
}

// trusting returns a transport that trusts servers' own certificates.
func trusting(t *testing.T, certificates ...[]byte) http.RoundTripper {
	t.Helper()
	pool := x509.NewCertPool()
	for _, der := range certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(c)
	}
	transport := newTransport()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	return transport
}

// newProxied starts a server with a fault proxy before it, and makes a store over
// the proxy.
func newProxied(t *testing.T, change ...func(*config)) (*faultproxy.Proxy, *standin.Azurite, *store) {
	t.Helper()
	server := standin.StartAzurite(t, "lake")
	proxy, s := proxied(t, server, change...)
	return proxy, server, s
}

// proxied starts a fault proxy before a server, and makes a store over it.
func proxied(t *testing.T, server *standin.Azurite, change ...func(*config)) (*faultproxy.Proxy, *store) {
	t.Helper()
	proxy := faultproxy.Start(t, server.Endpoint)
	c := configFor(server)
	c.Endpoint = proxy.URL
	for _, f := range change {
		f(&c)
	}
	return proxy, storeFor(t, c)
}

// newRefusing makes a store over a proxy that answers every request, and has no
// server.
func newRefusing(t *testing.T, fault faultproxy.Fault, change ...func(*config)) (*faultproxy.Proxy, *store) {
	t.Helper()
	nobody := &standin.Azurite{Endpoint: "http://127.0.0.1:1", Account: "acmelake", Key: "a2V5"}
	proxy, s := proxied(t, nobody, change...)
	proxy.Add(faultproxy.Rule{Times: -1, Fault: fault})
	return proxy, s
}

func TestStore(t *testing.T) {
	server := standin.StartAzurite(t, "lake")
	s := storeFor(t, configFor(server))
	for i, c := range laketest.Checks() {
		t.Run(strings.ReplaceAll(c.Name, " ", "_"), func(t *testing.T) {
			if err := c.Run(t.Context(), s, fmt.Sprintf("a/b%d/", i)); err != nil {
				t.Fatal(err)
			}
			if lent := s.pool.Lent(); lent != 0 {
				t.Errorf("%d block buffers were not given back", lent)
			}
		})
	}
}

// replace replaces a blob as a lake does.
func replace(ctx context.Context, s *store, name string, by lake.Attempt, data []byte) error {
	prev, err := s.Fence(ctx, name, by)
	if err != nil {
		return err
	}
	r, err := s.Replace(ctx, name, prev, by)
	if err != nil {
		return err
	}
	if _, err = r.Write(data); err == nil {
		err = r.Seal(ctx)
	}
	if err == nil {
		err = r.Switch(ctx)
	}
	return errors.Join(err, r.Abort(ctx))
}

func hintOf(err error) string {
	var e *sdk.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
