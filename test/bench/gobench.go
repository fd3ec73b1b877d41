package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// goBench runs one Go benchmark of the product n times, once each, and returns
// the values by case and unit.
func goBench(ctx context.Context, root, pkg, pattern string, n int, env ...string) (map[string]map[string][]float64, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchtime", "1x", "-count", strconv.Itoa(n), "-timeout", "30m", pkg)
	cmd.Dir, cmd.Stderr, cmd.Env = root, os.Stderr, append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -bench %s %s: %w\n%s", pattern, pkg, err, out)
	}
	values := map[string]map[string][]float64{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "Benchmark"), "-")
		if values[name] == nil {
			values[name] = map[string][]float64{}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", line, err)
			}
			values[name][fields[i+1]] = append(values[name][fields[i+1]], v)
		}
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("go test -bench %s %s: no such benchmark", pattern, pkg)
	}
	return values, nil
}

// dedup measures what it costs to keep 20,000,000 keys of 2,000 seals apart.
func dedup(ctx context.Context, o options, r *report) error {
	values, err := goBench(ctx, o.root, "./host/internal/journal/keys", "^BenchmarkDedup$", min(o.n, 3))
	if err != nil {
		return err
	}
	v := values["Dedup"]
	fmt.Printf("\nDedup: %.0f keys over %.0f seals, medians of %d\n", median(v["keys"]), median(v["seals"]), min(o.n, 3))
	fmt.Printf("  new keys: %.2f µs CPU each over the first tenth, %.2f over the last, %.2f over all, merges included\n",
		median(v["µs/first-tenth"]), median(v["µs/last-tenth"]), median(v["µs/new-key"]))
	fmt.Printf("  re-pull of 200 days: %.2f µs CPU per key\n", median(v["µs/known-key"]))
	r.atMost("dedup, a new key", median(v["µs/new-key"]), 1, "µs CPU")
	r.atMost("dedup, a known key of a re-pull", median(v["µs/known-key"]), 1, "µs CPU")
	r.atMost("dedup, last tenth of the keys ÷ first", median(v["µs/last-tenth"])/median(v["µs/first-tenth"]), 1.5, "×")
	return nil
}

// planning measures a run's plan over 10,000 segments of 30 extents.
func planning(ctx context.Context, o options, r *report) error {
	values, err := goBench(ctx, o.root, "./host/internal/catalog", "^BenchmarkPlan$", o.n)
	if err != nil {
		return err
	}
	fmt.Printf("\nPlanning over 10,000 segments of 30 extents, medians of %d\n", o.n)
	for _, name := range []string{"Plan/live", "Plan/backfill", "Plan/all"} {
		if v := values[name]; v != nil {
			fmt.Printf("  %s: %.1f ms\n", strings.TrimPrefix(name, "Plan/"), median(v["ns/op"])/1e6)
			r.atMost("planning, "+strings.TrimPrefix(name, "Plan/"), median(v["ns/op"])/1e6, 50, "ms")
		}
	}
	return nil
}

// fold is a fold over the journal that is measured.
type fold struct {
	what, pkg, name           string
	wall, cpu, next, resident string // units
	seconds                   float64
}

// hostMemory is how a host is built and how it begins to collect garbage.
var hostMemory = []string{"CGO_ENABLED=0", "GOGC=800", "GOMEMLIMIT=140MiB"}

// folds measure how operations become profiles, and links mappings, each time
// in a process of its own.
func folds(ctx context.Context, o options, r *report) error {
	rounds := min(o.n, 3)
	fmt.Printf("\nFolds, medians of %d\n", rounds)
	for _, f := range []fold{
		{"1,000,000 profiles of 5,000,000 operations", "profile", "Fold", "s/fold", "CPU-s/fold", "s/next", "MiB/fold", 60},
		{"2,000,000 links, simplified", "identity", "Fold/simplified", "s/fold", "s-CPU/fold", "s/more", "MiB", 30},
		{"2,000,000 links, original", "identity", "Fold/original", "s/fold", "s-CPU/fold", "s/more", "MiB", 30},
	} {
		of := map[string][]float64{}
		for range rounds {
			values, err := goBench(ctx, o.root, "./host/internal/"+f.pkg, "^Benchmark"+strings.ReplaceAll(f.name, "/", "$/^")+"$", 1, hostMemory...)
			if err != nil {
				return err
			}
			for _, unit := range []string{f.wall, f.cpu, f.next, f.resident} {
				if len(values[f.name][unit]) != 1 {
					return fmt.Errorf("the benchmark %s of %s does not report %s", f.name, f.pkg, unit)
				}
				of[unit] = append(of[unit], values[f.name][unit][0])
			}
		}
		fmt.Printf("  %s: %.1f s, %.1f s CPU, %.0f MiB; one hundredth more: %.1f s\n",
			f.what, median(of[f.wall]), median(of[f.cpu]), median(of[f.resident]), median(of[f.next]))
		r.atMost(f.what, median(of[f.wall]), f.seconds, "s")
		r.atMost(f.what+", memory", median(of[f.resident]), 300, "MiB")
	}
	return nil
}
