package diagnostic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Diagnostics are the mistakes and warnings of one configuration.
type Diagnostics = hcl.Diagnostics

// Secret marks, as a diagnostic's Extra, one whose line may hold a secret.
type Secret struct{}

// Sources holds the bytes of the files that were read, by name.
type Sources map[string][]byte

// Sort orders diagnostics by file, line and column; those without a place come
// first.
func Sort(diagnostics Diagnostics) {
	sort.SliceStable(diagnostics, func(i, j int) bool {
		a, b := subject(diagnostics[i]), subject(diagnostics[j])
		if a.Filename != b.Filename {
			return a.Filename < b.Filename
		}
		if a.Start.Line != b.Start.Line {
			return a.Start.Line < b.Start.Line
		}
		return a.Start.Column < b.Start.Column
	})
}

func subject(d *hcl.Diagnostic) hcl.Range {
	if d.Subject == nil {
		return hcl.Range{}
	}
	return *d.Subject
}

func severity(d *hcl.Diagnostic) string {
	if d.Severity == hcl.DiagWarning {
		return "warning"
	}
	return "error"
}

// colours of a terminal.
const (
	red, yellow, bold, reset = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
)

// WriteText renders diagnostics for people. Errors of w are left to the
// caller's own writes.
func WriteText(w io.Writer, diagnostics Diagnostics, sources Sources, colour bool) {
	paint := func(code, text string) string {
		if !colour {
			return text
		}
		return code + text + reset
	}
	for _, d := range diagnostics {
		place := ""
		if d.Subject != nil {
			place = fmt.Sprintf("%s:%d:%d: ", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column)
		}
		code := red
		if d.Severity == hcl.DiagWarning {
			code = yellow
		}
		fmt.Fprintf(w, "%s%s: %s\n", paint(bold, place), paint(code, severity(d)), d.Summary)
		for _, line := range snippet(d, sources) {
			fmt.Fprintln(w, line)
		}
		if d.Detail != "" {
			fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(d.Detail, "\n", "\n    "))
		}
		fmt.Fprintln(w)
	}
}

// snippet is the subject's first line and a line that marks the place.
func snippet(d *hcl.Diagnostic, sources Sources) []string {
	if _, secret := d.Extra.(Secret); secret || d.Subject == nil {
		return nil
	}
	lines := bytes.Split(sources[d.Subject.Filename], []byte("\n"))
	number := d.Subject.Start.Line
	if number < 1 || number > len(lines) {
		return nil
	}
	text := strings.TrimRight(string(lines[number-1]), "\r")
	from := min(d.Subject.Start.Column-1, len(text))
	to := len(text)
	if d.Subject.End.Line == number {
		to = min(max(d.Subject.End.Column-1, from+1), len(text))
	}
	margin := fmt.Sprintf("%5d", number)
	return []string{
		fmt.Sprintf("%s | %s", margin, text),
		fmt.Sprintf("%s | %s%s", strings.Repeat(" ", len(margin)), blank(text[:from]), strings.Repeat("^", max(to-from, 1))),
	}
}

// blank is s as white space: tabs stay, so that the mark is below its place.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, s)
}

// place is a diagnostic as JSON.
type place struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
}

// WriteJSON renders diagnostics for machines, one JSON object a line.
func WriteJSON(w io.Writer, diagnostics Diagnostics) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for _, d := range diagnostics {
		s := subject(d)
		err := encoder.Encode(place{severity(d), d.Summary, d.Detail, s.Filename, s.Start.Line, s.Start.Column})
		if err != nil {
			return fmt.Errorf("write diagnostics: %w", err)
		}
	}
	return nil
}
