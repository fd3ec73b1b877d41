package diagnostic_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
)

func at(file string, line, from, to int) *hcl.Range {
	return &hcl.Range{Filename: file, Start: hcl.Pos{Line: line, Column: from}, End: hcl.Pos{Line: line, Column: to}}
}

func text(d *hcl.Diagnostic, source string, colour bool) string {
	var b strings.Builder
	diagnostic.WriteText(&b, diagnostic.Diagnostics{d}, diagnostic.Sources{"a.hcl": []byte(source)}, colour)
	return b.String()
}

func TestWriteText(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		subject, context *hcl.Range
		source, want     string
	}{
		"no place":            {nil, nil, "", "error: Wrong\n    Do this.\n\n"},
		"no source":           {at("b.hcl", 1, 1, 2), nil, "x = 1\n", "b.hcl:1:1: error: Wrong\n    Do this.\n\n"},
		"line beyond the end": {at("a.hcl", 3, 1, 2), nil, "x = 1\n", "a.hcl:3:1: error: Wrong\n    Do this.\n\n"},
		"marked": {at("a.hcl", 2, 5, 8), nil, "a = 1\r\nb = 123\r\n",
			"a.hcl:2:5: error: Wrong\n    2 | b = 123\n      |     ^^^\n    Do this.\n\n"},
		"nothing to mark": {at("a.hcl", 1, 6, 6), nil, "a = 1", "a.hcl:1:6: error: Wrong\n    1 | a = 1\n      |      ^\n    Do this.\n\n"},
		"tabs":            {at("a.hcl", 1, 6, 7), nil, "\ta = 1", "a.hcl:1:6: error: Wrong\n    1 | \ta = 1\n      | \t    ^\n    Do this.\n\n"},
		"columns are characters": {at("a.hcl", 1, 9, 12), nil, `a = "é" + 123`,
			"a.hcl:1:9: error: Wrong\n    1 | a = \"é\" + 123\n      |         ^^^\n    Do this.\n\n"},
		"combined characters": {at("a.hcl", 1, 3, 4), nil, "e\u0301 x", "a.hcl:1:3: error: Wrong\n    1 | e\u0301 x\n      |   ^\n    Do this.\n\n"},
		"context": {at("a.hcl", 3, 1, 2), at("a.hcl", 1, 1, 5), "host {\nb = 1\nx = 2\n}",
			"a.hcl:3:1: error: Wrong\n    1 | host {\n      ⋮\n    3 | x = 2\n      | ^\n    Do this.\n\n"},
		"context on the line above": {at("a.hcl", 2, 1, 2), at("a.hcl", 1, 1, 5), "host {\nx = 2\n}",
			"a.hcl:2:1: error: Wrong\n    1 | host {\n    2 | x = 2\n      | ^\n    Do this.\n\n"},
		"terminal control": {at("a.hcl", 1, 1, 2), nil, "a\x1b[31m = 1",
			"a.hcl:1:1: error: Wrong\n    1 | a\ufffd[31m = 1\n      | ^\n    Do this.\n\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Wrong", Detail: "Do this.", Subject: tt.subject, Context: tt.context}
			if diff := cmp.Diff(tt.want, text(d, tt.source, false)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSubjectOverSeveralLines(t *testing.T) {
	t.Parallel()
	subject := hcl.Range{Filename: "a.hcl", Start: hcl.Pos{Line: 1, Column: 5}, End: hcl.Pos{Line: 3, Column: 2}}
	got := text(&hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "Odd", Subject: &subject}, "a = [  \n1,\n]", false)
	want := "a.hcl:1:5: warning: Odd\n    1 | a = [  \n      |     ^\n\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLongLinesAreCutAroundThePlace(t *testing.T) {
	t.Parallel()
	source := strings.Repeat("a", 1000) + "HERE" + strings.Repeat("b", 1000)
	got := text(&hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Wrong", Subject: at("a.hcl", 1, 1001, 1005)}, source, false)
	lines := strings.Split(got, "\n")
	if from := strings.Index(lines[1], "HERE"); from < 0 || len(lines[1]) > 200 {
		t.Fatalf("line shown as %q", lines[1])
	}
	shown, mark := []rune(lines[1]), []rune(lines[2])
	for i, r := range mark {
		if r == '^' && !strings.ContainsRune("HERE", shown[i]) {
			t.Errorf("the mark is below %q", shown[i])
		}
	}
	if strings.Count(lines[2], "^") != 4 {
		t.Errorf("mark is %q", lines[2])
	}
}

func TestColours(t *testing.T) {
	t.Parallel()
	d := &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: "Odd", Subject: at("a.hcl", 1, 1, 2)}
	coloured := text(d, "a = 1", true)
	if !strings.Contains(coloured, "\x1b[33mwarning\x1b[0m") {
		t.Errorf("warning without colour: %q", coloured)
	}
	var plain strings.Builder
	for rest := coloured; rest != ""; {
		before, after, _ := strings.Cut(rest, "\x1b[")
		plain.WriteString(before)
		_, rest, _ = strings.Cut(after, "m")
	}
	if diff := cmp.Diff(text(d, "a = 1", false), plain.String()); diff != "" {
		t.Errorf("colours change the text:\n%s", diff)
	}
}

func TestWriteJSON(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := diagnostic.WriteJSON(&b, diagnostic.Diagnostics{
		{Severity: hcl.DiagError, Summary: "A <b>", Detail: "C.", Subject: at("a.hcl", 2, 3, 4)},
		{Severity: hcl.DiagWarning, Summary: "D"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"severity":"error","summary":"A <b>","detail":"C.","file":"a.hcl","line":2,"column":3,"end_line":2,"end_column":4}` + "\n" +
		`{"severity":"warning","summary":"D"}` + "\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSort(t *testing.T) {
	t.Parallel()
	ds := diagnostic.Diagnostics{
		{Summary: "4", Subject: at("b.hcl", 1, 1, 2)}, {Summary: "3", Subject: at("a.hcl", 2, 1, 2)},
		{Summary: "2", Subject: at("a.hcl", 1, 9, 10)}, {Summary: "1", Subject: at("a.hcl", 1, 2, 3)}, {Summary: "0"},
	}
	diagnostic.Sort(ds)
	var order string
	for _, d := range ds {
		order += d.Summary
	}
	if order != "01234" {
		t.Errorf("order is %s", order)
	}
}
