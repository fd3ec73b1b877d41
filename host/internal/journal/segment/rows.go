package segment

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"sync/atomic"

	"github.com/penstock-io/penstock/host/internal/journal/rowflate"
	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/sdk/batch"
)

// RowEncoder compresses rows into blocks as Encoder does, in less time and into fewer
// bytes. The payload depends on the rows that it was given before, so that it is not for
// blocks that are named by their bytes. It keeps its memory; it is not for concurrent
// use.
type RowEncoder struct {
	rows    rowflate.Encoder
	out     []byte
	check   Decoder
	care    *Care
	left    int          // blocks until one is inflated again
	general *Encoder     // takes over after a block that did not inflate to its rows
	harm    func([]byte) // changes a payload; nil but in tests
}

// Care is which blocks are inflated again, of row encoders that share it: about one in 64 of
// each, and all once one was wrong, since they are the same code on the same machine. It may
// be used concurrently.
type Care struct {
	all  atomic.Bool
	warn func(error) // may be nil
}

// NewCare returns the care of encoders. warn is told of blocks that do not give their rows;
// it may be nil.
func NewCare(warn func(error)) *Care { return &Care{warn: warn} }

// All has every later block inflated again.
func (c *Care) All() { c.all.Store(true) }

// Wrong notes that a block was compressed wrong, and compressed again.
func (c *Care) Wrong(err error) {
	c.All()
	if c.warn != nil {
		c.warn(fmt.Errorf("a block was not compressed right, and is compressed again; up to %d blocks before it were not checked, which 'penstock journal verify' does: %w",
			checkEvery-1, err))
	}
}

// NewRowEncoder returns an encoder. A block that is inflated again and does not give its
// rows, and all that follow, are compressed by an Encoder. Those before it were perhaps not
// looked at. care may be nil: that of this encoder alone.
func NewRowEncoder(care *Care) *RowEncoder {
	if care == nil {
		care = NewCare(nil)
	}
	return &RowEncoder{care: care}
}

// Encode compresses rows: lines of which each ends with a newline. The block has a
// payload of its own.
func (e *RowEncoder) Encode(rows []byte, count int, flags batch.Flags) (Block, error) {
	return e.EncodeMarked(rows, nil, 0, count, flags)
}

// EncodeMarked is Encode with marks of the rows' members, as places in rows plus base.
func (e *RowEncoder) EncodeMarked(rows []byte, marks []rowmark.Mark, base, count int, flags batch.Flags) (Block, error) {
	if e.general != nil {
		return e.general.Encode(rows, count, flags)
	}
	e.out = e.rows.EncodeMarked(e.out[:0], rows, marks, base)
	if e.harm != nil {
		e.harm(e.out)
	}
	b := Block{Rows: count, RowsBytes: len(rows), RowsCRC32: crc32.ChecksumIEEE(rows), Flags: flags, Payload: bytes.Clone(e.out)}
	if e.left > 0 && !e.care.all.Load() {
		e.left--
		return b, nil
	}
	e.left = checkEvery - 1
	if _, err := e.check.check(b.Payload, b.RowsBytes, b.RowsCRC32); err != nil {
		if checkEvery == 1 {
			return Block{}, err
		}
		e.general = NewEncoder()
		e.care.Wrong(err)
		return e.general.Encode(rows, count, flags)
	}
	return b, nil
}
