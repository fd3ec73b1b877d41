package destinationtest

import (
	"maps"
	"reflect"
	"slices"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/sdk/schema"
)

func describeIsStable(b *bench) {
	p := b.launch()
	first := p.describe()
	if !schema.ValidName(first.Name) || first.Version == "" {
		b.Errorf("the description has name %q and version %q", first.Name, first.Version)
	}
	c := first.Capabilities
	if len(c.Streams) == 0 || len(c.Modes) == 0 || c.Partitioning == 0 || c.Guarantee == 0 {
		b.Errorf("the capabilities are not complete: %+v", c)
	}
	if again := p.describe(); !reflect.DeepEqual(first, again) {
		b.Errorf("asked again, the plugin describes itself as %+v, before as %+v", again, first)
	}
	if other := b.launch().describe(); !reflect.DeepEqual(first, other) {
		b.Errorf("another process describes itself as %+v, the first as %+v", other, first)
	}
}

func goodConfiguration(b *bench) {
	p := b.launch()
	first := b.mustConfigure(p)
	for _, stream := range p.describe().Capabilities.Streams {
		if !slices.ContainsFunc(first.Targets, func(t sdk.Target) bool { return t.Stream == stream && t.URI != "" }) {
			b.Errorf("no target for %s among %+v", stream, first.Targets)
		}
	}
	if again := b.mustConfigure(p); !reflect.DeepEqual(first.Targets, again.Targets) {
		b.Errorf("configured again, the targets are %+v, before they were %+v", again.Targets, first.Targets)
	}
	if other := b.mustConfigure(b.launch()); !reflect.DeepEqual(first.Targets, other.Targets) {
		b.Errorf("in another process the targets are %+v, before they were %+v", other.Targets, first.Targets)
	}
	elsewhere := b.elsewhere()
	for _, t := range elsewhere.mustConfigure(elsewhere.launch()).Targets {
		if slices.Contains(first.Targets, t) {
			b.Errorf("two places have the same target %+v", t)
		}
	}
}

func (b *bench) mustConfigure(p *process) protocol.Configured {
	b.Helper()
	c, err := p.configure(b.config)
	if err != nil {
		b.Fatalf("configure: %v", err)
	}
	for _, d := range c.Diagnostics {
		if d.Severity != protocol.SeverityWarning {
			b.Errorf("the good configuration is refused: %+v", d)
		}
	}
	return c
}

func badConfigurations(b *bench) {
	p := b.launch()
	all := BadConfig{Name: "every mistake at once", Change: func(map[string]any) {}}
	for _, bad := range append(badBySchema(p.describe().Schema), b.h.Bad...) {
		b.expectDiagnostics(p, bad)
	}
	unknown, wrong := unknownAttribute, wrongTypes(p.describe().Schema)
	all.Change = func(config map[string]any) {
		unknown.Change(config)
		for _, w := range wrong {
			w.Change(config)
		}
	}
	all.Attributes = slices.Clone(unknown.Attributes)
	for _, w := range wrong {
		all.Attributes = append(all.Attributes, w.Attributes...)
	}
	b.expectDiagnostics(p, all)
	b.mustConfigure(p) // the refused configurations have no effect
}

var unknownAttribute = BadConfig{
	Name: "unknown attribute", Attributes: []string{"no_such_attribute"},
	Change: func(config map[string]any) { config["no_such_attribute"] = "x" },
}

func badBySchema(s schema.Schema) []BadConfig {
	bad := append([]BadConfig{unknownAttribute}, wrongTypes(s)...)
	for _, a := range s.Attributes {
		if a.Required {
			bad = append(bad, BadConfig{
				Name: "missing " + a.Name, Attributes: []string{a.Name},
				Change: func(config map[string]any) { delete(config, a.Name) },
			})
		}
		if len(a.Allowed) > 0 {
			bad = append(bad, BadConfig{
				Name: "value not allowed for " + a.Name, Attributes: []string{a.Name},
				Change: func(config map[string]any) { config[a.Name] = "no such value" },
			})
		}
	}
	return bad
}

func wrongTypes(s schema.Schema) []BadConfig {
	var bad []BadConfig
	for _, a := range s.Attributes {
		wrong := any("text")
		if a.Type == schema.String || a.Type == schema.Path {
			wrong = []string{"a", "list"}
		}
		bad = append(bad, BadConfig{
			Name: "wrong type for " + a.Name, Attributes: []string{a.Name},
			Change: func(config map[string]any) { config[a.Name] = wrong },
		})
	}
	return bad
}

// expectDiagnostics asserts that every mistake is named, and that there are no
// targets then.
func (b *bench) expectDiagnostics(p *process, bad BadConfig) {
	b.Helper()
	config := maps.Clone(b.config)
	bad.Change(config)
	got, err := p.configure(config)
	if err != nil {
		b.Errorf("%s: the call failed instead of naming the mistake: %v", bad.Name, err)
		return
	}
	for _, name := range bad.Attributes {
		found := slices.ContainsFunc(got.Diagnostics, func(d protocol.Diagnostic) bool {
			return d.Attribute == name && d.Severity == protocol.SeverityError && d.Summary != ""
		})
		if !found {
			b.Errorf("%s: no error names attribute %q: %+v", bad.Name, name, got.Diagnostics)
		}
	}
	if len(got.Targets) > 0 {
		b.Errorf("%s: there are targets all the same: %+v", bad.Name, got.Targets)
	}
}

func checkLeavesNothing(b *bench) {
	p := b.start()
	before := b.objects(b.run(1, 1))
	ctx, cancel := b.call()
	defer cancel()
	results, err := p.Check(ctx, b.h.Project.ID)
	if err != nil {
		b.Fatalf("check: %v", err)
	}
	for _, r := range results {
		if !r.OK {
			b.Errorf("check of a good configuration: %s failed: %s", r.Action, r.Detail)
		}
	}
	b.expectRows(b.run(1, 1), nil, "after a check")
	b.expectSameObjects(b.run(1, 1), before, "after a check")
	p.expectState(b.run(1, 1), sdk.Absent, 0)
}
