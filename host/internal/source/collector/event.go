package collector

import (
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// event takes the record as an event.
func (q *request) event(p *schema.Collector) {
	project, reason := q.projectOf(tokenOf(p, p.Property("token")))
	switch reason {
	case UnknownToken:
		q.refuse(p, nil, p.WithID(refused(UnknownToken, "properties.token", "no project has this token")))
		if q.endpoint == track {
			q.good++ // whether a token is known is not said
		}
		return
	case NoToken:
		q.refuse(p, nil, p.WithID(refused(NoToken, "properties.token", "'properties.token' is invalid: must not be missing")))
		return
	}
	q.arrival.Identity, q.arrival.Alias = project.Identity, nil
	if project.Identity == schema.Legacy {
		q.arrival.Alias = func(id []byte) (string, bool) {
			target := q.resolve(project.ID, string(id))
			return target, target != string(id)
		}
	}
	start := len(q.rendered)
	rendered, e, err := p.AppendEvent(q.rendered, &q.arrival)
	if r, ok := err.(*schema.Refused); ok {
		if r.Reason == schema.IdentityVerb {
			q.verbs++
		}
		q.refuse(p, project, r)
		return
	}
	q.good++
	if e.Ignored {
		q.count(project, Ignored)
		return
	}
	q.rendered = rendered
	row := journal.Row{Time: e.Time, Key: e.Key, Flags: e.Flags, Undated: e.Undated}
	if date := journal.DayOf(e.KeyTime); date != journal.DayOf(e.Time) {
		row.KeyDate = date
	}
	q.append(project, journal.KindEvents, start, row)
	q.mark(p, start)
	q.accept(p, project)
	if project.Identity == schema.Simplified {
		if e.User != nil {
			q.pair(project, e.Device, e.User)
		}
		return
	}
	if e.Verb != "" {
		q.verb(p, project, e.Verb)
	}
}

// accept counts a record whose rows go to the log.
func (q *request) accept(p *schema.Collector, project *Project) {
	q.count(project, Accepted)
	if p.Repaired() {
		q.count(project, Repaired)
	}
}

// verb takes the link that an event of identity management asks for. The event
// is kept, whatever becomes of the link.
func (q *request) verb(p *schema.Collector, project *Project, verb string) {
	l := schema.Link{}
	switch verb {
	case "$identify":
		l.Verb = schema.VerbIdentify
		l.IdentifiedID, l.AnonymousID = firstID(p, "$identified_id", "distinct_id"), firstID(p, "$anon_id", "$anon_distinct_id")
	case "$create_alias":
		l.Verb = schema.VerbAlias
		l.IdentifiedID, l.AnonymousID = firstID(p, "distinct_id"), firstID(p, "alias")
	case "$merge":
		if q.endpoint != imports {
			return // it is for /import only
		}
		l.Verb = schema.VerbMerge
		l.IdentifiedID, l.AnonymousID = pair(p)
	}
	if l.IdentifiedID == "" || l.AnonymousID == "" {
		q.count(project, InvalidLink)
		return
	}
	switch {
	case project.Identity != schema.Legacy:
		q.link(project, l, l.IdentifiedID != l.AnonymousID)
	case l.Verb == schema.VerbAlias:
		q.link(project, l, q.addAlias(project, l))
	default:
		// Nothing else links ids in a legacy project.
	}
}

// firstID is the first of these properties that stands for somebody.
func firstID(p *schema.Collector, names ...string) string {
	for _, name := range names {
		if id := p.ID(p.Property(name)); id != "" {
			return id
		}
	}
	return ""
}

// pair are the two ids of $merge.
func pair(p *schema.Collector) (first, second string) {
	var ids []string
	schema.Elements(schema.Compact(nil, p.Property("$distinct_ids")), func(value []byte) bool {
		ids = append(ids, p.ID(value))
		return len(ids) <= 2
	})
	if len(ids) != 2 {
		return "", ""
	}
	return ids[0], ids[1]
}
