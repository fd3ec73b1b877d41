package quarantine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// Entries are those of a source, or of all sources when it is "", by source and
// file. One is held at a time. What is put or removed meanwhile may be among
// them or not. An error ends them.
func (s *Store) Entries(source string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		sources, err := s.sources()
		if source != "" {
			sources = slices.DeleteFunc(sources, func(x string) bool { return x != source })
		}
		for _, source := range sources {
			more := false
			if err == nil {
				more, err = s.eachOf(source, func(e Entry) bool { return yield(e, nil) })
			}
			if err == nil && !more {
				return
			}
		}
		if err != nil {
			yield(Entry{}, fmt.Errorf("read quarantine: %w", err))
		}
	}
}

// eachOf visits the entries of a source.
func (s *Store) eachOf(source string, fn func(Entry) bool) (more bool, err error) {
	files, err := s.files(source)
	if err != nil {
		return false, err
	}
	for _, file := range files {
		more, err := s.eachIn(filepath.Join(source, file), fn)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed meanwhile
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// files are the names of a source's entry files, sorted.
func (s *Store) files(source string) ([]string, error) {
	found, err := os.ReadDir(filepath.Join(s.dir, source))
	var files []string
	for _, d := range found {
		if strings.HasSuffix(d.Name(), extension) {
			files = append(files, d.Name())
		}
	}
	return files, err
}

// eachIn visits the entries of a file, which is named relative to the store.
func (s *Store) eachIn(file string, fn func(Entry) bool) (more bool, err error) {
	return eachLine(filepath.Join(s.dir, file), func(n int, data []byte) (bool, error) {
		l, err := decode(data)
		if err != nil || l.Counted != nil {
			return true, err
		}
		l.ID = fmt.Sprintf("%s:%d", strings.TrimSuffix(filepath.ToSlash(file), extension), n)
		return fn(l.Entry), nil
	})
}

// eachLine visits the lines of a file that were not removed, with their
// numbers. A line is valid until fn returns.
func eachLine(path string, fn func(n int, line []byte) (more bool, err error)) (more bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := newLineReader(f)
	for n := 1; ; n++ {
		data, err := lines.next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err == nil && data[len(data)-1] != '\n' && isTail(path) {
			return true, nil // what is being appended is not there yet
		}
		if err == nil && len(data) == 1 {
			continue
		}
		more := false
		if err == nil {
			more, err = fn(n, data)
		}
		if err != nil {
			return false, fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		if !more {
			return false, nil
		}
	}
}

// NotFoundError says that no entry has an id.
type NotFoundError struct{ ID string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no quarantined record has the id %q", e.ID)
}

// Get returns an entry by its id, or a *NotFoundError. It reads the one file
// that the id names.
func (s *Store) Get(id string) (found Entry, err error) {
	file, _, err := parseID(id)
	if err != nil {
		return found, err
	}
	_, err = s.eachIn(file, func(e Entry) bool {
		if e.ID == id {
			found = e
		}
		return e.ID != id
	})
	if errors.Is(err, fs.ErrNotExist) || err == nil && (found.ID == "" || found.Reason == "") {
		return Entry{}, &NotFoundError{id}
	}
	if err != nil {
		return Entry{}, fmt.Errorf("read quarantine: %w", err)
	}
	return found, nil
}

// parseID is the file, relative to the store, and line of an id.
func parseID(id string) (file string, line int, err error) {
	i := strings.LastIndexByte(id, ':')
	if i < 0 {
		return "", 0, &NotFoundError{id}
	}
	file = filepath.FromSlash(id[:i]) + extension
	line, err = strconv.Atoi(id[i+1:])
	if err != nil || line < 1 || !filepath.IsLocal(file) || strings.Count(filepath.ToSlash(file), "/") != 1 {
		return "", 0, &NotFoundError{id}
	}
	return file, line, nil
}

// Counts counts records by source and reason.
func (s *Store) Counts() (map[string]map[string]Count, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]map[string]Count{}
	for source, a := range s.accounts {
		if err := s.learn(source, a); err != nil {
			return nil, fmt.Errorf("count quarantine: %w", err)
		}
		sum := maps.Clone(a.counts)
		for reason, n := range a.over {
			sum[reason] = sum[reason].plus(Count{Counted: n})
		}
		if len(sum) > 0 {
			counts[source] = sum
		}
	}
	return counts, nil
}

// Used returns the bytes that all files have together, and their cap.
func (s *Store) Used() (bytes, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.o.Cap
}

func (s *Store) learn(source string, a *account) error {
	if a.known {
		return nil
	}
	files, err := s.files(source)
	if err != nil {
		return err
	}
	return a.learn(filepath.Join(s.dir, source), files)
}

// Ref names an entry as it was when it was read: another one that has come to
// lie in its place is not meant.
type Ref struct {
	ID  string
	Sum uint64
}

// Ref is the entry's.
func (e Entry) Ref() Ref { return Ref{e.ID, e.Sum} }

// Remove removes entries: they are where they belong by now. The ids of others
// stay as they are; a ref that names nothing is a *NotFoundError or ignored.
func (s *Store) Remove(refs []Ref) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	byFile := map[string]map[int]uint64{}
	for _, ref := range refs {
		file, n, err := parseID(ref.ID)
		if err != nil {
			return fmt.Errorf("remove from quarantine: %w", err)
		}
		if byFile[file] == nil {
			byFile[file] = map[int]uint64{}
		}
		byFile[file][n] = ref.Sum
	}
	for file, lines := range byFile {
		if err := s.removeLines(file, lines); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove from quarantine: %w", err)
		}
	}
	return nil
}

// removeLines writes a file again with some of its lines empty, which keeps the
// ids of the others.
func (s *Store) removeLines(file string, lines map[int]uint64) error {
	source, path := filepath.Dir(file), filepath.Join(s.dir, file)
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := create(filepath.Dir(path))
	if err != nil {
		return err
	}
	left, err := copyWithout(out, in, lines)
	if err == nil && left {
		before := size(path)
		s.account(source).forget(path)
		if err := place(out, path); err != nil {
			s.account(source).known = false
			return err
		}
		s.used -= before - size(path)
		s.account(source).include(path)
		return nil
	}
	if err := errors.Join(err, out.Close(), os.Remove(out.Name())); err != nil {
		return err
	}
	return s.remove(source, path)
}

// copyWithout copies a file with some of its lines empty. left says whether
// there are others.
func copyWithout(out io.Writer, in io.Reader, lines map[int]uint64) (left bool, err error) {
	r, w := newLineReader(in), bufio.NewWriterSize(out, 64<<10)
	for n := 1; ; n++ {
		data, err := r.next()
		if errors.Is(err, io.EOF) {
			return left, w.Flush()
		}
		if err != nil {
			return false, err
		}
		if sum, ok := lines[n]; ok && xxh3.Hash(data) == sum {
			data = []byte{'\n'}
		}
		left = left || len(data) > 1
		if _, err := w.Write(data); err != nil {
			return false, err
		}
	}
}
