package rowflate

import (
	"math/rand/v2"
	"testing"
)

// Whatever the counts are, codes are complete, none is longer than allowed, and a
// symbol that occurs more often has no longer code.
func TestCodesAreComplete(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h huffman
	for range 2000 {
		counts := make([]uint32, 2+r.IntN(literals-2))
		used := 0
		for i := range counts {
			if r.IntN(3) > 0 {
				counts[i] = uint32(1) << r.IntN(1+r.IntN(28)) // some trees are deep
				used++
			}
		}
		if used < 2 {
			continue
		}
		lengths := make([]uint8, len(counts))
		most := 9 + r.IntN(4)
		h.lengths(lengths, counts, most)
		sum := 0
		for i, n := range lengths {
			if int(n) > most || (n == 0) != (counts[i] == 0) {
				t.Fatalf("symbol %d, which occurs %d times, has a code of %d bits, of %d at most", i, counts[i], n, most)
			}
			if n > 0 {
				sum += 1 << (most - int(n))
			}
			for k := range i {
				if counts[k] > counts[i] && counts[i] > 0 && lengths[k] > n {
					t.Fatalf("%d times takes %d bits, and %d times %d", counts[k], lengths[k], counts[i], n)
				}
			}
		}
		if sum != 1<<most {
			t.Fatalf("the codes are not complete: %d of %d", sum, 1<<most)
		}
	}
}

// Symbols and extra bits of RFC 1951, section 3.2.5.
func TestSymbols(t *testing.T) {
	for length, want := range map[int]uint8{3: 0, 10: 7, 11: 8, 12: 8, 66: 19, 67: 20, 257: 27, 258: 28} {
		if s := lengthSymbol[length]; s != want {
			t.Errorf("length %d has symbol %d, want %d", length, 257+int(s), 257+int(want))
		}
	}
	for distance, want := range map[int]int{1: 0, 4: 3, 5: 4, 6: 4, 7: 5, 256: 15, 257: 16, 384: 16, 385: 17, 24577: 29, 32768: 29} {
		if s := distanceSymbol(distance - 1); s != want {
			t.Errorf("distance %d has symbol %d, want %d", distance, s, want)
		}
	}
}

func FuzzLengths(f *testing.F) {
	f.Add([]byte{1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var h huffman
		counts := make([]uint32, min(len(raw), literals))
		for i := range counts {
			counts[i] = 1 << (raw[i] % 32) >> 1
		}
		lengths := make([]uint8, len(counts))
		h.lengths(lengths, counts, codeBits)
		sum := 0
		for _, n := range lengths {
			if n > 0 {
				sum += 1 << (codeBits - n)
			}
		}
		if sum > 1<<codeBits {
			t.Errorf("the codes are not free of prefixes: %v", lengths)
		}
	})
}
