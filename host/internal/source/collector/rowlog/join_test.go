package rowlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/rowmark"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// entries are chunks that a joiner logs, each when the test lets it.
type entries struct {
	joiner *joiner
	logs   chan struct{} // holds a value for each entry that may be logged
	err    error

	mu    sync.Mutex
	lines []string // of each entry, joined
}

func (e *entries) log(_ context.Context, c journal.Chunk) error {
	<-e.logs
	var line strings.Builder
	for _, r := range c.Rows {
		fmt.Fprintf(&line, "%s%d ", strings.TrimSpace(string(c.Data[r.Offset:r.Offset+r.Length])), r.Kind)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, strings.TrimSpace(line.String()))
	return e.err
}

// begin begins to append lines of events and of a link, and waits until nothing moves.
func (e *entries) begin(ctx context.Context, project int64, bytes int, lines ...string) <-chan error {
	rows, data := rowsOf(lines...)
	rows[len(rows)-1].Kind = journal.KindLinks
	done := make(chan error, 1)
	go func() { done <- e.joiner.append(ctx, project, journal.Chunk{Rows: rows, Data: data}, bytes, e.log) }()
	synctest.Wait()
	return done
}

// Requests that come while an entry is on its way are one entry, events before links.
func TestSmallRequestsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &entries{joiner: newJoiner(), logs: make(chan struct{})}
		first := e.begin(t.Context(), 1, 10, "a", "l")
		ctx, cancel := context.WithCancel(t.Context())
		waiting := []<-chan error{e.begin(ctx, 1, 10, "b", "c", "m"), e.begin(t.Context(), 1, 10, "n"), e.begin(t.Context(), 1, 10, "d", "o")}
		other := e.begin(t.Context(), 2, 10, "x", "y")
		cancel() // the entry is of the others, too
		for range 3 {
			e.logs <- struct{}{}
		}
		for i, done := range append(waiting, first, other) {
			if err := <-done; err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		}
		slices.Sort(e.lines)
		if want := []string{"a1 l3", "b1 c1 d1 m3 n3 o3", "x1 y3"}; !slices.Equal(e.lines, want) {
			t.Errorf("the entries are %q, not %q", e.lines, want)
		}
	})
}

// Marks of rows of events move with these.
func TestJoinedRowsKeepTheirMarks(t *testing.T) {
	chunk := func(lines ...string) journal.Chunk {
		c := journal.Chunk{}
		c.Rows, c.Data = rowsOf(lines...)
		for i, r := range c.Rows {
			if lines[i][0] == 'l' {
				c.Rows[i].Kind = journal.KindLinks
				continue
			}
			c.Marks = append(c.Marks, rowmark.Mark{At: int32(r.Offset)}, rowmark.Mark{At: int32(r.Offset + 1)})
		}
		return c
	}
	m := &joined{marks: make([]rowmark.Mark, 3)}
	all := m.join([]journal.Chunk{chunk("a0", "l0", "b1"), chunk("l1", "c2"), chunk("l2"), chunk("d3", "e4")})
	var got []string
	for _, mark := range all.Marks {
		got = append(got, string(all.Data[mark.At]))
	}
	if want := strings.Split("a0b1c2d3e4", ""); !slices.Equal(got, want) {
		t.Errorf("marks stand before %q, not %q", got, want)
	}
}

// The encoder is given the marks: with wrong ones a fragment takes other bytes, of the same rows.
func TestMarksReachTheEncoder(t *testing.T) {
	var fragments []*journal.Fragment
	for _, marked := range []bool{false, true} {
		w := openWAL(t, wal.Options{})
		l := New(w, "collector.web", newBooks())
		compress(t, l)
		var lines []string
		for i := range 60 {
			lines = append(lines, fmt.Sprintf(`{"first":"%d","second":"%x"}`, i%7, i*i*7919))
		}
		rows, data := rowsOf(lines...)
		var marks []rowmark.Mark
		for i := range rows {
			if marked {
				marks = append(marks, rowmark.Mark{At: int32(rows[i].Offset), Name: uint16(1 + i), Text: 9})
			}
		}
		if err := l.Append(t.Context(), []Part{{1, rows}}, data, marks); err != nil {
			t.Fatal(err)
		}
		_, payload, err := w.Read(1).Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, c, err := decodeEntry(payload, nil)
		if err != nil || len(c.Fragments) != 1 {
			t.Fatalf("%d fragments, %v", len(c.Fragments), err)
		}
		got, err := linesOf(c.Fragments[0])
		if err != nil || strings.Join(got, "") != string(bytes.ReplaceAll(data, []byte("gap"), nil)) {
			t.Fatalf("the fragment holds %q, %v", got, err)
		}
		fragments = append(fragments, c.Fragments[0])
	}
	if slices.Equal(fragments[0].Payload, fragments[1].Payload) {
		t.Error("the fragment is that of rows without marks")
	}
}

// An entry is not larger than it may be, and its failure is that of all of its requests, but
// of no other ones.
func TestJoinedRequestsFailTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &entries{joiner: newJoiner(), logs: make(chan struct{})}
		first := e.begin(t.Context(), 1, 10, "a", "l")
		joined := []<-chan error{e.begin(t.Context(), 1, mostJoined-10, "b", "m"), e.begin(t.Context(), 1, 10, "c", "n")}
		next := e.begin(t.Context(), 1, 1, "d", "o")
		e.logs <- struct{}{}
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		failed := errors.New("the disk is full")
		e.err = failed
		e.logs <- struct{}{}
		for i, done := range joined {
			if err := <-done; !errors.Is(err, failed) {
				t.Errorf("request %d: %v", i, err)
			}
		}
		synctest.Wait()
		e.err = nil
		e.logs <- struct{}{}
		if err := <-next; err != nil {
			t.Error(err)
		}
		if want := []string{"a1 l3", "b1 c1 m3 n3", "d1 o3"}; !slices.Equal(e.lines, want) {
			t.Errorf("the entries are %q, not %q", e.lines, want)
		}
	})
}

// Small requests of many clients and projects are in the journals once, the rows of each
// side by side and in order.
func TestManySmallRequests(t *testing.T) {
	const clients, requests, rows = 6, 30, 4
	w := openWAL(t, wal.Options{})
	b := newBooks()
	l := New(w, "collector.web", b)
	compress(t, l)
	var sending sync.WaitGroup
	for client := range clients {
		sending.Go(func() {
			for n := range requests {
				var lines []string
				for i := range rows {
					lines = append(lines, fmt.Sprintf("row %d of request %d of client %d %s", i, n, client, strings.Repeat("x", 80)))
				}
				list, data := rowsOf(lines...)
				if err := l.Append(t.Context(), []Part{{int64(client%2) + 1, list}}, data, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sending.Wait()
	if err := l.Drain(t.Context(), l.Last(), b.find); err != nil {
		t.Fatal(err)
	}
	for project := range int64(2) {
		lines := b.open[project+1]
		if len(lines) != clients/2*requests*rows {
			t.Fatalf("project %d has %d rows", project+1, len(lines))
		}
		next := map[string]int{} // by client: the number of its next request
		for i := 0; i < len(lines); i += rows {
			var row, n int
			var client string
			if _, err := fmt.Sscanf(lines[i], "row %d of request %d of client %s", &row, &n, &client); err != nil {
				t.Fatal(err)
			}
			for k := range rows {
				if want := fmt.Sprintf("row %d of request %d of client %s ", k, next[client], client); !strings.HasPrefix(lines[i+k], want) {
					t.Fatalf("row %d of project %d is %.40q, not %q", i+k, project+1, lines[i+k], want)
				}
			}
			next[client]++
		}
	}
}
