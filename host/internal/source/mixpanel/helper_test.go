package mixpanel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/private"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that a test moves, and that waiting moves.
type clock struct {
	mu     sync.Mutex
	at     time.Time
	waited time.Duration
}

func newClock() *clock { return &clock{at: time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func (c *clock) wait(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.waited = c.at.Add(d), c.waited+d
	return nil
}

// world is a stand-in server and a source that pulls from it.
type world struct {
	t        *testing.T
	clock    *clock
	server   *mixpanelserver.Server
	address  string
	dir      string
	limits   Limits
	kept     keeper
	zone     *time.Location
	from     string
	stall    time.Duration
	lookback time.Duration
	secret   string
	source   *Source
}

var testLimits = Limits{PerHour: 60, PerSecond: 3, Concurrent: 100}

func newWorld(t *testing.T, change func(*mixpanelserver.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: newClock(), dir: t.TempDir(), limits: testLimits, zone: time.UTC, from: "2026-06-08", lookback: 48 * time.Hour, secret: "pw"}
	o := mixpanelserver.Options{
		ProjectID: 7, Username: "sa", Secret: "pw", Now: w.clock.now,
		Export: mixpanelserver.Limits(testLimits), Profiles: mixpanelserver.Limits{PerHour: 60, Concurrent: 5}, PageSize: 3,
	}
	if change != nil {
		change(&o)
	}
	w.server = mixpanelserver.New(o)
	server := httptest.NewServer(w.server)
	t.Cleanup(server.Close)
	w.address = server.URL
	w.kept = keeper{lines: map[string]bool{}, cursors: map[string][]byte{}}
	w.open()
	return w
}

// open opens the source as a new process does.
func (w *world) open() {
	w.t.Helper()
	budget := func(name string, l Limits) *Budget {
		b, err := OpenBudget(BudgetOptions{Path: filepath.Join(w.dir, name), Limits: l, Now: w.clock.now, Wait: w.clock.wait})
		if err != nil {
			w.t.Fatal(err)
		}
		return b
	}
	from, err := journal.ParseDay(w.from)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := private.MakeDir(filepath.Join(w.dir, "spool")); err != nil {
		w.t.Fatal(err)
	}
	client := NewClient(ClientOptions{
		Region: Region{w.address, w.address}, ProjectID: 7, Credentials: Credentials{Username: "sa", Secret: w.secret}, Stall: w.stall,
	})
	w.t.Cleanup(client.Close)
	w.source, err = Open(Options{
		Name: "mixpanel.pull", Dir: filepath.Join(w.dir, "spool"), Client: client, Export: budget("export", w.limits), Profiles: budget("profiles", Limits{PerHour: 60, Concurrent: 5}),
		From: from, Lookback: w.lookback, Zone: w.zone, Now: w.clock.now, Cursors: w.kept.cursors,
		Reload: func(context.Context) (map[string][]byte, error) { return w.kept.cursors, nil },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.source.Resume(w.t.Context(), w.kept.store); err != nil {
		w.t.Fatal(err)
	}
}

// carryOut carries out one query.
func (w *world) carryOut(q Query) error {
	return w.source.fly(w.t.Context(), w.source.begin(q), w.kept.store)
}

// pull carries out the query that is due.
func (w *world) pull() (Query, error) {
	w.t.Helper()
	q, at, ok := w.source.Next()
	if !ok || at.After(w.clock.now()) {
		w.t.Fatalf("nothing is due: %s at %s", q, at)
	}
	return q, w.carryOut(q)
}

// pullAll carries out queries until none is due, and returns them.
func (w *world) pullAll() (queries []string) {
	w.t.Helper()
	for {
		q, at, ok := w.source.Next()
		if !ok || at.After(w.clock.now()) {
			return queries
		}
		if err := w.carryOut(q); err != nil {
			w.t.Fatal(err)
		}
		queries = append(queries, fmt.Sprintf("%s %s", q, q.Why))
	}
}

// spooled are the files that downloads have left.
func (w *world) spooled() []string {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, "spool"))
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// add adds events to each of some days of June.
func (w *world) add(days []int, each int) {
	for _, day := range days {
		for n := range each {
			at := time.Date(2026, 6, day, 3, 0, n, 0, w.zone)
			w.server.Add(mixpanelserver.Event{
				Name: "Item", Time: at.UnixMilli(), DistinctID: fmt.Sprint("u", n%7), Properties: fmt.Sprintf(`"$insert_id":"i-%d-%d","n":%d`, day, n, n),
			})
		}
	}
}

// keeper is a journal in memory.
type keeper struct {
	lines   map[string]bool
	cursors map[string][]byte
	refused []ingest.Refusal
	fail    error
	reads   int
}

func (k *keeper) store(ctx context.Context, _ *Download, pieces ingest.Source) error {
	lines, moves := map[string]bool{}, []journal.CursorMove{}
	for {
		p, err := pieces.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if p.Records == nil {
			for line := range bytes.Lines(p.Data) {
				lines[string(line)] = true
			}
		}
		k.refused = append(k.refused, p.Refused...)
		if p.Cursor != nil {
			moves = append(moves, p.Cursor(0)...)
		}
		p.Release()
	}
	k.reads++
	if k.fail != nil {
		return k.fail
	}
	for line := range lines {
		k.lines[line] = true
	}
	for _, m := range moves {
		if err := k.move(m); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) move(m journal.CursorMove) error {
	if !bytes.Equal(k.cursors[m.Position], m.From) {
		return fmt.Errorf("the cursor at %s is %s, and moves from %s", m.Position, k.cursors[m.Position], m.From)
	}
	k.cursors[m.Position] = m.To
	return nil
}
