package upkeep_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/upkeep"
	"github.com/penstock-io/penstock/sdk/batch"
)

var (
	seedFlag  = flag.Uint64("upkeep.seed", 0, "run this seed alone")
	seedsFlag = flag.Uint64("upkeep.seeds", 6, "number of seeds")
)

const project = 7

// retention of the tests.
const retention = 10 * 24 * time.Hour

var firstDay = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// failing is the local disk until a number of calls is used up: then every call
// fails, as for a process that has died. 0 means that none fails.
type failing struct {
	disk.System
	left atomic.Int64
}

func (f *failing) call() error {
	if n := f.left.Load(); n == 0 || n > 1 && f.left.Add(-1) > 0 {
		return nil
	}
	f.left.Store(1)
	return syscall.EIO
}

func (f *failing) CreateTemp(dir, pattern string) (disk.File, error) {
	if err := f.call(); err != nil {
		return nil, err
	}
	return f.System.CreateTemp(dir, pattern)
}

func (f *failing) Open(path string) (disk.File, error) {
	if err := f.call(); err != nil {
		return nil, err
	}
	return f.System.Open(path)
}

func (f *failing) Rename(from, to string) error {
	return errors.Join(f.call(), f.unlessFailed(func() error { return f.System.Rename(from, to) }))
}

func (f *failing) Remove(path string) error {
	return errors.Join(f.call(), f.unlessFailed(func() error { return f.System.Remove(path) }))
}

func (f *failing) SyncDir(path string) error {
	return errors.Join(f.call(), f.unlessFailed(func() error { return f.System.SyncDir(path) }))
}

func (f *failing) unlessFailed(do func() error) error {
	if f.left.Load() == 1 {
		return nil
	}
	return do()
}

// world is a data directory, and the rows that should be in it.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	names   *rand.Rand // of files: its turn does not depend on that of the actions
	dir     string
	now     time.Time
	system  *failing
	store   *disk.Dir
	catalog *catalog.Catalog
	writer  *journal.Writer
	reader  *journal.Reader
	upkeep  *upkeep.Upkeep
	opened  int // times

	rows    map[string]journal.Day // sealed events
	changes []string               // sealed profile operations, in order
	cursors map[string]string
	sealed  int
	appends int
	readers []*exporter

	done struct{ removed, files, interrupted, gone, planned int64 } // so that the test tests something
}

// exporter is a pipeline and the rows that it has exported.
type exporter struct {
	name string
	gone map[string]bool // removed before the pipeline was registered
	got  map[string]int
	from journal.Day
	to   journal.Day
	open [32]byte // hash of the bytes of its planned run

	pending bool // it has a planned run
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 12)), names: rand.New(rand.NewPCG(seed, 13)), dir: t.TempDir(), now: firstDay, rows: map[string]journal.Day{}, cursors: map[string]string{}}
	w.start()
	if err := w.catalog.RegisterProject(t.Context(), project, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	w.opened++
	w.system = &failing{System: disk.Local()}
	var err error
	if w.store, err = disk.OpenOn(w.system, filepath.Join(w.dir, "blobs")); err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.Sweep(); err != nil {
		w.t.Fatal(err)
	}
	if w.catalog, err = catalog.Open(w.t.Context(), filepath.Join(w.dir, "catalog.db"), fmt.Sprintf("host-%d", w.opened)); err != nil {
		w.t.Fatal(err)
	}
	if err := w.catalog.ExpirePending(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.reader = journal.NewReader(project, w.store, w.catalog)
	w.upkeep = upkeep.New(upkeep.Options{
		Projects: func() []upkeep.Project { return []upkeep.Project{{ID: project, Name: "shop", Reader: w.reader}} }, Store: w.store, Catalog: w.catalog, Retention: func() time.Duration { return retention },
		Now: w.clock, Wait: noWait, Log: discard, Names: w.name,
	})
}

var discard = slog.New(slog.DiscardHandler)

func noWait(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func (w *world) clock() time.Time { return w.now }

// name returns the name of a file. A sweep that is cut has removed the first of several
// files, in the order of their names.
func (w *world) name() string { return fmt.Sprintf("%016x", w.names.Uint64()) }

// journal returns the writer, open.
func (w *world) journal() *journal.Writer {
	w.t.Helper()
	if w.writer == nil {
		var err error
		w.writer, err = journal.Open(w.t.Context(), journal.Options{
			Project: project, Store: w.store, Catalog: w.catalog, Now: func() time.Time { return w.now }, Memory: 1 << 20, Block: 4 << 10, Workers: 1, Names: w.name,
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return w.writer
}

func (w *world) stop() {
	if w.writer != nil {
		_ = w.writer.Close() // it may have failed
		w.writer = nil
	}
	if err := errors.Join(w.reader.Close(), w.catalog.Close()); err != nil {
		w.t.Error(err)
	}
}

// restart ends the host as a crash does, and starts another.
func (w *world) restart() {
	w.stop()
	w.start()
}

func line(id string, day journal.Day) []byte {
	return fmt.Appendf(nil, "{\"id\":%q,\"day\":%q,\"padding\":%q}\n", id, day, strings.Repeat(id, 4))
}

func keyOf(id string) (key journal.Key) {
	h := fnv.New128a()
	h.Write([]byte(id))
	copy(key[:], h.Sum(nil))
	binary.LittleEndian.PutUint64(key[:8], binary.LittleEndian.Uint64(key[:8])*0x9e3779b97f4a7c15)
	return key
}

// seal appends some rows, of today, late or too early, some of them again, and seals
// them.
func (w *world) seal() {
	w.t.Helper()
	c := journal.Chunk{}
	put := func(id string, day journal.Day, kind journal.Kind) {
		l := line(id, day)
		c.Rows = append(c.Rows, journal.Row{Offset: len(c.Data), Length: len(l), Time: day.Time().Unix(), Key: keyOf(id), Kind: kind})
		c.Data = append(c.Data, l...)
	}
	today := journal.DayOf(w.now.Unix())
	fresh := map[string]journal.Day{}
	for range 1 + w.rng.IntN(12) {
		w.appends++
		id, day := fmt.Sprintf("e%d", w.appends), today
		switch w.rng.IntN(6) {
		case 0:
			day -= journal.Day(w.rng.IntN(30))
		case 1:
			day += journal.Day(w.rng.IntN(3))
		}
		fresh[id] = day
		put(id, day, journal.KindEvents)
	}
	for _, id := range slices.Sorted(maps.Keys(w.rows)) { // a pull that is repeated
		if w.rng.IntN(8) == 0 {
			put(id, w.rows[id], journal.KindEvents)
		}
	}
	var changes []string
	for range w.rng.IntN(3) {
		w.appends++
		changes = append(changes, fmt.Sprintf("p%d", w.appends))
		put(changes[len(changes)-1], today-journal.Day(w.rng.IntN(2)), journal.KindProfiles)
	}
	w.sealed++
	move := journal.CursorMove{Source: "files.a", Position: fmt.Sprintf("file-%d", w.rng.IntN(3)), To: fmt.Append(nil, w.sealed)}
	if before, ok := w.cursors[move.Position]; ok {
		move.From = []byte(before)
	}
	c.Cursors = []journal.CursorMove{move}
	writer := w.journal()
	if err := errors.Join(writer.Append(w.t.Context(), c), writer.Seal(w.t.Context()), writer.Rest(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	w.cursors[move.Position] = string(move.To)
	maps.Copy(w.rows, fresh)
	w.changes = append(w.changes, changes...)
}

// read calls fn with the id of each row of an extent.
func (w *world) read(ref journal.ExtentRef, fn func(id string)) {
	w.t.Helper()
	err := w.reader.Extent(w.t.Context(), ref, func(b journal.Block) error {
		rows, err := segment.Decode(nil, b)
		for l := range bytes.Lines(rows) {
			id, _, _ := strings.Cut(strings.TrimPrefix(string(l), `{"id":"`), `"`)
			fn(id)
		}
		return err
	})
	if err != nil {
		w.t.Fatalf("read %+v: %v", ref, err)
	}
}

// held returns the ids of the journal's rows of a kind, in order.
func (w *world) held(kind journal.Kind) (ids []string) {
	w.t.Helper()
	var refs []journal.ExtentRef
	err := w.catalog.Extents(w.t.Context(), project, kind, 0, 1<<62, func(_ int64, extents []pipeline.Extent) error {
		for _, e := range extents {
			refs = append(refs, e.Ref)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, ref := range refs {
		w.read(ref, func(id string) { ids = append(ids, id) })
	}
	return ids
}

// register registers a pipeline: from then on it has to export all rows of its dates
// that the journal holds.
func (w *world) register() {
	w.t.Helper()
	today := journal.DayOf(w.now.Unix())
	x := &exporter{name: fmt.Sprintf("p%d", len(w.readers)), gone: map[string]bool{}, got: map[string]int{}, from: today - journal.Day(w.rng.IntN(25)), to: pipeline.Forever}
	if w.rng.IntN(3) == 0 {
		x.to = today + journal.Day(w.rng.IntN(10))
	}
	stored, err := w.catalog.RegisterPipeline(w.t.Context(), pipeline.Definition{
		Name: x.name, ProjectID: project, Stream: batch.Events, Destination: "localfs.out", From: x.from, To: x.to,
	}, nil, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	held := w.held(journal.KindEvents)
	slices.Sort(held)
	for id := range w.rows {
		if _, found := slices.BinarySearch(held, id); w.within(x, id) && !found {
			x.gone[id] = true
		}
	}
	w.done.gone += int64(len(x.gone))
	gap, err := w.catalog.PipelineGap(w.t.Context(), stored.ID)
	if err != nil || gap.Rows != int64(len(x.gone)) {
		w.t.Errorf("pipeline %s is told of %d rows that are gone, %d are: %v", x.name, gap.Rows, len(x.gone), err)
	}
	w.readers = append(w.readers, x)
}

func (w *world) within(x *exporter, id string) bool {
	return w.rows[id] >= x.from && w.rows[id] <= x.to
}

// step plans a run of a pipeline, or carries out the one that is planned. It reports
// whether there was one.
func (w *world) step(x *exporter) bool {
	w.t.Helper()
	ctx := w.t.Context()
	p, err := w.catalog.Pipeline(ctx, x.name)
	if err != nil {
		w.t.Fatal(err)
	}
	open, err := w.catalog.OpenRun(ctx, p.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	if open != nil {
		w.export(x, open)
		return true
	}
	seq, err := w.catalog.Sequence(ctx, project)
	if err != nil {
		w.t.Fatal(err)
	}
	extents, next, err := pipeline.Next(ctx, p, pipeline.Limits{Bytes: 1 << 30, Extents: 1 + w.rng.IntN(20)}, seq,
		func(ctx context.Context, after, to int64, fn func(int64, []pipeline.Extent) error) error {
			return w.catalog.Extents(ctx, project, journal.KindEvents, after, to, fn)
		})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(extents) == 0 {
		if err := w.catalog.MoveCursor(ctx, p, next); err != nil {
			w.t.Fatal(err)
		}
		return false
	}
	if err := w.catalog.InsertRun(ctx, p, &pipeline.Run{Extents: extents, Next: next, PlannedAt: w.now}); err != nil {
		w.t.Fatal(err)
	}
	x.open, _ = w.bytesOf(extents)
	x.pending = true
	return true
}

// bytesOf returns the hash of a run's bytes as they are sent, and its rows.
func (w *world) bytesOf(extents []pipeline.Extent) (sum [32]byte, ids []string) {
	w.t.Helper()
	h := sha256.New()
	for _, e := range extents {
		err := w.reader.Extent(w.t.Context(), e.Ref, func(b journal.Block) error {
			h.Write(b.Payload)
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
		w.read(e.Ref, func(id string) { ids = append(ids, id) })
	}
	return [32]byte(h.Sum(nil)), ids
}

func (w *world) export(x *exporter, run *pipeline.Run) {
	w.t.Helper()
	sum, ids := w.bytesOf(run.Extents)
	if sum != x.open {
		w.t.Errorf("the bytes of run %d of %s have changed since it was planned", run.Number, x.name)
	}
	lease, err := w.catalog.AcquireRun(w.t.Context(), run.PipelineID, run.Number, fmt.Sprintf("host-%d", w.opened), time.Hour)
	if err == nil {
		err = w.catalog.RecordReceipt(w.t.Context(), lease, pipeline.Receipt{Rows: int64(len(ids))})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	for _, id := range ids {
		x.got[id]++
	}
	x.pending = false
}

// tidy makes a pass that may end anywhere, as by a crash.
func (w *world) tidy() {
	w.t.Helper()
	crash := w.rng.IntN(2) == 0
	if crash {
		w.system.left.Store(int64(2 + w.rng.IntN(120)))
	}
	report, err := w.upkeep.Pass(w.t.Context(), 0)
	if err != nil && !crash {
		w.t.Fatal(err)
	}
	w.done.removed += report.RowsRemoved
	w.done.files += report.Rewritten
	if err != nil {
		w.done.interrupted++
	}
	for _, x := range w.readers {
		if x.pending {
			w.done.planned++
		}
	}
	if crash {
		w.restart()
	}
}

// rebuild makes the catalog again out of the journal, and takes the pipelines from the
// old one.
func (w *world) rebuild() {
	w.t.Helper()
	ctx := w.t.Context()
	if err := journal.Record(ctx, w.catalog, w.store, project); err != nil {
		w.t.Fatal(err)
	}
	w.stop()
	path := filepath.Join(w.dir, "catalog.db")
	old := path + ".old"
	if _, err := catalog.Rename(path, old); err != nil {
		w.t.Fatal(err)
	}
	fresh, err := catalog.Open(ctx, path, "rebuild")
	if err != nil {
		w.t.Fatal(err)
	}
	err = fresh.RegisterProject(ctx, project, "shop", "UTC")
	if err == nil {
		err = journal.Rebuild(ctx, w.store, project, func(s journal.Seal) error { return fresh.RestoreSeal(ctx, s) },
			func(r journal.Rewrite) error { return fresh.RestoreRewrite(ctx, r) })
	}
	if err == nil {
		_, err = fresh.RestoreFrom(ctx, old)
	}
	if err := errors.Join(err, fresh.Close(), catalog.Remove(old)); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// check compares the journal with the rows that should be there.
func (w *world) check() {
	w.t.Helper()
	held := w.held(journal.KindEvents)
	slices.Sort(held)
	if n := len(slices.Compact(slices.Clone(held))); n != len(held) {
		w.t.Errorf("%d rows are in the journal more than once", len(held)-n)
	}
	young := journal.DayOf(w.now.Add(-retention).Unix())
	for id, day := range w.rows {
		if _, found := slices.BinarySearch(held, id); !found && day >= young {
			w.t.Errorf("row %s of %s is gone, and younger than the retention", id, day)
		}
	}
	if got := w.held(journal.KindProfiles); !slices.Equal(got, w.changes) {
		w.t.Errorf("profile operations are %v, want %v", got, w.changes)
	}
	cursors, err := w.catalog.Cursors(w.t.Context(), project, "files.a")
	if err != nil {
		w.t.Fatal(err)
	}
	for position, want := range w.cursors {
		if string(cursors[position]) != want {
			w.t.Errorf("the cursor of %s is %s, want %s", position, cursors[position], want)
		}
	}
	report, err := journal.Verify(w.t.Context(), w.store, func(ctx context.Context, fn func(journal.File) error) error {
		return w.catalog.Files(ctx, project, 0, fn)
	}, func(ctx context.Context) ([]keys.Run, error) { return w.catalog.KeyRuns(ctx, project) })
	if err != nil || len(report.Damages) > 0 {
		w.t.Errorf("journal verify: %+v, %v", report, err)
	}
	for _, x := range w.readers {
		for id, n := range x.got {
			if n > 1 {
				w.t.Errorf("pipeline %s has exported row %s %d times", x.name, id, n)
			}
		}
	}
}

// Whatever is sealed, exported, removed, brought together, rebuilt and interrupted: each
// pipeline exports each row once that was in the journal when it was registered, or
// came later, a planned run keeps its bytes, and no removed row comes back.
func TestPipelinesSeeTheSameJournal(t *testing.T) {
	t.Parallel()
	first, last := uint64(1), *seedsFlag
	if *seedFlag > 0 {
		first, last = *seedFlag, *seedFlag
	}
	var removed, files, interrupted, gone, planned int64
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			defer func() {
				removed, files, interrupted = removed+w.done.removed, files+w.done.files, interrupted+w.done.interrupted
				gone, planned = gone+w.done.gone, planned+w.done.planned
			}()
			for range 120 {
				w.act()
			}
			w.drain()
			if t.Failed() {
				t.Logf("again: go test ./host/internal/upkeep -run TestPipelinesSeeTheSameJournal -upkeep.seed=%d", seed)
			}
		})
	}
	t.Logf("%d rows removed, %d files rewritten, %d passes interrupted, %d rows gone before a pipeline came, %d passes over planned runs",
		removed, files, interrupted, gone, planned)
	if *seedFlag == 0 && min(removed, files, interrupted, gone, planned) == 0 {
		t.Error("the seeds leave something out")
	}
}

// act does one thing.
func (w *world) act() {
	w.t.Helper()
	switch n := w.rng.IntN(100); {
	case n < 45:
		w.seal()
		w.now = w.now.Add(time.Duration(w.rng.IntN(240)) * time.Minute)
	case n < 70:
		if len(w.readers) > 0 {
			w.step(w.readers[w.rng.IntN(len(w.readers))])
		}
	case n < 76:
		if len(w.readers) < 8 {
			w.register()
		}
	case n < 88:
		w.tidy()
	case n < 93:
		w.now = w.now.AddDate(0, 0, 2+w.rng.IntN(10))
	case n < 96:
		w.rebuild()
	case n < 98:
		w.check()
	default:
		w.restart()
	}
}

// drain lets every pipeline catch up, and then everything that is old is removed.
func (w *world) drain() {
	w.t.Helper()
	for _, x := range w.readers {
		for w.step(x) {
		}
		for id, day := range w.rows {
			if day >= x.from && day <= x.to && x.got[id] == 0 && !x.gone[id] {
				w.t.Errorf("pipeline %s has not exported row %s of %s", x.name, id, day)
			}
		}
	}
	w.check()
	for days := range 2 { // the second pass believes the clock after any time
		w.now = w.now.AddDate(0, 0, 40-days*30)
		if _, err := w.upkeep.Pass(w.t.Context(), 0); err != nil {
			w.t.Fatal(err)
		}
	}
	if left := w.held(journal.KindEvents); len(left) > 0 {
		w.t.Errorf("%d rows are older than the retention, and no pipeline needs them: %v", len(left), left)
	}
	for id := range w.rows { // a pull of everything
		l := line(id, w.rows[id])
		c := journal.Chunk{Data: l, Rows: []journal.Row{{Length: len(l), Time: w.rows[id].Time().Unix(), Key: keyOf(id), Kind: journal.KindEvents}}}
		if err := w.journal().Append(w.t.Context(), c); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := errors.Join(w.journal().Seal(w.t.Context()), w.journal().Rest(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	if back := w.held(journal.KindEvents); len(back) > 0 {
		w.t.Errorf("%d removed rows came back: %v", len(back), back)
	}
	w.check()
	stats, err := w.upkeep.Stats(w.t.Context())
	if err != nil || len(stats[0].Orphans) > 0 || len(stats[0].Held) > 0 || stats[0].Due.Rows > 0 {
		w.t.Errorf("stats: %+v, %v", stats, err)
	}
}
