package config

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// identities are the kinds of identity management by their names.
var identities = map[string]schema.Identity{"simplified": schema.Simplified, "original": schema.Original, "legacy": schema.Legacy}

func (l *loader) decodeProjects() {
	seen, ids := map[string]hcl.Range{}, map[int64]string{}
	for _, raw := range l.ofType("project") {
		if !l.labelled(raw, projectBlock.labels) || !l.named(seen, raw) {
			continue
		}
		b := l.read(raw, projectBlock)
		p := &Project{
			Place: b.place(), Name: raw.Labels[0], ID: b.integer("id"), Token: b.text("token"), Identity: identities[b.text("identity")], TimeZone: time.UTC,
			ProfilesPulled: b.text("profiles_from") == "mixpanel", hasToken: b.isIntended("token"),
		}
		if zone, err := loadZone(b.text("timezone")); err == nil {
			p.TimeZone = zone
		}
		if other, ok := ids[p.ID]; ok && p.ID > 0 {
			l.fail(b.at("id"), "Project id used twice", "The project %q has the same id. Ids name the directories at destinations, and must differ: give one of them its own.", other)
		}
		ids[p.ID] = p.Name
		l.config.Projects = append(l.config.Projects, p)
	}
}

// project looks up the project that an attribute names.
func (b *body) project(name string) *Project {
	given, ok := b.get(name).(string)
	if !ok {
		return nil
	}
	return b.l.project(given, b.at(name), b.values[name].secret)
}

// project looks up a project. hidden says that its name is not to be shown.
func (l *loader) project(name string, at *hcl.Range, hidden bool) *Project {
	for _, p := range l.config.Projects {
		if p.Name == name {
			return p
		}
	}
	switch {
	case l.names["project"][name] || l.partial:
	case hidden:
		l.fail(at, "Unknown project", "No such project is defined. Its name comes from env() or file() and is not shown.")
	default:
		l.unknownName("project", name, at)
	}
	return nil
}
