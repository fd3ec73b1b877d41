package collector

import (
	"context"
	"sync"
)

// flights counts requests that are being handled. A request outlives its
// connection when its client leaves, so that a server that has shut down may
// still have some.
type flights struct {
	mu    sync.Mutex
	n     int
	ended chan struct{} // closed when n becomes 0; nil: no Wait needs it
}

func (f *flights) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
}

func (f *flights) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n--; f.n == 0 && f.ended != nil {
		close(f.ended)
		f.ended = nil
	}
}

// wait returns when no request is being handled, or the cause of ctx's end.
func (f *flights) wait(ctx context.Context) error {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.ended == nil {
		f.ended = make(chan struct{})
	}
	ended := f.ended
	f.mu.Unlock()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
