package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/sdk/schema"
)

type testConfig struct {
	Path     string            `json:"path"`
	Format   string            `json:"format"`
	PartSize int64             `json:"part_size"`
	Wait     time.Duration     `json:"wait"`
	Ratio    float64           `json:"ratio"`
	Tries    int64             `json:"tries"`
	Names    []string          `json:"names"`
	Tags     map[string]string `json:"tags"`
	Loud     bool              `json:"loud"`
}

func TestConfigurationIsCheckedAndCompleted(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want testConfig
	}{
		"defaults": {`{"path":"/p"}`, testConfig{Path: "/p", Format: "json", PartSize: 1 << 20, Wait: 24 * time.Hour}},
		"all": {`{"path":"/p","format":"csv","part_size":5,"wait":7,"ratio":0.5,"tries":9007199254740993,"names":["a"],"tags":{"a":"b"},"loud":true}`,
			testConfig{"/p", "csv", 5, 7, 0.5, 9007199254740993, []string{"a"}, map[string]string{"a": "b"}, true}},
		"null is absent": {`{"path":"/p","format":null}`, testConfig{Path: "/p", Format: "json", PartSize: 1 << 20, Wait: 24 * time.Hour}},
	}
	for name, tt := range tests {
		data, found := complete(testSchema, []byte(tt.in))
		if len(found) > 0 {
			t.Errorf("%s: %v", name, found)
			continue
		}
		var got testConfig
		if err := (Config{JSON: data}).Decode(&got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	config := map[string]any{
		"format": "xml", "part_size": -1, "wait": "1d", "ratio": "x", "tries": 1.5, "names": []any{"a", 1},
		"tags": map[string]any{"a": 1}, "loud": "yes", "Path": "/p", "other": 1,
	}
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	_, found := complete(testSchema, data)
	got := make(map[string]string)
	for _, d := range found {
		got[d.Attribute] = d.Summary
	}
	want := map[string]string{
		"path": "Missing required attribute", "Path": "Unknown attribute", "other": "Unknown attribute",
		"format": "Value is not allowed", "part_size": "Wrong type", "wait": "Wrong type", "ratio": "Wrong type",
		"tries": "Wrong type", "names": "Wrong type", "tags": "Wrong type", "loud": "Wrong type",
	}
	if diff := cmp.Diff(want, got); diff != "" || !found.HasErrors() {
		t.Error(diff)
	}
	for _, text := range []string{`[]`, `{`, `"x"`} {
		if _, found := complete(testSchema, []byte(text)); !found.HasErrors() {
			t.Errorf("%s is taken for a configuration", text)
		}
	}
}

func TestDecodeIsStrict(t *testing.T) {
	t.Parallel()
	var into struct {
		A int `json:"a"`
	}
	for _, text := range []string{`{"a":1,"b":2}`, `{"a":"x"}`, `{"a":1}{}`, ``} {
		if err := (Config{JSON: []byte(text)}).Decode(&into); err == nil {
			t.Errorf("Decode(%s) gave no error", text)
		}
	}
}

func TestWhatNewReturnsReachesTheHost(t *testing.T) {
	t.Parallel()
	warning := Diagnostic{Severity: SeverityWarning, Attribute: "path", Summary: "Path is slow"}
	tests := map[string]struct {
		destination Destination
		err         error
		diagnostics []Diagnostic
		class       protocol.Class // of a failed call
	}{
		"a destination":           {destination: &double{}},
		"with a warning":          {&double{}, Diagnostics{warning}, []Diagnostic{warning}, 0},
		"diagnostics":             {nil, fmt.Errorf("open: %w", Diagnostics{mistake("path", "No such path", "")}), []Diagnostic{mistake("path", "No such path", "")}, 0},
		"an error of that class":  {nil, Configuration(errors.New("two keys"), "keep one"), []Diagnostic{mistake("", "two keys", "keep one")}, 0},
		"another error":           {nil, Permanent(errors.New("broken")), nil, protocol.Permanent},
		"neither":                 {class: protocol.Permanent},
		"a warning and no result": {nil, Diagnostics{warning}, nil, protocol.Permanent},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := testPlugin(nil)
			p.New = func(context.Context, Config) (Destination, error) { return tt.destination, tt.err }
			_, c := serveTest(t, p)
			got, err := c.Configure(t.Context(), Project{ID: 1}, "test", []byte(`{"path":"/"}`))
			if tt.class != 0 {
				expectClass(t, err, tt.class)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.diagnostics, got.Diagnostics); diff != "" {
				t.Error(diff)
			}
			if (len(got.Targets) == 1) != (tt.destination != nil) {
				t.Errorf("targets = %+v", got.Targets)
			}
		})
	}
}

func TestANewConfigurationClosesTheOldOne(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 1)
	_, c := configured(t, &double{closed: func() { closed <- struct{}{} }})
	e := opened(t, c, testRun(1, 1))
	done := make(chan error, 1)
	go func() {
		_, err := c.Configure(t.Context(), Project{ID: 1}, "test", []byte(`{"path":"/other"}`))
		done <- err
	}()
	if len(closed) > 0 {
		t.Error("closed while an export was open")
	}
	if err := e.Abort(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	<-closed
}

func TestAnUnconfiguredProjectIsRefused(t *testing.T) {
	t.Parallel()
	_, c := configured(t, &double{})
	run := testRun(1, 1)
	run.ProjectID = 2
	_, err := c.Status(t.Context(), run)
	expectClass(t, err, protocol.Permanent)
	_, err = c.Check(t.Context(), 2)
	expectClass(t, err, protocol.Permanent)
	expectClass(t, c.Inventory(t.Context(), protocol.InventoryQuery{Run: run}, nil), protocol.Permanent)
	e, err := c.Export(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, err = e.Open(t.Context(), run)
	expectClass(t, err, protocol.Permanent)
}

func TestTheAuthorsMistakesKeepThePluginFromStarting(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*Plugin){
		"name":         func(p *Plugin) { p.Name = "My Plugin" },
		"new":          func(p *Plugin) { p.New = nil },
		"streams":      func(p *Plugin) { p.Capabilities.Streams = nil },
		"guarantee":    func(p *Plugin) { p.Capabilities.Guarantee = 0 },
		"schema":       func(p *Plugin) { p.Schema = schema.Schema{Attributes: []schema.Attribute{{Name: "x"}}} },
		"partitioning": func(p *Plugin) { p.Capabilities.Partitioning = 0 },
	}
	for name, change := range tests {
		p := testPlugin(&double{})
		change(&p)
		if _, err := newServer(p, hclog.NewNullLogger()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
