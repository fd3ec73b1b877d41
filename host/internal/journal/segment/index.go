package segment

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Index says what lies where in a segment.
type Index struct {
	Extents  []Extent
	Sections []Section
}

// Extent is the blocks of one partition, side by side.
type Extent struct {
	Partition
	Offset           int64
	Length           int64 // bytes as stored
	Rows             int64
	RowsBytes        int64
	MinTime, MaxTime int64 // unix seconds
	Blocks           []BlockInfo
}

// BlockInfo is a block without its payload.
type BlockInfo struct {
	Length    int
	Rows      int
	RowsBytes int
	RowsCRC32 uint32 // IEEE
	Checksum  uint32 // CRC-32C of the payload
	Flags     batch.Flags
}

// Section is sorted keys of one day: at most SectionKeys of them, with a
// filter behind them. The keys of a day that has more lie in several sections,
// in order.
type Section struct {
	Day            Day
	Count          int
	Offset         int64 // of the keys
	Pages          []Page
	FilterLength   int
	FilterChecksum uint32
}

// Page is the index of up to PageKeys keys of a section.
type Page struct {
	First    uint64 // first eight bytes of its first key
	Checksum uint32 // CRC-32C of its bytes
}

// Sizes of the keys part.
const (
	KeySize     = 16
	PageKeys    = 4096
	SectionKeys = 1 << 20
)

// filterOffset is where a section's filter begins.
func (s *Section) filterOffset() int64 { return s.Offset + int64(s.Count)*KeySize }

// encode appends the footer: every number a varint, checksums four bytes.
func (x *Index) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(x.Extents)))
	for i := range x.Extents {
		b = x.Extents[i].encode(b)
	}
	b = binary.AppendUvarint(b, uint64(len(x.Sections)))
	for i := range x.Sections {
		b = x.Sections[i].encode(b)
	}
	return b
}

func (e *Extent) encode(b []byte) []byte {
	b = append(b, byte(e.Kind))
	b = binary.AppendVarint(b, int64(e.UTCDate))
	b = binary.AppendVarint(b, int64(e.ZoneDate))
	b = binary.AppendVarint(b, e.MinTime)
	b = binary.AppendVarint(b, e.MaxTime)
	b = binary.AppendUvarint(b, uint64(len(e.Blocks)))
	for _, k := range e.Blocks {
		b = binary.AppendUvarint(b, uint64(k.Length))
		b = binary.AppendUvarint(b, uint64(k.Rows))
		b = binary.AppendUvarint(b, uint64(k.RowsBytes))
		b = binary.AppendUvarint(b, uint64(k.Flags))
		b = binary.LittleEndian.AppendUint32(b, k.RowsCRC32)
		b = binary.LittleEndian.AppendUint32(b, k.Checksum)
	}
	return b
}

func (s *Section) encode(b []byte) []byte {
	b = binary.AppendVarint(b, int64(s.Day))
	b = binary.AppendUvarint(b, uint64(s.Count))
	b = binary.AppendUvarint(b, uint64(s.FilterLength))
	b = binary.LittleEndian.AppendUint32(b, s.FilterChecksum)
	for _, p := range s.Pages {
		b = binary.LittleEndian.AppendUint64(b, p.First)
		b = binary.LittleEndian.AppendUint32(b, p.Checksum)
	}
	return b
}

// decodeIndex reads a footer. Offsets follow from lengths: blocks lie side by
// side from the header on, sections from the beginning of the keys.
func decodeIndex(footer []byte, t trailer) (*Index, error) {
	d := &decoder{rest: footer}
	x := &Index{}
	offset := int64(headerSize)
	for range d.count(6) {
		e := d.extent(offset)
		offset += e.Length
		x.Extents = append(x.Extents, e)
	}
	if !d.bad && offset != int64(t.keys) {
		return nil, damaged("footer", "blocks end at %d, keys begin at %d", offset, t.keys)
	}
	for range d.count(7) {
		s := d.section(offset)
		offset = s.filterOffset() + int64(s.FilterLength)
		x.Sections = append(x.Sections, s)
	}
	if d.bad || len(d.rest) > 0 {
		return nil, damaged("footer", "it cannot be read")
	}
	if offset != int64(t.footer) {
		return nil, damaged("footer", "keys end at %d, the footer begins at %d", offset, t.footer)
	}
	return x, nil
}

// decoder reads numbers until one is bad; then it yields zeros.
type decoder struct {
	rest []byte
	bad  bool
}

// maxLength bounds every single length, so that sums cannot overflow.
const maxLength = 1 << 40

func (d *decoder) uvarint() int64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || v > maxLength {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return int64(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes(n int) []byte {
	if len(d.rest) < n {
		d.bad, d.rest = true, nil
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// count reads a number of things of at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > int64(len(d.rest)/size) {
		d.bad, d.rest = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) extent(offset int64) Extent {
	e := Extent{Offset: offset}
	e.Kind = Kind(d.bytes(1)[0])
	e.UTCDate, e.ZoneDate = Day(d.varint()), Day(d.varint())
	e.MinTime, e.MaxTime = d.varint(), d.varint()
	n := d.count(12)
	e.Blocks = make([]BlockInfo, 0, n)
	for range n {
		k := BlockInfo{Length: int(d.uvarint()), Rows: int(d.uvarint()), RowsBytes: int(d.uvarint()), Flags: batch.Flags(d.uvarint())}
		k.RowsCRC32 = binary.LittleEndian.Uint32(d.bytes(4))
		k.Checksum = binary.LittleEndian.Uint32(d.bytes(4))
		e.Length += int64(k.Length)
		e.Rows += int64(k.Rows)
		e.RowsBytes += int64(k.RowsBytes)
		e.Blocks = append(e.Blocks, k)
	}
	return e
}

func (d *decoder) section(offset int64) Section {
	s := Section{Offset: offset, Day: Day(d.varint()), Count: int(d.uvarint()), FilterLength: int(d.uvarint())}
	s.FilterChecksum = binary.LittleEndian.Uint32(d.bytes(4))
	pages := (s.Count + PageKeys - 1) / PageKeys
	if s.Count > SectionKeys || pages*12 > len(d.rest) {
		d.bad, d.rest = true, nil
		return Section{}
	}
	s.Pages = make([]Page, pages)
	for i := range s.Pages {
		s.Pages[i] = Page{First: binary.LittleEndian.Uint64(d.bytes(8)), Checksum: binary.LittleEndian.Uint32(d.bytes(4))}
	}
	return s
}

// info is what the index keeps of a block.
func info(b Block) BlockInfo {
	return BlockInfo{
		Length: len(b.Payload), Rows: b.Rows, RowsBytes: b.RowsBytes, RowsCRC32: b.RowsCRC32, Flags: b.Flags,
		Checksum: crc32.Checksum(b.Payload, castagnoli),
	}
}
