package lifecycle

import (
	"context"
	"errors"
	"sync"
)

// Group runs goroutines that end together. The first error of any of them ends all. A
// Group is used once.
type Group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	all    sync.WaitGroup

	mu  sync.Mutex
	err error // all errors, joined
}

// NewGroup returns a group whose goroutines end when ctx is done. The caller calls
// Wait.
func NewGroup(ctx context.Context) *Group {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Group{ctx: ctx, cancel: cancel}
}

// Go runs run in a goroutine. Its context ends when the group's does, or after the
// error of another goroutine, which is then the context's cause. run returns when
// everything that it started has ended. The end of the context is not an error of run,
// whether run returns its cause or context.Canceled.
func (g *Group) Go(run func(context.Context) error) {
	g.all.Go(func() {
		err := run(g.ctx)
		if err != nil && !g.isEnd(err) {
			g.fail(err)
		}
	})
}

// isEnd reports whether err is the end of the group's context. Some libraries return
// its error, and others its cause.
func (g *Group) isEnd(err error) bool {
	return g.ctx.Err() != nil && (errors.Is(err, context.Cause(g.ctx)) || errors.Is(err, g.ctx.Err()))
}

// Context returns the context of the goroutines.
func (g *Group) Context() context.Context { return g.ctx }

// Done is closed when the goroutines are to end.
func (g *Group) Done() <-chan struct{} { return g.ctx.Done() }

// fail notes an error and ends the goroutines.
func (g *Group) fail(err error) {
	g.mu.Lock()
	g.err = errors.Join(g.err, err)
	g.mu.Unlock()
	g.cancel(err)
}

// Wait waits until all goroutines have ended, and returns their errors.
func (g *Group) Wait() error {
	g.all.Wait()
	g.cancel(nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}
