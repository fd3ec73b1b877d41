package schema

import (
	"github.com/penstock-io/penstock/sdk/batch"
)

// maxDepth is how deeply the values of a record may be nested; encoding/json has
// the same limit.
const maxDepth = 10000

// deepDepth is where the flag Deep begins.
const deepDepth = 64

// scanner validates one record and notes where its parts are. Scanning stops at the
// first fault, which reason and at describe.
type scanner struct {
	data   []byte
	at     int
	flags  batch.Flags
	reason Reason
	lines  bool // white space holds a newline or carriage return

	stack   []frame   // around the innermost open value
	keys    []keySpan // of all open objects
	scratch [2][]byte // for unescaped text

	compared int // how often keys were compared, over all records

	body                   span // the record without white space around it
	event, properties      span
	time, distinct, insert span
	device, user           span
	received               span     // $mp_api_timestamp_ms
	tokens                 []member // of properties
	rewritten              bool     // properties has a name that Mixpanel adds after ingestion: see Pulled

	// With every, all members of the record and of its properties are kept
	// instead of those that an event's row needs.
	every        bool
	outer, inner []member

	// anyUTF8 takes strings whose bytes are not UTF-8.
	anyUTF8 bool
}

// span is a part of the record, from its first byte to the one after its last.
type span struct{ from, to int }

func (s span) empty() bool { return s.to == 0 }

// member is a member of an object, with the places that removing it needs.
type member struct {
	key, value span
	escaped    bool // the key
	previous   int  // end of the member before it, or the place after the object's brace
	next       int  // the place after the comma that follows, or 0
}

// frame is an open object or array.
type frame struct {
	object bool
	where  place
	member member // the one that is being read
	names  names
}

// place says which members of an object are noted.
type place uint8

const (
	elsewhere place = iota
	atRecord
	atProperties
)

// reset makes the scanner ready for another record.
func (s *scanner) reset(data []byte) {
	s.data, s.at, s.flags, s.reason, s.lines = data, 0, 0, "", false
	s.keys, s.stack, s.tokens = s.keys[:0], s.stack[:0], s.tokens[:0]
	s.body, s.event, s.properties = span{}, span{}, span{}
	s.outer = s.outer[:0]
	s.forget()
}

// forget drops the noted members of properties: another properties object begins.
func (s *scanner) forget() {
	s.time, s.distinct, s.insert, s.device, s.user, s.received = span{}, span{}, span{}, span{}, span{}, span{}
	s.tokens, s.inner, s.rewritten = s.tokens[:0], s.inner[:0], false
}

// fail ends the scan at i.
func (s *scanner) fail(reason Reason, i int) bool {
	s.reason, s.at = reason, i
	return false
}

// record scans the whole record: one object and nothing after it.
func (s *scanner) record() bool {
	i := s.space(0)
	if i == len(s.data) || s.data[i] != '{' {
		return s.fail(InvalidJSON, i)
	}
	end, ok := s.value(i)
	if !ok {
		return false
	}
	if end = s.space(end); end != len(s.data) {
		return s.fail(InvalidJSON, end)
	}
	return true
}

// value scans the value at i, which becomes the body, and returns its end. It
// is one loop over values rather than a function for each kind of them, so
// that nesting takes no call stack and the position stays in a register.
func (s *scanner) value(i int) (end int, ok bool) { return s.valueWithin(i, 0) }

// valueWithin is value for one that lies within others, as many as the stack has.
func (s *scanner) valueWithin(i, within int) (end int, ok bool) {
	data := s.data
	s.body.from = i
	var f frame // the innermost open object or array
	for {
		// A value begins at i.
		if f.object {
			f.member.value.from = i
		}
		ok := true
		switch c := data[i]; {
		case c == '"':
			i, _, ok = s.text(i)
		case c == '{' || c == '[':
			var empty bool
			if i, empty, ok = s.open(i, &f); ok && !empty {
				continue
			}
		case c == '-' || c-'0' <= 9:
			i, ok = s.number(i)
		default:
			i, ok = s.literal(i)
		}
		if !ok {
			return i, false
		}
		// A value ends at i: perhaps others end with it.
		more := false
		for !more {
			if len(s.stack) == within {
				s.body.to = i
				return i, true
			}
			if i, more, ok = s.behind(i, &f); !ok {
				return i, false
			}
		}
	}
}

// space skips white space.
func (s *scanner) space(i int) int {
	if i < len(s.data) && s.data[i] > ' ' {
		return i
	}
	return s.someSpace(i)
}

func (s *scanner) someSpace(i int) int {
	for ; i < len(s.data); i++ {
		switch s.data[i] {
		case ' ', '\t':
		case '\n', '\r':
			s.lines = true
		default:
			return i
		}
	}
	return i
}

// open opens the object or array at i, unless it is empty, and returns where
// its first value begins, or where it ends.
func (s *scanner) open(i int, f *frame) (next int, empty, ok bool) {
	data := s.data
	depth := len(s.stack) + 1
	if depth > maxDepth {
		return i, false, s.fail(TooDeep, i)
	}
	if depth > deepDepth {
		s.flags |= batch.Deep
	}
	object := data[i] == '{'
	where := elsewhere
	if object && f.where == atRecord && s.is(f.member.key, f.member.escaped, "properties") {
		where = atProperties
		s.forget()
	} else if object && depth == 1 {
		where = atRecord
	}
	brace := i + 1
	i = s.space(brace)
	if i == len(data) {
		return i, false, s.fail(InvalidJSON, i)
	}
	if data[i] == data[brace-1]+2 { // '{'+2 is '}', '['+2 is ']'
		return i + 1, true, true
	}
	s.stack = append(s.stack, *f)
	f.object, f.where = object, where
	if !object {
		return i, false, true
	}
	f.names.begin(len(s.keys))
	i, ok = s.name(i, brace, f)
	return i, false, ok
}

// name scans a member's name at i, and the colon and white space up to its value.
func (s *scanner) name(i, previous int, f *frame) (next int, ok bool) {
	data := s.data
	if data[i] != '"' {
		return i, s.fail(InvalidJSON, i)
	}
	m := &f.member
	end, escaped, ok := s.text(i)
	if !ok {
		return end, false
	}
	m.previous, m.key, m.escaped, m.next = previous, span{i, end}, escaped, 0
	s.enter(m.key, escaped, &f.names)
	i = s.space(end)
	if i == len(data) || data[i] != ':' {
		return i, s.fail(InvalidJSON, i)
	}
	if i = s.space(i + 1); i == len(data) {
		return i, s.fail(InvalidJSON, i)
	}
	return i, true
}

// behind scans past a value that ends at i: after a comma another value begins at
// next; otherwise the object or array around the value ends there.
func (s *scanner) behind(i int, f *frame) (next int, more, ok bool) {
	data := s.data
	end := i
	if i = s.space(i); i == len(data) {
		return i, false, s.fail(InvalidJSON, i)
	}
	c := data[i]
	if more = c == ','; !more && (c != '}' || !f.object) && (c != ']' || f.object) {
		return i, false, s.fail(InvalidJSON, i)
	}
	i++
	if f.where != elsewhere {
		f.member.value.to = end
		if more {
			f.member.next = i
		}
		s.note(f)
	}
	if !more {
		if f.object {
			s.leave(&f.names)
		}
		*f = s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		return i, false, true
	}
	if i = s.space(i); i == len(data) {
		return i, false, s.fail(InvalidJSON, i)
	}
	if f.object {
		i, ok = s.name(i, end, f)
		return i, true, ok
	}
	return i, true, true
}

// notedLengths has a bit for the length of each name that note looks for.
const notedLengths = 1<<len("time") | 1<<len("token") | 1<<len("event") | 1<<len("$user_id") |
	1<<len("properties") | 1<<len("$mp_api_timestamp_ms") | 1<<len("$insert_id") | 1<<len("$device_id") | 1<<len("distinct_id") |
	1<<len(ingestedID) | 1<<len(preshuffledID) | 1<<len(reshuffled) | 1<<len(linkFailure) | 1<<len(verbFailure)

// notedLength reports whether a name that has no escapes may be one that note looks for.
func notedLength(n int) bool { return notedLengths>>uint(n)&1 != 0 }

// note keeps a member that the row needs.
func (s *scanner) note(f *frame) {
	m := &f.member
	if s.every {
		if f.where == atRecord {
			s.outer = append(s.outer, *m)
		} else {
			s.inner = append(s.inner, *m)
		}
		return
	}
	if !m.escaped && !notedLength(m.key.to-m.key.from-2) {
		return
	}
	name := s.data[m.key.from+1 : m.key.to-1]
	if m.escaped {
		s.scratch[0] = unescape(s.scratch[0][:0], name)
		name = s.scratch[0]
	}
	if f.where == atRecord {
		switch string(name) {
		case "event":
			s.event = m.value
		case "properties":
			s.properties = m.value
		}
		return
	}
	s.noteProperty(roleOf(name), m)
}

// role says what the row needs a member of properties for.
type role uint8

const (
	roleNone role = iota
	roleTime
	roleToken
	roleDistinct
	roleInsert
	roleDevice
	roleUser
	roleReceived
	roleRewritten // Mixpanel added the member after ingestion: see Pulled
	roleKept      // a Collector keeps the member: see keep
)

// roleOf returns the role of the members of properties that have a name.
func roleOf(name []byte) role {
	switch string(name) {
	case "time":
		return roleTime
	case "token":
		return roleToken
	case "distinct_id":
		return roleDistinct
	case "$insert_id":
		return roleInsert
	case "$device_id":
		return roleDevice
	case "$user_id":
		return roleUser
	case "$mp_api_timestamp_ms":
		return roleReceived
	case ingestedID, preshuffledID, reshuffled, linkFailure, verbFailure:
		return roleRewritten
	}
	return roleNone
}

// noteProperty keeps a member of properties that the row needs.
func (s *scanner) noteProperty(r role, m *member) {
	switch r {
	case roleTime:
		s.time = m.value
	case roleToken:
		s.tokens = append(s.tokens, *m)
	case roleDistinct:
		s.distinct = m.value
	case roleInsert:
		s.insert = m.value
	case roleDevice:
		s.device = m.value
	case roleUser:
		s.user = m.value
	case roleReceived:
		s.received = m.value
	case roleRewritten:
		s.rewritten = true
	}
}

// is reports whether a key, quotes included, is a name.
func (s *scanner) is(key span, escaped bool, name string) bool {
	raw := s.data[key.from+1 : key.to-1]
	if escaped {
		s.scratch[0] = unescape(s.scratch[0][:0], raw)
		raw = s.scratch[0]
	}
	return string(raw) == name
}
