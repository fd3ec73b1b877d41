package gcsbucket

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/test/standin/gcsserver"
)

// newServer starts a strict Cloud Storage, and makes a store over it.
func newServer(t *testing.T, change ...func(*gcsserver.Server, *config)) (*gcsserver.Server, *store) {
	t.Helper()
	server := &gcsserver.Server{Bucket: "lake", Location: "US-CENTRAL1"}
	conf := config{Bucket: "lake"}
	for _, f := range change {
		f(server, &conf)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	conf.Endpoint = listening.URL
	return server, newStore(conf, parts.NewPool(chunkBuffers, chunkSize))
}

func TestStore(t *testing.T) {
	_, s := newServer(t)
	for i, c := range laketest.Checks() {
		t.Run(strings.ReplaceAll(c.Name, " ", "_"), func(t *testing.T) {
			if err := c.Run(t.Context(), s, fmt.Sprintf("a/b%d/", i)); err != nil {
				t.Fatal(err)
			}
			if lent := s.buffers.Lent(); lent != 0 {
				t.Errorf("%d buffers were not given back", lent)
			}
		})
	}
}
