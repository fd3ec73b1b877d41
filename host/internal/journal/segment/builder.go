package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Key is a dedup key: 128 bits, uniformly distributed.
type Key [KeySize]byte

// Compare orders keys: by their first eight bytes as a little-endian number,
// then by the others.
func (k Key) Compare(o Key) int {
	a, b := k.High(), o.High()
	if a == b {
		a, b = binary.LittleEndian.Uint64(k[8:]), binary.LittleEndian.Uint64(o[8:])
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// High is the part of the key that pages are indexed by.
func (k Key) High() uint64 { return binary.LittleEndian.Uint64(k[:8]) }

// Builder writes a segment in order: extents, then keys, then Finish. It
// writes to w only forward. The first error stays.
type Builder struct {
	w      io.Writer
	offset int64
	keys   int64
	index  Index
	page   []byte // scratch
	err    error

	spanned bool // the extent that was begun last has times
}

// NewBuilder begins a segment.
func NewBuilder(w io.Writer) *Builder {
	b := &Builder{w: w, keys: -1}
	b.write(header())
	return b
}

func (b *Builder) write(p []byte) {
	if b.err != nil {
		return
	}
	n, err := b.w.Write(p)
	b.offset += int64(n)
	if err != nil {
		b.err = fmt.Errorf("write segment: %w", err)
	}
}

// Begin begins the extent of a partition, whose blocks follow one by one.
// Partitions come in ascending order.
func (b *Builder) Begin(p Partition) {
	if b.keys >= 0 || (len(b.index.Extents) > 0 && b.index.Extents[len(b.index.Extents)-1].Compare(p) >= 0) {
		panic("segment: extents out of order")
	}
	b.index.Extents = append(b.index.Extents, Extent{Partition: p, Offset: b.offset, Blocks: []BlockInfo{}})
	b.spanned = false
}

// Block writes the next block of the extent that was begun last. It does not keep
// the payload.
func (b *Builder) Block(k Block) {
	e := &b.index.Extents[len(b.index.Extents)-1]
	b.write(k.Payload)
	e.Blocks = append(e.Blocks, info(k))
	e.Length += int64(len(k.Payload))
	e.Rows += int64(k.Rows)
	e.RowsBytes += int64(k.RowsBytes)
}

// Span widens the times of the extent that was begun last by those of some of its
// rows.
func (b *Builder) Span(minTime, maxTime int64) {
	e := &b.index.Extents[len(b.index.Extents)-1]
	if !b.spanned {
		e.MinTime, e.MaxTime = minTime, maxTime
	}
	e.MinTime, e.MaxTime = min(e.MinTime, minTime), max(e.MaxTime, maxTime)
	b.spanned = true
}

// Keys writes keys of one day: ascending, each once, at most SectionKeys. Days
// come in ascending order, and a day's keys too.
func (b *Builder) Keys(day Day, keys []Key) {
	if len(keys) == 0 {
		return
	}
	if len(keys) > SectionKeys {
		panic("segment: too many keys for a section")
	}
	if b.keys < 0 {
		b.keys = b.offset
	}
	s := Section{Day: day, Count: len(keys), Offset: b.offset, Pages: make([]Page, 0, (len(keys)+PageKeys-1)/PageKeys)}
	for rest := keys; len(rest) > 0; {
		n := min(len(rest), PageKeys)
		b.page = b.page[:0]
		for i := range rest[:n] {
			b.page = append(b.page, rest[i][:]...)
		}
		s.Pages = append(s.Pages, Page{First: rest[0].High(), Checksum: Checksum(b.page)})
		b.write(b.page)
		rest = rest[n:]
	}
	filter := NewFilter(keys)
	s.FilterLength, s.FilterChecksum = len(filter), Checksum(filter)
	b.write(filter)
	b.index.Sections = append(b.index.Sections, s)
}

// Finish writes footer and trailer and returns the index. The file is then
// whole, and not yet durable.
func (b *Builder) Finish() (*Index, int64, error) {
	if b.keys < 0 {
		b.keys = b.offset
	}
	footer := b.index.encode(nil)
	if len(footer) > maxFooter {
		return nil, 0, errors.New("write segment: its index is too large")
	}
	t := trailer{keys: uint64(b.keys), footer: uint64(b.offset), footerLength: uint64(len(footer)), footerChecksum: Checksum(footer)}
	b.write(footer)
	b.write(t.encode())
	if b.err != nil {
		return nil, 0, b.err
	}
	return &b.index, b.offset, nil
}

// maxFooter limits the bytes that a reader takes into memory at once.
const maxFooter = 256 << 20
