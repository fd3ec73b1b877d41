package schema

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"github.com/penstock-io/penstock/sdk/batch"
)

// maxDepth is how deeply values may be nested at all.
const maxDepth = 10000

// deepDepth is where the flag Deep begins.
const deepDepth = 64

// scanner validates one record and notes where its parts are. What is wrong is
// in reason and at; scanning stops there.
type scanner struct {
	data   []byte
	at     int
	flags  batch.Flags
	reason Reason
	keys   []keySpan // of all open objects
	marks  []mark    // of all open objects, one each
	lines  bool      // white space holds a newline or carriage return

	event, properties      span
	time, distinct, insert span
	device, user           span
	tokens                 []member // of properties
}

// span is a part of the record, from its first byte to behind its last.
type span struct{ from, to int }

func (s span) empty() bool { return s.to == 0 }

// member is a member of an object with what surrounds it.
type member struct {
	key, value span
	previous   int // end of the member before it, or behind the object's brace
	next       int // behind the comma that follows, or 0
}

// keySpan is a key of an open object.
type keySpan struct {
	span
	hash uint32
}

// mark is what was seen of an open object's keys, by eight bits of their hash;
// the keys themselves begin at index first.
type mark struct {
	seen  [4]uint64
	first int
}

// reset makes the scanner ready for another record.
func (s *scanner) reset(data []byte) {
	s.data, s.at, s.flags, s.reason, s.lines = data, 0, 0, "", false
	s.keys, s.marks, s.tokens = s.keys[:0], s.marks[:0], s.tokens[:0]
	s.event, s.properties, s.time, s.distinct, s.insert, s.device, s.user = span{}, span{}, span{}, span{}, span{}, span{}, span{}
}

func (s *scanner) fail(reason Reason) bool {
	if s.reason == "" {
		s.reason = reason
	}
	return false
}

// record scans the whole record: one object and nothing behind it.
func (s *scanner) record() bool {
	s.space()
	if s.peek() != '{' {
		return s.fail(InvalidJSON)
	}
	if !s.object(1, atRecord) {
		return false
	}
	s.space()
	if s.at != len(s.data) {
		return s.fail(InvalidJSON)
	}
	return true
}

// place says which members of an object are noted.
type place uint8

const (
	elsewhere place = iota
	atRecord
	atProperties
)

func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

// space skips white space.
func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t':
		case '\n', '\r':
			s.lines = true
		default:
			return
		}
		s.at++
	}
}

// object scans an object whose brace is next.
func (s *scanner) object(depth int, where place) bool {
	if depth > maxDepth {
		return s.fail(InvalidJSON)
	}
	s.at++
	previous := s.at
	s.space()
	if s.peek() == '}' {
		s.at++
		return true
	}
	s.marks = append(s.marks, mark{first: len(s.keys)})
	for {
		m := member{previous: previous}
		if s.peek() != '"' {
			return s.fail(InvalidJSON)
		}
		m.key.from = s.at
		escaped, ok := s.text()
		if !ok {
			return false
		}
		m.key.to = s.at
		s.key(m.key, escaped)
		s.space()
		if s.peek() != ':' {
			return s.fail(InvalidJSON)
		}
		s.at++
		s.space()
		inner := elsewhere
		if where == atRecord && s.is(m.key, escaped, "properties") {
			inner = atProperties
			s.forget()
		}
		m.value.from = s.at
		if !s.value(depth, inner) {
			return false
		}
		m.value.to = s.at
		previous = s.at
		s.space()
		more := s.peek() == ','
		if more {
			s.at++
			m.next = s.at
		}
		if where != elsewhere {
			s.note(where, m, escaped)
		}
		if more {
			s.space()
			continue
		}
		if s.peek() != '}' {
			return s.fail(InvalidJSON)
		}
		s.at++
		last := len(s.marks) - 1
		s.keys = s.keys[:s.marks[last].first]
		s.marks = s.marks[:last]
		return true
	}
}

// forget drops what a properties object that turns out not to be the last has
// noted.
func (s *scanner) forget() {
	s.time, s.distinct, s.insert, s.device, s.user = span{}, span{}, span{}, span{}, span{}
	s.tokens = s.tokens[:0]
}

// note keeps a member that the row needs.
func (s *scanner) note(where place, m member, escaped bool) {
	if where == atRecord {
		switch {
		case s.is(m.key, escaped, "event"):
			s.event = m.value
		case s.is(m.key, escaped, "properties"):
			s.properties = m.value
		}
		return
	}
	// Most keys are told apart by their length.
	n := m.key.to - m.key.from - 2
	if !escaped && (n < 4 || n > 11) {
		return
	}
	switch {
	case s.is(m.key, escaped, "time"):
		s.time = m.value
	case s.is(m.key, escaped, "distinct_id"):
		s.distinct = m.value
	case s.is(m.key, escaped, "$insert_id"):
		s.insert = m.value
	case s.is(m.key, escaped, "$device_id"):
		s.device = m.value
	case s.is(m.key, escaped, "$user_id"):
		s.user = m.value
	case s.is(m.key, escaped, "token"):
		s.tokens = append(s.tokens, m)
	}
}

// is says whether a key, quotes included, is a name.
func (s *scanner) is(key span, escaped bool, name string) bool {
	raw := s.data[key.from+1 : key.to-1]
	if !escaped {
		return string(raw) == name
	}
	plain, ok := unescape(nil, raw)
	return ok && string(plain) == name
}

// key enters a key into its object, and flags one that is there already.
func (s *scanner) key(key span, escaped bool) {
	raw := s.data[key.from+1 : key.to-1]
	if escaped {
		if plain, ok := unescape(nil, raw); ok {
			raw = plain
		}
	}
	h := hashKey(raw)
	m := &s.marks[len(s.marks)-1]
	word, bit := &m.seen[h>>6&3], uint64(1)<<(h&63)
	if *word&bit != 0 && s.repeated(raw, h, m.first) {
		s.flags |= batch.DuplicateKey
	}
	*word |= bit
	s.keys = append(s.keys, keySpan{key, h})
}

func (s *scanner) repeated(raw []byte, h uint32, first int) bool {
	for _, k := range s.keys[first:] {
		if k.hash != h {
			continue
		}
		other := s.data[k.from+1 : k.to-1]
		if plain, ok := unescape(nil, other); ok {
			other = plain
		}
		if string(other) == string(raw) {
			return true
		}
	}
	return false
}

// hashKey mixes a key's length, beginning and end: keys of one object differ
// there nearly always, and those that do not are compared.
func hashKey(k []byte) uint32 {
	var h uint64
	switch n := len(k); {
	case n >= 8:
		h = binary.LittleEndian.Uint64(k) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(k[n-8:]), 29) ^ uint64(n)
	default:
		for _, b := range k {
			h = h<<8 | uint64(b)
		}
		h ^= uint64(n) << 56
	}
	h *= 0x9e3779b97f4a7c15
	return uint32(h >> 32)
}

// value scans any value. depth is that of what it lies in.
func (s *scanner) value(depth int, where place) bool {
	switch c := s.peek(); {
	case c == '"':
		_, ok := s.text()
		return ok
	case c == '{':
		if depth+1 > deepDepth {
			s.flags |= batch.Deep
		}
		return s.object(depth+1, where)
	case c == '[':
		if depth+1 > deepDepth {
			s.flags |= batch.Deep
		}
		return s.array(depth + 1)
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	default:
		return s.fail(InvalidJSON)
	}
}

func (s *scanner) array(depth int) bool {
	if depth > maxDepth {
		return s.fail(InvalidJSON)
	}
	s.at++
	s.space()
	if s.peek() == ']' {
		s.at++
		return true
	}
	for {
		if !s.value(depth, elsewhere) {
			return false
		}
		s.space()
		switch s.peek() {
		case ',':
			s.at++
			s.space()
		case ']':
			s.at++
			return true
		default:
			return s.fail(InvalidJSON)
		}
	}
}

func (s *scanner) literal(word string) bool {
	if len(s.data)-s.at < len(word) || string(s.data[s.at:s.at+len(word)]) != word {
		return s.fail(InvalidJSON)
	}
	s.at += len(word)
	return true
}

// number scans a number and flags one that a double does not hold.
func (s *scanner) number() bool {
	from := s.at
	if s.peek() == '-' {
		s.at++
	}
	switch c := s.peek(); {
	case c == '0':
		s.at++
	case c >= '1' && c <= '9':
		s.digits()
	default:
		return s.fail(InvalidJSON)
	}
	integer := true
	if s.peek() == '.' {
		integer = false
		s.at++
		if !s.someDigits() {
			return false
		}
	}
	exponent := false
	if c := s.peek(); c == 'e' || c == 'E' {
		exponent = true
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.someDigits() {
			return false
		}
	}
	// Fifteen characters without exponent are always held.
	if exponent || s.at-from > 15 {
		s.wide(s.data[from:s.at], integer && !exponent)
	}
	return true
}

func (s *scanner) digits() {
	for s.at < len(s.data) && s.data[s.at]-'0' <= 9 {
		s.at++
	}
}

func (s *scanner) someDigits() bool {
	from := s.at
	s.digits()
	if s.at == from {
		return s.fail(InvalidJSON)
	}
	return true
}

// wide flags an integer beyond ±2^53 and what is no finite double.
func (s *scanner) wide(number []byte, integer bool) {
	if integer {
		n, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil || n > 1<<53 || n < -1<<53 {
			s.flags |= batch.WideNumber
		}
		return
	}
	if _, err := strconv.ParseFloat(string(number), 64); err != nil {
		s.flags |= batch.WideNumber
	}
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// text scans a string whose quote is next, and says whether it has escapes.
func (s *scanner) text() (escaped, ok bool) {
	data := s.data
	i := s.at + 1
	for {
		// Eight bytes at a time, up to a quote, a backslash, a control character
		// or a byte of more than seven bits.
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			quote := w ^ '"'*lowBits
			slash := w ^ '\\'*lowBits
			special := (quote-lowBits)&^quote | (slash-lowBits)&^slash | (w-' '*lowBits)&^w | w
			if special &= highBits; special != 0 {
				i += bits.TrailingZeros64(special) >> 3
				break
			}
			i += 8
		}
		if i >= len(data) {
			return escaped, s.fail(InvalidJSON)
		}
		switch c := data[i]; {
		case c == '"':
			s.at = i + 1
			return escaped, true
		case c == '\\':
			escaped = true
			n := s.escape(i)
			if n == 0 {
				return escaped, s.fail(InvalidJSON)
			}
			i += n
		case c < ' ':
			return escaped, s.fail(InvalidJSON)
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n <= 1 {
				return escaped, s.fail(InvalidUTF8)
			}
			i += n
		}
	}
}

// escape is the length of the escape at i, or 0. It flags U+0000 and
// surrogates without partner.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.data) {
		return 0
	}
	switch s.data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	r, ok := hex4(s.data, i+2)
	if !ok {
		return 0
	}
	switch {
	case r == 0:
		s.flags |= batch.NUL
	case r >= 0xd800 && r < 0xdc00:
		if i+7 < len(s.data) && s.data[i+6] == '\\' && s.data[i+7] == 'u' {
			if low, ok := hex4(s.data, i+8); ok && low >= 0xdc00 && low < 0xe000 {
				return 12
			}
		}
		s.flags |= batch.LoneSurrogate
	case r >= 0xdc00 && r < 0xe000:
		s.flags |= batch.LoneSurrogate
	}
	return 6
}

// hex4 reads four hexadecimal digits.
func hex4(data []byte, i int) (rune, bool) {
	if i+4 > len(data) {
		return 0, false
	}
	var r rune
	for _, c := range data[i : i+4] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			r |= rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			r |= rune(c-'A') + 10
		default:
			return 0, false
		}
	}
	return r, true
}

// unescape appends what the inside of a valid string stands for. ok is false
// when it has no escapes: the string is then raw itself.
func unescape(dst, raw []byte) (plain []byte, ok bool) {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			i++
			continue
		}
		ok = true
		if raw[i+1] != 'u' {
			dst = append(dst, escapes[raw[i+1]])
			i += 2
			continue
		}
		r, _ := hex4(raw, i+2)
		i += 6
		if r >= 0xd800 && r < 0xdc00 && i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
			if low, valid := hex4(raw, i+2); valid && low >= 0xdc00 && low < 0xe000 {
				r = (r-0xd800)<<10 + (low - 0xdc00) + 0x10000
				i += 6
			}
		}
		if r >= 0xd800 && r < 0xe000 {
			// A surrogate without partner stands for itself, so that two of them
			// stay different.
			dst = append(dst, 0xed, byte(0x80|r>>6&0x3f), byte(0x80|r&0x3f))
			continue
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, ok
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}
