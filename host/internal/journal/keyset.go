package journal

import "encoding/binary"

// keySet is a set of keys with open addressing. Keys are hashes, so that their
// bits need no further mixing. The zero key, which one hash in 2^128 is, marks
// empty slots and is never found to be new.
type keySet struct {
	slots []Key
	used  int
}

// add adds the key and reports whether it is new.
func (s *keySet) add(k Key) bool {
	if 4*(s.used+1) > 3*len(s.slots) {
		s.grow()
	}
	at := s.place(k)
	if s.slots[at] == k {
		return false
	}
	s.slots[at] = k
	s.used++
	return true
}

// has reports whether the key is in the set.
func (s *keySet) has(k Key) bool { return s.used > 0 && s.slots[s.place(k)] == k }

// place returns the slot of the key, or the empty slot where add would put it.
func (s *keySet) place(k Key) int {
	mask := len(s.slots) - 1
	at := int(binary.LittleEndian.Uint64(k[8:])) & mask
	for s.slots[at] != (Key{}) && s.slots[at] != k {
		at = (at + 1) & mask
	}
	return at
}

func (s *keySet) grow() {
	old := s.slots
	s.slots = make([]Key, max(2*len(old), 1024))
	// Fresh memory that is read before it is written costs a page fault more.
	clear(s.slots)
	for _, k := range old {
		if k != (Key{}) {
			s.slots[s.place(k)] = k
		}
	}
}
