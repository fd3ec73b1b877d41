package keysort_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal/keysort"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

func newKey(high, low uint64) (k segment.Key) {
	binary.LittleEndian.PutUint64(k[:8], high)
	binary.LittleEndian.PutUint64(k[8:], low)
	return k
}

// place is where a key lies.
type place struct {
	run, index int
}

// byComparison is the order that a Sorter must find, by a stable sort of the
// standard library.
func byComparison(runs [][]segment.Key) []place {
	var places []place
	for run, keys := range runs {
		for index := range keys {
			places = append(places, place{run, index})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return runs[a.run][a.index].Compare(runs[b.run][b.index])
	})
	return places
}

// check sorts runs and compares the order with that of the standard library.
func check(t *testing.T, s *keysort.Sorter, runs ...[]segment.Key) {
	t.Helper()
	before := make([][]segment.Key, len(runs))
	for i := range runs {
		before[i] = slices.Clone(runs[i])
	}
	want := byComparison(runs)
	s.Sort(runs...)
	if s.Len() != len(want) {
		t.Fatalf("%d keys were sorted, want %d", s.Len(), len(want))
	}
	for i := range want {
		run, index := s.At(i)
		if got := (place{run, index}); got != want[i] {
			t.Fatalf("key %d of %d in order is %v, want %v", i, len(want), got, want[i])
		}
	}
	for i := range runs {
		if !slices.Equal(runs[i], before[i]) {
			t.Fatalf("run %d was changed", i)
		}
	}
}

// shapes are ways in which keys are, or are not, spread.
var shapes = map[string]func(r *rand.Rand, i, n int) segment.Key{
	"spread":           func(r *rand.Rand, _, _ int) segment.Key { return newKey(r.Uint64(), r.Uint64()) },
	"all equal":        func(*rand.Rand, int, int) segment.Key { return newKey(7, 7) },
	"all zero":         func(*rand.Rand, int, int) segment.Key { return segment.Key{} },
	"all ones":         func(*rand.Rand, int, int) segment.Key { return newKey(^uint64(0), ^uint64(0)) },
	"one bucket":       func(r *rand.Rand, _, _ int) segment.Key { return newKey(5<<60|r.Uint64()>>40, r.Uint64()) },
	"one high part":    func(r *rand.Rand, _, _ int) segment.Key { return newKey(1<<63, r.Uint64()) },
	"few high parts":   func(r *rand.Rand, _, _ int) segment.Key { return newKey(uint64(r.IntN(3))<<62, r.Uint64()) },
	"low bits differ":  func(r *rand.Rand, _, _ int) segment.Key { return newKey(1<<40|uint64(r.IntN(8)), r.Uint64()) },
	"many repeats":     func(r *rand.Rand, _, n int) segment.Key { return newKey(uint64(r.IntN(n/3+1))<<50, 1) },
	"ascending":        func(_ *rand.Rand, i, n int) segment.Key { return newKey(uint64(i)*(^uint64(0)/uint64(n)), 0) },
	"descending":       func(_ *rand.Rand, i, n int) segment.Key { return newKey(uint64(n-i)*(^uint64(0)/uint64(n)), 0) },
	"ascending, dense": func(_ *rand.Rand, i, _ int) segment.Key { return newKey(uint64(i), 0) },
	"large and small buckets": func(r *rand.Rand, i, _ int) segment.Key {
		if i%2 == 0 {
			return newKey(r.Uint64(), r.Uint64())
		}
		return newKey(r.Uint64()>>30, r.Uint64())
	},
}

func TestTheOrderIsThatOfComparison(t *testing.T) {
	t.Parallel()
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s keysort.Sorter
			r := rand.New(rand.NewPCG(1, 2))
			for _, n := range []int{0, 1, 2, 3, 8, 24, 25, 63, 64, 65, 1000, 1300, 20_000, 5} {
				keys := make([]segment.Key, n)
				for i := range keys {
					keys[i] = shape(r, i, n)
				}
				check(t, &s, keys)
				check(t, &s, cut(r, keys)...)
			}
		})
	}
}

// cut divides keys into runs of any length, some of them empty.
func cut(r *rand.Rand, keys []segment.Key) [][]segment.Key {
	runs := [][]segment.Key{nil}
	for len(keys) > 0 {
		n := r.IntN(len(keys)/2 + 2)
		runs = append(runs, keys[:min(n, len(keys))])
		keys = keys[min(n, len(keys)):]
	}
	return runs
}

func TestNothingIsSorted(t *testing.T) {
	t.Parallel()
	var s keysort.Sorter
	check(t, &s, []segment.Key{newKey(2, 0), newKey(1, 0)})
	check(t, &s)
	check(t, &s, nil, nil)
}

// The memory of a Sorter follows from its largest call: another one of that size
// allocates nothing.
func TestMemoryIsKept(t *testing.T) {
	var s keysort.Sorter
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([]segment.Key, 1300)
	for i := range keys {
		keys[i] = newKey(r.Uint64(), r.Uint64())
	}
	runs := [][]segment.Key{keys[:700], keys[700:]}
	s.Sort(runs...)
	if n := testing.AllocsPerRun(10, func() { s.Sort(runs...) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzSort(f *testing.F) {
	f.Add([]byte{}, uint8(0), uint8(0))
	f.Add([]byte("all sorts of bytes, from which keys are made"), uint8(3), uint8(63))
	f.Add([]byte{0, 255, 0, 255, 1, 1, 1, 1, 2}, uint8(1), uint8(0))
	// Each two bytes are a key: its leading bits, and whether its second half
	// differs. The shift moves all keys into fewer buckets.
	f.Fuzz(func(t *testing.T, text []byte, runLength, shift uint8) {
		var keys []segment.Key
		for i := 0; i+1 < len(text); i += 2 {
			high := uint64(text[i])<<56 | uint64(text[i+1]>>4)
			keys = append(keys, newKey(high>>(shift%64), uint64(text[i+1]&15)))
		}
		var s keysort.Sorter
		check(t, &s, keys)
		check(t, &s, slices.Collect(slices.Chunk(keys, int(runLength)+1))...)
	})
}

func ExampleSorter() {
	runs := [][]segment.Key{
		{newKey(30, 0), newKey(10, 0)},
		{newKey(20, 1), newKey(20, 0)},
	}
	var s keysort.Sorter
	s.Sort(runs...)
	for i := range s.Len() {
		run, index := s.At(i)
		fmt.Println(runs[run][index].High(), "from run", run, "at", index)
	}
	// Output:
	// 10 from run 0 at 1
	// 20 from run 1 at 1
	// 20 from run 1 at 0
	// 30 from run 0 at 0
}
