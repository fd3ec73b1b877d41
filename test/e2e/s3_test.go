package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
)

func s3Destination(server *standin.S3) string {
	return fmt.Sprintf(`
destination "s3" "lake" {
  bucket            = "lake"
  region            = "us-east-1"
  endpoint          = %q
  path_style        = true
  access_key_id     = %q
  secret_access_key = env("S3_SECRET")
}
`, server.Endpoint, server.AccessKey)
}

// download copies a bucket's objects into the site's directory out, so that
// they are read like those of localfs.
func download(t *testing.T, server *standin.S3, dir string) {
	t.Helper()
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.Endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	})
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: aws.String("lake")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			object, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("lake"), Key: o.Key})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, filepath.FromSlash(*o.Key))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			var data bytes.Buffer
			if _, err := data.ReadFrom(object.Body); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The S3 server is stopped before the run, and started again while the host
// tries; and the host is killed at points of its way to S3.
func TestRowsSurviveAnS3ServerThatIsStopped(t *testing.T) {
	undisturbed := newSite(t)
	fill(undisturbed)
	undisturbed.Once()

	server := standin.StartS3(t, "lake")
	s := newSiteWith(t, s3Destination(server), "s3.lake")
	fill(s)
	env := []string{"S3_SECRET=" + server.SecretKey}
	if r := s.Penstock(append(env, "PENSTOCK_CRASH_AT=export.streaming:5"), "run", "--once"); r.Signal == 0 {
		t.Fatalf("the host did not die: %s%s", r.Out, r.Err)
	}
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(penstocktest.Binaries, "penstock"), "run", "--once", "--retry-for", "50s", "--config", "penstock.hcl")
	command.Dir = s.Dir
	command.Env = append(append(os.Environ(), "SHOP_TOKEN=tok-7c1d"), env...)
	retries := &waitFor{want: "trying again", seen: make(chan struct{})}
	command.Stderr = retries
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-retries.seen:
	case <-ctx.Done():
		t.Errorf("the host does not say that it tries again:\n%s", retries.text.String())
	}
	server.Start()
	if err := command.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, retries.text.String())
	}
	download(t, server, filepath.Join(s.Dir, "out"))
	penstocktest.SameRows(t, s.Rows("out"), undisturbed.Rows("out"))
}

// waitFor is a writer that tells when a text was written to it.
type waitFor struct {
	text strings.Builder
	want string
	seen chan struct{}
	done bool
}

func (w *waitFor) Write(p []byte) (int, error) {
	w.text.Write(p)
	if !w.done && strings.Contains(w.text.String(), w.want) {
		w.done = true
		close(w.seen)
	}
	return len(p), nil
}

func TestAWrongCredentialIsSaid(t *testing.T) {
	server := standin.StartS3(t, "lake")
	s := newSiteWith(t, s3Destination(server), "s3.lake")
	s.events("a.ndjson", 0, 1, 10)
	r := s.Penstock([]string{"S3_SECRET=not-the-secret"}, "run", "--once", "--retry-for", "20s")
	if r.Status != 1 || !strings.Contains(r.Err, "SignatureDoesNotMatch") && !strings.Contains(r.Err, "credential") {
		t.Errorf("status %d\n%s%s", r.Status, r.Out, r.Err)
	}
	if strings.Contains(r.Err, "trying again") {
		t.Errorf("what cannot pass is tried again:\n%s", r.Err)
	}
}
