package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// options are what the command line says.
type options struct {
	root  string
	work  string
	n     int // rounds at 1 M and of the Go benchmarks
	large int // rounds at 10 M; 0: none
	scale int // divides every number of rows, to try the bench itself
	only  string
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", "../..", "checkout of Penstock, built")
	flag.StringVar(&o.work, "work", "", "directory for inputs and outputs (about 20 GB); default: a temporary one")
	flag.IntVar(&o.n, "n", 5, "rounds")
	flag.IntVar(&o.large, "large", 3, "rounds with 10 million events; 0: none")
	flag.IntVar(&o.scale, "scale", 1, "divide every number of rows by this")
	flag.StringVar(&o.only, "only", "", "process, collect, folds, dedup or planning; default: all")
	flag.Parse()
	if err := command(o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command runs the bench, or, in a process of its own, one yardstick:
// limit FILE, duckdb FILE DIR, discard ADDRESS ANSWER; or it generates: DIR ROWS DAYS ordered|shuffled.
func command(o options, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "limit":
		return limit(args[1])
	case len(args) == 3 && args[0] == "duckdb":
		return duckdbCopy(args[1], args[2])
	case len(args) == 3 && args[0] == "discard":
		return discard(args[1], args[2])
	case len(args) == 5 && args[0] == "generate":
		return generateOnly(args[1], args[2], args[3], args[4])
	case len(args) > 0:
		return fmt.Errorf("unknown arguments %q", args)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return bench(ctx, o)
}

// generateOnly leaves an input behind, to look at or to profile with.
func generateOnly(dir, rows, days, order string) error {
	r, err := strconv.Atoi(rows)
	if err != nil {
		return err
	}
	d, err := strconv.Atoi(days)
	if err != nil {
		return err
	}
	in, err := generate(dir, r, d, order == "shuffled")
	if err == nil {
		fmt.Println(in.path)
	}
	return err
}

func bench(ctx context.Context, o options) (err error) {
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	work, err := os.MkdirTemp(o.work, "penstock-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	r := &report{}
	fmt.Printf("%d processors, %s, %s\n", runtime.NumCPU(), cpuModel(), runtime.Version())
	if o.only == "" || o.only == "process" {
		if err := processes(ctx, o, work, r); err != nil {
			return err
		}
	}
	if o.only == "" || o.only == "collect" {
		if err := collecting(ctx, o, work, r); err != nil {
			return err
		}
	}
	if o.only == "" || o.only == "folds" {
		if err := folds(ctx, o, r); err != nil {
			return err
		}
	}
	if o.only == "" || o.only == "dedup" {
		if err := dedup(ctx, o, r); err != nil {
			return err
		}
	}
	if o.only == "" || o.only == "planning" {
		if err := planning(ctx, o, r); err != nil {
			return err
		}
	}
	r.printBars()
	return nil
}

// processes measures the host and its plugins over generated files.
func processes(ctx context.Context, o options, work string, r *report) error {
	store, err := startS3(ctx, o.root, work)
	if err != nil {
		return err
	}
	defer store.stop()
	b := &runner{ctx: ctx, root: o.root, work: work, store: store}

	month, err := generate(work, 1_000_000/o.scale, 30, false)
	if err != nil {
		return err
	}
	year, err := generate(work, 1_000_000/o.scale, 400, true)
	if err != nil {
		return err
	}
	small := []*subject{
		b.yardstick("limit", month),
		b.job("localfs", month, "localfs"),
		b.job("localfs, twice", month, "localfs", "localfs"),
		b.job("s3", month, "s3"),
		b.job("localfs, 400 days", year, "localfs"),
	}
	if duckdbPresent {
		small = append(small, b.yardstick("duckdb", month))
	}
	if err := alternate(small, o.n); err != nil {
		return err
	}
	r.table(fmt.Sprintf("%d events of %d bytes, medians of %d", month.rows, month.bytes/int64(month.rows), o.n), small)

	var large []*subject
	if o.large > 0 {
		if err := os.Remove(year.path); err != nil {
			return err
		}
		decade, err := generate(work, 10_000_000/o.scale, 30, false)
		if err != nil {
			return err
		}
		large = []*subject{b.yardstick("limit", decade), b.job("localfs", decade, "localfs"), b.job("s3", decade, "s3")}
		if err := alternate(large, o.large); err != nil {
			return err
		}
		r.table(fmt.Sprintf("%d events of %d bytes, medians of %d", decade.rows, decade.bytes/int64(decade.rows), o.large), large)
	}
	r.processBars(small, large)
	return nil
}

// subject is something that is measured once per round.
type subject struct {
	name   string
	rows   int
	run    func() (usage, error)
	usages []usage
}

type runner struct {
	ctx   context.Context
	root  string
	work  string
	store *s3server
}

func (b *runner) job(name string, in *input, targets ...string) *subject {
	return &subject{name: name, rows: in.rows, run: func() (usage, error) {
		return job{name, targets}.run(b.ctx, b.root, b.work, in, b.store)
	}}
}

// yardstick runs this program again, so that it is measured as the product is.
func (b *runner) yardstick(name string, in *input) *subject {
	return &subject{name: name, rows: in.rows, run: func() (usage, error) {
		self, err := os.Executable()
		if err != nil {
			return usage{}, err
		}
		args := []string{name, in.path}
		out := filepath.Join(b.work, name)
		if name == "duckdb" {
			args = append(args, out)
			defer os.RemoveAll(out)
		}
		u, err := measure(b.ctx, b.work, nil, self, args...)
		if err == nil && name == "duckdb" {
			rows, counted := countRows(out)
			if err = counted; err == nil && rows != in.rows {
				err = fmt.Errorf("duckdb wrote %d rows of %d", rows, in.rows)
			}
		}
		return u, err
	}}
}

// alternate runs every subject once per round, so that a slow spell of the
// machine falls on all of them.
func alternate(subjects []*subject, rounds int) error {
	for round := range rounds {
		for _, s := range subjects {
			u, err := s.run()
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", s.name, round+1, err)
			}
			s.usages = append(s.usages, u)
			fmt.Fprintf(os.Stderr, "%s %d/%d: %.2f s, %.2f µs CPU per event\n", s.name, round+1, rounds, u.wall.Seconds(), s.cpu(u))
		}
	}
	return nil
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
