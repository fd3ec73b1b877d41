package journal

import (
	"fmt"
	"slices"
	"sync"

	"github.com/penstock-io/penstock/host/internal/journal/keysort"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/sdk/batch"
)

// job is a full block on its way to be deduplicated and compressed.
type job struct {
	turn    uint64 // among all jobs of the writer
	segment *openSegment
	place   place
	pieces  [][]byte // the rows, unless packed
	packed  *Block   // the rows as their producer has compressed them, or nil
	rows    []FragmentRow
	done    *doneBlock
}

// worker is the memory of one goroutine that compresses blocks.
type worker struct {
	w       *Writer
	encoder *segment.RowEncoder
	decoder segment.Decoder
	rows    []byte // of the block, if they had to be brought together or inflated
	sorter  keysort.Sorter
	byRow   []Key   // keys in the order of the block's rows
	keys    []Key   // the same keys, ascending
	order   []int32 // the row that each of keys is of
	repeats []bool  // by position in keys
	drop    []bool  // by row
	places  []int32
}

func (w *Writer) work() {
	k := &worker{w: w, encoder: segment.NewRowEncoder(w.care)}
	for j := range w.jobs {
		if err := k.do(j); err != nil {
			j.segment.fail(err)
		}
		if j.packed == nil {
			w.pieces.put(j.pieces)
			w.pieces.putRows(j.rows)
		}
		j.segment.jobs.Done()
	}
}

// do drops the block's duplicate rows and compresses the others.
func (k *worker) do(j job) error {
	k.sort(j.rows)
	dropped := k.dropRepeats(j.rows)
	k.w.turns.wait(j.turn)
	k.claim(j)
	k.w.turns.pass()
	seen, err := k.dropSeen(j)
	if err != nil {
		return fmt.Errorf("deduplicate a block of %s: %w", j.place.UTCDate, err)
	}
	kept := len(j.rows) - dropped - seen
	if kept == 0 {
		return nil
	}
	flags, least, most := k.sum(j.rows)
	block, err := k.compress(j, kept, flags)
	if err != nil {
		return err
	}
	*j.done = doneBlock{Block: block, minTime: least, maxTime: most}
	j.done.keys, j.done.ordinals = k.kept(kept)
	j.segment.mu.Lock()
	j.segment.stored += int64(len(block.Payload))
	j.segment.kept += int64(kept)
	j.segment.mu.Unlock()
	return nil
}

// compress returns the block of the rows that stay. A packed block of which all rows
// stay is taken as it is; another one is inflated, and what stays compressed again.
func (k *worker) compress(j job, kept int, flags batch.Flags) (Block, error) {
	whole := kept == len(j.rows)
	if j.packed != nil && whole {
		return *j.packed, nil
	}
	k.rows = k.rows[:0]
	for _, piece := range j.pieces {
		k.rows = append(k.rows, piece...)
	}
	if j.packed != nil {
		var err error
		if k.rows, err = k.decoder.Decode(k.rows, *j.packed); err != nil {
			return Block{}, &CorruptFragmentError{j.packed.Rows, err}
		}
	}
	if !whole {
		k.rows = k.compact(k.rows, j.rows)
	}
	return k.encoder.Encode(k.rows, kept, flags)
}

// sort orders the rows' keys; of equal ones the earliest row comes first.
func (k *worker) sort(rows []FragmentRow) {
	k.byRow = k.byRow[:0]
	for i := range rows {
		k.byRow = append(k.byRow, rows[i].Key)
	}
	k.sorter.Sort(k.byRow)
	k.keys, k.order = k.keys[:0], k.order[:0]
	for i := range k.sorter.Len() {
		_, row := k.sorter.At(i)
		k.keys = append(k.keys, k.byRow[row])
		k.order = append(k.order, int32(row))
	}
	k.repeats = append(k.repeats[:0], make([]bool, len(rows))...)
	k.drop = append(k.drop[:0], make([]bool, len(rows))...)
}

// dropRepeats drops rows whose key another row of the block has.
func (k *worker) dropRepeats(rows []FragmentRow) int {
	n := 0
	for i := 1; i < len(k.keys); i++ {
		if k.keys[i] == k.keys[i-1] {
			k.repeats[i], k.drop[k.order[i]] = true, true
			n++
		}
	}
	return n
}

// claim adds the block's keys to the segment and marks as repeats those that this
// segment, or an earlier one that is being sealed, has already. Blocks take turns:
// otherwise two blocks with a common key could each miss the key of the other.
func (k *worker) claim(j job) {
	k.w.state.Lock()
	sealing := slices.Clone(k.w.sealing)
	k.w.state.Unlock()
	for _, s := range sealing {
		if s != j.segment {
			k.findIn(s)
		}
	}
	j.segment.mu.Lock()
	defer j.segment.mu.Unlock()
	for i, key := range k.keys {
		if !k.repeats[i] && !j.segment.keys.add(key) {
			k.repeats[i] = true
		}
	}
}

// dropSeen drops rows whose key was claimed before, or is in the runs, and returns
// their number. It must run after claim: keys that leave a segment because its
// seal has ended are already in the runs.
func (k *worker) dropSeen(j job) (int, error) {
	if err := j.place.filing.find(k.w.set, k.keys, k.repeats, -1); err != nil {
		return 0, err
	}
	n := 0
	for i, repeated := range k.repeats {
		if row := k.order[i]; repeated && !k.drop[row] {
			k.drop[row] = true
			n++
		}
	}
	return n, nil
}

func (k *worker) findIn(s *openSegment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, key := range k.keys {
		if !k.repeats[i] && s.keys.has(key) {
			k.repeats[i] = true
		}
	}
}

// compact moves the rows that stay to the front of the text of all.
func (k *worker) compact(text []byte, rows []FragmentRow) []byte {
	to, from := 0, 0
	for i := range rows {
		length := int(rows[i].Length)
		if !k.drop[i] {
			to += copy(text[to:], text[from:from+length])
		}
		from += length
	}
	return text[:to]
}

// sum computes the index entry of the rows that stay.
func (k *worker) sum(rows []FragmentRow) (flags batch.Flags, least, most int64) {
	first := true
	for i := range rows {
		if k.drop[i] {
			continue
		}
		r := &rows[i]
		flags |= r.Flags
		if first || r.Time < least {
			least = r.Time
		}
		if first || r.Time > most {
			most = r.Time
		}
		first = false
	}
	return flags, least, most
}

// kept are the keys of the rows that stay, sorted, and where these rows are in
// the block.
func (k *worker) kept(n int) ([]Key, []int32) {
	keys, ordinals := make([]Key, 0, n), make([]int32, 0, n)
	k.places = k.places[:0]
	place := int32(0)
	for _, dropped := range k.drop {
		k.places = append(k.places, place)
		if !dropped {
			place++
		}
	}
	for i, key := range k.keys {
		if row := k.order[i]; !k.drop[row] {
			keys = append(keys, key)
			ordinals = append(ordinals, k.places[row])
		}
	}
	return keys, ordinals
}

// turns lets goroutines go one after another, in the order of their numbers,
// from 0.
type turns struct {
	mu      sync.Mutex
	changed sync.Cond
	next    uint64
}

func newTurns() *turns {
	t := &turns{}
	t.changed.L = &t.mu
	return t
}

// wait waits until it is the turn of n.
func (t *turns) wait(n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.next != n {
		t.changed.Wait()
	}
}

// pass gives the turn to the next.
func (t *turns) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	t.changed.Broadcast()
}
