package profile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// A run is a sequence of chunks: a CRC-32C of the bytes after it, the length of its
// rows, how many bytes are stored, all little-endian, and the stored bytes: S2
// of, for each row, its hash and length and itself.
const chunkHeader = 12

// runWriter writes a run.
type runWriter struct {
	run    run
	w      disk.Writer
	size   int
	chunk  []byte
	stored []byte
}

func (w *runWriter) add(hash uint64, row []byte) error {
	if len(w.chunk) > 0 && len(w.chunk)+len(row) > w.size {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.chunk = binary.LittleEndian.AppendUint64(w.chunk, hash)
	w.chunk = binary.LittleEndian.AppendUint32(w.chunk, uint32(len(row)))
	w.chunk = append(w.chunk, row...)
	return nil
}

func (w *runWriter) flush() error {
	if len(w.chunk) == 0 {
		return nil
	}
	w.run.chunk = max(w.run.chunk, len(w.chunk))
	room := chunkHeader + s2.MaxEncodedLen(len(w.chunk))
	if cap(w.stored) < room {
		w.stored = make([]byte, room)
	}
	stored := s2.Encode(w.stored[chunkHeader:room], w.chunk)
	out := w.stored[:chunkHeader+len(stored)]
	binary.LittleEndian.PutUint32(out[4:], uint32(len(w.chunk)))
	binary.LittleEndian.PutUint32(out[8:], uint32(len(stored)))
	binary.LittleEndian.PutUint32(out, segment.Checksum(out[4:]))
	w.chunk = w.chunk[:0]
	if _, err := w.w.Write(out); err != nil {
		return fmt.Errorf("write %s: %w", w.run.name, err)
	}
	return nil
}

func (w *runWriter) finish() (run, error) {
	if err := w.flush(); err != nil {
		return run{}, w.abort(err)
	}
	return w.run, w.w.Commit()
}

func (w *runWriter) abort(err error) error { return errors.Join(err, w.w.Abort()) }

// input is sorted rows, one at a time.
type input interface {
	// next moves to the next row, and reports whether there is one.
	next() (bool, error)
	// current is the row and its key, valid until next.
	current() (generation.Key, []byte)
	close() error
}

// memoryRun reads the rows that were not spilled.
type memoryRun struct {
	rows  []byte
	index []place
	read  bool
}

func (r *memoryRun) next() (bool, error) {
	if r.read {
		r.index = r.index[1:]
	}
	r.read = true
	return len(r.index) > 0, nil
}

func (r *memoryRun) current() (generation.Key, []byte) {
	p := r.index[0]
	return p.key(r.rows), r.rows[p.from : p.from+p.length]
}

func (r *memoryRun) close() error { return nil }

// fileRun reads a run.
type fileRun struct {
	name   string
	file   disk.Reader
	offset int64
	stored []byte
	chunk  []byte
	rest   []byte // of chunk
	key    generation.Key
	row    []byte
}

func (r *fileRun) next() (bool, error) {
	if len(r.rest) == 0 {
		if r.offset == r.file.Size() {
			return false, nil
		}
		if err := r.read(); err != nil {
			return false, fmt.Errorf("read %s: %w", r.name, err)
		}
	}
	hash, length := binary.LittleEndian.Uint64(r.rest), binary.LittleEndian.Uint32(r.rest[8:])
	r.row, r.rest = r.rest[12:12+length], r.rest[12+length:]
	o, err := schema.SplitOperation(r.row)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", r.name, err)
	}
	r.key = generation.Key{Hash: hash, ID: o.ID}
	return true, nil
}

var errDamagedRun = errors.New("the file is not as it was written")

// read reads a chunk.
func (r *fileRun) read() error {
	var header [chunkHeader]byte
	if err := readFull(r.file, header[:], r.offset); err != nil {
		return err
	}
	length, stored := binary.LittleEndian.Uint32(header[4:]), binary.LittleEndian.Uint32(header[8:])
	if int64(stored) > r.file.Size()-r.offset-chunkHeader {
		return errDamagedRun
	}
	r.stored = slices.Grow(r.stored[:0], chunkHeader+int(stored))[:chunkHeader+stored]
	if err := readFull(r.file, r.stored, r.offset); err != nil {
		return err
	}
	if segment.Checksum(r.stored[4:]) != binary.LittleEndian.Uint32(header[:]) {
		return errDamagedRun
	}
	r.offset += int64(len(r.stored))
	r.chunk = slices.Grow(r.chunk[:0], int(length))
	var err error
	r.chunk, err = s2.Decode(r.chunk[:cap(r.chunk)], r.stored[chunkHeader:])
	r.rest = r.chunk
	return err
}

func readFull(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

func (r *fileRun) current() (generation.Key, []byte) { return r.key, r.row }

func (r *fileRun) close() error { return r.file.Close() }
