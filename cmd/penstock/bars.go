package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	drawEvery = 100 * time.Millisecond
	// idleBar is after how long without news the bar of an activity goes: a source that
	// is followed, a query that failed.
	idleBar  = 15 * time.Second
	mostBars = 8
	// narrow is the width of a terminal that does not tell its own.
	narrow = 80
)

// block is the last lines of a terminal, which are drawn again and again: a bar for each
// activity that is under way, in the order in which they began.
//
//	[████████████········] pull    mixpanel.pull, 2026-06-03: 120,000 rows, 86.1 MiB
//	[····················] pull    mixpanel.pull, 2026-06-02: 31.4 MiB downloaded
type block struct {
	out   io.Writer  // takes control characters
	width func() int // columns; nil: narrow
	live  []*activity
	drawn int // lines of the block that stand on the terminal
	last  time.Time
}

// put adds an activity, unless it is there, and draws the block from time to time.
func (b *block) put(a *activity, now time.Time) {
	if !slices.Contains(b.live, a) {
		b.live = append(b.live, a)
	}
	if now.Sub(b.last) >= drawEvery {
		b.above("", now)
	}
}

func (b *block) remove(a *activity) {
	b.live = slices.DeleteFunc(b.live, func(other *activity) bool { return other == a })
}

// above prints text, whole lines without control characters, above the block, which is
// drawn again.
func (b *block) above(text string, now time.Time) {
	var lines []string
	b.live = slices.DeleteFunc(b.live, func(a *activity) bool { return now.Sub(a.changed) > idleBar })
	for i, a := range b.live {
		if i == mostBars-1 && len(b.live) > mostBars {
			lines = append(lines, fmt.Sprintf("… and %d more", len(b.live)-i))
			break
		}
		lines = append(lines, b.fit(bar(a.last)+" "+line(a.last, now.Sub(a.began))))
	}
	// In one piece, so that nothing flickers.
	b.write(b.erase() + text + strings.Join(lines, "\n"))
	b.drawn, b.last = len(lines), now
}

// erase is the text that removes the block.
func (b *block) erase() string {
	switch b.drawn {
	case 0:
		return ""
	case 1:
		return "\r\x1b[J"
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[J", b.drawn-1)
}

// close removes the block.
func (b *block) close() {
	b.write(b.erase())
	b.live, b.drawn = nil, 0
}

func (b *block) write(text string) {
	if text != "" {
		// An unwritable standard error has no other place to be reported to.
		_, _ = io.WriteString(b.out, text)
	}
}

// fit cuts a line that the terminal would wrap: the block's lines are counted.
func (b *block) fit(line string) string {
	most := narrow
	if b.width != nil {
		most = b.width()
	}
	if utf8.RuneCountInString(line) < most {
		return line
	}
	runes := []rune(line)
	return string(runes[:max(most-2, 0)]) + "…"
}

// terminalWidth returns the columns of a terminal.
func terminalWidth(w io.Writer) int {
	f, ok := unescaped(w).(*os.File)
	if !ok {
		return narrow
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col < 20 {
		return narrow
	}
	return int(size.Col)
}

// logWriter writes the lines of a host's log: above the bars, if there are any.
type logWriter struct{ c *cli }

func (w logWriter) Write(lines []byte) (int, error) {
	if w.c.bars != nil {
		return w.c.bars.Write(lines)
	}
	return w.c.err.Write(lines)
}
