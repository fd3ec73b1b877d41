package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// median is the middle value, the upper one of two.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func medianOf[T any](runs []T, value func(T) float64) float64 {
	values := make([]float64, 0, len(runs))
	for _, run := range runs {
		values = append(values, value(run))
	}
	return median(values)
}

func (s *subject) median(value func(usage) float64) float64 { return medianOf(s.usages, value) }

func (s *subject) cpu(u usage) float64  { return u.cpu.Seconds() * 1e6 / float64(s.rows) }
func (s *subject) rate(u usage) float64 { return float64(s.rows) / u.wall.Seconds() }

func hostMiB(u usage) float64   { return float64(u.host()) / (1 << 20) }
func pluginMiB(u usage) float64 { return float64(u.plugin()) / (1 << 20) }

// bar is a number that the product is held to.
type bar struct {
	what    string
	limit   float64
	unit    string
	atLeast bool
	got     float64
}

func (b bar) kept() bool {
	if b.atLeast {
		return b.got >= b.limit
	}
	return b.got <= b.limit
}

type report struct{ bars []bar }

func (r *report) atMost(what string, got, limit float64, unit string) {
	r.bars = append(r.bars, bar{what, limit, unit, false, got})
}

func (r *report) atLeast(what string, got, limit float64, unit string) {
	r.bars = append(r.bars, bar{what, limit, unit, true, got})
}

// table prints the medians of subjects; the ratio is of CPU time to that of
// the first.
func (r *report) table(title string, subjects []*subject) {
	fmt.Printf("\n%s\n", title)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tevents/s\tµs CPU/event\tCPU ÷ limit\thost MiB\tplugin MiB\t")
	base := subjects[0].median(subjects[0].cpu)
	for _, s := range subjects {
		cpu := s.median(s.cpu)
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%s\t%s\t\n", s.name, s.median(s.rate), cpu, cpu/base, mib(s.median(hostMiB)), mib(s.median(pluginMiB)))
	}
	_ = w.Flush()
}

func mib(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", v)
}

func (r *report) processBars(small, large []*subject) {
	by := map[string]*subject{}
	for _, s := range small {
		by[s.name] = s
	}
	local, twice, s3, year := by["localfs"], by["localfs, twice"], by["s3"], by["localfs, 400 days"]
	r.atLeast("1 M to localfs", local.median(local.rate), 400_000, "events/s")
	r.atMost("1 M to localfs", local.median(local.cpu), 4.0, "µs CPU/event")
	r.atMost("second destination adds", 100*(twice.median(twice.cpu)/local.median(local.cpu)-1), 10, "% CPU")
	r.atMost("400 days, shuffled", year.median(year.cpu), 6.0, "µs CPU/event")
	hosts := []*subject{local, twice, s3, year}
	for _, s := range large {
		by[s.name+" 10 M"] = s
	}
	if len(large) > 0 {
		big, bigS3 := by["localfs 10 M"], by["s3 10 M"]
		hosts = append(hosts, big, bigS3)
		r.atLeast("10 M to localfs", big.median(big.rate), 400_000, "events/s")
		r.atMost("10 M to localfs", big.median(big.cpu), 4.0, "µs CPU/event")
		r.atMost("time per event, 10 M ÷ 1 M", local.median(local.rate)/big.median(big.rate), 1.1, "×")
		r.atMost("host memory, 10 M ÷ 1 M", big.median(hostMiB)/local.median(hostMiB), 1.1, "×")
		r.atMost("localfs plugin memory, 10 M ÷ 1 M", big.median(pluginMiB)/local.median(pluginMiB), 1.1, "×")
		r.atMost("s3 plugin memory, 10 M ÷ 1 M", bigS3.median(pluginMiB)/s3.median(pluginMiB), 1.1, "×")
	}
	var host, plugin float64
	for _, s := range hosts {
		host, plugin = max(host, s.median(hostMiB)), max(plugin, s.median(pluginMiB))
	}
	r.atMost("host memory, largest", host, 200, "MiB")
	r.atMost("plugin memory, largest", plugin, 100, "MiB")
}

func (r *report) printBars() {
	fmt.Println("\nBars")
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, b := range r.bars {
		sign, verdict := "≤", "kept"
		if b.atLeast {
			sign = "≥"
		}
		if !b.kept() {
			verdict = fmt.Sprintf("MISSED by %.0f %%", 100*max(b.got/b.limit-1, 1-b.got/b.limit))
		}
		fmt.Fprintf(w, "%s\t%s\t%s %s %s\t%s\n", b.what, number(b.got), sign, number(b.limit), b.unit, verdict)
	}
	_ = w.Flush()
}

func number(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.2f", v), ".00")
}

// collectTable prints medians. The disk's line is of one sync per batch and
// nothing else, where the host syncs several at once with several connections;
// at a pace it is of one sync for all batches that wait.
func (r *report) collectTable(points []*point, n int) {
	fmt.Printf("\nCollected over HTTP, synced before each answer; medians of %d\n", n)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tevents/s\tp50 ms\tp99 ms\tµs CPU/event\tof the sender\tMiB\trefused\t")
	for _, p := range points {
		how := fmt.Sprintf("%s, batches of %d, %d connections", p.name, p.kind.events, p.connections)
		if p.paced {
			how += fmt.Sprintf(", %d events/s", pacedRate)
		}
		fmt.Fprintf(w, "%s\t\t\t\t\t\t\t\t\n", how)
		servedLine(w, "host", p.host)
		servedLine(w, "bare server", p.bare)
		fmt.Fprintf(w, "disk\t%.0f\t%.1f\t%.1f\t\t\t\t\t\n",
			medianOf(p.disk, func(l loaded) float64 {
				return float64(len(l.latencies)*p.kind.events) / l.wall.Seconds()
			}),
			medianOf(p.disk, func(l loaded) float64 { return l.percentile(0.5) }),
			medianOf(p.disk, func(l loaded) float64 { return l.percentile(0.99) }))
	}
	_ = w.Flush()
}

func servedLine(w io.Writer, name string, runs []served) {
	fmt.Fprintf(w, "%s\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%.0f\t%.0f\t\n", name,
		medianOf(runs, served.rate),
		medianOf(runs, func(s served) float64 { return s.percentile(0.5) }),
		medianOf(runs, func(s served) float64 { return s.percentile(0.99) }),
		medianOf(runs, served.cpuPerEvent),
		medianOf(runs, func(s served) float64 { return s.loaded.cpu.Seconds() * 1e6 / float64(s.events) }),
		medianOf(runs, served.mib),
		medianOf(runs, func(s served) float64 { return float64(s.refused) }))
}

func (r *report) collectBars(points []*point) {
	var memory float64
	for _, p := range points {
		memory = max(memory, medianOf(p.host, served.mib))
		switch {
		case p.paced:
			r.atMost(fmt.Sprintf("p99 at %d events/s, batches of %d", pacedRate, p.kind.events),
				medianOf(p.host, func(s served) float64 { return s.percentile(0.99) }), 50, "ms")
		case p.kind.events == 2000:
			r.atLeast(fmt.Sprintf("collected in batches of %d, %d connections", p.kind.events, p.connections), medianOf(p.host, served.rate), 60_000, "events/s")
		}
	}
	r.atMost("host memory while collecting, largest", memory, 200, "MiB")
}
