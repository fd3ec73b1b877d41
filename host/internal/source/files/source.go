package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
)

// Options configure a Source.
type Options struct {
	Name    string // "files.import"; names the source in cursors
	Pattern string
	// Follow goes on when all files are read: it waits for new and grown ones,
	// and for the newline of a last line.
	Follow bool
	// Cursors are the source's cursors by path, as the catalog holds them.
	Cursors map[string][]byte
	// Wait returns when it is time to look again, with Follow, and an error when ctx
	// has ended.
	Wait func(ctx context.Context) error
	// Keep remembers content also when another file has taken its path, and
	// waits for copies that are being made: for records that must not be read
	// twice, such as operations on profiles. Events are told apart by their keys.
	Keep bool
	Now  func() time.Time // nil: time.Now
	// Skipped is told, once, of each path that is not read, and why; may be nil.
	Skipped func(path, why string)
}

// Report holds findings about the files of a source.
type Report struct {
	Matched    int      // files that the pattern names
	Recognised int      // files whose content was read under another name
	Waiting    []string // files whose last record is not complete, and why it is waited for
	Skipped    []string // paths that match and were not read, and why
}

// Source reads files. It is for one goroutine, except Total. The caller closes
// it.
type Source struct {
	o        Options
	place    place
	cursors  map[string][]byte  // up to where files are read
	passed   passed             // up to where pieces have passed
	starts   map[start][]string // positions by how their content begins
	sizes    map[int]bool       // of starts
	hashes   map[string]*hashState
	report   Report
	waiting  []entry
	turns    turns
	buffers  sync.Pool // of pieces
	inflated sync.Pool // of prefetch
	size     int       // of a piece
	ahead    int       // windows of arrays that are split at a time
	total    atomic.Int64
}

// mostAhead is the most windows of arrays that are split at a time.
const mostAhead = 8

// Open opens a source. Nothing is read before Next.
func Open(ctx context.Context, o Options) (*Source, error) {
	p, err := newPlace(ctx, o.Pattern)
	if err != nil {
		return nil, err
	}
	s := newSource(o, p)
	if err := s.load(o.Cursors); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if err := s.look(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return s, nil
}

func newSource(o Options, p place) *Source {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Source{
		o: o, place: p, cursors: map[string][]byte{}, starts: map[start][]string{}, sizes: map[int]bool{}, hashes: map[string]*hashState{},
		size: pieceSize, ahead: min(runtime.GOMAXPROCS(0), mostAhead),
	}
	s.turns.width = min(runtime.GOMAXPROCS(0), mostTurns)
	s.turns.depth = s.turns.width
	if o.Keep {
		s.turns.width = 1 // operations are done in the order of files
	}
	s.inflated.New = func() any { b := make([]byte, prefetchSize); return &b }
	s.buffers.New = func() any { b := make([]byte, 0, s.size); return &b }
	return s
}

// Report returns the findings about the files. It may be called when
// Next is not.
func (s *Source) Report() Report { return s.report }

// Close closes the open files and the place.
func (s *Source) Close() error {
	return errors.Join(s.turns.close(), s.place.close())
}

// Total is about how many bytes, as stored, there were to read when the source
// last looked.
func (s *Source) Total() int64 { return s.total.Load() }

// look lists the files that are new or have changed, by path. Files that have
// replaced another come last: the content that a rotated log had before is
// recognised under its new path, as long as the old path's cursor tells of it.
func (s *Source) look(ctx context.Context) error {
	found, err := s.place.list(ctx)
	if err != nil {
		return err
	}
	s.report.Matched = len(found.entries)
	for _, path := range slices.Sorted(maps.Keys(found.skipped)) {
		s.skip(path, found.skipped[path])
	}
	var same, replaced []entry
	for _, e := range found.entries {
		left, queue := e.size, &same
		if value := s.cursors[e.path]; value != nil {
			c, err := decodeCursor(value)
			if err != nil {
				return fmt.Errorf("%s: %w", e.path, err)
			}
			if c.unchanged(e) {
				if c.Done || c.Waiting && !c.Cut && s.o.Follow {
					continue
				}
				e.settled = c.Cut
			}
			if !c.Compressed {
				left = max(0, e.size-c.Offset)
			}
			if c.replacedBy(e) {
				queue = &replaced
			}
		}
		*queue = append(*queue, e)
		s.total.Add(left)
	}
	s.waiting = append(append(s.waiting, same...), replaced...)
	return nil
}

// waits notes a file that is waited for. With Follow that is an everyday matter,
// which cursors tell, and a list of it would grow without end.
func (s *Source) waits(text string) {
	if !s.o.Follow {
		s.report.Waiting = append(s.report.Waiting, text)
	}
}

// skip notes that a path is not read, once for each reason.
func (s *Source) skip(path, why string) {
	text := path + ": " + why
	if slices.Contains(s.report.Skipped, text) {
		return
	}
	s.report.Skipped = append(s.report.Skipped, text)
	if s.o.Skipped != nil {
		s.o.Skipped(path, why)
	}
}

// unreadable reports whether an error of opening or reading a file concerns that
// file alone: the others are read. A damaged block of a disk gives EIO.
func unreadable(err error) bool {
	var format *unsupportedError
	return errors.As(err, &format) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errNotRegular) || errors.Is(err, syscall.ELOOP) ||
		errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EIO)
}

// Next implements ingest.Source.
func (s *Source) Next(ctx context.Context) (*ingest.Piece, error) {
	for {
		r, err := s.turn(ctx)
		if err != nil {
			return nil, err
		}
		piece, err := r.next(ctx)
		switch {
		case err == nil:
			s.turns.pass()
		case unreadable(r.stored.failed()):
			// The cursor stays before the records that were not handed on.
			s.skip(r.entry.path, cause(r.stored.failed()))
			_ = s.turns.end() // it was only read
			continue
		case errors.Is(err, io.EOF):
			if err := s.turns.end(); err != nil {
				return nil, err
			}
		default:
			err = fmt.Errorf("read %s: %w", r.entry.path, bare(err))
			if ctx.Err() != nil {
				return nil, err
			}
			s.fail(err)
			continue
		}
		if piece != nil {
			return piece, nil
		}
	}
}

// turn returns the file whose turn it is; io.EOF when there is none. With Follow it waits
// for one.
func (s *Source) turn(ctx context.Context) (*reader, error) {
	t := &s.turns
	for {
		if t.endOfRound() {
			s.join()
		}
		if len(t.open) > 0 {
			break
		}
		if err := s.advance(ctx); err != nil {
			return nil, err
		}
	}
	s.openAhead(ctx)
	r := t.current()
	r.ahead.most = t.share(s.ahead)
	return r, nil
}

// advance opens the next file alone, or skips it; io.EOF when there is none. With Follow it
// waits for one.
func (s *Source) advance(ctx context.Context) error {
	if s.turns.failed != nil {
		return s.turns.failed
	}
	if len(s.waiting) == 0 {
		if !s.o.Follow {
			return io.EOF
		}
		if err := s.o.Wait(ctx); err != nil {
			return err
		}
		return s.look(ctx)
	}
	e := s.waiting[0]
	s.waiting = s.waiting[1:]
	if o := s.turns.shift(); o != nil {
		_ = o.drop() // nothing of it was used
	}
	r, err := s.open(ctx, e)
	switch {
	case err == nil:
		s.turns.add(r)
	case errors.Is(err, fs.ErrNotExist): // gone since it was listed
	case errors.Is(err, errWaits):
		s.waits(e.path + ": " + errWaits.Error())
	case unreadable(err):
		s.skip(e.path, cause(err))
	default:
		s.fail(fmt.Errorf("open %s: %w", e.path, bare(err)))
	}
	return s.turns.failed
}

// fail notes the error of the file whose turn it is. Nothing after it is read.
func (s *Source) fail(err error) {
	_ = s.turns.fail(err) // files that were only read
	s.waiting = nil
}

// Description summarises the cursors of a source.
type Description struct {
	Files    int64    // that were read, or are being read
	Replaced int64    // contents of files that others have replaced, of a source with Keep
	Repaired int64    // records, over all time
	Waiting  []string // files whose last record is not complete, sorted
}

// Describe describes a source that has these cursors.
func Describe(cursors map[string][]byte) (Description, error) {
	var d Description
	for path, value := range cursors {
		c, err := decodeCursor(value)
		if err != nil {
			return d, fmt.Errorf("%s: %w", path, err)
		}
		d.Repaired += c.Repaired
		if !IsFile(path) {
			d.Replaced++
			continue
		}
		d.Files++
		if c.Waiting {
			d.Waiting = append(d.Waiting, path)
		}
	}
	slices.Sort(d.Waiting)
	return d, nil
}

// load takes up the cursors of the catalog.
func (s *Source) load(cursors map[string][]byte) error {
	s.passed = passed{source: s.o.Name, cursors: map[string][]byte{}, repaired: map[string]int64{}}
	for path, value := range cursors {
		c, err := decodeCursor(value)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		s.setCursor(path, c)
		s.cursors[path], s.passed.cursors[path], s.passed.repaired[path] = value, value, c.Repaired
	}
	return nil
}

// passed holds the cursors behind the pieces that have been handed on, and how
// many of their records were repaired. The goroutine that hands pieces on uses
// it, while another one reads ahead.
type passed struct {
	source   string
	cursors  map[string][]byte
	repaired map[string]int64
}

// move returns the moves of cursors past a piece: that of its path to c, unless
// reading could not be taken up there, and that of the content before if c is
// the first cursor of another.
func (p *passed) move(path string, c cursor, retire *cursor, resumable bool, repaired int64) []journal.CursorMove {
	p.repaired[path] += repaired
	if !resumable {
		return nil
	}
	var moves []journal.CursorMove
	if retire != nil {
		moves = append(moves, p.to(retiredAs(path, retire.Edition), retire.encode()))
	}
	c.Repaired = p.repaired[path]
	return append(moves, p.to(path, c.encode()))
}

func (p *passed) to(position string, value []byte) journal.CursorMove {
	m := journal.CursorMove{Source: p.source, Position: position, From: p.cursors[position], To: value}
	p.cursors[position] = value
	return m
}
