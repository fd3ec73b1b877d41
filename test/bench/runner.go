package main

import (
	"context"
	"fmt"
	"math"
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
	return b.generated(inputName(rows, days, shuffled), func() (*input, error) { return generate(b.dir, rows, days, shuffled) })
}

// wide generates an input of wide events on first use.
func (b *runner) wide(rows, days int) (*input, error) {
	return b.generated(wideName(rows, days, wideSize), func() (*input, error) { return generateWide(b.dir, rows, days, wideSize) })
}

// shapes generates an input of events of many shapes on first use.
func (b *runner) shapes(rows, days int) (*input, error) {
	return b.generated(shapesName(rows, days), func() (*input, error) { return generateShapes(b.dir, rows, days) })
}

// generated returns the input of a name, which generate makes on first use.
func (b *runner) generated(name string, generate func() (*input, error)) (*input, error) {
	if b.inputs[name] == nil {
		in, err := generate()
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

// sizeRatio is the size of the objects as a multiple of that of their rows at level 1;
// NaN when it was not counted.
func (x sample) sizeRatio() float64 {
	if x.level == 0 {
		return math.NaN()
	}
	return float64(x.stored) / float64(x.level)
}

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

// remove frees the disk of an input.
func (b *runner) remove(in *input) error {
	delete(b.inputs, filepath.Base(in.path))
	return os.Remove(in.path)
}
