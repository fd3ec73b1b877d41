//go:build !race

package simulation_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// retention of the journals.
const retention = 45 * 24 * time.Hour

// feed is the name of the source.
const feed = "files.feed"

// world is half a year: the events that were sent, the places that they go to, and the
// host that lives now.
type world struct {
	planted     *fault // nil: none
	complaining sync.Mutex
	changed     map[*config.Pipeline]*config.Pipeline // by a fault
	complaints  []string                              // of a world with a fault; guarded by complaining

	t      *testing.T
	ctx    context.Context
	seed   uint64
	rng    *rand.Rand
	names  *rand.Rand // of files; guarded by mu
	dir    string
	shop   *config.Project
	offset atomic.Int64 // of the clock, in nanoseconds
	calm   atomic.Bool  // plugins do not fail any more

	life   *life
	lives  int
	places map[string]*place
	blocks map[string]*config.Destination // of places

	folk    folk
	events  int
	rows    map[string]*row
	order   []string // ids of rows, as they came
	batches []journal.Chunk
	handed  int   // batches that the journal has been given
	seen    int64 // seal up to which the journal was looked at
	lines   []*line

	mu     sync.Mutex
	byName map[string]*line // guarded by mu, as are the watched fields of a line
	trace  map[string][]string
	failed atomic.Int64 // complaints

	done struct{ runs, kills, duplicates, lateOut, gone, removed, refused, adopted, slots atomic.Int64 }
}

// row is an event that was sent.
type row struct {
	id       string
	at       time.Time // of the event
	day      journal.Day
	local    journal.Day
	ref      journal.ExtentRef // zero: it is not sealed
	sealedAt time.Time
	removed  bool // by retention
}

// line is a pipeline, from its registration on.
type line struct {
	cfg    *config.Pipeline
	id     string
	place  *place
	cut    int64 // seal at its registration
	before *line // whose place it has adopted
	gone   map[string]bool
	state  string // live, paused, cancelled, removed, forgotten

	floor    int64 // sequence of the journal when the latest iteration began; 0: the clock was set since
	floorAt  time.Time
	running  int
	fails    bool
	began    time.Time // of the latest iteration; zero: none
	finished time.Time // beginning of the latest one that succeeded; zero: none, or the clock was set back
}

func (l *line) has(r *row) bool {
	return l.cfg.Stream == batch.Events && r.day >= l.cfg.From && r.day <= l.cfg.To
}

// leavesOut reports whether a pipeline leaves a row out because it came too late.
func (l *line) leavesOut(r *row) bool {
	zone := l.cfg.Project.TimeZone
	y, m, d := r.at.In(zone).Date()
	return l.cfg.LeaveLate && r.ref.Seq > l.cut && r.sealedAt.After(time.Date(y, m, d+1, 0, 0, 0, 0, zone).Add(2*time.Hour))
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }

func (w *world) name() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%016x", w.names.Uint64())
}

func (w *world) errorf(format string, args ...any) {
	w.failed.Add(1)
	text := w.now().UTC().Format("2006-01-02 15:04:05: ") + fmt.Sprintf(format, args...)
	if w.planted == nil {
		w.t.Error(text)
		return
	}
	w.complaining.Lock()
	defer w.complaining.Unlock()
	w.complaints = append(w.complaints, text)
}

func (w *world) must(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatalf("%s: %v", w.now().UTC().Format(time.DateTime), err)
	}
}

// note adds to the story of a pipeline, which the seed decides.
func (w *world) note(pipeline, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace[pipeline] = append(w.trace[pipeline], w.now().UTC().Format("01-02 15:04:05 ")+fmt.Sprintf(format, args...))
}

func (w *world) configured() (all []*config.Pipeline) {
	for _, l := range w.lines {
		if l.state != "removed" && l.state != "forgotten" && l.state != "removing" {
			all = append(all, w.asConfigured(l.cfg))
		}
	}
	return all
}

func text(r *row) string {
	return fmt.Sprintf("{\"id\":%q,\"at\":%d,\"padding\":%q}\n", r.id, r.at.Unix(), strings.Repeat(r.id, 8))
}

func keyOf(id string) (key journal.Key) {
	h := fnv.New128a()
	h.Write([]byte(id))
	copy(key[:], h.Sum(nil))
	return key
}

func dayOf(t time.Time, zone *time.Location) journal.Day {
	y, m, d := t.In(zone).Date()
	return journal.DayOf(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix())
}

// send makes a batch of events: of now, late by hours, days or months, too early, and some
// again that were sent before. The source keeps it until the journal has it.
func (w *world) send() {
	c := journal.Chunk{}
	add := func(text string, row journal.Row) {
		row.Offset, row.Length = len(c.Data), len(text)
		c.Rows = append(c.Rows, row)
		c.Data = append(c.Data, text...)
	}
	put := func(r *row, again bool) {
		add(text(r), journal.Row{Time: r.at.Unix(), Key: w.keyOf(r.id, again), Kind: journal.KindEvents})
	}
	for range 1 + w.rng.IntN(8) {
		age := time.Duration(w.rng.IntN(300)) * time.Second
		switch w.rng.IntN(10) {
		case 0:
			age = time.Duration(w.rng.IntN(10*60)) * time.Minute
		case 1:
			age = time.Duration(w.rng.IntN(10*24)) * time.Hour
		case 2:
			age = time.Duration(w.rng.IntN(120*24)) * time.Hour
		case 3:
			age = -time.Duration(w.rng.IntN(30)) * time.Hour
		}
		w.events++
		r := &row{id: fmt.Sprintf("e%d", w.events), at: w.now().Add(-age).Truncate(time.Second)}
		r.day, r.local = journal.DayOf(r.at.Unix()), dayOf(r.at, w.shop.TimeZone)
		w.rows[r.id] = r
		w.order = append(w.order, r.id)
		put(r, false)
	}
	if w.rng.IntN(2) == 0 {
		for range w.rng.IntN(6) {
			w.done.duplicates.Add(1)
			put(w.rows[w.order[w.rng.IntN(len(w.order))]], true)
		}
		w.rng.Shuffle(len(c.Rows), func(i, j int) { c.Rows[i], c.Rows[j] = c.Rows[j], c.Rows[i] })
	}
	w.changes(add)
	n := len(w.batches)
	move := journal.CursorMove{Source: feed, Position: "feed", To: fmt.Append(nil, n+1)}
	if n > 0 {
		move.From = fmt.Append(nil, n)
	}
	c.Cursors = []journal.CursorMove{move}
	w.batches = append(w.batches, c)
}

// hand gives the journal the batches that it has not. They are sealed here, or by the
// next iteration of a pipeline.
func (w *world) hand(seal bool) {
	writer, err := w.life.project.Journal.Writer(w.ctx)
	for err == nil && w.handed < len(w.batches) {
		if err = writer.Append(w.ctx, w.batches[w.handed]); err == nil {
			w.handed++
		}
	}
	if err == nil && seal {
		if err = writer.Seal(w.ctx); err == nil {
			err = writer.Rest(w.ctx)
		}
	}
	if err != nil && w.life.alive() == nil {
		w.errorf("the journal takes nothing: %v", err)
	}
}

// look reads the rows that were sealed since the last look.
func (w *world) look() {
	seq, err := w.life.catalog.Sequence(w.ctx, w.shop.ID)
	w.must(err)
	var found []pipeline.Extent
	w.must(w.life.catalog.Extents(w.ctx, w.shop.ID, journal.KindEvents, w.seen, seq, func(_ int64, extents []pipeline.Extent) error {
		found = append(found, extents...)
		return nil
	}))
	for _, e := range found {
		w.must(w.life.project.Journal.Reader().Extent(w.ctx, e.Ref, func(b journal.Block) error { return w.sealed(&e, b) }))
	}
	w.lookAtFolk(w.seen, seq)
	w.seen = seq
}

// cursor returns the number of batches that are sealed.
func (w *world) cursor() (n int) {
	cursors, err := w.life.catalog.Cursors(w.ctx, w.shop.ID, feed)
	w.must(err)
	if value, ok := cursors["feed"]; ok {
		_, err := fmt.Sscan(string(value), &n)
		w.must(err)
	}
	return n
}

// live starts a host, and sees how far the source has to go back.
func (w *world) begin() {
	w.forget(nil)
	w.life = w.start()
	w.look()
	w.handed = w.cursor()
	synctest.Wait()
}

// held returns the extents that the journal still has.
func (w *world) held() map[journal.ExtentRef]bool {
	refs := map[journal.ExtentRef]bool{}
	w.must(w.life.catalog.Extents(w.ctx, w.shop.ID, journal.KindEvents, 0, 1<<62, func(_ int64, extents []pipeline.Extent) error {
		for _, e := range extents {
			refs[e.Ref] = true
		}
		return nil
	}))
	return refs
}

// arrives checks a row that a run brings.
func (w *world) arrives(p *place, run protocol.Run, date, id string) {
	w.mu.Lock()
	l := w.byName[run.Pipeline]
	w.mu.Unlock()
	r := w.rows[id]
	if r == nil || l == nil {
		w.errorf("run %d of %s brings %q, which was never sent", run.Number, run.Pipeline, id)
		return
	}
	want := r.day
	if p.zone {
		want = r.local
	}
	if date != want.String() {
		w.errorf("run %d of %s brings event %s of %s for %s", run.Number, run.Pipeline, id, want, date)
	}
	if !l.has(r) {
		w.errorf("run %d of %s brings event %s of %s, which is not one of its dates", run.Number, run.Pipeline, id, r.day)
	}
}

// sealed checks the rows of a block that is new in the journal.
func (w *world) sealed(e *pipeline.Extent, b journal.Block) error {
	lines, err := decode(b)
	for _, id := range lines {
		r := w.rows[id]
		switch {
		case r == nil:
			w.errorf("the journal has %q, which was never sent", id)
			continue
		case r.ref != (journal.ExtentRef{}):
			w.errorf("event %s is in the journal twice: in seals %d and %d", id, r.ref.Seq, e.Ref.Seq)
		case r.day != e.UTCDate || r.local != e.ZoneDate:
			w.errorf("event %s of %s, local %s, is in the journal under %s and %s", id, r.day, r.local, e.UTCDate, e.ZoneDate)
		}
		r.ref, r.sealedAt = e.Ref, e.SealedAt
	}
	return err
}
