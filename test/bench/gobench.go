package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
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

// dedup measures how 20,000,000 keys of 2,000 seals are kept apart.
func dedup(ctx context.Context, b *runner, r *report) error {
	rounds := min(b.n, 3)
	values, limit, err := b.goBench(ctx, "./host/internal/journal/keys", "^BenchmarkDedup$", rounds)
	if err != nil {
		return err
	}
	v := values["Dedup"]
	head(fmt.Sprintf("dedup, %s keys over %s seals, n = %d", number(median(v["keys"])), number(median(v["seals"])), rounds), "CPU per key ÷ limit per event", "µs CPU")
	for _, line := range []struct{ name, unit string }{
		{"new keys, merges included", "µs/new-key"}, {"new keys, first tenth", "µs/first-tenth"}, {"new keys, last tenth", "µs/last-tenth"},
		{"known keys, of a re-pull of 200 days", "µs/known-key"},
	} {
		row(line.name, number(limit.ratio(median(v[line.unit]))), number(median(v[line.unit])))
	}
	r.atMost("dedup, a new key", limit.ratio(median(v["µs/new-key"])), 1, ratio)
	r.atMost("dedup, a known key of a re-pull", limit.ratio(median(v["µs/known-key"])), 1, ratio)
	r.atMost("dedup, last tenth of the keys ÷ first", median(v["µs/last-tenth"])/median(v["µs/first-tenth"]), 1.5, "×")
	return nil
}

// goBench runs a Go benchmark as the function goBench does, and measures the
// limit around it.
func (b *runner) goBench(ctx context.Context, pkg, pattern string, n int, env ...string) (map[string]map[string][]float64, perEvent, error) {
	month, err := b.month()
	if err != nil {
		return nil, perEvent{}, err
	}
	var values map[string]map[string][]float64
	limit, err := b.bracket(ctx, month, func() (err error) {
		values, err = goBench(ctx, b.root, pkg, pattern, n, env...)
		return err
	})
	return values, limit, err
}

// columnRate is the number of rows that must be written as Parquet per second of
// CPU, the decompression of the batches included.
const columnRate = 150_000

// columns measures how batches become Parquet files.
func columns(ctx context.Context, b *runner, r *report) error {
	values, err := goBench(ctx, b.root, "./plugins/internal/parquet", "^BenchmarkWrite$", b.n)
	if err != nil {
		return err
	}
	v := values["Write"]
	head(fmt.Sprintf("Parquet, events of 754 bytes, n = %d", b.n), "rows per CPU second", "size ÷ gzip NDJSON")
	row("Zstandard, level 1", thousands(int64(median(v["rows/cpu-s"]))), number(median(v["size/gzip"])))
	if err := columnPlugin(ctx, b, r); err != nil {
		return err
	}
	r.atLeast("Parquet, rows per CPU second", median(v["rows/cpu-s"]), columnRate, "rows/s")
	r.atMost("Parquet, size ÷ gzip NDJSON", median(v["size/gzip"]), 1, "× gzip NDJSON")
	return nil
}

const (
	columnRows = 2_000_000
	// rowGroup is the approximate size of the values of one row group in memory, in MiB.
	rowGroup = 64
)

// columnPlugin measures a plugin that writes Parquet, apart from the host, and the size
// of its files next to those of the same run as gzip NDJSON.
func columnPlugin(ctx context.Context, b *runner, r *report) error {
	of := b.builds[len(b.builds)-1]
	journal, err := b.storeJournal(ctx, of, map[string]*journal{}, func() (*input, error) { return b.input(columnRows/b.scale, 30, false) })
	if err != nil {
		return err
	}
	s3 := benchedStores[slices.IndexFunc(benchedStores, func(s benched) bool { return s.name == "s3" })]
	plain, columns := storeRun{s3, journal, 2}, storeRun{s3.inParquet(), journal, 2}
	var cpu, memory, size []float64
	for range b.n {
		lines, err := plain.run(ctx, b.dir, of)
		if err != nil {
			return err
		}
		u, err := columns.run(ctx, b.dir, of)
		if err != nil {
			return err
		}
		cpu = append(cpu, float64(journal.in.rows)/u.pluginCPU().Seconds())
		memory = append(memory, float64(u.plugin())/(1<<20))
		size = append(size, float64(u.stored)/float64(lines.stored))
		progress("%s: %.0f rows per CPU second, %.0f MiB", columns.name(), cpu[len(cpu)-1], memory[len(memory)-1])
	}
	row(columns.name()+", rows per CPU second of the plugin", thousands(int64(median(cpu))), number(median(size)))
	row(columns.name()+", plugin MiB", mib(slices.Max(memory)))
	r.atMost("plugin of "+columns.name()+", memory", slices.Max(memory), pluginMemory+rowGroup, "MiB")
	return nil
}

// planTime is how long a plan may take: the limit's time for as many events.
const planTime = 100_000

// planning measures a run's plan over 10,000 segments of 30 extents.
func planning(ctx context.Context, b *runner, r *report) error {
	values, limit, err := b.goBench(ctx, "./host/internal/catalog", "^BenchmarkPlan$", b.n)
	if err != nil {
		return err
	}
	head(fmt.Sprintf("planning over 10,000 segments of 30 extents, n = %d", b.n), "the limit's time for so many events", "ms")
	for _, name := range []string{"live", "backfill", "all"} {
		nanoseconds := median(values["Plan/"+name]["ns/op"])
		row(name, number(nanoseconds/1e3/limit.wall), number(nanoseconds/1e6))
		r.atMost("planning, "+name, nanoseconds/1e3/limit.wall/planTime, 1, "× the limit's time for "+thousands(planTime)+" events")
	}
	return nil
}

// keeping measures passes over 1,000 segments while rows are exported.
func keeping(ctx context.Context, b *runner, r *report) error {
	rounds := min(b.n, 3)
	values, err := goBench(ctx, b.root, "./host/internal/upkeep", "^BenchmarkUpkeep$", rounds)
	if err != nil {
		return err
	}
	head(fmt.Sprintf("a pass over 1,000 segments during exports, n = %d", rounds), "segments per minute", "files after", "MiB freed", "MiB/s exported")
	for _, name := range []string{"compaction/20", "compaction/500", "retention/20", "retention/500"} {
		v := values["Upkeep/"+name]
		row(strings.Replace(name, "/", ", rows per segment: ", 1), number(median(v["segments/min"])), number(median(v["files"])),
			number(median(v["MiB-freed"])), number(median(v["MiB/s-exported"])))
		r.atLeast("segments per minute, "+name, median(v["segments/min"]), 1000, "segments/min")
	}
	return nil
}

// runTime is how much time of a processor the planning and the bookkeeping of a run may
// take with 1,000 pipelines.
const runTime = 2 // ms

// schedules measures what a run costs without its rows, with 1,000 pipelines. Two builds
// are measured in turns; the base needs its sources then.
func schedules(ctx context.Context, b *runner, r *report) error {
	spent := make([][]float64, len(b.builds))
	for range b.n {
		for i, of := range b.builds {
			values, err := goBench(ctx, of.root, "./host/internal/runner", "^BenchmarkThousandPipelines$", 1)
			if err != nil {
				return fmt.Errorf("%s build: %w", of.name, err)
			}
			spent[i] = append(spent[i], values["ThousandPipelines"]["ms-CPU/run"]...)
		}
	}
	head(fmt.Sprintf("1,000 pipelines, n = %d", b.n), "planning and bookkeeping of a run, ms CPU", "least to most")
	for i, of := range b.builds {
		row("one run each, "+of.name, number(median(spent[i])), span(spent[i]))
	}
	r.atMost("1,000 pipelines, planning and bookkeeping of a run", median(spent[len(spent)-1]), runTime, "ms CPU")
	return nil
}

// fold is a fold over the journal that is measured.
type fold struct {
	name                      string
	rows                      int
	pkg, bench                string
	wall, cpu, next, resident string  // units that the benchmark reports
	times                     float64 // of the limit's time for as many events, at most
}

// hostMemory is how a host is built and how it begins to collect garbage.
var hostMemory = []string{"CGO_ENABLED=0", "GOGC=800", "GOMEMLIMIT=140MiB"}

// folds measure how operations become profiles, and links mappings, each time in a
// process of its own.
func folds(ctx context.Context, b *runner, r *report) error {
	rounds := min(b.n, 3)
	head(fmt.Sprintf("folds, n = %d", rounds), "CPU ÷ limit", "time ÷ limit", "MiB", "s", "one hundredth more, s")
	for _, f := range []fold{
		{"5,000,000 operations on 1,000,000 profiles", 5_000_000, "profile", "Fold", "s/fold", "CPU-s/fold", "s/next", "MiB/fold", 24},
		{"2,000,000 links, simplified", 2_000_000, "identity", "Fold/simplified", "s/fold", "s-CPU/fold", "s/more", "MiB", 30},
		{"2,000,000 links, original", 2_000_000, "identity", "Fold/original", "s/fold", "s-CPU/fold", "s/more", "MiB", 30},
	} {
		if err := f.measure(ctx, b, r, rounds); err != nil {
			return err
		}
	}
	return nil
}

func (f fold) measure(ctx context.Context, b *runner, r *report, rounds int) error {
	of := map[string][]float64{}
	var cpu, wall []float64 // multiples of the limit
	for range rounds {
		values, limit, err := b.goBench(ctx, "./host/internal/"+f.pkg, "^Benchmark"+strings.ReplaceAll(f.bench, "/", "$/^")+"$", 1, hostMemory...)
		if err != nil {
			return err
		}
		v := values[f.bench]
		for _, unit := range []string{f.wall, f.cpu, f.next, f.resident} {
			if len(v[unit]) != 1 {
				return fmt.Errorf("the benchmark %s of %s does not report %s", f.bench, f.pkg, unit)
			}
			of[unit] = append(of[unit], v[unit][0])
		}
		cpu = append(cpu, limit.ratio(v[f.cpu][0]*1e6/float64(f.rows)))
		wall = append(wall, v[f.wall][0]*1e6/float64(f.rows)/limit.wall)
		progress("%s: %.1f s, CPU %.2f times the limit", f.name, v[f.wall][0], cpu[len(cpu)-1])
	}
	row(f.name, number(median(cpu)), number(median(wall)), mib(median(of[f.resident])), number(median(of[f.wall])), number(median(of[f.next])))
	r.atMost(f.name+", time", median(wall), f.times, "× the limit's for as many events")
	r.atMost(f.name+", memory", median(of[f.resident]), 300, "MiB")
	return nil
}
