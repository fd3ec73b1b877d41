package schema

import (
	"encoding/binary"

	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/swar"
)

const (
	maxName  = 255                        // bytes of a name with its quotes, colon and spaces
	maxNames = rowmark.Names - outerNames // that are known at a time

	tries = 16  // records in a row that were not of the usual form, after which there is a pause
	pause = 256 // records
)

// predictor scans records of the usual form faster than a scanner does. These have an
// event and then properties, and nothing else, no name twice in properties or with an
// escape, and at most one space behind a comma:
//
//	{"event":"View","properties":{"time":1780000000,"$os":"iOS","distinct_id":"ann"}}
//	{"event":"Cart","properties":{"time":1780000007,"$os":"iOS","distinct_id":"bob"}}
//
// Most of an event is names, in the order of the events before that had the same name (see
// shape). After `"time":` the predictor expects `"$os":` again, which three comparisons of
// eight bytes confirm: the end of the name needs not be looked for, nor its text to be
// validated, hashed and compared with the names that it might mean. Values are scanned as
// ever, unless they are those of the events before. The scanner is the judge of all other
// records, and of every record that is refused.
type predictor struct {
	names   []knownName      // by number; the first stands for the beginning of properties
	numbers map[string]int32 // by text
	ids     map[string]int32 // by name, with its quotes
	seen    []int64          // by id: the record that had the name last
	record  int64            // number of this one
	refused int              // names that got no number
	failed  int              // records in a row
	pausing int              // records until the next try
	shapes  shapes
	marks   []rowmark.Mark // of the properties of the last record, as places in it
	keeps   bool           // members that a Collector reads are kept, instead of those that a Parser's row needs
}

// knownName is the text before a value: a name in quotes, a colon, and spaces.
type knownName struct {
	head   swar.Head
	text   string
	quoted int   // bytes of the name with its quotes
	id     int32 // equal for equal names
	role   role
	hashed uint16   // number of the text in marks of a Collector; 0: of a Parser
	next   [2]int32 // those after it lately, the latest first
}

// at reports whether the text stands at i.
func (n *knownName) at(data []byte, i int) bool {
	if len(data)-i < swar.HeadSize {
		return n.standsAt(data, i)
	}
	w := (*[swar.HeadSize]byte)(data[i:])
	return n.head.Begins(binary.LittleEndian.Uint64(w[:]), binary.LittleEndian.Uint64(w[8:]), binary.LittleEndian.Uint64(w[16:])) &&
		(len(n.text) <= swar.HeadSize || n.standsAt(data, i))
}

// standsAt is at for a text that is too long, or too near to the end, for words.
func (n *knownName) standsAt(data []byte, i int) bool {
	return len(data)-i >= len(n.text) && string(data[i:i+len(n.text)]) == n.text
}

// scan does for a record of the usual form what s.record does. It returns false for any other
// record, with s as it was before.
func (p *predictor) scan(s *scanner) bool {
	return p.begin() && p.end(s, p.event(s))
}

// line scans a record of the usual form that s.data begins with, if the line ends behind it,
// and returns the bytes of the record and of the line with its newline. Commas, brackets and
// spaces may lie between them, as in an array that has a record on each line. It returns
// false for any other line, with s as it was before.
func (p *predictor) line(s *scanner) (record, line int, ok bool) {
	if !p.begin() {
		return 0, 0, false
	}
	record, ok = p.eventAt(s, 0)
	if ok = ok && !s.lines; ok {
		line = lineEnd(s.data, record)
	}
	return record, line, p.end(s, line > 0)
}

// lineEnd returns where a line ends behind a record that ends at i; 0 if it does not.
func lineEnd(text []byte, i int) int {
	for ; i < len(text); i++ {
		switch text[i] {
		case '\n':
			return i + 1
		case ']', ',', ' ', '\t', '\r':
		default:
			return 0
		}
	}
	return 0
}

// begin begins a record. It returns false in a pause.
func (p *predictor) begin() bool {
	p.marks = p.marks[:0]
	if p.pausing > 0 {
		p.pausing--
		return false
	}
	if p.names == nil || p.refused >= maxNames {
		// The names that came first may be of no use any more.
		*p = predictor{names: make([]knownName, 1), numbers: make(map[string]int32), ids: make(map[string]int32), keeps: p.keeps}
	}
	p.record++
	return true
}

// end ends a record, which was of the usual form or not, and returns which.
func (p *predictor) end(s *scanner, usual bool) bool {
	if usual {
		p.failed = 0
		return true
	}
	s.reset(s.data)
	p.marks = p.marks[:0]
	if p.failed++; p.failed == tries {
		p.failed, p.pausing = tries-1, pause
	}
	return false
}

// event scans the whole record.
func (p *predictor) event(s *scanner) bool {
	end, ok := p.eventAt(s, s.space(0))
	return ok && s.space(end) == len(s.data)
}

// eventAt scans the record at i, and returns its end.
func (p *predictor) eventAt(s *scanner, i int) (end int, ok bool) {
	from := i
	if i, ok = s.eventHead(i); !ok {
		return i, false
	}
	if i, ok = p.properties(s, i); !ok {
		return i, false
	}
	if i, ok = s.eventTail(i); !ok {
		return i, false
	}
	s.body = span{from, i}
	return i, true
}

// eventHead scans what comes before the first member of properties in a record of the usual
// form, which begins at i.
func (s *scanner) eventHead(i int) (next int, ok bool) {
	data := s.data
	const first, second = `{"event":"`, `,"properties":{` // as they mostly are
	if len(data)-i > len(first) && string(data[i:i+len(first)]) == first {
		i += len(first) - 1
	} else {
		if i >= len(data) || data[i] != '{' {
			return i, false
		}
		if i, ok = s.skipName(s.space(i+1), `"event"`); !ok || data[i] != '"' {
			return i, false
		}
	}
	s.event.from = i
	if i, _, ok = s.text(i); !ok {
		return i, false
	}
	s.event.to = i
	if len(data)-i > len(second) && string(data[i:i+len(second)]) == second {
		i += len(second)
		s.properties.from = i - 1
		return i, true
	}
	if i = s.space(i); i == len(data) || data[i] != ',' {
		return i, false
	}
	if i, ok = s.skipName(s.space(i+1), `"properties"`); !ok || data[i] != '{' {
		return i, false
	}
	s.properties.from = i
	return i + 1, true
}

// eventTail scans what comes after properties, which end at i, and returns the end of the
// record.
func (s *scanner) eventTail(i int) (end int, ok bool) {
	s.properties.to = i
	if i = s.space(i); i == len(s.data) || s.data[i] != '}' {
		return i, false
	}
	return i + 1, true
}

// skipName returns where the value of a member begins whose name, with its quotes, stands at
// i.
func (s *scanner) skipName(i int, name string) (value int, ok bool) {
	data := s.data
	if len(data)-i < len(name) || string(data[i:i+len(name)]) != name {
		return i, false
	}
	if i = s.space(i + len(name)); i == len(data) || data[i] != ':' {
		return i, false
	}
	i = s.space(i + 1)
	return i, i < len(data)
}

// nested scans an object or array that is the value of a property.
func (s *scanner) nested(i int) (end int, ok bool) {
	const around = 2 // the record and its properties
	s.stack = append(s.stack[:0], frame{}, frame{})
	end, ok = s.valueWithin(i, around)
	s.stack = s.stack[:0]
	return end, ok
}

// find returns the number of the text at i, which follows that of the number before; 0 if
// it has none.
func (p *predictor) find(s *scanner, i int, before int32) int32 {
	if n := p.names[before].next[0]; n != 0 && p.names[n].at(s.data, i) {
		return n
	}
	return p.findOther(s, i, before)
}

// findOther is find for a text that is not the one that came last time.
func (p *predictor) findOther(s *scanner, i int, before int32) int32 {
	next := &p.names[before].next
	n := next[1]
	if n == 0 || !p.names[n].at(s.data, i) {
		if n = p.lookUp(s, i); n == 0 {
			return 0
		}
		next = &p.names[before].next // the table may have moved
	}
	next[0], next[1] = n, next[0]
	return n
}

// lookUp is find for a text that was not predicted, and gives it a number if it can have one.
func (p *predictor) lookUp(s *scanner, i int) int32 {
	data := s.data
	if i >= len(data) || data[i] != '"' {
		return 0
	}
	quote, escaped, ok := s.text(i)
	if !ok || escaped || quote >= len(data) || data[quote] != ':' {
		return 0
	}
	end := quote + 1
	for end < len(data) && data[end] == ' ' {
		end++
	}
	if n, ok := p.numbers[string(data[i:end])]; ok {
		return n
	}
	if len(p.names) == maxNames || end-i > maxName {
		p.refused++
		return 0
	}
	text := string(data[i:end])
	id, ok := p.ids[text[:quote-i]]
	if !ok {
		id = int32(len(p.seen))
		p.seen = append(p.seen, 0)
		p.ids[text[:quote-i]] = id
	}
	number := int32(len(p.names))
	p.names = append(p.names, p.newName(text, quote-i, id))
	p.numbers[text] = number
	return number
}

func (p *predictor) newName(text string, quoted int, id int32) knownName {
	n := knownName{head: swar.NewHead(text), text: text, quoted: quoted, id: id}
	name := text[1 : quoted-1]
	if !p.keeps {
		n.role = roleOf([]byte(name))
		return n
	}
	n.hashed = hashedName(text)
	if readNames[name] {
		n.role = roleKept
	}
	return n
}
