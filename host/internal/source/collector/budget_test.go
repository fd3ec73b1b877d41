package collector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// waits begins to take, and returns when it waits behind others.
func waits(t *testing.T, ctx context.Context, s *share, n int64) <-chan error {
	t.Helper()
	b := s.budget
	queued := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.queue)
	}
	before, done := queued(), make(chan error, 1)
	go func() { done <- s.take(ctx, n) }()
	until(t, "it does not wait", func() bool { return queued() > before })
	return done
}

func granted(t *testing.T, what string, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	case <-time.After(time.Minute):
		t.Fatalf("%s still waits", what)
	}
}

// Memory goes to those who have waited longest: many that want little do not
// keep out one that wants much.
func TestMemoryIsGivenInOrder(t *testing.T) {
	b := newBudget(10, time.Hour)
	first, large, larger, small := &share{budget: b}, &share{budget: b}, &share{budget: b}, &share{budget: b}
	if err := first.take(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	hasLarge := waits(t, t.Context(), large, 8)
	hasLarger := waits(t, t.Context(), larger, 9)
	hasSmall := waits(t, t.Context(), small, 1)
	first.give(20)
	granted(t, "the one that came first", hasLarge)
	granted(t, "the one that may go beyond the limit", hasLarger)
	if b.usedNow() != 17 {
		t.Fatalf("%d bytes are held", b.usedNow())
	}
	// A request that may go beyond the limit does not wait.
	if err := larger.take(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	large.give(8)
	granted(t, "the one that came last", hasSmall)
}

func TestWhoDoesNotWaitAnyMore(t *testing.T) {
	b := newBudget(10, time.Hour)
	first, gone, next := &share{budget: b}, &share{budget: b}, &share{budget: b}
	if err := first.take(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	hasGone := waits(t, ctx, gone, 8)
	hasNext := waits(t, t.Context(), next, 8)
	why := errors.New("gone")
	cancel(why)
	if err := <-hasGone; !errors.Is(err, why) || gone.held != 0 {
		t.Fatal(err, gone.held)
	}
	first.give(20)
	granted(t, "the next", hasNext)
}

// Buffers are used again, no more than a quarter of the limit waits for it,
// and the budget has all bytes back in the end.
func TestBuffersAreUsedAgain(t *testing.T) {
	b := newBudget(1<<20, time.Hour)
	s := &share{budget: b}
	for _, n := range []int64{1, firstRead, firstRead + 1, 100_000, 3 << 20, 200_000, 200_000} {
		buffer, err := s.buffer(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(buffer)) < n || int64(len(buffer)) > max(firstRead, n+n/4) || s.held != int64(len(buffer)) {
			t.Errorf("%d bytes for %d, %d are held", len(buffer), n, s.held)
		}
		address := &buffer[0]
		s.release(buffer)
		if s.held != 0 || b.kept > b.limit/4 {
			t.Errorf("%d bytes are held, %d kept", s.held, b.kept)
		}
		if n > b.limit {
			continue
		}
		again, err := s.buffer(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if &again[0] != address {
			t.Errorf("a buffer of %d bytes was not used again", n)
		}
		s.release(again)
	}
}

// While requests are in flight, idle buffers have the room that these do not use, and the
// ones that were released first are dropped.
func TestIdleBuffersHaveTheRoomOfOthers(t *testing.T) {
	const size = smallRequest / 4
	b := newBudget(8*size, time.Hour)
	var shares []*share
	var buffers [][]byte
	for range 8 {
		s := &share{budget: b}
		buffer, err := s.buffer(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		shares, buffers = append(shares, s), append(buffers, buffer)
	}
	for i := range 7 {
		shares[i].release(buffers[i])
		if want := int64(i+1) * size; b.kept != want {
			t.Fatalf("%d bytes are kept after %d releases, not %d", b.kept, i+1, want)
		}
	}
	other, err := shares[0].buffer(t.Context(), 3*size)
	if err != nil {
		t.Fatal(err)
	}
	if b.kept+b.usedNow() != 10*size {
		t.Errorf("%d bytes are kept, and %d are used", b.kept, b.usedNow())
	}
	again, err := shares[1].buffer(t.Context(), size)
	if err != nil {
		t.Fatal(err)
	}
	if &again[0] != &buffers[6][0] {
		t.Error("the buffer that was released last was not used again")
	}
	shares[0].release(other)
	shares[1].release(again)
	shares[7].release(buffers[7])
	if b.kept > b.limit/4 || b.usedNow() != 0 {
		t.Errorf("%d bytes are kept, and %d are used", b.kept, b.usedNow())
	}
	if last := b.idle[len(b.idle)-1]; &last[0] != &buffers[7][0] {
		t.Error("the buffer that was released last was dropped")
	}
}

// Bodies are decompressed whatever their end says about their size.
func TestCompressedBodies(t *testing.T) {
	var events []string
	for i := range 200 {
		events = append(events, ev(fmt.Sprintf(`,"$insert_id":"i-%d"`, i)))
	}
	text := "[" + strings.Join(events, ",") + "]"
	wrong := []byte(packed(text, 6))
	wrong[len(wrong)-1] = 0xff
	for _, test := range []struct {
		name, encoding, body string
		rows                 int
	}{
		{"gzip", "gzip", packed(text, 6), 200},
		{"two members, the last of them small", "gzip", packed(text[:len(text)-1], 6) + packed("]", 6), 200},
		{"a size that is not true", "gzip", string(wrong), 0},
		{"zlib", "deflate", deflated(text), 200},
		{"deflate", "deflate", deflated(text)[2:], 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &book{}
			c := newCollector(t, options(b))
			w := send(c, as(post("/track", asJSON, test.body), "Content-Encoding", test.encoding))
			if status := map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[test.rows > 0]; w.Code != status || len(b.taken()) != test.rows {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if c.budget.usedNow() != 0 {
				t.Errorf("%d bytes are not given back", c.budget.usedNow())
			}
		})
	}
}
