package schema

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Begin begins a body: an array of records, one record, or records one after
// another. With lines an invalid line does not affect the others. The
// body must not change until the last record was taken.
func (c *Collector) Begin(body []byte, lines bool) {
	c.body, c.count, c.broken, c.mode = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), 0, nil, oneAfterAnother
	if lines {
		c.mode = onePerLine
	}
	c.next = c.space(0)
	switch {
	case c.next == len(c.body):
		c.mode, c.broken = ended, &Rejection{Reason: InvalidJSON, Detail: "the body is empty"}
	case c.body[c.next] == '[':
		c.mode = elements
		if c.next = c.space(c.next + 1); c.next < len(c.body) && c.body[c.next] == ']' {
			c.end(c.next + 1)
		}
	}
}

// End forgets the body, and memory that most bodies do not need.
func (c *Collector) End() {
	c.body, c.refused, c.mode = nil, nil, ended
	s := &c.scanner
	s.reset(nil)
	if cap(s.keys)+cap(s.inner)+cap(s.outer)+cap(s.stack) > manyMembers {
		s.keys, s.inner, s.outer, s.stack, c.edits = nil, nil, nil, nil, nil
	}
	if cap(c.clean) > longRow || cap(c.text) > longRow || cap(s.scratch[0])+cap(s.scratch[1]) > longRow {
		c.clean, c.text, s.scratch, c.ids = nil, nil, [2][]byte{}, [3][]byte{}
	}
}

// maxEscape is how far before the end of its data a scan may stop because of
// the end: the longest escape.
const maxEscape = 12

// manyMembers is for how many members memory is kept.
const manyMembers = 8 << 10

// space is the index of the first byte from i on that is not white space.
func (c *Collector) space(i int) int {
	for i < len(c.body) && (c.body[i] == ' ' || c.body[i] == '\n' || c.body[i] == '\t' || c.body[i] == '\r') {
		i++
	}
	return i
}

// end ends an array, which must be followed by white space only.
func (c *Collector) end(i int) {
	c.mode = ended
	if i = c.space(i); i != len(c.body) {
		c.spoil(i)
	}
}

// spoil records that the body is not JSON at i.
func (c *Collector) spoil(i int) bool {
	c.mode = ended
	if i >= len(c.body) {
		c.broken = &Rejection{Reason: InvalidJSON, Detail: "the body ends before its JSON does"}
	} else {
		c.broken = &Rejection{Reason: InvalidJSON, Detail: fmt.Sprintf("the body is not JSON: unexpected byte %q at %d", c.body[i], i)}
	}
	return false
}

// Err is the reason why the body is refused, a *Rejection, once Next has returned
// false. The caller must drop the records before it: the client is told that
// none was taken.
func (c *Collector) Err() error {
	if c.broken == nil {
		return nil
	}
	return c.broken
}

// Next goes to the next record, and reports whether there is one.
func (c *Collector) Next() bool {
	if c.mode == ended {
		return false
	}
	if c.next == len(c.body) {
		if c.mode == elements {
			return c.spoil(c.next)
		}
		c.mode = ended
		return false
	}
	s := &c.scanner
	from := c.next
	// No more is scanned than a record may have, whatever the body has: memory
	// grows with the number of members.
	s.reset(c.body[:min(len(c.body), from+MaxRecord+1)])
	c.refused, c.repaired = nil, false
	to, ok := c.predict(from)
	if !ok {
		to, ok = s.value(from)
	}
	switch {
	case !ok && s.at+maxEscape > len(s.data) && len(s.data) < len(c.body):
		to = skip(c.body, from)
		s.reset(c.body)
		c.refused = refuse(TooLong, "", "the record has %d bytes, of %d at most", to-from, MaxRecord)
	case !ok && s.reason == TooDeep:
		to = skip(c.body, from)
		s.reset(c.body)
		c.refused = refuse(TooDeep, "", tooDeep, maxDepth)
	case !ok:
		if to, ok = c.recover(from); !ok {
			return false
		}
	case c.body[from] != '{':
		c.refused = refuse(NotAnObject, "", "a record must be an object")
	case to-from > MaxRecord:
		c.refused = refuse(TooLong, "", "the record has %d bytes, of %d at most", to-from, MaxRecord)
	}
	s.body, c.sentAt = span{from, to}, span{from, to}
	if c.refused == nil && s.flags&batch.LoneSurrogate != 0 {
		c.repair()
	}
	c.count++
	return c.behind(to)
}

// repair replaces the record by a copy without surrogates that have no partner.
func (c *Collector) repair() {
	c.clean = append(c.clean[:0], c.Record()...)
	repairSurrogates(c.clean)
	c.scanner.reset(c.clean)
	c.scanner.value(0)
	c.repaired, c.sparse = true, false
}

// behind finds the comma, the bracket or the record after the record that ends at
// i.
func (c *Collector) behind(i int) bool {
	c.next = c.space(i)
	if c.mode != elements {
		return true
	}
	switch {
	case c.next == len(c.body):
		return c.spoil(c.next)
	case c.body[c.next] == ']':
		c.end(c.next + 1)
		return c.broken == nil
	case c.body[c.next] != ',':
		return c.spoil(c.next)
	}
	if c.next = c.space(c.next + 1); c.next == len(c.body) {
		return c.spoil(c.next)
	}
	return true
}

// recover finds the end of the record at from, which does not scan: it is not
// UTF-8, or a line of its own that is not JSON.
func (c *Collector) recover(from int) (to int, ok bool) {
	s := &c.scanner
	at := s.at
	if s.reason == InvalidUTF8 {
		to = min(skip(c.body, from), from+MaxRecord)
		c.clean = append(c.clean[:0], c.body[from:to]...)
		first := sanitize(c.clean)
		s.reset(c.clean)
		if end, valid := s.value(0); valid && end == len(c.clean) {
			c.refused = refuse(InvalidUTF8, c.fieldAt(first), "string should be valid utf8")
			if c.refused.Field != "" {
				c.refused.Detail = c.refused.Field + " is invalid: " + c.refused.Detail
			}
			// Nothing of the copy is a place in the body.
			s.reset(c.body)
			return to, true
		}
		at = from + s.at
	}
	if c.mode != onePerLine {
		c.spoil(at)
		return 0, false
	}
	to = len(c.body)
	if n := bytes.IndexByte(c.body[from:], '\n'); n >= 0 {
		to = from + n
	}
	s.reset(c.body)
	c.refused = refuse(InvalidJSON, "", "the line is not JSON")
	return to, true
}

// fieldAt names the member in whose name or value i is.
func (c *Collector) fieldAt(i int) string {
	for _, group := range []struct {
		prefix  string
		members []member
	}{{"properties.", c.scanner.inner}, {"", c.scanner.outer}} {
		for _, m := range group.members {
			if m.key.from <= i && i < m.value.to {
				return group.prefix + string(c.scanner.data[m.key.from+1:m.key.to-1])
			}
		}
	}
	return ""
}

// skip is the end of the value at from, an object or array mostly, by its
// brackets alone.
func skip(data []byte, from int) int {
	depth := 0
	for i := from; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			continue
		}
		if depth <= 0 {
			return min(i+1, len(data))
		}
	}
	return len(data)
}

// sanitize puts question marks in the place of bytes that are not UTF-8, and
// returns the first of them.
func sanitize(data []byte) (first int) {
	first = -1
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			if data[i] = '?'; first < 0 {
				first = i
			}
		}
		i += n
	}
	return first
}

// Count is how many records there were up to now.
func (c *Collector) Count() int { return c.count }

// Record returns the record as it was sent. It is a part of the body.
func (c *Collector) Record() []byte { return c.body[c.sentAt.from:c.sentAt.to] }

// Repaired reports whether the record's rows differ from the record in that
// U+FFFD replaces escaped surrogates that have no partner. Members and
// properties are those after the repair.
func (c *Collector) Repaired() bool { return c.repaired }

// Refused is the reason why the whole record is refused, or nil.
func (c *Collector) Refused() *Refused { return c.refused }

// Member returns the last member of that name of the record, as sent but for a
// repair, or nil.
func (c *Collector) Member(name string) []byte { return c.find(c.scanner.outer, name) }

// Property returns the last member of that name of the record's properties, as
// sent but for a repair, or nil.
func (c *Collector) Property(name string) []byte {
	if c.sparse && !readNames[name] {
		c.scanAll()
	}
	return c.find(c.scanner.inner, name)
}

func (c *Collector) find(members []member, name string) []byte {
	s := &c.scanner
	for i := len(members) - 1; i >= 0; i-- {
		if m := &members[i]; s.is(m.key, m.escaped, name) {
			return s.data[m.value.from:m.value.to]
		}
	}
	return nil
}

// appendValueText appends the text of a string or number; ok is false for
// anything else.
func appendValueText(dst, value []byte) (text []byte, ok bool) {
	inner, ok := inside(value)
	if !ok {
		return dst, false
	}
	return unescape(dst, inner), true
}

// inside is the inside of a string, or a number.
func inside(value []byte) ([]byte, bool) {
	switch {
	case len(value) == 0:
		return nil, false
	case value[0] == '"':
		return value[1 : len(value)-1], true
	case value[0] == '-' || value[0]-'0' <= 9:
		return value, true
	}
	return nil, false
}

func refuse(reason Reason, field, format string, args ...any) *Refused {
	return &Refused{Rejection: Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}, Field: field}
}
