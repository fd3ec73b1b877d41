package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host"
)

// progress prints the reports of a host at work: bars on a terminal, one for each
// activity that is under way, plain lines otherwise, JSON lines or lines of the log for
// machines.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	log   *slog.Logger // of style logLines
	style progressStyle
	now   func() time.Time
	seen  map[string]*activity
	block block // of style bars
}

type progressStyle int

const (
	plainLines progressStyle = iota
	bars
	jsonLines
	logLines
)

// activity is one thing that is under way.
type activity struct {
	began   time.Time
	printed time.Time
	last    host.Report // that was printed
	changed time.Time   // when last came; of style bars
}

// How often an activity that is under way is printed, by style.
var progressEvery = map[progressStyle]time.Duration{plainLines: 5 * time.Second, jsonLines: time.Second, logLines: 5 * time.Second}

// progress returns an observer that prints progress on standard error: as
// lines of the log when that is JSON and the command's result is not.
func (c *cli) progress() *progress {
	switch {
	case c.json:
		return newProgress(c.err, jsonLines)
	case c.logJSON:
		p := newProgress(c.err, logLines)
		p.log = c.log
		return p
	case terminal(c.err):
		p := newProgress(c.err, bars)
		p.block.width = func() int { return terminalWidth(c.err) }
		c.bars = p
		return p
	}
	return newProgress(c.err, plainLines)
}

func newProgress(out io.Writer, style progressStyle) *progress {
	return &progress{out: out, style: style, now: time.Now, seen: map[string]*activity{}, block: block{out: unescaped(out)}}
}

// Report implements host.Observer.
func (p *progress) Report(r host.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	key := r.Stage + " " + r.Name
	a := p.seen[key]
	if a == nil {
		a = &activity{began: now, printed: now}
		p.seen[key] = a
		if p.style == plainLines || p.style == logLines {
			a.printed = now.Add(-progressEvery[p.style]).Add(2 * time.Second)
		}
	}
	if p.style == bars {
		p.reportBar(key, a, r, now)
		return
	}
	// An activity that waits, such as a followed source, is not printed.
	if !r.Done && r.Text == "" && (now.Sub(a.printed) < progressEvery[p.style] || r == a.last) {
		return
	}
	a.printed, a.last = now, r
	p.print(r, now.Sub(a.began))
	if r.Done {
		delete(p.seen, key)
	}
}

func (p *progress) print(r host.Report, elapsed time.Duration) {
	switch p.style {
	case jsonLines:
		// An unwritable standard error has no other place to be reported to.
		_ = json.NewEncoder(p.out).Encode(r)
	case logLines:
		p.log.Info("progress", "stage", r.Stage, "name", r.Name, "rows", r.Rows, "bytes", r.Bytes, "total", r.Total,
			"duplicates", r.Duplicates, "quarantined", r.Quarantined, "done", r.Done, "text", r.Text)
	default:
		fmt.Fprintln(p.out, line(r, elapsed))
	}
}

// reportBar draws the bar of an activity. Its end, or its message, is a line above the
// bars.
func (p *progress) reportBar(key string, a *activity, r host.Report, now time.Time) {
	switch {
	case r.Done:
		delete(p.seen, key)
		p.block.remove(a)
		p.block.above(line(r, now.Sub(a.began))+"\n", now)
	case r.Text != "":
		p.block.above(line(r, now.Sub(a.began))+"\n", now)
	case r != a.last:
		a.last, a.changed = r, now
		p.block.put(a, now)
	}
}

// Write prints lines of a log above the bars.
func (p *progress) Write(lines []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.block.above(escape(string(lines)), p.now())
	return len(lines), nil
}

// Close leaves the terminal's line clean.
func (p *progress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.block.close()
}

// line is a report in words.
func line(r host.Report, elapsed time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-7s %s", r.Stage, escape(r.Name))
	if r.Text != "" {
		return b.String() + ": " + strings.ReplaceAll(escape(r.Text), "\n", " ")
	}
	if r.Stage == "pull" && r.Rows == 0 && !r.Done {
		fmt.Fprintf(&b, ": %s downloaded", size(r.Bytes))
		return b.String()
	}
	fmt.Fprintf(&b, ": %s", many(r.Rows, "row"))
	if r.Bytes > 0 {
		fmt.Fprintf(&b, ", %s", size(r.Bytes))
	}
	if r.Duplicates > 0 {
		fmt.Fprintf(&b, ", %s repeated", thousands(r.Duplicates))
	}
	if r.Quarantined > 0 {
		fmt.Fprintf(&b, ", %s set aside in quarantine", thousands(r.Quarantined))
	}
	if r.Done {
		fmt.Fprintf(&b, ", done in %s", elapsed.Round(10*time.Millisecond))
	}
	return b.String()
}

// bar draws how much of the known total is done.
func bar(r host.Report) string {
	const width = 20
	if r.Total <= 0 {
		return "[" + strings.Repeat("·", width) + "]"
	}
	full := int(min(r.Bytes, r.Total) * width / r.Total)
	return "[" + strings.Repeat("█", full) + strings.Repeat("·", width-full) + "]"
}

// thousands groups digits by three.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size is a number of bytes in binary units.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1024 && unit < 3 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %s", value, [...]string{"KiB", "MiB", "GiB", "TiB"}[unit])
}
