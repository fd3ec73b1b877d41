package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
)

// Two hosts have one configuration, data directories of their own and one
// target, and start at one time: one of them exports every row once, and the
// other says why it does not.
func TestTwoHostsWithOneTarget(t *testing.T) {
	undisturbed := newSite(t)
	fill(undisturbed)
	undisturbed.Once()
	want := undisturbed.Rows("out")

	t.Run("localfs", func(t *testing.T) {
		t.Parallel()
		for range 3 {
			out := t.TempDir()
			twoHosts(t, fmt.Sprintf("destination \"localfs\" \"out\" {\n  path = %q\n}\n", out), "localfs.out")
			s := penstocktest.NewSite(t)
			s.Dir = filepath.Dir(out)
			penstocktest.SameRows(t, s.Rows(filepath.Base(out)), want)
		}
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		for range 3 {
			server := standin.StartS3(t, "lake")
			s := twoHosts(t, s3Destination(server), "s3.lake", "S3_SECRET="+server.SecretKey)
			download(t, server, filepath.Join(s.Dir, "out"))
			penstocktest.SameRows(t, s.Rows("out"), want)
		}
	})
}

func twoHosts(t *testing.T, destination, reference string, env ...string) *site {
	t.Helper()
	var sites [2]*site
	var results [2]penstocktest.Result
	var wg sync.WaitGroup
	for i := range sites {
		sites[i] = newSiteWith(t, destination, reference)
		fill(sites[i])
		wg.Go(func() { results[i] = sites[i].Penstock(env, "run", "--once", "--retry-for", "10s") })
	}
	wg.Wait()
	won := 0
	for _, r := range results {
		switch said := r.Out + r.Err; {
		case r.Status == 0:
			won++
		case !strings.Contains(said, "pipeline events_out with id") || !strings.Contains(said, "stop one of the two"):
			t.Errorf("status %d, and it is not said that another host holds the target:\n%s", r.Status, said)
		}
	}
	if won != 1 {
		t.Errorf("%d of 2 hosts have exported", won)
	}
	return sites[0]
}
