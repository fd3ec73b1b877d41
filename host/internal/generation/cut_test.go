package generation

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// leaf is rows of one hash.
type leaf struct {
	hash uint64
	size int
}

// divide cuts leaves as doc.go says it: a prefix that fits is a block, one that
// does not is two.
func divide(leaves []leaf, limit, bit int) (blocks [][]leaf) {
	size := 0
	for _, l := range leaves {
		size += l.size
	}
	switch {
	case len(leaves) == 0:
		return nil
	case size <= limit || len(leaves) == 1:
		return [][]leaf{leaves}
	}
	at := slices.IndexFunc(leaves, func(l leaf) bool { return l.hash<<bit>>63 == 1 })
	if at < 0 {
		at = len(leaves)
	}
	return append(divide(leaves[:at], limit, bit+1), divide(leaves[at:], limit, bit+1)...)
}

// randomLeaves have hashes that share prefixes of any length.
func randomLeaves(r *rand.Rand, n int) []leaf {
	hashes := map[uint64]int{}
	last := uint64(0)
	for range n {
		h := r.Uint64()
		if r.IntN(2) == 0 {
			h = last ^ 1<<r.IntN(64)
		}
		last = h
		hashes[h] = r.IntN(12) * r.IntN(12)
	}
	var leaves []leaf
	for h, size := range hashes {
		leaves = append(leaves, leaf{h, 1 + size})
	}
	slices.SortFunc(leaves, func(a, b leaf) int {
		if a.hash < b.hash {
			return -1
		}
		return 1
	})
	return leaves
}

func TestCuts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	const limit = 100
	for range 20000 {
		leaves := randomLeaves(r, r.IntN(40))
		var got [][]leaf
		rest := leaves
		most := 0
		var c cutter
		c = cutter{limit: limit, emit: func(pieces []piece) error {
			if c.size > most {
				most = c.size
			}
			size, n := 0, 0
			for _, p := range pieces {
				if p.old != nil {
					t.Error("an old block")
				}
				size += p.size
			}
			for size > 0 {
				size -= rest[n].size
				n++
			}
			if size < 0 || n == 0 {
				t.Errorf("a block of %d rows ends within a row", n)
			}
			got = append(got, rest[:n])
			rest = rest[n:]
			return nil
		}}
		for _, l := range leaves {
			for left := l.size; left > 0; { // rows of one hash
				size := 1 + r.IntN(left)
				if err := c.add(l.hash, l.hash, piece{size: size}); err != nil {
					t.Fatal(err)
				}
				left -= size
			}
		}
		if err := c.finish(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(divide(leaves, limit, 0), got, cmp.AllowUnexported(leaf{})); diff != "" {
			t.Fatalf("%v: %s", leaves, diff)
		}
		if most > limit+12*12 {
			t.Fatalf("%d bytes were pending", most)
		}
	}
}
