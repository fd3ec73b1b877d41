package lifecycle

import (
	"context"
	"time"
)

// Wait returns nil after d. It returns the context's cause when ctx is done first.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Ticker returns a channel that is sent the time every d until stop is called.
func Ticker(d time.Duration) (tick <-chan time.Time, stop func()) {
	t := time.NewTicker(d)
	return t.C, t.Stop
}
