package disktest

import (
	"errors"
	"slices"
	"sync"
)

// ErrInjected is the error of a step that was made to fail.
var ErrInjected = errors.New("injected fault")

// Fault is what becomes of a step.
type Fault int

// The faults.
const (
	None   Fault = iota
	Before       // it fails and has no effect; half of a write
	After        // it has its effect and seems to have failed
)

// Script numbers steps, remembers them and lets some fail. Several disks and
// catalogs may share one. It may be used concurrently.
type Script struct {
	mu    sync.Mutex
	steps []string
	fail  func(n int, step string) (Fault, error)
}

// Fail decides what becomes of the steps from now on: fail is called before
// each with its number, from 1 on, and its description, and may hold it up.
// Nil: all succeed.
func (s *Script) Fail(fail func(n int, step string) (Fault, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// FailAt lets the n-th step fail with ErrInjected, and with all, those behind
// it too, without effect.
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

// Do carries out a step, unless it is to fail.
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

// Steps are the descriptions of all steps so far.
func (s *Script) Steps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.steps)
}
