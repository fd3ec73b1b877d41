package unusual

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// errInvalid is returned for a row that is not valid JSON. The host sends none.
var errInvalid = errors.New("row is not valid JSON")

// refusal is the error of a row that cannot be changed, or must not be.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// Changes are the reasons for which a row was changed, as bits.
type Changes uint8

const (
	equalKeys Changes = 1 << iota
	loneSurrogate
	nul
	wideNumber
)

var reasons = [...]string{EqualKeys, LoneSurrogate, NUL, WideNumber}

// AllReasons returns all reasons for changes.
func AllReasons() []string { return slices.Clone(reasons[:]) }

// Reasons calls yield with each reason.
func (c Changes) Reasons(yield func(reason string)) {
	for i, reason := range reasons {
		if c&(1<<i) != 0 {
			yield(reason)
		}
	}
}

// rewriter renders one row at a time in the form that its rules allow. A changed
// row has no white space between its tokens:
//
//	{"a":1, "b":{"x":1}, "a":2}    {"b":{"x":1},"a":2}
//	{"n":123456789012345678901}    {"n":"123456789012345678901"}
type rewriter struct {
	rules   Rules
	data    []byte
	at      int
	out     []byte
	depth   int
	changed Changes
	err     error

	members []member // of the open objects
	keys    []byte   // their keys, unescaped
	last    map[string]int
}

// member is a member of an open object: out[from:to] without comma, and its key in
// keys.
type member struct {
	from, to       int
	keyFrom, keyTo int
}

// maxLevels bounds the recursion where the rules have no limit.
const maxLevels = 10_000

// row returns the row as the rules allow it, and the changes. Without changes it
// returns line itself. The result is valid until the next call. A *refusal is the
// error of a row to reject.
func (w *rewriter) row(line []byte) ([]byte, Changes, error) {
	w.data, w.at, w.out, w.depth, w.changed, w.err = line, 0, w.out[:0], 0, 0, nil
	w.members, w.keys = w.members[:0], w.keys[:0]
	w.value()
	w.space()
	if w.err == nil && w.at != len(line) {
		w.fail()
	}
	if w.err != nil {
		return nil, 0, w.err
	}
	if w.changed == 0 {
		return line, 0, nil
	}
	return w.out, w.changed, nil
}

func (w *rewriter) fail() {
	if w.err == nil {
		w.err = fmt.Errorf("%w at byte %d", errInvalid, w.at)
	}
}

// change notes a change, or refuses the row in mode Reject.
func (w *rewriter) change(c Changes) {
	w.changed |= c
	if w.rules.Mode == Reject && w.err == nil {
		c.Reasons(func(reason string) { w.err = &refusal{reason} })
	}
}

func (w *rewriter) space() {
	for w.at < len(w.data) {
		switch w.data[w.at] {
		case ' ', '\t', '\n', '\r':
			w.at++
		default:
			return
		}
	}
}

// next returns the next byte that is not white space, without taking it; 0 at the
// end.
func (w *rewriter) next() byte {
	w.space()
	if w.err != nil || w.at >= len(w.data) {
		return 0
	}
	return w.data[w.at]
}

// take copies c, which must be the next byte.
func (w *rewriter) take(c byte) {
	if w.next() != c {
		w.fail()
		return
	}
	w.out = append(w.out, c)
	w.at++
}

func (w *rewriter) value() {
	switch c := w.next(); {
	case c == '{':
		w.object()
	case c == '[':
		w.array()
	case c == '"':
		w.text(nil)
	case c == '-' || c >= '0' && c <= '9':
		w.number()
	default:
		w.literal()
	}
}

func (w *rewriter) literal() {
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(w.data[w.at:], []byte(word)) {
			w.out, w.at = append(w.out, word...), w.at+len(word)
			return
		}
	}
	w.fail()
}

// enter counts a level. The row's own object is not part of a column's value.
func (w *rewriter) enter() {
	w.depth++
	if most := w.rules.MaxDepth; most > 0 && w.depth > most+1 && w.err == nil {
		w.err = &refusal{fmt.Sprintf("nested deeper than %d levels", most)}
	}
	if w.depth > maxLevels && w.err == nil {
		w.err = &refusal{fmt.Sprintf("nested deeper than %d levels", maxLevels)}
	}
}

func (w *rewriter) array() {
	w.enter()
	w.take('[')
	if w.next() != ']' {
		for w.err == nil {
			w.value()
			if w.next() != ',' {
				break
			}
			w.take(',')
		}
	}
	w.take(']')
	w.depth--
}

func (w *rewriter) object() {
	w.enter()
	first, keys := len(w.members), len(w.keys)
	w.take('{')
	start := len(w.out)
	if w.next() != '}' {
		for w.err == nil {
			w.member()
			if w.next() != ',' {
				break
			}
			w.take(',')
		}
	}
	if w.err == nil {
		w.unite(start, w.members[first:])
	}
	w.members, w.keys = w.members[:first], w.keys[:keys]
	w.take('}')
	w.depth--
}

func (w *rewriter) member() {
	m := member{from: len(w.out), keyFrom: len(w.keys)}
	if w.next() != '"' {
		w.fail()
		return
	}
	w.text(&w.keys)
	m.keyTo = len(w.keys)
	w.take(':')
	w.value()
	m.to = len(w.out)
	w.members = append(w.members, m)
}

// fewMembers is up to how many members are compared with each other; larger
// objects go through a map.
const fewMembers = 12

// unite keeps the last of each set of equal keys. out[start:] are the members.
func (w *rewriter) unite(start int, members []member) {
	if !w.repeats(members) {
		return
	}
	w.change(equalKeys)
	w.index(members)
	end := start
	for i, m := range members {
		if w.last[string(w.key(m))] != i {
			continue
		}
		if end > start {
			w.out[end] = ','
			end++
		}
		end += copy(w.out[end:], w.out[m.from:m.to])
	}
	w.out = w.out[:end]
}

func (w *rewriter) key(m member) []byte { return w.keys[m.keyFrom:m.keyTo] }

// repeats reports whether two members have the same key.
func (w *rewriter) repeats(members []member) bool {
	if len(members) > fewMembers {
		w.index(members)
		return len(w.last) < len(members)
	}
	for i := range members {
		for j := range i {
			if bytes.Equal(w.key(members[i]), w.key(members[j])) {
				return true
			}
		}
	}
	return false
}

// index notes the last position of each key.
func (w *rewriter) index(members []member) {
	if w.last == nil {
		w.last = make(map[string]int)
	}
	clear(w.last)
	for i, m := range members {
		w.last[string(w.key(m))] = i
	}
}

// number copies a number, as a string if the destination would change it.
func (w *rewriter) number() {
	from, exponent := w.at, false
	digits := func() {
		n := w.at
		for w.at < len(w.data) && w.data[w.at]-'0' <= 9 {
			w.at++
		}
		if w.at == n {
			w.fail()
		}
	}
	if w.data[w.at] == '-' {
		w.at++
	}
	digits()
	if w.at < len(w.data) && w.data[w.at] == '.' {
		w.at++
		digits()
	}
	if w.at < len(w.data) && w.data[w.at]|0x20 == 'e' {
		exponent = true
		if w.at++; w.at < len(w.data) && (w.data[w.at] == '+' || w.data[w.at] == '-') {
			w.at++
		}
		digits()
	}
	number := w.data[from:w.at]
	if w.err != nil || w.rules.keepsNumber(number, exponent) {
		w.out = append(w.out, number...)
		return
	}
	w.change(wideNumber)
	w.out = append(w.out, '"')
	w.out = append(w.out, number...)
	w.out = append(w.out, '"')
}

// text copies a string. With key it also appends the unescaped text, as it is
// after the changes, to *key.
func (w *rewriter) text(key *[]byte) {
	w.take('"')
	for w.err == nil {
		n := bytes.IndexAny(w.data[w.at:], `"\`)
		if n < 0 {
			w.at = len(w.data)
			w.fail()
			return
		}
		w.copy(key, w.data[w.at:w.at+n])
		w.at += n
		if w.data[w.at] == '"' {
			w.take('"')
			return
		}
		w.escape(key)
	}
}

func (w *rewriter) copy(key *[]byte, text []byte) {
	w.out = append(w.out, text...)
	if key != nil {
		*key = append(*key, text...)
	}
}

var shortEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape copies an escape sequence.
func (w *rewriter) escape(key *[]byte) {
	rest := w.data[w.at:]
	if len(rest) < 2 {
		w.fail()
		return
	}
	if rest[1] != 'u' {
		c := shortEscapes[rest[1]]
		if c == 0 {
			w.fail()
			return
		}
		w.put(key, rest[:2], rune(c))
		return
	}
	r, ok := hex(rest)
	if !ok {
		w.fail()
		return
	}
	switch {
	case r == 0 && w.rules.RefusesNUL:
		w.change(nul)
		w.at += 6
	case r < 0xd800 || r > 0xdfff:
		w.put(key, rest[:6], r)
	default:
		w.surrogate(key, rest, r)
	}
}

// surrogate copies a pair of surrogates, or replaces one without partner.
func (w *rewriter) surrogate(key *[]byte, rest []byte, r rune) {
	if low, ok := hex(rest[6:]); ok && r < 0xdc00 && low >= 0xdc00 && low <= 0xdfff {
		w.put(key, rest[:12], 0x10000+(r-0xd800)<<10+(low-0xdc00))
		return
	}
	w.change(loneSurrogate)
	w.out = append(w.out, `\ufffd`...)
	if key != nil {
		*key = utf8.AppendRune(*key, utf8.RuneError)
	}
	w.at += 6
}

func (w *rewriter) put(key *[]byte, escape []byte, r rune) {
	w.out = append(w.out, escape...)
	if key != nil {
		*key = utf8.AppendRune(*key, r)
	}
	w.at += len(escape)
}

// hex reads \uXXXX at the beginning of text.
func hex(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range text[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
