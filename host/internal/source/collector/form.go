package collector

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/penstock-io/penstock/host/internal/swar"
)

// maxCallback is the most bytes of a callback's name.
const maxCallback = 128

// parameters are those of a query or a form. Of a parameter that is there twice
// the first counts.
type parameters struct {
	data                                   []byte // nil: none
	verbose, ip, img, strict               bool
	callback, redirect, projectID, apiKey  string
	seenVerbose, seenIP, seenImg, seenRule bool
}

// parse reads the pairs of a query or form. data is a part of text, decoded in
// place; nothing else of text is changed.
func (p *parameters) parse(text []byte) {
	for len(text) > 0 {
		pair, rest, _ := bytes.Cut(text, []byte("&"))
		text = rest
		name, value, _ := bytes.Cut(pair, []byte("="))
		if len(name) > 3*len("project_id") {
			continue
		}
		p.set(unescaped(name), value)
	}
}

func (p *parameters) set(name string, value []byte) {
	switch name {
	case "data":
		if p.data == nil {
			p.data = unescape(value)
		}
	case "verbose":
		yes(&p.verbose, &p.seenVerbose, value)
	case "ip":
		yes(&p.ip, &p.seenIP, value)
	case "img":
		yes(&p.img, &p.seenImg, value)
	case "strict":
		yes(&p.strict, &p.seenRule, value)
	case "callback":
		word(&p.callback, value)
	case "redirect":
		word(&p.redirect, value)
	case "project_id":
		word(&p.projectID, value)
	case "api_key":
		word(&p.apiKey, value)
	}
}

func yes(to, seen *bool, value []byte) {
	if !*seen {
		v := unescaped(value)
		*to, *seen = v == "1" || v == "true", true
	}
}

func word(to *string, value []byte) {
	if *to == "" {
		*to = unescaped(value)
	}
}

// unescaped is a name or a value without its escapes.
func unescaped(text []byte) string {
	if !bytes.ContainsAny(text, "%+") {
		return string(text)
	}
	return string(unescape(bytes.Clone(text)))
}

// unescape resolves percent escapes and pluses, in place. An invalid escape stays
// as it is.
func unescape(text []byte) []byte {
	first := bytes.IndexAny(text, "%+")
	if first < 0 {
		return text
	}
	n := first
	for i := first; i < len(text); {
		c := text[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(text) && hexes[text[i+1]] < 16 && hexes[text[i+2]] < 16:
			c = hexes[text[i+1]]<<4 | hexes[text[i+2]]
			i += 2
		}
		text[n] = c
		n, i = n+1, i+1
		// Base64 has an escape in some 30 bytes: those between are moved as words.
		for i+8 <= len(text) {
			word := binary.LittleEndian.Uint64(text[i:])
			if swar.Zeros(word^'%'*swar.Ones) != 0 || swar.Zeros(word^'+'*swar.Ones) != 0 {
				break
			}
			binary.LittleEndian.PutUint64(text[n:], word)
			n, i = n+8, i+8
		}
	}
	return text[:n]
}

// hexes are the values of hexadecimal digits; 16 marks other characters.
var hexes = func() (h [256]byte) {
	for i := range h {
		h[i] = 16
	}
	for i := range 10 {
		h['0'+i] = byte(i)
	}
	for i := range 6 {
		h['a'+i], h['A'+i] = byte(10+i), byte(10+i)
	}
	return h
}()

// isJSON reports whether a body begins like JSON of records.
func isJSON(body []byte) bool {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// records finds the JSON of records in the parameter data. It returns the
// parameter as it was sent when that is something else.
func (p *parameters) records() (text []byte, isRecords bool) {
	if isJSON(p.data) {
		return p.data, true
	}
	data := bytes.TrimSpace(p.data)
	if text, ok := decodeUsual(data); ok {
		return joinSurrogates(text), true
	}
	e, ok := parseBase64(data)
	if !ok || !isJSON(e.start()) {
		return p.data, false
	}
	return joinSurrogates(e.decode()), true
}

// joinSurrogates makes UTF-8 of the text that mixpanel-browser encodes as base64,
// in place: there a character beyond U+FFFF is two surrogates of three bytes each.
// One that stands alone, because the client has cut a string between the two,
// becomes U+FFFD.
func joinSurrogates(text []byte) []byte {
	first := bytes.IndexByte(text, surrogateLead)
	if first < 0 {
		return text
	}
	n := first
	for i := first; i < len(text); {
		r := surrogate(text[i:])
		if r == 0 {
			text[n] = text[i]
			n, i = n+1, i+1
			continue
		}
		i += surrogateLen
		if whole := utf16.DecodeRune(r, surrogate(text[i:])); whole != utf8.RuneError {
			r = whole
			i += surrogateLen
		}
		n += utf8.EncodeRune(text[n:], r)
	}
	return text[:n]
}

// A surrogate in three bytes, as UTF-8 would have it if it had any.
const (
	surrogateLead = 0xed
	surrogateLen  = 3
)

// surrogate is the one that text begins with, or 0.
func surrogate(text []byte) rune {
	if len(text) < surrogateLen || text[0] != surrogateLead || text[1]&0xe0 != 0xa0 || text[2]&0xc0 != 0x80 {
		return 0
	}
	return 0xd000 | rune(text[1]&0x3f)<<6 | rune(text[2]&0x3f)
}
