package segment

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/penstock-io/penstock/sdk/batch"
)

// File reads a segment.
type File struct {
	r     io.ReaderAt
	size  int64
	index *Index
	tail  trailer
}

// Open reads and checks a segment's header, trailer and footer. r stays the
// caller's.
func Open(r io.ReaderAt, size int64) (*File, error) {
	if size < headerSize+trailerSize {
		return nil, damaged("trailer", "the file has %d bytes: it is cut short", size)
	}
	f := &File{r: r, size: size}
	// The trailer comes first: its version has a checksum.
	tail, err := f.read("trailer", size-trailerSize, trailerSize)
	if err != nil {
		return nil, err
	}
	if f.tail, err = decodeTrailer(tail, size); err != nil {
		return nil, err
	}
	head, err := f.read("header", 0, headerSize)
	if err != nil {
		return nil, err
	}
	if err := checkHeader(head); err != nil {
		return nil, err
	}
	if f.tail.footerLength > maxFooter {
		return nil, damaged("trailer", "the footer has %d bytes", f.tail.footerLength)
	}
	footer, err := f.read("footer", int64(f.tail.footer), int(f.tail.footerLength))
	if err != nil {
		return nil, err
	}
	if err := check("footer", footer, f.tail.footerChecksum); err != nil {
		return nil, err
	}
	if f.index, err = decodeIndex(footer, f.tail); err != nil {
		return nil, err
	}
	return f, nil
}

// Index returns the file's index. The caller must not change it.
func (f *File) Index() *Index { return f.index }

// Size is the file's length in bytes.
func (f *File) Size() int64 { return f.size }

func (f *File) read(place string, offset int64, length int) ([]byte, error) {
	b := make([]byte, length)
	return b, f.readInto(place, b, offset)
}

func (f *File) readInto(place string, b []byte, offset int64) error {
	n, err := f.r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return damaged(place, "the file is cut short")
	}
	return fmt.Errorf("read %s: %w", place, err)
}

// readAhead is how many bytes of blocks are read at once, unless one block is
// larger.
const readAhead = 1 << 20

// Blocks calls fn with each block of extent i, in order. Payloads are checked
// and valid until fn returns. It takes about 1 MiB of memory, or that of the
// largest block.
func (f *File) Blocks(i int, fn func(Block) error) error {
	all, err := f.all(i)
	if err != nil {
		return err
	}
	return f.BlocksIn(all, fn)
}

// Range is some consecutive blocks of an extent.
type Range struct {
	Extent int // its index
	First  int // index of the first block in the extent
	Blocks int // number
}

// all returns the range of all blocks of extent i.
func (f *File) all(i int) (Range, error) {
	if i < 0 || i >= len(f.index.Extents) {
		return Range{}, fmt.Errorf("segment has %d extents, not one with index %d", len(f.index.Extents), i)
	}
	return Range{Extent: i, Blocks: len(f.index.Extents[i].Blocks)}, nil
}

// listed returns the index entries of the blocks of a range.
func (f *File) listed(r Range) ([]BlockInfo, error) {
	all, err := f.all(r.Extent)
	if err != nil {
		return nil, err
	}
	if r.First < 0 || r.Blocks < 0 || r.First > all.Blocks-r.Blocks {
		return nil, damaged("footer", "extent %d has %d blocks, wanted are %d from %d on", r.Extent, all.Blocks, r.Blocks, r.First)
	}
	return f.index.Extents[r.Extent].Blocks[r.First : r.First+r.Blocks], nil
}

// BlocksIn is Blocks for the blocks of a range.
func (f *File) BlocksIn(r Range, fn func(Block) error) error {
	return f.blocks(r, func(place string, k *BlockInfo, payload []byte) error {
		if err := check(place, payload, k.Checksum); err != nil {
			return err
		}
		return fn(Block{Rows: k.Rows, RowsBytes: k.RowsBytes, RowsCRC32: k.RowsCRC32, Flags: k.Flags, Payload: payload, Checksum: k.Checksum})
	})
}

// Place is the place of a block's payload in the file, in bytes.
type Place struct {
	Offset int64
	Length int
}

// Places calls fn with each block of a range, in order, and with the place of its
// payload, which is neither read nor checked.
func (f *File) Places(r Range, fn func(Block, Place) error) error {
	blocks, err := f.listed(r)
	if err != nil {
		return err
	}
	_, offset := f.start(r)
	for i := range blocks {
		k := &blocks[i]
		at := Place{Offset: offset, Length: k.Length}
		if err := fn(Block{Rows: k.Rows, RowsBytes: k.RowsBytes, RowsCRC32: k.RowsCRC32, Flags: k.Flags, Checksum: k.Checksum}, at); err != nil {
			return err
		}
		offset += int64(k.Length)
	}
	return nil
}

// start returns the number in the file of a range's first block, and the offset of its
// payload.
func (f *File) start(r Range) (number int, offset int64) {
	number = r.First
	for _, before := range f.index.Extents[:r.Extent] {
		number += len(before.Blocks)
	}
	e := &f.index.Extents[r.Extent]
	offset = e.Offset
	for i := range e.Blocks[:r.First] {
		offset += int64(e.Blocks[i].Length)
	}
	return number, offset
}

// Totals returns the rows, bytes and checksum of extent i, as the index lists
// them.
func (f *File) Totals(i int) (batch.Totals, error) {
	all, err := f.all(i)
	if err != nil {
		return batch.Totals{}, err
	}
	return f.TotalsIn(all)
}

// TotalsIn is Totals for the blocks of a range.
func (f *File) TotalsIn(r Range) (batch.Totals, error) {
	var t batch.Totals
	blocks, err := f.listed(r)
	if err != nil {
		return t, err
	}
	for i := range blocks {
		t.Append(blocks[i].totals())
	}
	return t, nil
}

// Find returns the index of a partition's extent; false: the file has none.
func (f *File) Find(p Partition) (int, bool) {
	return slices.BinarySearchFunc(f.index.Extents, p, func(e Extent, p Partition) int { return e.Compare(p) })
}

// check compares bytes with their checksum.
func check(place string, p []byte, want uint32) error {
	if sum := Checksum(p); sum != want {
		return damaged(place, "checksum %08x, want %08x", sum, want)
	}
	return nil
}

// blocks calls fn with the bytes of each block of a range, unchecked.
func (f *File) blocks(r Range, fn func(place string, k *BlockInfo, payload []byte) error) error {
	blocks, err := f.listed(r)
	if err != nil {
		return err
	}
	e := &f.index.Extents[r.Extent]
	number, offset := f.start(r)
	held := windows.Get().(*[]byte)
	defer windows.Put(held)
	for at := 0; at < len(blocks); {
		n, length := window(blocks[at:])
		if cap(*held) < length {
			*held = make([]byte, length)
		}
		buffer := (*held)[:length]
		if err := f.readInto(blockPlace(number, e), buffer, offset); err != nil {
			return err
		}
		rest := buffer
		for k := range blocks[at : at+n] {
			info := &blocks[at+k]
			payload := rest[:info.Length:info.Length]
			rest = rest[info.Length:]
			if err := fn(blockPlace(number, e), info, payload); err != nil {
				return err
			}
			number++
		}
		at += n
		offset += int64(length)
	}
	return nil
}

// windows are buffers that blocks are read into, one for each extent that is
// being read. Each has at most readAhead bytes or those of the largest block that
// it has held. An export thus does not allocate, and clear, a mebibyte for each
// extent.
var windows = sync.Pool{New: func() any { return new([]byte) }}

// window is how many blocks are read at once, and their length.
func window(blocks []BlockInfo) (n, length int) {
	for _, k := range blocks {
		if n > 0 && length+k.Length > readAhead {
			break
		}
		n++
		length += k.Length
	}
	return n, length
}

func blockPlace(number int, e *Extent) string {
	return fmt.Sprintf("block %d (%s of %s)", number, e.Kind, e.UTCDate)
}

func pagePlace(s *Section, page int) string { return fmt.Sprintf("keys of %s, page %d", s.Day, page) }

// Page reads keys of a page of a section into dst, KeySize bytes each.
func (f *File) Page(s *Section, i int, dst []byte) ([]byte, error) {
	n := min(s.Count-i*PageKeys, PageKeys) * KeySize
	dst = slices.Grow(dst[:0], n)[:n]
	place := pagePlace(s, i)
	if err := f.readInto(place, dst, s.Offset+int64(i)*PageKeys*KeySize); err != nil {
		return nil, err
	}
	return dst, check(place, dst, s.Pages[i].Checksum)
}

// Filter reads a section's filter.
func (f *File) Filter(s *Section) (Filter, error) {
	place := "filter of " + s.Day.String()
	b, err := f.read(place, s.filterOffset(), s.FilterLength)
	if err != nil {
		return nil, err
	}
	return Filter(b), check(place, b, s.FilterChecksum)
}
