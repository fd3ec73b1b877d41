package keys

import (
	"slices"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// ask asks a cache for the pages 0 to pages-1 of a run, in turn and some times over, and
// returns how often it had to load.
func ask(t *testing.T, c *cache, run *openRun, pages, times int) (loads int) {
	t.Helper()
	for range times {
		for p := range pages {
			b, err := c.get(place{run, 0, p}, func() ([]byte, error) {
				loads++
				return slices.Repeat([]byte{byte(p)}, 100), nil
			})
			if err != nil || len(b) != 100 || b[0] != byte(p) {
				t.Fatalf("page %d is %v (%v)", p, b, err)
			}
			if c.used > c.budget || c.used != int64(100*len(c.held)) || len(c.held) != c.byUse.Len() {
				t.Fatalf("the cache has %d bytes in %d and %d elements, of %d", c.used, len(c.held), c.byUse.Len(), c.budget)
			}
		}
	}
	return loads
}

// Filters of a day that do not fit in the cache are asked for in turn by each block:
// most of them stay.
func TestACacheThatIsTooSmallKeepsMostOfWhatItHolds(t *testing.T) {
	c, run := newCache(1000), &openRun{}
	ask(t, c, run, 14, 10)
	if loads := ask(t, c, run, 14, 100); loads > 600 {
		t.Errorf("%d of 1,400 were loaded; room is for 10 of 14", loads)
	}
}

// When other filters are asked for, they take the place of those that were used most.
func TestACacheFollowsTheDay(t *testing.T) {
	c, before, after := newCache(1000), &openRun{}, &openRun{}
	ask(t, c, before, 14, 50)
	ask(t, c, after, 10, 100)
	if loads := ask(t, c, after, 10, 10); loads > 0 {
		t.Errorf("%d of 100 were loaded, of which there is room for all", loads)
	}
	c.forget(after)
	if len(c.held) != c.byUse.Len() || c.used > 1000 {
		t.Errorf("after a run is forgotten the cache has %d bytes in %d and %d elements", c.used, len(c.held), c.byUse.Len())
	}
}

// A key whose high part begins the next section may lie in either: both are searched.
// Other keys are searched for in one section.
func TestAKeyIsLookedForInItsSection(t *testing.T) {
	m := newModel(t, 3, 1<<20)
	m.write(modelRun{Run: Run{Blob: "keys/7/a.seg", From: 1, To: 1}, days: map[segment.Day]map[segment.Key]bool{7: manyKeys(2*segment.SectionKeys + 10)}})
	if err := m.set.Add(t.Context(), Run{Blob: "keys/7/a.seg", From: 1, To: 1}); err != nil {
		t.Fatal(err)
	}
	all := sortedKeys(manyKeys(2*segment.SectionKeys + 10))
	found := make([]bool, len(all))
	if err := m.set.Find(7, all, found, -1); err != nil {
		t.Fatal(err)
	}
	if i := slices.Index(found, false); i >= 0 {
		t.Errorf("key %d of %d is not found", i, len(all))
	}
	if sections := m.set.runs[0].byDay[7]; len(sections) != 3 {
		t.Errorf("%d sections", len(sections))
	}
	m.set.cache = newCache(1 << 20)
	clear(found)
	if err := m.set.Find(7, all[:10], found[:10], -1); err != nil {
		t.Fatal(err)
	}
	for p := range m.set.cache.held {
		if p.offset != m.set.runs[0].byDay[7][0].Offset {
			t.Errorf("the first keys are looked for in the section at %d", p.offset)
		}
	}
}

// manyKeys makes keys of which each seven in a row have the same high part, also
// where a section ends.
func manyKeys(n int) map[segment.Key]bool {
	keys := make(map[segment.Key]bool, n)
	for i := range n {
		var k segment.Key
		k[0], k[1], k[2] = byte(i/7), byte(i/7>>8), byte(i/7>>16)
		k[8], k[9], k[10] = byte(i), byte(i>>8), byte(i>>16)
		keys[k] = true
	}
	return keys
}
