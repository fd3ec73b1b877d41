package quarantine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// Each visits entries by source and file; fn returns false to stop.
func (s *Store) Each(fn func(Entry) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := s.files()
	if err != nil {
		return err
	}
	for _, file := range files {
		more, err := s.eachIn(file, func(l line) bool { return l.Counted != nil || fn(l.Entry) })
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// files lists entry files, relative to the store.
func (s *Store) files() ([]string, error) {
	var files []string
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, extension) {
			return err
		}
		relative, err := filepath.Rel(s.dir, path)
		files = append(files, relative)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	sort.Strings(files)
	return files, nil
}

// eachIn visits the lines of a file that were not removed.
func (s *Store) eachIn(file string, fn func(line) bool) (more bool, err error) {
	f, err := os.Open(filepath.Join(s.dir, file))
	if err != nil {
		return false, fmt.Errorf("read quarantine: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for n := 1; ; n++ {
		data, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("read quarantine: %s: %w", file, err)
		}
		if len(data) == 0 {
			return true, nil
		}
		if len(data) == 1 {
			continue
		}
		l, err := decode(data)
		if err != nil {
			return false, fmt.Errorf("read quarantine: %s, line %d: %w", file, n, err)
		}
		l.ID = fmt.Sprintf("%s:%d", strings.TrimSuffix(filepath.ToSlash(file), extension), n)
		if !fn(l) {
			return false, nil
		}
	}
}

func decode(data []byte) (l line, err error) {
	err = json.Unmarshal(data, &l)
	if l.Bytes = l.Base64; l.Text != nil {
		l.Bytes = []byte(*l.Text)
	}
	return l, err
}

// NotFoundError says that no entry has an id.
type NotFoundError struct{ ID string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no quarantined record has the id %q", e.ID)
}

// Get returns an entry by its id, or a *NotFoundError.
func (s *Store) Get(id string) (found Entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file, _, err := s.parseID(id)
	if err != nil {
		return found, err
	}
	_, err = s.eachIn(file, func(l line) bool {
		if l.ID == id {
			found = l.Entry
		}
		return l.ID != id
	})
	if errors.Is(err, fs.ErrNotExist) || err == nil && (found.ID == "" || found.Reason == "") {
		return Entry{}, &NotFoundError{id}
	}
	return found, err
}

// parseID is the file, relative to the store, and line of an id.
func (s *Store) parseID(id string) (file string, line int, err error) {
	i := strings.LastIndexByte(id, ':')
	if i < 0 {
		return "", 0, &NotFoundError{id}
	}
	file = filepath.FromSlash(id[:i]) + extension
	line, err = strconv.Atoi(id[i+1:])
	if err != nil || line < 1 || !filepath.IsLocal(file) {
		return "", 0, &NotFoundError{id}
	}
	return file, line, nil
}

// Counts counts entries by source and reason, those that were only counted
// included.
func (s *Store) Counts() (map[string]map[string]int64, error) {
	counts := map[string]map[string]int64{}
	add := func(source, reason string, n int64) {
		if counts[source] == nil {
			counts[source] = map[string]int64{}
		}
		counts[source][reason] += n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		_, err := s.eachIn(file, func(l line) bool {
			if l.Counted == nil {
				add(l.Source, l.Reason, 1)
			}
			for reason, n := range l.Counted {
				add(l.Source, reason, n)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	sources, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("count quarantine: %w", err)
	}
	for _, source := range sources {
		over, err := readCounts(filepath.Join(s.dir, source.Name()))
		if err != nil {
			return nil, fmt.Errorf("count quarantine: %w", err)
		}
		for reason, n := range over {
			add(source.Name(), reason, n)
		}
	}
	return counts, nil
}

// Remove removes entries by id: they are where they belong by now. The ids of
// others stay as they are; an id that names nothing is a *NotFoundError or
// ignored.
func (s *Store) Remove(ids []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	byFile := map[string]map[int]bool{}
	for _, id := range ids {
		file, n, err := s.parseID(id)
		if err != nil {
			return fmt.Errorf("remove from quarantine: %w", err)
		}
		if byFile[file] == nil {
			byFile[file] = map[int]bool{}
		}
		byFile[file][n] = true
	}
	for file, lines := range byFile {
		if err := s.removeLines(filepath.Join(s.dir, file), lines); err != nil {
			return fmt.Errorf("remove from quarantine: %w", err)
		}
	}
	return nil
}

// removeLines writes a file again with some of its lines empty, which keeps the
// ids of the others.
func (s *Store) removeLines(path string, lines map[int]bool) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var kept []byte
	n := 0
	for l := range bytes.Lines(data) {
		if n++; lines[n] {
			l = []byte{'\n'}
		}
		kept = append(kept, l...)
	}
	if len(kept) == n {
		return s.remove(path)
	}
	if err := write(filepath.Dir(path), filepath.Base(path), kept); err != nil {
		return err
	}
	s.used -= int64(len(data) - len(kept))
	return nil
}
