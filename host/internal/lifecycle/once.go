package lifecycle

import "context"

// Once carries out something until it has succeeded once. It may be used concurrently.
type Once struct {
	gate Gate // held while it is carried out
	done bool // guarded by gate
}

// NewOnce returns a Once that was not carried out.
func NewOnce() *Once { return &Once{gate: NewGate()} }

// Do calls do, unless an earlier call of Do has returned nil. Others wait for it. It
// returns the context's cause when ctx is done first.
func (o *Once) Do(ctx context.Context, do func() error) error {
	leave, err := o.gate.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if o.done {
		return nil
	}
	if err := do(); err != nil {
		return err
	}
	o.done = true
	return nil
}
