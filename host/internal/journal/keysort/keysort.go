package keysort

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// largeBucket is the number of keys in a bucket from which sorting it by
// comparison is faster than by insertion.
const largeBucket = 24

// Sorter sorts keys. It keeps its memory for the next call: 8 bytes for each key
// of the largest call, and 4 for each bucket. The zero Sorter is ready for use.
// It is not for concurrent use.
type Sorter struct {
	words []uint64 // in ascending order: leading bits of a key above its position
	ends  []uint32 // of buckets, as indexes of words; one more than buckets

	position uint // bits of a position
	index    uint // bits of the index in a run, the lower part of a position
}

// Sort finds the ascending order of the keys of all runs together, as
// segment.Key.Compare has it. Equal keys are in the order of their runs, and
// within a run in the order of their indexes. The runs themselves need no order,
// they are not changed, and they must not change until Sort returns. They hold
// at most 2^32 keys.
func (s *Sorter) Sort(runs ...[]segment.Key) {
	total, longest := 0, 0
	for _, run := range runs {
		total += len(run)
		longest = max(longest, len(run))
	}
	s.index = bitsFor(longest)
	s.position = s.index + bitsFor(len(runs))
	s.words = slices.Grow(s.words[:0], total)[:total]
	if total == 0 {
		return
	}
	shift := uint(64 - bits.Len(uint(total)) + 1)
	largest := s.count(runs, total, shift)
	s.distribute(runs, shift)
	if largest > largeBucket {
		s.sortLarge()
	}
	insert(s.words)
	s.settle(runs)
}

// Len is the number of keys that were sorted.
func (s *Sorter) Len() int { return len(s.words) }

// At returns where the key that is i-th in order lies: its run and its index in
// the run.
func (s *Sorter) At(i int) (run, index int) {
	position := s.words[i] & (1<<s.position - 1)
	return int(position >> s.index), int(position & (1<<s.index - 1))
}

// bitsFor is how many bits numbers below n need.
func bitsFor(n int) uint { return uint(bits.Len(uint(max(n, 1) - 1))) }

// count counts the keys of each bucket, sets the buckets' beginnings, and
// returns how many keys the largest bucket has. A key's High part, shifted to
// the right, is its bucket.
func (s *Sorter) count(runs [][]segment.Key, total int, shift uint) (largest uint32) {
	buckets := 1 << (64 - shift)
	s.ends = slices.Grow(s.ends[:0], buckets+1)[:buckets+1]
	clear(s.ends)
	for _, run := range runs {
		for i := range run {
			s.ends[run[i].High()>>shift+1]++
		}
	}
	for i := 1; i < len(s.ends); i++ {
		largest = max(largest, s.ends[i])
		s.ends[i] += s.ends[i-1]
	}
	return largest
}

// distribute puts a word for each key into the key's bucket. The buckets'
// beginnings become their ends.
func (s *Sorter) distribute(runs [][]segment.Key, shift uint) {
	leading := ^uint64(0) << s.position
	for number, run := range runs {
		position := uint64(number) << s.index
		for i := range run {
			high := run[i].High()
			end := &s.ends[high>>shift]
			s.words[*end] = high&leading | position | uint64(i)
			*end++
		}
	}
}

// sortLarge sorts the large buckets.
func (s *Sorter) sortLarge() {
	begin := uint32(0)
	for _, end := range s.ends[:len(s.ends)-1] {
		if end-begin > largeBucket {
			slices.Sort(s.words[begin:end])
		}
		begin = end
	}
}

// insert sorts words by insertion. A word moves only within its bucket.
func insert(words []uint64) {
	for i := 1; i < len(words); i++ {
		word := words[i]
		at := i
		for ; at > 0 && words[at-1] > word; at-- {
			words[at] = words[at-1]
		}
		words[at] = word
	}
}

// settle orders keys whose words differ in the position only, by comparing the
// keys.
func (s *Sorter) settle(runs [][]segment.Key) {
	begin := 0
	for i := 1; i <= len(s.words); i++ {
		if i < len(s.words) && s.words[i]>>s.position == s.words[begin]>>s.position {
			continue
		}
		if i-begin > 1 {
			s.settleGroup(runs, s.words[begin:i])
		}
		begin = i
	}
}

func (s *Sorter) settleGroup(runs [][]segment.Key, words []uint64) {
	key := func(word uint64) *segment.Key {
		position := word & (1<<s.position - 1)
		return &runs[position>>s.index][position&(1<<s.index-1)]
	}
	slices.SortFunc(words, func(a, b uint64) int {
		return cmp.Or(key(a).Compare(*key(b)), cmp.Compare(a, b))
	})
}
