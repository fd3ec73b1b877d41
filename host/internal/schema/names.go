package schema

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/penstock-io/penstock/sdk/batch"
)

// names is the set of an open object's keys so far, by nine bits of their hash; the
// keys themselves begin at index first of scanner.keys.
type names struct {
	seen  [8]uint64
	first int
	look  bool // perhaps some key is there twice
}

func (n *names) begin(first int) { *n = names{first: first} }

// keySpan is a key of an open object.
type keySpan struct {
	span
	hash    uint32
	escaped bool
}

// fewKeys is up to how many keys an object is searched when a key's bits were
// seen before; a larger one is sorted, once, when it ends.
const fewKeys = 64

// enter enters a key into its object, and flags one that is there already.
func (s *scanner) enter(key span, escaped bool, n *names) {
	h := s.hash(key, escaped)
	word, bit := &n.seen[h>>6&7], uint64(1)<<(h&63)
	k := keySpan{key, h, escaped}
	if *word&bit != 0 {
		if len(s.keys)-n.first > fewKeys {
			n.look = true
		} else if s.repeated(k, s.keys[n.first:]) {
			s.flags |= batch.DuplicateKey
		}
	}
	*word |= bit
	s.keys = append(s.keys, k)
}

func (s *scanner) repeated(key keySpan, others []keySpan) bool {
	for _, k := range others {
		if k.hash == key.hash && s.compare(k, key) == 0 {
			return true
		}
	}
	return false
}

// leave forgets the keys of an object that ends.
func (s *scanner) leave(n *names) {
	if n.look && s.flags&batch.DuplicateKey == 0 {
		keys := s.keys[n.first:]
		slices.SortFunc(keys, s.compare)
		for i := range len(keys) - 1 {
			if s.compare(keys[i], keys[i+1]) == 0 {
				s.flags |= batch.DuplicateKey
				break
			}
		}
	}
	s.keys = s.keys[:n.first]
}

// compare orders keys by hash, then by their unescaped text.
func (s *scanner) compare(a, b keySpan) int {
	if a.hash != b.hash {
		return cmp.Compare(a.hash, b.hash)
	}
	s.compared++
	x, y := s.data[a.from+1:a.to-1], s.data[b.from+1:b.to-1]
	if a.escaped {
		s.scratch[0] = unescape(s.scratch[0][:0], x)
		x = s.scratch[0]
	}
	if b.escaped {
		s.scratch[1] = unescape(s.scratch[1][:0], y)
		y = s.scratch[1]
	}
	return bytes.Compare(x, y)
}

// hash mixes a key's length, beginning and end: keys of one object differ
// there nearly always, and those that do not are compared.
func (s *scanner) hash(key span, escaped bool) uint32 {
	from, n := key.from+1, key.to-key.from-2
	data := s.data
	if escaped {
		s.scratch[0] = append(unescape(s.scratch[0][:0], data[from:from+n]), 0, 0, 0, 0, 0, 0, 0, 0)
		data, from, n = s.scratch[0], 0, len(s.scratch[0])-8
	}
	var h uint64
	switch {
	case n >= 8:
		h = binary.LittleEndian.Uint64(data[from:]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(data[from+n-8:]), 29)
	case from+8 <= len(data):
		h = binary.LittleEndian.Uint64(data[from:]) & (1<<(8*n) - 1)
	default:
		for i := n - 1; i >= 0; i-- {
			h = h<<8 | uint64(data[from+i])
		}
	}
	h = (h ^ uint64(n)) * 0x9e3779b97f4a7c15
	return uint32(h >> 32)
}
