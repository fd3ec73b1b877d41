package mixpanel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/durable"
	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/private"
	"github.com/penstock-io/penstock/host/internal/schema"
)

const (
	spoolSuffix   = ".s2"
	partialSuffix = ".part"
)

// Download is an answer that is whole, in a file.
type Download struct {
	Query
	Asked time.Time // when the query was sent
	Bytes int64     // of its lines; of one that an earlier process left, 0 until all pieces were read
	began time.Time // when this process began with it
	seen  time.Time // when its answer began, by the server's clock; zero: unknown
	trial *trial    // that it is the result of; nil: of none
	path  string
}

// name is the file's, which tells a later process the query.
func (d *Download) name() string {
	name := fmt.Sprintf("%s_%s_%d", d.From, d.To, d.Asked.UnixMilli())
	if d.Since != 0 {
		name += fmt.Sprintf("_since_%d", d.Since)
	}
	return name
}

// parseName reads a file's name.
func parseName(path string) (*Download, error) {
	name, sinceText, late := strings.Cut(strings.TrimSuffix(filepath.Base(path), spoolSuffix), "_since_")
	parts := strings.Split(name, "_")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%s is not the name of a spool", name)
	}
	from, err := journal.ParseDay(parts[0])
	to, toErr := journal.ParseDay(parts[1])
	var ms, since int64
	_, msErr := fmt.Sscan(parts[2], &ms)
	var sinceErr error
	if late {
		_, sinceErr = fmt.Sscan(sinceText, &since)
	}
	if err := errors.Join(err, toErr, msErr, sinceErr); err != nil {
		return nil, fmt.Errorf("%s is not the name of a spool: %w", name, err)
	}
	return &Download{Query: Query{From: from, To: to, Since: since}, Asked: time.UnixMilli(ms), path: path}, nil
}

// leftovers returns the downloads that an earlier process has left whole, and
// removes the others. Files for which isFlying reports true belong to this process.
func leftovers(dir string, isFlying func(name string) bool) ([]*Download, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var whole []*Download
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.Name() == profilesFile || isFlying(e.Name()) {
			continue
		}
		if filepath.Ext(path) == spoolSuffix {
			if d, err := parseName(path); err == nil {
				whole = append(whole, d)
				continue
			}
		}
		if err := ignoreMissing(os.Remove(path)); err != nil {
			return nil, fmt.Errorf("remove an unfinished download: %w", err)
		}
	}
	return whole, nil
}

// spool writes a stream of lines to a file and looks at its end. Unless the stream
// is whole it leaves no file. line, which may be nil, is called with each line.
func spool(dir string, d *Download, stream io.Reader, progress func(bytes int64), line func([]byte)) (err error) {
	part := filepath.Join(dir, d.name()+partialSuffix)
	f, err := private.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("spool a download: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(part)))
		}
	}()
	w := s2.NewWriter(f, s2.WriterConcurrency(1), s2.WriterBlockSize(1<<20))
	err = copyLines(w, d, stream, progress, line)
	if err == nil {
		if err = w.Close(); err == nil {
			err = f.Sync()
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	crashpoint.Here("pull.spooled")
	d.path = filepath.Join(dir, d.name()+spoolSuffix)
	if err := os.Rename(part, d.path); err != nil {
		return fmt.Errorf("spool a download: %w", err)
	}
	crashpoint.Here("pull.renamed")
	return durable.SyncDir(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// copyLines copies a stream, and returns an error unless it is whole.
func copyLines(w io.Writer, d *Download, stream io.Reader, progress func(int64), line func([]byte)) error {
	end := ending{line: line}
	buffer := make([]byte, 256<<10)
	for {
		n, err := stream.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return fmt.Errorf("spool a download: %w", err)
			}
			if err := end.add(buffer[:n]); err != nil {
				return err
			}
			d.Bytes = end.bytes
			if progress != nil {
				progress(end.bytes)
			}
			crashpoint.Here("pull.streaming")
		}
		switch {
		case errors.Is(err, io.EOF):
			return end.check()
		case err == nil:
		case KindOf(err) != 0 || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
			return err
		default:
			return truncated(err, "the stream of events ended early, after %d bytes: %v", end.bytes, err)
		}
	}
}

// marker is the text that the server writes when it gives up in the middle of a stream.
const marker = "terminated early"

// longLine is the most bytes of a line that are looked at.
const longLine = 4 << 20

// ending follows a stream of lines, as far as that tells whether it is whole.
type ending struct {
	bytes, lines int64
	partial      []byte // the line that is not complete
	last         []byte // the last complete line that is not blank, if it was the last of a chunk
	line         func([]byte)
}

// add takes the next bytes. It returns an error where the stream turns out not to
// be one of events, or is cut by the server.
func (e *ending) add(chunk []byte) error {
	e.bytes += int64(len(chunk))
	var last []byte
	for len(chunk) > 0 {
		n := bytes.IndexByte(chunk, '\n')
		if n < 0 {
			if len(e.partial)+len(chunk) > longLine {
				return truncated(nil, "a line has more than %d bytes", longLine)
			}
			e.partial = append(e.partial, chunk...)
			break
		}
		line := chunk[:n]
		if len(e.partial) > 0 {
			e.partial = append(e.partial, line...)
			line = e.partial
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := e.look(line); err != nil {
				return err
			}
			if last = line; len(e.partial) > 0 {
				e.last = append(e.last[:0], line...)
				last = nil
			}
		}
		e.partial, chunk = e.partial[:0], chunk[n+1:]
	}
	if last != nil {
		e.last = append(e.last[:0], last...)
	}
	return nil
}

// look looks at a complete line.
func (e *ending) look(line []byte) error {
	e.lines++
	if e.line != nil {
		e.line(line)
	}
	if line[0] == '{' {
		return nil
	}
	text := bytes.TrimSpace(line)
	switch {
	case bytes.Contains(text, []byte(marker)):
		return terminated(text)
	case text[0] == '<' && e.lines == 1:
		return &Error{Kind: Unavailable, Detail: fmt.Sprintf("a page of HTML instead of events: %.80s", text)}
	}
	return nil
}

func terminated(text []byte) error {
	return truncated(nil, "the server gave up in the middle of the stream: %.80q", text)
}

// check returns an error unless the stream may end here.
func (e *ending) check() error {
	if text := bytes.TrimSpace(e.partial); len(text) > 0 {
		if bytes.Contains(text, []byte(marker)) && text[0] != '{' {
			return terminated(text)
		}
		if text[0] == '<' && e.lines == 0 {
			return &Error{Kind: Unavailable, Detail: fmt.Sprintf("a page of HTML instead of events: %.80s", text)}
		}
		return truncated(nil, "the stream of events ends in the middle of a line: %.80q", text)
	}
	if len(e.last) == 0 {
		return nil // no events
	}
	var b schema.Bounds
	text := bytes.TrimSpace(e.last)
	n, extent := b.Value(text)
	switch {
	case text[0] != '{' || extent != schema.Whole || n != len(text):
		return truncated(nil, "the stream of events ends with a line that is not JSON: %.80q", text)
	case isError(text):
		return truncated(nil, "the stream of events ends with an error: %.200s", text)
	}
	return nil
}

// isError reports whether a line is an error of the server, and no event. An error
// may have other members, in any order:
//
//	{"request":"/api/2.0/export?…","error":"…"}
func isError(line []byte) bool {
	if !bytes.Contains(line, []byte(`"error"`)) {
		return false
	}
	var object struct{ Event, Error json.RawMessage }
	return json.Unmarshal(line, &object) == nil && object.Event == nil && object.Error != nil
}

// pieceSize is how many bytes of lines a piece has.
const pieceSize = 1 << 20

// pieces reads a download. It implements ingest.Source.
type pieces struct {
	file    *os.File
	stream  *s2.Reader
	name    string
	cursors func(bytes int64) []journal.CursorMove
	free    chan []byte // buffers that were given back
	carry   []byte
	base    int64
	skip    bool // in a line that is too long
	done    bool
}

// read opens a download. Its last piece moves cursors, which are told the bytes of
// all pieces.
func (d *Download) read(cursors func(bytes int64) []journal.CursorMove) (*pieces, error) {
	f, err := private.OpenFile(d.path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("read a download: %w", err)
	}
	p := &pieces{file: f, stream: s2.NewReader(f, s2.ReaderMaxBlockSize(1<<20)), name: fmt.Sprintf("%s to %s", d.From, d.To), cursors: cursors, free: make(chan []byte, keptBuffers)}
	return p, nil
}

// Close closes the file.
func (p *pieces) Close() error { return p.file.Close() }

// damagedError says that a download cannot be read back.
type damagedError struct{ err error }

func (e *damagedError) Error() string {
	return fmt.Sprintf("a download cannot be read back from disk (%v); its days are pulled again", e.err)
}

func (e *damagedError) Unwrap() error { return e.err }

// Next implements ingest.Source.
func (p *pieces) Next(context.Context) (*ingest.Piece, error) {
	if p.done {
		return nil, io.EOF
	}
	buffer := p.buffer()
	data := append(buffer, p.carry...)
	n, err := io.ReadFull(p.stream, data[len(data):len(data)+pieceSize])
	data = data[:len(data)+n]
	end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n < pieceSize && p.ended()
	if err != nil && !end {
		return nil, &damagedError{err}
	}
	piece := &ingest.Piece{File: p.name, Base: p.base, Read: int64(n), Release: func() { p.release(buffer) }}
	whole := p.cut(piece, data)
	p.carry = append(p.carry[:0], data[whole:]...)
	p.base += int64(whole)
	piece.Data, piece.End = data[:whole], p.base
	// Lines after one that was too long are in the next piece. Blanks may follow the
	// last line.
	if end && len(bytes.TrimSpace(p.carry)) == 0 {
		p.done = true
		total := p.base
		piece.Cursor = func(int64) []journal.CursorMove { return p.cursors(total) }
	}
	return piece, nil
}

// keptBuffers is how many buffers are kept for other pieces, at most.
const keptBuffers = 16

// buffer returns an empty buffer with room for a piece and the beginning of a line.
func (p *pieces) buffer() []byte {
	select {
	case b := <-p.free:
		return b
	default:
		return make([]byte, 0, pieceSize+schema.MaxRecord)
	}
}

// release keeps a buffer for another piece.
func (p *pieces) release(b []byte) {
	select {
	case p.free <- b:
	default:
	}
}

// ended reports whether the stream ended where it says so.
func (p *pieces) ended() bool {
	_, err := p.stream.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// cut returns how many bytes of data are whole lines. A line that is too long is
// refused, and the rest of it dropped.
func (p *pieces) cut(piece *ingest.Piece, data []byte) int {
	if p.skip {
		piece.Records = []ingest.Span{}
		n := bytes.IndexByte(data, '\n') + 1
		if n == 0 {
			return len(data)
		}
		p.skip = false
		return n
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole > 0 || len(data) <= schema.MaxRecord {
		return whole
	}
	p.skip = true
	piece.Records = []ingest.Span{}
	piece.Refused = append(piece.Refused, ingest.Refusal{
		At: piece.Base, Reason: schema.TooLong, Bytes: bytes.Clone(data[:schema.MaxRecord]), Truncated: true,
		Detail: fmt.Sprintf("the record has more than %d bytes; the first %d are kept", schema.MaxRecord, schema.MaxRecord),
	})
	return len(data)
}

// Remove removes the file of a download.
func (d *Download) Remove() error { return ignoreMissing(os.Remove(d.path)) }

// isGone reports whether the file of a download is not there.
func (d *Download) isGone() bool {
	_, err := os.Lstat(d.path)
	return errors.Is(err, fs.ErrNotExist)
}
