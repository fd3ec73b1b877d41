package e2e

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/objectstore"
	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// storeSite is a site that exports to an object store through a proxy.
type storeSite struct {
	*site
	bucket *objectstore.Bucket
	proxy  *faultproxy.Proxy
}

func newStoreSite(t *testing.T, store objectstore.Store) *storeSite {
	t.Helper()
	bucket := store.Start(t)
	proxy := faultproxy.Start(t, bucket.Endpoint)
	return &storeSite{newSiteWith(t, bucket.Block("lake", proxy.URL), store.Type+".lake"), bucket, proxy}
}

// rows downloads the bucket with the vendor's client, and reads all rows.
func (s *storeSite) rows(t *testing.T) []string {
	t.Helper()
	if err := s.bucket.Download(t.Context(), filepath.Join(s.Dir, "out")); err != nil {
		t.Fatal(err)
	}
	return s.Rows("out")
}

// fillLarge gives a site small days, and one whose object is written in several
// parts by every store: 10 MB that do not compress.
func fillLarge(s *site) {
	s.events("a.ndjson", 0, 3, 900)
	noise := rand.NewChaCha8([32]byte{7})
	var b strings.Builder
	for n := range 1500 {
		raw := make([]byte, 7000)
		_, _ = noise.Read(raw) // never fails
		b.WriteString(event(5, n, fmt.Sprintf(`,"noise":%q`, base64.StdEncoding.EncodeToString(raw))) + "\n")
	}
	s.Write(filepath.Join("events", "b.ndjson"), b.String())
}

// Each store gets every row once through faults of its service, in requests that
// write a small object, part of a large one, and the manifest.
func TestRowsSurviveFaultsOfObjectStores(t *testing.T) {
	undisturbed := newSite(t)
	fillLarge(undisturbed)
	undisturbed.Once()
	want := undisturbed.Rows("out")
	for _, store := range objectstore.All() {
		refuse := store.Faults.Refuse
		for name, fault := range map[string]faultproxy.Fault{
			"429": refuse(http.StatusTooManyRequests), "500": refuse(http.StatusInternalServerError), "503": refuse(http.StatusServiceUnavailable),
			"slow":        faultproxy.Delay(300 * time.Millisecond),
			"cut before":  faultproxy.CutBefore(),
			"cut after":   faultproxy.CutAnswer(0),
			"answer lost": faultproxy.LoseAnswer(),
		} {
			t.Run(store.Type+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newStoreSite(t, store)
				fillLarge(s.site)
				for _, m := range []faultproxy.Match{store.Faults.Object, store.Faults.Part, store.Faults.Manifest} {
					s.proxy.Add(faultproxy.Rule{Match: m, Fault: fault})
				}
				r := s.Penstock(s.bucket.Environment, "run", "--once", "--retry-for", "2m")
				s.Says(r, 0)
				penstocktest.SameRows(t, s.rows(t), want)
				s.Says(s.Penstock(s.bucket.Environment, "run", "--once"), 0, "nothing new to export")
			})
		}
	}
}

// Credentials expire in the middle of a run: the host says so, and does not
// retry. When they have been renewed, the run is completed.
func TestRowsSurviveCredentialsThatExpire(t *testing.T) {
	undisturbed := newSite(t)
	fillLarge(undisturbed)
	undisturbed.Once()
	want := undisturbed.Rows("out")
	for _, store := range objectstore.All() {
		for name, m := range map[string]faultproxy.Match{
			"object": store.Faults.Object, "part": store.Faults.Part, "manifest": store.Faults.Manifest,
		} {
			t.Run(store.Type+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newStoreSite(t, store)
				fillLarge(s.site)
				nth := 1
				if name == "manifest" {
					nth = 2 // the first claims the target, the second commits
				}
				s.proxy.Add(faultproxy.Rule{Match: m, Nth: nth, Fault: store.Faults.Expire()})
				r := s.Penstock(s.bucket.Environment, "run", "--once", "--retry-for", "1m")
				s.Says(r, 1, store.Faults.Expired)
				if strings.Contains(r.Err, "will retry") {
					t.Errorf("an error that needs an operator is retried:\n%s", r.Err)
				}
				s.proxy.Renew()
				s.Says(s.Penstock(s.bucket.Environment, "runs", "retry", "events_out", "1"), 0)
				s.Once(s.bucket.Environment...)
				penstocktest.SameRows(t, s.rows(t), want)
			})
		}
	}
}
