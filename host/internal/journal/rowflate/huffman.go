package rowflate

import (
	"math/bits"
	"slices"
)

// The alphabets of RFC 1951, section 3.2.5: literals, the end of the block and match
// lengths in one, match distances in the other.
const (
	literals  = 286
	distances = 30
	endOfData = 256
	maxLength = 258
	minLength = 3
	window    = 32 << 10
)

// codeBits is the most bits of a code. DEFLATE allows 15; with 14, four literals fit into
// the 57 bits that are free after a write.
const codeBits = 14

var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}

	// lengthSymbol are symbols less 257 by length.
	lengthSymbol = lengthSymbols()
)

func lengthSymbols() (symbols [maxLength + 1]uint8) {
	for s, base := range lengthBase {
		for n := int(base); n < int(base)+1<<lengthExtra[s] && n <= maxLength; n++ {
			symbols[n] = uint8(s) // 258 has two: the last, without extra bits, counts
		}
	}
	return symbols
}

// distanceSymbol returns the symbol of a distance less 1.
func distanceSymbol(d int) int {
	extra := bits.Len32(uint32(d) >> 2)
	return 2*extra + d>>extra
}

// distanceExtra returns how many extra bits a symbol has, and firstDistance its nearest
// distance, less 1.
func distanceExtra(symbol int) int { return max(symbol/2-1, 0) }
func firstDistance(symbol int) int {
	extra := distanceExtra(symbol)
	return (symbol - 2*extra) << extra
}

// distanceIndex returns the index of a distance less 1 among those with symbols of their
// own: one index for each of the 256 nearest, and one for 128 at a time beyond these.
func distanceIndex(d uint32) uint32 {
	if d >= 256 {
		return 256 + d>>7
	}
	return d
}

// indexed returns the first distance less 1 of an index; that of an index which no distance
// has is one of the 256 nearest.
func indexed(index int) int {
	if index >= 256 {
		return (index - 256) << 7
	}
	return index
}

// lengths sets code lengths of most bits at most for symbols by their counts; 0 for those
// that do not occur. One that occurs alone gets 1 bit.
func (h *huffman) lengths(into []uint8, counts []uint32, most int) {
	clear(into)
	leaves := 0
	for symbol, n := range counts {
		if n > 0 {
			h.leaves[leaves] = uint64(n)<<16 | uint64(symbol)
			leaves++
		}
	}
	if leaves < 2 {
		if leaves == 1 {
			into[h.leaves[0]&0xffff] = 1
		}
		return
	}
	slices.Sort(h.leaves[:leaves])
	// Counts that differ less make a flatter tree.
	for shift := 16; h.depths(leaves, shift) > most; shift++ {
	}
	for i, leaf := range h.leaves[:leaves] {
		into[leaf&0xffff] = h.depth[i]
	}
}

// huffman is the memory for building codes.
type huffman struct {
	leaves [literals]uint64 // count and symbol, ascending
	weight [2 * literals]uint64
	parent [2 * literals]int16
	depth  [2 * literals]uint8
}

// depths joins the two lightest nodes again and again, and returns how deep the deepest
// of the sorted leaves lies. A leaf's weight is its count without the last bits, and at
// least 1.
func (h *huffman) depths(leaves, bits int) int {
	for i, leaf := range h.leaves[:leaves] {
		h.weight[i] = max(leaf>>bits, 1)
	}
	leaf, inner := 0, leaves
	last := 2*leaves - 2
	for n := leaves; n <= last; n++ {
		h.weight[n] = 0
		for range 2 {
			k := inner
			if leaf < leaves && (inner >= n || h.weight[leaf] <= h.weight[inner]) {
				k = leaf
				leaf++
			} else {
				inner++
			}
			h.weight[n] += h.weight[k]
			h.parent[k] = int16(n)
		}
	}
	deepest := uint8(0)
	h.depth[last] = 0
	for i := last - 1; i >= 0; i-- {
		h.depth[i] = h.depth[h.parent[i]] + 1
		deepest = max(deepest, h.depth[i])
	}
	return int(deepest)
}

// canonical sets the codes that lengths stand for, with their bits in the order in
// which DEFLATE writes them.
func canonical(codes []uint16, lengths []uint8) {
	var count, next [16]int
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	code := 0
	for n := 1; n < len(next); n++ {
		code = (code + count[n-1]) << 1
		next[n] = code
	}
	for i, n := range lengths {
		if n > 0 {
			codes[i] = bits.Reverse16(uint16(next[n])) >> (16 - n)
			next[n]++
		}
	}
}
