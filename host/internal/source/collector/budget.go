package collector

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errBusy says that requests in flight hold all the memory that they may.
var errBusy = errors.New("too much is in flight")

// budget bounds the bytes that requests in flight hold together. One request
// at a time may go beyond it, so that requests that each hold a part of what
// they need do not wait for each other for ever: limit and the largest request
// are the bound.
type budget struct {
	limit int64
	wait  time.Duration // how long a request waits for room

	mu    sync.Mutex
	used  int64
	over  *share
	freed chan struct{} // closed, and made anew, when bytes are given back
}

func newBudget(limit int64, wait time.Duration) *budget {
	return &budget{limit: limit, wait: wait, freed: make(chan struct{})}
}

// share is what one request holds.
type share struct {
	budget *budget
	held   int64
}

// take takes n bytes more, and waits for them. errBusy, or why ctx has ended.
func (s *share) take(ctx context.Context, n int64) error {
	freed, ok := s.budget.try(s, n)
	if ok {
		return nil
	}
	timer := time.NewTimer(s.budget.wait)
	defer timer.Stop()
	for {
		select {
		case <-freed:
		case <-timer.C:
			return errBusy
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if freed, ok = s.budget.try(s, n); ok {
			return nil
		}
	}
}

// try takes n bytes for s, or returns what is closed when there may be room.
func (b *budget) try(s *share, n int64) (freed chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit && b.over != s {
		if b.over != nil {
			return b.freed, false
		}
		b.over = s
	}
	b.used += n
	s.held += n
	return nil, true
}

// give gives n bytes back.
func (s *share) give(n int64) {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	s.held -= n
	b.used -= n
	if b.over == s && (s.held == 0 || b.used <= b.limit) {
		b.over = nil
	}
	close(b.freed)
	b.freed = make(chan struct{})
}
