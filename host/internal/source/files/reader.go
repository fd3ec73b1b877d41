package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// pieceSize is how much of a file a piece holds at most, unless one record is
// larger.
const pieceSize = 512 << 10

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

// next returns the next piece; with io.EOF the file is at its end, and the
// piece, if there is one, is its last.
func (r *reader) next(ctx context.Context) (*ingest.Piece, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	p := &ingest.Piece{File: r.entry.path, Edition: r.cursor.Edition, Base: r.cursor.Offset}
	buffer := r.source.buffers.Get().(*[]byte)
	data := append((*buffer)[:0], r.carry...)
	p.Release = func() { r.source.buffers.Put(buffer) }
	for {
		data = r.fill(data)
		if r.cursor.Offset == 0 && r.splitter == nil && !r.skipping {
			data = r.begin(p, data)
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

// byteOrderMark begins files that some editors write. It is no part of JSON.
const byteOrderMark = "\ufeff"

// begin looks at a file's first bytes: whether it holds arrays. It returns data
// without a byte order mark.
func (r *reader) begin(p *ingest.Piece, data []byte) []byte {
	if bytes.HasPrefix(data, []byte(byteOrderMark)) {
		n := len(byteOrderMark)
		r.cursor.Offset, p.Base = int64(n), int64(n)
		data = data[:copy(data, data[n:])]
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' && ingest.IsArray(trimmed) {
		r.splitter, r.cursor.Arrays = ingest.Resume(false), true
	}
	return data
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

// finish makes the piece of the first whole bytes of data.
func (r *reader) finish(p *ingest.Piece, data []byte, whole int) (*ingest.Piece, error) {
	r.carry = append(r.carry[:0], data[whole:]...)
	if r.splitter != nil {
		r.splitter.Drop(whole)
		r.cursor.InArray = r.splitter.InArray()
	}
	r.cursor.Offset += int64(whole)
	r.cursor.read(data[:whole])
	p.Data, p.End = data[:whole], r.cursor.Offset
	p.Read, r.read = r.stored.n-r.read, r.stored.n
	// Behind a line that was too long there may be whole records in what is left.
	atEnd := r.ended != nil && (p.Records == nil || r.splitter != nil || len(r.carry) == 0 || r.skipping)
	if atEnd {
		if err := r.conclude(p); err != nil {
			return nil, err
		}
	}
	r.cursor.Skipping = r.skipping
	// A reading cannot be taken up within an element of an array.
	path, c, resumable := r.entry.path, r.cursor, r.splitter == nil || !r.skipping || r.cursor.Done
	if resumable {
		r.source.cursors[path] = c.encode()
	}
	p.Cursor = func(repaired int64) *journal.CursorMove { return r.source.passed.move(path, c, resumable, repaired) }
	if atEnd {
		return p, io.EOF
	}
	return p, nil
}

// conclude says in the cursor how the file ended, and refuses what it was cut
// in.
func (r *reader) conclude(p *ingest.Piece) error {
	follow, rest := r.source.o.Follow, len(bytes.TrimSpace(r.carry)) > 0
	var reason schema.Reason
	detail := fmt.Sprintf("the compressed file ends or breaks here (%v); the records before are kept", r.ended)
	switch {
	case r.stored.err != nil:
		return r.stored.err
	case errors.Is(r.ended, io.EOF) && follow && (rest || r.skipping):
		r.cursor.Waiting = true
		return nil
	case errors.Is(r.ended, io.EOF) && !follow && (r.cursor.InArray || rest):
		reason, detail = truncatedFile, "the file ends before its array or last record does; the records before are kept"
	case errors.Is(r.ended, io.EOF):
	case errors.Is(r.ended, io.ErrUnexpectedEOF) && follow && !r.entry.settled:
		// Perhaps it is still being written.
		r.cursor.Waiting, r.cursor.Cut = true, true
		return nil
	case errors.Is(r.ended, io.ErrUnexpectedEOF):
		reason = truncatedFile
	default:
		reason = damagedFile
	}
	r.cursor.Done = true
	if reason != "" {
		p.Refused = append(p.Refused, ingest.Refusal{At: r.cursor.Offset, Reason: reason, Bytes: bytes.Clone(r.carry), Detail: detail})
	}
	return nil
}
