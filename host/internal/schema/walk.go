package schema

import (
	"bytes"
	"unicode/utf8"
)

// Compact appends a JSON value without the white space between its tokens to
// dst. The value is valid.
func Compact(dst, value []byte) []byte {
	for i := 0; i < len(value); {
		switch value[i] {
		case ' ', '\t', '\n', '\r':
			i++
		case '"':
			end := skipString(value, i)
			if end < 0 {
				end = len(value)
			}
			dst = append(dst, value[i:end]...)
			i = end
		default:
			dst = append(dst, value[i])
			i++
		}
	}
	return dst
}

// compact reports whether a valid value has no white space between its tokens.
func compact(value []byte) bool {
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case ' ', '\t', '\n', '\r':
			return false
		case '"':
			i = skipString(value, i) - 1
		}
	}
	return true
}

// Members calls fn with name and value of each member of a compact JSON object,
// in order, until it returns false. Names come without their quotes and as they
// are written. It returns false if the value is not a compact object; fn may have
// been called before.
func Members(object []byte, fn func(name, value []byte) bool) bool {
	if len(object) < 2 || object[0] != '{' || object[len(object)-1] != '}' {
		return false
	}
	for i := 1; i < len(object)-1; i++ { // past a brace or comma
		if object[i] != '"' {
			return false
		}
		colon := skipString(object, i)
		if colon < 0 || colon == len(object) || object[colon] != ':' {
			return false
		}
		end := SkipValue(object, colon+1)
		if end < 0 || end == len(object) || object[end] != ',' && end != len(object)-1 {
			return false
		}
		if !fn(object[i+1:colon-1], object[colon+1:end]) {
			return true
		}
		i = end
	}
	return true
}

// Elements calls fn with each element of a compact JSON array, in order, until
// it returns false. It returns false if the value is not a compact array; fn may
// have been called before.
func Elements(array []byte, fn func(value []byte) bool) bool {
	if len(array) < 2 || array[0] != '[' || array[len(array)-1] != ']' {
		return false
	}
	for i := 1; i < len(array)-1; i++ { // past a bracket or comma
		end := SkipValue(array, i)
		if end < 0 || end == len(array) || array[end] != ',' && end != len(array)-1 {
			return false
		}
		if !fn(array[i:end]) {
			return true
		}
		i = end
	}
	return true
}

// SkipValue returns where the value at i of compact JSON ends, and a negative number
// where there is none.
func SkipValue(data []byte, i int) int {
	if i >= len(data) {
		return -1
	}
	switch data[i] {
	case '"':
		return skipString(data, i)
	case '{', '[':
		return skipNested(data, i)
	case ',', ':', '}', ']':
		return -1
	}
	for i++; i < len(data); i++ {
		switch data[i] {
		case ',', '}', ']':
			return i
		}
	}
	return i
}

func skipNested(data []byte, i int) int {
	depth := 0
	for ; i < len(data); i++ {
		switch data[i] {
		case '"':
			if i = skipString(data, i) - 1; i < 0 {
				return -1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// skipString returns where the string whose quote is at i ends, or -1.
func skipString(data []byte, i int) int {
	for at := i + 1; ; {
		n := bytes.IndexByte(data[at:], '"')
		if n < 0 {
			return -1
		}
		quote := at + n
		slashes := 0
		for data[quote-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return quote + 1
		}
		at = quote + 1
	}
}

// Unescape returns the text of a valid JSON string, given without its quotes. An
// escaped surrogate that has no partner becomes the three bytes that UTF-8 would
// have for it, so that two of them stay different.
func Unescape(text []byte) string {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text)
	}
	return string(unescape(nil, text))
}

// AppendEscaped appends the inside of the JSON string that stands for s, in the
// one spelling that rows have: only the quote, the backslash, control characters and
// surrogates are escaped. It reverses Unescape.
func AppendEscaped(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		short := shortEscapes[c]
		switch {
		case short != 0:
			dst = append(append(dst, s[start:i]...), '\\', short)
		case c < ' ':
			dst = append(append(dst, s[start:i]...), '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c == 0xed && surrogate(s[i:]) != 0:
			r := surrogate(s[i:])
			dst = append(append(dst, s[start:i]...), '\\', 'u', 'd', digits[r>>8&15], digits[r>>4&15], digits[r&15])
			i += 2
		default:
			continue
		}
		start = i + 1
	}
	return append(dst, s[start:]...)
}

var shortEscapes = [256]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// surrogate is the surrogate that s begins with, or 0.
func surrogate(s string) rune {
	if len(s) < 3 || s[0] != 0xed || s[1]&0xe0 != 0xa0 || s[2]&0xc0 != 0x80 {
		return 0
	}
	return 0xd000 | rune(s[1]&0x3f)<<6 | rune(s[2]&0x3f)
}

// validText reports whether some JSON string stands for s: it is UTF-8, but for
// surrogates that have no partner.
func validText(s string) bool {
	if utf8.ValidString(s) {
		return true
	}
	high := false // a high surrogate is right before
	for len(s) > 0 {
		if r := surrogate(s); r != 0 {
			if high && r >= 0xdc00 {
				return false
			}
			high, s = r < 0xdc00, s[3:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			return false
		}
		high, s = false, s[n:]
	}
	return true
}
