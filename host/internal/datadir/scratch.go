package datadir

import (
	"fmt"
	"os"
	"sync"
)

// Scratch is a directory for temporary files outside of the data directory. It is
// made on first use. Close removes it.
type Scratch struct {
	mu  sync.Mutex
	dir string // "": it was not made yet
}

// Path returns the path of the directory.
func (s *Scratch) Path() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "penstock-")
		if err != nil {
			return "", fmt.Errorf("make a temporary directory (TMPDIR names its place): %w", err)
		}
		s.dir = dir
	}
	return s.dir, nil
}

// Close removes the directory.
func (s *Scratch) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}
