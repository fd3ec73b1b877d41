package host

import "context"

// gate is a mutex whose Lock can be cancelled.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

// enter locks the gate; leave unlocks it. It returns the context's cause when ctx
// is done first.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g <- struct{}{}:
		return func() { <-g }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
