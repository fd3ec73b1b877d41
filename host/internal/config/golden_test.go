package config

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the cases do not depend on the machine's time zones

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/schema"
)

var update = flag.Bool("update", false, "write what the golden files should hold")

// now is the time of the tests.
var now = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// schemas are those of the plugins that the tests have.
var schemas = map[string]schema.Schema{
	"localfs": {Attributes: []schema.Attribute{
		{Name: "path", Type: schema.Path, Required: true, Description: "The directory to write to."},
		{Name: "prefix", Type: schema.String},
		{Name: "format", Type: schema.String, Default: "json", Allowed: []string{"json"}},
	}},
	"s3": {Attributes: []schema.Attribute{
		{Name: "bucket", Type: schema.String, Required: true, Description: "The bucket to write to."},
		{Name: "region", Type: schema.String},
		{Name: "path_style", Type: schema.Bool},
		{Name: "endpoint", Type: schema.String},
		{Name: "access_key_id", Type: schema.String},
		{Name: "secret_access_key", Type: schema.String, Sensitive: true},
		{Name: "role_arn", Type: schema.String},
		{Name: "encryption", Type: schema.String, Default: "none", Allowed: []string{"none", "aes", "kms"}},
	}},
	"every": {Attributes: []schema.Attribute{
		{Name: "text", Type: schema.String, Default: "a"},
		{Name: "flag", Type: schema.Bool, Default: true},
		{Name: "count", Type: schema.Integer, Default: 2},
		{Name: "ratio", Type: schema.Number, Default: 0.5},
		{Name: "names", Type: schema.ListOfString, Default: []string{"x"}},
		{Name: "tags", Type: schema.MapOfString, Default: map[string]string{"k": "v"}},
		{Name: "file", Type: schema.Path},
		{Name: "part", Type: schema.Size, Default: "64MiB"},
		{Name: "wait", Type: schema.Duration, Default: "90s"},
		{Name: "pin", Type: schema.Integer, Sensitive: true},
		{Name: "old", Type: schema.String, Deprecated: "use text."},
	}},
}

func schemaOf(_ context.Context, _, typ string) (schema.Schema, error) {
	if s, ok := schemas[typ]; ok {
		return s, nil
	}
	return schema.Schema{}, errors.New("there is no file penstock-destination-" + typ)
}

// options reads the options of a case from its first lines: "# test: offline",
// "# test: command", "# test: env NAME=value", "# test: registered NAME=from_date".
func options(path string) Options {
	env, registered := map[string]string{}, map[string]journal.Day{}
	o := Options{
		Paths: []string{path}, Now: now, Schema: schemaOf,
		Env:        func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Types:      func(string) []string { return []string{"every", "localfs", "s3"} },
		Registered: func(_, name string) (journal.Day, bool) { from, ok := registered[name]; return from, ok },
	}
	files, err := filepath.Glob(filepath.Join(path, "*.hcl"))
	if err != nil || len(files) == 0 {
		files = []string{path}
	}
	for _, file := range files {
		data, _ := os.ReadFile(file) // a file that cannot be read is a case, too
		for line := range strings.Lines(string(data)) {
			rest, ok := strings.CutPrefix(strings.TrimSpace(line), "# test: ")
			if !ok {
				continue
			}
			word, rest, _ := strings.Cut(rest, " ")
			name, v, _ := strings.Cut(rest, "=")
			switch word {
			case "offline":
				o.Offline = true
			case "command":
				o.Command = true
			case "env":
				env[name] = v
			case "registered":
				from, err := journal.ParseDay(v)
				if err != nil {
					panic(err) // the case is wrong
				}
				registered[name] = from
			}
		}
	}
	return o
}

// report is the text that a person sees.
func report(c *Config, ds diagnostic.Diagnostics) string {
	var b strings.Builder
	diagnostic.WriteText(&b, ds, c.Files, false)
	for _, s := range c.Skipped {
		fmt.Fprintf(&b, "not checked: %s\n", s)
	}
	for _, u := range c.Unset {
		fmt.Fprintf(&b, "not there: %s\n", u)
	}
	status := 0
	if ds.HasErrors() {
		status = 2
	}
	fmt.Fprintf(&b, "exit status %d\n", status)
	return b.String()
}

// cases are the files and directories of testdata: adding one adds a case, and
// -update writes what is then to be read.
func cases(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.hcl")
	if err != nil {
		t.Fatal(err)
	}
	directories, err := filepath.Glob("testdata/*.d")
	if err != nil {
		t.Fatal(err)
	}
	return append(files, directories...)
}

func TestGolden(t *testing.T) {
	t.Parallel()
	all := cases(t)
	if len(all) < 40 {
		t.Fatalf("%d cases found", len(all))
	}
	for _, path := range all {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".hcl"), func(t *testing.T) {
			t.Parallel()
			got := report(Load(t.Context(), options(path)))
			golden := strings.TrimSuffix(path, ".hcl") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

// TestGoldenCasesSayTheirMistake holds the cases to their name: all but those
// called ok or warning are refused.
func TestGoldenCasesSayTheirMistake(t *testing.T) {
	t.Parallel()
	for _, path := range cases(t) {
		c, ds := Load(t.Context(), options(path))
		name := filepath.Base(path)
		harmless := strings.HasPrefix(name, "ok_") || strings.HasPrefix(name, "warning_")
		if ds.HasErrors() == harmless {
			t.Errorf("%s: errors %v\n%s", name, ds.HasErrors(), report(c, ds))
		}
		for _, d := range ds {
			if d.Subject == nil && !strings.Contains(d.Summary, "cannot be read") {
				t.Errorf("%s: %q has no place", name, d.Summary)
			}
			if d.Detail == "" {
				t.Errorf("%s: %q does not say what to do", name, d.Summary)
			}
		}
	}
}
