package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host"
)

// console is the environment of a process, and its output.
type console struct {
	env      map[string]string
	fallback string
	out, err bytes.Buffer
}

// run carries out a command line and returns its exit status.
func (s *console) run(t *testing.T, args ...string) int {
	t.Helper()
	s.out.Reset()
	s.err.Reset()
	c := &cli{out: escaped{&s.out}, err: &s.err, getenv: func(name string) string { return s.env[name] }, fallback: s.fallback}
	return c.execute(t.Context(), args)
}

// write writes a file in a directory of the test and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const project = `project "shop" { id = 2195193 }` + "\n"

// With --json each command prints one object, whether it succeeds or not.
func TestOneObjectOnStandardOutput(t *testing.T) {
	t.Parallel()
	wrong := write(t, "wrong.hcl", `project "shop" { idd = 1 }`)
	right := write(t, "right.hcl", project)
	for _, tt := range []struct {
		args   []string
		status int
		want   []string // parts of the object
	}{
		{[]string{"validate", "--offline", "-c", right}, 0, []string{`"valid":true`, `"diagnostics":[]`, `"skipped":["whether projects`, `"projects":1`}},
		{[]string{"validate", "-c", wrong}, 2, []string{`"valid":false`, `"severity":"error"`, `wrong.hcl","line":1,"column":18,`, `Did you mean \"id\"?`}},
		{[]string{"validate", "--offline", "-c", wrong}, 2, []string{`"valid":false`, `"column":18,`}},
		{[]string{"validate", "-c", wrong + "x"}, 2, []string{`"valid":false`, `no such file or directory`}},
		{[]string{"validate"}, 2, []string{`"error":"no configuration`, `"exit_status":2`}},
		{[]string{"validate", "--ofline"}, 2, []string{`"error":"unknown flag: --ofline"`, `"exit_status":2`}},
		{[]string{"status", "-c", wrong}, 2, []string{`"error":"the configuration is wrong"`, `"exit_status":2`, `"diagnostics":[{"severity":"error",`}},
		{[]string{"plan", "-c", wrong}, 2, []string{`"exit_status":2`}},
		{[]string{"runs", "retry", "a", "b", "-c", right}, 2, []string{`run number \"b\" is not a number`}},
		{[]string{"plugins", "list", "--plugin-dir", "/does/not/exist"}, 1, []string{`"error":`, `"exit_status":1`}},
		{[]string{"version"}, 0, []string{`"version":`}},
	} {
		var s console
		status := s.run(t, append(tt.args, "--json")...)
		var object map[string]any
		d := json.NewDecoder(&s.out)
		if err := d.Decode(&object); err != nil || d.More() {
			t.Errorf("%v printed no object, or more than one: %v, and on standard error %q", tt.args, err, s.err.String())
			continue
		}
		got, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		compact := orderless(t, got)
		for _, want := range tt.want {
			if !strings.Contains(compact, want) {
				t.Errorf("%v printed %s, want %s in it", tt.args, compact, want)
			}
		}
		if status != tt.status || s.err.Len() > 0 {
			t.Errorf("%v: status %d, want %d; on standard error %q", tt.args, status, tt.status, s.err.String())
		}
	}
}

// orderless is an object as the command printed it, in one line: diagnostics
// keep the order of their fields.
func orderless(t *testing.T, object []byte) string {
	t.Helper()
	var v struct {
		Valid       *bool                  `json:"valid,omitempty"`
		Error       string                 `json:"error,omitempty"`
		ExitStatus  int                    `json:"exit_status,omitempty"`
		Diagnostics []host.DiagnosticEntry `json:"diagnostics"`
		Skipped     []string               `json:"skipped"`
		Projects    int                    `json:"projects"`
		Version     string                 `json:"version,omitempty"`
	}
	if err := json.Unmarshal(object, &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// An error after the result is a line on standard error.
func TestAnErrorAfterTheResult(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	c := &cli{out: &out, err: &errs, json: true}
	if err := c.printJSON(map[string]int{"runs": 1}); err != nil {
		t.Fatal(err)
	}
	if status := c.status(errors.New("close: no space")); status != exitFailed {
		t.Errorf("status %d", status)
	}
	if want := `{"error":"close: no space","exit_status":1}` + "\n"; errs.String() != want {
		t.Errorf("standard error holds %q, want %q", errs.String(), want)
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	wrong := &host.ConfigurationError{}
	for _, tt := range []struct {
		err    error
		status int
		said   string
	}{
		{nil, 0, ""},
		{&shownError{3}, 3, ""},
		{usageError{errors.New("what?")}, 2, "penstock: what?\n"},
		{errors.New("no"), 1, "penstock: no\n"},
		{errors.New("no \x1b[2J"), 1, "penstock: no \\x1b[2J\n"},
		{fmt.Errorf("begin: %w", wrong), 2, ""},
		{errors.Join(wrong, errors.New("and the disk")), 2, "penstock: and the disk\n"},
		{errors.Join(errors.Join(wrong, errors.New("one")), errors.New("two")), 2, "penstock: one\npenstock: two\n"},
		{errors.Join(errors.New("full"), errors.New("full"), fmt.Errorf("%w: %w", errors.New("a"), errors.New("b\nc"))), 1, "penstock: full\npenstock: a: b; c\n"},
	} {
		var out bytes.Buffer
		c := &cli{out: &out, err: &out}
		if status := c.status(tt.err); status != tt.status || out.String() != tt.said {
			t.Errorf("%v: status %d, %q", tt.err, status, out.String())
		}
	}
}

// A wrong command line is the operator's mistake, whatever is wrong with it.
func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"statsu", "--colour", "run again", "run --twice", "run --retry-for 5s", "plan", "plugins remve", "quarantine show",
		"journal verify all", "runs list a b", "destinations check a b", "run --once --retry-for soon",
	} {
		var s console
		if status := s.run(t, strings.Fields(args)...); status != exitConfiguration || s.err.Len() == 0 {
			t.Errorf("penstock %s: status %d\n%s", args, status, s.err.String())
		}
	}
}

func TestVersionFlag(t *testing.T) {
	t.Parallel()
	var s console
	if status := s.run(t, "--version"); status != 0 || s.out.String() != "penstock "+host.Version()+"\n" {
		t.Errorf("status %d, printed %q", status, s.out.String())
	}
}

// The configuration is that of the flags, else of the environment, else of the
// usual place.
func TestWhereTheConfigurationIs(t *testing.T) {
	t.Parallel()
	first, second := write(t, "first.hcl", project), write(t, "second.hcl", `project "b" { id = 2 }`)
	wrong := write(t, "wrong.hcl", "x")
	missing := filepath.Join(t.TempDir(), "missing")
	for _, tt := range []struct {
		name     string
		flags    []string
		variable string
		fallback string
		want     string
	}{
		{"flag", []string{"-c", first}, wrong, wrong, "valid: 1 project, "},
		{"flags", []string{"-c", first, "--config", second}, wrong, wrong, "valid: 2 projects, "},
		{"variable", nil, first, wrong, "valid: 1 project, "},
		{"variable with two paths", nil, first + ":" + second, wrong, "valid: 2 projects, "},
		{"usual place", nil, "", filepath.Dir(first), "valid: 1 project, "},
		{"nothing", nil, "", missing, "missing does not exist; name a file or a directory with --config (or -c), or in PENSTOCK_CONFIG"},
	} {
		s := console{env: map[string]string{"PENSTOCK_CONFIG": tt.variable}, fallback: tt.fallback}
		s.run(t, append([]string{"validate", "--offline"}, tt.flags...)...)
		if said := s.out.String() + s.err.String(); !strings.Contains(said, tt.want) {
			t.Errorf("%s: it said %q, want %q", tt.name, said, tt.want)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	plugins := filepath.Dir(write(t, "penstock-destination-nix", "#!/bin/sh"))
	config := write(t, "a.hcl", project+`
host { plugin_dir = "`+plugins+`" }
source "files" "import" {
  project = "shop"
  path    = "./*.ndjson"
}
destination "s3" "lake" { bucket = env("NOT_SET") }
destination "nix" "lake" {}
pipeline "events_out" { stream = "events" }
pipeline "people_out" { strm = "people" }
`)
	s := console{env: map[string]string{"PENSTOCK_CONFIG": config}}
	for _, tt := range []struct {
		args string
		want string
	}{
		{"pipelines pause ", "events_out people_out"},
		{"pipelines resume p", "people_out"},
		{"pipelines resume events_out p", ""},
		{"runs list e", "events_out"},
		{"runs retry ", "events_out people_out"},
		{"destinations check ", "nix.lake s3.lake"},
		{"identity failures --project ", "shop"},
		{"quarantine list --source ", "files.import pipeline-events_out pipeline-people_out"},
		{"plugins describe ", "nix"},
		{"plugins remove n", "nix"},
		{"plugins remove x", ""},
	} {
		s.run(t, append([]string{"__complete"}, strings.Split(tt.args, " ")...)...)
		lines := strings.Fields(s.out.String())
		var names []string
		for _, l := range lines {
			if !strings.HasPrefix(l, ":") {
				names = append(names, l)
			}
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%q completes to %q, want %q", tt.args, got, tt.want)
		}
	}
}
