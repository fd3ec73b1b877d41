package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// ledger is a destination that keeps the content of each run. It outlives hosts.
type ledger struct {
	destination.Plugin
	zone bool // its days are those of the project's zone

	mu       sync.Mutex
	last     protocol.LastRun           // guarded by mu, as the rest is
	fence    int64                      // of the latest attempt
	contents map[int64]string           // by number
	receipts map[int64]protocol.Receipt // by number
	rows     map[string]int             // how often each is there
	sends    int                        // batches that were sent, whatever became of them
}

func (l *ledger) Start(context.Context) error { return nil }
func (l *ledger) Stop(context.Context)        {}

func (l *ledger) Partitioning() protocol.Partitioning {
	if l.zone {
		return protocol.ByProjectDate
	}
	return protocol.ByUTCDate
}

func (l *ledger) Description() protocol.Description {
	return protocol.Description{Name: "ledger", Version: "1", Capabilities: protocol.Capabilities{
		Streams: []batch.Stream{batch.Events}, Modes: []protocol.Mode{protocol.Append}, Partitioning: l.Partitioning(), Guarantee: protocol.Transaction,
	}}
}

func (l *ledger) Configure(context.Context, protocol.Project, []byte) (protocol.Configured, error) {
	return protocol.Configured{Targets: []protocol.Target{{Stream: batch.Events, URI: "ledger://out"}}}, nil
}

func (l *ledger) Status(_ context.Context, run protocol.Run) (protocol.Status, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := protocol.Status{State: protocol.Absent, Last: l.last, Fence: l.fence, Content: l.contents[run.Number]}
	if run.Number <= l.last.Number {
		s.State = protocol.Committed
	}
	if r, ok := l.receipts[run.Number]; ok {
		s.Receipt = &r
	}
	return s, nil
}

func (l *ledger) Export(context.Context, func([]protocol.RejectedRow) error) (export.Session, error) {
	return &ledgerSession{ledger: l}, nil
}

// state returns the number of the last run, and how many batches were sent.
func (l *ledger) state() (last int64, sends int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.Number, l.sends
}

// ledgerSession is one attempt at a run.
type ledgerSession struct {
	*ledger
	run   protocol.Run
	parts []protocol.PartitionReceipt
	lines []string
}

func (s *ledgerSession) fenced() error {
	if s.run.Fence < s.fence {
		return &protocol.Error{Class: protocol.Fenced, Err: fmt.Errorf("fence %d is older than %d", s.run.Fence, s.fence)}
	}
	return nil
}

func (s *ledgerSession) Open(_ context.Context, run protocol.Run) (protocol.LastRun, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run = run; s.fenced() != nil {
		return protocol.LastRun{}, s.fenced()
	}
	s.fence = run.Fence
	return s.last, nil
}

func (s *ledgerSession) BeginPartition(_ context.Context, p protocol.Partition) error {
	s.parts = append(s.parts, protocol.PartitionReceipt{Index: p.Index, Date: p.Date})
	return nil
}

func (s *ledgerSession) SendWithChecksum(_ context.Context, b *batch.Batch, _ uint32) error {
	rows, err := segment.Decode(nil, segment.Block{Rows: b.Rows, Payload: b.Payload, RowsBytes: b.RowsBytes, RowsCRC32: b.RowsCRC32, Flags: b.Flags})
	for line := range bytes.Lines(rows) {
		s.lines = append(s.lines, string(line))
	}
	s.parts[len(s.parts)-1].Rows += uint64(b.Rows)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends++
	return err
}

func (s *ledgerSession) Extents() bool { return false }

func (s *ledgerSession) SendExtent(context.Context, *batch.Batch, uint32, protocol.Extent) error {
	return errors.New("the ledger takes payloads only")
}

func (s *ledgerSession) EndPartition(context.Context, protocol.Totals) error { return nil }

func (s *ledgerSession) Prepare(context.Context, protocol.Totals) (protocol.Receipt, error) {
	return protocol.Receipt{Partitions: s.parts}, nil
}

func (s *ledgerSession) Commit(context.Context) (protocol.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	receipt := protocol.Receipt{Partitions: s.parts}
	if err := s.fenced(); err != nil {
		return receipt, err
	}
	if done, err := s.last.Holds(s.run); done || err != nil {
		return receipt, err
	}
	for _, line := range s.lines {
		s.rows[line]++
	}
	s.last = s.run.Last()
	s.contents[s.run.Number], s.receipts[s.run.Number] = s.run.Content, receipt
	return receipt, nil
}

func (s *ledgerSession) Abort(context.Context, bool) error { return nil }
func (s *ledgerSession) Close()                            {}

// restored is a host with a data directory whose catalog is replaced by an older one.
type restored struct {
	t      *testing.T
	dir    string
	ledger *ledger
	shop   *config.Project
	config *config.Pipeline
	now    time.Time
	sent   int // rows of events that were sealed
	late   int // of them
	owner  int

	stores     *projecttest.Stores
	set        *project.Set
	quarantine *quarantine.Store
	*Pipeline
}

// newRestored starts a host. prepare, which may be nil, is called before the pipeline is
// registered.
func newRestored(t *testing.T, zone bool, prepare func(*restored)) *restored {
	t.Helper()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	x := &restored{
		t: t, dir: t.TempDir(), shop: &config.Project{Name: "shop", ID: 1, TimeZone: berlin}, now: time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC),
		ledger: &ledger{zone: zone, contents: map[int64]string{}, receipts: map[int64]protocol.Receipt{}, rows: map[string]int{}},
	}
	x.config = &config.Pipeline{
		Name: "events", Project: x.shop, Stream: batch.Events, To: pipeline.Forever, MaxRun: 1 << 30,
		Schedule: pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt, Zone: berlin}, Destination: &config.Destination{Type: "ledger", Name: "out"},
	}
	x.start()
	t.Cleanup(func() { x.close() })
	if prepare != nil {
		prepare(x)
	}
	x.must(x.register(t.Context()))
	return x
}

// must ends the test with an error.
func (x *restored) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// open starts a host with the pipeline registered.
func (x *restored) open() {
	x.t.Helper()
	x.start()
	x.must(x.register(x.t.Context()))
}

// start starts a host.
func (x *restored) start() {
	x.t.Helper()
	log, now := slog.New(slog.DiscardHandler), func() time.Time { return x.now }
	x.stores = projecttest.Open(x.t, x.dir, []*config.Project{x.shop})
	x.must(x.stores.Catalog.ExpireLeases(x.t.Context()))
	x.set = project.New(project.Options{
		Dir: x.stores.Dir, Store: x.stores.Blobs, Spill: x.stores.Spill, Catalog: x.stores.Catalog, Memory: 1 << 20, Now: now, Log: log, Observer: progress.Discard{},
	}, []*config.Project{x.shop})
	var err error
	x.quarantine, err = quarantine.Open(x.stores.Dir.Path(datadir.QuarantineDir), quarantine.Options{Ledger: x.stores.Catalog.Quarantine(), Now: now})
	x.must(err)
	x.owner++
	r := New(Options{
		Projects: x.set, Catalog: x.stores.Catalog, Quarantine: x.quarantine, Owner: fmt.Sprint("host-", x.owner),
		Destinations: destination.Open(&config.Config{}, func(string, string) destination.Plugin { return x.ledger }, log),
		Now:          now, Wait: lifecycle.Wait, Ticker: func(time.Duration) (<-chan time.Time, func()) { return nil, func() {} },
		Log: log, Observer: progress.Discard{}, Prepare: func(context.Context) error { return nil },
	}, []*config.Pipeline{x.config})
	x.Pipeline = r.ByName(x.config.Name)
}

// close ends the host; it may be called again.
func (x *restored) close() {
	x.t.Helper()
	if x.set == nil {
		return
	}
	err := errors.Join(x.set.Close(), x.quarantine.Close(), x.stores.Close())
	x.set = nil
	x.must(err)
}

// seal seals events with the times that are so much earlier than now. Without any it seals
// a change of a profile.
func (x *restored) seal(ages ...time.Duration) {
	x.t.Helper()
	w, err := x.project.Journal.Writer(x.t.Context())
	x.must(err)
	var c journal.Chunk
	add := func(kind journal.Kind, at time.Time, key, text string) {
		row := journal.Row{Offset: len(c.Data), Length: len(text), Time: at.Unix(), Kind: kind}
		copy(row.Key[:], key)
		c.Data, c.Rows = append(c.Data, text...), append(c.Rows, row)
	}
	for _, age := range ages {
		x.sent++
		if age > 30*time.Hour {
			x.late++
		}
		id := fmt.Sprintf("e%d", x.sent)
		add(journal.KindEvents, x.now.Add(-age), id, fmt.Sprintf("{\"id\":%q,\"age\":%q}\n", id, age))
	}
	if len(ages) == 0 {
		id := fmt.Sprintf("p%d", x.now.Unix())
		add(journal.KindProfiles, x.now, id, fmt.Sprintf("{\"id\":%q}\n", id))
	}
	x.must(errors.Join(w.Append(x.t.Context(), c), w.Seal(x.t.Context())))
	x.now = x.now.Add(time.Minute)
}

// day seals some of the events of a day, now and then without events of the pipeline.
func (x *restored) day(r *rand.Rand) {
	x.t.Helper()
	x.now = x.now.Add(24 * time.Hour)
	for range 1 + r.IntN(4) {
		var ages []time.Duration
		for range r.IntN(4) {
			ages = append(ages, []time.Duration{0, time.Hour, 13 * time.Hour, 9 * 24 * time.Hour}[r.IntN(4)])
		}
		x.seal(ages...)
	}
	x.seal(time.Hour)
	if r.IntN(2) == 0 {
		x.seal()
	}
}

// exports runs the pipeline until nothing is left.
func (x *restored) exports() {
	x.t.Helper()
	_, err := x.RunNow(x.t.Context(), false)
	x.must(err)
}

// stops runs the pipeline, which must stop because of another run at the destination.
func (x *restored) stops() {
	x.t.Helper()
	last, sends := x.ledger.state()
	var diverged *export.DivergedError
	if _, err := x.RunNow(x.t.Context(), false); !errors.As(err, &diverged) || !strings.Contains(err.Error(), "restored from a backup") {
		x.t.Errorf("the run ended with %v", err)
	}
	if l, s := x.ledger.state(); l != last || s != sends {
		x.t.Errorf("the destination's last run is %d, and was %d; %d batches were sent", l, last, s-sends)
	}
	open, err := x.o.Catalog.OpenRun(x.t.Context(), x.id())
	if err != nil || open == nil || open.State != pipeline.RunFailed {
		x.t.Errorf("the open run is %+v, %v", open, err)
	}
}

func (x *restored) id() string {
	x.t.Helper()
	stored, err := x.Pipeline.stored(x.t.Context())
	x.must(err)
	return stored.ID
}

// keep keeps a copy of the catalog.
func (x *restored) keep() {
	x.t.Helper()
	x.must(x.stores.Catalog.Snapshot(x.t.Context(), filepath.Join(x.dir, "kept.db")))
}

// older puts the copy of keep in the place of the catalog, with the seals of the journal.
func (x *restored) older() {
	x.t.Helper()
	dir := x.stores.Dir
	x.close()
	data, err := os.ReadFile(filepath.Join(x.dir, "kept.db"))
	x.must(err)
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(dir.Path(datadir.CatalogFile) + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			x.t.Fatal(err)
		}
	}
	x.must(os.WriteFile(dir.Path(datadir.CatalogFile), data, 0o600))
	report, err := datadir.Rebuild(x.t.Context(), dir, []*config.Project{x.shop}, datadir.RebuildOptions{Now: func() time.Time { return x.now }})
	x.must(err)
	if report.Pipelines != 1 {
		x.t.Fatalf("rebuilt: %+v", report)
	}
	x.open()
}

// rewrite brings the files of the journal together, up to 40 in one, without the extents
// that drop reports. It returns how many there were, and how many there are.
func (x *restored) rewrite(drop func(journal.Segment, int, journal.Extent) bool) (before, after int) {
	x.t.Helper()
	ctx, c := x.t.Context(), x.stores.Catalog
	x.must(journal.Record(ctx, c, x.stores.Blobs, 1))
	files := func() (all []journal.File) {
		x.must(c.Files(ctx, 1, 0, func(f journal.File) error {
			all = append(all, f)
			return nil
		}))
		return all
	}
	had := files()
	w := &journal.Rewriter{Project: 1, Store: x.stores.Blobs, Catalog: c, Reader: x.project.Journal.Reader(), Time: time.Hour}
	for group := range slices.Chunk(had, 40) {
		_, err := w.Rewrite(ctx, group, drop)
		x.must(err)
	}
	_, err := journal.Sweep(ctx, c, x.stores.Blobs, 1)
	x.must(err)
	return len(had), len(files())
}

// ahead exports a run, keeps the catalog as it is then, and exports as many runs more.
func (x *restored) ahead(r *rand.Rand, runs int) {
	x.t.Helper()
	x.day(r)
	x.exports()
	x.keep()
	for range runs {
		x.day(r)
		x.exports()
	}
}

// leased plans the next run and leases it, and goes no further.
func (x *restored) leased() (*resolved, *pipeline.Run, pipeline.Lease) {
	x.t.Helper()
	stored, err := x.Pipeline.stored(x.t.Context())
	x.must(err)
	res, err := x.resolve(x.t.Context(), stored)
	x.must(err)
	run, err := res.run(x.t.Context(), x.now)
	x.must(err)
	lease, err := x.o.Catalog.AcquireRun(x.t.Context(), stored.ID, run.Number, "host-0", time.Minute)
	x.must(err)
	return res, run, lease
}

// whole checks that the destination has each event once, in the runs that the catalog has.
func (x *restored) whole(leftOut int) {
	x.t.Helper()
	x.ledger.mu.Lock()
	defer x.ledger.mu.Unlock()
	if len(x.ledger.rows) != x.sent-leftOut {
		x.t.Errorf("the destination has %d events of %d, %d of them late", len(x.ledger.rows), x.sent, leftOut)
	}
	for row, n := range x.ledger.rows {
		if n != 1 {
			x.t.Errorf("%q is there %d times", row, n)
		}
	}
	stored, err := x.Pipeline.stored(x.t.Context())
	x.must(err)
	contents, err := x.o.Catalog.RunContents(x.t.Context(), stored.ID)
	x.must(err)
	if fmt.Sprint(contents) != fmt.Sprint(x.ledger.contents) {
		x.t.Errorf("the catalog has the runs %v, and the destination %v", contents, x.ledger.contents)
	}
	if stored.Committed.Number != x.ledger.last.Number || stored.Cursor.LeftOut.Rows != int64(leftOut) {
		x.t.Errorf("the catalog's last run is %d, the destination's %d; %d rows were left out, want %d",
			stored.Committed.Number, x.ledger.last.Number, stored.Cursor.LeftOut.Rows, leftOut)
	}
}

// An older catalog that is put next to the whole journal catches up with the destination,
// whatever the runs were cut by, and sends nothing before it has.
func TestAnOlderCatalogCatchesUp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		behind int
		zone   bool
		begin  func(*restored) // before the pipeline is registered
		before func(*restored) // before the catalog is replaced
		after  func(*restored) // with the older catalog
	}{
		{name: "one run", behind: 1},
		{name: "three runs", behind: 3},
		{name: "twenty runs", behind: 20},
		{name: "dates of the project", behind: 3, zone: true},
		{name: "late rows are left out", behind: 5, begin: func(x *restored) { x.config.LeaveLate = true }},
		{name: "small runs", behind: 4, begin: func(x *restored) { x.config.MaxRun = 150 }},
		{name: "runs were smaller", behind: 4, begin: func(x *restored) { x.config.MaxRun = 150 }, after: func(x *restored) { x.config.MaxRun = 1 << 30 }},
		{name: "runs were larger", behind: 4, after: func(x *restored) { x.config.MaxRun = 1 }},
		{name: "files brought together", behind: 20, before: func(x *restored) {
			before, after := x.rewrite(func(journal.Segment, int, journal.Extent) bool { return false })
			if before < 40 || after > 1+before/40 {
				x.t.Errorf("%d files, and there were %d", after, before)
			}
		}},
		{name: "a backfill", behind: 4, zone: true, begin: func(x *restored) {
			x.config.MaxRun, x.config.Order = 150, pipeline.Newest
			r := rand.New(rand.NewPCG(3, 3))
			for range 4 {
				x.day(r)
			}
		}, after: func(x *restored) { x.config.MaxRun = 1 << 30 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := newRestored(t, tt.zone, tt.begin)
			r := rand.New(rand.NewPCG(uint64(tt.behind), 12))
			for range 2 {
				x.day(r)
				if _, err := x.step(t.Context(), x.now, false); err != nil {
					t.Fatal(err)
				}
			}
			x.keep()
			first, _ := x.ledger.state()
			for last := first; last < first+int64(tt.behind); last, _ = x.ledger.state() {
				x.day(r)
				x.exports()
			}
			if tt.before != nil {
				tt.before(x)
			}
			x.older()
			if tt.after != nil {
				tt.after(x)
			}
			x.day(r)
			last, sends := x.ledger.state()
			for stored := first; stored < last; {
				if _, err := x.step(t.Context(), x.now, false); err != nil {
					t.Fatal(err)
				}
				now, err := x.Pipeline.stored(t.Context())
				x.must(err)
				if stored++; now.Committed.Number != stored {
					t.Fatalf("the catalog's last run is %d, want %d", now.Committed.Number, stored)
				}
			}
			if now, s := x.ledger.state(); now != last || s != sends {
				t.Errorf("%d batches were sent before the catalog had caught up with run %d, and run %d is there now", s-sends, last, now)
			}
			x.exports()
			leftOut := 0
			if x.config.LeaveLate {
				if leftOut = x.late; leftOut == 0 {
					t.Error("no row was late")
				}
			}
			x.whole(leftOut)
			x.day(r)
			x.exports()
			if x.config.LeaveLate {
				leftOut = x.late
			}
			x.whole(leftOut)
		})
	}
}

// A run of the destination that the journal does not hold, or whose content the
// destination does not know, is not adopted, and none that comes after it is.
func TestAnOlderCatalogStopsAtARunThatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(l *ledger){
		"another content": func(l *ledger) { l.contents[5] = strings.Repeat("0", 32) },
		"no content":      func(l *ledger) { delete(l.contents, 5); delete(l.receipts, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newRestored(t, false, nil)
			r := rand.New(rand.NewPCG(4, 4))
			x.ahead(r, 6)
			x.older()
			x.ledger.mu.Lock()
			change(x.ledger)
			x.ledger.mu.Unlock()
			x.stops()
			recovery, err := x.Recover(t.Context(), false)
			if err != nil || !recovery.Differs || recovery.Untried || recovery.Agreed != 4 || recovery.Recorded != 4 || recovery.Committed != 7 {
				t.Errorf("recovery %+v, %v", recovery, err)
			}
			x.stops() // it stays stopped
			if recovery, err = x.Recover(t.Context(), true); err != nil || recovery.NextRun != 8 {
				t.Errorf("recovery %+v, %v", recovery, err)
			}
			x.exports()
		})
	}
}

// Rows that retention has removed are in no plan: the run that had them is not found.
func TestAnOlderCatalogStopsAtARunWhoseRowsAreGone(t *testing.T) {
	t.Parallel()
	x := newRestored(t, false, nil)
	r := rand.New(rand.NewPCG(5, 5))
	x.day(r)
	x.exports()
	x.keep()
	var third int64 // the last seal before the third run
	for range 4 {
		if last, _ := x.ledger.state(); last == 2 {
			var err error
			third, err = x.o.Catalog.Sequence(t.Context(), 1)
			x.must(err)
		}
		x.day(r)
		x.exports()
	}
	gone := 0
	x.rewrite(func(s journal.Segment, _ int, e journal.Extent) bool {
		drop := s.Seq > third && gone == 0 && e.Kind == journal.KindEvents
		if drop {
			gone++
		}
		return drop
	})
	x.older()
	x.day(r)
	x.stops()
	if stored, err := x.Pipeline.stored(t.Context()); err != nil || stored.Committed.Number != 2 {
		t.Errorf("the catalog's last run is %d, %v", stored.Committed.Number, err)
	}
}

// A failed run of an older version, which did not look for the destination's run in the
// journal, is found by recover: nothing is sent again before it was tried.
func TestRecoverFindsARunInTheJournal(t *testing.T) {
	t.Parallel()
	x := newRestored(t, false, nil)
	r := rand.New(rand.NewPCG(6, 6))
	x.ahead(r, 3)
	x.older()
	_, _, lease := x.leased()
	x.must(x.o.Catalog.RecordFailure(t.Context(), lease, "it diverges", "permanent", true))
	recovery, err := x.Recover(t.Context(), false)
	if err != nil || !recovery.Differs || !recovery.Untried {
		t.Errorf("recovery %+v, %v", recovery, err)
	}
	if _, err := x.Recover(t.Context(), true); err == nil || !strings.Contains(err.Error(), "run it first") {
		t.Errorf("it is sent again: %v", err)
	}
	x.exports()
	x.whole(0)
	if recovery, err = x.Recover(t.Context(), false); err != nil || recovery.Differs || recovery.Untried {
		t.Errorf("after the run: recovery %+v, %v", recovery, err)
	}
}

// A host that ends while it catches up is continued by the next one: between two runs, and
// between the replacement of a plan and the record of its run.
func TestCatchingUpIsContinued(t *testing.T) {
	t.Parallel()
	x := newRestored(t, false, nil)
	r := rand.New(rand.NewPCG(7, 7))
	x.ahead(r, 4)
	x.older()
	_, err := x.step(t.Context(), x.now, false)
	x.must(err)
	x.close()
	x.open()

	res, run, lease := x.leased()
	plan, err := replan(t.Context(), x.Pipeline, res.destination, x.ledger.contents[run.Number])
	if err != nil || plan == nil {
		t.Fatal(plan, err)
	}
	x.must(x.o.Catalog.ReplaceRun(t.Context(), lease, plan))
	x.close()
	x.open()
	last, sends := x.ledger.state()
	x.exports()
	if l, s := x.ledger.state(); l != last || s != sends {
		t.Errorf("%d batches were sent, and the last run is %d, want %d", s-sends, l, last)
	}
	x.whole(0)
}

// Two hosts on one catalog catch up at the same time: each run is recorded once.
func TestTwoHostsCatchUp(t *testing.T) {
	t.Parallel()
	x := newRestored(t, false, nil)
	r := rand.New(rand.NewPCG(8, 8))
	x.ahead(r, 6)
	x.older()
	y := *x
	y.open()
	defer y.close()
	last, sends := x.ledger.state()
	var both sync.WaitGroup
	for _, host := range []*restored{x, &y} {
		both.Go(func() {
			for range 12 {
				_, _ = host.step(t.Context(), x.now, false) // the other one may have the run
			}
		})
	}
	both.Wait()
	x.exports()
	if l, s := x.ledger.state(); l != last || s != sends {
		t.Errorf("%d batches were sent, and the last run is %d, want %d", s-sends, l, last)
	}
	x.whole(0)
}

// A search that is cancelled ends at once, and does not make the run fail for good.
func TestASearchIsCancelled(t *testing.T) {
	t.Parallel()
	x := newRestored(t, false, nil)
	x.seal(time.Hour)
	stored, err := x.Pipeline.stored(t.Context())
	x.must(err)
	res, err := x.resolve(t.Context(), stored)
	x.must(err)
	extents, _, _, err := next(t.Context(), x.o.Catalog, stored, pipeline.Limits{Bytes: 1 << 30})
	x.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := prefix(ctx, res, extents, "x"); n != 0 || !errors.Is(err, context.Canceled) || export.Retryable(err) {
		t.Errorf("%d, %v", n, err)
	}
}
