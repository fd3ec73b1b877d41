package schema

import (
	"encoding/binary"
	"slices"

	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/swar"
)

const (
	maxShapes = 128     // of a predictor
	shapeBits = 10      // of the hash of a name
	maxSlots  = 128     // of a shape
	shapeText = 4 << 10 // bytes of a shape's text

	lookAhead  = 6  // slots that a name is compared with
	sameLeast  = 2  // comparisons in a row in which a member was the same, after which it is expected to be
	renewal    = 16 // records after which a shape's text is replaced
	shapePause = 64 // records for which a shape is not used after too many strays
	strayCost  = 4  // points of a record with strays, of which each record without takes one back
	straysMost = 64 // points, at which a shape pauses

	shortText = 16 // bytes after a quote that are looked at together
)

// shape is the order in which the properties of some events come, and the text of one such
// event. A predictor has one for each name of events, or one for several if there are very
// many names. From
//
//	{"event":"View","properties":{"time":1780000000,"lib":"web","v":"2.65","page":"/","n":1}}
//	{"event":"View","properties":{"time":1780000007,"lib":"web","v":"2.65","page":"/a","n":5}}
//	{"event":"View","properties":{"time":1780000009,"lib":"web","v":"2.65","ref":"x","n":2}}
//	{"event":"View","properties":{"time":1780000011,"lib":"web","v":"2.65","page":"/b","n":3}}
//
// it learns the slots time, lib, v, page, ref and n. An event that lacks some of them still
// has the order. "ref" was a stray, a name where the shape had none, and was added after the
// slot before it. lib and v were the same in several texts. The text from "lib": up to
// "page": is their run: when the next event has it, one comparison takes both members, which
// need not be scanned, because the same text was scanned before.
type shape struct {
	slots  []slot
	text   []byte // properties of an event, from the first name on
	age    int    // records since text was replaced
	strays int    // points for records with strays
	pause  int    // records for which the shape is not used
}

// slot is a property in the order of a shape. The names of a shape's slots differ.
type slot struct {
	head     swar.Head // of the text before the value
	at, next int32     // where it begins in the shape's text, and where the member after it does; next 0: it is not there
	run      int32     // bytes from at on, in whole slots, that are expected to be the same
	name     uint16    // number of the text before the value
	length   uint16    // bytes of that text
	quoted   uint16    // bytes of the name with its quotes
	role     role
	wide     bool  // a Collector keeps the member because of its value in the shape's text
	same     uint8 // comparisons in a row in which it was the same
}

// shapes are the shapes of a predictor.
type shapes struct {
	numbers [1 << shapeBits]uint8 // by the first bits of the hash of an event's name: a shape's index plus one; 0: none yet
	all     []shape
}

// of returns the shape for the events with a name, given its hash. Few names share a shape
// before there are maxShapes names.
func (t *shapes) of(hash uint32) *shape {
	hash >>= 32 - shapeBits
	n := &t.numbers[hash]
	if *n == 0 {
		if len(t.all) < maxShapes {
			t.all = append(t.all, shape{})
			*n = uint8(len(t.all))
		} else {
			*n = uint8(hash%maxShapes) + 1
		}
	}
	return &t.all[*n-1]
}

// properties scans the members of properties from the place after the brace on, and returns
// the place after the closing one.
func (p *predictor) properties(s *scanner, begin int) (end int, ok bool) {
	sh := p.shapes.of(s.hash(s.event, false))
	slots := sh.slots
	if sh.pause > 0 {
		sh.pause--
		slots = nil
	}
	i, passed, whole := p.inOrder(s, sh, slots, begin)
	stray := false
	if !whole {
		if i, stray, ok = p.rest(s, slots[passed:], begin, i); !ok {
			return i, false
		}
	}
	if sh.pause == 0 {
		p.learn(s, sh, begin, i, stray)
	}
	return i + 1, true
}

// inOrder scans members that are in slots, in their order, and returns the place of the
// closing brace. It stops at any other member, and before the last bytes of the text, and
// returns where, and how many slots it has passed; the whole is not scanned then.
func (p *predictor) inOrder(s *scanner, sh *shape, slots []slot, begin int) (i, passed int, whole bool) {
	data, marks := s.data, p.marks
	i, missed, k := begin, 0, 0
	for k < len(slots) && missed < lookAhead {
		l := &slots[k]
		if run := int(l.run); run > 0 && len(data)-i >= run && string(data[i:i+run]) == string(sh.text[l.at:int(l.at)+run]) {
			for end := i + run; i < end; k++ {
				l = &slots[k]
				next := i + int(l.next-l.at)
				marks = append(marks, rowmark.Mark{At: int32(i), Name: l.name, Text: l.length})
				if l.role != roleNone {
					p.note(s, l, l.role, begin, i, valueEnd(data, next))
				} else if l.wide {
					p.note(s, l, roleKept, begin, i, valueEnd(data, next))
				}
				i = next
			}
			missed = 0
			continue
		}
		if len(data)-i < int(l.length)+swar.HeadSize+shortText {
			break
		}
		w := (*[swar.HeadSize]byte)(data[i:])
		if !l.head.Begins(binary.LittleEndian.Uint64(w[:]), binary.LittleEndian.Uint64(w[8:]), binary.LittleEndian.Uint64(w[16:])) ||
			l.length > swar.HeadSize && !p.names[l.name].standsAt(data, i) {
			k, missed = k+1, missed+1
			continue
		}
		value, role := i+int(l.length), l.role
		end, ok := value, true
		if data[end] == '"' {
			// As in text, which would be called too often.
			v := (*[shortText]byte)(data[end+1:])
			a, b := binary.LittleEndian.Uint64(v[:]), binary.LittleEndian.Uint64(v[8:])
			x, y := special(a), special(b)
			n := 1
			if x == 0 {
				n, a, x = 9, a|b, y
			}
			n += swar.First(x)
			switch {
			case a&swar.Highs != 0 || x != 0 && data[end+n] != '"':
				end, _, ok = s.longText(end, end+1)
			case x == 0:
				end, _, ok = s.longText(end, end+1+shortText)
			default:
				end += n + 1
			}
		} else {
			end, ok = s.property(end)
		}
		if p.keeps && isWide(data, value, end) {
			role = roleKept
		}
		if !ok || end+1 >= len(data) || data[end] != ',' && data[end] != '}' {
			break
		}
		marks = append(marks, rowmark.Mark{At: int32(i), Name: l.name, Text: l.length})
		if role != roleNone {
			p.note(s, l, role, begin, i, end)
		}
		if data[end] == '}' {
			p.marks = marks
			return end, k, true
		}
		if i = end + 1; data[i] == ' ' {
			i++
		}
		k, missed = k+1, 0
	}
	p.marks = marks
	return i, k - missed, false
}

// rest scans all members from i on, and returns the place of the closing brace. It compares
// their names with slots up to the first stray.
func (p *predictor) rest(s *scanner, slots []slot, begin, i int) (end int, stray, ok bool) {
	data, number := s.data, int32(0)
	if n := len(p.marks); n > 0 {
		number = int32(p.marks[n-1].Name)
	}
	for {
		key, found := i, false
		if !stray {
			for k := range min(len(slots), lookAhead) {
				if found = p.names[slots[k].name].at(data, i); found {
					number, slots = int32(slots[k].name), slots[k+1:]
					break
				}
			}
		}
		if !found {
			if number = p.find(s, i, number); number == 0 {
				return i, stray, false
			}
			if !stray {
				stray = true
				for _, m := range p.marks {
					p.seen[p.names[m.Name].id] = p.record
				}
			}
		}
		n := &p.names[number]
		if stray {
			if p.seen[n.id] == p.record {
				return i, stray, false
			}
			p.seen[n.id] = p.record
		}
		p.marks = append(p.marks, rowmark.Mark{At: int32(key), Name: uint16(number), Text: uint16(len(n.text))})
		value := key + len(n.text)
		if value >= len(data) {
			return value, stray, false
		}
		if i, ok = s.property(value); !ok || i >= len(data) {
			return i, stray, false
		}
		next := 0
		if data[i] == ',' {
			next = i + 1
		} else if data[i] != '}' {
			return i, stray, false
		}
		role := n.role
		if p.keeps && isWide(data, value, i) {
			role = roleKept
		}
		switch role {
		case roleNone:
		case roleKept:
			s.keep(span{key, key + n.quoted}, span{value, i}, begin)
		default:
			s.noteProperty(role, &member{key: span{key, key + n.quoted}, value: span{value, i}, previous: previousEnd(data, begin, key), next: next})
		}
		if next == 0 {
			return i, stray, true
		}
		if i = next; i < len(data) && data[i] == ' ' {
			i++
		}
	}
}

// property scans the value of a property.
func (s *scanner) property(i int) (end int, ok bool) {
	switch c := s.data[i]; {
	case c == '-' || c-'0' <= 9:
		return s.number(i)
	case c == '"':
		i, _, ok = s.text(i)
		return i, ok
	case c == '{' || c == '[':
		return s.nested(i)
	default:
		return s.literal(i)
	}
}

// note keeps a member of a slot that is needed in a role. It begins at i, and its value, before
// a comma or brace, ends at to.
func (p *predictor) note(s *scanner, l *slot, role role, begin, i, to int) {
	if role == roleKept {
		s.keep(span{i, i + int(l.quoted)}, span{i + int(l.length), to}, begin)
		return
	}
	m := member{key: span{i, i + int(l.quoted)}, value: span{i + int(l.length), to}, previous: previousEnd(s.data, begin, i)}
	if s.data[to] == ',' {
		m.next = to + 1
	}
	s.noteProperty(role, &m)
}

// keep keeps a member of properties, which begin at a place. It is written where it stays: a
// member that is copied just after it was written costs more than all of the rest.
func (s *scanner) keep(key, value span, begin int) {
	n := len(s.inner)
	s.inner = slices.Grow(s.inner, 1)[:n+1]
	m := &s.inner[n]
	m.key, m.value, m.escaped, m.next = key, value, false, 0
	m.previous = previousEnd(s.data, begin, key.from)
	if s.data[value.to] == ',' {
		m.next = value.to + 1
	}
}

// previousEnd returns where the value before the name at i ends; for the first name, which
// is at begin, where that begins.
func previousEnd(data []byte, begin, i int) int {
	if i == begin {
		return i
	}
	return valueEnd(data, i)
}

// isWide reports whether a Collector keeps the member with a value, whatever its name: a value
// that may be cut or refused, as objects, arrays and long strings may.
func isWide(data []byte, value, end int) bool {
	return data[value] == '{' || data[value] == '[' || end-value > maxText+len(`""`)
}

// valueEnd returns where the value before the name at i ends, which has a comma and perhaps
// a space before it.
func valueEnd(data []byte, i int) int {
	if data[i-1] == ' ' {
		i--
	}
	return i - 1
}

// learn brings a shape in line with the properties of the record, from one place to another.
func (p *predictor) learn(s *scanner, sh *shape, begin, end int, stray bool) {
	sh.age++
	if !stray {
		sh.strays = max(0, sh.strays-1)
	} else {
		sh.age = renewal
		if sh.strays += strayCost; sh.strays >= straysMost {
			sh.strays, sh.pause = straysMost-strayCost, shapePause
		}
		sh.slots = p.order(sh.slots)
		// A new slot may stand between two of a run.
		for k := range sh.slots {
			sh.slots[k].run = 0
		}
	}
	// Text with flags, or with ends of lines, has to be scanned each time.
	if sh.age >= renewal && s.flags == 0 && !s.lines {
		sh.remember(s.data[begin:end], p.marks, begin, p.keeps)
		if sh.age = 0; stray {
			sh.age = renewal - 1
		}
	}
}

// order returns the slots for the names of the last record and for the others of old. If the
// names do not come in the order of old, or if there are too many, the slots are those of the
// record alone.
func (p *predictor) order(old []slot) []slot {
	all, k := make([]slot, 0, len(old)+4), 0
	for _, m := range p.marks {
		if n := slices.IndexFunc(old[k:], func(l slot) bool { return l.name == m.Name }); n >= 0 {
			all = append(all, old[k:k+n+1]...)
			k += n + 1
			continue
		}
		if slices.ContainsFunc(old, func(l slot) bool { return p.names[l.name].id == p.names[m.Name].id }) {
			return p.slots()
		}
		all = append(all, p.slot(m))
	}
	if all = append(all, old[k:]...); len(all) > maxSlots {
		return p.slots()
	}
	return all
}

// slots returns slots for the names of the last record, or for the first of them.
func (p *predictor) slots() []slot {
	all := make([]slot, min(len(p.marks), maxSlots))
	for k := range all {
		all[k] = p.slot(p.marks[k])
	}
	return all
}

func (p *predictor) slot(m rowmark.Mark) slot {
	n := &p.names[m.Name]
	return slot{head: n.head, name: m.Name, length: m.Text, quoted: uint16(n.quoted), role: n.role}
}

// remember makes the properties of a record the text of the shape. Marks are places in the
// record, in which the properties begin at a place. With keeps, members are wide.
func (sh *shape) remember(text []byte, marks []rowmark.Mark, begin int, keeps bool) {
	text = text[:min(len(text), shapeText)]
	for k := range sh.slots {
		l := &sh.slots[k]
		before := sh.text[l.at:l.next]
		l.at, l.next, l.run, l.wide = 0, 0, 0, false
		if len(marks) < 2 || marks[0].Name != l.name {
			continue
		}
		if at, next := marks[0].At-int32(begin), marks[1].At-int32(begin); int(next) <= len(text) {
			l.at, l.next = at, next
			l.wide = keeps && isWide(text, int(at)+int(l.length), int(next)-1)
		}
		marks = marks[1:]
		if string(before) != string(text[l.at:l.next]) {
			l.same = 0
		} else if l.same = min(l.same+1, sameLeast); l.same == sameLeast {
			l.run = l.next - l.at
		}
	}
	for k := len(sh.slots) - 2; k >= 0; k-- {
		if l := &sh.slots[k]; l.run > 0 {
			l.run += sh.slots[k+1].run
		}
	}
	sh.text = append(sh.text[:0], text...)
}
