package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
)

// fromS3 has a site read its events from a bucket.
func (s *site) fromS3(server *standin.S3) (env []string) {
	s.t.Helper()
	q := url.Values{"region": {"us-east-1"}, "endpoint": {server.Endpoint}, "use_path_style": {"true"}}
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `"./events/*"`, fmt.Sprintf("%q", "s3://inbox/events/*?"+q.Encode()), 1))
	return []string{
		"AWS_ACCESS_KEY_ID=" + server.AccessKey, "AWS_SECRET_ACCESS_KEY=" + server.SecretKey, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}

// upload puts the site's events into the bucket.
func (s *site) upload(server *standin.S3) {
	s.t.Helper()
	from := filepath.Join(s.Dir, "events")
	files, err := os.ReadDir(from)
	if err != nil {
		s.t.Fatal(err)
	}
	to := filepath.Join(server.Dir, "inbox", "events")
	if err := os.MkdirAll(to, 0o700); err != nil {
		s.t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Rename(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Events that lie in a bucket, with the host killed while it reads them, and
// with the server gone.
func TestEventsFromS3(t *testing.T) {
	want := newSite(t)
	fill(want)
	want.Once()

	server := standin.StartS3(t, "inbox")
	s := newSite(t)
	env := s.fromS3(server)
	fill(s)
	s.upload(server)
	for _, point := range []string{"files.read:3", "journal.committed:1", "files.read:4"} {
		if r := s.Penstock(append(env, "PENSTOCK_CRASH_AT="+point), "run", "--once"); r.Signal != syscall.SIGKILL {
			t.Fatalf("the host did not die at %s: %d\n%s%s", point, r.Status, r.Out, r.Err)
		}
	}
	server.Stop()
	s.Says(s.Penstock(env, "run", "--once"), 1, "source files.import: list s3://inbox/events/", "connection refused")
	server.Start()
	s.Says(s.Penstock(append(env, "AWS_SECRET_ACCESS_KEY=wrong-secret"), "run", "--once"), 1, "source files.import: list s3://inbox/events/", "SignatureDoesNotMatch")
	r := s.Once(env...)
	if strings.Contains(r.Err, "SDK") {
		t.Errorf("the AWS SDK prints to standard error:\n%s", r.Err)
	}
	penstocktest.SameRows(t, s.Rows("out"), want.Rows("out"))

	s.events("later.ndjson", 20, 2, 100)
	s.upload(server)
	r = s.Once(env...)
	s.Says(r, 0, "100 records read, 100 rows new")
	s.Says(s.Once(env...), 0, "nothing new in")
}
