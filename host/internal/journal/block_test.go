package journal

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
)

// blockBench is a Writer without goroutines of its own.
func blockBench(t *testing.T) *Writer {
	t.Helper()
	store, err := disk.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	set := keys.NewSet(store, 1<<20)
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Writer{o: Options{Memory: 1 << 20, Block: 1 << 20}, zone: newZone(time.UTC), set: set, turns: newTurns(), jobs: make(chan job, 100)}
}

func blockOf(turn uint64, s *openSegment, keys ...byte) job {
	j := job{turn: turn, segment: s, done: &doneBlock{}}
	for i, k := range keys {
		line := fmt.Appendf(nil, "{\"block\":%d,\"row\":%d}\n", turn, i)
		j.pieces = append(j.pieces, line)
		j.rows = append(j.rows, FragmentRow{Key: Key{k, 15: 1}, Length: int32(len(line))})
	}
	return j
}

// rowsOf are the rows that a block has kept.
func rowsOf(t *testing.T, b *doneBlock) []string {
	t.Helper()
	if b.Rows == 0 {
		return nil
	}
	text, err := segment.Decode(nil, b.Block)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(func(yield func(string) bool) {
		for line := range bytes.Lines(text) {
			yield(string(line))
		}
	})
}

// Of equal rows in two blocks the one stays that came first, whichever block's
// worker is faster, also when the first block's segment is being sealed already.
func TestTheEarliestOfEqualRowsStays(t *testing.T) {
	for _, sealing := range []bool{false, true} {
		w := blockBench(t)
		first, second := newOpenSegment(0), newOpenSegment(0)
		if !sealing {
			second = first
		} else {
			w.sealing = []*openSegment{first}
		}
		jobs := []job{blockOf(0, first, 1, 2, 3), blockOf(1, second, 3, 4, 1)}
		fast := make(chan error)
		go func() { fast <- (&worker{w: w, encoder: segment.NewRowEncoder(nil)}).do(jobs[1]) }()
		for range 1000 {
			runtime.Gosched() // lets the fast worker do all that it can do alone
		}
		if err := (&worker{w: w, encoder: segment.NewRowEncoder(nil)}).do(jobs[0]); err != nil {
			t.Fatal(err)
		}
		if err := <-fast; err != nil {
			t.Fatal(err)
		}
		if got := rowsOf(t, jobs[0].done); len(got) != 3 {
			t.Errorf("sealing %v: the first block has kept %q", sealing, got)
		}
		if got := rowsOf(t, jobs[1].done); !slices.Equal(got, []string{"{\"block\":1,\"row\":1}\n"}) {
			t.Errorf("sealing %v: the second block has kept %q", sealing, got)
		}
	}
}

// Links of all days go to the workers in the order in which they came: of equal
// links the first counts. A link that is dated before an earlier link goes to the
// day of that link.
func TestLinksKeepTheirOrderAcrossDays(t *testing.T) {
	w := blockBench(t)
	w.open = newOpenSegment(0)
	const midnight = 86400
	line := []byte("{\"link\":1}\n")
	for i, at := range []int64{midnight - 2, midnight - 1, midnight, midnight + 1, midnight - 1, midnight} {
		r := Row{Length: len(line), Time: at, Key: Key{byte(i), 15: 1}, Kind: KindLinks}
		if err := w.put(t.Context(), &r, line); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range w.open.parts {
		if err := w.flush(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	close(w.jobs)
	var order []byte
	var turns []uint64
	for j := range w.jobs {
		turns = append(turns, j.turn)
		for _, r := range j.rows {
			order = append(order, r.Key[0])
		}
	}
	if !bytes.Equal(order, []byte{0, 1, 2, 3, 4, 5}) || !slices.Equal(turns, []uint64{0, 1}) {
		t.Errorf("links %v in turns %v", order, turns)
	}
}
