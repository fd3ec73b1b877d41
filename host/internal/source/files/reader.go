package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/schema"
)

const (
	// pieceSize is how much of a file a piece holds at most, unless one record
	// is larger.
	pieceSize = 512 << 10
	// keptBytes is how much of a record that is too long is set aside.
	keptBytes = 64 << 10
)

// Reasons that only a file has.
const (
	truncatedFile schema.Reason = "truncated_file"
	damagedFile   schema.Reason = "damaged_file"
)

// reader reads one file.
type reader struct {
	source *Source
	entry  entry
	cursor cursor
	stored *counter  // the file as it is stored
	plain  io.Reader // decompressed
	free   func()

	carry    []byte // behind the last piece
	ended    error  // why nothing is read any more: io.EOF, or what cut the file
	splitter *ingest.Splitter
	skipping bool // in a record that is too long
	read     int64
}

// counter counts what is read of the file as stored.
type counter struct {
	io.ReadCloser
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	return n, err
}

// open opens a file where its cursor stands, or at its beginning when it is
// new or another one.
func (s *Source) open(ctx context.Context, e entry) (*reader, error) {
	c, err := s.identify(ctx, e)
	if err != nil {
		return nil, err
	}
	r := &reader{source: s, entry: e, cursor: c, free: func() {}}
	from := int64(0)
	compressed := strings.HasSuffix(e.path, ".gz") || strings.HasSuffix(e.path, ".zst")
	if !compressed {
		from = c.Offset
	}
	stored, err := s.place.open(ctx, e.path, from)
	if err != nil {
		return nil, err
	}
	r.stored = &counter{ReadCloser: stored}
	if err := r.decompress(); err != nil {
		r.ended = err
		return r, nil
	}
	if compressed && c.Offset > 0 {
		if _, err := io.CopyN(io.Discard, r.plain, c.Offset); err != nil {
			r.ended = err
			return r, nil
		}
	}
	if c.Arrays {
		r.splitter = ingest.Resume(c.InArray)
	}
	return r, nil
}

// identify compares a file with its cursor.
func (s *Source) identify(ctx context.Context, e entry) (c cursor, err error) {
	f, err := s.place.open(ctx, e.path, 0)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if value := s.cursors[e.path]; value != nil {
		old, err := decodeCursor(value)
		if err != nil {
			return c, err
		}
		sum, n, err := head(f, old.HeadSize)
		if err != nil {
			return c, err
		}
		if n == old.HeadSize && sum == old.Head && e.size >= old.Size {
			old.Size, old.ModTime, old.ETag, old.Done = e.size, e.modTime, e.etag, false
			return old, nil
		}
		again, err := s.place.open(ctx, e.path, 0)
		if err != nil {
			return c, err
		}
		defer func() { err = errors.Join(err, again.Close()) }()
		f = again
	}
	c = cursor{Size: e.size, ModTime: e.modTime, ETag: e.etag}
	c.Head, c.HeadSize, err = head(f, maxHead)
	return c, err
}

// decompress chooses by the file's name.
func (r *reader) decompress() error {
	switch path := r.entry.path; {
	case strings.HasSuffix(path, ".gz"):
		z, err := kgzip.NewReader(r.stored)
		if err != nil {
			return err
		}
		r.plain = z
	case strings.HasSuffix(path, ".zst"):
		z, err := zstd.NewReader(r.stored, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return err
		}
		r.plain, r.free = z, z.Close
	default:
		r.plain = r.stored
	}
	return nil
}

func (r *reader) close() error {
	r.free()
	return r.stored.Close()
}

// next returns the next piece; with io.EOF the file is at its end, and the
// piece, if there is one, is its last.
func (r *reader) next(ctx context.Context) (*ingest.Piece, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	p := &ingest.Piece{File: r.entry.path, Base: r.cursor.Offset}
	buffer := r.source.buffers.Get().(*[]byte)
	data := append((*buffer)[:0], r.carry...)
	p.Release = func() { r.source.buffers.Put(buffer) }
	for {
		data = r.fill(data)
		if r.cursor.Offset == 0 && r.splitter == nil && !r.skipping && firstByte(data) == '[' {
			r.splitter, r.cursor.Arrays = &ingest.Splitter{}, true
		}
		whole := r.cut(p, data)
		if whole > 0 || r.ended != nil || len(p.Refused) > 0 {
			return r.finish(p, data, whole)
		}
		if len(data) == cap(data) {
			// One record is larger than a piece. The pooled buffer keeps its size,
			// so that pieces are cut the same way each time.
			data = append(make([]byte, 0, 2*cap(data)), data...)
		}
	}
}

// fill reads until the buffer is full or the file ends.
func (r *reader) fill(data []byte) []byte {
	for r.ended == nil && len(data) < cap(data) {
		n, err := r.plain.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		r.ended = err
	}
	return data
}

// cut says how much of data is whole records, and refuses what is too long.
func (r *reader) cut(p *ingest.Piece, data []byte) int {
	if r.splitter != nil {
		return r.cutArray(p, data)
	}
	if r.skipping {
		return r.skipLine(p, data)
	}
	if r.ended != nil && errors.Is(r.ended, io.EOF) && !r.source.o.Follow {
		return len(data)
	}
	if whole := bytes.LastIndexByte(data, '\n') + 1; whole > 0 || len(data) <= schema.MaxRecord {
		return whole
	}
	r.skipping = true
	p.Refused = append(p.Refused, tooLong(p.Base, data))
	return r.skipLine(p, data)
}

func tooLong(at int64, record []byte) ingest.Refusal {
	return ingest.Refusal{
		At: at, Reason: schema.TooLong, Bytes: bytes.Clone(record[:min(len(record), keptBytes)]),
		Detail: fmt.Sprintf("the record has more than %d bytes; the first %d are kept", schema.MaxRecord, keptBytes),
	}
}

// skipLine drops data up to the end of a line that is too long. What is
// dropped is part of the piece, as no record.
func (r *reader) skipLine(p *ingest.Piece, data []byte) int {
	end := bytes.IndexByte(data, '\n') + 1
	if end > 0 {
		r.skipping = false
	} else {
		end = len(data)
	}
	p.Records = []ingest.Span{}
	return end
}

// cutArray finds whole elements.
func (r *reader) cutArray(p *ingest.Piece, data []byte) int {
	s := r.splitter
	if p.Records == nil {
		p.Records = []ingest.Span{}
	}
	for {
		span, state := s.Next(data)
		if state == ingest.Incomplete {
			break
		}
		if r.skipping {
			r.skipping = false
			continue
		}
		p.Records = append(p.Records, span)
	}
	start, open := s.InElement()
	switch {
	case !open:
		return s.At
	case r.skipping:
		return len(data)
	case len(data)-start > schema.MaxRecord:
		r.skipping = true
		p.Refused = append(p.Refused, tooLong(p.Base+int64(start), data[start:]))
		return len(data)
	case r.ended != nil && errors.Is(r.ended, io.EOF) && !r.source.o.Follow:
		p.Refused = append(p.Refused, ingest.Refusal{
			At: p.Base + int64(start), Reason: schema.InvalidJSON, Bytes: bytes.Clone(data[start:]), Detail: "the file ends in the middle of a record",
		})
		return len(data)
	default:
		return start
	}
}

// finish makes the piece of the first whole bytes of data.
func (r *reader) finish(p *ingest.Piece, data []byte, whole int) (*ingest.Piece, error) {
	r.carry = append(r.carry[:0], data[whole:]...)
	if r.splitter != nil {
		r.splitter.Drop(whole)
		r.cursor.InArray = r.splitter.InArray()
	}
	r.cursor.Offset += int64(whole)
	p.Data, p.End = data[:whole], r.cursor.Offset
	p.Read, r.read = r.stored.n-r.read, r.stored.n
	var end error
	if r.ended != nil {
		end = io.EOF
		if err := r.conclude(p); err != nil {
			return nil, err
		}
	}
	if whole == 0 && len(p.Refused) == 0 && end == nil {
		return nil, nil
	}
	p.Cursor = r.source.move(r.entry.path, r.cursor)
	return p, end
}

// conclude marks the file as read, and refuses what it was cut in.
func (r *reader) conclude(p *ingest.Piece) error {
	r.cursor.Done = true
	var reason schema.Reason
	switch {
	case errors.Is(r.ended, io.EOF):
		return nil
	case errors.Is(r.ended, io.ErrUnexpectedEOF):
		reason = truncatedFile
	case errors.Is(r.ended, gzip.ErrChecksum), errors.Is(r.ended, gzip.ErrHeader), errors.Is(r.ended, kgzip.ErrChecksum), errors.Is(r.ended, kgzip.ErrHeader),
		isCorrupt(r.ended):
		reason = damagedFile
	default:
		return r.ended
	}
	p.Refused = append(p.Refused, ingest.Refusal{
		At: r.cursor.Offset, Reason: reason, Bytes: bytes.Clone(r.carry[:min(len(r.carry), keptBytes)]),
		Detail: fmt.Sprintf("the compressed file ends or breaks here (%v); the records before are kept", r.ended),
	})
	return nil
}

// isCorrupt says whether a decompressor gave up on its input.
func isCorrupt(err error) bool {
	text := err.Error()
	for _, hint := range []string{"corrupt", "magic number", "invalid input", "checksum", "reserved"} {
		if strings.Contains(text, hint) {
			return true
		}
	}
	return false
}
