package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// runner holds the inputs and binaries of a bench, and measures with them.
type runner struct {
	options
	dir    string  // for inputs and outputs
	builds []build // the one that is measured last
	inputs map[string]*input
}

func newRunner(o options, dir string) (*runner, error) {
	b := &runner{options: o, dir: dir, inputs: map[string]*input{}}
	if o.base != "" {
		base, err := newBuild("base", o.base)
		if err != nil {
			return nil, err
		}
		b.builds = append(b.builds, base)
	}
	measured, err := newBuild("new", o.root)
	if err != nil {
		return nil, err
	}
	b.root, b.builds = measured.root, append(b.builds, measured)
	return b, nil
}

// input generates an input on first use.
func (b *runner) input(rows, days int, shuffled bool) (*input, error) {
	name := inputName(rows, days, shuffled)
	if b.inputs[name] == nil {
		in, err := generate(b.dir, rows, days, shuffled)
		if err != nil {
			return nil, err
		}
		b.inputs[name] = in
	}
	return b.inputs[name], nil
}

// wide generates an input of wide events on first use.
func (b *runner) wide(rows, days int) (*input, error) {
	name := wideName(rows, days, wideSize)
	if b.inputs[name] == nil {
		in, err := generateWide(b.dir, rows, days, wideSize)
		if err != nil {
			return nil, err
		}
		b.inputs[name] = in
	}
	return b.inputs[name], nil
}

// month is the input that most subjects read, and the limit.
func (b *runner) month() (*input, error) { return b.input(1_000_000/b.scale, 30, false) }

// perEvent is time in µs.
type perEvent struct{ cpu, wall float64 }

// ratio is processor time in µs as a multiple of the limit's.
func (p perEvent) ratio(cpu float64) float64 { return cpu / p.cpu }

// measureLimit runs the limit over an input, in a process of its own, as the
// product is run.
func (b *runner) measureLimit(ctx context.Context, in *input) (perEvent, error) {
	u, err := b.yardstick(ctx, "limit", in.path)
	if err != nil {
		return perEvent{}, err
	}
	if in.limitBytes, err = strconv.ParseInt(strings.TrimSpace(u.out), 10, 64); err != nil {
		return perEvent{}, fmt.Errorf("limit: %w", err)
	}
	return u.perEvent(in.rows), nil
}

// bracket measures the limit before and after fn, and returns the mean: a slow
// spell of the machine slows both.
func (b *runner) bracket(ctx context.Context, in *input, fn func() error) (perEvent, error) {
	before, err := b.measureLimit(ctx, in)
	if err != nil {
		return perEvent{}, err
	}
	if err := fn(); err != nil {
		return perEvent{}, err
	}
	after, err := b.measureLimit(ctx, in)
	return mean(before, after), err
}

func mean(a, b perEvent) perEvent { return perEvent{(a.cpu + b.cpu) / 2, (a.wall + b.wall) / 2} }

// yardstick runs this program again.
func (b *runner) yardstick(ctx context.Context, args ...string) (usage, error) {
	self, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	return measure(ctx, b.dir, nil, self, args...)
}

// subject is measured once per round and build.
type subject struct {
	name string
	rows int
	// run measures one build.
	run func(build) (usage, error)
	// samples are by build and round.
	samples [][]sample
}

// sample is one measurement of a subject, with the mean of the limits around it.
type sample struct {
	usage
	rows  int
	limit perEvent
}

func (x sample) cpuRatio() float64  { return x.limit.ratio(x.perEvent(x.rows).cpu) }
func (x sample) wallRatio() float64 { return x.perEvent(x.rows).wall / x.limit.wall }

// alternate measures every subject once per round, and the limit between any two
// of them: each sample has the mean of the limits just before and just after it.
// A slow spell of the machine falls on the sample and on its limit. Of two builds
// the one comes first in one round, the other in the next.
func (b *runner) alternate(ctx context.Context, in *input, subjects []*subject, rounds int) error {
	before, err := b.measureLimit(ctx, in)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		s.samples = make([][]sample, len(b.builds))
	}
	for round := range rounds {
		for _, s := range subjects {
			for i := range b.builds {
				which := (round + i) % len(b.builds)
				u, err := s.run(b.builds[which])
				if err != nil {
					return fmt.Errorf("%s, round %d: %w", s.name, round+1, err)
				}
				after, err := b.measureLimit(ctx, in)
				if err != nil {
					return err
				}
				x := sample{usage: u, rows: s.rows, limit: mean(before, after)}
				s.samples[which] = append(s.samples[which], x)
				before = after
				progress("%s, %s build, %d/%d: %.2f s, CPU %.2f times the limit", s.name, b.builds[which].name, round+1, rounds, u.wall.Seconds(), x.cpuRatio())
			}
		}
	}
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

// processes measures the host and its plugins over generated files.
func processes(ctx context.Context, b *runner, r *report) error {
	store, err := startS3(ctx, b.root, b.dir)
	if err != nil {
		return err
	}
	defer store.stop()
	month, err := b.month()
	if err != nil {
		return err
	}
	year, err := b.input(1_000_000/b.scale, 400, true)
	if err != nil {
		return err
	}
	halves := split{dirs: map[build]string{}}
	small := []*subject{
		b.job(ctx, store, "localfs", month, "localfs"),
		b.job(ctx, store, "localfs, two destinations", month, "localfs", "localfs"),
		b.job(ctx, store, "s3", month, "s3"),
		b.job(ctx, store, "localfs, 400 days shuffled", year, "localfs"),
		{name: "reading alone", rows: month.rows, run: func(of build) (usage, error) { return halves.read(ctx, b.dir, of, month) }},
		{name: "exporting alone", rows: month.rows, run: func(of build) (usage, error) { return halves.export(ctx, of, month) }},
	}
	if duckdbPresent {
		small = append(small, b.duckdb(ctx, month))
	}
	if err := b.alternate(ctx, month, small, b.n); err != nil {
		return err
	}
	r.table(month, small, b.n)
	r.smallBars(small)
	if b.large == 0 {
		return nil
	}
	if err := b.remove(year); err != nil {
		return err
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

// remove frees the disk of an input.
func (b *runner) remove(in *input) error {
	delete(b.inputs, filepath.Base(in.path))
	return os.Remove(in.path)
}

// job is the host over an input, from files to destinations.
func (b *runner) job(ctx context.Context, store *s3server, name string, in *input, targets ...string) *subject {
	return &subject{name: name, rows: in.rows, run: func(of build) (usage, error) {
		return job{name, targets}.run(ctx, b.dir, of, in, store)
	}}
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
