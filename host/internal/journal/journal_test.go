package journal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const project = 7

var firstDay = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).Unix()

// bench is one data directory.
type bench struct {
	t       *testing.T
	dir     string
	store   disk.Store
	catalog *catalog.Catalog
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	b.open("host-1")
	if err := b.catalog.RegisterProject(t.Context(), project, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) open(owner string) {
	b.t.Helper()
	store, err := disk.OpenDir(filepath.Join(b.dir, "blobs"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.store = store
	b.catalog, err = catalog.Open(b.t.Context(), filepath.Join(b.dir, "catalog.db"), owner)
	if err != nil {
		b.t.Fatal(err)
	}
	c := b.catalog
	b.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.t.Error(err)
		}
	})
}

func (b *bench) options() journal.Options {
	return journal.Options{
		Project: project, Store: b.store, Catalog: b.catalog, Now: time.Now,
		Memory: 2 << 20, Block: 16 << 10, Segment: 64 << 10,
	}
}

func (b *bench) writer(o journal.Options) *journal.Writer {
	b.t.Helper()
	w, err := journal.Open(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

// row is a rendered row with a key of its own.
func row(id string, at int64) (line []byte, key journal.Key) {
	h := fnv.New128a()
	fmt.Fprintf(h, "%s/%d", id, at)
	copy(key[:], h.Sum(nil))
	// FNV is not uniform enough in its high bits for keys that stand for hashes.
	binary.LittleEndian.PutUint64(key[:8], binary.LittleEndian.Uint64(key[:8])*0x9e3779b97f4a7c15)
	return fmt.Appendf(nil, "{\"id\":%q,\"time\":%d,\"padding\":%q}\n", id, at, strings.Repeat(id, 5)), key
}

// chunk makes a chunk of rows; its cursor moves from the number of rows before
// to that after.
func chunk(source string, ids []string, times []int64, from int) journal.Chunk {
	c := journal.Chunk{}
	for i, id := range ids {
		line, key := row(id, times[i])
		c.Rows = append(c.Rows, journal.Row{Offset: len(c.Data), Length: len(line), Time: times[i], Key: key, Kind: journal.KindEvents})
		c.Data = append(c.Data, line...)
	}
	move := journal.CursorMove{Source: source, Position: "file", To: fmt.Append(nil, from+len(ids))}
	if from > 0 {
		move.From = fmt.Append(nil, from)
	}
	c.Cursors = []journal.CursorMove{move}
	return c
}

// lines reads everything that the catalog names, and checks each partition.
func (b *bench) lines() []string {
	b.t.Helper()
	var lines []string
	reader := journal.NewReader(project, b.store, b.catalog)
	defer reader.Close()
	err := b.catalog.Segments(b.t.Context(), project, func(s journal.Segment) error {
		for i, e := range s.Extents {
			err := reader.Extent(b.t.Context(), journal.ExtentRef{Seq: s.Seq, Index: i}, func(block journal.Block) error {
				rows, err := segment.Decode(nil, block)
				if err != nil {
					return err
				}
				for line := range bytes.Lines(rows) {
					lines = append(lines, e.UTCDate.String()+" "+strings.TrimSuffix(string(line), "\n"))
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func (b *bench) verify() *journal.Report {
	b.t.Helper()
	report, err := journal.Verify(b.t.Context(), b.store, func(ctx context.Context, fn func(journal.File) error) error {
		return b.catalog.Files(ctx, project, 0, fn)
	}, func(ctx context.Context) ([]keys.Run, error) { return b.catalog.KeyRuns(ctx, project) })
	if err != nil {
		b.t.Fatal(err)
	}
	return report
}

// noRewrite refuses the record of a rewrite: the test makes none.
func noRewrite(r journal.Rewrite) error {
	return fmt.Errorf("there is a record of a rewrite of seals %d to %d", r.From, r.To)
}

// expected returns the rows of ids that the journal should hold.
func expected(ids []string, times []int64) []string {
	set := map[string]bool{}
	for i, id := range ids {
		line, _ := row(id, times[i])
		set[journal.DayOf(times[i]).String()+" "+strings.TrimSuffix(string(line), "\n")] = true
	}
	lines := make([]string, 0, len(set))
	for line := range set {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("the journal holds %d rows, want %d", len(got), len(want))
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("row %d:\n got %s\nwant %s", i, got[i], want[i])
			}
		}
	}
}

// random makes rows of some days, some of them repeated.
func random(r *rand.Rand, n, days int) (ids []string, times []int64) {
	for range n {
		id := fmt.Sprint(r.IntN(n))
		ids = append(ids, id)
		h := fnv.New32a()
		h.Write([]byte(id))
		times = append(times, firstDay+int64(h.Sum32()%uint32(days*86400)))
	}
	return ids, times
}

// The journal holds each row once, in its own day, for any rows and any division
// into chunks and seals.
func TestAppendedRowsAreRead(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := newBench(t)
		w := b.writer(b.options())
		ids, times := random(r, 200+r.IntN(6000), 1+r.IntN(60))
		for at := 0; at < len(ids); {
			n := min(1+r.IntN(400), len(ids)-at)
			if err := w.Append(t.Context(), chunk("files.a", ids[at:at+n], times[at:at+n], at)); err != nil {
				t.Fatal(err)
			}
			at += n
			if r.IntN(10) == 0 {
				if err := w.Seal(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := expected(ids, times)
		same(t, b.lines(), want)
		stats := w.Stats()
		if stats.Kept != int64(len(want)) || stats.Rows != int64(len(ids)) || stats.Duplicates != stats.Rows-stats.Kept {
			t.Errorf("seed %d: stats %+v, want %d kept of %d", seed, stats, len(want), len(ids))
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if report := b.verify(); len(report.Damages) > 0 {
			t.Errorf("seed %d: %+v", seed, report.Damages)
		}
	}
}

func TestASecondReadingBringsNothing(t *testing.T) {
	b := newBench(t)
	ids, times := random(rand.New(rand.NewPCG(1, 1)), 5000, 20)
	for reading := range 3 {
		w := b.writer(b.options())
		for at := 0; at < len(ids); at += 100 {
			if err := w.Append(t.Context(), chunk(fmt.Sprintf("files.%d", reading), ids[at:at+100], times[at:at+100], at)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if reading > 0 && w.Stats().Kept > 0 {
			t.Errorf("reading %d brought %d rows", reading, w.Stats().Kept)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	same(t, b.lines(), expected(ids, times))
}

func TestDatesFollowTheZone(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo"} {
		location, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t)
		o := b.options()
		o.Zone = location
		w := b.writer(o)
		var ids []string
		var times []int64
		// Days on which clocks change, and the day that Apia left out in 2011.
		for _, around := range []string{"2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01", "2026-04-05", "2011-12-30", "2018-02-18"} {
			day, err := time.Parse(time.DateOnly, around)
			if err != nil {
				t.Fatal(err)
			}
			for minutes := -36 * 60; minutes < 60*60; minutes += 11 {
				times = append(times, day.Unix()+int64(minutes)*60)
				ids = append(ids, fmt.Sprintf("%s-%d", around, minutes))
			}
		}
		if err := w.Append(t.Context(), chunk("files.a", ids, times, 0)); err != nil {
			t.Fatal(err)
		}
		if err := w.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		counts := map[journal.Partition]int64{}
		for _, at := range times {
			local := time.Unix(at, 0).In(location)
			date := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC)
			counts[journal.Partition{Kind: journal.KindEvents, UTCDate: journal.DayOf(at), ZoneDate: journal.DayOf(date.Unix())}]++
		}
		err = b.catalog.Segments(t.Context(), project, func(s journal.Segment) error {
			for _, e := range s.Extents {
				counts[e.Partition] -= e.Rows
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for partition, n := range counts {
			if n != 0 {
				t.Errorf("%s: %d rows are missing in %+v", name, n, partition)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Operations and links are read in the order in which they were appended, with any
// dates and any ends of blocks and segments.
func TestOrderIsKept(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	b := newBench(t)
	o := b.options()
	o.Zone = zone
	w := b.writer(o)
	kinds := []journal.Kind{journal.KindProfiles, journal.KindEvents, journal.KindLinks}
	want := map[journal.Kind][]string{}
	n := 0
	for range 60 {
		var c journal.Chunk
		for range r.IntN(200) {
			n++
			// Around the end of a UTC date, or of one in New York, forth and back.
			at := firstDay + 86400 + int64(r.IntN(2)*4*3600) + int64(r.IntN(2000)-1000)
			line, key := row(fmt.Sprint(n), at)
			kind := kinds[r.IntN(len(kinds))]
			c.Rows = append(c.Rows, journal.Row{Offset: len(c.Data), Length: len(line), Time: at, Key: key, Kind: kind})
			c.Data = append(c.Data, line...)
			want[kind] = append(want[kind], string(line))
		}
		if err := w.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if r.IntN(12) == 0 {
			if err := w.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Seal(t.Context()), w.Close()); err != nil {
		t.Fatal(err)
	}
	got := map[journal.Kind][]string{}
	reader := journal.NewReader(project, b.store, b.catalog)
	defer reader.Close()
	partitions := 0
	err = b.catalog.Segments(t.Context(), project, func(s journal.Segment) error {
		for i, e := range s.Extents {
			partitions++
			err := reader.Extent(t.Context(), journal.ExtentRef{Seq: s.Seq, Index: i}, func(block journal.Block) error {
				rows, err := segment.Decode(nil, block)
				for line := range bytes.Lines(rows) {
					got[e.Kind] = append(got[e.Kind], string(line))
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []journal.Kind{journal.KindProfiles, journal.KindLinks} {
		if !slices.Equal(got[kind], want[kind]) {
			t.Errorf("%s are not in the order in which they came", kind)
		}
	}
	if len(got[journal.KindEvents]) != len(want[journal.KindEvents]) || partitions < 12 {
		t.Errorf("%d of %d events in %d partitions", len(got[journal.KindEvents]), len(want[journal.KindEvents]), partitions)
	}
	if report := b.verify(); len(report.Damages) > 0 {
		t.Errorf("damages: %+v", report.Damages)
	}
}

// The places of an extent's blocks hold the payloads that Extent returns.
func TestPlacesHoldThePayloads(t *testing.T) {
	b := newBench(t)
	w := b.writer(b.options())
	defer w.Close()
	for i := range 3 {
		var ids []string
		var times []int64
		for k := range 600 {
			ids = append(ids, fmt.Sprintf("%d-%d", i, k))
			times = append(times, firstDay+int64(k%2)*86400)
		}
		if err := w.Append(t.Context(), chunk("a", ids, times, i*600)); err != nil {
			t.Fatal(err)
		}
		if err := w.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reader := journal.NewReader(project, b.store, b.catalog)
	defer reader.Close()
	root := reader.Root()
	if root != filepath.Join(b.dir, "blobs") {
		t.Fatalf("the root is %q", root)
	}
	blocks := 0
	err := b.catalog.Segments(t.Context(), project, func(s journal.Segment) error {
		for i := range s.Extents {
			ref := journal.ExtentRef{Seq: s.Seq, Index: i}
			var want, got []journal.Block
			err := reader.Extent(t.Context(), ref, func(block journal.Block) error {
				block.Payload = bytes.Clone(block.Payload)
				want = append(want, block)
				return nil
			})
			if err != nil {
				return err
			}
			err = reader.Places(t.Context(), ref, func(block journal.Block, at journal.Place) error {
				data, err := os.ReadFile(filepath.Join(root, at.Blob))
				if err != nil {
					return err
				}
				block.Payload = data[at.Offset : at.Offset+int64(at.Length)]
				got = append(got, block)
				return nil
			})
			if err != nil {
				return err
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("extent %d of segment %d: the places are not those of its %d blocks", i, s.Seq, len(want))
			}
			blocks += len(got)
		}
		return nil
	})
	if err != nil || blocks < 8 {
		t.Errorf("%d blocks, %v", blocks, err)
	}
	if root := disk.OpenReadOnly("blobs").Root(); root != "" {
		t.Errorf("a relative directory is %q for other processes", root)
	}
}

func TestManyOpenDaysStayInTheBudget(t *testing.T) {
	b := newBench(t)
	o := b.options()
	o.Block = 1 << 20
	o.Memory = 64 << 20
	o.Segment = 1 << 20
	w := b.writer(o)
	defer w.Close()
	var ids []string
	var times []int64
	for i := range 40000 {
		ids = append(ids, fmt.Sprintf("row-%d-%s", i, strings.Repeat("x", 60)))
		times = append(times, firstDay+int64(i%400)*86400+int64(i/400))
	}
	for at := 0; at < len(ids); at += 500 {
		if err := w.Append(t.Context(), chunk("files.a", ids[at:at+500], times[at:at+500], at)); err != nil {
			t.Fatal(err)
		}
		if open := w.OpenBytes(); open > o.Memory/2 {
			t.Fatalf("open blocks take %d bytes of %d", open, o.Memory/2)
		}
	}
	if err := w.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, b.lines(), expected(ids, times))
}

// The memory of entries is used for block after block, within its share of the budget.
func TestEntriesAreUsedAgain(t *testing.T) {
	b := newBench(t)
	o := b.options()
	w := b.writer(o)
	defer w.Close()
	ids, times := random(rand.New(rand.NewPCG(5, 1)), 20000, 300)
	var kept []int64
	for at := 0; at < len(ids); at += 2000 {
		if err := w.Append(t.Context(), chunk("files.a", ids[at:at+2000], times[at:at+2000], at)); err != nil {
			t.Fatal(err)
		}
		if err := w.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, w.KeptEntries())
	}
	same(t, b.lines(), expected(ids, times))
	if first, last := kept[0], kept[len(kept)-1]; first == 0 || last > 2*first || slices.Max(kept) > o.Memory/16 {
		t.Errorf("kept for later blocks, in bytes after each seal: %d, at most %d", kept, o.Memory/16)
	}
}

// The few rows of a day have no memory of the full blocks of other days.
func TestFewRowsHaveLittleMemoryForEntries(t *testing.T) {
	b := newBench(t)
	o := b.options()
	o.Memory, o.Block, o.Segment = 64<<20, 1<<20, 16<<20
	w := b.writer(o)
	defer w.Close()
	var ids []string
	var times []int64
	add := func(days, each int) {
		for i := range days * each {
			ids = append(ids, fmt.Sprintf("row-%d", len(ids)))
			times = append(times, firstDay+int64(i%days)*86400)
		}
	}
	add(8, 3000)
	if err := w.Append(t.Context(), chunk("files.a", ids, times, 0)); err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	from := len(ids)
	add(100, 2)
	if err := w.Append(t.Context(), chunk("files.a", ids[from:], times[from:], from)); err != nil {
		t.Fatal(err)
	}
	if entries := w.OpenEntries(); entries > 100<<10 {
		t.Errorf("entries of 200 rows of 100 days have %d bytes of memory", entries)
	}
	if err := w.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, b.lines(), expected(ids, times))
}

// Two processes seal for one project at once. Rows that one has sealed are left
// out by the other, whichever comes first.
func TestTwoSealersRace(t *testing.T) {
	for seed := range uint64(6) {
		b := newBench(t)
		other := &bench{t: t, dir: b.dir}
		other.open("host-2")
		ids, times := random(rand.New(rand.NewPCG(seed, 3)), 4000, 10)
		var wg sync.WaitGroup
		for n, side := range []*bench{b, other} {
			o := side.options()
			w := side.writer(o)
			wg.Go(func() {
				for at := 0; at < len(ids); at += 200 {
					// The two go through the rows in opposite directions.
					from := at
					if n == 1 {
						from = len(ids) - at - 200
					}
					if err := w.Append(t.Context(), chunk(fmt.Sprint("files.", n), ids[from:from+200], times[from:from+200], at)); err != nil {
						t.Error(err)
						return
					}
					if err := w.Seal(t.Context()); err != nil {
						t.Error(err)
						return
					}
				}
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		same(t, b.lines(), expected(ids, times))
		b.noOrphans()
	}
}

// noOrphans checks that every blob is named by the catalog.
func (b *bench) noOrphans() {
	b.t.Helper()
	known := map[string]bool{}
	err := b.catalog.Segments(b.t.Context(), project, func(s journal.Segment) error {
		known[s.Blob] = true
		known[fmt.Sprintf("commits/%d/%016d.json", project, s.Seq)] = true
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	runs, err := b.catalog.KeyRuns(b.t.Context(), project)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range runs {
		known[r.Blob] = true
	}
	names, err := b.store.List(b.t.Context(), "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, name := range names {
		if !known[name] {
			b.t.Errorf("%s is an orphan", name)
		}
	}
}

func TestACursorThatWasMovedStopsTheSeal(t *testing.T) {
	b := newBench(t)
	w := b.writer(b.options())
	defer w.Close()
	ids, times := random(rand.New(rand.NewPCG(1, 4)), 100, 2)
	if err := w.Append(t.Context(), chunk("files.a", ids, times, 50)); err != nil {
		t.Fatal(err)
	}
	var conflict *journal.CursorConflictError
	if err := w.Seal(t.Context()); !errors.As(err, &conflict) {
		t.Errorf("got %v", err)
	}
	if lines := b.lines(); len(lines) > 0 {
		t.Errorf("%d rows became visible", len(lines))
	}
	b.noOrphans()
}

// A file's path is bytes: Rebuild returns the same cursors as were sealed, even
// for paths that are not valid JSON strings.
func TestPositionsOfArbitraryBytes(t *testing.T) {
	b := newBench(t)
	w := b.writer(b.options())
	want := map[string]string{}
	c := journal.Chunk{}
	for i, position := range []string{"/in/a\xff.ndjson", "/in/a\xfe.ndjson", "/in/a\uFFFD.ndjson", "/in/ä.ndjson", "\xff", ""} {
		c.Cursors = append(c.Cursors, journal.CursorMove{Source: "files.a", Position: position, To: fmt.Append(nil, i)})
		want[position] = fmt.Sprint(i)
	}
	if err := errors.Join(w.Append(t.Context(), c), w.Seal(t.Context()), w.Close()); err != nil {
		t.Fatal(err)
	}
	if report := b.verify(); len(report.Damages) > 0 {
		t.Errorf("damages: %+v", report.Damages)
	}
	got := map[string]string{}
	err := journal.Rebuild(t.Context(), b.store, project, func(s journal.Seal) error {
		for _, m := range s.Cursors {
			got[m.Position] = string(m.To)
		}
		return nil
	}, noRewrite)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("rebuilt: %q, %v", got, err)
	}
}

// ending is a context that ends while it is being used.
type ending struct {
	context.Context
	asked bool
}

func (c *ending) Err() error {
	if !c.asked {
		c.asked = true
		return nil
	}
	return context.Canceled
}

func (c *ending) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// A host that stops cancels the callers of Append, and then seals: rows are
// sealed with their cursor, or not at all.
func TestAnAppendThatIsCalledAwayLeavesNoHalf(t *testing.T) {
	b := newBench(t)
	o := b.options()
	o.Block = 1 << 10
	w := b.writer(o)
	ids, times := random(rand.New(rand.NewPCG(4, 4)), 400, 1)
	err := w.Append(&ending{Context: t.Context()}, chunk("files.a", ids, times, 0))
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := errors.Join(w.Seal(t.Context()), w.Close()); err != nil {
		t.Fatal(err)
	}
	cursors, err := b.catalog.Cursors(t.Context(), project, "files.a")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(b.lines()); n != 0 && cursors["file"] == nil {
		t.Errorf("%d rows of %d are sealed, and the cursor has not moved", n, len(ids))
	}
}

// Runs of keys are merged while Verify reads them. The missing blob of a merged
// run is not a damage; that of a listed run is.
func TestVerifyDuringAMerge(t *testing.T) {
	b := newBench(t)
	w := b.writer(b.options())
	for seal := range 6 {
		ids, times := random(rand.New(rand.NewPCG(uint64(seal), 6)), 3, 1)
		if err := errors.Join(w.Append(t.Context(), chunk("files.a", ids, times, 3*seal)), w.Seal(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	verify := func(lists ...[]keys.Run) *journal.Report {
		t.Helper()
		none := func(context.Context, func(journal.File) error) error { return nil }
		report, err := journal.Verify(t.Context(), b.store, none, func(context.Context) ([]keys.Run, error) {
			list := lists[0]
			if len(lists) > 1 {
				lists = lists[1:]
			}
			return slices.Clone(list), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	now, err := b.catalog.KeyRuns(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	before := append([]keys.Run{{Blob: "keys/7/merged.seg", From: 1, To: 1}}, now...)
	if report := verify(before, now); len(report.Damages) > 0 || report.Bytes == 0 {
		t.Errorf("during a merge: %+v", report)
	}
	if report := verify(before); len(report.Damages) != 1 || report.Damages[0].Blob != before[0].Blob {
		t.Errorf("a run that is missing: %+v", report)
	}
}

// A start writes the commit record that a crash has left unwritten, and not one that was
// lost later: journal verify does not promise that it does.
func TestALostCommitRecordIsToBeRestored(t *testing.T) {
	b := newBench(t)
	w := b.writer(b.options())
	if err := w.Append(t.Context(), chunk("s", []string{"a"}, []int64{1_780_272_000}, 0)); err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	record := fmt.Sprintf("commits/%d/%016d.json", project, 1)
	if err := b.store.Delete(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	if err := b.writer(b.options()).Close(); err != nil {
		t.Fatal(err)
	}
	damages := b.verify().Damages
	if len(damages) != 1 || damages[0].Blob != record || !strings.Contains(damages[0].Detail, "restore it from a backup") {
		t.Errorf("%+v", damages)
	}
}
