package lifecycle

import (
	"context"
	"sync"
	"time"
)

// Grace is the time that all the work of stopping has together. It begins with the
// first call of Context. It may be used concurrently.
type Grace struct {
	limit, least time.Duration
	now          func() time.Time

	mu    sync.Mutex
	until time.Time // zero: it has not begun
}

// NewGrace returns a grace of limit. A later part of the work has least at any rate,
// however long the parts before it took.
func NewGrace(limit, least time.Duration, now func() time.Time) *Grace {
	return &Grace{limit: limit, least: least, now: now}
}

// Begin begins the grace, unless it has begun.
func (g *Grace) Begin() { g.deadline() }

// Context returns a context that ends with the grace. The caller calls cancel.
func (g *Grace) Context() (ctx context.Context, cancel context.CancelFunc) {
	return context.WithDeadline(context.Background(), g.deadline())
}

func (g *Grace) deadline() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.until.IsZero() {
		g.until = now.Add(g.limit)
	}
	if least := now.Add(g.least); g.until.Before(least) {
		return least
	}
	return g.until
}

// StopTime is how long a host may take to stop, from the signal to its end: less
// than the ten seconds after which container runtimes kill. StopLeast is left for
// plugins, however long the rest took.
const (
	StopTime  = 7 * time.Second
	StopLeast = 2 * time.Second
)
