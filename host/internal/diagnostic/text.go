package diagnostic

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// Colours of a terminal.
const (
	red, yellow, bold, faint, reset = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
)

// width is how many characters of a source line are shown; of a longer one the
// part around the place.
const width = 160

// WriteText renders diagnostics for people: place and summary, the line with the
// place marked, the detail, and an empty line. colour is for terminals. Errors of w are left to the caller's own writes.
func WriteText(w io.Writer, diagnostics Diagnostics, sources Sources, colour bool) {
	paint := func(code, text string) string {
		if !colour || text == "" {
			return text
		}
		return code + text + reset
	}
	for _, d := range diagnostics {
		place, code := "", red
		if d.Subject != nil {
			place = fmt.Sprintf("%s:%d:%d: ", printable(d.Subject.Filename), d.Subject.Start.Line, d.Subject.Start.Column)
		}
		if d.Severity == hcl.DiagWarning {
			code = yellow
		}
		fmt.Fprintf(w, "%s%s: %s\n", paint(bold, place), paint(code, severity(d)), paint(bold, printable(d.Summary)))
		writeSnippet(w, d, sources, code, paint)
		for text := range strings.SplitSeq(d.Detail, "\n") {
			if text != "" {
				fmt.Fprintf(w, "    %s\n", printable(text))
			}
		}
		fmt.Fprintln(w)
	}
}

// writeSnippet shows the subject's first line and marks the place below it.
// Above it stands the line that its context begins with, such as the head of
// the block.
func writeSnippet(w io.Writer, d *hcl.Diagnostic, sources Sources, code string, paint func(string, string) string) {
	if d.Subject == nil {
		return
	}
	text, ok := sourceLine(sources, d.Subject.Filename, d.Subject.Start.Line)
	if !ok {
		return
	}
	if c := d.Context; c != nil && c.Filename == d.Subject.Filename && c.Start.Line < d.Subject.Start.Line {
		if head, ok := sourceLine(sources, c.Filename, c.Start.Line); ok {
			head, _, _ = window(head, 0, 0)
			fmt.Fprintf(w, "%s %s\n", paint(faint, fmt.Sprintf("%5d |", c.Start.Line)), head)
		}
		if c.Start.Line < d.Subject.Start.Line-1 {
			fmt.Fprintf(w, "%s\n", paint(faint, "      ⋮"))
		}
	}
	from, to := markers(d.Subject, text)
	text, from, to = window(text, from, to)
	fmt.Fprintf(w, "%s %s\n", paint(faint, fmt.Sprintf("%5d |", d.Subject.Start.Line)), text)
	mark := strings.Repeat("^", max(utf8.RuneCountInString(text[from:to]), 1))
	fmt.Fprintf(w, "%s %s%s\n", paint(faint, "      |"), blank(text[:from]), paint(code, mark))
}

// sourceLine is a line's text, made harmless for terminals without changing
// its length.
func sourceLine(sources Sources, file string, number int) (string, bool) {
	data := sources[file]
	for ; number > 1; number-- {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			return "", false
		}
		data = data[end+1:]
	}
	if end := bytes.IndexByte(data, '\n'); end >= 0 {
		data = data[:end]
	}
	return strings.ToValidUTF8(string(bytes.TrimRight(data, "\r")), "?"), number == 1 && len(sources[file]) > 0
}

// markers are the byte offsets in a line between which the subject lies.
func markers(s *hcl.Range, text string) (from, to int) {
	from = offset(text, s.Start.Column)
	if s.End.Line == s.Start.Line {
		return from, max(offset(text, s.End.Column), from)
	}
	return from, max(len(strings.TrimRight(text, " \t")), from)
}

// offset is where a column begins, in bytes. Columns count from 1.
func offset(text string, column int) int {
	at := 0
	for range column - 1 {
		if at >= len(text) {
			return len(text)
		}
		at += character(text[at:])
	}
	return at
}

// character is the length of the first character with its combining marks, in
// bytes.
func character(text string) int {
	_, n := utf8.DecodeRuneInString(text)
	for n < len(text) {
		r, size := utf8.DecodeRuneInString(text[n:])
		if !unicode.In(r, unicode.Mn, unicode.Me) && r != '\u200d' {
			break
		}
		n += size
	}
	return n
}

// window cuts a long line to the part around a place, and makes control
// characters visible.
func window(text string, from, to int) (string, int, int) {
	before, middle, after := []rune(printable(text[:from])), []rune(printable(text[from:to])), []rune(printable(text[to:]))
	if len(before)+len(middle)+len(after) > width {
		before = last(before, width/2)
		middle = first(middle, width/2)
		after = first(after, width-len(before)-len(middle))
	}
	b, m, a := string(before), string(middle), string(after)
	return b + m + a, len(b), len(b) + len(m)
}

func first(r []rune, n int) []rune {
	if len(r) <= n {
		return r
	}
	return append(r[:max(n-1, 0):max(n-1, 0)], '…')
}

func last(r []rune, n int) []rune {
	if len(r) <= n {
		return r
	}
	return append([]rune{'…'}, r[len(r)-n+1:]...)
}

// blank is s as white space: tabs stay, so that a mark is below its place.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case unicode.In(r, unicode.Mn, unicode.Me):
			return -1
		default:
			return ' '
		}
	}, s)
}

// printable replaces control characters, which a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.Is(unicode.C, r) {
			return '\ufffd'
		}
		return r
	}, s)
}
