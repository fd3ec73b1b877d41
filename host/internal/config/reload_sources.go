package config

import (
	"fmt"
	"slices"
)

// mergeSources merges the sources of one type.
type mergeSources[B any] struct {
	*merger
	named[B]
	projects func(*B) []*Project
	// into returns a copy of a block that refers to merged projects. before is the
	// present block of the name; nil: there is none.
	into           func(before, next *B) *B
	added, removed string   // effects
	restart        []string // attributes that a restart changes; into keeps those of before
	fixed          []string // attributes that make it another source
}

// merge returns the merged blocks. Sources of a project that waits for a restart wait,
// too.
func (m mergeSources[B]) merge(old, next []*B) []*B {
	var merged []*B
	for _, b := range next {
		name := "source " + m.name(b)
		before := m.find(old, m.name(b))
		if before == nil {
			waits := m.waits(b)
			m.add(name, waits, Change{Event: Added, Effect: m.added})
			if !waits {
				merged = append(merged, m.into(nil, b))
			}
			continue
		}
		found := m.differences(before, b)
		waits := len(found) > 0 && (m.waits(before) || m.waits(b))
		m.add(name, waits, found...)
		if waits || !slices.ContainsFunc(found, func(c Change) bool { return !c.Restart }) {
			merged = append(merged, before)
			continue
		}
		merged = append(merged, m.into(before, b))
	}
	for _, b := range old {
		if m.find(next, m.name(b)) != nil {
			continue
		}
		waits := m.waits(b)
		m.add("source "+m.name(b), waits, Change{Event: Removed, Effect: m.removed})
		if waits {
			merged = append(merged, b)
		}
	}
	return merged
}

// differences compares two blocks of one name.
func (m mergeSources[B]) differences(before, next *B) []Change {
	found := differences(any(*before).(placed), any(*next).(placed))
	for i := range found {
		c := &found[i]
		c.Restart = slices.Contains(m.restart, c.Attribute)
		if slices.Contains(m.fixed, c.Attribute) {
			c.Refused = fmt.Sprintf("a source belongs to its %[1]s, where its position and its rows are: set it to %[2]q again, and give the source for %[3]q another name",
				c.Attribute, c.From, c.To)
		}
		if c.Attribute == "listen" {
			c.Effect = "the new address is listened on before the old one is closed"
		}
	}
	return found
}

// waits reports whether a block refers to a project that waits for a restart.
func (m mergeSources[B]) waits(b *B) bool {
	return slices.ContainsFunc(m.projects(b), func(p *Project) bool { return m.pending[p.Name] })
}

// project returns the merged project that a block refers to.
func (m *merger) project(p *Project) *Project { return projectBlocks.find(m.merged.Projects, p.Name) }

func (m *merger) sources() {
	m.merged.Sources = mergeSources[Source]{
		merger: m, named: named[Source]{"source", (*Source).Reference}, projects: func(s *Source) []*Project { return []*Project{s.Project} },
		into: func(_, next *Source) *Source {
			s := *next
			s.Project = m.project(s.Project)
			return &s
		},
		added: "its files are read", removed: "its files are read no more, and their positions stay", fixed: []string{"project"},
	}.merge(m.old.Sources, m.next.Sources)
	m.merged.Mixpanel = mergeSources[Mixpanel]{
		merger: m, named: named[Mixpanel]{"source", (*Mixpanel).Reference}, projects: func(s *Mixpanel) []*Project { return []*Project{s.Project} },
		into: func(before, next *Mixpanel) *Mixpanel {
			s := *next
			s.Project = m.project(s.Project)
			if before != nil {
				s.Local = before.Local
			}
			return &s
		},
		added: "it pulls", removed: "the queries under way end, and no other is sent; its state stays",
		restart: []string{"data_timezone"}, fixed: []string{"project"},
	}.merge(m.old.Mixpanel, defaultsKept(m.old.Mixpanel, m.next.Mixpanel))
	m.merged.Collectors = mergeSources[Collector]{
		merger: m, named: named[Collector]{"source", (*Collector).Reference}, projects: func(c *Collector) []*Project { return c.Projects },
		into: func(_, next *Collector) *Collector {
			c := *next
			c.Projects = nil
			for _, p := range next.Projects {
				c.Projects = append(c.Projects, m.project(p))
			}
			return &c
		},
		added: "it listens", removed: "it listens no more, and the rows in its log go to journals",
	}.merge(m.old.Collectors, m.next.Collectors)
}

// defaultsKept returns sources that pull with the first day of the running ones where
// from_date is left out: it is counted from the day on which a configuration is read.
func defaultsKept(old, next []*Mixpanel) []*Mixpanel {
	blocks := named[Mixpanel]{"source", (*Mixpanel).Reference}
	kept := make([]*Mixpanel, 0, len(next))
	for _, b := range next {
		if before := blocks.find(old, b.Reference()); before != nil && !b.isSet("from_date") && !before.isSet("from_date") {
			same := *b
			same.From = before.From
			b = &same
		}
		kept = append(kept, b)
	}
	return kept
}

// isSet reports whether an attribute is written in the block.
func (p Place) isSet(name string) bool {
	_, ok := p.attributes[name]
	return ok
}
