package schema

import (
	"bytes"
	"time"

	"github.com/zeebo/xxh3"
)

// Properties that Mixpanel adds to events when it resolves identities after
// ingestion.
const (
	ingestedID    = "$distinct_id_before_identity"
	preshuffledID = "$preshuffle_distinct_id"
	reshuffled    = "$is_reshuffled"

	linkFailure = "$identity_failure_reason" // of an event with $device_id and $user_id
	verbFailure = "$failure_reason"          // of $identify, $create_alias and $merge
)

// Pulled turns events as Mixpanel's export API returns them into rows. It is a
// Parser that undoes what Mixpanel did to events after their ingestion, so that
// an event that is exported again, after its ids were merged, is the same row:
//
//	exported    "distinct_id":"U1","$distinct_id_before_identity":"$device:D1"
//	row         "distinct_id":"$device:D1"
//
// It also finds the identity links that events ask for. It keeps its memory; it
// is not for concurrent use.
type Pulled struct {
	parser   *Parser
	identity Identity
	members  *Collector
	restored []byte
	link     Link
	text     []byte // of the ids of link
	known    knownLinks
}

// NewPulled returns a Pulled for a project with a kind of identity management. It is
// one of several that share the events of a source, and their memory for links.
func NewPulled(now func() time.Time, t Times, identity Identity, several int) *Pulled {
	return &Pulled{parser: NewZoneParser(now, t), identity: identity, members: NewCollector([32]byte{}), known: newKnownLinks(several)}
}

// AppendEvent is Parser.AppendEvent for an event of the export API.
func (p *Pulled) AppendEvent(dst, record []byte) ([]byte, Event, error) {
	p.link = Link{}
	row, e, err := p.parser.AppendEvent(dst, record)
	if err != nil {
		return row, e, err
	}
	return p.finish(dst, row, record, e)
}

// AppendLine is Parser.AppendLine for a line of the export API.
func (p *Pulled) AppendLine(dst, text []byte) (out []byte, e Event, n int) {
	p.link = Link{}
	row, e, n := p.parser.AppendLine(dst, text)
	if n == 0 || e.Repaired {
		return dst, Event{}, 0
	}
	row, e, err := p.finish(dst, row, p.parser.scanner.data, e)
	if err != nil {
		return dst, Event{}, 0
	}
	return row, e, n
}

// finish returns the row of a record that the parser has taken, and finds its link. It is
// not the row that the parser has appended to dst if Mixpanel has added to the record.
func (p *Pulled) finish(dst, row, record []byte, e Event) ([]byte, Event, error) {
	failed := false
	if p.parser.scanner.rewritten {
		var err error
		record, failed = p.restore(record)
		if row, e, err = p.parser.AppendEvent(dst, record); err != nil {
			return row, e, err
		}
	}
	if !failed {
		p.findLink(e)
	}
	return row, e, nil
}

// Link returns the identity link that the last event asked for; ok is false if
// it asked for none, for one that Mixpanel refused, or for one that was returned
// before.
func (p *Pulled) Link() (link Link, ok bool) { return p.link, p.link.Verb != "" }

// restore returns the record with the distinct_id that it was ingested with, and
// whether Mixpanel refused its link.
func (p *Pulled) restore(record []byte) (restored []byte, failed bool) {
	c := p.members
	c.Begin(record, false)
	defer c.End()
	if !c.Next() || c.Refused() != nil || c.Err() != nil {
		return record, false
	}
	failed = c.Text(c.Property(linkFailure)) != "" || c.Text(c.Property(verbFailure)) != ""
	id := c.Property(ingestedID)
	if c.Text(id) == "" {
		id = c.Property(preshuffledID)
	}
	s := &c.scanner
	event := c.Member("event")
	if event == nil || c.Member("properties") == nil {
		return record, failed
	}
	out := append(append(p.restored[:0], `{"event":`...), event...)
	out = append(out, `,"properties":{`...)
	begun := len(out)
	for i := range s.inner {
		m := &s.inner[i]
		if s.is(m.key, m.escaped, ingestedID) || s.is(m.key, m.escaped, preshuffledID) || s.is(m.key, m.escaped, reshuffled) {
			continue
		}
		if len(out) > begun {
			out = append(out, ',')
		}
		value := s.data[m.value.from:m.value.to]
		if s.is(m.key, m.escaped, "distinct_id") && c.Text(id) != "" {
			value = id
		}
		out = append(append(out, s.data[m.key.from:m.key.to]...), ':')
		out = append(out, value...)
	}
	p.restored = append(out, "}}"...)
	return p.restored, failed
}

// findLink finds the link that the event that was parsed last asks for.
func (p *Pulled) findLink(e Event) {
	s := &p.parser.scanner
	name := s.data[s.event.from+1 : s.event.to-1]
	switch {
	case p.identity == Simplified:
		p.deviceLink(s, e)
	case p.identity == Original && verb(name) != "":
		p.verbLink(string(name), s.data, e)
	}
}

// deviceLink is the link of an event with $device_id and $user_id.
func (p *Pulled) deviceLink(s *scanner, e Event) {
	if s.device.empty() || s.user.empty() || verb(s.data[s.event.from+1:s.event.to-1]) != "" {
		return
	}
	device, user := s.data[s.device.from:s.device.to], s.data[s.user.from:s.user.to]
	// Equal links of different days are different rows.
	if p.known.add(xxh3.HashSeed(device, xxh3.HashSeed(user, uint64(e.Time/86400)))) {
		return
	}
	c := p.members
	d, u := c.idOf(device), c.idOf(user)
	if d == nil || u == nil {
		return
	}
	d, u = c.decode(0, d), c.decode(1, u)
	if rest, ok := bytes.CutPrefix(d, devicePrefix); ok && len(rest) > 0 {
		d = rest
	}
	p.text = append(append(append(p.text[:0], devicePrefix...), d...), u...)
	text := string(p.text)
	p.link = Link{AnonymousID: text[:len(text)-len(u)], IdentifiedID: text[len(text)-len(u):], Time: e.Time, Verb: VerbLink}
}

// verbLink is the link of an event of identity management.
func (p *Pulled) verbLink(name string, record []byte, e Event) {
	c := p.members
	c.Begin(record, false)
	defer c.End()
	if !c.Next() {
		return
	}
	first := func(names ...string) string {
		for _, n := range names {
			if id := c.ID(c.Property(n)); id != "" {
				return id
			}
		}
		return ""
	}
	l := Link{Time: e.Time}
	switch name {
	case "$identify":
		l.Verb, l.IdentifiedID, l.AnonymousID = VerbIdentify, first("$identified_id", "distinct_id"), first("$anon_id", "$anon_distinct_id")
	case "$create_alias":
		l.Verb, l.IdentifiedID, l.AnonymousID = VerbAlias, first("distinct_id"), first("alias")
	default:
		var ids []string
		Elements(Compact(nil, c.Property("$distinct_ids")), func(value []byte) bool {
			ids = append(ids, c.ID(value))
			return len(ids) <= 2
		})
		if len(ids) == 2 {
			l.Verb, l.IdentifiedID, l.AnonymousID = VerbMerge, ids[0], ids[1]
		}
	}
	if l.IdentifiedID != "" && l.AnonymousID != "" {
		p.link = l
	}
}

// A knownLinks remembers links, by their hashes: most events of a person ask for the
// same link, and each row that is made in vain costs a look-up in the journal. It has
// room for a number of links, in sets whose links are in the order of their use; the
// link of a set that was used longest ago is forgotten for a new one. A link that is
// forgotten is a row again, and the journal drops it.
type knownLinks []linkSet

// linkRoom is how many links all Pulleds of a source remember together, in 8 MiB.
const linkRoom = 1 << 20

// linkSet is one line of a processor's cache.
type linkSet [8]uint64

// newKnownLinks returns one of several that share linkRoom.
func newKnownLinks(several int) knownLinks {
	return make(knownLinks, max(1, linkRoom/len(linkSet{})/several))
}

// add remembers a link and reports whether it was known.
func (k knownLinks) add(sum uint64) bool {
	set := &k[sum%uint64(len(k))]
	next := sum
	for i := range set {
		set[i], next = next, set[i]
		if next == sum {
			return true
		}
	}
	return false
}
