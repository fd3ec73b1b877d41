package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

// load reads files out of a directory of their own.
func load(t *testing.T, files map[string]string, change func(*Options)) (*Config, diagnostic.Diagnostics) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Paths: []string{dir}, Now: now, Schema: schemaOf, Env: func(string) (string, bool) { return "", false }}
	if change != nil {
		change(&o)
	}
	for i, p := range o.Paths {
		if !filepath.IsAbs(p) {
			o.Paths[i] = filepath.Join(dir, p)
		}
	}
	return Load(t.Context(), o)
}

func day(t *testing.T, s string) journal.Day {
	t.Helper()
	d, err := journal.ParseDay(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheExampleInFull(t *testing.T) {
	t.Parallel()
	c, ds := Load(t.Context(), options("testdata/ok_example.hcl"))
	if len(ds) > 0 {
		t.Fatal(report(c, ds))
	}
	here, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	wantHost := Host{
		DataDir: filepath.Join(here, "data"), PluginDir: filepath.Join(here, "bin/plugins"), Blobs: filepath.Join(here, "data/blobs"), Memory: 64 << 20,
		MaxBackfill: Backfill{Months: 6, Text: "6 months"}, Retention: 200 * 24 * time.Hour, LogLevel: slog.LevelInfo,
	}
	c.Host.Place = Place{}
	if diff := cmp.Diff(wantHost, c.Host, cmp.AllowUnexported(Place{}, shownTexts{})); diff != "" {
		t.Error(diff)
	}
	if p := c.Projects[0]; p.Name != "shop" || p.ID != 2195193 || p.Token != "0123456789abcdef" || p.TimeZone != time.UTC || p.Identity != schema.Simplified {
		t.Errorf("project %+v", p)
	}
	if s := c.Sources[0]; s.Reference() != "files.import" || s.Project != c.Projects[0] || s.Follow || s.Pattern != filepath.Join(here, "events/*.ndjson.gz") {
		t.Errorf("source %+v", s)
	}
	p := c.Pipelines[0]
	if p.Project != c.Projects[0] || p.Destination != c.Destinations[0] || p.Stream != batch.Events || p.From != day(t, "2026-06-01") || p.To != pipeline.Forever ||
		p.Schedule != (pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt, Zone: time.UTC}) || p.Order != pipeline.Oldest || p.MaxRun != 1<<30 || p.Paused || p.Adopt {
		t.Errorf("pipeline %+v", p)
	}
	wantJSON(t, c.Destinations[0], fmt.Sprintf(`{"format":"json","path":%q}`, filepath.Join(here, "out")))
	wantJSON(t, c.Destinations[1], `{"bucket":"acme-lake","encryption":"kms","endpoint":"http://127.0.0.1:9000","region":"us-west-2","role_arn":"arn:aws:iam::123456789012:role/export"}`)
}

func wantJSON(t *testing.T, d *Destination, want string) {
	t.Helper()
	if diff := cmp.Diff(want, string([]byte(d.JSON))); diff != "" {
		t.Errorf("%s: %s", d.Reference(), diff)
	}
}

func TestConstants(t *testing.T) {
	t.Parallel()
	c, ds := Load(t.Context(), options("testdata/ok_everything.hcl"))
	if ds.HasErrors() {
		t.Fatal(report(c, ds))
	}
	here, err := filepath.Abs("testdata/key")
	if err != nil {
		t.Fatal(err)
	}
	wantJSON(t, c.Destinations[0], fmt.Sprintf(`{"count":3,"file":%q,"flag":false,"names":["a","b"],"part":1610612736,"ratio":0.5,`+
		`"tags":{"a":"b"},"text":"a","wait":129600000000000}`, here))
	wantJSON(t, c.Destinations[1], `{"bucket":"acme-live","encryption":"none"}`)
	if c.Projects[0].TimeZone.String() != "Europe/Berlin" || c.Projects[0].ID != 2195193 || c.Host.MaxBackfill.Time != 400*24*time.Hour {
		t.Errorf("project %+v, host %+v", c.Projects[0], c.Host)
	}
	if p := c.Pipelines[0]; p.Schedule.Cadence != pipeline.Hourly || p.Schedule.At != pipeline.HourlyAt || p.Schedule.Zone.String() != "Europe/Berlin" || p.To != day(t, "2025-12-31") || p.Order != pipeline.Newest || !p.Paused || !p.Adopt || p.MaxRun != 256<<20 {
		t.Errorf("pipeline %+v", p)
	}
	if s := c.Sources[0]; s.Pattern != "s3://acme-events/**/*.{json,ndjson}.gz?region=us-west-2" || !s.Follow {
		t.Errorf("source %+v", s)
	}
	if got := c.Pipelines[0].AttributeRange("paused"); got.Start.Line != 49 {
		t.Errorf("paused stands at %v", got)
	}
	if got := c.Pipelines[1].AttributeRange("to_date"); got != c.Pipelines[1].Range {
		t.Errorf("to_date, which is not set, stands at %v", got)
	}
}

func TestDefaultsOfTheHostBlock(t *testing.T) {
	t.Parallel()
	c, ds := load(t, map[string]string{"a.hcl": "host {}\n"}, nil)
	if len(ds) > 0 {
		t.Fatal(report(c, ds))
	}
	if c.Host.DataDir != "/var/lib/penstock" || c.Host.PluginDir != "/usr/libexec/penstock/plugins" || c.Host.Memory != 64<<20 {
		t.Errorf("host %+v", c.Host)
	}
}

func TestOptionsMayBeLeftOut(t *testing.T) {
	t.Parallel()
	_, ds := load(t, map[string]string{"a.hcl": "project \"p\" {\n  id = 1\n  token = env(\"X\")\n}\ndestination \"s3\" \"x\" {\n}\n" +
		"pipeline \"p\" {\n  project = \"p\"\n  stream = \"events\"\n  destination = \"s3.x\"\n  from_date = \"2020-01-01\"\n}\n"},
		func(o *Options) { o.Env, o.Schema, o.Registered, o.Types = nil, nil, nil, nil })
	var got []string
	for _, d := range ds {
		got = append(got, d.Summary)
	}
	if diff := cmp.Diff([]string{"Environment variable not set", "Destination plugin cannot be used", "Date out of range"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"conf/a.hcl":        "project \"a\" {\n  id = 1\n}\n",
		"conf/b.hcl":        "host {\n  data_dir = \"d\"\n}\n",
		"conf/.b.hcl":       "host {\n",
		"conf/c.hcl.bak":    "host {\n",
		"conf/sub/x.hcl":    "host {\n",
		"more/[x]/c.hcl":    "project \"c\" {\n  id = 3\n}\n",
		"more/keys/token":   "s3cr3t\r\n",
		"more/d.hcl":        "project \"d\" {\n  id = 4\n  token = file(\"keys/token\")\n}\n",
		"conf/dir.hcl/.nop": "",
	}
	c, ds := load(t, files, func(o *Options) { o.Paths = []string{"conf", "conf/a.hcl", "conf/../conf", "more/[x]", "more/d.hcl"} })
	if len(ds) > 0 {
		t.Fatal(report(c, ds))
	}
	var names []string
	for _, p := range c.Projects {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"a", "c", "d"}, names); diff != "" {
		t.Error(diff)
	}
	if filepath.Base(filepath.Dir(c.Host.DataDir)) != "conf" {
		t.Errorf("data_dir is %s, want it next to its file", c.Host.DataDir)
	}
	if c.Projects[2].Token != "s3cr3t" {
		t.Errorf("token is %q", c.Projects[2].Token)
	}
}

func TestMissingFilesDoNotHideOtherMistakes(t *testing.T) {
	t.Parallel()
	c, ds := load(t, map[string]string{"a.hcl": "host {\n  nope = 1\n}\npipeline \"p\" {\n  project = \"elsewhere\"\n  stream = \"events\"\n" +
		"  destination = destination.s3.elsewhere\n  from_date = \"2026-06-01\"\n}\n"},
		func(o *Options) { o.Paths = []string{"none.hcl", "a.hcl"} })
	got := report(c, ds)
	for _, want := range []string{"none.hcl: no such file or directory", `host has no "nope"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if len(ds) != 2 {
		t.Errorf("what may be in the missing file is complained about:\n%s", got)
	}
}

func TestEndlessFiles(t *testing.T) {
	t.Parallel()
	c, ds := load(t, map[string]string{"a.hcl": "project \"a\" {\n  id = 1\n  token = file(\"/dev/zero\")\n}\n"}, nil)
	if got := report(c, ds); !strings.Contains(got, "The file /dev/zero cannot be read: it is longer than 16 MiB.") {
		t.Error(got)
	}
}

func TestPluginDiagnosticsGetTheirPlace(t *testing.T) {
	t.Parallel()
	c, ds := load(t, map[string]string{"a.hcl": `
destination "s3" "lake" {
  bucket            = "acme"
  secret_access_key = env("KEY")
}`}, func(o *Options) { o.Env = func(string) (string, bool) { return "hunter2", true } })
	if len(ds) > 0 {
		t.Fatal(report(c, ds))
	}
	d := c.Destinations[0]
	got := d.Diagnostic(hcl.DiagError, "bucket", "No bucket", `"acme" with hunter2 is missing.`)
	if got.Subject.Start.Line != 3 || got.Detail != `"acme" with (hidden) is missing.` {
		t.Errorf("got %v", got)
	}
	got = d.Diagnostic(hcl.DiagWarning, "region", "No region", "Set one.")
	if got.Subject.Start.Line != 2 || got.Detail != `Set one. (Attribute "region".)` {
		t.Errorf("got %v", got)
	}
	if got = d.Diagnostic(hcl.DiagError, "", "No", "No."); *got.Subject != d.Range || got.Detail != "No." {
		t.Errorf("got %v", got)
	}
}

func TestBackfillEndsWithTheMonth(t *testing.T) {
	t.Parallel()
	tests := []struct{ now, span, want string }{
		{"2026-07-01T00:00:00Z", "6 months", "2026-01-01"},
		{"2026-08-31T12:00:00Z", "6 months", "2026-02-28"},
		{"2028-08-31T12:00:00Z", "6 months", "2028-02-29"},
		{"2026-02-28T23:59:59Z", "6 months", "2025-08-28"},
		{"2026-01-01T00:00:00+02:00", "1 month", "2025-11-30"},
		{"2026-07-01T12:00:00Z", "0 months", "2026-07-01"},
		{"2026-07-01T12:00:00Z", "30d", "2026-06-01"},
		{"2026-07-01T12:00:00Z", "13h", "2026-06-30"},
		{"2026-03-15T12:00:00Z", "26 months", "2024-01-15"},
	}
	for _, tt := range tests {
		at, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		b, why := parseBackfill(tt.span)
		if got := b.Before(at).String(); why != "" || got != tt.want {
			t.Errorf("%s before %s is %s, want %s", tt.span, tt.now, got, tt.want)
		}
	}
	for _, bad := range []string{"", "6", "six months", "-1 months", "1.5 months", "6months", "1201 months", "99999999999 months", "40000d"} {
		if b, why := parseBackfill(bad); why == "" {
			t.Errorf("%q is taken as %+v", bad, b)
		}
	}
}

func TestEveryZoneOfTheListIsKnown(t *testing.T) {
	t.Parallel()
	for name := range strings.FieldsSeq(zones) {
		if why := zoneForm(name); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

// The descriptions of blocks are data: they obey the rules for those of plugins.
func TestDescriptionsAreSound(t *testing.T) {
	t.Parallel()
	for _, spec := range everyBlock() {
		for _, a := range spec.attributes {
			a.Description = "Anything."
			if a.Sensitive || a.Required {
				continue
			}
			if a.Default != nil {
				if why := check(a); why != "" {
					t.Errorf("%s: the default of %s: %s", spec.name, a.Name, why)
				}
			}
		}
	}
	for _, r := range unavailable {
		found := r.block == "kafka"
		for _, spec := range everyBlock() {
			for _, a := range spec.attributes {
				found = found || r.block == spec.name && (r.attribute == "" || r.attribute == a.Name)
			}
		}
		if !found {
			t.Errorf("there is no %s.%s to be refused", r.block, r.attribute)
		}
	}
}

// check returns why an attribute's default would be refused in a file, or "".
func check(a attribute) string {
	if text, ok := a.Default.(string); ok {
		_, why := textConstant(a, text, "/")
		return why
	}
	return ""
}

// everyBlock are the descriptions of all blocks.
func everyBlock() (all []*blockType) {
	var add func(*blockType)
	add = func(spec *blockType) {
		all = append(all, spec)
		for _, inner := range spec.blocks {
			add(inner)
		}
	}
	for _, spec := range []*blockType{hostBlock, projectBlock, filesBlock, collectorBlock, mixpanelBlock, pipelineBlock} {
		add(spec)
	}
	return all
}

func TestConstantsDoNotPrint(t *testing.T) {
	t.Parallel()
	d := Destination{JSON: Constants(`{"password":"hunter2"}`)}
	encoded, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		string(encoded), fmt.Sprint(d), fmt.Sprintf("%v %+v %#v", d, d, d), fmt.Sprintf("%s %v %d", d.JSON, d.JSON, d.JSON),
	} {
		if strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") || strings.Contains(got, "104 117") {
			t.Errorf("printed %s", got)
		}
	}
}

// A user that plugins cannot run as is a mistake at its attribute, and is found
// before a plugin is asked for its schema.
func TestPluginUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "host {\n  plugin_user = \"nemo\"\n}\nproject \"shop\" {\n  id = 1\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "a.hcl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked []string
	c, list := Load(t.Context(), Options{Paths: []string{dir}, Now: now, Schema: schemaOf, User: func(name string) error {
		asked = append(asked, name)
		return errors.New("there is no user nemo")
	}})
	if len(list) != 1 || list[0].Subject.Start.Line != 2 || !strings.Contains(list[0].Detail, "there is no user nemo") || c.Host.PluginUser != "nemo" || len(asked) != 1 {
		t.Errorf("%v, asked for %q, %+v", list, asked, c.Host)
	}
	if c, list = Load(t.Context(), Options{Paths: []string{dir}, Now: now, Schema: schemaOf}); len(list) != 0 || c.Host.PluginUser != "nemo" {
		t.Errorf("without a check: %v", list)
	}
}
