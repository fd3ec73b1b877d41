package datadir

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// Scratch is a directory for temporary files outside of the data directory. It is
// made on first use. Close removes it. It may be used concurrently.
type Scratch struct {
	making lifecycle.Gate         // held while the directory is made
	dir    atomic.Pointer[string] // nil: it was not made yet
}

// NewScratch returns a Scratch that was not made.
func NewScratch() *Scratch { return &Scratch{making: lifecycle.NewGate()} }

// Path returns the path of the directory.
func (s *Scratch) Path() (string, error) {
	leave, err := s.making.Enter(context.Background())
	if err != nil {
		return "", err
	}
	defer leave()
	if dir := s.dir.Load(); dir != nil {
		return *dir, nil
	}
	dir, err := os.MkdirTemp("", "penstock-")
	if err != nil {
		return "", fmt.Errorf("make a temporary directory (TMPDIR names its place): %w", err)
	}
	s.dir.Store(&dir)
	return dir, nil
}

// Close removes the directory.
func (s *Scratch) Close() error {
	if dir := s.dir.Swap(nil); dir != nil {
		return os.RemoveAll(*dir)
	}
	return nil
}
