package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// job is one way of running the host over an input.
type job struct {
	name    string
	targets []string // destinations in HCL, "localfs" or "s3"
}

// run works through the input in a new data directory and counts what
// arrived.
func (j job) run(ctx context.Context, root, work string, in *input, store *s3server) (usage, error) {
	dir, err := os.MkdirTemp(work, "job-*")
	if err != nil {
		return usage{}, err
	}
	defer os.RemoveAll(dir)
	if store != nil {
		defer store.empty()
	}
	if err := os.WriteFile(filepath.Join(dir, "penstock.hcl"), []byte(j.config(root, dir, in, store)), 0o600); err != nil {
		return usage{}, err
	}
	u, err := measure(ctx, dir, []string{"S3_SECRET=" + s3Secret}, filepath.Join(root, "bin", "penstock"), "run", "--once", "--config", "penstock.hcl")
	if err != nil {
		return u, err
	}
	for i, target := range j.targets {
		place := filepath.Join(dir, fmt.Sprintf("out%d", i))
		if target == "s3" {
			place = filepath.Join(store.dir, fmt.Sprintf("bucket%d", i))
		}
		rows, err := countRows(place)
		if err != nil {
			return u, err
		}
		if rows != in.rows {
			return u, fmt.Errorf("%s: %d rows arrived in %s of %d", j.name, rows, target, in.rows)
		}
	}
	return u, nil
}

func (j job) config(root, dir string, in *input, store *s3server) string {
	var b strings.Builder
	fmt.Fprintf(&b, `host {
  data_dir     = %q
  plugin_dir   = %q
  max_backfill = "500d"
  log_level    = "error"
}
project "bench" {
  id       = 1
  timezone = "UTC"
}
source "files" "in" {
  project = "bench"
  path    = %q
}
`, filepath.Join(dir, "data"), filepath.Join(root, "bin", "plugins"), in.path)
	for i, target := range j.targets {
		switch target {
		case "localfs":
			fmt.Fprintf(&b, "destination \"localfs\" \"out%d\" {\n  path = %q\n}\n", i, filepath.Join(dir, fmt.Sprintf("out%d", i)))
		case "s3":
			fmt.Fprintf(&b, `destination "s3" "out%d" {
  bucket            = "bucket%d"
  region            = "us-east-1"
  endpoint          = %q
  path_style        = true
  access_key_id     = %q
  secret_access_key = env("S3_SECRET")
}
`, i, i, store.endpoint, s3Access)
		}
		fmt.Fprintf(&b, `pipeline "to_out%d" {
  project     = "bench"
  stream      = "events"
  destination = destination.%s.out%d
  from_date   = %q
}
`, i, target, i, in.first.Format(time.DateOnly))
	}
	return b.String()
}

// countRows counts the lines of all gzip objects below a directory.
func countRows(dir string) (int, error) {
	rows := 0
	buffer := make([]byte, 1<<20)
	err := eachObject(dir, func(r io.Reader) error {
		for {
			n, err := r.Read(buffer)
			rows += bytes.Count(buffer[:n], []byte{'\n'})
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	return rows, err
}

// eachObject calls fn with what each gzip object below a directory holds.
func eachObject(dir string, fn func(io.Reader) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json.gz") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err == nil {
			err = fn(z)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}
