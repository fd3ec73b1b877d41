package parts

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
)

// sent is a Sender that keeps copies of all parts.
type sent struct {
	mu    sync.Mutex
	parts map[int][]byte
	fail  map[int]error // by part, of Send
	most  int           // parts that Start lets through; 0: all
	hold  chan struct{} // Send waits until it is closed; nil: not
}

var errTooMany = errors.New("too many parts")

func (s *sent) Start(number int) error {
	if s.most > 0 && number > s.most {
		return errTooMany
	}
	return nil
}

func (s *sent) Send(number int, data []byte) error {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts == nil {
		s.parts = make(map[int][]byte)
	}
	s.parts[number] = slices.Clone(data)
	return s.fail[number]
}

func (s *sent) joined() []byte {
	var all []byte
	for _, number := range slices.Sorted(maps.Keys(s.parts)) {
		all = append(all, s.parts[number]...)
	}
	return all
}

func pattern(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	return data
}

func TestPartsAreTheBytesInOrder(t *testing.T) {
	const size = 1000
	for _, n := range []int{0, 1, size - 1, size, size + 1, 10*size + 17} {
		for _, step := range []int{1, 333, size, 3*size + 1} {
			pool, s := NewPool(3, size), new(sent)
			w := NewWriter(t.Context(), pool, s)
			data := pattern(n)
			for chunk := range slices.Chunk(data, step) {
				if m, err := w.Write(chunk); err != nil || m != len(chunk) {
					t.Fatalf("write %d: %d, %v", len(chunk), m, err)
				}
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if want := (n + size - 1) / size; w.Sent() != want {
				t.Errorf("%d bytes in %d parts, want %d", n, w.Sent(), want)
			}
			if !bytes.Equal(s.joined(), data) {
				t.Errorf("%d bytes in steps of %d: the parts hold %d other bytes", n, step, len(s.joined()))
			}
			if pool.Lent() != 0 {
				t.Errorf("%d buffers are lent after Flush", pool.Lent())
			}
		}
	}
}

// A part that cannot be sent fails a later Write or Flush, and no buffer is lost.
func TestErrorOfAPart(t *testing.T) {
	failure := errors.New("refused")
	pool, s := NewPool(2, 10), &sent{fail: map[int]error{2: failure}}
	w := NewWriter(t.Context(), pool, s)
	_, err := w.Write(pattern(200))
	if err = errors.Join(err, w.Flush()); !errors.Is(err, failure) {
		t.Errorf("%v, want the error of part 2", err)
	}
	w.Drop()
	if pool.Lent() != 0 {
		t.Errorf("%d buffers are lent after Drop", pool.Lent())
	}
}

func TestErrorOfStart(t *testing.T) {
	pool, s := NewPool(2, 10), &sent{most: 3}
	w := NewWriter(t.Context(), pool, s)
	if _, err := w.Write(pattern(200)); !errors.Is(err, errTooMany) {
		t.Errorf("%v, want the error of Start", err)
	}
	w.Drop()
	if pool.Lent() != 0 || len(s.parts) != 3 {
		t.Errorf("%d parts were sent, %d buffers are lent", len(s.parts), pool.Lent())
	}
}

// A writer waits while all buffers are being sent, and stops waiting when its
// context ends.
func TestWriteWaitsForABuffer(t *testing.T) {
	pool, s := NewPool(1, 10), &sent{hold: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	w := NewWriter(ctx, pool, s)
	if _, err := w.Write(pattern(10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if n, err := w.Write(pattern(10)); !errors.Is(err, context.Canceled) || n != 0 {
		t.Errorf("%d bytes, %v, want context.Canceled", n, err)
	}
	close(s.hold)
	w.Drop()
	if pool.Lent() != 0 {
		t.Errorf("%d buffers are lent after Drop", pool.Lent())
	}
}
