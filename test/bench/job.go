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

// manyDays is from how many days on the files of a run stay until the bench ends: ext4 takes
// no inode that was freed in the last minutes before it has looked at all others, and
// thousands that were removed just before cost the next run up to 0.4 s of the kernel's time.
const manyDays = 100

// job is the host over an input, with its destinations.
type job struct {
	name    string
	targets []string // types of destinations: "localfs" or "s3"
	level   bool     // the rows are compressed at level 1 as well
	env     []string // of the host
}

// run works through the input with a new data directory, and counts the rows
// that arrived.
func (j job) run(ctx context.Context, work string, of build, in *input, store *s3server) (usage, error) {
	dir, err := os.MkdirTemp(work, "job-*")
	if err != nil {
		return usage{}, err
	}
	if in.days < manyDays {
		defer os.RemoveAll(dir)
	}
	defer store.empty()
	u, err := runOnce(ctx, dir, of, j.config(of, dir, in, store), j.env...)
	if err != nil {
		return u, err
	}
	for i, target := range j.targets {
		place := outDir(dir, i)
		if target == "s3" {
			place = filepath.Join(store.dir, fmt.Sprintf("bucket%d", i))
		}
		count := u.count
		if j.level {
			count = u.countLevel
		}
		if err := count(j.name, in, place); err != nil {
			return u, err
		}
	}
	return u, nil
}

// runOnce runs the host once with a configuration.
func runOnce(ctx context.Context, dir string, of build, config string, env ...string) (usage, error) {
	if err := os.WriteFile(filepath.Join(dir, "penstock.hcl"), []byte(config), 0o600); err != nil {
		return usage{}, err
	}
	return measure(ctx, dir, append(env, "S3_SECRET="+s3Secret), of.penstock(), "run", "--once", "--config", "penstock.hcl")
}

func outDir(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("out%d", i)) }

// count compares the rows that arrived in a directory with the input's, and notes
// how many bytes their objects have.
func (u *usage) count(name string, in *input, dir string) error {
	return u.countTo(io.Discard, name, in, dir)
}

// countLevel is count, and notes how many bytes the rows have at level 1.
func (u *usage) countLevel(name string, in *input, dir string) error {
	z := newLevelOne()
	if err := u.countTo(z, name, in, dir); err != nil {
		return err
	}
	var err error
	u.level, err = z.size()
	return err
}

// countTo is count, and writes the rows to also.
func (u *usage) countTo(also io.Writer, name string, in *input, dir string) error {
	rows, size, err := countRows(dir, also)
	if err == nil && rows != in.rows {
		err = fmt.Errorf("%d rows arrived of %d", rows, in.rows)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	u.stored = size
	return nil
}

// split is a job in two: the host first reads the input into its journal, without
// any pipeline, and then exports it. Each half is a subject of its own.
type split struct {
	dirs map[build]string // between the halves
}

// read measures the first half.
func (s *split) read(ctx context.Context, work string, of build, in *input) (usage, error) {
	dir, err := os.MkdirTemp(work, "split-*")
	if err != nil {
		return usage{}, err
	}
	s.dirs[of] = dir
	return runOnce(ctx, dir, of, job{}.config(of, dir, in, nil))
}

// export measures the second half of the work that the same build has read.
func (s *split) export(ctx context.Context, of build, in *input) (usage, error) {
	dir := s.dirs[of]
	defer os.RemoveAll(dir)
	u, err := runOnce(ctx, dir, of, job{targets: []string{"localfs"}}.config(of, dir, in, nil))
	if err == nil {
		err = u.count("exporting alone", in, outDir(dir, 0))
	}
	return u, err
}

// config is the host's configuration.
func (j job) config(of build, dir string, in *input, store *s3server) string {
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
`, filepath.Join(dir, "data"), of.plugins(), in.path)
	for i, target := range j.targets {
		switch target {
		case "localfs":
			fmt.Fprintf(&b, "destination \"localfs\" \"out%d\" {\n  path = %q\n}\n", i, outDir(dir, i))
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

// countRows counts the rows in all gzip objects below a directory, and the bytes
// of the objects. It writes the rows to also.
func countRows(dir string, also io.Writer) (rows int, size int64, err error) {
	buffer := make([]byte, 1<<20)
	err = eachObject(dir, func(r io.Reader, stored int64) error {
		size += stored
		for {
			n, err := r.Read(buffer)
			rows += bytes.Count(buffer[:n], []byte{'\n'})
			if _, err := also.Write(buffer[:n]); err != nil {
				return err
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	return rows, size, err
}

// eachObject calls fn with the rows of each gzip object below a directory, and
// with the object's size.
func eachObject(dir string, fn func(rows io.Reader, size int64) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json.gz") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err == nil {
			err = fn(z, info.Size())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
}
