package lifecycle

import (
	"context"
	"sync"
)

// Group runs goroutines that end together. The first error of any of them, other
// than the end of its context, ends all. A Group is used once.
type Group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	all    sync.WaitGroup

	mu  sync.Mutex
	err error // the first
}

// NewGroup returns a group whose goroutines end when ctx is done. The caller calls
// Wait.
func NewGroup(ctx context.Context) *Group {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Group{ctx: ctx, cancel: cancel}
}

// Go runs run in a goroutine. Its context ends when the group's does, or after the
// error of another goroutine, which is then the context's cause. run returns when
// everything that it started has ended.
func (g *Group) Go(run func(context.Context) error) {
	g.all.Go(func() {
		if err := run(g.ctx); err != nil {
			g.fail(err)
		}
	})
}

// Done is closed when the goroutines are to end.
func (g *Group) Done() <-chan struct{} { return g.ctx.Done() }

// fail notes the first error and ends the goroutines. An error that comes after the
// end of the group's own context is not the reason for it, and is returned all the
// same.
func (g *Group) fail(err error) {
	g.mu.Lock()
	if g.err == nil {
		g.err = err
	}
	g.mu.Unlock()
	g.cancel(err)
}

// Wait waits until all goroutines have ended, and returns the first error.
func (g *Group) Wait() error {
	g.all.Wait()
	g.cancel(nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}
