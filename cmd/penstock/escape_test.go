package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/penstock-io/penstock/host"
)

const hostile = "a\x1b]0;title\x07\x1b[2J\r\x7f\u009b31m\u202eevil\u2066\u200f\x9b\xff\u2028é€😀"

// Nothing that controls a terminal comes through, whatever prints it, and
// everything else does.
func TestForeignTextIsEscaped(t *testing.T) {
	t.Parallel()
	for name, print := range map[string]func(c *cli){
		"error": func(c *cli) { c.status(&json.UnsupportedValueError{Str: hostile}) },
		"table": func(c *cli) { c.table([]string{"a", "b"}, [][]string{{hostile + "\n\tforged", "x"}}) },
		"quarantine": func(c *cli) {
			c.printQuarantine(&host.QuarantineList{Counts: []host.QuarantineCount{{Source: hostile}}, Records: []host.QuarantinedRecord{{Position: hostile, Bytes: []byte(hostile)}}})
		},
		"summary": func(c *cli) {
			_ = c.printSummary(&host.Summary{Pipelines: []host.PipelineSummary{{Places: []string{hostile}, Error: hostile}}})
		},
		"progress": func(c *cli) { newProgress(c.err, plainLines).Report(host.Report{Stage: "export", Text: hostile}) },
		"text log": func(c *cli) { slog.New(slog.NewTextHandler(c.err, nil)).Info(hostile, hostile, hostile) },
		"json log": func(c *cli) { slog.New(slog.NewJSONHandler(c.err, nil)).Info(hostile, hostile, hostile) },
		"json":     func(c *cli) { _ = c.printJSON(map[string]string{"a": hostile}) },
	} {
		var out bytes.Buffer
		c := &cli{out: escaped{&out}, err: escaped{&out}}
		print(c)
		for _, r := range out.String() {
			if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%s: %U comes through:\n%q", name, r, out.String())
			}
		}
		if !strings.Contains(out.String(), "é€😀") {
			t.Errorf("%s: harmless characters are lost:\n%s", name, out.String())
		}
		if strings.Contains(out.String(), "\nforged") {
			t.Errorf("%s: a cell breaks the table:\n%s", name, out.String())
		}
		var v map[string]string
		if strings.HasPrefix(name, "json") {
			if err := json.Unmarshal(out.Bytes(), &v); err != nil {
				t.Errorf("%s is not JSON any more: %v\n%s", name, err, out.String())
			}
		}
		if want := strings.ToValidUTF8(hostile, "\ufffd"); name == "json" && strings.ReplaceAll(v["a"], "\ufffd\ufffd", "\ufffd") != want {
			t.Errorf("json says %q, want %q", v["a"], want)
		}
	}
}
