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
	// Refused is why a running host cannot make the change, and what to do; "": it can.
	Refused string
	Effect  string // the consequence, as a clause; "": the event says it
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
// changes. If a change is refused, nothing may be changed. Neither argument is changed.
func Merge(old, next *Config) (*Config, []Change) {
	m := &merger{old: old, next: next, merged: *next, pending: map[string]bool{}}
	m.host()
	m.api()
	m.projects()
	m.sources()
	m.removedProjects()
	m.destinations()
	m.pipelines()
	return &m.merged, m.changes
}

// merger merges two configurations.
type merger struct {
	old, next *Config
	merged    Config
	changes   []Change
	pending   map[string]bool // names of projects that a restart changes
}

// add adds the changes of a block.
func (m *merger) add(block string, restart bool, changes ...Change) {
	for _, c := range changes {
		c.Block, c.Restart = block, c.Restart || restart
		m.changes = append(m.changes, c)
	}
}

// hostReloaded are the attributes of the host that a running host changes.
var hostReloaded = []string{"max_backfill", "retention", "log_level"}

func (m *merger) host() {
	for _, c := range differences(m.old.Host, m.next.Host) {
		m.add("host", !slices.Contains(hostReloaded, c.Attribute), c)
	}
	m.merged.Host = m.old.Host
	m.merged.Host.MaxBackfill, m.merged.Host.Retention, m.merged.Host.LogLevel = m.next.Host.MaxBackfill, m.next.Host.Retention, m.next.Host.LogLevel
}

// api takes over the token. A listener that is new, gone or elsewhere needs a restart, and
// keeps its token until then.
func (m *merger) api() {
	listens := m.old.API.Listen != "" && m.next.API.Listen != ""
	for _, c := range differences(m.old.API, m.next.API) {
		m.add("api", c.Attribute != "token" || !listens, c)
	}
	m.merged.API = m.old.API
	if listens {
		m.merged.API.Token = m.next.API.Token
	}
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

// removed adds the changes of blocks that are gone.
func (k named[B]) removed(m *merger, old, next []*B) {
	for _, b := range old {
		if k.find(next, k.name(b)) == nil {
			m.add(k.kind+" "+k.name(b), false, Change{Event: Removed})
		}
	}
}

// projectBlocks are the blocks of projects.
var projectBlocks = named[Project]{"project", func(p *Project) string { return p.Name }}

// projects merges the projects. Those that are gone follow after the sources.
func (m *merger) projects() {
	m.merged.Projects = nil
	for _, next := range m.next.Projects {
		before := projectBlocks.find(m.old.Projects, next.Name)
		if before == nil {
			m.merged.Projects = append(m.merged.Projects, next)
			m.add("project "+next.Name, false, m.addedProject(next))
			continue
		}
		m.merged.Projects = append(m.merged.Projects, before)
		found := differences(*before, *next)
		m.add("project "+next.Name, true, found...)
		m.pending[next.Name] = len(found) > 0
	}
}

// addedProject returns the change of a project that is new.
func (m *merger) addedProject(p *Project) Change {
	c := Change{Event: Added, Effect: "its journal is opened"}
	for _, other := range m.old.Projects {
		if other.ID == p.ID {
			c.Refused = fmt.Sprintf("its id %d is that of project %q: a project gets another name with a restart of the host", p.ID, other.Name)
		}
	}
	return c
}

// removedProjects adds the changes of projects that are gone. One that sources need until
// a restart stays.
func (m *merger) removedProjects() {
	for _, p := range m.old.Projects {
		if projectBlocks.find(m.next.Projects, p.Name) != nil {
			continue
		}
		needed := m.isUsed(p)
		if needed {
			m.merged.Projects = append(m.merged.Projects, p)
		}
		m.add("project "+p.Name, needed, Change{Event: Removed, Effect: "its journal stays"})
	}
}

// isUsed reports whether a source of the merged configuration refers to a project.
func (m *merger) isUsed(p *Project) bool {
	return slices.ContainsFunc(m.merged.Sources, func(s *Source) bool { return s.Project == p }) ||
		slices.ContainsFunc(m.merged.Mixpanel, func(s *Mixpanel) bool { return s.Project == p }) ||
		slices.ContainsFunc(m.merged.Collectors, func(c *Collector) bool { return slices.Contains(c.Projects, p) })
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
			found := constantDifferences(before, next)
			m.add("destination "+next.Reference(), false, found...)
			if len(found) == 0 {
				merged = before
			}
		}
		m.merged.Destinations = append(m.merged.Destinations, merged)
	}
	k.removed(m, m.old.Destinations, m.next.Destinations)
}

func (m *merger) pipelines() {
	k := named[Pipeline]{"pipeline", func(p *Pipeline) string { return p.Name }}
	destinations := named[Destination]{"destination", (*Destination).Reference}
	m.merged.Pipelines = nil
	for _, p := range m.next.Pipelines {
		next, before := *p, k.find(m.old.Pipelines, p.Name)
		next.Project = projectBlocks.find(m.merged.Projects, p.Project.Name)
		next.Destination = destinations.find(m.merged.Destinations, p.Destination.Reference())
		if before == nil {
			m.add("pipeline "+p.Name, false, Change{Event: Added})
		} else {
			found := differences(*before, *p)
			m.add("pipeline "+p.Name, false, found...)
			if len(found) == 0 && next.Destination == before.Destination && next.Project == before.Project {
				m.merged.Pipelines = append(m.merged.Pipelines, before)
				continue
			}
		}
		m.merged.Pipelines = append(m.merged.Pipelines, &next)
	}
	k.removed(m, m.old.Pipelines, m.next.Pipelines)
}

// attributeNames are the attributes of fields whose names differ from them.
var attributeNames = map[string]string{
	"From": "from_date", "To": "to_date", "Order": "backfill_order", "Pattern": "path", "Local": "data_timezone", "Accounts": "service_account",
	"LogJSON": "log_format", "TLSCert": "tls_cert", "TLSKey": "tls_key", "CORSOrigins": "cors_origins", "GeoIP": "geoip", "APISecret": "api_secret",
	"ID": "id", "TimeZone": "timezone", "ProfilesPulled": "profiles_from", "Account": "service_account",
	"LeaveLate": "sync", "Cadence": "frequency",
}

// decoded are the attributes whose fields have other values than they.
var decoded = []string{"log_format", "profiles_from", "data_timezone", "sync"}

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

// differences compares two blocks of one type, except for their places. References to other
// blocks are compared by name.
func differences(old, next placed) []Change {
	return fieldDifferences(old.place(), next.place(), old, next)
}

// placed is a block, or a part of one.
type placed interface{ place() Place }

// fieldDifferences compares the exported fields of two blocks, or of a part of them.
func fieldDifferences(was, is Place, old, next any) []Change {
	var changes []Change
	before, after := reflect.ValueOf(old), reflect.ValueOf(next)
	for i := range before.NumField() {
		field := before.Type().Field(i)
		if !field.IsExported() || field.Anonymous || isDerived(was, is, field.Name) {
			continue
		}
		a, b := before.Field(i).Interface(), after.Field(i).Interface()
		if _, ok := a.(pipeline.Schedule); ok {
			changes = append(changes, fieldDifferences(was, is, a, b)...) // it holds several attributes
			continue
		}
		if reflect.DeepEqual(comparedValue(a), comparedValue(b)) {
			continue
		}
		c := Change{Attribute: attributeName(field.Name), Event: Changed}
		c.From, c.To = was.shown.values(is.shown, c.Attribute, a, b)
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

// constantDifferences compares the attributes of two destinations of one type. The plugin's
// schema says which of them are secrets, which are not shown.
func constantDifferences(old, next *Destination) []Change {
	var before, after map[string]json.RawMessage
	if json.Unmarshal(old.JSON, &before) != nil || json.Unmarshal(next.JSON, &after) != nil {
		if string(old.JSON) == string(next.JSON) {
			return nil
		}
		return []Change{{Event: Changed}}
	}
	var changes []Change
	for _, name := range sortedKeys(before, after) {
		if string(before[name]) != string(after[name]) {
			from, to := old.shown.constants(next.shown, name)
			changes = append(changes, Change{Attribute: name, Event: Changed, From: from, To: to})
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
