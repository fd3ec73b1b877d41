package collector

import (
	"bytes"
	"encoding/base64"
)

// encoded is text that is certain to decode as base64: in the usual alphabet or
// that of URLs, with padding or without, with a space for each plus of a form
// that was not escaped, and with line breaks.
type encoded struct {
	digits   []byte           // without padding
	encoding *base64.Encoding // nil: digits are of several spellings
}

// The classes of characters.
const (
	digit   = 1 << iota // of every alphabet
	usual               // + and /
	urlSafe             // - and _
	plus                // a space: a plus that was not escaped
	skipped             // line breaks
	unknown
)

var classes = func() (c [256]uint8) {
	for i := range c {
		c[i] = unknown
	}
	for i := range 26 {
		c['A'+i], c['a'+i] = digit, digit
	}
	for i := range 10 {
		c['0'+i] = digit
	}
	c['+'], c['/'], c['-'], c['_'], c[' '] = usual, usual, urlSafe, urlSafe, plus
	c['\n'], c['\r'], c['\t'] = skipped, skipped, skipped
	return c
}()

// parseBase64 reports whether text is base64. Nothing is changed: decode does
// that.
func parseBase64(text []byte) (encoded, bool) {
	if i := bytes.IndexByte(text, '='); i >= 0 {
		if len(bytes.Trim(text[i:], "= \t\r\n")) > 0 {
			return encoded{}, false
		}
		text = text[:i]
	}
	seen := classesOf(text)
	e := encoded{digits: text}
	n := len(text)
	switch {
	case seen&unknown != 0:
		return encoded{}, false
	case seen&^(digit|usual) == 0:
		e.encoding = base64.RawStdEncoding
	case seen&^(digit|urlSafe) == 0:
		e.encoding = base64.RawURLEncoding
	case seen&skipped != 0:
		for _, c := range text {
			if classes[c] == skipped {
				n--
			}
		}
	}
	// One digit alone at the end stands for nothing.
	return e, n%4 != 1
}

// classesOf returns the classes of all characters of text.
func classesOf(text []byte) (seen uint8) {
	for len(text) >= 8 {
		t := text[:8]
		seen |= classes[t[0]] | classes[t[1]] | classes[t[2]] | classes[t[3]] | classes[t[4]] | classes[t[5]] | classes[t[6]] | classes[t[7]]
		text = text[8:]
	}
	for _, c := range text {
		seen |= classes[c]
	}
	return seen
}

const (
	decodeStep = 4 << 10 // digits that are decoded at once
	startStep  = 1 << 10 // digits of a start
)

// start decodes the beginning: enough to recognise JSON, unless much white space
// comes first.
func (e encoded) start() []byte {
	e.digits = bytes.Clone(e.digits[:min(len(e.digits), startStep)])
	return e.decode()
}

// decode decodes in place.
func (e encoded) decode() []byte {
	var step [decodeStep]byte
	n, rest := 0, e.digits
	for len(rest) > 0 {
		taken, digits := e.next(step[:], rest)
		rest = rest[taken:]
		// Decoded bytes end before the digits that are still to be read. They
		// decode: parseBase64 has looked at them, and a digit that start has cut
		// off from its group is left out.
		encoding := e.encoding
		if encoding == nil {
			encoding = base64.RawStdEncoding
		}
		m, _ := encoding.Decode(e.digits[n:], step[:digits])
		n += m
	}
	return e.digits[:n]
}

// next fills a step with digits: all that it has room for, or all there are. It
// returns how much of text was read and how many digits there are.
func (e encoded) next(step, text []byte) (taken, digits int) {
	if e.encoding != nil {
		n := copy(step, text)
		return n, n
	}
	for taken < len(text) && digits < len(step) {
		c := text[taken]
		taken++
		switch classes[c] {
		case skipped:
			continue
		case plus:
			c = '+'
		case urlSafe:
			c = '+'
			if text[taken-1] == '_' {
				c = '/'
			}
		}
		step[digits] = c
		digits++
	}
	return taken, digits
}
