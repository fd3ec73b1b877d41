package schema

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/penstock-io/penstock/host/internal/swar"
	"github.com/penstock-io/penstock/sdk/batch"
)

// special marks the bytes of w that text stops at: quotes, backslashes and
// control characters, by their high bits. Above the first it may mark others.
func special(w uint64) uint64 {
	quote, slash, control := (w^'"'*swar.Ones)-swar.Ones, (w^'\\'*swar.Ones)-swar.Ones, w-' '*swar.Ones
	return (quote | slash | control) &^ w & swar.Highs
}

// text scans the string whose quote is at i, and reports whether it has escapes.
// The first sixteen bytes are looked at together: most strings end there, and
// where they end is then no branch to guess.
func (s *scanner) text(i int) (end int, escaped, ok bool) {
	data := s.data
	if i+17 > len(data) {
		return s.longText(i, i+1)
	}
	a, b := binary.LittleEndian.Uint64(data[i+1:]), binary.LittleEndian.Uint64(data[i+9:])
	x, y := special(a), special(b)
	n := 1
	seen := a
	if x == 0 {
		n, seen, x = 9, a|b, y
	}
	if x == 0 {
		if seen&swar.Highs != 0 {
			return s.longText(i, i+1)
		}
		return s.longText(i, i+17)
	}
	n += swar.First(x)
	if data[i+n] != '"' || seen&swar.Highs != 0 {
		return s.longText(i, i+1)
	}
	return i + n + 1, false, true
}

// longText continues at i the scan of the string whose quote is at start; the text
// between them has no escapes.
func (s *scanner) longText(start, i int) (end int, escaped, ok bool) {
	data := s.data
	var wide uint64 // high bits of the bytes that were passed
	for {
		// Sixteen bytes at a time, and then eight, up to a special one.
		for i+16 <= len(data) {
			a, b := binary.LittleEndian.Uint64(data[i:]), binary.LittleEndian.Uint64(data[i+8:])
			if special(a)|special(b) != 0 {
				break
			}
			wide |= a | b
			i += 16
		}
		for i+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[i:])
			if x := special(w); x != 0 {
				wide |= w & (x&-x - 1)
				i += swar.First(x)
				break
			}
			wide |= w
			i += 8
		}
		if i >= len(data) {
			return i, escaped, s.fail(InvalidJSON, i)
		}
		switch c := data[i]; {
		case c == '"':
			if wide&swar.Highs != 0 && !s.anyUTF8 && !utf8.Valid(data[start:i]) {
				return i, escaped, s.fail(InvalidUTF8, start)
			}
			return i + 1, escaped, true
		case c == '\\':
			escaped = true
			n := s.escape(i)
			if n == 0 {
				return i, escaped, s.fail(InvalidJSON, i)
			}
			i += n
		case c < ' ':
			return i, escaped, s.fail(InvalidJSON, i)
		default:
			// Fewer than eight bytes are left.
			wide |= uint64(c)
			i++
		}
	}
}

// escape returns the length of the escape at i, or 0 where there is none. It
// flags U+0000 and surrogates that have no partner.
func (s *scanner) escape(i int) int {
	n, lone := escapeAt(s.data, i)
	switch {
	case lone:
		s.flags |= batch.LoneSurrogate
	case n == 6 && string(s.data[i+2:i+6]) == "0000":
		s.flags |= batch.NUL
	}
	return n
}

// escapeAt returns the length of the escape whose backslash is at i, or 0 where
// there is none. A pair of surrogates is one escape; lone reports whether the
// escape is a surrogate that has no partner.
func escapeAt(data []byte, i int) (n int, lone bool) {
	if i+1 >= len(data) {
		return 0, false
	}
	switch data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, false
	case 'u':
	default:
		return 0, false
	}
	r, ok := hex4(data, i+2)
	switch {
	case !ok:
		return 0, false
	case r < 0xd800 || r > 0xdfff:
		return 6, false
	case r < 0xdc00 && i+7 < len(data) && data[i+6] == '\\' && data[i+7] == 'u':
		if low, ok := hex4(data, i+8); ok && low >= 0xdc00 && low <= 0xdfff {
			return 12, false
		}
	}
	return 6, true
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

// unescape appends the text of a valid string, given its inside.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			i++
			continue
		}
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
	return dst
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// literal scans true, false or null.
func (s *scanner) literal(i int) (end int, ok bool) {
	word := ""
	switch s.data[i] {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	default:
		return i, s.fail(InvalidJSON, i)
	}
	if len(s.data)-i < len(word) || string(s.data[i:i+len(word)]) != word {
		return i, s.fail(InvalidJSON, i)
	}
	return i + len(word), true
}

// alwaysHeld is up to how many characters a number without exponent is surely
// held by a double.
const alwaysHeld = 15

// number scans a number and flags one that a double does not hold.
func (s *scanner) number(i int) (end int, ok bool) {
	data, from := s.data, i
	if data[i] == '-' {
		i++
	}
	first := i
	i = digits(data, i)
	if i == first || data[first] == '0' && i > first+1 {
		return i, s.fail(InvalidJSON, min(first+1, i))
	}
	integer, exponent := true, false
	if i < len(data) && data[i] == '.' {
		integer = false
		fraction := i + 1
		if i = digits(data, fraction); i == fraction {
			return i, s.fail(InvalidJSON, i)
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		exponent = true
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		power := i
		if i = digits(data, power); i == power {
			return i, s.fail(InvalidJSON, i)
		}
	}
	if exponent || i-from > alwaysHeld {
		s.wide(data[from:i], integer && !exponent)
	}
	return i, true
}

// digits returns where the digits at i end.
func digits(data []byte, i int) int {
	for i+8 <= len(data) {
		if x := swar.NotDigits(binary.LittleEndian.Uint64(data[i:])); x != 0 {
			return i + swar.First(x)
		}
		i += 8
	}
	for i < len(data) && data[i]-'0' <= 9 {
		i++
	}
	return i
}

// wide flags an integer beyond ±2^53, a number that a finite double cannot hold,
// and one that a double would round.
func (s *scanner) wide(number []byte, integer bool) {
	if integer {
		if number[0] == '-' {
			number = number[1:]
		}
		// No number of more digits than 2^53 has is smaller: there are no leading
		// zeros.
		const most = "9007199254740992"
		if len(number) > len(most) || len(number) == len(most) && string(number) > most {
			s.flags |= batch.WideNumber
		}
		return
	}
	finite, exact := batch.FitsDouble(number)
	switch {
	case !finite:
		s.flags |= batch.WideNumber
	case !exact:
		s.flags |= batch.RoundedNumber
	}
}
