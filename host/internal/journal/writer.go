package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// Options configure a Writer. Zero is the default, given behind each.
type Options struct {
	Project  int64
	Zone     *time.Location // UTC
	Store    disk.Store
	Catalog  Catalog
	Now      func() time.Time // for the time that is noted with a seal; required
	Memory   int64            // bytes for open blocks, compressed blocks and keys; 64 MiB
	Block    int              // bytes of rows in a full block; 1 MiB
	Segment  int64            // stored bytes at which a segment is sealed; a quarter of Memory, 32 MiB at most
	Workers  int              // GOMAXPROCS
	SealTime time.Duration    // how long a seal may take before a sweep gives it up; 1 hour
	Warn     func(error)      // is told of faults that were mended; may be nil
	Names    func() string    // of files, all different; random
}

func (o Options) withDefaults() Options {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Memory == 0 {
		o.Memory = 64 << 20
	}
	if o.Block == 0 {
		o.Block = 1 << 20
	}
	if o.Segment == 0 {
		o.Segment = min(o.Memory/4, 32<<20)
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.SealTime == 0 {
		o.SealTime = time.Hour
	}
	if o.Names == nil {
		o.Names = randomName
	}
	return o
}

// Stats count the rows, seals and bytes of a Writer since Open.
type Stats struct {
	Rows       int64 // appended
	Kept       int64 // sealed
	Duplicates int64 // appended to sealed segments, and left out of them
	Seals      int64
	Bytes      int64 // of sealed segments
}

// Writer takes one project's rows. Append and Seal may be called
// concurrently; rows are kept in the order of the calls.
type Writer struct {
	o    Options
	zone *zone
	set  *keys.Set

	mu   sync.Mutex // held by Append and while a segment is handed to the sealer
	open *openSegment
	jobN uint64 // turn of the next job

	jobs    chan job
	turns   *turns
	seals   chan *openSegment
	workers sync.WaitGroup
	sealer  chan struct{} // closed when the sealer has ended
	care    *Care         // of the workers and of the packers for this writer

	pieces  pieces
	foreign int64 // latest seal that others had made when the sealer last looked; the sealer's

	state   sync.Mutex
	changed *sync.Cond // of the fields below, under state
	sealing []*openSegment
	merging bool // the sealer merges runs of keys
	stats   Stats
	slots   []Key         // zeroed memory of a sealed segment's key set, for the next segment
	err     error         // the first error: the writer takes no rows after it
	done    chan struct{} // closed with the first error
}

// ErrClosed says that the writer was closed.
var ErrClosed = errors.New("the journal is closed")

// Open recovers the project after a crash and returns a writer, which the caller
// closes. One process at a time may have the Store, except that several may share
// it when their Catalog is shared.
func Open(ctx context.Context, o Options) (*Writer, error) {
	o = o.withDefaults()
	if err := Recover(ctx, o.Catalog, o.Store, o.Project); err != nil {
		return nil, fmt.Errorf("open journal of project %d: %w", o.Project, err)
	}
	w := &Writer{
		o: o, zone: newZone(o.Zone), care: NewCare(o.Warn), set: keys.NewSet(o.Store, o.Memory/8),
		jobs: make(chan job), turns: newTurns(), seals: make(chan *openSegment), sealer: make(chan struct{}), done: make(chan struct{}),
		pieces: pieces{limit: o.Memory / 16},
	}
	if err := w.learn(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal of project %d: %w", o.Project, err), w.set.Close())
	}
	w.open = newOpenSegment(w.set.Newest())
	w.changed = sync.NewCond(&w.state)
	for range o.Workers {
		w.workers.Go(w.work)
	}
	go w.seal()
	return w, nil
}

// Append takes a chunk's fragments, rows and cursors: all of them, or none if ctx has
// ended before. It copies rows and cursors, and keeps the memory of fragments. It blocks
// while the memory budget is used up. Any other error ends the writer, so that a part of
// the chunk is never sealed without the rest.
func (w *Writer) Append(ctx context.Context, c Chunk) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.failed(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// Rows that are sealed without their cursor are read again, and not all of
	// them have the same key then.
	if err := w.take(context.WithoutCancel(ctx), c); err != nil {
		w.fail(err)
		return err
	}
	return nil
}

// take is Append for a writer that takes rows. After an error a part of the chunk is in the
// open segment.
func (w *Writer) take(ctx context.Context, c Chunk) error {
	rows := len(c.Rows)
	for _, f := range c.Fragments {
		if err := w.putFragment(ctx, f); err != nil {
			return err
		}
		rows += len(f.Entries)
	}
	for i := range c.Rows {
		if err := w.put(ctx, &c.Rows[i], c.Data); err != nil {
			return err
		}
	}
	for _, m := range c.Cursors {
		w.open.move(m)
	}
	w.count(func(s *Stats) { s.Rows += int64(rows) })
	if w.full() {
		_, err := w.rotate(ctx)
		return err
	}
	return nil
}

// put copies a row to the open block of its place.
func (w *Writer) put(ctx context.Context, r *Row, data []byte) error {
	p := w.part(r)
	if r.Kind == KindLinks {
		if err := w.keepOrder(ctx, p); err != nil {
			return err
		}
	}
	line := data[r.Offset : r.Offset+r.Length]
	waiting := &w.open.waiting[p.number]
	if *waiting > 0 && int(*waiting)+len(line) > w.o.Block {
		if err := w.flush(ctx, p); err != nil {
			return err
		}
	}
	*waiting += int32(len(line))
	if p.rows == nil {
		p.rows = w.pieces.rows(p.before)
	}
	p.rows = append(p.rows, FragmentRow{Key: r.Key, Time: r.Time, Length: int32(len(line)), Flags: r.Flags})
	w.copyRow(p, line)
	w.open.rows++
	w.open.bytes += int64(r.Length)
	for w.open.raw > w.o.Memory/2 {
		if err := w.flush(ctx, w.open.largest()); err != nil {
			return err
		}
	}
	return nil
}

// part returns where a row goes. Operations and links are folded in the order
// in which they came, and a segment's partitions lie in the order of their
// dates: a row that is dated before an earlier row goes to the date of that row.
func (w *Writer) part(r *Row) *openPart {
	near := w.open.nearTo(r.Time)
	usual := r.Kind == KindEvents && r.KeyDate == 0 && !r.Undated
	if usual && r.Time >= near.from && r.Time < near.until {
		return near.part
	}
	utc, day, from, until := w.zone.span(r.Time)
	partition := Partition{Kind: r.Kind, UTCDate: utc, ZoneDate: day}
	if r.Kind != KindEvents {
		if latest, ok := w.open.latest[r.Kind]; ok && partition.Compare(latest) < 0 {
			partition = latest
		}
		w.open.latest[r.Kind] = partition
	}
	at := place{partition, filingOf(r, partition.UTCDate)}
	p := w.open.parts[at]
	if p == nil {
		p = w.open.add(at)
	}
	if usual {
		*near = nearPart{from, until, p}
	}
	return p
}

// keepOrder hands links on that came before those of p and lie elsewhere: of
// equal links the first counts, whichever day's block is full first.
func (w *Writer) keepOrder(ctx context.Context, p *openPart) error {
	last := w.open.links
	w.open.links = p
	if last == nil || last == p {
		return nil
	}
	return w.flush(ctx, last)
}

// copyRow appends a row's text to the open block of a partition.
func (w *Writer) copyRow(p *openPart, line []byte) {
	for {
		if last := len(p.pieces) - 1; last >= 0 {
			piece := p.pieces[last]
			n := copy(piece[len(piece):cap(piece)], line)
			p.pieces[last], line = piece[:len(piece)+n], line[n:]
		}
		if len(line) == 0 {
			return
		}
		p.pieces = append(p.pieces, w.pieces.get())
		w.open.raw += pieceSize
	}
}

// flush hands a partition's open block to the workers.
func (w *Writer) flush(ctx context.Context, p *openPart) error {
	if len(p.rows) == 0 {
		return nil
	}
	if err := w.hand(ctx, p, job{pieces: p.pieces, rows: p.rows}); err != nil {
		return err
	}
	w.open.raw -= int64(len(p.pieces)) * pieceSize
	w.open.waiting[p.number] = 0
	p.before, p.pieces, p.rows = len(p.rows), nil, nil
	return nil
}

// hand hands a block of a partition to the workers.
func (w *Writer) hand(ctx context.Context, p *openPart, j job) error {
	j.turn, j.segment, j.place, j.done = w.jobN, w.open, p.place, &doneBlock{}
	w.open.jobs.Add(1)
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		w.open.jobs.Done()
		return context.Cause(ctx)
	}
	w.jobN++
	p.blocks = append(p.blocks, j.done)
	return nil
}

// full reports whether the open segment has reached its size.
func (w *Writer) full() bool {
	w.open.mu.Lock()
	defer w.open.mu.Unlock()
	return w.open.stored >= w.o.Segment || int64(len(w.open.keys.slots))*segment.KeySize > w.o.Memory/4
}

// rotate hands the open segment to the sealer, after everything in it was
// handed to the workers, and begins another. It returns the segment.
func (w *Writer) rotate(ctx context.Context) (*openSegment, error) {
	old := w.open
	if old.rows == 0 && len(old.cursors) == 0 {
		return nil, nil
	}
	for _, p := range old.parts {
		if err := w.flush(ctx, p); err != nil {
			return nil, err
		}
	}
	w.state.Lock()
	w.sealing = append(w.sealing, old)
	w.open = newOpenSegment(w.set.Newest())
	w.open.keys.slots, w.slots = w.slots, nil
	w.state.Unlock()
	select {
	case w.seals <- old:
		return old, nil
	case <-w.sealer:
		return nil, w.failed()
	}
}

// Seal seals everything that was appended before, and returns when it is
// durable and visible.
func (w *Writer) Seal(ctx context.Context) error {
	w.mu.Lock()
	if err := w.failed(); err != nil {
		w.mu.Unlock()
		return err
	}
	_, err := w.rotate(ctx)
	last := w.latest()
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return w.settle(ctx, last)
}

// latest is the segment that was handed to the sealer last, while it is being
// sealed.
func (w *Writer) latest() *openSegment {
	w.state.Lock()
	defer w.state.Unlock()
	if len(w.sealing) == 0 {
		return nil
	}
	return w.sealing[len(w.sealing)-1]
}

// settle waits until a segment, and so those before it, is sealed. It does not
// wait for later segments: while rows keep coming there is always one.
func (w *Writer) settle(ctx context.Context, last *openSegment) error {
	defer context.AfterFunc(ctx, func() {
		w.state.Lock()
		defer w.state.Unlock()
		w.changed.Broadcast()
	})()
	w.state.Lock()
	defer w.state.Unlock()
	for slices.Contains(w.sealing, last) && w.err == nil && ctx.Err() == nil {
		w.changed.Wait()
	}
	if w.err != nil {
		return w.err
	}
	if slices.Contains(w.sealing, last) {
		return context.Cause(ctx)
	}
	return nil
}

// Rest returns when the sealer has nothing left to do: all segments that were handed to
// it are sealed, and the runs of keys that were due are merged. Seal does not wait for
// the merge, which replaces files of keys and removes them a moment later.
func (w *Writer) Rest(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		w.state.Lock()
		defer w.state.Unlock()
		w.changed.Broadcast()
	})()
	w.state.Lock()
	defer w.state.Unlock()
	for (len(w.sealing) > 0 || w.merging) && w.err == nil && ctx.Err() == nil {
		w.changed.Wait()
	}
	if w.err != nil {
		return w.err
	}
	return context.Cause(ctx)
}

// Stats returns the counts so far.
func (w *Writer) Stats() Stats {
	w.state.Lock()
	defer w.state.Unlock()
	return w.stats
}

func (w *Writer) count(fn func(*Stats)) {
	w.state.Lock()
	defer w.state.Unlock()
	fn(&w.stats)
}

func (w *Writer) failed() error {
	w.state.Lock()
	defer w.state.Unlock()
	return w.err
}

// fail ends the writer with the first error.
func (w *Writer) fail(err error) {
	w.state.Lock()
	defer w.state.Unlock()
	if w.err == nil {
		w.err = err
		close(w.done)
	}
	w.changed.Broadcast()
}

// Close ends the writer and drops the rows that are not sealed: their cursors have
// not moved, so the source is read again from there.
func (w *Writer) Close() error {
	w.fail(ErrClosed)
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.sealer:
	default:
		close(w.seals)
		<-w.sealer
	}
	if w.jobs != nil {
		close(w.jobs)
		w.workers.Wait()
		w.jobs = nil
		return w.set.Close()
	}
	return nil
}

// Done returns a channel that is closed when the writer takes no rows any more: after
// its first error, or Close. Rows that are not sealed by then are lost, and their
// cursors have not moved; Err returns the reason.
func (w *Writer) Done() <-chan struct{} { return w.done }

// Err returns the error that ended the writer; nil while it takes rows.
func (w *Writer) Err() error { return w.failed() }
