package quarantine

import (
	"bytes"
	"errors"
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
	err := s.keep(source, entries, func(data []byte) error { return s.extend(filepath.Join(s.dir, source, tailPrefix), data) })
	if err != nil {
		return fmt.Errorf("quarantine records of %s: %w", source, err)
	}
	return nil
}

// extend appends data to the newest file of a prefix, or begins the next.
func (s *Store) extend(prefix string, data []byte) error {
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
	if before == 0 {
		if err := write(filepath.Dir(path), filepath.Base(path), data); err != nil {
			return err
		}
		if !slices.Contains(s.spans[prefix], number) {
			s.spans[prefix] = append(s.spans[prefix], number)
		}
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(before)) // half a line would spoil the file
	}
	return errors.Join(err, f.Close())
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
