package ingest

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/penstock-io/penstock/host/internal/swar"
)

// outline returns the length of the object that text begins with, if quotes and brackets
// alone decide where it ends; 0: they do not, and the whole JSON has to be looked at.
//
// It reads 64 bytes at a time as masks, in which bit i stands for byte i:
//
//	text      {"a":"x}","b":[1]},{"a":"y"}
//	quotes    .1.1.1..1.1.1...............   without escaped ones
//	strings   .11..111..11................   exclusive or of all quotes up to here
//	brackets  1.....1.......1.111.........
//	outside   1.............1.111.........   brackets and not strings
//	depth     1             2 10             the object has 18 bytes
//
// The object may be broken JSON all the same, such as {"a":nul}. The splitter then looks
// for the bracket that closes it, or for an object inside that could be the next record.
// So outline decides nothing if such an object is there, nor about text that has control
// characters, such as the end of a line: the result is that of a strict scan followed,
// if it fails, by resync.
func outline(text []byte) int {
	var (
		strings uint64 // all ones while a block begins in a string
		escapes uint64 // 1 if its first byte is behind a backslash
		depth   int
		key     []byte
	)
	for at := 0; at+64 <= len(text); at += 64 {
		m := maskOf(text[at : at+64])
		if m.backslashes != 0 {
			escapes = m.escape(escapes)
		} else {
			m.quotes &^= escapes
			escapes = 0
		}
		inside := prefixXOR(m.quotes) ^ strings
		strings = uint64(int64(inside) >> 63)
		stop := bits.TrailingZeros64(m.controls | m.backslashes&^inside)
		for rest := m.brackets; rest != 0; rest &= rest - 1 {
			i := bits.TrailingZeros64(rest)
			if i > stop {
				return 0
			}
			c := text[at+i]
			if c == '{' && at+i > 0 {
				if key == nil {
					key = firstKey(text)
				}
				if mayBegin(text, at+i, key) {
					return 0
				}
			}
			if inside>>i&1 == 1 {
				continue
			}
			switch c {
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			default:
				return 0
			}
			if depth == 0 {
				return decided(text, at+i+1)
			}
		}
		if stop < 64 {
			return 0
		}
	}
	return 0
}

// beyond is how many bytes behind an object must be there: a scan that fails so close to
// the end of the text could mean that more is to come.
const beyond = 16

// decided returns n if an object of n bytes is one whose end is certain, or 0.
func decided(text []byte, n int) int {
	if text[n-1] != '}' || n+beyond > len(text) || n > maxOutline {
		return 0
	}
	return n
}

// maxOutline is the largest object whose end outline decides, in bytes.
const maxOutline = 1 << 20

// mayBegin reports whether the brace at a place of an object can begin the next record,
// if the object turns out to be broken; see resync.begins.
func mayBegin(text []byte, at int, key []byte) bool {
	if before := bytes.TrimRight(text[:at], " "); before[len(before)-1] == ':' {
		return false
	}
	rest := bytes.TrimLeft(text[at+1:min(len(text), at+maxKey)], " \t\r\n")
	if len(rest) == 0 {
		return true
	}
	if rest[0] != '"' {
		return false
	}
	n := bytes.IndexByte(rest[1:], '"')
	return n < 0 || bytes.Equal(rest[1:1+n], key) || slices.Contains(recordKeys, string(rest[1:1+n]))
}

// mask tells where bytes of a kind are in 64 bytes of text.
type mask struct {
	quotes      uint64
	brackets    uint64 // and the letters Y and y, the underscore and DEL
	backslashes uint64
	controls    uint64 // bytes below 0x20
}

// The brackets [ ] { } are 'Y' without the bits of notBracket, and so are few other bytes.
const notBracket = 0x26 * swar.Ones

// maskOf returns the mask of 64 bytes.
func maskOf(block []byte) (m mask) {
	var rare uint64
	for i := 0; i < 64; i += 8 {
		x := binary.LittleEndian.Uint64(block[i : i+8])
		m.quotes |= swar.ZeroBits(x^'"'*swar.Ones) << i
		m.brackets |= swar.ZeroBits(x&^notBracket^'Y'*swar.Ones) << i
		slash := x ^ '\\'*swar.Ones
		rare |= (slash-swar.Ones)&^slash | (x-0x20*swar.Ones)&^x
	}
	if rare&swar.Highs == 0 {
		return m
	}
	for i := 0; i < 64; i += 8 {
		x := binary.LittleEndian.Uint64(block[i : i+8])
		m.backslashes |= swar.ZeroBits(x^'\\'*swar.Ones) << i
		m.controls |= swar.ZeroBits(x&(0xe0*swar.Ones)) << i
	}
	return m
}

// escape takes away the quotes that are behind a backslash. first is 1 if the byte at the
// beginning is. It returns the value of first for the bytes that follow.
func (m *mask) escape(first uint64) uint64 {
	escaped := first
	for rest := m.backslashes &^ first; rest != 0; {
		i := bits.TrailingZeros64(rest)
		rest &= rest - 1
		if i == 63 {
			m.quotes &^= escaped
			return 1
		}
		escaped |= 2 << i
		rest &^= 2 << i
	}
	m.quotes &^= escaped
	return 0
}

// prefixXOR returns, for each bit, the exclusive or of the bits up to it.
func prefixXOR(x uint64) uint64 {
	x ^= x << 1
	x ^= x << 2
	x ^= x << 4
	x ^= x << 8
	x ^= x << 16
	return x ^ x<<32
}
