package diagnostic

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"

	"github.com/hashicorp/hcl/v2"
)

// Diagnostics are the mistakes and warnings of one configuration.
type Diagnostics = hcl.Diagnostics

// Sources holds the text of the files that were read, by the name that the
// ranges use. Its secrets are masked, byte for byte, so that positions hold.
type Sources map[string][]byte

// Sort orders diagnostics by file, line and column; those without a place come
// first. Diagnostics at one place keep their order.
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

// Entry is a diagnostic as JSON. Lines and columns count from 1, columns in
// characters; the end is the position after the last character. A diagnostic
// without a place has no file, and zero for the numbers.
type Entry struct {
	Severity  string `json:"severity"`
	Summary   string `json:"summary"`
	Detail    string `json:"detail,omitempty"`
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	EndLine   int    `json:"end_line,omitempty"`
	EndColumn int    `json:"end_column,omitempty"`
}

// Entries returns diagnostics as they are written in JSON, in their order.
func Entries(diagnostics Diagnostics) []Entry {
	entries := make([]Entry, 0, len(diagnostics))
	for _, d := range diagnostics {
		s := subject(d)
		entries = append(entries, Entry{
			Severity: severity(d), Summary: d.Summary, Detail: d.Detail, File: s.Filename,
			Line: s.Start.Line, Column: s.Start.Column, EndLine: s.End.Line, EndColumn: s.End.Column,
		})
	}
	return entries
}

// WriteJSON renders diagnostics for machines, one JSON object a line.
func WriteJSON(w io.Writer, diagnostics Diagnostics) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for _, e := range Entries(diagnostics) {
		if err := encoder.Encode(e); err != nil {
			return fmt.Errorf("write diagnostics: %w", err)
		}
	}
	return nil
}
