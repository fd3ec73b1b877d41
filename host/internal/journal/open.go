package journal

import (
	"cmp"
	"slices"
	"sync"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/sdk/batch"
)

// openSegment is a segment before its seal: open blocks, compressed blocks, their
// keys, and the cursors that move with them.
type openSegment struct {
	parts   map[place]*openPart
	latest  map[Kind]Partition // of rows whose order matters, where the last one went
	links   *openPart          // that the latest link went to
	raw     int64              // capacity of open blocks
	cursors []CursorMove
	rows    int64 // appended
	bytes   int64 // appended, uncompressed
	checked int64 // rows were compared with the keys of all seals up to it

	jobs sync.WaitGroup // blocks that are being deduplicated and compressed

	mu     sync.Mutex
	keys   keySet
	stored int64 // bytes of compressed blocks
	kept   int64 // rows in them
	err    error // of a block
}

// place is a row's partition in a segment, and the date that its key lies under.
type place struct {
	Partition
	filing filing
}

// compare orders places as they lie in a segment.
func (p place) compare(q place) int {
	return cmp.Or(p.Partition.Compare(q.Partition), cmp.Compare(p.filing.date, q.filing.date), p.filing.rank()-q.filing.rank())
}

// openPart is a place of an open segment: a partition, but for rows whose keys
// are kept under another date.
type openPart struct {
	place
	buffer []byte
	rows   []openRow
	blocks []*doneBlock
}

// openRow is a row of an open block.
type openRow struct {
	key    Key
	length int32
	flags  batch.Flags
	time   int64
}

// doneBlock is a compressed block, or the place where it will be.
type doneBlock struct {
	segment.Block
	keys             []Key   // of its rows, sorted
	ordinals         []int32 // the row in the block that each key is of
	minTime, maxTime int64
}

func newOpenSegment(checked int64) *openSegment {
	return &openSegment{parts: map[place]*openPart{}, latest: map[Kind]Partition{}, checked: checked}
}

// move adds a cursor's move to the moves of the segment.
func (s *openSegment) move(m CursorMove) {
	for i := range s.cursors {
		if s.cursors[i].Source == m.Source && s.cursors[i].Position == m.Position {
			s.cursors[i].To = slices.Clone(m.To)
			return
		}
	}
	m.From, m.To = slices.Clone(m.From), slices.Clone(m.To)
	s.cursors = append(s.cursors, m)
}

// largest is the partition with the most bytes in its open block.
func (s *openSegment) largest() *openPart {
	var largest *openPart
	for _, p := range s.parts {
		if largest == nil || len(p.buffer) > len(largest.buffer) {
			largest = p
		}
	}
	return largest
}

func (s *openSegment) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// buffers hands out memory for open blocks in sizes that double, and takes it
// back. It keeps no more than limit bytes for later.
type buffers struct {
	limit int64

	mu   sync.Mutex
	held int64
	free [bufferSizes][][]byte
}

const (
	smallestBuffer = 32 << 10
	bufferSizes    = 6 // 32 KiB to 1 MiB
)

// class is the index of the smallest size that holds n bytes; bufferSizes when
// none does.
func class(n int) int {
	c, size := 0, smallestBuffer
	for size < n && c < bufferSizes {
		c++
		size *= 2
	}
	return c
}

func (b *buffers) get(n int) []byte {
	c := class(n)
	if c == bufferSizes {
		return make([]byte, 0, n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := len(b.free[c]) - 1; last >= 0 {
		buffer := b.free[c][last]
		b.free[c] = b.free[c][:last]
		b.held -= int64(cap(buffer))
		return buffer
	}
	return make([]byte, 0, smallestBuffer<<c)
}

func (b *buffers) put(buffer []byte) {
	c := class(cap(buffer))
	if c == bufferSizes || cap(buffer) != smallestBuffer<<c {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held+int64(cap(buffer)) > b.limit {
		return
	}
	b.held += int64(cap(buffer))
	b.free[c] = append(b.free[c], buffer[:0])
}
