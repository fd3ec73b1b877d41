package journal

import (
	"cmp"
	"slices"
	"sync"
	"unsafe"

	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// openSegment is a segment before its seal: open blocks, compressed blocks, their
// keys, and the cursors that move with them.
type openSegment struct {
	parts   map[place]*openPart
	near    [nearParts]nearPart // of parts, for events
	waiting []int32             // bytes that wait in each part, by openPart.number
	all     []*openPart         // by openPart.number
	latest  map[Kind]Partition  // of rows whose order matters, where the last one went
	links   *openPart           // that the latest link went to
	raw     int64               // memory of open blocks
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
	number int           // in its segment
	pieces [][]byte      // the open block; all but the last are full
	rows   []FragmentRow // in pieces
	before int           // rows of the block before
	blocks []*doneBlock
}

// add appends a new part to the segment.
func (s *openSegment) add(at place) *openPart {
	p := &openPart{place: at, number: len(s.all)}
	s.parts[at] = p
	s.all = append(s.all, p)
	s.waiting = append(s.waiting, 0)
	return p
}

// nearPart is the part of events of a span of time, whose keys lie under their own date.
type nearPart struct {
	from, until int64
	part        *openPart
}

// nearParts is how many parts are found without a look into the map: half days, of which
// a day in most zones' time has two.
const nearParts = 1024

// nearTo returns the place among near of an event's part.
func (s *openSegment) nearTo(seconds int64) *nearPart {
	const half = 86400 / 2
	return &s.near[uint64(seconds)/half%nearParts]
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
	most := 0
	for i, n := range s.waiting {
		if n > s.waiting[most] {
			most = i
		}
	}
	return s.all[most]
}

func (s *openSegment) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// pieceSize is the size of the pieces of memory that open blocks consist of. Blocks of
// many days are small, and grow without being copied.
const pieceSize = 16 << 10

// pieces hands out memory for open blocks and takes it back. It keeps no more than limit
// bytes of pieces for later, and no more than limit bytes of entries.
type pieces struct {
	limit int64

	mu      sync.Mutex
	free    [][]byte
	entries [][]FragmentRow
	kept    int64 // bytes of entries
}

func (b *pieces) get() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last := len(b.free) - 1; last >= 0 {
		piece := b.free[last]
		b.free = b.free[:last]
		return piece
	}
	return make([]byte, 0, pieceSize)
}

// rows returns memory for the entries of a block, of a part whose block before had n rows.
func (b *pieces) rows(n int) []FragmentRow {
	if n > mostEntries {
		return make([]FragmentRow, 0, n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.entries) - 1
	if last < 0 {
		return make([]FragmentRow, 0, leastEntries)
	}
	rows := b.entries[last]
	b.entries = b.entries[:last]
	b.kept -= entriesSize(rows)
	return rows
}

const (
	entrySize = int(unsafe.Sizeof(FragmentRow{}))
	// leastEntries is how many entries a block has memory for at first.
	leastEntries = 16
	// mostEntries is how many entries are kept for another block: as much memory as the
	// piece that every open block has. The entries of a large block would be held by the
	// few rows of a day whose block is never full.
	mostEntries = pieceSize / entrySize
)

func entriesSize(rows []FragmentRow) int64 {
	return int64(cap(rows)) * int64(entrySize)
}

// putRows takes the memory of entries back, unless it is large.
func (b *pieces) putRows(rows []FragmentRow) {
	if cap(rows) > mostEntries {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if size := entriesSize(rows); b.kept+size <= b.limit {
		b.entries = append(b.entries, rows[:0])
		b.kept += size
	}
}

func (b *pieces) put(some [][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, piece := range some {
		if cap(piece) == pieceSize && int64(len(b.free)+1)*pieceSize <= b.limit {
			b.free = append(b.free, piece[:0])
		}
	}
}
