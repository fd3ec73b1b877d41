package rowlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// watch ends the context of a Drain when one of its journals ends.
type watch struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	waiting sync.WaitGroup // a goroutine for each journal
}

// newWatch returns a watch of no journal yet. stop ends its goroutines.
func newWatch(ctx context.Context) (w *watch, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w = &watch{ctx: ctx, cancel: cancel}
	return w, func() {
		cancel(nil)
		w.waiting.Wait()
	}
}

// add has the end of a journal end the context.
func (w *watch) add(journal Appender) {
	w.waiting.Go(func() {
		select {
		case <-journal.Done():
			w.cancel(fmt.Errorf("%w: %w", ErrEnded, journal.Err()))
		case <-w.ctx.Done():
		}
	})
}

// reason returns the end of a journal if that has ended the context, otherwise err.
func (w *watch) reason(err error) error {
	if cause := context.Cause(w.ctx); errors.Is(cause, ErrEnded) {
		return cause
	}
	return err
}
