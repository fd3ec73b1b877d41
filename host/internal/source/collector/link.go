package collector

import (
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// fewLinks is among how many links of a request an equal one is looked for.
const fewLinks = 64

// pendingLink is the row of a link. It lies in linkRows until the rows of all events are
// rendered, or linkRows has mostLinkRows bytes: the rows of events lie side by side then,
// and are compressed where they are.
type pendingLink struct {
	project *Project
	row     journal.Row
}

// devicePrefix begins the ids of devices.
const devicePrefix = "$device:"

// pair takes the link that an event with ids of a device and of a user asks for.
func (q *request) pair(project *Project, device, user []byte) {
	if q.takeLink(project, schema.VerbLink, devicePrefix, device, user) {
		q.addLink(project, schema.Link{AnonymousID: devicePrefix + string(device), IdentifiedID: string(user), Verb: schema.VerbLink}, true)
	}
}

// link takes a link, and counts it if it links something.
func (q *request) link(project *Project, l schema.Link, links bool) {
	if q.takeLink(project, l.Verb, "", []byte(l.AnonymousID), []byte(l.IdentifiedID)) {
		q.addLink(project, l, links)
	}
}

// takeLink reports whether a link is not known to be in the log or in the request, and
// notes it.
func (q *request) takeLink(project *Project, verb schema.LinkVerb, prefix string, anonymous, identified []byte) bool {
	text := binary.AppendVarint(q.linkText[:0], project.ID)
	text = binary.AppendVarint(text, q.received.Unix()/86400)
	text = append(append(text, verb...), 0)
	text = binary.AppendUvarint(text, uint64(len(prefix)+len(anonymous)))
	text = append(append(append(text, prefix...), anonymous...), identified...)
	q.linkText = text
	sum := xxh3.Hash128(text)
	k := linkKey{sum.Lo, sum.Hi}
	if q.collector.linked.has(k) || slices.Contains(q.links[max(0, len(q.links)-fewLinks):], k) {
		return false
	}
	q.links = append(q.links, k)
	return true
}

func (q *request) addLink(project *Project, l schema.Link, links bool) {
	l.Time = q.received.Unix()
	start := len(q.linkRows)
	q.linkRows = schema.AppendLink(q.linkRows, l)
	length := len(q.linkRows) - start
	q.pending = append(q.pending, pendingLink{project, journal.Row{
		Kind: journal.KindLinks, Offset: start, Length: length, Time: l.Time, Key: l.Key(), Flags: schema.TextFlags(length, l.AnonymousID, l.IdentifiedID),
	}})
	if links {
		q.count(project, Links)
	}
	if len(q.linkRows) >= mostLinkRows {
		q.moveLinks()
	}
}

// mostLinkRows is how many bytes of rows of links wait, at most, for the rows of events.
const mostLinkRows = 256 << 10

// keptLinkRows returns the memory of rows of links that is kept for another request.
func keptLinkRows(memory []byte) []byte {
	if cap(memory) > 2*mostLinkRows {
		return nil
	}
	return memory[:0]
}

// moveLinks moves the rows of links behind those of events.
func (q *request) moveLinks() {
	before := len(q.rendered)
	q.rendered = append(q.rendered, q.linkRows...)
	defer func() { q.linkRows, q.pending = q.linkRows[:0], emptied(q.pending) }()
	for i := range q.pending {
		p := &q.pending[i]
		p.row.Offset += before
		t := q.target(p.project)
		t.rows = append(t.rows, p.row)
	}
}
