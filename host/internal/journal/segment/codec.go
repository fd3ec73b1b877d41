package segment

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"

	"github.com/penstock-io/penstock/sdk/batch"
)

// Level is the DEFLATE level of blocks. Level 1 takes about a quarter of the
// time of level 6 for a tenth more bytes.
const Level = 1

// Encoder compresses rows into blocks. It keeps its memory; it is not for
// concurrent use.
type Encoder struct {
	out bytes.Buffer
	z   *flate.Writer
}

// NewEncoder returns an encoder.
func NewEncoder() *Encoder {
	e := &Encoder{}
	z, err := flate.NewWriter(&e.out, Level)
	if err != nil {
		panic("segment: flate refuses its own level: " + err.Error())
	}
	e.z = z
	return e
}

// Encode compresses rows: lines of which each ends with a newline. The block
// has a payload of its own.
func (e *Encoder) Encode(rows []byte, count int, flags batch.Flags) (Block, error) {
	e.out.Reset()
	e.z.Reset(&e.out)
	if _, err := e.z.Write(rows); err != nil {
		return Block{}, fmt.Errorf("compress block: %w", err)
	}
	if err := e.z.Flush(); err != nil {
		return Block{}, fmt.Errorf("compress block: %w", err)
	}
	return Block{
		Rows: count, RowsBytes: len(rows), RowsCRC32: crc32.ChecksumIEEE(rows), Flags: flags,
		Payload: bytes.Clone(e.out.Bytes()),
	}, nil
}

// syncFlush ends every block: an empty stored block, byte-aligned.
var syncFlush = []byte{0, 0, 0xff, 0xff}

// final is an empty block with the final bit: it makes a fragment a whole
// stream.
var final = []byte{3, 0}

// Decoder decompresses blocks. It keeps its memory; it is not for concurrent
// use. The zero Decoder is ready.
type Decoder struct {
	z       io.ReadCloser
	in      *bufio.Reader
	payload bytes.Reader
	end     bytes.Reader
	scratch []byte
}

func (d *Decoder) reset(payload []byte) error {
	d.payload.Reset(payload)
	d.end.Reset(final)
	in := io.MultiReader(&d.payload, &d.end)
	if d.z == nil {
		d.in = bufio.NewReader(in)
		d.z = flate.NewReader(d.in)
		return nil
	}
	d.in.Reset(in)
	return d.z.(flate.Resetter).Reset(d.in, nil)
}

// Decode appends the block's rows to dst and compares their length and checksum
// with the block's. Memory grows with the inflated bytes, up to RowsBytes: a large
// RowsBytes alone, in a damaged index, allocates nothing.
func (d *Decoder) Decode(dst []byte, b Block) ([]byte, error) {
	if err := d.reset(b.Payload); err != nil {
		return dst, fmt.Errorf("decompress block: %w", err)
	}
	start := len(dst)
	out := bytes.NewBuffer(dst)
	if b.RowsBytes <= 16*len(b.Payload) {
		out.Grow(b.RowsBytes + bytes.MinRead)
	}
	if _, err := out.ReadFrom(io.LimitReader(d.z, int64(b.RowsBytes)+1)); err != nil {
		return dst, fmt.Errorf("decompress block: %w", err)
	}
	rows := out.Bytes()[start:]
	if err := compare(len(rows), crc32.ChecksumIEEE(rows), b.RowsBytes, b.RowsCRC32); err != nil {
		return dst, err
	}
	return out.Bytes(), nil
}

// check inflates a block without keeping its rows, and counts them.
func (d *Decoder) check(payload []byte, length int, sum uint32) (lines int, err error) {
	if err := d.reset(payload); err != nil {
		return 0, fmt.Errorf("decompress block: %w", err)
	}
	if d.scratch == nil {
		d.scratch = make([]byte, 64<<10)
	}
	n, crc := 0, uint32(0)
	for n <= length {
		k, err := d.z.Read(d.scratch)
		n += k
		crc = crc32.Update(crc, crc32.IEEETable, d.scratch[:k])
		lines += bytes.Count(d.scratch[:k], []byte{'\n'})
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("decompress block: %w", err)
		}
	}
	return lines, compare(n, crc, length, sum)
}

func compare(length int, sum uint32, wantLength int, wantSum uint32) error {
	if length != wantLength || sum != wantSum {
		return fmt.Errorf("block holds %d bytes with checksum %08x, the index says %d with %08x", length, sum, wantLength, wantSum)
	}
	return nil
}

// Decode is Decoder.Decode with a Decoder of its own.
func Decode(dst []byte, b Block) ([]byte, error) {
	var d Decoder
	return d.Decode(dst, b)
}
