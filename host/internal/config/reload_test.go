package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// running returns a configuration with a block of each kind.
func running() *Config {
	shop := &Project{Name: "shop", ID: 1, Token: "tok", TimeZone: time.UTC}
	lake := &Destination{Type: "s3", Name: "lake", JSON: Constants(`{"bucket":"b","secret_access_key":"s1"}`)}
	schedule := pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt, Zone: time.FixedZone("Nowhere", 0)}
	return &Config{
		Host: Host{DataDir: "/data", Memory: 1}, API: API{Listen: "127.0.0.1:2", Token: "t1"}, Projects: []*Project{shop},
		Sources:      []*Source{{Name: "import", Project: shop, Pattern: "/a/*"}},
		Collectors:   []*Collector{{Name: "web", Projects: []*Project{shop}, Listen: "127.0.0.1:1", APISecret: "s1", MaxBody: 1}},
		Mixpanel:     []*Mixpanel{{Name: "eu", Project: shop}},
		Destinations: []*Destination{lake},
		Pipelines: []*Pipeline{
			{Name: "events", Project: shop, Stream: batch.Events, Destination: lake, MaxRun: 1, To: pipeline.Forever, Order: pipeline.Oldest, Schedule: schedule},
			{Name: "people", Project: shop, Stream: batch.People, Destination: lake},
		},
	}
}

// said returns changes as one line each.
func said(changes []Change) []string {
	lines := []string{}
	for _, c := range changes {
		line := strings.TrimSuffix(c.Block+" "+c.Attribute, " ") + " " + c.Event
		if c.From+c.To != "" {
			line += fmt.Sprintf(" %s>%s", c.From, c.To)
		}
		if c.Restart {
			line += " restart"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestMerge(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		want   []string
		kept   []string // pipelines that are the same pointers as before
	}{
		"nothing":      {func(*Config) {}, []string{}, []string{"events", "people"}},
		"a pipeline":   {func(c *Config) { c.Pipelines[0].MaxRun = 2 }, []string{"pipeline events max_run changed 1>2"}, []string{"people"}},
		"a paused one": {func(c *Config) { c.Pipelines[1].Paused = true }, []string{"pipeline people paused changed false>true"}, []string{"events"}},
		"a schedule": {func(c *Config) {
			c.Pipelines[0].Schedule.Cadence, c.Pipelines[0].Schedule.At, c.Pipelines[0].Schedule.MinInterval = pipeline.Hourly, 5*time.Minute, time.Hour
			c.Pipelines[0].attributes = map[string]hcl.Range{"at": {}}
		}, []string{"pipeline events frequency changed daily>hourly", "pipeline events at changed 00:30>00:05", "pipeline events min_interval changed none>1h0m0s"}, []string{"people"}},
		"late rows": {func(c *Config) { c.Pipelines[0].LeaveLate = true }, []string{"pipeline events sync changed"}, []string{"people"}},
		"an end":    {func(c *Config) { c.Pipelines[0].To = 20000 }, []string{"pipeline events to_date changed none>2024-10-04"}, []string{"people"}},
		"an order":  {func(c *Config) { c.Pipelines[0].Order = pipeline.Newest }, []string{"pipeline events backfill_order changed oldest>newest"}, []string{"people"}},
		"a zone that is read again": {func(c *Config) {
			c.Pipelines[0].Schedule.Zone = time.FixedZone("Nowhere", 1) // the clocks have changed since
		}, []string{}, []string{"events", "people"}},
		"a log":           {func(c *Config) { c.Host.LogJSON = true }, []string{"host log_format changed restart"}, []string{"events", "people"}},
		"a removed one":   {func(c *Config) { c.Pipelines = c.Pipelines[:1] }, []string{"pipeline people removed"}, []string{"events"}},
		"a secret of s3":  {func(c *Config) { c.Destinations[0].JSON = Constants(`{"bucket":"b","secret_access_key":"s2"}`) }, []string{"destination s3.lake secret_access_key changed"}, nil},
		"data_dir":        {func(c *Config) { c.Host.DataDir = "/other" }, []string{"host data_dir changed /data>/other restart"}, []string{"events", "people"}},
		"the API's token": {func(c *Config) { c.API.Token = "t2" }, []string{"api token changed"}, []string{"events", "people"}},
		"the API's address": {func(c *Config) { c.API.Listen, c.API.Token = "127.0.0.1:3", "t2" }, []string{
			"api listen changed 127.0.0.1:2>127.0.0.1:3 restart", "api token changed",
		}, []string{"events", "people"}},
		"no API": {func(c *Config) { c.API = API{} }, []string{
			"api listen changed 127.0.0.1:2> restart", "api token changed restart",
		}, []string{"events", "people"}},
		"a token":         {func(c *Config) { c.Projects[0].Token = "new" }, []string{"project shop token changed tok>new restart"}, []string{"events", "people"}},
		"files":           {func(c *Config) { c.Sources[0].Pattern = "/b/*" }, []string{"source files.import path changed /a/*>/b/*"}, []string{"events", "people"}},
		"no pull":         {func(c *Config) { c.Mixpanel = nil }, []string{"source mixpanel.eu removed"}, []string{"events", "people"}},
		"an address":      {func(c *Config) { c.Collectors[0].Listen = "127.0.0.1:2" }, []string{"source collector.web listen changed 127.0.0.1:1>127.0.0.1:2"}, []string{"events", "people"}},
		"a client's":      {func(c *Config) { c.Collectors[0].APISecret = "s2" }, []string{"source collector.web api_secret changed"}, []string{"events", "people"}},
		"a new collector": {func(c *Config) { c.Collectors = append(c.Collectors, &Collector{Name: "app"}) }, []string{"source collector.app added"}, []string{"events", "people"}},
		"a new project's": {func(c *Config) {
			p := &Project{Name: "new", ID: 2, TimeZone: time.UTC}
			c.Projects = append(c.Projects, p)
			c.Pipelines = append(c.Pipelines, &Pipeline{Name: "late", Project: p, Destination: c.Destinations[0]})
		}, []string{"project new added", "pipeline late added"}, []string{"events", "people"}},
		"a destination": {func(c *Config) {
			d := &Destination{Type: "s3", Name: "two", JSON: Constants(`{}`)}
			c.Destinations = append(c.Destinations, d)
			c.Pipelines = append(c.Pipelines, &Pipeline{Name: "second", Project: c.Projects[0], Destination: d})
		}, []string{"destination s3.two added", "pipeline second added"}, []string{"events", "people"}},
	}
	for name, tt := range tests {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			old, next := running(), running()
			tt.change(next)
			merged, changes := Merge(old, next)
			if got := said(changes); !slices.Equal(got, tt.want) {
				t.Errorf("changes %q, want %q", got, tt.want)
			}
			var kept []string
			for _, p := range merged.Pipelines {
				if slices.Contains(old.Pipelines, p) {
					kept = append(kept, p.Name)
				}
				if !slices.Contains(merged.Projects, p.Project) || !slices.Contains(merged.Destinations, p.Destination) {
					t.Errorf("pipeline %s refers to blocks that are not in the configuration", p.Name)
				}
			}
			if !slices.Equal(kept, tt.kept) {
				t.Errorf("kept %q, want %q", kept, tt.kept)
			}
			if want := cmp.Or(next.API.Token, old.API.Token); merged.API.Listen != old.API.Listen || merged.API.Token != want {
				t.Errorf("merged API %+v", merged.API)
			}
			if merged.Host.DataDir != old.Host.DataDir || merged.Projects[0] != old.Projects[0] {
				t.Errorf("merged %+v", merged)
			}
		})
	}
}

// described returns the sources and projects of a configuration, one line each. A source
// whose block is the same pointer as in old is marked.
func described(c, old *Config) []string {
	lines := []string{}
	add := func(kept bool, format string, args ...any) {
		if line := fmt.Sprintf(format, args...); kept {
			lines = append(lines, line+" kept")
		} else {
			lines = append(lines, line)
		}
	}
	for _, p := range c.Projects {
		add(slices.Contains(old.Projects, p), "project %s %s", p.Name, p.Token)
	}
	for _, s := range c.Sources {
		add(slices.Contains(old.Sources, s), "%s of %s reads %s", s.Reference(), s.Project.Name, s.Pattern)
	}
	for _, m := range c.Mixpanel {
		add(slices.Contains(old.Mixpanel, m), "%s of %s from %s local %t", m.Reference(), m.Project.Name, m.From, m.Local)
	}
	for _, x := range c.Collectors {
		names := []string{}
		for _, p := range x.Projects {
			names = append(names, p.Name)
		}
		add(slices.Contains(old.Collectors, x), "%s of %s on %s %s %d", x.Reference(), strings.Join(names, " "), x.Listen, string(x.APISecret), x.MaxBody)
	}
	return lines
}

// A running host takes sources and projects over, except where it has to be restarted,
// or refuses.
func TestMergeOfSources(t *testing.T) {
	app := func() *Project { return &Project{Name: "app", ID: 2, Token: "app", TimeZone: time.UTC} }
	day := pipeline.Forever - 1
	kept := []string{
		"project shop tok kept", "files.import of shop reads /a/* kept", "mixpanel.eu of shop from 1970-01-01 local false kept", "collector.web of shop on 127.0.0.1:1 s1 1 kept",
	}
	changed := func(i int, line string) []string {
		lines := slices.Clone(kept)
		lines[i] = line
		return lines
	}
	tests := map[string]struct {
		change  func(*Config)
		said    []string
		want    []string
		refused string // the beginning; "": no change is
	}{
		"nothing": {func(*Config) {}, []string{}, kept, ""},
		"an added source": {func(c *Config) {
			c.Sources = append(c.Sources, &Source{Name: "more", Project: c.Projects[0], Pattern: "/m/*"})
		}, []string{"source files.more added"}, slices.Insert(slices.Clone(kept), 2, "files.more of shop reads /m/*"), ""},
		"a removed one":      {func(c *Config) { c.Sources = nil }, []string{"source files.import removed"}, slices.Delete(slices.Clone(kept), 1, 2), ""},
		"no collector":       {func(c *Config) { c.Collectors = nil }, []string{"source collector.web removed"}, kept[:3], ""},
		"another pattern":    {func(c *Config) { c.Sources[0].Pattern = "/b/*" }, []string{"source files.import path changed /a/*>/b/*"}, changed(1, "files.import of shop reads /b/*"), ""},
		"a secret, a body":   {func(c *Config) { c.Collectors[0].APISecret, c.Collectors[0].MaxBody = "s2", 2 }, []string{"source collector.web api_secret changed", "source collector.web max_body changed 1>2"}, changed(3, "collector.web of shop on 127.0.0.1:1 s2 2"), ""},
		"another address":    {func(c *Config) { c.Collectors[0].Listen = "127.0.0.1:2" }, []string{"source collector.web listen changed 127.0.0.1:1>127.0.0.1:2"}, changed(3, "collector.web of shop on 127.0.0.1:2 s1 1"), ""},
		"dates of its zone":  {func(c *Config) { c.Mixpanel[0].Local = true }, []string{"source mixpanel.eu data_timezone changed restart"}, kept, ""},
		"those, and a limit": {func(c *Config) { c.Mixpanel[0].Local, c.Mixpanel[0].ExportLimit.PerHour = true, 5 }, []string{"source mixpanel.eu data_timezone changed restart", "source mixpanel.eu export_limit changed"}, changed(2, "mixpanel.eu of shop from 1970-01-01 local false"), ""},
		"a day later":        {func(c *Config) { c.Mixpanel[0].From = day }, []string{}, kept, ""}, // from_date is left out
		"a written first day": {func(c *Config) {
			c.Mixpanel[0].From, c.Mixpanel[0].attributes = day, map[string]hcl.Range{"from_date": {}}
		}, []string{"source mixpanel.eu from_date changed 1970-01-01>" + day.String()}, changed(2, "mixpanel.eu of shop from "+day.String()+" local false"), ""},
		"an added project": {func(c *Config) {
			c.Projects = append(c.Projects, app())
			c.Collectors[0].Projects = append(c.Collectors[0].Projects, c.Projects[1])
		}, []string{"project app added", "source collector.web projects changed"},
			slices.Insert(changed(3, "collector.web of shop app on 127.0.0.1:1 s1 1"), 1, "project app app"), ""},
		"another project": {func(c *Config) {
			c.Projects = append(c.Projects, app())
			c.Sources[0].Project = c.Projects[1]
		}, []string{"project app added", "source files.import project changed shop>app"}, nil, `a source belongs to its project, where its position and its rows are: set it to "shop" again`},
		"a renamed project": {func(c *Config) { c.Projects[0].Name = "store" }, nil, nil, `its id 1 is that of project "shop"`},
		"a token and a source": {func(c *Config) {
			c.Projects[0].Token = "new"
			c.Sources[0].Pattern = "/b/*"
			c.Sources = append(c.Sources, &Source{Name: "more", Project: c.Projects[0]})
			c.Mixpanel = nil
		}, []string{
			"project shop token changed tok>new restart", "source files.import path changed /a/*>/b/* restart", "source files.more added restart", "source mixpanel.eu removed restart",
		}, kept, ""},
		"one project in place of another": {func(c *Config) {
			c.Projects = []*Project{app()}
			c.Sources, c.Mixpanel, c.Pipelines = nil, nil, nil
			c.Collectors[0].Projects = c.Projects
		}, []string{"project app added", "source files.import removed", "source mixpanel.eu removed", "source collector.web projects changed", "project shop removed", "pipeline events removed", "pipeline people removed"},
			[]string{"project app app", "collector.web of app on 127.0.0.1:1 s1 1"}, ""},
	}
	for name, tt := range tests {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			old, next := running(), running()
			tt.change(next)
			merged, changes := Merge(old, next)
			refused := ""
			for _, c := range changes {
				refused += c.Refused
			}
			if got := said(changes); tt.said != nil && !slices.Equal(got, tt.said) {
				t.Errorf("changes %q, want %q", got, tt.said)
			}
			if got := described(merged, old); tt.want != nil && !slices.Equal(got, tt.want) {
				t.Errorf("merged:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if !strings.HasPrefix(refused, tt.refused) || (refused == "") != (tt.refused == "") {
				t.Errorf("refused: %q, want %q", refused, tt.refused)
			}
			for _, s := range merged.Sources {
				if !slices.Contains(merged.Projects, s.Project) {
					t.Errorf("%s refers to a project that is not in the configuration", s.Reference())
				}
			}
			for _, c := range merged.Collectors {
				for _, p := range c.Projects {
					if !slices.Contains(merged.Projects, p) {
						t.Errorf("%s refers to a project that is not in the configuration", c.Reference())
					}
				}
			}
		})
	}
}

// A project that is gone stays until a restart while a source needs it that waits for one.
func TestAProjectThatAWaitingSourceNeedsStays(t *testing.T) {
	old, next := running(), running()
	for _, c := range []*Config{old, next} {
		c.Projects = append(c.Projects, &Project{Name: "app", ID: 2, Token: "app", TimeZone: time.UTC})
		c.Sources, c.Mixpanel, c.Pipelines, c.Destinations = nil, nil, nil, nil
		c.Collectors[0].Projects = c.Projects
	}
	next.Projects[0].Token = "new"
	next.Projects = next.Projects[:1]
	next.Collectors[0].Projects = next.Projects
	merged, changes := Merge(old, next)
	want := []string{"project shop token changed tok>new restart", "source collector.web projects changed restart", "project app removed restart"}
	if got := said(changes); !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
	if got := described(merged, old); !slices.Equal(got, []string{"project shop tok kept", "project app app kept", "collector.web of shop app on 127.0.0.1:1 s1 1 kept"}) {
		t.Errorf("merged %q", got)
	}
}

// A reload shows values as they were written, no value that may be a secret, and no change
// that follows from another one.
func TestMergeShowsWhatWasWritten(t *testing.T) {
	t.Parallel()
	const text = `
host {
  memory = "64MiB"
  log_format = local.format
}
locals {
  format = "text"
  days   = "200d"
}
project "shop" {
  id = 1
  token = "tok"
}
project "app" {
  id = 2
  token = env("TOKEN")
}
source "files" "import" {
  project = "shop"
  path = "/a/*"
}
source "collector" "web" {
  projects = ["shop"]
  listen = "127.0.0.1:1"
  max_body = "10MB"
  api_secret = env("SECRET")
}
destination "localfs" "out" {
  path = "/out"
}
destination "s3" "lake" {
  bucket = "b"
  secret_access_key = "key-one"
  role_arn = env("ROLE")
}
destination "every" "one" {
  text = "https://example.com/a"
  pin = 1111
}
pipeline "events" {
  project = "shop"
  stream = "events"
  destination = destination.localfs.out
  from_date = "2026-06-01"
}
`
	tests := map[string]struct {
		change []string // old and new, in turn
		want   []string
	}{
		"a size":           {[]string{`"64MiB"`, `"32MiB"`}, []string{"host memory changed 64MiB>32MiB restart"}},
		"a default":        {[]string{`memory = "64MiB"`, `memory = "128MiB"`}, []string{"host memory changed 64MiB>128MiB restart"}},
		"a local":          {[]string{`format = "text"`, `format = "json"`}, []string{"host log_format changed text>json restart"}},
		"a span":           {[]string{`memory = "64MiB"`, `retention = "400d"`}, []string{"host retention changed 200d>400d"}},
		"a frequency":      {[]string{`from_date =`, "frequency = \"hourly\"\n  from_date ="}, []string{"pipeline events frequency changed daily>hourly"}},
		"no frequency":     {[]string{`from_date =`, "frequency = \"continuous\"\n  from_date ="}, []string{"pipeline events frequency changed daily>continuous"}},
		"a time of day":    {[]string{`from_date =`, "at = \"03:00\"\n  from_date ="}, []string{"pipeline events at changed 00:30>03:00"}},
		"an interval":      {[]string{`from_date =`, "min_interval = \"90s\"\n  from_date ="}, []string{"pipeline events min_interval changed none>90s"}},
		"a rate":           {[]string{`from_date =`, "rate_limit = \"5MiB\"\n  from_date ="}, []string{"pipeline events rate_limit changed none>5MiB"}},
		"late rows":        {[]string{`from_date =`, "sync = false\n  from_date ="}, []string{"pipeline events sync changed true>false"}},
		"an end":           {[]string{`from_date =`, "to_date = \"2026-06-30\"\n  from_date ="}, []string{"pipeline events to_date changed none>2026-06-30"}},
		"a body, projects": {[]string{`"10MB"`, `"20MB"`, `["shop"]`, `["shop", "app"]`}, []string{`source collector.web projects changed ["shop"]>["shop","app"]`, "source collector.web max_body changed 10MB>20MB"}},
		"a pattern":        {[]string{`"/a/*"`, `"/b/*"`}, []string{"source files.import path changed /a/*>/b/*"}},
		"a secret":         {[]string{`env("SECRET")`, `env("OTHER")`}, []string{"source collector.web api_secret changed"}},
		"env of a token":   {[]string{`env("TOKEN")`, `env("OTHER")`}, []string{"project app token changed restart"}},
		"a token":          {[]string{`"tok"`, `"token"`}, []string{"project shop token changed tok>token restart"}},
		"a place":          {[]string{`"/out"`, `"/elsewhere"`}, []string{"destination localfs.out path changed /out>/elsewhere"}},
		"a secret of s3":   {[]string{`"key-one"`, `"key-two"`}, []string{"destination s3.lake secret_access_key changed"}},
		"an env of s3":     {[]string{`env("ROLE")`, `"arn:two"`}, []string{"destination s3.lake role_arn changed"}},
		"s3":               {[]string{`"b"`, `"c"`}, []string{"destination s3.lake bucket changed b>c"}},
		"a secret number":  {[]string{`1111`, `2222`}, []string{"destination every.one pin changed"}},
		"a password":       {[]string{`example.com/a`, `me:pass@example.com/a`}, []string{"destination every.one text changed"}},
		"a signature":      {[]string{`example.com/a`, `example.com/a?sig=x`}, []string{"destination every.one text changed"}},
		"values of a plugin": {[]string{`pin = 1111`, "pin = 1111\n  part = \"1GiB\"\n  wait = \"2m\"\n  names = [\"y\"]\n  flag = false\n  file = \"/f\""}, []string{
			"destination every.one file changed none>/f", "destination every.one flag changed true>false", `destination every.one names changed ["x"]>["y"]`,
			"destination every.one part changed 64MiB>1GiB", "destination every.one wait changed 90s>2m",
		}},
	}
	for name, tt := range tests {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			_, changes := Merge(loaded(t, text), loaded(t, strings.NewReplacer(tt.change...).Replace(text)))
			if got := said(changes); !slices.Equal(got, tt.want) {
				t.Errorf("changes %q, want %q", got, tt.want)
			}
		})
	}
}

// loaded returns the configuration of a text. Each variable has its name as its value.
func loaded(t *testing.T, text string) *Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "penstock.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, found := Load(t.Context(), Options{
		Paths: []string{path}, Now: now, Schema: schemaOf, Env: func(name string) (string, bool) { return name, true },
	})
	if found.HasErrors() {
		t.Fatal(found)
	}
	return c
}
