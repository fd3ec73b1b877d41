// Package variant keeps semi-structured values as Snowflake does: as JSON text in one
// canonical form. Members of objects are sorted by their names, white space is gone,
// integers and decimals of up to 38 digits are exact, other numbers are doubles.
//
// Parse is strict where a load is: duplicate names, invalid UTF-8 and unpaired surrogates
// are errors. Path, casts and Indent work on canonical text only.
package variant

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Options change the documents that Parse accepts.
type Options struct {
	// Duplicates keeps the last of several members of one name, as ALLOW_DUPLICATE and
	// PARSE_JSON's second argument do; without, they are errors.
	Duplicates bool
	// ReplaceInvalid replaces invalid UTF-8 and unpaired surrogates by U+FFFD.
	ReplaceInvalid bool
	// StripNulls removes members and elements that are null.
	StripNulls bool
}

// maxDepth is the depth of nesting that is parsed.
const maxDepth = 1000

// Parse returns the canonical text of the one document in a text.
func Parse(source []byte, o Options) (string, error) {
	p := &parser{source: source, o: o}
	v, err := p.value(0)
	if err != nil {
		return "", err
	}
	if p.blanks(); p.at < len(source) {
		return "", p.fail("more than one document in the input")
	}
	return string(v), nil
}

// Next parses the first document of a text and returns the rest. The rest is nil when
// only blanks are left, and the text is empty when there is no document.
func Next(source []byte, o Options) (document string, rest []byte, err error) {
	p := &parser{source: source, o: o}
	if p.blanks(); p.at == len(source) {
		return "", nil, nil
	}
	v, err := p.value(0)
	if err != nil {
		return "", nil, err
	}
	p.blanks()
	return string(v), source[p.at:], nil
}

type parser struct {
	source []byte
	at     int
	o      Options
}

func (p *parser) fail(format string, args ...any) error {
	return fmt.Errorf(format+", pos %d", append(args, p.at)...)
}

func (p *parser) blanks() {
	for p.at < len(p.source) && (p.source[p.at] == ' ' || p.source[p.at] == '\n' || p.source[p.at] == '\r' || p.source[p.at] == '\t') {
		p.at++
	}
}

func (p *parser) value(depth int) ([]byte, error) {
	p.blanks()
	if p.at == len(p.source) {
		return nil, p.fail("incomplete value")
	}
	if depth > maxDepth {
		return nil, p.fail("document is too deeply nested")
	}
	switch c := p.source[p.at]; {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		s, err := p.text()
		return Quote(s), err
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	start := p.at
	for p.at < len(p.source) && (p.source[p.at]|0x20 >= 'a' && p.source[p.at]|0x20 <= 'z' || p.source[p.at] == '_') {
		p.at++
	}
	switch w := string(p.source[start:p.at]); w {
	case "true", "false", "null":
		return []byte(w), nil
	case "":
		return nil, p.fail("unknown character %q", p.source[p.at])
	default:
		return nil, p.fail("unknown keyword %q", w)
	}
}

type member struct {
	name  string
	value []byte
}

func (p *parser) object(depth int) ([]byte, error) {
	p.at++
	var members []member
	for {
		p.blanks()
		if p.at < len(p.source) && p.source[p.at] == '}' && len(members) == 0 {
			break
		}
		if p.at == len(p.source) || p.source[p.at] != '"' {
			return nil, p.fail("missing object attribute name")
		}
		name, err := p.text()
		if err != nil {
			return nil, err
		}
		if p.blanks(); p.at == len(p.source) || p.source[p.at] != ':' {
			return nil, p.fail("missing colon")
		}
		p.at++
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{name, v})
		p.blanks()
		if p.at < len(p.source) && p.source[p.at] == ',' {
			p.at++
			if p.blanks(); p.at < len(p.source) && p.source[p.at] == '}' {
				return nil, p.fail("missing object attribute name")
			}
			continue
		}
		if p.at < len(p.source) && p.source[p.at] == '}' {
			break
		}
		return nil, p.fail("missing comma or closing brace of an object")
	}
	p.at++
	return p.members(members)
}

func (p *parser) members(members []member) ([]byte, error) {
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	out := []byte{'{'}
	for n, m := range members {
		if n+1 < len(members) && members[n+1].name == m.name {
			if !p.o.Duplicates {
				return nil, p.fail("duplicate object attribute %q", m.name)
			}
			continue
		}
		if p.o.StripNulls && string(m.value) == "null" {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, Quote(m.name)...), ':'), m.value...)
	}
	return append(out, '}'), nil
}

func (p *parser) array(depth int) ([]byte, error) {
	p.at++
	out := []byte{'['}
	for {
		p.blanks()
		if p.at < len(p.source) && p.source[p.at] == ']' && len(out) == 1 {
			break
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.o.StripNulls || string(v) != "null" {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(out, v...)
		}
		p.blanks()
		if p.at < len(p.source) && p.source[p.at] == ',' {
			p.at++
			continue
		}
		if p.at < len(p.source) && p.source[p.at] == ']' {
			break
		}
		return nil, p.fail("missing comma or closing bracket of an array")
	}
	p.at++
	return append(out, ']'), nil
}

func (p *parser) text() (string, error) {
	p.at++
	start := p.at
	for p.at < len(p.source) {
		switch c := p.source[p.at]; {
		case c == '"':
			s := p.source[start:p.at]
			p.at++
			return p.valid(s)
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", p.fail("unescaped control character in a string")
		}
		p.at++
	}
	return "", p.fail("unterminated string")
}

func (p *parser) valid(s []byte) (string, error) {
	if utf8.Valid(s) {
		return string(s), nil
	}
	if p.o.ReplaceInvalid {
		return strings.ToValidUTF8(string(s), "\uFFFD"), nil
	}
	return "", fmt.Errorf("Invalid UTF8 detected in string '%s'", strings.ToValidUTF8(string(s), "?"))
}

// escaped reads the rest of a string that has an escape at p.at.
func (p *parser) escaped(start int) (string, error) {
	out := append([]byte(nil), p.source[start:p.at]...)
	for p.at < len(p.source) {
		c := p.source[p.at]
		switch {
		case c == '"':
			p.at++
			return p.valid(out)
		case c < ' ':
			return "", p.fail("unescaped control character in a string")
		case c != '\\':
			out = append(out, c)
			p.at++
			continue
		}
		r, err := p.escape()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, r)
	}
	return "", p.fail("unterminated string")
}

var escapes = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *parser) escape() (rune, error) {
	if p.at+1 >= len(p.source) {
		return 0, p.fail("unterminated string")
	}
	c := p.source[p.at+1]
	if c != 'u' {
		r, ok := escapes[c]
		if !ok {
			return 0, p.fail("illegal escape sequence \\%c", c)
		}
		p.at += 2
		return r, nil
	}
	r, err := p.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if p.at+1 < len(p.source) && p.source[p.at] == '\\' && p.source[p.at+1] == 'u' {
		here := p.at
		low, err := p.hex()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
		p.at = here
	}
	if p.o.ReplaceInvalid {
		return utf8.RuneError, nil
	}
	return 0, p.fail("unpaired surrogate \\u%04x", r)
}

func (p *parser) hex() (rune, error) {
	if p.at+6 > len(p.source) {
		return 0, p.fail("unterminated string")
	}
	n, err := strconv.ParseUint(string(p.source[p.at+2:p.at+6]), 16, 16)
	if err != nil {
		return 0, p.fail("illegal escape sequence \\u")
	}
	p.at += 6
	return rune(n), nil
}

func (p *parser) number() ([]byte, error) {
	start := p.at
	for p.at < len(p.source) && strings.IndexByte("+-.0123456789eE", p.source[p.at]) >= 0 {
		p.at++
	}
	n, err := Number(string(p.source[start:p.at]))
	if err != nil {
		return nil, p.fail("%v", err)
	}
	return []byte(n), nil
}

// Number returns the canonical text of a JSON number.
func Number(s string) (string, error) {
	digits, exponent, hasExponent := strings.Cut(strings.Map(func(r rune) rune {
		if r == 'E' {
			return 'e'
		}
		return r
	}, s), "e")
	whole, fraction, hasFraction := strings.Cut(strings.TrimPrefix(digits, "-"), ".")
	if whole == "" || len(whole) > 1 && whole[0] == '0' || hasFraction && fraction == "" || hasExponent && strings.TrimLeft(exponent, "+-") == "" || strings.ContainsAny(whole+fraction, "+-") {
		return "", fmt.Errorf("malformed number %s", s)
	}
	if hasExponent {
		return double(s)
	}
	fraction = strings.TrimRight(fraction, "0")
	if significant := strings.TrimLeft(whole+fraction, "0"); len(significant) > 38 || len(fraction) > 37 {
		return double(s)
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if whole == "0" || !strings.HasPrefix(s, "-") {
		return whole, nil
	}
	return "-" + whole, nil
}

// double writes a number that 38 digits cannot hold. One that is an integer
// below 2^53 is written as one.
func double(s string) (string, error) {
	f, err := strconv.ParseFloat(s, 64)
	if errors.Is(err, strconv.ErrRange) && f != 0 {
		return "", fmt.Errorf("number %s is out of range", s)
	}
	if err != nil && f != 0 {
		return "", fmt.Errorf("malformed number %s", s)
	}
	return Double(f), nil
}

// Double is the canonical text of a double.
func Double(f float64) string {
	if f == float64(int64(f)) && f < 1<<53 && f > -(1<<53) {
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'e', 15, 64)
}

// Quote writes a string as JSON.
func Quote(s string) []byte {
	out := make([]byte, 0, len(s)+2)
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, '\\', 'n')
		case r == '\r':
			out = append(out, '\\', 'r')
		case r == '\t':
			out = append(out, '\\', 't')
		case r == '\b':
			out = append(out, '\\', 'b')
		case r == '\f':
			out = append(out, '\\', 'f')
		case r < ' ':
			out = fmt.Appendf(out, "\\u%04x", r)
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return append(out, '"')
}

// Kind is the type of a value, as TYPEOF names it.
func Kind(v string) string {
	switch v[0] {
	case '{':
		return "OBJECT"
	case '[':
		return "ARRAY"
	case '"':
		return "VARCHAR"
	case 't', 'f':
		return "BOOLEAN"
	case 'n':
		return "NULL_VALUE"
	}
	switch {
	case strings.ContainsRune(v, 'e'):
		return "DOUBLE"
	case strings.ContainsRune(v, '.'):
		return "DECIMAL"
	}
	return "INTEGER"
}

// Unquote returns the text of a JSON string in canonical form.
func Unquote(v string) string {
	if !strings.ContainsRune(v, '\\') {
		return v[1 : len(v)-1]
	}
	p := &parser{source: []byte(v)}
	s, err := p.text()
	if err != nil {
		return v[1 : len(v)-1]
	}
	return s
}

// skip returns the end of the value at an offset of canonical text.
func skip(v string, at int) int {
	switch v[at] {
	case '"':
		for at++; v[at] != '"'; at++ {
			if v[at] == '\\' {
				at++
			}
		}
		return at + 1
	case '{', '[':
		for depth := 0; ; at++ {
			switch v[at] {
			case '"':
				at = skip(v, at) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return at + 1
				}
			}
		}
	}
	for at < len(v) && v[at] != ',' && v[at] != '}' && v[at] != ']' {
		at++
	}
	return at
}

// Member returns the member of an object.
func Member(v, name string) (string, bool) {
	if v[0] != '{' {
		return "", false
	}
	for at := 1; v[at] != '}'; {
		end := skip(v, at)
		key := v[at:end]
		at = end + 1
		end = skip(v, at)
		if Unquote(key) == name {
			return v[at:end], true
		}
		if at = end; v[at] == ',' {
			at++
		}
	}
	return "", false
}

// Elements calls f with the members or elements of a value; keys of elements are empty.
func Elements(v string, f func(key, value string)) {
	if v[0] != '{' && v[0] != '[' {
		return
	}
	for at := 1; at < len(v)-1; {
		key := ""
		if v[0] == '{' {
			end := skip(v, at)
			key = Unquote(v[at:end])
			at = end + 1
		}
		end := skip(v, at)
		f(key, v[at:end])
		at = end + 1
	}
}

// Element returns the element of an array, from 0.
func Element(v string, index int) (string, bool) {
	found, value, n := false, "", 0
	if v[0] != '[' {
		return "", false
	}
	Elements(v, func(_, element string) {
		if n == index {
			found, value = true, element
		}
		n++
	})
	return value, found
}

// Text is the value as VARCHAR; ok is false for null.
func Text(v string) (s string, ok bool) {
	switch v[0] {
	case '"':
		return Unquote(v), true
	case 'n':
		return "", false
	}
	return v, true
}

// Decimal reads a number, or a text of one, and rounds it to a scale.
func Decimal(text string, scale int) (string, bool) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > 400 || strings.ContainsAny(text, "_/xXpPiInN") {
		return "", false
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", false
	}
	s := r.FloatString(scale)
	if len(strings.TrimLeft(strings.NewReplacer(".", "", "-", "").Replace(s), "0")) > 38 {
		return "", false
	}
	return s, true
}

// Indent writes a value as results do: blanks of that number for each level, or in one
// line when it is 0.
func Indent(v string, blanks int) string {
	if blanks == 0 || v[0] != '{' && v[0] != '[' {
		return v
	}
	var b bytes.Buffer
	indent(&b, v, blanks, 0)
	return b.String()
}

func indent(b *bytes.Buffer, v string, blanks, depth int) {
	if v == "{}" || v == "[]" || v[0] != '{' && v[0] != '[' {
		b.WriteString(v)
		return
	}
	b.WriteByte(v[0])
	first := true
	Elements(v, func(key, value string) {
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteByte('\n')
		b.WriteString(strings.Repeat(" ", blanks*(depth+1)))
		if v[0] == '{' {
			b.Write(Quote(key))
			b.WriteString(": ")
		}
		indent(b, value, blanks, depth+1)
	})
	b.WriteByte('\n')
	b.WriteString(strings.Repeat(" ", blanks*depth))
	b.WriteByte(v[len(v)-1])
}
