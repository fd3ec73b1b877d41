package lifecycle

import (
	"context"
	"sync"
	"time"
)

// Grace is the time that all the work of stopping has together. It begins with the
// first call of a method. It may be used concurrently.
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
func (g *Grace) Begin() { g.end() }

// First returns a context for the work that comes first. It ends earlier than the
// grace, by the time that a later part has at any rate, so that two later parts together
// exceed the limit by no more than that time. The caller calls cancel.
func (g *Grace) First() (ctx context.Context, cancel context.CancelFunc) {
	return context.WithDeadline(context.Background(), g.end().Add(-g.least))
}

// Context returns a context that ends with the grace. The caller calls cancel.
func (g *Grace) Context() (ctx context.Context, cancel context.CancelFunc) {
	return context.WithDeadline(context.Background(), g.deadline())
}

// deadline returns the end of the grace, or of the time that a later part has.
func (g *Grace) deadline() time.Time {
	until := g.end()
	if least := g.now().Add(g.least); until.Before(least) {
		return least
	}
	return until
}

// end returns the end of the grace, which has begun.
func (g *Grace) end() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until.IsZero() {
		g.until = g.now().Add(g.limit)
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
