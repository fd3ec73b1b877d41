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
	"slices"
	"strconv"
	"strings"
)

// options are the command line's.
type options struct {
	root  string // checkout of Penstock, with its binaries
	base  string // another one, to compare with; empty: none
	work  string // directory for inputs and outputs; empty: a temporary one
	n     int    // rounds at 1 M, and of the Go benchmarks
	large int    // rounds at 10 M; 0: none
	scale int    // divides every number of rows, to try the bench itself
	only  string // part or parts, separated by commas; empty: all
	store string // of the part stores: the stores, separated by commas; empty: all
	// sending is of the part collect: ways of sending whose names have it; empty: all.
	sending string
}

// part is a part of the bench that can run alone.
type part struct {
	name string
	run  func(context.Context, *runner, *report) error
}

// parts run in this order.
var parts = []part{
	{"process", processes},
	{"cores", cores},
	{"stores", stores},
	{"collect", collecting},
	{"pulls", pulls},
	{"folds", folds},
	{"dedup", dedup},
	{"columns", columns},
	{"planning", planning},
	{"upkeep", keeping},
	{"schedules", schedules},
	{"idle", idle},
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", "../..", "checkout of Penstock, built")
	flag.StringVar(&o.base, "base", "", "another checkout, or a directory with its bin: its binaries are measured in turns with those of -root, and compared")
	flag.StringVar(&o.work, "work", "", "directory for inputs and outputs (about 20 GB); default: a temporary one")
	flag.IntVar(&o.n, "n", 5, "rounds")
	flag.IntVar(&o.large, "large", 3, "rounds with 10 million events; 0: none")
	flag.IntVar(&o.scale, "scale", 1, "divide every number of rows by this")
	flag.StringVar(&o.only, "only", "", "parts to run, separated by commas: "+strings.Join(partNames(), ", ")+"; default: all")
	flag.StringVar(&o.store, "store", "", "stores of the part stores, separated by commas: "+strings.Join(storeNames(), ", ")+"; default: all")
	flag.StringVar(&o.sending, "sending", "", "ways of sending of the part collect, by a part of their names, such as /track, or \"8 connections\"; default: all")
	flag.Parse()
	if err := command(o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command runs the bench. With arguments it runs a yardstick instead, in a
// process of its own: limit FILE, duckdb FILE DIR, discard ADDRESS ANSWER, mixpanel ADDRESS FILE; or it
// generates an input: generate DIR ROWS DAYS ordered|shuffled.
func command(o options, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "limit":
		return limit(args[1])
	case len(args) == 3 && args[0] == "duckdb":
		return duckdbCopy(args[1], args[2])
	case len(args) == 3 && args[0] == "discard":
		return discard(args[1], args[2])
	case len(args) == 3 && args[0] == "mixpanel":
		return mixpanel(args[1], args[2])
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

// choose returns the names of a list that is separated by commas; none of the empty one. It
// returns an error if one of them is not known.
func choose(kind, list string, known []string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no %s %q; there are %s", kind, name, strings.Join(known, ", "))
		}
	}
	return names, nil
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

func storeNames() (names []string) {
	for _, s := range benchedStores {
		names = append(names, s.name)
	}
	return names
}

func bench(ctx context.Context, o options) (err error) {
	chosen, err := choose("part", o.only, partNames())
	if err != nil {
		return err
	}
	if _, err := choose("store", o.store, storeNames()); err != nil {
		return err
	}
	work, err := os.MkdirTemp(o.work, "penstock-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b, err := newRunner(o, work)
	if err != nil {
		return err
	}
	r := &report{compare: len(b.builds) > 1}
	fmt.Printf("%d processors, %s, %s; load average %s at the beginning\n", runtime.NumCPU(), cpuModel(), runtime.Version(), loadAverage())
	for _, p := range parts {
		if chosen != nil && !slices.Contains(chosen, p.name) {
			continue
		}
		if err := p.run(ctx, b, r); err != nil {
			return err
		}
	}
	r.printBars()
	fmt.Printf("\nLoad average %s at the end.\n", loadAverage())
	return nil
}

// loadAverage is the kernel's, over one, five and fifteen minutes. Other work on
// the machine makes numbers less certain.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(b))
	return strings.Join(fields[:min(3, len(fields))], " ")
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

// build is one set of binaries.
type build struct {
	name string
	root string // directory that has bin/penstock and bin/plugins
}

func (b build) penstock() string { return filepath.Join(b.root, "bin", "penstock") }
func (b build) plugins() string  { return filepath.Join(b.root, "bin", "plugins") }

// newBuild finds the binaries of a checkout, or of a directory with its bin.
func newBuild(name, dir string) (build, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return build{}, err
	}
	b := build{name, dir}
	if _, err := os.Stat(b.penstock()); err != nil {
		return build{}, fmt.Errorf("%s has no bin/penstock: run make build there (%w)", dir, err)
	}
	return b, nil
}
