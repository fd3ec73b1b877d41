package schema

import "github.com/penstock-io/penstock/host/internal/rowmark"

// The texts before the values of a row.
const (
	textDevice     = `{"device_id":`
	textDistinct   = `,"distinct_id":`
	textEvent      = `,"event_name":`
	textInsert     = `,"insert_id":`
	textProperties = `,"properties":`
	textTime       = `,"time":`
	textUser       = `,"user_id":`
)

// Numbers of these texts in marks, and of those of properties that a Collector adds. Numbers
// of the texts of records are below.
const (
	nameDevice = maxNames + iota
	nameDistinct
	nameEvent
	nameInsert
	nameProperties
	nameTime
	nameUser
	nameAdded
	nameSize
	nameProcessed

	outerNames = 16 // that are kept for them
)

// outer is where the texts before the values of a row begin, from its first byte on.
type outer struct{ distinct, event, insert, properties, time, user int }

// AppendMarks appends the marks of the row that AppendEvent has made last, which begins
// at a place. It is one mark for a record of no usual form, and for a row in which
// properties are not as they came.
func (p *Parser) AppendMarks(dst []rowmark.Mark, at int) []rowmark.Mark {
	o, s := &p.outer, &p.scanner
	mark := func(place int, name uint16, text string) {
		dst = append(dst, rowmark.Mark{At: int32(at + place), Name: name, Text: uint16(len(text))})
	}
	if len(p.predictor.marks) == 0 || len(s.tokens) > 0 {
		mark(0, rowmark.Unknown, "")
		return dst
	}
	mark(0, nameDevice, textDevice)
	mark(o.distinct, nameDistinct, textDistinct)
	mark(o.event, nameEvent, textEvent)
	mark(o.insert, nameInsert, textInsert)
	mark(o.properties, nameProperties, textProperties)
	shift := int32(at + o.properties + len(textProperties) - s.properties.from)
	n := len(dst)
	dst = append(dst, p.predictor.marks...)
	for i := range dst[n:] {
		dst[n+i].At += shift
	}
	mark(o.time, nameTime, textTime)
	mark(o.user, nameUser, textUser)
	return dst
}
