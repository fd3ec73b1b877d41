package schema

import (
	"github.com/zeebo/xxh3"

	"github.com/penstock-io/penstock/host/internal/rowmark"
)

// The texts before the values of the last properties that a Collector adds.
const (
	textSize      = `,"$mp_event_size":`
	textProcessed = `,"mp_processing_time_ms":`
)

// addedPlaces are where properties begin that the Collector has added to the last row, from
// the first byte of the row on.
type addedPlaces struct {
	first     int // that only some rows have, such as $insert_id and $city; shared: there are none
	shared    int // those that all rows of a request share, before $mp_event_size
	size      int // $mp_event_size
	processed int // mp_processing_time_ms
}

// from makes the places of a buffer those of the row that begins at start.
func (p *addedPlaces) from(start int) {
	p.first, p.shared, p.size, p.processed = p.first-start, p.shared-start, p.size-start, p.processed-start
}

// hashedName returns the number of the text of a name in marks. It depends on the text alone:
// rows of several Collectors, each of which numbers names in the order in which they come, are
// compressed together. Few names share a number.
func hashedName(text string) uint16 { return uint16(1 + xxh3.HashString(text)%(maxNames-1)) }

// MostMarks returns how many marks AppendMarks appends at most.
func (c *Collector) MostMarks() int { return len(c.predictor.marks) + outerNames }

// AppendMarks appends the marks of the row that AppendEvent has made last, which begins at a
// place. It is one mark for a record of no usual form, and for a row of which properties were
// cut. Properties that were removed have none: of the event
//
//	{"event":"View","properties":{"token":"t","$os":"iOS","time":1780000000}}
//
// the marks are those of the row's seven columns, of $os and time, and of what is added.
func (c *Collector) AppendMarks(dst []rowmark.Mark, at int) []rowmark.Mark {
	if !c.sparse || len(c.edits) > c.sent.removed {
		return AppendUnknown(dst, at)
	}
	o, a := &c.outer, &c.places
	mark := func(place int, name uint16, text int) {
		dst = append(dst, rowmark.Mark{At: int32(at + place), Name: name, Text: uint16(text)})
	}
	mark(0, nameDevice, len(textDevice))
	mark(o.distinct, nameDistinct, len(textDistinct))
	mark(o.event, nameEvent, len(textEvent))
	mark(o.insert, nameInsert, len(textInsert))
	mark(o.properties, nameProperties, len(textProperties))
	dst = c.appendPropertyMarks(dst, at+o.properties+len(textProperties))
	if a.first < a.shared {
		mark(a.first, rowmark.Unknown, 0)
	}
	mark(a.shared, nameAdded, c.added.name)
	mark(a.size, nameSize, len(textSize))
	mark(a.processed, nameProcessed, len(textProcessed))
	mark(o.time, nameTime, len(textTime))
	mark(o.user, nameUser, len(textUser))
	return dst
}

// AppendUnknown appends the mark of a row whose members are not known.
func AppendUnknown(dst []rowmark.Mark, at int) []rowmark.Mark {
	return append(dst, rowmark.Mark{At: int32(at), Name: rowmark.Unknown})
}

// appendPropertyMarks appends the marks of properties as they were sent, less those that were
// removed. Properties begin at a place.
func (c *Collector) appendPropertyMarks(dst []rowmark.Mark, at int) []rowmark.Mark {
	marks := c.predictor.marks
	shift, k := int32(at-c.scanner.properties.from), 0
	for removed, e := range c.edits {
		dst = c.appendShifted(dst, marks[k:e.before], shift)
		k = e.before + 1
		m := &c.scanner.inner[e.member]
		switch {
		case e.before > removed:
			shift -= int32(m.value.to - m.previous)
		case k < len(marks):
			shift -= marks[k].At - int32(m.key.from)
		}
	}
	return c.appendShifted(dst, marks[k:], shift)
}

// appendShifted appends marks of the predictor, whose places are moved.
func (c *Collector) appendShifted(dst, marks []rowmark.Mark, shift int32) []rowmark.Mark {
	for _, m := range marks {
		dst = append(dst, rowmark.Mark{At: m.At + shift, Name: c.predictor.names[m.Name].hashed, Text: m.Text})
	}
	return dst
}
