package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/zeebo/xxh3"

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
	source     *Source
	entry      entry
	cursor     cursor
	stored     *counter  // the file as it is stored
	content    io.Reader // decompressed
	compressed bool      // content is not as stored
	free       func()

	hash   xxh3.Hasher // of the bytes before the cursor's offset
	start  []byte      // the first of them
	retire *cursor     // of the content that the path had before; nil: none, or done

	carry    []byte // behind the last piece
	ended    error  // why reading ended: io.EOF, or the error that cut the file; nil: it goes on
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

// byteOrderMark begins files that some editors write. It is not a part of JSON.
const byteOrderMark = "\ufeff"

// begin looks at a file's first bytes: whether it holds arrays. It returns data
// without a byte order mark.
func (r *reader) begin(p *ingest.Piece, data []byte) []byte {
	if bytes.HasPrefix(data, []byte(byteOrderMark)) {
		n := len(byteOrderMark)
		r.note(data[:n])
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
		n, err := r.content.Read(data[len(data):cap(data)])
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
	r.note(data[:whole])
	r.cursor.Sum = r.sum()
	if len(r.start) != r.cursor.StartSize {
		r.cursor.Start, r.cursor.StartSize = sum(r.start), len(r.start)
	}
	p.Data, p.End = data[:whole], r.cursor.Offset
	p.Read, r.read = r.stored.n-r.read, r.stored.n
	r.cursor.Skipping = r.skipping
	// A last record that is refused is a piece of its own. It begins where the piece
	// with the whole record will begin, which then replaces it.
	atEnd := r.ended != nil && (whole == 0 || len(r.carry) == 0)
	if atEnd {
		e, err := r.end()
		if err != nil {
			return nil, err
		}
		if atEnd = whole == 0 || e.refusal == nil; atEnd {
			r.conclude(p, e)
		}
	}
	r.moveCursor(p)
	if atEnd {
		return p, io.EOF
	}
	return p, nil
}

// moveCursor gives the piece the cursor's move. Reading cannot be taken up within
// an element of an array.
func (r *reader) moveCursor(p *ingest.Piece) {
	if len(p.Data) > 0 || len(p.Refused) > 0 {
		p.Moved, r.cursor.Origins = r.cursor.Origins, nil
	}
	if len(p.Data) > 0 {
		r.cursor.Rest = ""
	}
	s, path, c, retire := r.source, r.entry.path, r.cursor, r.retire
	resumable := r.splitter == nil || !r.skipping || c.Done
	if resumable {
		if retire != nil {
			retire.Repaired = 0
			s.setCursor(retiredAs(path, retire.Edition), *retire)
			r.retire = nil
		}
		s.setCursor(path, c)
		if s.o.Follow && !c.Compressed && r.entry.inode != 0 {
			s.hashes[path] = &hashState{hash: r.hash, start: r.start, inode: r.entry.inode, offset: c.Offset}
		}
	}
	p.Cursor = func(repaired int64) []journal.CursorMove { return s.passed.move(path, c, retire, resumable, repaired) }
}

// ending is how a file ended.
type ending struct {
	waits   string // why its last record is waited for, or ""
	cut     bool   // its compressed stream is not complete; with waits
	refusal *ingest.Refusal
}

// end returns how the file ended. A last record that is not complete waits for
// its rest until the file is finished, and is refused then.
func (r *reader) end() (ending, error) {
	follow, rest := r.source.o.Follow, len(bytes.Trim(r.carry, " \t\r\n\x00")) > 0
	broken := fmt.Sprintf("the compressed file ends or breaks here (%v); the records before are kept", r.ended)
	switch {
	case r.stored.err != nil:
		return ending{}, r.stored.err
	case errors.Is(r.ended, io.EOF) && follow && (rest || r.skipping):
		return ending{waits: "its last record is not complete"}, nil
	case errors.Is(r.ended, io.EOF) && !follow && (r.cursor.InArray || rest):
		if !r.isOver() {
			return ending{waits: "its last record or array is not complete"}, nil
		}
		return r.refuse(r.lastReason(), "the file ends before its array or last record does; the records before are kept"), nil
	case errors.Is(r.ended, io.EOF):
		return ending{}, nil
	case errors.Is(r.ended, io.ErrUnexpectedEOF) && (follow && !r.entry.settled || !follow && !r.finished()):
		// Perhaps it is still being written.
		return ending{waits: "its compressed stream is not complete", cut: true}, nil
	case errors.Is(r.ended, io.ErrUnexpectedEOF):
		return r.refuse(truncatedFile, broken), nil
	default:
		return r.refuse(damagedFile, broken), nil
	}
}

func (r *reader) refuse(reason schema.Reason, detail string) ending {
	return ending{refusal: &ingest.Refusal{At: r.cursor.Offset, Reason: reason, Bytes: bytes.Clone(r.carry), Detail: detail}}
}

// lastReason returns why a last record without end is refused: it could never
// have become one, or its rest is missing.
func (r *reader) lastReason() schema.Reason {
	line := bytes.TrimLeft(r.carry, " \t\r")
	if r.splitter != nil || len(line) == 0 {
		return truncatedFile
	}
	var b schema.Bounds
	if line[0] == '{' {
		if _, extent := b.Value(line); extent == schema.Cut {
			return truncatedFile
		}
	}
	return schema.InvalidJSON
}

// conclude notes in the cursor and in the last piece how the file ended.
func (r *reader) conclude(p *ingest.Piece, e ending) {
	if e.waits != "" {
		r.cursor.Waiting, r.cursor.Cut, r.cursor.Rest = true, e.cut, ""
		r.source.waits(fmt.Sprintf("%s, from byte %d: %s", r.entry.path, r.cursor.Offset, e.waits))
		return
	}
	r.cursor.Done = true
	if e.refusal == nil {
		r.cursor.Rest = ""
		return
	}
	before := r.cursor.Rest
	r.cursor.Rest = sum(e.refusal.Bytes)
	if p.Known = r.cursor.Rest == before && len(r.cursor.Origins) == 0; !p.Known {
		p.Refused = append(p.Refused, *e.refusal)
	}
}
