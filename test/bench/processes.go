package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// processes measures the host and its plugins over generated files.
func processes(ctx context.Context, b *runner, r *report) error {
	store, err := startS3(ctx, b.root, b.dir)
	if err != nil {
		return err
	}
	defer store.stop()
	small, err := b.smallProcesses(ctx, store, r)
	if err != nil {
		return err
	}
	if err := b.shapeProcesses(ctx, store, r); err != nil {
		return err
	}
	if b.large == 0 {
		return nil
	}
	ten, err := b.input(10_000_000/b.scale, 30, false)
	if err != nil {
		return err
	}
	large := []*subject{b.job(ctx, store, "localfs", ten, "localfs"), b.job(ctx, store, "s3", ten, "s3")}
	if err := b.alternate(ctx, ten, large, b.large); err != nil {
		return err
	}
	r.table(ten, large, b.large)
	r.largeBars(small, large)
	return b.remove(ten)
}

// smallProcesses measures a million events, and other tools over the same file.
func (b *runner) smallProcesses(ctx context.Context, store *s3server, r *report) ([]*subject, error) {
	month, err := b.month()
	if err != nil {
		return nil, err
	}
	few, err := b.input(100_000/b.scale, 30, false)
	if err != nil {
		return nil, err
	}
	year, err := b.input(1_000_000/b.scale, 400, true)
	if err != nil {
		return nil, err
	}
	halves := split{dirs: map[build]string{}}
	small := []*subject{
		b.levelled(ctx, store, "localfs", month),
		b.job(ctx, store, "localfs, two destinations", month, "localfs", "localfs"),
		b.job(ctx, store, "s3", month, "s3"),
		b.job(ctx, store, "localfs, a tenth of the events", few, "localfs"),
		b.job(ctx, store, "localfs, 400 days shuffled", year, "localfs"),
		{name: "reading alone", rows: month.rows, run: func(of build) (usage, error) { return halves.read(ctx, b.dir, of, month) }},
		{name: "exporting alone", rows: month.rows, run: func(of build) (usage, error) { return halves.export(ctx, of, month) }},
	}
	others, absent := b.others(ctx, month)
	small = append(small, others...)
	if err := b.alternate(ctx, month, small, b.n); err != nil {
		return nil, err
	}
	r.table(month, small, b.n)
	if len(absent) > 0 {
		fmt.Printf("\nNot measured: %s.\n", strings.Join(absent, "; "))
	}
	r.smallBars(small)
	return small, b.remove(year)
}

// shapeProcesses measures a million events of many shapes, against the limit of the
// same file.
func (b *runner) shapeProcesses(ctx context.Context, store *s3server, r *report) error {
	in, err := b.shapes(1_000_000/b.scale, 30)
	if err != nil {
		return err
	}
	subjects := []*subject{b.levelled(ctx, store, "localfs, varying shapes", in)}
	if err := b.alternate(ctx, in, subjects, b.n); err != nil {
		return err
	}
	r.table(in, subjects, b.n)
	r.shapeBars(subjects)
	return b.remove(in)
}

// job is the host over an input, from files to destinations.
func (b *runner) job(ctx context.Context, store *s3server, name string, in *input, targets ...string) *subject {
	return b.subject(ctx, store, in, job{name: name, targets: targets})
}

// levelled is a job to localfs whose rows are also compressed at level 1, to compare
// sizes.
func (b *runner) levelled(ctx context.Context, store *s3server, name string, in *input) *subject {
	return b.subject(ctx, store, in, job{name: name, targets: []string{"localfs"}, level: true})
}

func (b *runner) subject(ctx context.Context, store *s3server, in *input, j job) *subject {
	return &subject{name: j.name, rows: in.rows, run: func(of build) (usage, error) { return j.run(ctx, b.dir, of, in, store) }}
}

// compressors are programs that compress a file and do nothing else. igzip is of
// Debian's package isal; it is faster than the limit.
var compressors = []string{"gzip", "pigz", "igzip"}

// others are other programs over an input. absent tells which are not there.
func (b *runner) others(ctx context.Context, in *input) (subjects []*subject, absent []string) {
	for _, name := range compressors {
		if _, err := exec.LookPath(name); err != nil {
			absent = append(absent, name+" is not installed")
			continue
		}
		subjects = append(subjects, b.compressor(ctx, name, in))
	}
	if !duckdbPresent {
		return subjects, append(absent, "DuckDB needs the build tag duckdb and a C compiler")
	}
	return append(subjects, b.duckdb(ctx, in)), absent
}

// compressor compresses an input at level 1 and drops the result. Its size is counted
// once, apart from what is measured. It is the same for every build.
func (b *runner) compressor(ctx context.Context, name string, in *input) *subject {
	run := func(out string) (usage, error) {
		return measure(ctx, b.dir, nil, "sh", "-c", `exec "$0" -1 -c "$1" >"$2"`, name, in.path, out)
	}
	var stored int64
	return &subject{name: name + " -1", rows: in.rows, run: func(build) (usage, error) {
		if stored == 0 {
			var err error
			if stored, err = outputSize(filepath.Join(b.dir, name), run); err != nil {
				return usage{}, err
			}
		}
		u, err := run(os.DevNull)
		u.stored = stored
		return u, err
	}}
}

// outputSize returns the size of the file that run writes, and removes it.
func outputSize(path string, run func(out string) (usage, error)) (int64, error) {
	defer os.Remove(path)
	if _, err := run(path); err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// duckdb does the work of a job with DuckDB. It is the same for every build.
func (b *runner) duckdb(ctx context.Context, in *input) *subject {
	return &subject{name: "DuckDB", rows: in.rows, run: func(build) (usage, error) {
		out := filepath.Join(b.dir, "duckdb")
		defer os.RemoveAll(out)
		u, err := b.yardstick(ctx, "duckdb", in.path, out)
		if err == nil {
			err = u.count("DuckDB", in, out)
		}
		return u, err
	}}
}
