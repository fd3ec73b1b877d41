package azure

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/plugins/internal/parts"
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
	if err := c.check(nil); err != nil {
		t.Fatal(err)
	}
	s, err := newStore(c, parts.NewPool(blockBuffers, blockSize))
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

// newProxied starts a server with a fault proxy before it, and makes a store over
// the proxy.
func newProxied(t *testing.T, change ...func(*config)) (*faultproxy.Proxy, *standin.Azurite, *store) {
	t.Helper()
	server := standin.StartAzurite(t, "lake")
	proxy := faultproxy.Start(t, server.Endpoint)
	c := configFor(server)
	c.Endpoint = proxy.URL
	for _, f := range change {
		f(&c)
	}
	return proxy, server, storeFor(t, c)
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
