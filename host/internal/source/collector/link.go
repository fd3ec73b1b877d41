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

// askedLink is a link that an event asks for, while it is not known whether it is new.
type askedLink struct {
	project *Project
	key     linkKey
	text    linkText
}

// linkText is the text of a link, which begins with what its key is made of besides the ids,
// as places in the request's memory for it.
type linkText struct{ anonymous, identified, end int }

// mostAsked is how many links are looked for at a time: a processor waits for the memory of
// as many at once. mostLinkText is how many bytes of their texts there are at most, but for the last.
const (
	mostAsked    = 16
	mostLinkText = 4 << 10
)

// pair takes the link that an event with ids of a device and of a user asks for.
func (q *request) pair(project *Project, device, user []byte) {
	text, key := q.linkText(project, schema.VerbLink, devicePrefix, device, user)
	q.asked = append(q.asked, askedLink{project, key, text})
	if len(q.asked) == mostAsked || len(q.linkTexts) > mostLinkText {
		q.takeAsked()
	}
}

// takeAsked takes the links that were asked for, in this order, and that are new.
func (q *request) takeAsked() {
	q.collector.linked.fetch(q.asked)
	for i := range q.asked {
		if a := &q.asked[i]; q.isNew(a.key) {
			anonymous, identified := q.linkTexts[a.text.anonymous:a.text.identified], q.linkTexts[a.text.identified:a.text.end]
			q.addLink(a.project, schema.Link{AnonymousID: string(anonymous), IdentifiedID: string(identified), Verb: schema.VerbLink}, true)
		}
	}
	q.asked, q.linkTexts = emptied(q.asked), q.linkTexts[:0]
}

// link takes a link, and counts it if it links something.
func (q *request) link(project *Project, l schema.Link, links bool) {
	q.takeAsked()
	if _, key := q.linkText(project, l.Verb, "", []byte(l.AnonymousID), []byte(l.IdentifiedID)); q.isNew(key) {
		q.addLink(project, l, links)
	}
}

// linkText makes the text of a link, and its key.
func (q *request) linkText(project *Project, verb schema.LinkVerb, prefix string, anonymous, identified []byte) (at linkText, key linkKey) {
	start := len(q.linkTexts)
	text := binary.AppendVarint(q.linkTexts, project.ID)
	text = binary.AppendVarint(text, q.received.Unix()/86400)
	text = append(append(text, verb...), 0)
	text = binary.AppendUvarint(text, uint64(len(prefix)+len(anonymous)))
	at.anonymous = len(text)
	text = append(append(text, prefix...), anonymous...)
	at.identified = len(text)
	text = append(text, identified...)
	at.end = len(text)
	q.linkTexts = text
	sum := xxh3.Hash128(text[start:])
	return at, linkKey{sum.Lo, sum.Hi}
}

// isNew reports whether a link is not known to be in the log or in the request, and
// notes it.
func (q *request) isNew(k linkKey) bool {
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
		part := q.part(p.project)
		part.Rows = append(part.Rows, p.row)
	}
}
