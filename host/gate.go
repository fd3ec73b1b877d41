package host

import "context"

// gate lets one in at a time. Unlike at a mutex, whoever waits can be called
// away.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

// enter waits until nobody is inside, and goes in until leave is called.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g <- struct{}{}:
		return func() { <-g }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
