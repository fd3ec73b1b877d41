package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
)

func TestMain(m *testing.M) {
	if penstocktest.Binaries = os.Getenv(insideEnv); penstocktest.Binaries != "" {
		os.Exit(m.Run())
	}
	os.Exit(penstocktest.Main(m, map[string]string{
		"localfs":   "./cmd/penstock-destination-localfs",
		"s3":        "./cmd/penstock-destination-s3",
		"gcs":       "./cmd/penstock-destination-gcs",
		"azure":     "./cmd/penstock-destination-azure",
		"bigquery":  "./cmd/penstock-destination-bigquery",
		"snowflake": "./cmd/penstock-destination-snowflake",
		"picky":     "./test/e2e/picky",
		"ndjson":    "./examples/third-party",
	}))
}

// site is an installation with a directory of events, data and output.
type site struct {
	*penstocktest.Site
	t *testing.T
}

// base is the first day that the tests' events are of; recent enough for
// every limit on dates.
var base = time.Now().UTC().AddDate(0, 0, -60).Truncate(24 * time.Hour)

const hostAndProject = `
host {
  data_dir   = "./data"
  plugin_dir = %q
  memory     = "4MiB"
}
project "shop" {
  id    = 2195193
  token = env("SHOP_TOKEN")
}
source "files" "import" {
  project = "shop"
  path    = "./events/*"
}
`

const localDestination = `
destination "localfs" "out" {
  path = "./out"
}
`

// newSite makes a site with a localfs destination and one events pipeline.
func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteWith(t, localDestination, "localfs.out")
}

func newSiteWith(t *testing.T, destination, reference string) *site {
	t.Helper()
	s := &site{penstocktest.NewSite(t), t}
	s.Write("penstock.hcl", fmt.Sprintf(hostAndProject, filepath.Join(penstocktest.Binaries, "plugins"))+destination+s.pipeline("events_out", reference))
	if err := os.Mkdir(filepath.Join(s.Dir, "events"), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) pipeline(name, destination string) string {
	return fmt.Sprintf(`
pipeline %q {
  project     = "shop"
  stream      = "events"
  destination = %q
  from_date   = %q
}
`, name, destination, base.AddDate(0, 0, -30).Format("2006-01-02"))
}

// event is one record in the shape of Mixpanel's export.
func event(day, n int, extra string) string {
	at := base.AddDate(0, 0, day).Unix() + int64(n%86400)
	return fmt.Sprintf(`{"event":"Item %d","properties":{"time":%d,"distinct_id":"user-%d","$insert_id":"id-%d-%d","token":"secret","city":"Zürich 🏔","hash":"%x","n":%d%s}}`,
		n%7, at, n%97, day, n, sha256.Sum256(fmt.Append(nil, day, n)), n, extra)
}

// events writes a file of count events spread over days.
func (s *site) events(name string, firstDay, days, count int) {
	s.t.Helper()
	s.Write(filepath.Join("events", name), spread(firstDay, days, count))
}

// compressedEvents is events, and compresses the file.
func (s *site) compressedEvents(name string, firstDay, days, count int) {
	s.t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, spread(firstDay, days, count))
	if err := errors.Join(err, z.Close()); err != nil {
		s.t.Fatal(err)
	}
	s.Write(filepath.Join("events", name), b.String())
}

// spread returns lines of count events spread over days.
func spread(firstDay, days, count int) string {
	var b strings.Builder
	for n := range count {
		b.WriteString(event(firstDay+n%days, n, ""))
		b.WriteByte('\n')
	}
	return b.String()
}
