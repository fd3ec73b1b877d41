package standin

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// S3 is a running versitygw: a strict S3 server over a directory. It checks
// signatures, checksums, conditions, part sizes and bucket owners; it drops
// encryption headers and knows no STS.
type S3 struct {
	Endpoint  string // http://127.0.0.1:port
	AccessKey string
	SecretKey string
	// Dir holds the buckets, one directory each.
	Dir string
	// Certificate is the server's own, DER; with StartS3TLS.
	Certificate []byte

	t       testing.TB
	path    string
	addr    string
	iam     string
	args    []string
	backend []string // options of the directory behind it
	p       process
}

// StartS3 starts a server with the given buckets. It is stopped when the
// test ends.
func StartS3(t testing.TB, buckets ...string) *S3 {
	t.Helper()
	s := newS3(t, buckets)
	s.Endpoint = "http://" + s.addr
	s.Start()
	return s
}

// StartS3TLS is StartS3 over TLS, with a self-signed certificate. The client must
// be given Certificate to trust it.
func StartS3TLS(t testing.TB, buckets ...string) *S3 {
	t.Helper()
	s := newS3(t, buckets)
	s.Endpoint = "https://" + s.addr
	certificate, key, der := newCertificate(t)
	s.Certificate = der
	s.args = []string{"--cert", certificate, "--key", key}
	s.Start()
	return s
}

// StartS3Versioned is StartS3 with a server whose buckets can keep versions and
// have Object Lock; each is to be told so.
func StartS3Versioned(t testing.TB, buckets ...string) *S3 {
	t.Helper()
	s := newS3(t, buckets)
	s.Endpoint = "http://" + s.addr
	s.backend = []string{"--versioning-dir", t.TempDir()}
	s.Start()
	return s
}

func newS3(t testing.TB, buckets []string) *S3 {
	t.Helper()
	s := &S3{
		AccessKey: "standin", SecretKey: "standin-secret",
		t: t, path: Binary(t, "versitygw"), addr: "127.0.0.1:" + freePort(t),
		Dir: t.TempDir(), iam: t.TempDir(),
	}
	for _, b := range buckets {
		if err := os.Mkdir(filepath.Join(s.Dir, b), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Stop)
	return s
}

// Start starts the server again after Stop, at the same address and over the
// same data, and waits until it listens.
func (s *S3) Start() {
	s.t.Helper()
	args := append([]string{"--access", s.AccessKey, "--secret", s.SecretKey, "--port", s.addr, "--iam-dir", s.iam}, s.args...)
	args = append(append(args, "posix"), s.backend...)
	err := s.p.start(s.path, append(args, s.Dir)...)
	if err == nil {
		err = s.p.await(s.addr)
	}
	if err != nil {
		s.t.Fatalf("start versitygw: %v", err)
	}
}

// Stop kills the server, as a crash would, and waits until it is gone.
func (s *S3) Stop() { s.p.stop() }

// Names returns the names of all objects of a bucket, ascending.
func (s *S3) Names(bucket string) []string {
	s.t.Helper()
	var names []string
	root := filepath.Join(s.Dir, bucket)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != root {
			return nil // a directory was removed with its last object
		}
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		names = append(names, name)
		return err
	})
	if err != nil {
		s.t.Fatalf("list bucket %s: %v", bucket, err)
	}
	return names
}

// Freeze stops the server's process: connections are accepted by the kernel, and
// requests get no answer before Thaw.
func (s *S3) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw lets the server go on after Freeze.
func (s *S3) Thaw() { s.signal(syscall.SIGCONT) }

func (s *S3) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.p.signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
