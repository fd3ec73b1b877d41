package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
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
	// Tick is when to look again, with Follow.
	Tick <-chan time.Time
}

// Source reads files. It is for one goroutine, except Total. The caller closes
// it.
type Source struct {
	o       Options
	place   place
	cursors map[string][]byte // up to where files are read
	passed  passed            // up to where pieces have passed
	waiting []entry
	current *reader
	buffers sync.Pool
	size    int // of a piece
	total   atomic.Int64
}

// Open opens a source. Nothing is read before Next.
func Open(ctx context.Context, o Options) (*Source, error) {
	p, err := newPlace(ctx, o.Pattern)
	if err != nil {
		return nil, err
	}
	s := &Source{o: o, place: p, cursors: map[string][]byte{}, size: pieceSize}
	if err := s.begin(o.Cursors); err != nil {
		return nil, errors.Join(err, p.close())
	}
	s.buffers.New = func() any { b := make([]byte, 0, s.size); return &b }
	if err := s.look(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return s, nil
}

// Close closes what is open.
func (s *Source) Close() error {
	var err error
	if s.current != nil {
		err = s.current.close()
		s.current = nil
	}
	return errors.Join(err, s.place.close())
}

// Total is about how many bytes, as stored, there were to read when the source
// last looked.
func (s *Source) Total() int64 { return s.total.Load() }

// look lists the files that are new or have changed.
func (s *Source) look(ctx context.Context) error {
	entries, err := s.place.list(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		left := e.size
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
			if !compressed(e.path) {
				left = max(0, e.size-c.Offset)
			}
		}
		s.waiting = append(s.waiting, e)
		s.total.Add(left)
	}
	return nil
}

// Next implements ingest.Source.
func (s *Source) Next(ctx context.Context) (*ingest.Piece, error) {
	for {
		if s.current == nil {
			if err := s.advance(ctx); err != nil {
				return nil, err
			}
		}
		piece, err := s.current.next(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read %s: %w", s.current.entry.path, err)
		}
		if errors.Is(err, io.EOF) {
			if err := s.current.close(); err != nil {
				return nil, err
			}
			s.current = nil
		}
		if piece != nil {
			return piece, nil
		}
	}
}

// advance opens the next file; io.EOF when there is none. With Follow it waits
// for one.
func (s *Source) advance(ctx context.Context) error {
	for {
		for len(s.waiting) > 0 {
			e := s.waiting[0]
			s.waiting = s.waiting[1:]
			r, err := s.open(ctx, e)
			if errors.Is(err, fs.ErrNotExist) {
				continue // gone since it was listed
			}
			if err != nil {
				return fmt.Errorf("open %s: %w", e.path, err)
			}
			s.current = r
			return nil
		}
		if !s.o.Follow {
			return io.EOF
		}
		select {
		case <-s.o.Tick:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.look(ctx); err != nil {
			return err
		}
	}
}

// Repaired returns how many records were repaired, over all time, of a source
// that has these cursors.
func Repaired(cursors map[string][]byte) (int64, error) {
	var n int64
	for path, value := range cursors {
		c, err := decodeCursor(value)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		n += c.Repaired
	}
	return n, nil
}

// begin takes up what the catalog holds.
func (s *Source) begin(cursors map[string][]byte) error {
	s.passed = passed{source: s.o.Name, cursors: map[string][]byte{}, repaired: map[string]int64{}}
	for path, value := range cursors {
		c, err := decodeCursor(value)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
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

// move returns the move of a path's cursor to c past a piece; nil when a reading
// could not be taken up there.
func (p *passed) move(path string, c cursor, resumable bool, repaired int64) *journal.CursorMove {
	p.repaired[path] += repaired
	if !resumable {
		return nil
	}
	c.Repaired = p.repaired[path]
	to := c.encode()
	m := &journal.CursorMove{Source: p.source, Position: path, From: p.cursors[path], To: to}
	p.cursors[path] = to
	return m
}
