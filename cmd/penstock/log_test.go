package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host"
)

// With log_format = "json" each line on standard error is a JSON object with a
// time, a level and a message: diagnostics, progress and the last error, too.
func TestAJSONLogHasNoPlainLines(t *testing.T) {
	t.Parallel()
	config := write(t, "a.hcl", "host {\n  log_format = \"json\"\n}\n"+`project "shop" { idd = 1 }`)
	var errs bytes.Buffer
	c := &cli{out: &bytes.Buffer{}, err: &errs, paths: []string{config}}
	if status := c.status(c.run(t.Context(), true, time.Second)); status != exitConfiguration {
		t.Errorf("status %d", status)
	}
	p := c.progress()
	p.Report(host.Report{Stage: "export", Name: "a", Rows: 3, Done: true})
	p.Close()
	if status := c.status(errors.New("no\nspace")); status != exitFailed {
		t.Errorf("status %d", status)
	}
	var messages []string
	for line := range strings.Lines(errs.String()) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" || entry.Level == "" {
			t.Errorf("%q is not a line of the log: %v", line, err)
		}
		messages = append(messages, entry.Level+" "+entry.Msg)
	}
	if got, want := strings.Join(messages, "; "), "ERROR Unknown attribute; INFO progress; ERROR host ended with an error"; got != want {
		t.Errorf("the log has %q, want %q", got, want)
	}
}
