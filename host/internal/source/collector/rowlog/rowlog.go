package rowlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/crashpoint"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// position is the one position of a collector's cursor in each project.
const position = "log"

// Appender takes rows; package journal's Writer is one.
type Appender interface {
	Append(ctx context.Context, c journal.Chunk) error
	// Done is closed when the appender takes nothing any more; Err then returns the
	// reason. Entries that it has not sealed are lost with it.
	Done() <-chan struct{}
	Err() error
}

// Cursors are where the journals of projects stand.
type Cursors interface {
	// Cursors returns a source's cursors in a project, by position.
	Cursors(ctx context.Context, project int64, source string) (map[string][]byte, error)
	// Unrecorded lists seals whose commit record is perhaps not written yet.
	Unrecorded(ctx context.Context, project int64) ([]journal.Seal, error)
}

// Log is an open log of rows. Append may be called concurrently, also while
// Drain and Trim run, which are each for one goroutine.
type Log struct {
	wal     *wal.Log
	source  string
	cursors Cursors
	entries sync.Pool           // of *entry
	packers *packers            // nil: rows are logged as they are
	joiner  *joiner             // of small requests, if there are packers
	keep    func(Damaged) error // see SetAside; nil: fragments are not inflated

	mu       sync.Mutex
	suspect  uint64           // entries up to it are inflated before they are handed on: see Inspect
	drained  uint64           // everything up to it was handed to journals
	durable  uint64           // everything up to it was in journals when Trim last looked
	projects map[int64]*state // that were met while draining
}

// state is where a project stands.
type state struct {
	sealed   uint64   // durable in the journal
	appended uint64   // handed to the journal, or passed over because it is held
	held     bool     // entries are passed over until the next Drain: see ErrHeld
	journal  Appender // that this Drain hands entries to; nil: none yet. Of Drain's goroutine
}

// ErrHeld is returned by Drain's find for a project whose journal takes nothing
// now. Its entries stay in the log, and those of other projects are drained.
var ErrHeld = errors.New("the project is held")

// ErrEnded is returned by Drain when a journal that entries were handed to takes
// nothing any more. Those that it had not sealed are handed on again by the next
// Drain, to the journal that takes its place.
var ErrEnded = errors.New("the journal takes nothing any more")

// New returns the log of rows of a source, "collector.NAME", over an open
// write-ahead log, which the caller closes after everything else has ended.
func New(l *wal.Log, source string, cursors Cursors) *Log {
	return &Log{
		wal: l, source: source, cursors: cursors, projects: map[int64]*state{},
		entries: sync.Pool{New: func() any { return new(entry) }},
	}
}

// Compress has Append compress rows of a day, if they are many, in the goroutine of its
// caller. zone returns the time zone of a project; warn is told of rows that were not
// compressed right, and were compressed again. From then on all is inflated, as after Inspect:
// others that were not looked at may be wrong as well. It is called before the first Append.
func (l *Log) Compress(zone func(project int64) *time.Location, warn func(error)) {
	care := journal.NewCare(func(err error) {
		l.Inspect()
		warn(err)
	})
	l.packers, l.joiner = newPackers(zone, care), newJoiner()
}

// Part is the rows of a request for one project.
type Part struct {
	Project int64
	Rows    []journal.Row // places are in the request's data
}

// Append makes the rows of a request durable: all of them, or after an error none, as package
// wal says. Marks of rows of events, as places in data, make compressing cheaper; there may be
// none. Neither rows, data nor marks are kept, but rows are changed. Rows of requests for one
// project that are too small to be compressed may become one entry with those of others.
func (l *Log) Append(ctx context.Context, parts []Part, data []byte, marks []rowmark.Mark) error {
	switch {
	case len(parts) == 0:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case len(parts) > 1:
		return l.log(ctx, parts, data, marks)
	}
	bytes := 0
	for i := range parts[0].Rows {
		bytes += parts[0].Rows[i].Length
	}
	if l.packers == nil || bytes >= l.packers.least {
		return l.log(ctx, parts, data, marks)
	}
	chunk := journal.Chunk{Rows: parts[0].Rows, Data: data, Marks: marks}
	return l.joiner.append(ctx, parts[0].Project, chunk, bytes, func(ctx context.Context, c journal.Chunk) error {
		return l.log(ctx, []Part{{parts[0].Project, c.Rows}}, c.Data, c.Marks)
	})
}

// log makes rows durable, those of each project as one entry.
func (l *Log) log(ctx context.Context, parts []Part, data []byte, marks []rowmark.Mark) error {
	entries, payloads := make([]*entry, 0, len(parts)), make([][][]byte, 0, len(parts))
	defer func() {
		for _, e := range entries {
			clear(e.parts) // the pool does not keep the caller's data
			l.entries.Put(e)
		}
	}()
	for _, p := range parts {
		if len(p.Rows) == 0 {
			continue
		}
		e := l.entries.Get().(*entry)
		entries = append(entries, e)
		if err := l.encode(ctx, e, p.Project, journal.Chunk{Rows: p.Rows, Data: data, Marks: marks}); err != nil {
			return err
		}
		payloads = append(payloads, e.parts)
	}
	if err := l.wal.AppendAll(ctx, payloads...); err != nil {
		return fmt.Errorf("log rows of a request: %w", err)
	}
	crashpoint.Here("collector.logged")
	return nil
}

// encode makes the entry of rows of a project.
func (l *Log) encode(ctx context.Context, e *entry, project int64, c journal.Chunk) error {
	if l.packers != nil {
		count := len(c.Rows)
		if err := l.packers.pack(ctx, project, &c); err != nil {
			return fmt.Errorf("compress %d rows: %w", count, err)
		}
	}
	e.set(project, c)
	return nil
}

// UnknownProjectError says that the log holds rows of a project that is not
// there any more.
type UnknownProjectError struct {
	Source  string
	Project int64
}

func (e *UnknownProjectError) Error() string {
	return fmt.Sprintf("the write-ahead log of source %s holds acknowledged rows of project %d, which is not configured: "+
		"configure it until they are in its journal", e.Source, e.Project)
}

// Drain hands entries to the journals of their projects, in order, until ctx
// ends or, when upTo is not 0, that entry was handed on. It asks find for the journal
// of a project once. The end of one of these journals ends Drain with ErrEnded, also
// while it waits for entries; it may be called again once there is another journal.
// find returns *UnknownProjectError for a project that is not there, and ErrHeld for
// one whose entries wait for the next Drain.
func (l *Log) Drain(ctx context.Context, upTo uint64, find func(ctx context.Context, project int64) (Appender, error)) error {
	l.mu.Lock()
	// Entries that went to a journal that has failed are handed on again: the
	// cursors tell which of them are durable.
	clear(l.projects)
	l.drained = l.wal.First() - 1 // earlier entries are in journals
	l.mu.Unlock()
	watch, stop := newWatch(ctx)
	defer stop()
	h := &handing{watch: watch, inspector: inspector{upTo: upTo, keep: l.keep}, find: find}
	r := l.wal.Read(1)
	defer r.Close()
	var rows []journal.Row
	for {
		if upTo != 0 && l.position() >= upTo {
			return nil
		}
		index, payload, err := r.Next(watch.ctx)
		if err != nil {
			return fmt.Errorf("drain %s: %w", l.source, watch.reason(err))
		}
		project, chunk, err := decodeEntry(payload, rows[:0])
		if err != nil {
			return fmt.Errorf("drain %s: entry %d: %w", l.source, index, err)
		}
		rows = chunk.Rows
		if err := l.hand(h, index, project, chunk); err != nil {
			return fmt.Errorf("drain %s: %w", l.source, watch.reason(err))
		}
	}
}

// handing holds the state of one Drain: the watch over its journals, the inspector of its
// entries, and the function of the caller that finds journals.
type handing struct {
	*watch
	inspector
	find func(ctx context.Context, project int64) (Appender, error)
}

// hand hands an entry on, unless its journal has it.
func (l *Log) hand(h *handing, index uint64, project int64, chunk journal.Chunk) error {
	p, err := l.project(h.ctx, project)
	if err != nil {
		return err
	}
	if index > p.sealed && !p.held && p.journal == nil {
		p.journal, err = h.find(h.ctx, project)
		switch {
		case errors.Is(err, ErrHeld):
			l.hold(p)
		case err != nil:
			return err
		default:
			h.add(p.journal)
		}
	}
	if index > p.sealed && !p.held {
		if index <= h.upTo || l.isSuspect(index) {
			if err := h.inspect(index, project, &chunk); err != nil {
				return err
			}
		}
		chunk.Cursors = append(chunk.Cursors, l.move(p.appended, index))
		if err := p.journal.Append(h.ctx, chunk); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if index > p.sealed {
		p.appended = index
	}
	l.drained = index
	return nil
}

func (l *Log) hold(p *state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.held = true
}

// Handed reports whether all entries of a project up to an index were handed to
// its journal since Drain was called last.
func (l *Log) Handed(project int64, index uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.projects[project]
	return l.drained >= index && (p == nil || !p.held)
}

// Settled reports whether all entries of a project up to an index are in its journal,
// sealed. Entries that were handed to a journal that has failed are not, whether or not
// they were handed on again.
func (l *Log) Settled(ctx context.Context, project int64, index uint64) (bool, error) {
	l.mu.Lock()
	p, drained := l.projects[project], l.drained
	var appended uint64
	if p != nil {
		appended = p.appended
	}
	held := p != nil && p.held
	l.mu.Unlock()
	if drained < index || held {
		return false, nil
	}
	sealed, err := l.sealed(ctx, project)
	return err == nil && (sealed >= index || sealed >= appended), err
}

// project is a project's state; it begins at its journal's cursor.
func (l *Log) project(ctx context.Context, id int64) (*state, error) {
	l.mu.Lock()
	p := l.projects[id]
	l.mu.Unlock()
	if p != nil {
		return p, nil
	}
	sealed, err := l.sealed(ctx, id)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p = &state{sealed: sealed, appended: sealed}
	l.projects[id] = p
	return p, nil
}

// sealed is the last entry that a project's journal holds; 0: none.
func (l *Log) sealed(ctx context.Context, project int64) (uint64, error) {
	return Sealed(ctx, l.cursors, l.source, project)
}

// Sealed is the last entry of a source's log that the journals of projects
// hold; 0: none.
func Sealed(ctx context.Context, c Cursors, source string, projects ...int64) (last uint64, err error) {
	for _, id := range projects {
		index, err := sealed(ctx, c, source, id)
		if err != nil {
			return 0, err
		}
		last = max(last, index)
	}
	return last, nil
}

func sealed(ctx context.Context, c Cursors, source string, project int64) (uint64, error) {
	cursors, err := c.Cursors(ctx, project, source)
	if err != nil {
		return 0, err
	}
	value := cursors[position]
	if value == nil {
		return 0, nil
	}
	if len(value) != 8 {
		return 0, errors.New("the cursor has no index")
	}
	return binary.BigEndian.Uint64(value), nil
}

// WaitingIn counts the entries of the log in a directory that are not in the journal
// of their project, by project. sealed are the last entries that are, as Sealed
// returns them; of a project that is not among them, none is. Nothing is changed.
func WaitingIn(dir string, sealed map[int64]uint64) (map[int64]int64, error) {
	waiting := map[int64]int64{}
	err := wal.EachIn(dir, 0, func(index uint64, payload []byte) error {
		project, err := projectOf(payload)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if index > sealed[project] {
			waiting[project]++
		}
		return nil
	})
	return waiting, err
}

// move is the cursor's move from one entry to another; from 0: from nowhere.
func (l *Log) move(from, to uint64) journal.CursorMove {
	m := journal.CursorMove{Source: l.source, Position: position, To: binary.BigEndian.AppendUint64(nil, to)}
	if from != 0 {
		m.From = binary.BigEndian.AppendUint64(nil, from)
	}
	return m
}

func (l *Log) position() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.drained
}

// Last is the index of the last entry that was acknowledged.
func (l *Log) Last() uint64 { return l.wal.Last() }

// Size is how many bytes the log takes on disk.
func (l *Log) Size() int64 { return l.wal.Size() }

// Durable is the index up to which all entries were in journals, sealed, when
// Trim last looked.
func (l *Log) Durable() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.durable, l.wal.First()-1)
}

// Waiting is how many entries were not yet in their journals when Trim last
// looked, and those that have come since.
func (l *Log) Waiting() uint64 {
	durable := l.Durable()
	return l.wal.Last() - durable
}

// Err is why nothing is taken any more; nil while it is.
func (l *Log) Err() error { return l.wal.Err() }

// Trim drops entries that are durable in all journals they went to. It drops
// nothing while one of these has a seal without its commit record: a catalog
// that is rebuilt would not know the seal.
func (l *Log) Trim(ctx context.Context) error {
	// A copy, because a Drain that begins again resets these fields while the
	// cursors are read.
	l.mu.Lock()
	upTo := l.drained
	appended := make(map[int64]uint64, len(l.projects))
	for id, p := range l.projects {
		appended[id] = p.appended
	}
	l.mu.Unlock()
	for id, last := range appended {
		sealed, err := l.sealed(ctx, id)
		if err != nil {
			return fmt.Errorf("trim %s: %w", l.source, err)
		}
		if last > sealed {
			upTo = min(upTo, sealed)
		}
		// Behind the cursor, so that its seal is among them.
		unrecorded, err := l.cursors.Unrecorded(ctx, id)
		if err != nil {
			return fmt.Errorf("trim %s: %w", l.source, err)
		}
		if len(unrecorded) > 0 {
			return nil
		}
	}
	l.mu.Lock()
	l.durable = max(l.durable, upTo)
	l.mu.Unlock()
	if err := l.wal.Drop(upTo); err != nil {
		return fmt.Errorf("trim %s: %w", l.source, err)
	}
	return nil
}
