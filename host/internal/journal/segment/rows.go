package segment

import (
	"bytes"
	"fmt"
	"hash/crc32"

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
	every   int          // blocks to one that is inflated again
	left    int          // blocks until that one
	general *Encoder     // takes over after a block that did not inflate to its rows
	warn    func(error)  // may be nil
	harm    func([]byte) // changes a payload; nil but in tests
}

// NewRowEncoder returns an encoder. Some blocks are inflated again, about one in 64; warn
// is told once of one that does not give its rows. That one, and all that follow, are
// compressed by an Encoder. Those before it were not looked at.
func NewRowEncoder(warn func(error)) *RowEncoder { return &RowEncoder{warn: warn, every: checkEvery} }

// Careful has every later block inflated again.
func (e *RowEncoder) Careful() { e.every, e.left = 1, 0 }

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
	if e.left > 0 {
		e.left--
		return b, nil
	}
	e.left = e.every - 1
	if _, err := e.check.check(b.Payload, b.RowsBytes, b.RowsCRC32); err != nil {
		if checkEvery == 1 {
			return Block{}, err
		}
		e.general = NewEncoder()
		if e.warn != nil {
			e.warn(fmt.Errorf("a block was not compressed right, and is compressed again; up to %d blocks before it were not checked, which 'penstock journal verify' does: %w",
				checkEvery-1, err))
		}
		return e.general.Encode(rows, count, flags)
	}
	return b, nil
}
