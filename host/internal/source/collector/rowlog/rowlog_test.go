package rowlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// books are journals in memory: rows wait until they are sealed, and are lost
// in a crash. They check cursors as the catalog does.
type books struct {
	mu      sync.Mutex
	sealed  map[int64][]string
	open    map[int64][]string
	cursors map[int64][]byte
	moves   map[int64]*journal.CursorMove

	packed     int // rows that came in fragments
	unrecorded []journal.Seal
	asked      func() // when a cursor is asked for; may be nil
}

func newBooks() *books {
	return &books{
		sealed: map[int64][]string{}, open: map[int64][]string{}, cursors: map[int64][]byte{}, moves: map[int64]*journal.CursorMove{},
	}
}

func (b *books) Cursors(_ context.Context, project int64, source string) (map[string][]byte, error) {
	if b.asked != nil {
		b.asked()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if source != "collector.web" || b.cursors[project] == nil {
		return nil, nil
	}
	return map[string][]byte{position: b.cursors[project]}, nil
}

func (b *books) Unrecorded(context.Context, int64) ([]journal.Seal, error) { return b.unrecorded, nil }

type book struct {
	books   *books
	project int64
}

func (b book) Append(_ context.Context, c journal.Chunk) error {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	for _, f := range c.Fragments {
		lines, err := linesOf(f)
		if err != nil {
			return err
		}
		b.books.open[b.project] = append(b.books.open[b.project], lines...)
		b.books.packed += len(lines)
	}
	for _, r := range c.Rows {
		b.books.open[b.project] = append(b.books.open[b.project], string(c.Data[r.Offset:r.Offset+r.Length]))
	}
	for _, m := range c.Cursors {
		if earlier := b.books.moves[b.project]; earlier != nil {
			earlier.To = m.To
			continue
		}
		b.books.moves[b.project] = &m
	}
	return nil
}

func (book) Done() <-chan struct{} { return nil }
func (book) Err() error            { return nil }

func (b *books) find(_ context.Context, project int64) (Appender, error) {
	if project > 3 {
		return nil, &UnknownProjectError{Source: "collector.web", Project: project}
	}
	return book{b, project}, nil
}

func (b *books) seal(t *testing.T, project int64) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.moves[project]
	if m == nil {
		return
	}
	if !bytes.Equal(m.From, b.cursors[project]) {
		t.Fatalf("project %d: the cursor moves from %x and stands at %x", project, m.From, b.cursors[project])
	}
	b.cursors[project] = m.To
	b.sealed[project] = append(b.sealed[project], b.open[project]...)
	delete(b.open, project)
	delete(b.moves, project)
}

func (b *books) crash() {
	clear(b.open)
	clear(b.moves)
}

func rowsOf(lines ...string) ([]journal.Row, []byte) {
	var rows []journal.Row
	var data []byte
	for i, line := range lines {
		data = append(data, "gap"...)
		r := journal.Row{Offset: len(data), Length: len(line) + 1, Kind: journal.KindEvents, Time: 1_780_000_000 + int64(i), Flags: 5}
		binary.LittleEndian.PutUint64(r.Key[:], uint64(i)+1)
		rows = append(rows, r)
		data = append(append(data, line...), '\n')
	}
	return rows, data
}

// linesOf returns the lines of a fragment, which inflates to its rows.
func linesOf(f *journal.Fragment) (lines []string, err error) {
	data, err := segment.Decode(nil, f.Block)
	for i := range f.Entries {
		n := min(int(f.Entries[i].Length), len(data))
		lines, data = append(lines, string(data[:n])), data[n:]
	}
	if err == nil && len(data) > 0 {
		err = fmt.Errorf("%d bytes are of no row", len(data))
	}
	return lines, err
}

// encoded is an entry as it lies in the log.
func encoded(project int64, c journal.Chunk) []byte {
	var e entry
	e.set(project, c)
	return bytes.Join(e.parts, nil)
}

func TestEntries(t *testing.T) {
	rows, data := rowsOf("a", "", "long "+strings.Repeat("x", 1000))
	testEntry(t, entryVersion, rows, data)
	rows[0].KeyDate, rows[1].Undated, rows[2].KeyDate, rows[2].Undated = 20_605, true, 2_932_896, true
	testEntry(t, entryVersionDates, rows, data)
}

func testEntry(t *testing.T, version byte, rows []journal.Row, data []byte) {
	t.Helper()
	b := encoded(-7, journal.Chunk{Rows: rows, Data: data})
	if b[0] != version {
		t.Errorf("version %d, want %d", b[0], version)
	}
	project, chunk, err := decodeEntry(b, nil)
	if err != nil || project != -7 || len(chunk.Rows) != len(rows) {
		t.Fatal(project, chunk.Rows, err)
	}
	for i, r := range chunk.Rows {
		want := rows[i]
		if got := chunk.Data[r.Offset : r.Offset+r.Length]; !bytes.Equal(got, data[want.Offset:want.Offset+want.Length]) {
			t.Errorf("row %d is %q", i, got)
		}
		r.Offset = want.Offset
		if r != want {
			t.Errorf("row %d: %+v, not %+v", i, r, want)
		}
	}
	for n := range len(b) {
		if _, _, err := decodeEntry(b[:n], nil); err == nil {
			t.Fatalf("%d bytes of %d are an entry", n, len(b))
		}
	}
}

// Lines are not moved, and a part is as long as it can be.
func TestAnEntrysParts(t *testing.T) {
	data := []byte("aa\nbb\ncc\n--dd\n")
	row := func(offset int) journal.Row { return journal.Row{Offset: offset, Length: 3, Kind: journal.KindEvents} }
	var e entry
	e.set(1, journal.Chunk{Rows: []journal.Row{row(0), row(3), row(11), row(6)}, Data: data})
	if len(e.parts) != 4 || string(e.parts[1]) != "aa\nbb\n" || &e.parts[1][0] != &data[0] || string(e.parts[2]) != "dd\n" || string(e.parts[3]) != "cc\n" {
		t.Errorf("%q", e.parts)
	}
}

// packed returns rows and fragments of two days, and of a day that keys are kept under.
func packed(t testing.TB) journal.Chunk {
	rows, data := rowsOf("a", "b", "c", "d", "e", "f", "g")
	rows[1].Time += 86400
	rows[3].KeyDate, rows[4].KeyDate, rows[4].Undated = 20_605, 20_605, true
	rows[5].Kind = journal.KindLinks
	c := journal.Chunk{Rows: rows, Data: data}
	if err := journal.NewPacker(journal.PackOptions{Least: 1}).Pack(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.Fragments) != 4 || len(c.Rows) != 1 {
		t.Fatalf("%d fragments and %d rows", len(c.Fragments), len(c.Rows))
	}
	return c
}

func TestEntriesOfFragments(t *testing.T) {
	for _, rows := range []bool{true, false} {
		c := packed(t)
		if !rows {
			c.Rows, c.Data = nil, nil
		}
		b := encoded(9, c)
		if b[0] != entryVersionFragments {
			t.Errorf("version %d", b[0])
		}
		project, got, err := decodeEntry(b, nil)
		if err != nil || project != 9 || !reflect.DeepEqual(got.Fragments, c.Fragments) || len(got.Rows) != len(c.Rows) {
			t.Fatalf("%d, %v\n%+v\n%+v", project, err, got, c)
		}
		for i, r := range got.Rows {
			if line := got.Data[r.Offset : r.Offset+r.Length]; string(line) != "f\n" || r.Kind != journal.KindLinks || r.Key != c.Rows[i].Key {
				t.Errorf("row %+v %q", r, line)
			}
		}
		for n := range len(b) {
			if _, _, err := decodeEntry(b[:n], nil); err == nil {
				t.Fatalf("%d bytes of %d are an entry", n, len(b))
			}
		}
		// The journal keeps fragments, and the reader's memory is used again.
		clear(b)
		for _, f := range got.Fragments {
			if _, err := linesOf(f); err != nil {
				t.Error(err)
			}
		}
	}
}

// An entry that says more of itself than it holds is refused, and costs no more memory than
// it has bytes, but for a factor.
func TestEntriesThatLie(t *testing.T) {
	large := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	for name, b := range map[string][]byte{
		"rows":             slices.Concat([]byte{1, 2}, large),
		"fragments":        slices.Concat([]byte{3, 2}, large),
		"payload":          slices.Concat([]byte{3, 2, 1, 1, 0, 0, 1, 2, 3, 4}, large, make([]byte, 1000)),
		"rows in fragment": slices.Concat([]byte{3, 2, 1, 1, 0, 0, 1, 2, 3, 4, 0}, large, make([]byte, 1000)),
		"length of a row":  slices.Concat([]byte{3, 2, 1, 1, 0, 0, 1, 2, 3, 4, 0, 1, 0, 0}, large, make([]byte, 1000)),
		"no row":           slices.Concat([]byte{3, 2, 1, 1, 0, 0, 1, 2, 3, 4, 0, 0, 0}),
	} {
		var err error
		if n := testing.AllocsPerRun(10, func() { _, _, err = decodeEntry(b, nil) }); err == nil || n > 20 {
			t.Errorf("%s: %v, %v allocations", name, err, n)
		}
	}
}

func FuzzEntry(f *testing.F) {
	rows, data := rowsOf("a", "b")
	f.Add(encoded(1, journal.Chunk{Rows: rows, Data: data}))
	rows[1].KeyDate, rows[1].Undated = 7, true
	f.Add(encoded(1, journal.Chunk{Rows: rows, Data: data}))
	f.Add(encoded(1, packed(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		project, chunk, err := decodeEntry(b, nil)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20+uint64(64*len(b)) {
			t.Fatalf("an entry of %d bytes takes %d", len(b), n)
		}
		if err != nil {
			return
		}
		again := encoded(project, chunk)
		_, second, err := decodeEntry(again, nil)
		if err != nil || !slices.Equal(second.Rows, chunk.Rows) || !bytes.Equal(second.Data, chunk.Data) || !reflect.DeepEqual(second.Fragments, chunk.Fragments) {
			t.Fatalf("not the same the second time: %v", err)
		}
		for _, fragment := range chunk.Fragments {
			_, _ = linesOf(fragment) // may fail, and not panic
		}
	})
}

// compress has a log compress rows of a KiB and more.
func compress(t *testing.T, l *Log) {
	l.Compress(func(int64) *time.Location { return time.UTC }, func(err error) { t.Error(err) })
	l.packers.least = 1 << 10
}

// manyLines returns so many lines that they are compressed before they are logged.
func manyLines(first int, project int64) (lines []string) {
	for n := range 10 {
		line := fmt.Sprintf("row %d of %d ", first+n, project)
		lines = append(lines, line+strings.Repeat("x", 150-len(line)))
	}
	return lines
}

// Rows of several projects are appended, alone and many at a time, drained, sealed and
// trimmed, with crashes anywhere in between: each acknowledged row is in its journal once, in
// order.
func TestRowsReachTheirJournalsOnce(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			dir, err := wal.OpenDir(filepath.Join(t.TempDir(), "wal"))
			if err != nil {
				t.Fatal(err)
			}
			b := newBooks()
			want := map[int64][]string{}
			for range 8 { // lives of a host
				w, _, err := wal.Open(wal.Options{FileSystem: dir, Segment: 512})
				if err != nil {
					t.Fatal(err)
				}
				l := New(w, "collector.web", b)
				compress(t, l)
				for range 12 {
					switch r.IntN(5) {
					case 0, 1:
						project := r.Int64N(3) + 1
						line := fmt.Sprintf("row %d of %d", len(want[project]), project)
						rows, data := rowsOf(line)
						if err := l.Append(t.Context(), []Part{{project, rows}}, data, nil); err != nil {
							t.Fatal(err)
						}
						want[project] = append(want[project], line+"\n")
					case 4:
						project := r.Int64N(3) + 1
						lines := manyLines(len(want[project]), project)
						rows, data := rowsOf(lines...)
						if err := l.Append(t.Context(), []Part{{project, rows}}, data, nil); err != nil {
							t.Fatal(err)
						}
						for _, line := range lines {
							want[project] = append(want[project], line+"\n")
						}
					case 2:
						if last := l.Last(); last > 0 {
							b.crash() // a journal that failed, and is opened again
							if err := l.Drain(t.Context(), last, b.find); err != nil {
								t.Fatal(err)
							}
							b.seal(t, r.Int64N(3)+1)
						}
					case 3:
						if err := l.Trim(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				b.crash()
			}
			w, _, err := wal.Open(wal.Options{FileSystem: dir, Segment: 512})
			if err != nil {
				t.Fatal(err)
			}
			l := New(w, "collector.web", b)
			if last := l.Last(); last > 0 {
				if err := l.Drain(t.Context(), last, b.find); err != nil {
					t.Fatal(err)
				}
			}
			for project, rows := range want {
				b.seal(t, project)
				if !slices.Equal(b.sealed[project], rows) {
					t.Errorf("project %d has %q, not %q", project, b.sealed[project], rows)
				}
			}
			before := l.Size()
			if err := l.Trim(t.Context()); err != nil {
				t.Fatal(err)
			}
			if before > 2048 && l.Size() > 1024 {
				t.Errorf("the log keeps %d bytes", l.Size())
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// one appends entries of one row each for project 1.
func appendRows(t *testing.T, l *Log, lines ...string) {
	t.Helper()
	for _, line := range lines {
		rows, data := rowsOf(line)
		if err := l.Append(t.Context(), []Part{{1, rows}}, data, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// newLog is a log in files of one entry each.
func newLog(t *testing.T, b *books) (*Log, *wal.Log) {
	t.Helper()
	w := openWAL(t, wal.Options{Segment: 1})
	return New(w, "collector.web", b), w
}

// openWAL opens a write-ahead log in a directory of its own, until the test ends.
func openWAL(t testing.TB, o wal.Options) *wal.Log {
	t.Helper()
	dir, err := wal.OpenDir(filepath.Join(t.TempDir(), "wal"))
	if err != nil {
		t.Fatal(err)
	}
	o.FileSystem = dir
	w, _, err := wal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// first is the first entry that a log still has.
func first(t *testing.T, w *wal.Log) uint64 {
	t.Helper()
	r := w.Read(1)
	defer r.Close()
	index, _, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// A journal fails with entries that it had not sealed, and the log is drained
// again while it is being trimmed: those entries stay.
func TestTrimBesideADrainThatBeginsAgain(t *testing.T) {
	b := newBooks()
	l, w := newLog(t, b)
	appendRows(t, l, "a", "b", "c")
	if err := l.Drain(t.Context(), 1, b.find); err != nil {
		t.Fatal(err)
	}
	b.seal(t, 1)
	if err := l.Drain(t.Context(), 3, b.find); err != nil {
		t.Fatal(err)
	}
	b.asked = func() {
		b.asked = nil
		b.crash()
		// It reads sealed rows alone.
		if err := l.Drain(t.Context(), 1, b.find); err != nil {
			t.Error(err)
		}
	}
	if err := l.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if index := first(t, w); index > 2 {
		t.Fatalf("entries up to %d were dropped, and 1 was sealed", index-1)
	}
	if err := l.Drain(t.Context(), 3, b.find); err != nil {
		t.Fatal(err)
	}
	b.seal(t, 1)
	if want := []string{"a\n", "b\n", "c\n"}; !slices.Equal(b.sealed[1], want) {
		t.Errorf("the journal has %q, not %q", b.sealed[1], want)
	}
}

// A seal is visible before its commit record is written: until then the log is
// the only place from which a catalog that is rebuilt gets the rows.
func TestNothingIsDroppedBeforeItsCommitRecord(t *testing.T) {
	b := newBooks()
	l, w := newLog(t, b)
	appendRows(t, l, "a", "b", "c")
	if err := l.Drain(t.Context(), 3, b.find); err != nil {
		t.Fatal(err)
	}
	b.seal(t, 1)
	b.unrecorded = []journal.Seal{{}}
	if err := l.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if index := first(t, w); index != 1 {
		t.Errorf("entries up to %d were dropped", index-1)
	}
	b.unrecorded = nil
	if err := l.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if index := first(t, w); index != 3 {
		t.Errorf("the first entry is %d", index)
	}
}

// A log of which everything was dropped has nothing to drain, and nothing to
// wait for.
// After a crash the entries of each project that are not in its journal are
// counted, whichever project's journal is ahead.
func TestWaitingIn(t *testing.T) {
	b := newBooks()
	dir := t.TempDir()
	w, _, err := wal.Open(wal.Options{FileSystem: wal.Dir(dir), Segment: 200})
	if err != nil {
		t.Fatal(err)
	}
	l := New(w, "collector.web", b)
	for i := range 20 {
		rows, data := rowsOf(fmt.Sprintf(`{"n":%d}`, i))
		if err := l.Append(t.Context(), []Part{{int64(1 + i%2), rows}}, data, nil); err != nil {
			t.Fatal(err)
		}
		if i == 9 || i == 13 {
			if err := l.Drain(t.Context(), uint64(i+1), b.find); err != nil {
				t.Fatal(err)
			}
			b.seal(t, 2) // that of project 1 is lost
			if i == 9 {
				b.seal(t, 1)
			}
			b.crash()
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sealed := map[int64]uint64{}
	for project := range int64(3) {
		if sealed[project], err = Sealed(t.Context(), b, "collector.web", project); err != nil {
			t.Fatal(err)
		}
	}
	// Of project 1 the entries 11, 13, … 19, and of project 2 the entries 16, 18, 20.
	got, err := WaitingIn(dir, sealed)
	if err != nil || len(got) != 2 || got[1] != 5 || got[2] != 3 {
		t.Errorf("%v waits, %v; sealed are %v", got, err, sealed)
	}
	if got, err := WaitingIn(filepath.Join(dir, "missing"), nil); err != nil || len(got) != 0 {
		t.Errorf("%v waits in a missing directory, %v", got, err)
	}
}

func TestALogWithoutEntriesIsDrained(t *testing.T) {
	w := openWAL(t, wal.Options{After: 5})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	b := newBooks()
	if err := New(w, "collector.web", b).Drain(ctx, w.Last(), b.find); err != nil {
		t.Error(err)
	}
}

func TestAProjectThatIsGone(t *testing.T) {
	w := openWAL(t, wal.Options{})
	b := newBooks()
	l := New(w, "collector.web", b)
	rows, data := rowsOf("a")
	if err := l.Append(t.Context(), []Part{{9, rows}}, data, nil); err != nil {
		t.Fatal(err)
	}
	var unknown *UnknownProjectError
	if err := l.Drain(t.Context(), 1, b.find); !errors.As(err, &unknown) || unknown.Project != 9 {
		t.Error(err)
	}
}

// The entries of a project that is held wait in the log, and those of
// other projects do not. The next drain brings them, once.
func TestAHeldProjectKeepsNoOtherWaiting(t *testing.T) {
	dir, err := wal.OpenDir(filepath.Join(t.TempDir(), "wal"))
	if err != nil {
		t.Fatal(err)
	}
	w, _, err := wal.Open(wal.Options{FileSystem: dir, Segment: 64})
	if err != nil {
		t.Fatal(err)
	}
	b := newBooks()
	l := New(w, "collector.web", b)
	for n := range 6 {
		rows, data := rowsOf(fmt.Sprint("row ", n))
		if err := l.Append(t.Context(), []Part{{int64(1 + n%2), rows}}, data, nil); err != nil {
			t.Fatal(err)
		}
	}
	asked := 0
	err = l.Drain(t.Context(), w.Last(), func(ctx context.Context, project int64) (Appender, error) {
		if project == 1 {
			asked++
			return nil, fmt.Errorf("no room: %w", ErrHeld)
		}
		return b.find(ctx, project)
	})
	if err != nil || asked != 1 {
		t.Fatalf("%v, asked %d times", err, asked)
	}
	if l.Handed(1, 1) || !l.Handed(2, w.Last()) {
		t.Error("rows of the held project were handed on, or those of the other were not")
	}
	b.seal(t, 2)
	if err := l.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first := w.First(); first != 1 {
		t.Errorf("entries of the held project were dropped: the first is %d", first)
	}
	if err := l.Drain(t.Context(), w.Last(), b.find); err != nil {
		t.Fatal(err)
	}
	b.seal(t, 1)
	b.seal(t, 2)
	for project, want := range map[int64][]string{1: {"row 0\n", "row 2\n", "row 4\n"}, 2: {"row 1\n", "row 3\n", "row 5\n"}} {
		if got := b.sealed[project]; !slices.Equal(got, want) {
			t.Errorf("project %d has %q", project, got)
		}
	}
	if err := l.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.Waiting() != 0 {
		t.Errorf("%d entries wait", l.Waiting())
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// ending is a journal that can be ended.
type ending struct {
	Appender
	done chan struct{}
}

func (e ending) Done() <-chan struct{} { return e.done }
func (ending) Err() error              { return errors.New("the disk is full") }

// The end of a journal ends a drain that waits for entries, and the next drain hands
// the rows that were not sealed to the journal in its place.
func TestTheEndOfAJournalEndsADrain(t *testing.T) {
	b := newBooks()
	l, _ := newLog(t, b)
	appendRows(t, l, "a", "b")
	asked, done := 0, make(chan struct{})
	drained := make(chan error, 1)
	go func() {
		drained <- l.Drain(t.Context(), 0, func(ctx context.Context, project int64) (Appender, error) {
			asked++
			inner, err := b.find(ctx, project)
			return ending{inner, done}, err
		})
	}()
	for !l.Handed(1, 2) {
		runtime.Gosched()
	}
	settled := func() bool {
		t.Helper()
		done, err := l.Settled(t.Context(), 1, 2)
		if err != nil {
			t.Error(err)
		}
		return done
	}
	b.mu.Lock()
	b.crash()
	b.mu.Unlock()
	close(done)
	if err := <-drained; !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "the disk is full") || asked != 1 {
		t.Fatalf("%v; the journal was asked for %d times", err, asked)
	}
	if settled() {
		t.Error("entries that were lost with their journal count as sealed")
	}
	if err := l.Drain(t.Context(), 2, b.find); err != nil {
		t.Fatal(err)
	}
	if settled() {
		t.Error("entries that are not sealed count as sealed")
	}
	b.seal(t, 1)
	if want := []string{"a\n", "b\n"}; !slices.Equal(b.sealed[1], want) || !settled() {
		t.Errorf("the journal has %q", b.sealed[1])
	}
}

// Fragments are inflated when a log is verified: a payload that was compressed wrong has a
// frame whose checksum is right.
func TestVerifyInflates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	files, err := wal.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	w, _, err := wal.Open(wal.Options{FileSystem: files})
	if err != nil {
		t.Fatal(err)
	}
	wrong := packed(t)
	wrong.Fragments[1].RowsCRC32++
	rows, data := rowsOf("a")
	for _, payload := range [][]byte{encoded(1, packed(t)), encoded(1, wrong), encoded(2, journal.Chunk{Rows: rows, Data: data}), []byte("no entry")} {
		if _, err := w.Append(t.Context(), payload); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	found := map[uint64]string{}
	if err := VerifyIn(dir, func(index uint64, err error) { found[index] = err.Error() }); err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || !strings.HasPrefix(found[2], "fragment 2 of 1 rows: ") || !strings.Contains(found[4], errEntry.Error()) {
		t.Errorf("%v", found)
	}
	if err := VerifyIn(filepath.Join(dir, "none"), nil); err != nil {
		t.Error(err)
	}
}

// BenchmarkReadBack reads an entry of 2,000 rows in fragments, as Drain does.
func BenchmarkReadBack(b *testing.B) {
	var lines []string
	for i := range 2000 {
		lines = append(lines, fmt.Sprintf(`{"event_name":"View","insert_id":"%016x","properties":{"page":"/p/%d","pad":%q},"time":%d}`, i*7919, i%97, strings.Repeat("x", 800), i))
	}
	rows, data := rowsOf(lines...)
	c := journal.Chunk{Rows: rows, Data: data}
	if err := journal.NewPacker(journal.PackOptions{Least: 1}).Pack(&c); err != nil {
		b.Fatal(err)
	}
	w := openWAL(b, wal.Options{})
	if _, err := w.Append(b.Context(), encoded(1, c)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r := w.Read(1)
		_, payload, err := r.Next(b.Context())
		if err == nil {
			_, _, err = decodeEntry(payload, nil)
		}
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/row")
}

// Requests of projects in several zones are compressed at the same time, and few packers are
// kept.
func TestConcurrentRequestsAreCompressed(t *testing.T) {
	b := newBooks()
	w := openWAL(t, wal.Options{})
	l := New(w, "collector.web", b)
	compress(t, l)
	zones := []*time.Location{time.UTC, time.FixedZone("east", 3600), time.FixedZone("west", -3600)}
	l.packers.zone = func(project int64) *time.Location { return zones[project-1] }
	const requests = 20
	var wg sync.WaitGroup
	for project := range int64(3) {
		for range 3 {
			wg.Go(func() {
				for n := range requests {
					rows, data := rowsOf(manyLines(n, project+1)...)
					if err := l.Append(t.Context(), []Part{{project + 1, rows}}, data, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if err := l.Drain(t.Context(), l.Last(), b.find); err != nil {
		t.Fatal(err)
	}
	if want := 9 * requests * len(manyLines(0, 1)); b.packed != want {
		t.Errorf("%d of %d rows came in fragments", b.packed, want)
	}
	if n := len(l.packers.idle); n == 0 || n > runtime.GOMAXPROCS(0) {
		t.Errorf("%d packers are kept", n)
	}
}
