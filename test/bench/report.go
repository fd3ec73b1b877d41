package main

import (
	"fmt"
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

func (s *subject) median(value func(usage) float64) float64 {
	values := make([]float64, 0, len(s.usages))
	for _, u := range s.usages {
		values = append(values, value(u))
	}
	return median(values)
}

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
