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
	source     *Source
	entry      entry
	cursor     cursor
	stored     *counter  // the file as it is stored
	content    io.Reader // decompressed
	compressed bool      // content is not as stored
	memory     uint64    // bytes that decompressing takes, if they are many
	prefetch   *prefetch // which reads content; nil: nothing does
	stop       context.CancelFunc
	free       func()

	digest digest    // of the bytes before the cursor's offset; the cursor itself has no hash of them
	last   *cutPiece // the last piece; nil: there is none
	noted  *cutPiece // the last one behind which reading can be taken up, until the source has its cursor
	start  []byte    // the first bytes of the file
	retire *cursor   // of the content that the path had before; nil: none, or done

	carry    []byte // behind the last piece
	ended    error  // why reading ended: io.EOF, or the error that cut the file; nil: it goes on
	splitter *ingest.Splitter
	ahead    ahead
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
	if w := r.ahead.take(r); w != nil {
		p.Records, r.splitter = w.records, w.splitter
		return r.finish(p, w.buffer, w.data, w.cut)
	}
	buffer := r.source.buffers.Get().(*[]byte)
	data := append((*buffer)[:0], r.carry...)
	for {
		if r.ended == nil {
			data, r.ended = fill(r.content, data)
		}
		if r.cursor.Offset == 0 && r.splitter == nil && !r.skipping {
			data = r.begin(p, data)
		}
		whole := r.cut(p, data)
		if whole > 0 || r.ended != nil || len(p.Refused) > 0 {
			return r.finish(p, buffer, data, whole)
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

// fill reads until the buffer is full, or to the error that ends the file.
func fill(content io.Reader, data []byte) ([]byte, error) {
	for len(data) < cap(data) {
		n, err := content.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err != nil {
			return data, err
		}
	}
	return data, nil
}

// finish makes the piece of the first whole bytes of data. The piece has the buffer, which
// holds data unless one record is larger.
func (r *reader) finish(p *ingest.Piece, buffer *[]byte, data []byte, whole int) (*ingest.Piece, error) {
	r.carry = append(r.carry[:0], data[whole:]...)
	if r.splitter != nil {
		r.splitter.Drop(whole)
		r.cursor.InArray = r.splitter.InArray()
	}
	r.cursor.Offset += int64(whole)
	r.keepStart(data[:whole])
	if len(r.start) != r.cursor.StartSize {
		r.cursor.Start, r.cursor.StartSize = sum(r.start), len(r.start)
	}
	p.Data, p.End = data[:whole], r.cursor.Offset
	read := r.stored.n.Load()
	p.Read, r.read = read-r.read, read
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
	r.moveCursor(p, buffer)
	if atEnd {
		return p, io.EOF
	}
	return p, nil
}

// moveCursor gives the piece the cursor's move, and has it hashed before its buffer goes
// back. Reading cannot be taken up within an element of an array.
func (r *reader) moveCursor(p *ingest.Piece, buffer *[]byte) {
	if len(p.Data) > 0 || len(p.Refused) > 0 {
		p.Moved, r.cursor.Origins = r.cursor.Origins, nil
	}
	if len(p.Data) > 0 {
		r.cursor.Rest = ""
	}
	s, path, retire := r.source, r.entry.path, r.retire
	cut := &cutPiece{digest: &r.digest, before: r.last, data: p.Data, cursor: r.cursor}
	if s.o.Follow && !r.cursor.Compressed && r.entry.inode != 0 {
		cut.state = &hashState{start: r.start, inode: r.entry.inode, offset: r.cursor.Offset}
	}
	r.last = cut
	resumable := r.splitter == nil || !r.skipping || r.cursor.Done
	if resumable {
		if retire != nil {
			retire.Repaired = 0
			s.setCursor(retiredAs(path, retire.Edition), *retire)
			r.retire = nil
		}
		r.noted = cut
	}
	p.Cursor = func(repaired int64) []journal.CursorMove {
		return s.passed.move(path, cut.complete(), retire, resumable, repaired)
	}
	p.Release = func() {
		cut.complete()
		s.buffers.Put(buffer)
	}
}

// settle gives the source the cursor behind the last piece. It is called before the source
// compares another file with this one, and not for each piece, since the piece is hashed
// for it.
func (r *reader) settle() {
	if r.noted == nil {
		return
	}
	c := r.noted.complete()
	r.source.setCursor(r.entry.path, c)
	if state := r.noted.state; state != nil {
		r.source.hashes[r.entry.path] = state
	}
	r.noted = nil
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
	case r.stored.failed() != nil:
		return ending{}, r.stored.failed()
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
