package segment

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Index lists the extents and key sections of a segment and their places in the
// file.
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

func (b *BlockInfo) totals() batch.Totals {
	return batch.Totals{
		Rows: uint64(b.Rows), RowsBytes: uint64(b.RowsBytes), RowsCRC32: b.RowsCRC32, PayloadBytes: uint64(b.Length),
	}
}

// Section holds sorted keys of one day, at most SectionKeys of them, followed by
// their filter. A day with more keys has several sections, in order.
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
	SectionKeys = 1 << 18
)

// filterOffset is where a section's filter begins.
func (s *Section) filterOffset() int64 { return s.Offset + int64(s.Count)*KeySize }

// end is where the section's filter ends.
func (s *Section) end() int64 { return s.filterOffset() + int64(s.FilterLength) }

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
	for range d.count(minExtent) {
		e := d.extent(offset, int64(t.keys))
		if d.bad {
			break
		}
		if n := len(x.Extents); n > 0 && x.Extents[n-1].Compare(e.Partition) >= 0 {
			return nil, damaged("footer", "its extents are not in order")
		}
		offset += e.Length
		x.Extents = append(x.Extents, e)
	}
	if !d.bad && offset != int64(t.keys) {
		return nil, damaged("footer", "blocks end at %d, keys begin at %d", offset, t.keys)
	}
	for range d.count(minSection) {
		s := d.section(offset, int64(t.footer))
		if d.bad {
			break
		}
		offset = s.end()
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

// The fewest bytes of a footer that describe one thing.
const (
	minExtent  = 6
	minBlock   = 12
	minSection = 7
	pageSize   = 12
)

// maxExpansion is how many bytes DEFLATE makes of one at most, rounded up.
const maxExpansion = 1040

// decoder reads numbers until one is bad; then it yields zeros.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) fail() { d.bad, d.rest = true, nil }

// uvarint reads a number up to most.
func (d *decoder) uvarint(most int64) int64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || most < 0 || v > uint64(most) {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return int64(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) day() Day {
	v := d.varint()
	if v != int64(Day(v)) {
		d.fail()
	}
	return Day(v)
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uint32() uint32 {
	if len(d.rest) < 4 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(d.rest)
	d.rest = d.rest[4:]
	return v
}

func (d *decoder) uint64() uint64 {
	low := d.uint32()
	return uint64(d.uint32())<<32 | uint64(low)
}

// count reads a number of things of at least size bytes each.
func (d *decoder) count(size int) int { return int(d.uvarint(int64(len(d.rest) / size))) }

// extent reads an extent whose blocks lie between offset and end.
func (d *decoder) extent(offset, end int64) Extent {
	e := Extent{Offset: offset}
	e.Kind = Kind(d.byte())
	e.UTCDate, e.ZoneDate = d.day(), d.day()
	e.MinTime, e.MaxTime = d.varint(), d.varint()
	n := d.count(minBlock)
	e.Blocks = make([]BlockInfo, 0, n)
	for range n {
		k := BlockInfo{Length: int(d.uvarint(end - offset - e.Length))}
		most := int64(k.Length) * maxExpansion
		k.Rows, k.RowsBytes = int(d.uvarint(most)), int(d.uvarint(most))
		k.Flags = batch.Flags(d.uvarint(int64(^batch.Flags(0))))
		k.RowsCRC32, k.Checksum = d.uint32(), d.uint32()
		if d.bad {
			return Extent{}
		}
		e.Length += int64(k.Length)
		e.Rows += int64(k.Rows)
		e.RowsBytes += int64(k.RowsBytes)
		e.Blocks = append(e.Blocks, k)
	}
	return e
}

// section reads a section that lies between offset and end.
func (d *decoder) section(offset, end int64) Section {
	s := Section{Offset: offset, Day: d.day(), Count: int(d.uvarint(min(SectionKeys, (end-offset)/KeySize)))}
	s.FilterLength = int(d.uvarint(end - s.filterOffset()))
	s.FilterChecksum = d.uint32()
	pages := (s.Count + PageKeys - 1) / PageKeys
	if pages == 0 || pages*pageSize > len(d.rest) || s.FilterLength < filterBlock || s.FilterLength%filterBlock != 0 {
		d.fail()
		return Section{}
	}
	s.Pages = make([]Page, pages)
	for i := range s.Pages {
		s.Pages[i] = Page{First: d.uint64(), Checksum: d.uint32()}
	}
	return s
}

// info returns the index entry of a block.
func info(b Block) BlockInfo {
	return BlockInfo{
		Length: len(b.Payload), Rows: b.Rows, RowsBytes: b.RowsBytes, RowsCRC32: b.RowsCRC32, Flags: b.Flags,
		Checksum: crc32.Checksum(b.Payload, castagnoli),
	}
}
