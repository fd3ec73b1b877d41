package swar

import (
	"encoding/binary"
	"math/bits"
)

const (
	// Ones has 1 in each byte: c*Ones is a word of eight bytes c.
	Ones = 0x0101010101010101
	// Highs has the highest bit of each byte.
	Highs = 0x80 * Ones

	lows = 0x7f * Ones // all other bits
)

// Zeros returns a word with the highest bit of each byte of w that is 0. It may have that
// of bytes 1 that follow one of them, too: the first one is certain, and that there is one.
func Zeros(w uint64) uint64 { return (w - Ones) &^ w & Highs }

// First returns which byte is the first whose highest bit is set in marks; 8: none.
func First(marks uint64) int { return bits.TrailingZeros64(marks) >> 3 }

// NotDigits returns a word with the highest bit of each byte of w that is not one of '0' to
// '9'.
func NotDigits(w uint64) uint64 {
	w ^= '0' * Ones
	return (w&lows + (0x80-10)*Ones | w) & Highs
}

// ZeroBits returns eight bits: bit i is set if byte i of w is 0. It is exact, and takes
// twice as long as Zeros.
func ZeroBits(w uint64) uint64 {
	w = ^((w&lows + lows) | w) & Highs
	return w * 0x0002040810204081 >> 56
}

// HeadSize is how many bytes of a text a Head has at most.
const HeadSize = 24

// Head is the first HeadSize bytes of a text, or all of a shorter one, to be compared with
// other text without a loop.
type Head struct{ word, mask [HeadSize / 8]uint64 }

// NewHead returns the head of a text.
func NewHead(text string) (h Head) {
	var first [HeadSize]byte
	n := copy(first[:], text)
	for k := range h.word {
		h.word[k] = binary.LittleEndian.Uint64(first[8*k:])
		if left := n - 8*k; left >= 8 {
			h.mask[k] = ^uint64(0)
		} else if left > 0 {
			h.mask[k] = 1<<(8*left) - 1
		}
	}
	return h
}

// Begins reports whether text of HeadSize bytes, given as three words, begins with h.
func (h *Head) Begins(a, b, c uint64) bool {
	return (a^h.word[0])&h.mask[0]|(b^h.word[1])&h.mask[1]|(c^h.word[2])&h.mask[2] == 0
}
