package quarantine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultCap is the most bytes that all files together may have.
const DefaultCap = 1 << 30

// Options configure a Store. Zero is the default.
type Options struct {
	Cap int64 // DefaultCap
	Now func() time.Time
}

// Store is a quarantine directory. It may be used concurrently, by one
// process.
type Store struct {
	dir string
	o   Options

	mu       sync.Mutex
	used     int64
	spans    map[string][]int64  // where the spans of a position begin, by directory and prefix
	accounts map[string]*account // by source
}

// Span is a part of a source's position.
type Span struct {
	Position string // "events/a.ndjson"
	From, To int64
}

// Open opens the store in dir, which is made when it is missing. Entries are
// not read. The caller closes it.
func Open(dir string, o Options) (*Store, error) {
	if o.Cap == 0 {
		o.Cap = DefaultCap
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	s := &Store{dir: dir, o: o, spans: map[string][]int64{}, accounts: map[string]*account{}}
	sources, err := s.sources()
	for _, source := range sources {
		err = errors.Join(err, s.openSource(source))
	}
	if err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	return s, nil
}

// Close keeps the counts, so that the next process need not read all entries
// for them.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for source, a := range s.accounts {
		err = errors.Join(err, a.keep(filepath.Join(s.dir, source)))
	}
	if err != nil {
		return fmt.Errorf("close quarantine: %w", err)
	}
	return nil
}

// sources are the directories of the store, sorted.
func (s *Store) sources() ([]string, error) {
	found, err := os.ReadDir(s.dir)
	var sources []string
	for _, d := range found {
		if d.IsDir() {
			sources = append(sources, d.Name())
		}
	}
	return sources, err
}

// openSource removes what was left half-written and accounts for the rest.
func (s *Store) openSource(source string) error {
	dir := filepath.Join(s.dir, source)
	found, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	mark := newFingerprint()
	for _, d := range found {
		path := filepath.Join(dir, d.Name())
		if strings.HasPrefix(d.Name(), temporary) {
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		if !strings.HasSuffix(d.Name(), extension) {
			continue
		}
		if err := mendTail(path); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		s.used += info.Size()
		mark.add(info)
		if prefix, from, ok := parseSpan(path); ok {
			s.spans[prefix] = append(s.spans[prefix], from)
		}
	}
	s.accounts[source], err = openAccount(dir, mark.sum())
	return err
}

// account is that of a source; a new source has an empty one.
func (s *Store) account(source string) *account {
	a := s.accounts[source]
	if a == nil {
		a = newAccount()
		s.accounts[source] = a
	}
	return a
}

const (
	temporary  = ".tmp-"
	extension  = ".ndjson"
	countsFile = "counted.json"
)

// Put sets aside what was refused in a span, durably. What an earlier reading
// of the span has set aside is replaced.
func (s *Store) Put(source string, span Span, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.put(source, span, entries); err != nil {
		return fmt.Errorf("quarantine records of %s: %w", source, err)
	}
	return nil
}

func (s *Store) put(source string, span Span, entries []Entry) error {
	dir := filepath.Join(s.dir, source)
	prefix := filepath.Join(dir, positionPrefix(span.Position))
	if err := s.removeSpan(source, prefix, span); err != nil {
		return err
	}
	return s.keep(source, entries, func(b *batch) error {
		if err := b.create(spanPath(prefix, span.From)); err != nil {
			return err
		}
		if b.bytes > 0 {
			s.spans[prefix] = append(s.spans[prefix], span.From)
		}
		return nil
	})
}

// keep has store write entries, and counts those that were written and those
// that there was no room for.
func (s *Store) keep(source string, entries []Entry, store func(*batch) error) error {
	b := &batch{source: source, now: s.o.Now().UTC(), entries: entries, room: s.o.Cap - s.used}
	if err := store(b); err != nil {
		return err
	}
	a := s.account(source)
	s.used += b.bytes
	a.add(b.kept)
	if len(b.over) == 0 {
		return nil
	}
	return a.count(filepath.Join(s.dir, source), b.over)
}

// positionPrefix begins the names of a position's files.
func positionPrefix(position string) string {
	sum := sha256.Sum256([]byte(position))
	return hex.EncodeToString(sum[:10])
}

func spanPath(prefix string, from int64) string {
	return fmt.Sprintf("%s-%016x%s", prefix, from, extension)
}

// parseSpan is the inverse of spanPath; ok is false for other files.
func parseSpan(path string) (prefix string, from int64, ok bool) {
	name, isEntries := strings.CutSuffix(path, extension)
	i := strings.LastIndexByte(name, '-')
	if !isEntries || i < 0 || len(name)-i != 17 {
		return "", 0, false
	}
	from, err := strconv.ParseInt(name[i+1:], 16, 64)
	return name[:i], from, err == nil
}

// removeSpan removes files that begin in the span: an earlier reading may have
// cut it into other pieces.
func (s *Store) removeSpan(source, prefix string, span Span) error {
	var gone []int64
	for _, from := range s.spans[prefix] {
		if from == span.From || from > span.From && from < span.To {
			gone = append(gone, from)
		}
	}
	for _, from := range gone {
		if err := s.remove(source, spanPath(prefix, from)); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a file, what it takes of the cap, and what it counts.
func (s *Store) remove(source, path string) error {
	s.account(source).forget(path)
	s.used -= size(path)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if prefix, from, ok := parseSpan(path); ok {
		s.spans[prefix] = slices.DeleteFunc(s.spans[prefix], func(f int64) bool { return f == from })
	}
	return nil
}

// writeFile puts a file in its place durably.
func writeFile(dir, name string, data []byte) error {
	f, err := create(dir)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return place(f, filepath.Join(dir, name))
}

// create begins a file of a directory, which is made when it is missing.
func create(dir string) (*os.File, error) {
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.CreateTemp(dir, temporary)
}

// place closes a file that create began and puts it in its place durably, or
// removes it.
func place(f *os.File, path string) error {
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
