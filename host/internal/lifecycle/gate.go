package lifecycle

import "context"

// Gate is a mutex whose Enter can be cancelled. A Gate, unlike a sync.Mutex, may be
// held over I/O.
type Gate chan struct{}

// NewGate returns a gate that is open.
func NewGate() Gate { return make(Gate, 1) }

// Enter locks the gate; leave unlocks it. It returns the context's cause when ctx
// is done first.
func (g Gate) Enter(ctx context.Context) (leave func(), err error) {
	select {
	case g <- struct{}{}:
		return func() { <-g }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// TryEnter locks the gate if it is open, and reports whether it did.
func (g Gate) TryEnter() (leave func(), entered bool) {
	select {
	case g <- struct{}{}:
		return func() { <-g }, true
	default:
		return nil, false
	}
}
