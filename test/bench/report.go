package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// median is the middle value, or the mean of the two in the middle; NaN for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func valuesOf[T any](runs []T, value func(T) float64) []float64 {
	values := make([]float64, 0, len(runs))
	for _, run := range runs {
		values = append(values, value(run))
	}
	return values
}

func medianOf[T any](runs []T, value func(T) float64) float64 { return median(valuesOf(runs, value)) }

// paired are the quotients of the values of two subjects or builds in the same
// rounds.
func paired[T any](over, under []T, value func(T) float64) []float64 {
	quotients := make([]float64, 0, len(over))
	for i := range min(len(over), len(under)) {
		quotients = append(quotients, value(over[i])/value(under[i]))
	}
	return quotients
}

// span is the least and the largest value.
func span(values []float64) string {
	if len(values) < 2 {
		return ""
	}
	return fmt.Sprintf("%.2f to %.2f", slices.Min(values), slices.Max(values))
}

// last are the samples of the build under measurement, base those of the build
// that it is compared with.
func (s *subject) last() []sample { return s.samples[len(s.samples)-1] }
func (s *subject) base() []sample { return s.samples[0] }

func hostMiB(x sample) float64   { return float64(x.host()) / (1 << 20) }
func pluginMiB(x sample) float64 { return float64(x.plugin()) / (1 << 20) }

// bytesPerRow are bytes at the destination.
func bytesPerRow(x sample) float64 { return float64(x.stored) / float64(x.rows) }

// report prints tables in Markdown, as docs/benchmarks.md has them, and collects
// the bars.
type report struct {
	compare bool // there are two builds
	bars    []bar
}

// bar is a number that the product is held to.
type bar struct {
	name    string
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

func (r *report) atMost(name string, got, limit float64, unit string) {
	r.bars = append(r.bars, bar{name, limit, unit, false, got})
}

func (r *report) atLeast(name string, got, limit float64, unit string) {
	r.bars = append(r.bars, bar{name, limit, unit, true, got})
}

// row prints a line of a table.
func row(cells ...string) { fmt.Println("| " + strings.Join(cells, " | ") + " |") }

// head prints the head of a table. The first column is text, the others numbers.
func head(cells ...string) {
	fmt.Println()
	row(cells...)
	row(append([]string{"---"}, slices.Repeat([]string{"---:"}, len(cells)-1)...)...)
}

// number prints a value with the digits that are worth reading; empty for NaN.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return ""
	case math.Abs(v) >= 1000:
		return thousands(int64(math.Round(v)))
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 20:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// thousands prints 1234567 as 1,234,567.
func thousands(v int64) string {
	if v < 1000 {
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("%s,%03d", thousands(v/1000), v%1000)
}

// mib prints a size in whole MiB; empty for 0, which was not measured.
func mib(v float64) string {
	if v == 0 || math.IsNaN(v) {
		return ""
	}
	return fmt.Sprintf("%.0f", v)
}

// positive prints a value that is only known when it is above 0.
func positive(v float64) string {
	if v > 0 {
		return number(v)
	}
	return ""
}

// table prints medians over the rounds.
func (r *report) table(in *input, subjects []*subject, rounds int) {
	title := fmt.Sprintf("%s events of %d bytes, n = %d", thousands(int64(in.rows)), in.bytes/int64(in.rows), rounds)
	if r.compare {
		r.comparison(title, subjects)
	}
	head(title, "CPU ÷ limit", "least to most", "time ÷ limit", "bytes per row", "host MiB", "plugin MiB", "µs CPU per event")
	limits := limitsOf(subjects)
	row("limit", "1", "", "1", number(float64(in.limitBytes)/float64(in.rows)), "", "", number(medianOf(limits, func(l perEvent) float64 { return l.cpu })))
	for _, s := range subjects {
		x := s.last()
		ratios := valuesOf(x, sample.cpuRatio)
		row(s.name, number(median(ratios)), span(ratios), number(medianOf(x, sample.wallRatio)), positive(medianOf(x, bytesPerRow)),
			mib(medianOf(x, hostMiB)), mib(medianOf(x, pluginMiB)), number(medianOf(x, func(x sample) float64 { return x.perEvent(x.rows).cpu })))
	}
}

// comparison prints how two builds differ: medians of each, and of the quotients
// of the same rounds.
func (r *report) comparison(title string, subjects []*subject) {
	head(title, "CPU ÷ limit, base", "new", "new ÷ base", "least to most", "time, new ÷ base", "bytes per row, base", "new", "host MiB, base", "new")
	for _, s := range subjects {
		old, x := s.base(), s.last()
		quotients := paired(x, old, sample.cpuRatio)
		row(s.name, number(medianOf(old, sample.cpuRatio)), number(medianOf(x, sample.cpuRatio)), number(median(quotients)), span(quotients),
			number(median(paired(x, old, sample.wallRatio))), positive(medianOf(old, bytesPerRow)), positive(medianOf(x, bytesPerRow)),
			mib(medianOf(old, hostMiB)), mib(medianOf(x, hostMiB)))
	}
}

// limitsOf are all limits that were measured around samples of subjects.
func limitsOf(subjects []*subject) []perEvent {
	var limits []perEvent
	for _, s := range subjects {
		for _, samples := range s.samples {
			for _, x := range samples {
				limits = append(limits, x.limit)
			}
		}
	}
	return limits
}

func byName(subjects []*subject) map[string]*subject {
	by := map[string]*subject{}
	for _, s := range subjects {
		by[s.name] = s
	}
	return by
}

const ratio = "× the limit"

// smallBars are about a million events.
func (r *report) smallBars(subjects []*subject) {
	by := byName(subjects)
	local, twice := by["localfs"].last(), by["localfs, two destinations"].last()
	r.atMost("1 M to localfs, CPU", medianOf(local, sample.cpuRatio), 1.67, ratio)
	r.atMost("1 M to localfs, time", medianOf(local, sample.wallRatio), 5, ratio)
	r.atMost("1 M to localfs, bytes per row", medianOf(local, sample.sizeRatio), 1, "× level 1 of the same rows")
	r.atMost("a second destination adds", 100*(median(paired(twice, local, sample.cpuRatio))-1), 8, "% CPU")
	r.atMost("400 days, shuffled, CPU", medianOf(by["localfs, 400 days shuffled"].last(), sample.cpuRatio), 2.5, ratio)
	r.atMost("exporting alone, CPU", medianOf(by["exporting alone"].last(), sample.cpuRatio), 0.2, ratio)
	r.atMost("host memory, 1 M ÷ 100,000", growth(by["localfs"], by["localfs, a tenth of the events"], hostMiB), 1.1, "×")
	r.memoryBars("1 M", subjects)
}

// shapeBars are about a million events of varying shapes.
func (r *report) shapeBars(subjects []*subject) {
	x := subjects[0].last()
	r.atMost("1 M of varying shapes, CPU", medianOf(x, sample.cpuRatio), 2.2, ratio)
	r.atMost("1 M of varying shapes, bytes per row", medianOf(x, sample.sizeRatio), 1, "× level 1 of the same rows")
	r.memoryBars("1 M of varying shapes", subjects)
}

// growth is the median of a value of one subject as a multiple of another's.
func growth(over, under *subject, value func(sample) float64) float64 {
	return medianOf(over.last(), value) / medianOf(under.last(), value)
}

// largeBars are about ten million events.
func (r *report) largeBars(small, large []*subject) {
	little, big := byName(small), byName(large)
	local := big["localfs"].last()
	r.atMost("10 M to localfs, CPU", medianOf(local, sample.cpuRatio), 1.67, ratio)
	r.atMost("10 M to localfs, time", medianOf(local, sample.wallRatio), 5, ratio)
	r.atMost("CPU per event, 10 M ÷ 1 M", growth(big["localfs"], little["localfs"], sample.cpuRatio), 1.1, "×")
	r.atMost("host memory, 10 M ÷ 1 M", growth(big["localfs"], little["localfs"], hostMiB), 1.1, "×")
	r.atMost("host memory, 10 M ÷ 100,000", growth(big["localfs"], little["localfs, a tenth of the events"], hostMiB), 1.1, "×")
	r.atMost("localfs plugin memory, 10 M ÷ 1 M", growth(big["localfs"], little["localfs"], pluginMiB), 1.1, "×")
	r.atMost("s3 plugin memory, 10 M ÷ 1 M", growth(big["s3"], little["s3"], pluginMiB), 1.1, "×")
	r.memoryBars("10 M", large)
}

// memoryBars are about the subject that takes the most memory.
func (r *report) memoryBars(events string, subjects []*subject) {
	var host, plugin float64
	for _, s := range subjects {
		host, plugin = max(host, medianOf(s.last(), hostMiB)), max(plugin, medianOf(s.last(), pluginMiB))
	}
	r.atMost(events+", host memory, largest", host, 200, "MiB")
	r.atMost(events+", plugin memory, largest", plugin, 100, "MiB")
}

func (r *report) printBars() {
	head("bar", "measured", "verdict")
	for _, b := range r.bars {
		relation, verdict := "at most", "kept"
		if b.atLeast {
			relation = "at least"
		}
		if !b.kept() {
			verdict = fmt.Sprintf("**missed by %.0f %%**", 100*max(b.got/b.limit-1, 1-b.got/b.limit))
		}
		row(fmt.Sprintf("%s: %s %s %s", b.name, relation, strings.TrimSuffix(number(b.limit), ".00"), b.unit), number(b.got), verdict)
	}
}

// collectTable prints medians. The disk's line is of one sync per batch and
// nothing else, where the host syncs several at once with several connections; at
// a pace it is of one sync for all batches that wait.
func (r *report) collectTable(points []*point, builds []build, n int) {
	head(fmt.Sprintf("collected, synced before each answer, n = %d", n), "", "CPU ÷ limit", "and exported", "B/row", "÷ level 1", "p99 ÷ disk", "events/s", "p50 ms", "p99 ms", "sender's CPU ÷ limit", "MiB", "refused")
	for _, p := range points {
		for i, of := range builds {
			name := "host"
			if r.compare {
				name += ", " + of.name
			}
			x := p.host[i]
			p.line(name, x, []string{
				number(medianOf(x, served.acknowledged)), number(medianOf(x, served.throughout)), number(medianOf(x, served.bytesPerRow)),
				number(medianOf(x, served.overLevel1)), number(median(p.overDisk(x))),
			}, number(medianOf(x, func(s served) float64 { return s.limit.ratio(s.senderPerEvent()) })))
		}
		p.line("bare server", p.bare, make([]string, 5), "")
		row(p.String(), "disk", "", "", "", "", "", number(medianOf(p.disk, func(l loaded) float64 {
			return float64(len(l.latencies)*p.kind.events) / l.wall.Seconds()
		})), number(medianOf(p.disk, loaded.p50)), number(medianOf(p.disk, loaded.p99)), "", "", "")
	}
	if r.compare {
		r.collectComparison(points)
	}
}

// line prints one server at a point.
func (p *point) line(name string, x []served, ratios []string, sender string) {
	cells := append([]string{p.String(), name}, ratios...)
	row(append(cells, number(medianOf(x, served.rate)),
		number(medianOf(x, func(s served) float64 { return s.p50() })), number(medianOf(x, func(s served) float64 { return s.p99() })),
		sender, mib(medianOf(x, served.mib)), fmt.Sprintf("%.0f", medianOf(x, func(s served) float64 { return float64(s.refused) })))...)
}

// collectComparison prints how two builds collect, in the same rounds.
func (r *report) collectComparison(points []*point) {
	head("collected and exported", "CPU, new ÷ base", "least to most", "B/row, new ÷ base", "events/s, new ÷ base", "p99, new ÷ base")
	for _, p := range points {
		old, x := p.host[0], p.host[1]
		quotients := paired(x, old, served.throughout)
		row(p.String(), number(median(quotients)), span(quotients), number(median(paired(x, old, served.bytesPerRow))), number(median(paired(x, old, served.rate))),
			number(median(paired(x, old, func(s served) float64 { return s.p99() }))))
	}
}

func (r *report) collectBars(points []*point) {
	var memory float64
	for _, p := range points {
		x := p.host[len(p.host)-1]
		memory = max(memory, medianOf(x, served.mib))
		switch {
		case p.paced:
			r.atMost("collecting, "+p.String()+", p99", median(p.overDisk(x)), 5, "× the disk's")
		default:
			r.atMost("collecting and exporting, "+p.String()+", CPU", medianOf(x, served.throughout), p.kind.most, ratio)
			r.atMost("collecting and exporting, "+p.String()+", bytes", medianOf(x, served.overLevel1), 1, "× level 1")
		}
	}
	r.atMost("host memory while collecting, largest", memory, 200, "MiB")
}
