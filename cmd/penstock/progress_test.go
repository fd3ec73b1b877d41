package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host"
)

// Progress is printed from time to time, and always the latest; an activity that
// waits is not printed.
func TestProgressOfASourceThatWaits(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := newProgress(&out, jsonLines)
	p.now = func() time.Time { return now }
	report := func(seconds int, rows int64) {
		for range seconds * 10 {
			p.Report(host.Report{Stage: "import", Name: "files.in", Rows: rows})
			now = now.Add(100 * time.Millisecond)
		}
	}
	report(5, 10)
	report(30, 20)
	report(30, 25)
	p.Report(host.Report{Stage: "import", Name: "files.in", Rows: 25, Done: true})
	const want = `{"stage":"import","name":"files.in","rows":10,"bytes":0}
{"stage":"import","name":"files.in","rows":20,"bytes":0}
{"stage":"import","name":"files.in","rows":25,"bytes":0}
{"stage":"import","name":"files.in","rows":25,"bytes":0,"done":true}
`
	if out.String() != want {
		t.Errorf("printed:\n%s", out.String())
	}
}

// screen returns the lines that a terminal shows after a command's output. It knows newlines, carriage
// returns, and the two sequences that bars are drawn with.
func screen(t *testing.T, output string) string {
	t.Helper()
	lines, at := []string{""}, 0
	for len(output) > 0 {
		switch {
		case output[0] == '\n':
			if at++; at == len(lines) {
				lines = append(lines, "")
			}
			output = output[1:]
		case output[0] == '\r':
			lines[at], output = "", output[1:] // the output erases the rest, too
		case strings.HasPrefix(output, "\x1b[J"):
			lines[at], lines, output = "", lines[:at+1], output[len("\x1b[J"):]
		case output[0] == 0x1b:
			var up int
			if _, err := fmt.Sscanf(output, "\x1b[%dA", &up); err != nil || up > at {
				t.Fatalf("%q in line %d", output[:min(len(output), 9)], at)
			}
			at -= up
			output = output[strings.Index(output, "A")+1:]
		default:
			lines[at], output = lines[at]+output[:1], output[1:]
		}
	}
	return strings.Join(lines, "\n")
}

// Each activity that is under way has a bar of its own below the lines of those that
// have ended, of messages and of the log.
func TestBarsOfSeveralPulls(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := newProgress(escaped{&out}, bars)
	p.now = func() time.Time { return now }
	p.block.width = func() int { return 60 }
	report := func(r host.Report) {
		r.Stage = "pull"
		p.Report(r)
		now = now.Add(200 * time.Millisecond)
	}
	shows := func(want string) {
		t.Helper()
		if got := screen(t, out.String()); got != want {
			t.Errorf("the terminal shows\n%s\nwant\n%s", got, want)
		}
	}
	report(host.Report{Name: "a", Bytes: 1 << 20})
	report(host.Report{Name: "b", Bytes: 2 << 20})
	report(host.Report{Name: "a", Bytes: 3 << 20})
	shows("[····················] pull    a: 3.0 MiB downloaded\n[····················] pull    b: 2.0 MiB downloaded")
	report(host.Report{Name: "a", Rows: 10, Bytes: 3 << 19, Total: 3 << 20})
	shows("[██████████··········] pull    a: 10 rows, 1.5 MiB\n[····················] pull    b: 2.0 MiB downloaded")
	report(host.Report{Name: "mixpanel.pull", Text: "waits"})
	if _, err := p.Write([]byte("level=WARN msg=\x1b[2J\n")); err != nil {
		t.Error(err)
	}
	report(host.Report{Name: "a", Rows: 20, Bytes: 3 << 20, Done: true})
	const lines = "pull    mixpanel.pull: waits\nlevel=WARN msg=\\x1b[2J\npull    a: 20 rows, 3.0 MiB, done in 1s\n"
	shows(lines + "[····················] pull    b: 2.0 MiB downloaded")
	// A line is not wrapped, and a name does not steer the terminal.
	report(host.Report{Name: "a long name \x1b[1A with " + strings.Repeat("ö", 60), Bytes: 1})
	shows(lines + "[····················] pull    b: 2.0 MiB downloaded\n[····················] pull    a long name \\x1b[1A with öö…")
	// The bar of a query that failed goes.
	now = now.Add(idleBar)
	report(host.Report{Name: "c", Bytes: 1})
	shows(lines + "[····················] pull    c: 1 B downloaded")
	for n := range 12 {
		report(host.Report{Name: fmt.Sprint("d", n), Bytes: 1})
	}
	got := strings.Split(screen(t, out.String()), "\n")
	if len(got) != 3+mostBars || got[len(got)-1] != "… and 6 more" {
		t.Errorf("of 13 activities it shows %d lines, the last %q", len(got)-3, got[len(got)-1])
	}
	p.Close()
	shows(lines)
}
