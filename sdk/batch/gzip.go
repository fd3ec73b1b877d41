package batch

import (
	"encoding/binary"
	"fmt"
	"io"
)

// header is that of a gzip member without a name, a comment or a time (bytes
// 4 to 7), from an unknown system (255).
var header = [10]byte{0x1f, 0x8b, 8, 9: 255}

// trailerSize is the final block, the CRC and the length.
const trailerSize = 2 + 4 + 4

// GzipWriter joins batches into one ordinary gzip member by copying. The same
// batches make the same bytes.
type GzipWriter struct {
	w      io.Writer
	totals Totals
	size   int64
	err    error
	closed bool
}

// NewGzipWriter returns a writer that writes to w. Each batch is one Write;
// the header comes before the first, or with Close.
func NewGzipWriter(w io.Writer) *GzipWriter { return &GzipWriter{w: w} }

// WriteBatch appends a batch. It does not decode it: the rows' CRC-32 and
// length are taken as the batch says. After an error the member is unusable.
func (g *GzipWriter) WriteBatch(b *Batch) error {
	if g.closed {
		return fmt.Errorf("write gzip member: it is closed")
	}
	if g.err == nil {
		g.err = b.Check()
	}
	if err := g.begin(); err != nil || len(b.Payload) == 0 {
		return err
	}
	g.totals.Add(b)
	return g.write(b.Payload)
}

// Close writes the end of the member: a final empty block, the rows' CRC-32
// and their length modulo 2^32. Without batches it is the member of nothing.
// It does not close the underlying writer; only the first call writes.
func (g *GzipWriter) Close() error {
	if g.closed {
		return g.err
	}
	g.closed = true
	if err := g.begin(); err != nil {
		return err
	}
	end := make([]byte, 0, trailerSize)
	end = append(end, finalBlock...)
	end = binary.LittleEndian.AppendUint32(end, g.totals.RowsCRC32)
	end = binary.LittleEndian.AppendUint32(end, uint32(g.totals.RowsBytes))
	return g.write(end)
}

// Size is the number of bytes that were written so far; after Close, the
// member's size.
func (g *GzipWriter) Size() int64 { return g.size }

// Totals count the rows that the member holds.
func (g *GzipWriter) Totals() Totals { return g.totals }

func (g *GzipWriter) begin() error {
	if g.err != nil || g.size > 0 {
		return g.err
	}
	return g.write(header[:])
}

func (g *GzipWriter) write(p []byte) error {
	n, err := g.w.Write(p)
	g.size += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	g.err = err
	return err
}
