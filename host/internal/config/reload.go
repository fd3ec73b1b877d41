package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// Change is a difference between two configurations. It holds no value of a secret.
type Change struct {
	Block     string // "pipeline events_out", "source collector.web", "host"
	Attribute string // "": the block was added or removed
	Event     string // Added, Removed or Changed
	From, To  string // values; "" where they are not shown
	Restart   bool   // the host goes on with the old value until it is started again
}

// The events of a Change.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// Merge returns the configuration that a running host can change to, and the differences
// between its own and next. Blocks that are equal are the same pointers as before, so that
// a room sees from the pointer whether a block has changed. Parts that only a restart
// changes are as they were, and so are the blocks that need them: Restart marks their
// changes. Neither argument is changed.
func Merge(old, next *Config) (*Config, []Change) {
	m := &merger{old: old, next: next, merged: *next}
	m.host()
	m.projects()
	m.sources()
	m.destinations()
	m.pipelines()
	return &m.merged, m.changes
}

// merger merges two configurations.
type merger struct {
	old, next *Config
	merged    Config
	changes   []Change
}

// add adds the changes of a block.
func (m *merger) add(block string, restart bool, changes ...Change) {
	for _, c := range changes {
		c.Block, c.Restart = block, restart
		m.changes = append(m.changes, c)
	}
}

func (m *merger) host() {
	for _, c := range differences(m.old.Host, m.next.Host) {
		m.add("host", c.Attribute != "max_backfill", c)
	}
	m.merged.Host = m.old.Host
	m.merged.Host.MaxBackfill = m.next.Host.MaxBackfill
}

// named are blocks of one kind.
type named[B any] struct {
	kind string
	name func(*B) string
}

// find returns the block of a name; nil: there is none.
func (k named[B]) find(blocks []*B, name string) *B {
	for _, b := range blocks {
		if k.name(b) == name {
			return b
		}
	}
	return nil
}

// fixed compares blocks that only a restart changes, and returns the old ones.
func (k named[B]) fixed(m *merger, old, next []*B) []*B {
	for _, b := range next {
		before := k.find(old, k.name(b))
		if before == nil {
			m.add(k.kind+" "+k.name(b), true, Change{Event: Added})
			continue
		}
		m.add(k.kind+" "+k.name(b), true, differences(*before, *b)...)
	}
	k.removed(m, old, next, true)
	return old
}

// removed adds the changes of blocks that are gone.
func (k named[B]) removed(m *merger, old, next []*B, restart bool) {
	for _, b := range old {
		if k.find(next, k.name(b)) == nil {
			m.add(k.kind+" "+k.name(b), restart, Change{Event: Removed})
		}
	}
}

func (m *merger) projects() {
	k := named[Project]{"project", func(p *Project) string { return p.Name }}
	m.merged.Projects = k.fixed(m, m.old.Projects, m.next.Projects)
}

func (m *merger) sources() {
	files := named[Source]{"source", (*Source).Reference}
	pulls := named[Mixpanel]{"source", (*Mixpanel).Reference}
	m.merged.Sources = files.fixed(m, m.old.Sources, m.next.Sources)
	m.merged.Mixpanel = pulls.fixed(m, m.old.Mixpanel, m.next.Mixpanel)
	m.collectors()
}

// reloaded are the attributes of a collector that a running host changes.
var reloaded = []string{"api_secret", "service_account", "cors_origins", "redirect_origins"}

func (m *merger) collectors() {
	k := named[Collector]{"source", (*Collector).Reference}
	m.merged.Collectors = nil
	for _, before := range m.old.Collectors {
		next := k.find(m.next.Collectors, before.Reference())
		if next == nil {
			next = before
		}
		found := differences(*before, *next)
		merged := before
		for _, c := range found {
			m.add("source "+before.Reference(), !slices.Contains(reloaded, c.Attribute), c)
		}
		if len(found) > 0 {
			changed := *before
			changed.Place, changed.APISecret, changed.Accounts = next.Place, next.APISecret, next.Accounts
			changed.CORSOrigins, changed.RedirectOrigins = next.CORSOrigins, next.RedirectOrigins
			merged = &changed
		}
		m.merged.Collectors = append(m.merged.Collectors, merged)
	}
	for _, c := range m.next.Collectors {
		if k.find(m.old.Collectors, c.Reference()) == nil {
			m.add("source "+c.Reference(), true, Change{Event: Added})
		}
	}
	k.removed(m, m.old.Collectors, m.next.Collectors, true)
}

func (m *merger) destinations() {
	k := named[Destination]{"destination", (*Destination).Reference}
	m.merged.Destinations = nil
	for _, next := range m.next.Destinations {
		before, merged := k.find(m.old.Destinations, next.Reference()), next
		switch {
		case before == nil:
			m.add("destination "+next.Reference(), false, Change{Event: Added})
		default:
			found := constantDifferences(before.JSON, next.JSON)
			m.add("destination "+next.Reference(), false, found...)
			if len(found) == 0 {
				merged = before
			}
		}
		m.merged.Destinations = append(m.merged.Destinations, merged)
	}
	k.removed(m, m.old.Destinations, m.next.Destinations, false)
}

func (m *merger) pipelines() {
	k := named[Pipeline]{"pipeline", func(p *Pipeline) string { return p.Name }}
	projects := named[Project]{"project", func(p *Project) string { return p.Name }}
	destinations := named[Destination]{"destination", (*Destination).Reference}
	m.merged.Pipelines = nil
	for _, p := range m.next.Pipelines {
		next, before := *p, k.find(m.old.Pipelines, p.Name)
		next.Project = projects.find(m.merged.Projects, p.Project.Name)
		next.Destination = destinations.find(m.merged.Destinations, p.Destination.Reference())
		if before == nil {
			m.add("pipeline "+p.Name, next.Project == nil, Change{Event: Added})
		} else {
			found := differences(*before, *p)
			m.add("pipeline "+p.Name, next.Project == nil, found...)
			if len(found) == 0 && next.Destination == before.Destination && next.Project == before.Project {
				m.merged.Pipelines = append(m.merged.Pipelines, before)
				continue
			}
		}
		if next.Project == nil {
			continue // its project is new
		}
		m.merged.Pipelines = append(m.merged.Pipelines, &next)
	}
	k.removed(m, m.old.Pipelines, m.next.Pipelines, false)
}

// attributeNames are the attributes of fields whose names differ from them.
var attributeNames = map[string]string{
	"From": "from_date", "To": "to_date", "Order": "backfill_order", "Pattern": "path", "Local": "data_timezone", "Accounts": "service_account",
	"LogJSON": "log_format", "TLSCert": "tls_cert", "TLSKey": "tls_key", "CORSOrigins": "cors_origins", "GeoIP": "geoip", "APISecret": "api_secret",
	"ID": "id", "TimeZone": "timezone", "ProfilesPulled": "profiles_from", "Account": "service_account",
	"LeaveLate": "sync", "Cadence": "frequency", "Zone": "timezone",
}

// decoded are the fields whose values are not those of their attributes, which are not
// shown.
var decoded = []string{"LogJSON", "ProfilesPulled", "Local"}

// attributeName returns the attribute of a field: MaxRun is max_run.
func attributeName(field string) string {
	if name, ok := attributeNames[field]; ok {
		return name
	}
	var b strings.Builder
	for i, r := range field {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// differences compares the exported fields of two blocks of one type, except for their
// places. References to other blocks are compared by name.
func differences(old, next any) []Change {
	var changes []Change
	before, after := reflect.ValueOf(old), reflect.ValueOf(next)
	for i := range before.NumField() {
		field := before.Type().Field(i)
		if !field.IsExported() || field.Anonymous {
			continue
		}
		a, b := before.Field(i).Interface(), after.Field(i).Interface()
		if _, ok := a.(pipeline.Schedule); ok {
			changes = append(changes, differences(a, b)...) // it holds several attributes
			continue
		}
		if reflect.DeepEqual(comparedValue(a), comparedValue(b)) {
			continue
		}
		c := Change{Attribute: attributeName(field.Name), Event: Changed}
		if !slices.Contains(decoded, field.Name) {
			c.From, c.To = shownValue(a), shownValue(b)
		}
		if field.Name == "LeaveLate" {
			c.From, c.To = c.To, c.From // sync = false
		}
		changes = append(changes, c)
	}
	return changes
}

// comparedValue returns a value by which a field is compared.
func comparedValue(v any) any {
	switch v := v.(type) {
	case *Project:
		return v.Name
	case *Destination:
		return v.Reference()
	case []*Project:
		names := make([]string, 0, len(v))
		for _, p := range v {
			names = append(names, p.Name)
		}
		return names
	case journal.Day:
		if v == pipeline.Forever {
			return "none"
		}
		return v.String()
	case pipeline.Cadence:
		return string(v)
	case pipeline.Order:
		return string(v)
	case fmt.Stringer:
		return v.String()
	}
	return v
}

// shownValue returns the text of a value; "" where it may hold a secret or is long.
func shownValue(v any) string {
	switch v := comparedValue(v).(type) {
	case string, bool, int, int64:
		return fmt.Sprint(v)
	}
	return ""
}

// constantDifferences compares the attributes of two destinations of one type. Which of
// them are secrets only the plugin knows: no value is shown.
func constantDifferences(old, next Constants) []Change {
	var before, after map[string]json.RawMessage
	if json.Unmarshal(old, &before) != nil || json.Unmarshal(next, &after) != nil {
		if string(old) == string(next) {
			return nil
		}
		return []Change{{Event: Changed}}
	}
	var changes []Change
	for _, name := range sortedKeys(before, after) {
		if string(before[name]) != string(after[name]) {
			changes = append(changes, Change{Attribute: name, Event: Changed})
		}
	}
	return changes
}

// sortedKeys returns the keys of both maps, each once.
func sortedKeys[V any](maps ...map[string]V) []string {
	var keys []string
	for _, m := range maps {
		for key := range m {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
