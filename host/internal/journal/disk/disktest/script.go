package disktest

import (
	"errors"
	"slices"
	"sync"
)

// ErrInjected is the error of a step that was made to fail.
var ErrInjected = errors.New("injected fault")

// Fault is the outcome that a script gives a step.
type Fault int

// The faults.
const (
	None   Fault = iota
	Before       // the step fails without an effect; a write stores half of its bytes
	After        // the step has its effect and returns an error
)

// Script numbers and records steps, and makes some of them fail. Several disks
// and catalogs may share one. It may be used concurrently.
type Script struct {
	mu    sync.Mutex
	steps []string
	fail  func(n int, step string) (Fault, error)
}

// Fail sets the function that decides the outcome of later steps. fail is called
// before each step with the step's number, which starts at 1, and its
// description; the step waits until fail returns. With nil all steps succeed.
func (s *Script) Fail(fail func(n int, step string) (Fault, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// FailAt makes the n-th step fail with ErrInjected. With all, the steps after it
// fail too, without an effect.
func (s *Script) FailAt(n int, fault Fault, all bool) {
	s.Fail(func(i int, _ string) (Fault, error) {
		switch {
		case i == n:
			return fault, ErrInjected
		case i > n && all:
			return Before, ErrInjected
		default:
			return None, nil
		}
	})
}

// Do records a step and runs effect, unless the step fails with Before.
func (s *Script) Do(step string, effect func() error) error {
	s.mu.Lock()
	s.steps = append(s.steps, step)
	n, fail := len(s.steps), s.fail
	s.mu.Unlock()
	fault, injected := None, error(nil)
	if fail != nil {
		fault, injected = fail(n, step)
	}
	if fault == Before {
		return injected
	}
	if err := effect(); err != nil || fault == None {
		return err
	}
	return injected
}

// Steps returns the descriptions of all steps so far.
func (s *Script) Steps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.steps)
}
