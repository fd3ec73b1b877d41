package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	s3Access = "bench"
	s3Secret = "bench-secret"
)

// s3server is a versitygw over a directory; its buckets are bucket0, bucket1.
type s3server struct {
	endpoint string
	dir      string
	cmd      *exec.Cmd
}

func startS3(ctx context.Context, root, work string) (*s3server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &s3server{endpoint: "http://" + addr, dir: filepath.Join(work, "s3")}
	iam := filepath.Join(work, "iam")
	for _, dir := range []string{filepath.Join(s.dir, "bucket0"), filepath.Join(s.dir, "bucket1"), iam} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	s.cmd = exec.CommandContext(ctx, filepath.Join(root, ".cache", "bin", "versitygw"),
		"--access", s3Access, "--secret", s3Secret, "--port", addr, "--iam-dir", iam, "posix", s.dir)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start versitygw (make tools installs it): %w", err)
	}
	for range 200 {
		connection, err := net.Dial("tcp", addr)
		if err == nil {
			return s, connection.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.stop()
	return nil, errors.New("start versitygw: does not listen")
}

// empty removes all objects from the buckets.
func (s *s3server) empty() {
	if s == nil {
		return // the job has no bucket
	}
	for _, bucket := range []string{"bucket0", "bucket1"} {
		entries, _ := os.ReadDir(filepath.Join(s.dir, bucket))
		for _, e := range entries {
			_ = os.RemoveAll(filepath.Join(s.dir, bucket, e.Name()))
		}
	}
}

func (s *s3server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// freeAddress is an address of this machine that is free now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
