package rowflate

import "math/bits"

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zeros has the highest bit set of each byte of w that is 0, and perhaps of some behind
// the first of them.
func zeros(w uint64) uint64 { return (w - ones) &^ w & highs }

// valueEnd returns the place after the value that begins at i: behind the closing quote
// of a string, and before the comma or bracket that ends anything else. Without that it
// is the end of the rows; it always lies after i.
func (r reader) valueEnd(i int) int {
	if r.byte(i) != '"' {
		for i++; i < r.n; i += 8 {
			w := r.word(i)
			if found := zeros(w^','*ones) | zeros(w^'}'*ones) | zeros(w^']'*ones); found != 0 {
				i += bits.TrailingZeros64(found) >> 3
				break
			}
		}
		return min(i, r.n)
	}
	for i++; i < r.n; {
		w := r.word(i)
		found := zeros(w^'"'*ones) | zeros(w^'\\'*ones)
		if found == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(found) >> 3
		if i >= r.n || r.byte(i) == '"' {
			i++
			break
		}
		i += 2
	}
	return min(i, r.n)
}

// common returns how many bytes at a and at b, the later place, are equal.
func (r reader) common(a, b int) int {
	start := b
	for b < r.n {
		if x := r.word(a) ^ r.word(b); x != 0 {
			return min(b+bits.TrailingZeros64(x)>>3, r.n) - start
		}
		a += 8
		b += 8
	}
	return r.n - start
}
