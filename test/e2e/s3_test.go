package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// onItsWayToS3 are the points of an export, host and plugin, at which the one or
// the other dies.
var onItsWayToS3 = []string{
	"export.streaming:5", "export.prepared:1", "export.committed:1",
	"plugin.open:1", "plugin.write:3", "plugin.prepare:1", "plugin.commit.before:1", "plugin.commit.after:1",
}

func TestRowsSurviveKillsOnTheirWayToS3(t *testing.T) {
	undisturbed := newSite(t)
	fill(undisturbed)
	undisturbed.Once()
	want := undisturbed.Rows("out")
	for _, point := range onItsWayToS3 {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			server := standin.StartS3(t, "lake")
			s := newSiteWith(t, s3Destination(server), "s3.lake")
			fill(s)
			secret := "S3_SECRET=" + server.SecretKey
			r := s.Penstock([]string{secret, "PENSTOCK_CRASH_AT=" + point}, "run", "--once", "--retry-for", "3s")
			if died := r.Signal == syscall.SIGKILL; died != strings.HasPrefix(point, "export.") || !died && !strings.Contains(r.Err, "killed") {
				t.Fatalf("no process died at %s: status %d\n%s%s", point, r.Status, r.Out, r.Err)
			}
			download(t, server, filepath.Join(s.Dir, "before"))
			s.Once(secret)
			download(t, server, filepath.Join(s.Dir, "out"))
			checkUntouched(t, s.Objects("before"), s.Objects("out"))
			penstocktest.SameRows(t, s.Rows("out"), want)
		})
	}
}

// The S3 server goes away while rows are on their way to it, and between the
// last row and the commit; and comes back while the host tries again.
func TestRowsSurviveAnS3ServerThatIsStopped(t *testing.T) {
	undisturbed := newSite(t)
	fill(undisturbed)
	undisturbed.Once()
	want := undisturbed.Rows("out")
	for _, point := range []string{"export.streaming:5", "export.prepared:1"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			server := standin.StartS3(t, "lake")
			s := newSiteWith(t, s3Destination(server), "s3.lake")
			fill(s)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			command := exec.CommandContext(ctx, filepath.Join(penstocktest.Binaries, "penstock"), "run", "--once", "--retry-for", "4m", "--config", "penstock.hcl")
			command.Dir = s.Dir
			command.Env = penstocktest.Environment([]string{"S3_SECRET=" + server.SecretKey, "PENSTOCK_STOP_AT=" + point})
			retries := &waitFor{want: "will retry", seen: make(chan struct{})}
			command.Stderr = retries
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			penstocktest.AwaitStop(t, ctx, command.Process.Pid)
			server.Stop()
			if err := command.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			select {
			case <-retries.seen:
			case <-ctx.Done():
				t.Error("the host does not say that it tries again")
			}
			server.Start()
			if err := command.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, retries.text.String())
			}
			download(t, server, filepath.Join(s.Dir, "out"))
			penstocktest.SameRows(t, s.Rows("out"), want)
		})
	}
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
	if strings.Contains(r.Err, "will retry") {
		t.Errorf("an error that needs an operator is retried:\n%s", r.Err)
	}
}
