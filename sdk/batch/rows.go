package batch

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"sync"

	"github.com/klauspost/compress/flate"
)

// ErrCorrupt says that a batch's payload does not agree with the batch's other
// fields: number of rows, size or checksum.
var ErrCorrupt = errors.New("batch is corrupt")

// syncFlush is an empty stored block, the end of every fragment that has rows.
var syncFlush = []byte{0x00, 0x00, 0xff, 0xff}

// finalBlock is an empty block with the final bit. A fragment followed by it is
// a whole DEFLATE stream.
var finalBlock = []byte{0x03, 0x00}

// AppendRows decodes the batch, appends its rows, each with its newline, and
// returns the extended slice. It takes RowsBytes of memory and never more: a
// payload that holds more, or other bytes than RowsCRC32 says, is ErrCorrupt.
func (b *Batch) AppendRows(dst []byte) ([]byte, error) {
	if err := b.Check(); err != nil {
		return dst, err
	}
	if b.RowsBytes == 0 && len(b.Payload) == 0 {
		return dst, nil
	}
	start := len(dst)
	dst = grow(dst, b.RowsBytes)
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	if err := d.decode(dst[start:], b.Payload); err != nil {
		return dst[:start], fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if sum := crc32.ChecksumIEEE(dst[start:]); sum != b.RowsCRC32 {
		return dst[:start], fmt.Errorf("%w: CRC-32 of its rows is %08x, not %08x", ErrCorrupt, sum, b.RowsCRC32)
	}
	return dst, nil
}

// Lines decodes the batch and yields its rows in order, each without its
// newline. A row is valid until the next one; the last pair holds the error
// when decoding failed or there are not as many rows as the batch says.
func (b *Batch) Lines() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		data, err := b.AppendRows((*buf)[:0])
		*buf = data
		if err != nil {
			yield(nil, err)
			return
		}
		rows := 0
		for ; len(data) > 0; rows++ {
			n := bytes.IndexByte(data, '\n')
			if n < 0 {
				yield(nil, fmt.Errorf("%w: its last row has no newline", ErrCorrupt))
				return
			}
			if !yield(data[:n:n], nil) {
				return
			}
			data = data[n+1:]
		}
		if rows != b.Rows {
			yield(nil, fmt.Errorf("%w: it holds %d rows, not %d", ErrCorrupt, rows, b.Rows))
		}
	}
}

// Check returns ErrCorrupt for faults that can be found without decoding: a
// size over its limit, a missing payload, a missing sync flush. Reader,
// AppendRows and GzipWriter call it.
func (b *Batch) Check() error {
	switch {
	case b.Rows < 0 || b.RowsBytes < 0 || b.RowsBytes > MaxRowsBytes:
		return fmt.Errorf("%w: %d rows of %d bytes, at most %d", ErrCorrupt, b.Rows, b.RowsBytes, MaxRowsBytes)
	case len(b.Payload) > MaxPayload:
		return fmt.Errorf("%w: its payload has %d bytes, at most %d", ErrCorrupt, len(b.Payload), MaxPayload)
	case len(b.Payload) == 0 && (b.RowsBytes != 0 || b.RowsCRC32 != 0 || b.Rows != 0):
		return fmt.Errorf("%w: %d rows without payload", ErrCorrupt, b.Rows)
	case len(b.Payload) > 0 && !bytes.HasSuffix(b.Payload, syncFlush):
		return fmt.Errorf("%w: its payload does not end with a sync flush", ErrCorrupt)
	}
	return nil
}

func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) < n {
		dst = append(make([]byte, 0, len(dst)+n), dst...)
	}
	return dst[:len(dst)+n]
}

var (
	decoders = sync.Pool{New: func() any { return new(decoder) }}
	buffers  = sync.Pool{New: func() any { return new([]byte) }}
)

// decoder keeps the memory of one inflater. The payload is copied together
// with a final block into one slice: the inflater is fast on a bytes.Reader.
type decoder struct {
	buf     []byte
	in      bytes.Reader
	inflate io.ReadCloser
}

// decode fills dst from a fragment. The fragment must hold exactly as much,
// and must not have ended before its last byte.
func (d *decoder) decode(dst, payload []byte) error {
	d.buf = append(append(d.buf[:0], payload...), finalBlock...)
	d.in.Reset(d.buf)
	if d.inflate == nil {
		d.inflate = flate.NewReader(&d.in)
	} else if err := d.inflate.(flate.Resetter).Reset(&d.in, nil); err != nil {
		return err
	}
	if n, err := io.ReadFull(d.inflate, dst); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("its payload ends after %d bytes of rows, not %d", n, len(dst))
		}
		return err
	}
	var more [1]byte
	switch n, err := io.ReadFull(d.inflate, more[:]); {
	case n > 0:
		return fmt.Errorf("its payload holds more than %d bytes of rows", len(dst))
	case !errors.Is(err, io.EOF):
		return err
	case d.in.Len() > 0:
		return errors.New("its payload has the final bit before its end")
	}
	return nil
}
