package collector

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
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
	text, ok := unpadded(text)
	if !ok {
		return encoded{}, false
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

// unpadded returns text without the padding at its end, and reports whether there is none
// elsewhere.
func unpadded(text []byte) ([]byte, bool) {
	i := bytes.IndexByte(text, '=')
	if i < 0 {
		return text, true
	}
	return text[:i], len(bytes.Trim(text[i:], "= \t\r\n")) == 0
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

// usualStep is how many digits of the usual alphabet are decoded at once: into how many bytes.
const usualStep, usualBytes = 8, 6

// notUsual marks, in usualDigits, all but the digits of the usual alphabet.
const notUsual = 1 << 31

// usualDigits are the values of digits at the four places of a group, as bits of its 24.
var usualDigits = func() (values [4][256]uint32) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for place := range values {
		for i := range values[place] {
			values[place][i] = notUsual
		}
		for i := range len(alphabet) {
			values[place][alphabet[i]] = uint32(i) << (18 - 6*place)
		}
	}
	return values
}()

// decodeUsual decodes JSON in place that is encoded as most clients do it: in the usual
// alphabet, with nothing between the digits. It looks at each of them once. Other text is left
// as it is.
func decodeUsual(text []byte) (decoded []byte, ok bool) {
	digits, ok := unpadded(text)
	if !ok {
		return nil, false
	}
	var start [startStep]byte
	n := decodeSteps(start[:copy(start[:], digits)])
	if !isJSON(start[:n/usualStep*usualBytes]) {
		return nil, false
	}
	n = decodeSteps(digits)
	var last [usualBytes]byte
	if rest := digits[n:]; len(rest) < usualStep {
		if m, err := base64.RawStdEncoding.Decode(last[:], rest); err == nil {
			return append(digits[:n/usualStep*usualBytes], last[:m]...), true
		}
	}
	encodeSteps(digits, n)
	return nil, false
}

// decodeSteps decodes steps in place, up to the first one with anything else than usual
// digits. It returns how many digits it has decoded.
func decodeSteps(text []byte) (n int) {
	a, b, c, d := &usualDigits[0], &usualDigits[1], &usualDigits[2], &usualDigits[3]
	for to := 0; n+usualStep <= len(text); n, to = n+usualStep, to+usualBytes {
		s := text[n : n+usualStep]
		first := a[s[0]] | b[s[1]] | c[s[2]] | d[s[3]]
		second := a[s[4]] | b[s[5]] | c[s[6]] | d[s[7]]
		if (first|second)&notUsual != 0 {
			break
		}
		// The two bytes behind the six were read before.
		binary.BigEndian.PutUint64(text[to:], (uint64(first)<<24|uint64(second))<<16)
	}
	return n
}

// encodeSteps takes back that decodeSteps has decoded n digits.
func encodeSteps(text []byte, n int) {
	for n > 0 {
		n -= usualStep
		step := [usualBytes]byte(text[n/usualStep*usualBytes:])
		base64.RawStdEncoding.Encode(text[n:], step[:])
	}
}
