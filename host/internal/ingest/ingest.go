package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// Piece is some whole records of a source.
type Piece struct {
	// Data holds the records; it goes back to the source with Release.
	Data []byte
	// Records are the records in Data, or nil when each line is one.
	Records []Span
	// Base is the position of Data's first byte in its file.
	Base int64
	// End is the position behind the piece.
	End int64
	// File names the file, for people.
	File string
	// Edition tells files apart that came to have the same name, from 0.
	Edition int
	// Moved lists the other names under which the content at Base was read. Records
	// that were refused there, in pieces that begin at Base, are replaced by those
	// of this piece.
	Moved []Origin
	// Known reports that an earlier reading refused the same record at Base, and
	// that the piece holds nothing else: the quarantine stays as it is.
	Known bool
	// Arrived is when its records came; zero: now.
	Arrived time.Time
	// Refused are records that the source itself could not hand on.
	Refused []Refusal
	// Cursor returns the moves of cursors past the piece, if any.
	// Run calls it once per piece, in the order of the pieces, with the number of
	// records that were repaired. May be nil.
	Cursor func(repaired int64) []journal.CursorMove
	// Read is how many bytes of input were read for it.
	Read int64
	// Release gives Data back, from any goroutine; may be nil.
	Release func()
}

// Origin is a name that content had, and the edition of the file of that name.
type Origin struct {
	File    string `json:"file"`
	Edition int    `json:"edition,omitempty"`
}

// Span is a record's place in Piece.Data.
type Span struct{ From, To int }

// Refusal is a record that is set aside.
type Refusal struct {
	At     int64 // its position in the file
	Reason schema.Reason
	Detail string
	Bytes  []byte
	// Truncated means that Bytes are only the beginning of the record.
	Truncated bool
}

// Source gives pieces.
type Source interface {
	// Next returns the next piece; io.EOF when there is none.
	Next(ctx context.Context) (*Piece, error)
}

// Appender takes rows; package journal's Writer is one. It keeps nothing of
// the chunk but fragments.
type Appender interface {
	Append(ctx context.Context, c journal.Chunk) error
}

// Rejects keeps refused records, durably.
type Rejects interface {
	// Put keeps the refused records of a piece, which may be none. They replace
	// those of an earlier reading of the piece.
	Put(file string, edition int, from, to int64, refused []Refusal) error
}

// Counters count while Run works.
type Counters struct {
	Records  atomic.Int64
	Rows     atomic.Int64
	Refused  atomic.Int64
	Repaired atomic.Int64 // records whose rows differ from them: see schema.Event
	Read     atomic.Int64 // bytes of input
	// Events by the meaning of their times: see schema.Event.
	TimesUTC, TimesLocal atomic.Int64
}

// Records is a kind of records.
type Records int

// The kinds of records.
const (
	Events Records = iota
	People         // profiles, and operations on them
	Pulled         // events of Mixpanel's export API, and the identity links that they ask for
)

// Options configure Run.
type Options struct {
	Source   Source
	Records  Records
	Times    schema.Times    // of events
	Identity schema.Identity // of the project of Pulled events
	Appender Appender
	Rejects  Rejects
	Now      func() time.Time
	Counters *Counters
	// Packer returns a packer for one goroutine, which makes fragments of the rows of
	// a piece; nil: rows reach the Appender as they are.
	Packer  func() *journal.Packer
	Workers int // 0: GOMAXPROCS
	// Refused is told of each piece's refusals, by reason, as they are set
	// aside; may be nil.
	Refused func(reason schema.Reason)
}

// task is a piece on its way through a worker.
type task struct {
	piece  *Piece
	result *result
	done   chan struct{}
}

// result holds the rows and refusals of a piece.
type result struct {
	rows     []journal.Row
	data     []byte
	marks    []rowmark.Mark      // of rows of events
	packed   []*journal.Fragment // of rows that are not in rows any more
	count    int64               // of all rows
	err      error               // of the packer
	refused  []Refusal
	records  int64
	repaired int64
	clocks   [schema.ClockLocal + 1]int64
	file     string
	arrived  time.Time
}

// Run reads the source to its end. The first error of Rejects or of the
// Appender ends it; an error of the source ends it behind the pieces that were
// read before. Everything that it started has ended when it returns.
func Run(ctx context.Context, o Options) error {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tasks := make(chan *task)
	ordered := make(chan *task, o.Workers+1)
	results := sync.Pool{New: func() any { return &result{} }}

	var wg sync.WaitGroup
	for range o.Workers {
		wg.Go(func() {
			k := newWorker(&o)
			for t := range tasks {
				t.result = results.Get().(*result)
				k.do(t)
				close(t.done)
			}
		})
	}
	var readErr error
	wg.Go(func() {
		defer close(ordered)
		defer close(tasks)
		readErr = read(ctx, o.Source, tasks, ordered)
	})
	err := appendAll(ctx, o, ordered, &results)
	cancel(err)
	wg.Wait()
	// Pieces left in ordered are dropped: their cursors have not moved.
	if err != nil {
		return err
	}
	return readErr
}

// read hands pieces to the workers, and in order to the appender.
func read(ctx context.Context, s Source, tasks, ordered chan<- *task) error {
	for {
		piece, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		crashpoint.Here("files.read")
		t := &task{piece: piece, done: make(chan struct{})}
		select {
		case ordered <- t:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case tasks <- t:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// appendAll takes pieces in order: refusals first, then rows and cursor.
func appendAll(ctx context.Context, o Options, ordered <-chan *task, results *sync.Pool) error {
	for {
		var t *task
		var more bool
		select {
		case t, more = <-ordered:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !more {
			return nil
		}
		select {
		case <-t.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := o.take(ctx, t); err != nil {
			return err
		}
		results.Put(t.result)
	}
}

// reject puts the refused records of a piece in the place of those of an earlier
// reading.
func (o *Options) reject(p *Piece, refused []Refusal) error {
	if p.Known {
		return nil
	}
	if err := o.Rejects.Put(p.File, p.Edition, p.Base, p.End, refused); err != nil {
		return err
	}
	for _, from := range p.Moved {
		if err := o.Rejects.Put(from.File, from.Edition, p.Base, p.Base, nil); err != nil {
			return err
		}
	}
	return nil
}

// take puts the refusals of a piece into quarantine, and then its rows into the
// journal.
func (o *Options) take(ctx context.Context, t *task) error {
	r, p := t.result, t.piece
	if r.err != nil {
		return fmt.Errorf("compress rows of %s: %w", p.File, r.err)
	}
	if err := o.reject(p, r.refused); err != nil {
		return err
	}
	if o.Refused != nil {
		for _, refused := range r.refused {
			o.Refused(refused.Reason)
		}
	}
	chunk := journal.Chunk{Fragments: r.packed, Rows: r.rows, Data: r.data}
	if p.Cursor != nil {
		chunk.Cursors = p.Cursor(r.repaired)
	}
	if err := o.Appender.Append(ctx, chunk); err != nil {
		return fmt.Errorf("append rows of %s: %w", p.File, err)
	}
	o.Counters.Records.Add(r.records)
	o.Counters.Rows.Add(r.count)
	o.Counters.Refused.Add(int64(len(r.refused)))
	o.Counters.Repaired.Add(r.repaired)
	o.Counters.TimesUTC.Add(r.clocks[schema.ClockUTC])
	o.Counters.TimesLocal.Add(r.clocks[schema.ClockLocal])
	o.Counters.Read.Add(p.Read)
	return nil
}
