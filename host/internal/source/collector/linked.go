package collector

import "sync/atomic"

// linkKey is the hash of a link of a project on a day.
type linkKey [2]uint64

// linked remembers links that are in the log: clients send the same two ids with each
// event, and one row a day is enough. Links that it has forgotten are logged again, which
// is harmless. It may be used concurrently, and takes 2 MiB from the first link on.
//
// One half of a link's key chooses a set, which is a line of the processor's cache, and the
// other half is kept there. In a full set the link takes the place of one of the eight:
//
//	set 7    a1 b2 c3 d4 e5 f6 97 88
//	add      9c, whose place is 4 by other bits of its key
//	set 7    a1 b2 c3 d4 9c f6 97 88
type linked struct {
	sets atomic.Pointer[[linkSets]linkSet]
}

// linkSets is for the links of about 250,000 people a day.
const linkSets = 1 << 15

// linkSet holds halves of keys; 0: none.
type linkSet [8]atomic.Uint64

func (l *linked) has(k linkKey) bool {
	sets := l.sets.Load()
	if sets == nil {
		return false
	}
	set := &sets[k[0]%linkSets]
	for i := range set {
		if set[i].Load() == k.kept() {
			return true
		}
	}
	return false
}

// fetch brings the sets of links into the processor's cache, all at a time: each load that
// has to wait for memory waits together with the others.
func (l *linked) fetch(asked []askedLink) {
	sets := l.sets.Load()
	if sets == nil {
		return
	}
	for i := range asked {
		sets[asked[i].key[0]%linkSets][0].Load()
	}
}

func (l *linked) add(k linkKey) {
	sets := l.sets.Load()
	if sets == nil {
		l.sets.CompareAndSwap(nil, new([linkSets]linkSet))
		sets = l.sets.Load()
	}
	set := &sets[k[0]%linkSets]
	place := &set[k[0]>>32%uint64(len(set))]
	for i := range set {
		// Another request may take the same place: then one of the links is forgotten.
		if found := set[i].Load(); found == 0 || found == k.kept() {
			place = &set[i]
			break
		}
	}
	place.Store(k.kept())
}

// kept is the half of the key that a set holds. It is not 0.
func (k linkKey) kept() uint64 { return max(k[1], 1) }
