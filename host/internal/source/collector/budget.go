package collector

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"sync"
	"time"
)

// errBusy says that requests in flight hold all the memory that they may.
var errBusy = errors.New("too much is in flight")

// budget bounds the bytes that requests in flight hold together, and keeps
// buffers that were given back. One request at a time may go beyond it, so that
// requests that each hold a part of what they need do not wait for each other
// for ever: limit, the largest request and a quarter for idle buffers are the
// bound.
type budget struct {
	limit int64
	wait  time.Duration // how long a request waits for room

	mu    sync.Mutex
	used  int64
	over  *share
	queue []*waiter // those who wait, in the order in which they came
	idle  map[int][][]byte
	kept  int64 // bytes of idle buffers
}

// waiter waits for n bytes.
type waiter struct {
	share   *share
	n       int64
	granted chan struct{}
}

func newBudget(limit int64, wait time.Duration) *budget {
	return &budget{limit: limit, wait: wait, idle: map[int][][]byte{}}
}

// share is what one request holds.
type share struct {
	budget *budget
	held   int64
}

// take takes n bytes more, and waits for them behind those who came before.
// errBusy, or why ctx has ended.
func (s *share) take(ctx context.Context, n int64) error {
	b := s.budget
	b.mu.Lock()
	if (len(b.queue) == 0 || b.over == s) && b.grant(s, n) {
		b.mu.Unlock()
		return nil
	}
	w := &waiter{share: s, n: n, granted: make(chan struct{})}
	b.queue = append(b.queue, w)
	b.mu.Unlock()
	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	err := errBusy
	select {
	case <-w.granted:
		return nil
	case <-timer.C:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.queue, w)
	if i < 0 {
		return nil // it was granted meanwhile
	}
	b.queue = slices.Delete(b.queue, i, i+1)
	b.serve()
	return err
}

// grant gives n bytes to s, unless it has to wait.
func (b *budget) grant(s *share, n int64) bool {
	if b.used+n > b.limit && b.over != s {
		if b.over != nil {
			return false
		}
		b.over = s
	}
	b.used += n
	s.held += n
	return true
}

// serve grants what those want who have waited longest.
func (b *budget) serve() {
	for len(b.queue) > 0 && b.grant(b.queue[0].share, b.queue[0].n) {
		close(b.queue[0].granted)
		b.queue = slices.Delete(b.queue, 0, 1)
	}
}

// give gives n bytes back.
func (s *share) give(n int64) {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.giveBack(s, n)
}

func (b *budget) giveBack(s *share, n int64) {
	s.held -= n
	b.used -= n
	if b.used <= b.limit || b.over == s && s.held == 0 {
		b.over = nil
	}
	b.serve()
}

// buffer takes a buffer of at least n bytes. What is in it is of somebody else.
func (s *share) buffer(ctx context.Context, n int64) ([]byte, error) {
	size := roundUp(n)
	if err := s.take(ctx, size); err != nil {
		return nil, err
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if idle := b.idle[int(size)]; len(idle) > 0 {
		last := len(idle) - 1
		buffer := idle[last]
		idle[last] = nil
		b.idle[int(size)] = idle[:last]
		b.kept -= size
		return buffer, nil
	}
	return make([]byte, size), nil
}

// release gives a buffer back, which may be nil.
func (s *share) release(buffer []byte) {
	size := int64(cap(buffer))
	if size == 0 {
		return
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept+size > b.limit/4 {
		// Requests are of other sizes than they were, perhaps.
		clear(b.idle)
		b.kept = 0
	}
	if size <= b.limit/4 {
		b.idle[int(size)] = append(b.idle[int(size)], buffer[:size])
		b.kept += size
	}
	b.giveBack(s, size)
}

// roundUp is the size of a buffer for n bytes: there are four sizes for each
// power of two, so that buffers can be used again.
func roundUp(n int64) int64 {
	n = max(n, firstRead)
	step := int64(1) << (bits.Len64(uint64(n-1)) - 3)
	return (n + step - 1) / step * step
}
