package quarantine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tailPrefix begins the names of files that entries are appended to.
const tailPrefix = "tail"

// tailBytes is where such a file is followed by the next.
const tailBytes = 1 << 20

// Append sets entries aside, durably, for a source that has no positions to
// read again: behind those that are there.
func (s *Store) Append(source string, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.keep(source, entries, func(b *batch) error { return s.extend(filepath.Join(s.dir, source, tailPrefix), b) })
	if err != nil {
		return fmt.Errorf("quarantine records of %s: %w", source, err)
	}
	return nil
}

// extend appends entries to the newest file of a prefix, or begins the next.
func (s *Store) extend(prefix string, b *batch) error {
	number := int64(1)
	if numbers := s.spans[prefix]; len(numbers) > 0 {
		number = slices.Max(numbers)
	}
	path := spanPath(prefix, number)
	before := size(path)
	if before >= tailBytes {
		number++
		path, before = spanPath(prefix, number), 0
	}
	if before > 0 {
		return b.extend(path, before)
	}
	if err := b.create(path); err != nil {
		return err
	}
	if b.bytes > 0 && !slices.Contains(s.spans[prefix], number) {
		s.spans[prefix] = append(s.spans[prefix], number)
	}
	return nil
}

// mendTail cuts half a line that a crash has left at the end of a file that
// entries were appended to.
func mendTail(path string) error {
	if !isTail(path) {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if end := bytes.LastIndexByte(data, '\n') + 1; end != len(data) {
		return os.Truncate(path, int64(end))
	}
	return nil
}

func isTail(path string) bool { return strings.HasPrefix(filepath.Base(path), tailPrefix+"-") }
