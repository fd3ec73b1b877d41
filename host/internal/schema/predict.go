package schema

import (
	"encoding/binary"
)

const (
	nameWords = 3
	maxName   = 255  // bytes of a name with its quotes, colon and spaces
	maxNames  = 4096 // that are known at a time

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
// Most of an event is names, in the order of the event before. After `"time":`
// the predictor expects `"$os":` again, which three comparisons of eight bytes confirm: the
// end of the name needs not be looked for, nor its text to be validated, hashed and compared
// with the names that it might mean. Values are scanned as ever. The scanner is the
// judge of all other records, and of every record that is refused.
type predictor struct {
	names   []knownName      // by number; the first stands for the beginning of properties
	numbers map[string]int32 // by text
	ids     map[string]int32 // by name, with its quotes
	seen    []int64          // by id: the record that had the name last
	record  int64            // number of this one
	refused int              // names that got no number
	failed  int              // records in a row
	pausing int              // records until the next try
}

// knownName is the text before a value: a name in quotes, a colon, and spaces.
type knownName struct {
	word, mask [nameWords]uint64 // the first bytes, and which of them count
	text       string
	quoted     int      // bytes of the name with its quotes
	id         int32    // equal for equal names
	noted      bool     // whether the row may need the member
	next       [2]int32 // those after it lately, the latest first
}

// at reports whether the text stands at i.
func (n *knownName) at(data []byte, i int) bool {
	if len(data)-i < 8*nameWords {
		return len(data)-i >= len(n.text) && string(data[i:i+len(n.text)]) == n.text
	}
	w := data[i : i+8*nameWords]
	if (binary.LittleEndian.Uint64(w)^n.word[0])&n.mask[0]|(binary.LittleEndian.Uint64(w[8:])^n.word[1])&n.mask[1]|
		(binary.LittleEndian.Uint64(w[16:])^n.word[2])&n.mask[2] != 0 {
		return false
	}
	return len(n.text) <= 8*nameWords || len(data)-i >= len(n.text) && string(data[i:i+len(n.text)]) == n.text
}

// scan does for a record of the usual form what s.record does. It returns false for any other
// record, with s as it was before.
func (p *predictor) scan(s *scanner) bool {
	if p.pausing > 0 {
		p.pausing--
		return false
	}
	if p.names == nil || p.refused >= maxNames {
		// The names that came first may be of no use any more.
		*p = predictor{names: make([]knownName, 1), numbers: make(map[string]int32), ids: make(map[string]int32)}
	}
	p.record++
	if p.event(s) {
		p.failed = 0
		return true
	}
	s.reset(s.data)
	if p.failed++; p.failed == tries {
		p.failed, p.pausing = tries-1, pause
	}
	return false
}

// event scans the members around properties.
func (p *predictor) event(s *scanner) bool {
	data := s.data
	from := s.space(0)
	if from == len(data) || data[from] != '{' {
		return false
	}
	i, ok := s.skipName(s.space(from+1), `"event"`)
	if !ok || data[i] != '"' {
		return false
	}
	s.event.from = i
	if i, _, ok = s.text(i); !ok {
		return false
	}
	s.event.to = i
	if i = s.space(i); i == len(data) || data[i] != ',' {
		return false
	}
	if i, ok = s.skipName(s.space(i+1), `"properties"`); !ok || data[i] != '{' {
		return false
	}
	s.properties.from = i
	if i, ok = p.properties(s, i+1); !ok {
		return false
	}
	s.properties.to = i
	if i = s.space(i); i == len(data) || data[i] != '}' {
		return false
	}
	s.body = span{from, i + 1}
	return s.space(i+1) == len(data)
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

// properties scans the members of properties from the place after the brace on, and returns
// the place after the closing one.
func (p *predictor) properties(s *scanner, i int) (end int, ok bool) {
	data := s.data
	number, previous := int32(0), i
	for {
		key := i
		if number = p.find(s, i, number); number == 0 {
			return i, false
		}
		n := &p.names[number]
		if p.seen[n.id] == p.record {
			return i, false
		}
		p.seen[n.id] = p.record
		if i += len(n.text); i >= len(data) {
			return i, false
		}
		value := i
		switch c := data[i]; {
		case c == '"':
			i, _, ok = s.text(i)
		case c == '-' || c-'0' <= 9:
			i, ok = s.number(i)
		case c == '{' || c == '[':
			i, ok = s.nested(i)
		default:
			i, ok = s.literal(i)
		}
		if !ok || i >= len(data) {
			return i, false
		}
		next := 0
		if data[i] == ',' {
			next = i + 1
		} else if data[i] != '}' {
			return i, false
		}
		if n.noted {
			s.noteProperty(data[key+1:key+n.quoted-1], &member{key: span{key, key + n.quoted}, value: span{value, i}, previous: previous, next: next})
		}
		if next == 0 {
			return i + 1, true
		}
		previous = i
		if i = next; i < len(data) && data[i] == ' ' {
			i++
		}
	}
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
	next := &p.names[before].next
	if n := next[0]; n != 0 && p.names[n].at(s.data, i) {
		return n
	}
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
	p.names = append(p.names, newName(text, quote-i, id))
	p.numbers[text] = number
	return number
}

func newName(text string, quoted int, id int32) knownName {
	n := knownName{text: text, quoted: quoted, id: id, noted: notedLength(quoted - 2)}
	var first [8 * nameWords]byte
	copied := copy(first[:], text)
	for k := range n.word {
		n.word[k] = binary.LittleEndian.Uint64(first[8*k:])
		if left := copied - 8*k; left >= 8 {
			n.mask[k] = ^uint64(0)
		} else if left > 0 {
			n.mask[k] = 1<<(8*left) - 1
		}
	}
	return n
}
