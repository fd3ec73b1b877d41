package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// running returns a configuration with a block of each kind.
func running() *Config {
	shop := &Project{Name: "shop", ID: 1, Token: "tok", TimeZone: time.UTC}
	lake := &Destination{Type: "s3", Name: "lake", JSON: Constants(`{"bucket":"b","secret_access_key":"s1"}`)}
	schedule := pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt, Zone: time.FixedZone("Nowhere", 0)}
	return &Config{
		Host: Host{DataDir: "/data", Memory: 1}, Projects: []*Project{shop},
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
		}, []string{"pipeline events frequency changed daily>hourly", "pipeline events at changed 30m0s>5m0s", "pipeline events min_interval changed 0s>1h0m0s"}, []string{"people"}},
		"late rows": {func(c *Config) { c.Pipelines[0].LeaveLate = true }, []string{"pipeline events sync changed true>false"}, []string{"people"}},
		"an end":    {func(c *Config) { c.Pipelines[0].To = 20000 }, []string{"pipeline events to_date changed none>2024-10-04"}, []string{"people"}},
		"an order":  {func(c *Config) { c.Pipelines[0].Order = pipeline.Newest }, []string{"pipeline events backfill_order changed oldest>newest"}, []string{"people"}},
		"a zone that is read again": {func(c *Config) {
			c.Pipelines[0].Schedule.Zone = time.FixedZone("Nowhere", 1) // the clocks have changed since
		}, []string{}, []string{"events", "people"}},
		"a log":           {func(c *Config) { c.Host.LogJSON = true }, []string{"host log_format changed restart"}, []string{"events", "people"}},
		"a removed one":   {func(c *Config) { c.Pipelines = c.Pipelines[:1] }, []string{"pipeline people removed"}, []string{"events"}},
		"a secret of s3":  {func(c *Config) { c.Destinations[0].JSON = Constants(`{"bucket":"b","secret_access_key":"s2"}`) }, []string{"destination s3.lake secret_access_key changed"}, nil},
		"data_dir":        {func(c *Config) { c.Host.DataDir = "/other" }, []string{"host data_dir changed /data>/other restart"}, []string{"events", "people"}},
		"a token":         {func(c *Config) { c.Projects[0].Token = "new" }, []string{"project shop token changed tok>new restart"}, []string{"events", "people"}},
		"files":           {func(c *Config) { c.Sources[0].Pattern = "/b/*" }, []string{"source files.import path changed /a/*>/b/* restart"}, []string{"events", "people"}},
		"no pull":         {func(c *Config) { c.Mixpanel = nil }, []string{"source mixpanel.eu removed restart"}, []string{"events", "people"}},
		"an address":      {func(c *Config) { c.Collectors[0].Listen = "127.0.0.1:2" }, []string{"source collector.web listen changed 127.0.0.1:1>127.0.0.1:2 restart"}, []string{"events", "people"}},
		"a client's":      {func(c *Config) { c.Collectors[0].APISecret = "s2" }, []string{"source collector.web api_secret changed"}, []string{"events", "people"}},
		"a new collector": {func(c *Config) { c.Collectors = append(c.Collectors, &Collector{Name: "app"}) }, []string{"source collector.app added restart"}, []string{"events", "people"}},
		"a new project's": {func(c *Config) {
			p := &Project{Name: "new", ID: 2, TimeZone: time.UTC}
			c.Projects = append(c.Projects, p)
			c.Pipelines = append(c.Pipelines, &Pipeline{Name: "late", Project: p, Destination: c.Destinations[0]})
		}, []string{"project new added restart", "pipeline late added restart"}, []string{"events", "people"}},
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
			if merged.Host.DataDir != old.Host.DataDir || merged.Collectors[0].Listen != old.Collectors[0].Listen || len(merged.Collectors) != 1 ||
				merged.Projects[0] != old.Projects[0] || merged.Sources[0] != old.Sources[0] || merged.Collectors[0].APISecret != next.Collectors[0].APISecret {
				t.Errorf("merged %+v", merged)
			}
		})
	}
}
