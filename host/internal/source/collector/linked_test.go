package collector

import (
	"encoding/binary"
	"sync"
	"testing"

	"github.com/zeebo/xxh3"
)

func keyOf(n uint64) linkKey {
	sum := xxh3.Hash128(binary.LittleEndian.AppendUint64(nil, n))
	return linkKey{sum.Lo, sum.Hi}
}

// Of 200,000 links, which fill three quarters of the places, one in ten at most is
// forgotten, and no other link is taken for one of them.
func TestManyLinksAreRemembered(t *testing.T) {
	t.Parallel()
	const links = 200_000
	var l linked
	if l.has(keyOf(0)) {
		t.Fatal("a link is known before any was added")
	}
	var adding sync.WaitGroup
	for part := range uint64(4) {
		adding.Go(func() {
			for n := part; n < links; n += 4 {
				l.add(keyOf(n))
			}
		})
	}
	adding.Wait()
	known := 0
	for n := range uint64(links) {
		if l.has(keyOf(n)) {
			known++
		}
		if l.has(keyOf(links + n)) {
			t.Fatalf("link %d was not added, and is known", links+n)
		}
	}
	if known < links*9/10 {
		t.Errorf("%d of %d links are known", known, links)
	}
	t.Logf("%d of %d links are known", known, links)
}

// A link with hashes of zero is not taken for an empty place, and one that is added again
// takes no second place.
func TestALinkHasOnePlace(t *testing.T) {
	t.Parallel()
	var l linked
	for n := range uint64(len(linkSet{})) {
		for range 2 {
			l.add(linkKey{0, 2 * n})
		}
	}
	for n := range uint64(len(linkSet{})) {
		if !l.has(linkKey{0, 2 * n}) {
			t.Errorf("link %d is forgotten", n)
		}
	}
}
