package googlesql

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CanonicalJSON returns a JSON text as BigQuery keeps it: sorted keys, of equal ones
// the first, no blanks, numbers as integers of 64 bits or as FLOAT64. It refuses lone
// surrogates, more than 500 levels, and, unless round is set, numbers that lose
// digits.
func CanonicalJSON(text []byte, round bool) ([]byte, error) {
	p := jsonParser{text: text, round: round}
	out, err := p.value(make([]byte, 0, len(text)), 0)
	if err == nil {
		if p.blank(); p.at < len(text) {
			err = fmt.Errorf("syntax error while parsing value: unexpected %q at %d", text[p.at], p.at)
		}
	}
	return out, err
}

// maxDepth is the number of levels that a JSON value may have
// (https://docs.cloud.google.com/bigquery/docs/reference/standard-sql/data-types#json_type).
const maxDepth = 500

type jsonParser struct {
	text  []byte
	at    int
	round bool
}

var errTruncated = errors.New("syntax error while parsing value: unexpected end of input")

func (p *jsonParser) blank() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t' || p.text[p.at] == '\n' || p.text[p.at] == '\r') {
		p.at++
	}
}

func (p *jsonParser) value(out []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("JSON parse error: maximum nesting depth of %d exceeded", maxDepth)
	}
	if p.blank(); p.at == len(p.text) {
		return nil, errTruncated
	}
	switch c := p.text[p.at]; {
	case c == '{':
		return p.object(out, depth)
	case c == '[':
		return p.array(out, depth)
	case c == '"':
		s, err := p.string()
		return AppendString(out, s), err
	case c == '-' || isDigit(c):
		return p.number(out)
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(p.text[p.at:], []byte(word)) {
			p.at += len(word)
			return append(out, word...), nil
		}
	}
	return nil, fmt.Errorf("syntax error while parsing value: unexpected %q at %d", p.text[p.at], p.at)
}

type member struct {
	key   string
	value []byte
}

func (p *jsonParser) object(out []byte, depth int) ([]byte, error) {
	p.at++
	var members []member
	for {
		if p.blank(); p.at == len(p.text) {
			return nil, errTruncated
		}
		if p.text[p.at] == '}' && len(members) == 0 {
			p.at++
			break
		}
		if p.text[p.at] != '"' {
			return nil, fmt.Errorf("syntax error while parsing object key: unexpected %q at %d", p.text[p.at], p.at)
		}
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if err := p.symbol(':'); err != nil {
			return nil, err
		}
		value, err := p.value(nil, depth+1)
		if err != nil {
			return nil, err
		}
		members = append(members, member{key, value})
		more, err := p.more('}')
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	members = slices.CompactFunc(members, func(a, b member) bool { return a.key == b.key }) // keeps the first
	out = append(out, '{')
	for n, m := range members {
		if n > 0 {
			out = append(out, ',')
		}
		out = append(AppendString(out, m.key), ':')
		out = append(out, m.value...)
	}
	return append(out, '}'), nil
}

func (p *jsonParser) symbol(c byte) error {
	if p.blank(); p.at == len(p.text) {
		return errTruncated
	}
	if p.text[p.at] != c {
		return fmt.Errorf("syntax error while parsing: unexpected %q at %d, expected %q", p.text[p.at], p.at, c)
	}
	p.at++
	return nil
}

// more takes a comma or the end of a list.
func (p *jsonParser) more(end byte) (bool, error) {
	if p.blank(); p.at < len(p.text) && p.text[p.at] == end {
		p.at++
		return false, nil
	}
	return true, p.symbol(',')
}

func (p *jsonParser) array(out []byte, depth int) ([]byte, error) {
	p.at++
	out = append(out, '[')
	if p.blank(); p.at < len(p.text) && p.text[p.at] == ']' {
		p.at++
		return append(out, ']'), nil
	}
	for {
		var err error
		if out, err = p.value(out, depth+1); err != nil {
			return nil, err
		}
		more, err := p.more(']')
		if err != nil {
			return nil, err
		}
		if !more {
			return append(out, ']'), nil
		}
		out = append(out, ',')
	}
}

// string reads a text in quotes.
func (p *jsonParser) string() (string, error) {
	start := p.at + 1
	end := start
	for end < len(p.text) && p.text[end] != '"' && p.text[end] != '\\' && p.text[end] >= ' ' {
		end++
	}
	if end < len(p.text) && p.text[end] == '"' {
		p.at = end + 1
		if !utf8.Valid(p.text[start:end]) {
			return "", errors.New("invalid string: ill-formed UTF-8 byte")
		}
		return string(p.text[start:end]), nil
	}
	var out []byte
	for p.at = start; ; {
		if p.at >= len(p.text) {
			return "", errTruncated
		}
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			if !utf8.Valid(out) {
				return "", errors.New("invalid string: ill-formed UTF-8 byte")
			}
			return string(out), nil
		case c < ' ':
			return "", errors.New("invalid string: control character must be escaped")
		case c != '\\':
			out = append(out, c)
			p.at++
		default:
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		}
	}
}

func (p *jsonParser) escape() (rune, error) {
	if p.at+1 >= len(p.text) {
		return 0, errTruncated
	}
	c := p.text[p.at+1]
	if at := strings.IndexByte(`bfnrt"\/`, c); at >= 0 {
		p.at += 2
		return rune("\b\f\n\r\t\"\\/"[at]), nil
	}
	high, ok := p.unicode()
	switch {
	case !ok:
		return 0, errors.New("invalid string: forbidden character after backslash")
	case high >= 0xDC00 && high <= 0xDFFF:
		return 0, errors.New("invalid string: surrogate U+DC00..U+DFFF must follow U+D800..U+DBFF")
	case high >= 0xD800 && high <= 0xDBFF:
		low, ok := p.unicode()
		if !ok || low < 0xDC00 || low > 0xDFFF {
			return 0, errors.New("invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF")
		}
		return (high-0xD800)<<10 + (low - 0xDC00) + 0x10000, nil
	}
	return high, nil
}

// unicode takes \uXXXX.
func (p *jsonParser) unicode() (rune, bool) {
	if p.at+6 > len(p.text) || p.text[p.at] != '\\' || p.text[p.at+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p.text[p.at+2:p.at+6]), 16, 16)
	p.at += 6
	return rune(n), err == nil
}

// AppendString appends a text as JSON.
func AppendString(out []byte, s string) []byte {
	out = append(out, '"')
	for n := 0; n < len(s); n++ {
		switch c := s[n]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ':
			if at := strings.IndexByte("\b\f\n\r\t", c); at >= 0 {
				out = append(out, '\\', "bfnrt"[at])
			} else {
				out = fmt.Appendf(out, `\u%04x`, c)
			}
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

func (p *jsonParser) number(out []byte) ([]byte, error) {
	start := p.at
	digits := func() bool {
		from := p.at
		for p.at < len(p.text) && isDigit(p.text[p.at]) {
			p.at++
		}
		return p.at > from
	}
	is := func(set string) bool {
		return p.at < len(p.text) && strings.IndexByte(set, p.text[p.at]) >= 0
	}
	invalid := func() error {
		return fmt.Errorf("syntax error while parsing value: invalid number at %d", start)
	}
	if is("-") {
		p.at++
	}
	first := p.at
	if !digits() || p.text[first] == '0' && p.at > first+1 {
		return nil, invalid()
	}
	integer := true
	if is(".") {
		integer = false
		if p.at++; !digits() {
			return nil, invalid()
		}
	}
	if is("eE") {
		integer = false
		if p.at++; is("+-") {
			p.at++
		}
		if !digits() {
			return nil, invalid()
		}
	}
	text := string(p.text[start:p.at])
	if integer {
		if _, err := strconv.ParseInt(text, 10, 64); err == nil && text != "-0" {
			return append(out, text...), nil
		}
		if _, err := strconv.ParseUint(text, 10, 64); err == nil {
			return append(out, text...), nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("Invalid number: %s cannot be stored as FLOAT64", text)
	}
	if shortest := FormatFloat(f); !p.round && significant(text) != significant(shortest) {
		return nil, fmt.Errorf("cannot round-trip %s through float64", text)
	}
	return append(out, FormatFloat(f)...), nil
}

// FormatFloat writes a number with the fewest digits, and a point or exponent.
func FormatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return map[bool]string{true: "Infinity", false: "-Infinity"}[f > 0]
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e15) {
		format = 'e'
	}
	s := strconv.FormatFloat(f, format, -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// significant returns the digits of a number without those zeros that do not count,
// and its exponent.
func significant(s string) string {
	s = strings.ToLower(s)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	mantissa, exp, _ := strings.Cut(s, "e")
	e, _ := strconv.Atoi(exp)
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	e += len(whole) - (len(whole+fraction) - len(digits))
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return sign + "0"
	}
	return sign + digits + "e" + strconv.Itoa(e)
}

// Member is a member of a JSON object, with its value as it was written.
type Member struct {
	Name  string
	Value []byte
}

// Members returns the members of an object in their order.
func Members(text []byte) ([]Member, error) {
	p := jsonParser{text: text, round: true}
	if err := p.symbol('{'); err != nil {
		return nil, err
	}
	var members []Member
	if p.blank(); p.at < len(text) && text[p.at] == '}' {
		p.at++
		return members, p.end()
	}
	for {
		if p.blank(); p.at == len(text) || text[p.at] != '"' {
			return nil, fmt.Errorf("expected a key at %d", p.at)
		}
		name, err := p.string()
		if err != nil {
			return nil, err
		}
		if err := p.symbol(':'); err != nil {
			return nil, err
		}
		p.blank()
		start := p.at
		if err := p.skip(); err != nil {
			return nil, err
		}
		members = append(members, Member{name, text[start:p.at]})
		more, err := p.more('}')
		if err != nil {
			return nil, err
		}
		if !more {
			return members, p.end()
		}
	}
}

func (p *jsonParser) end() error {
	if p.blank(); p.at < len(p.text) {
		return fmt.Errorf("unexpected %q after the object", p.text[p.at])
	}
	return nil
}

// skip passes over a value, of which it checks only where it ends.
func (p *jsonParser) skip() error {
	if p.at == len(p.text) {
		return errTruncated
	}
	switch p.text[p.at] {
	case '"':
		return p.skipString()
	case '{', '[':
		depth := 0
		for p.at < len(p.text) {
			switch p.text[p.at] {
			case '"':
				if err := p.skipString(); err != nil {
					return err
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if p.at++; depth == 0 {
				return nil
			}
		}
		return errTruncated
	}
	_, err := p.value(nil, 0)
	return err
}

func (p *jsonParser) skipString() error {
	for p.at++; p.at < len(p.text); p.at++ {
		switch p.text[p.at] {
		case '\\':
			p.at++
		case '"':
			p.at++
			return nil
		}
	}
	return errTruncated
}
