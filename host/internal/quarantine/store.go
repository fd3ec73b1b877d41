package quarantine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/durable"
)

// DefaultCap is the most bytes that all files together may have.
const DefaultCap = 1 << 30

// Options configure a Store. Zero is the default.
type Options struct {
	Cap    int64  // bytes of all files together; DefaultCap
	Ledger Ledger // in memory: a file that is lost while no process has the store open is not missed
	Now    func() time.Time
	Logger *slog.Logger // discards
	// ReadOnly leaves the directory as it is. Changes of the ledger are kept in
	// memory. Put, Append and Remove are not for such a store.
	ReadOnly bool
}

// Store is a quarantine directory. It may be used concurrently, by one
// process.
type Store struct {
	dir string
	o   Options

	mu      sync.Mutex // guards the fields below; never held over I/O
	used    int64      // bytes of all files
	full    bool       // an entry was only counted since there was room last
	sources map[string]*source
}

// Open opens the store in dir, which is made when it is missing, unless the store
// is read-only. Files that
// hold less than the ledger knows of them are reported by Missing. The caller
// closes the store.
func Open(dir string, o Options) (*Store, error) {
	o.Cap = cmp.Or(o.Cap, DefaultCap)
	if o.Ledger == nil {
		o.Ledger = NewMemoryLedger()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ReadOnly {
		o.Ledger = newOverlay(o.Ledger)
	} else if err := makeStore(dir); err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	s := &Store{dir: dir, o: o, sources: map[string]*source{}}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	return s, nil
}

// makeStore makes the directory of a store, if it is missing. Directories of sources in it may
// be those of a process that was killed before they were durable.
func makeStore(dir string) error {
	if err := durable.MakeDir(dir); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// open finds the sources that have a directory or that the ledger knows.
func (s *Store) open() error {
	found, err := os.ReadDir(s.dir)
	if err != nil && !(s.o.ReadOnly && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	names, err := s.o.Ledger.Sources(context.Background())
	if err != nil {
		return err
	}
	for _, d := range found {
		if d.IsDir() {
			names = append(names, d.Name())
		}
	}
	for _, name := range names {
		if s.sources[name] != nil {
			continue
		}
		x := newSource(s, name)
		s.sources[name] = x
		if err := x.open(); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the use of the store. All entries are durable before.
func (s *Store) Close() error { return nil }

// source returns a source, which is made when there is none of that name.
func (s *Store) source(name string) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.sources[name]
	if x == nil {
		x = newSource(s, name)
		s.sources[name] = x
	}
	return x
}

// all returns the sources by name; only that of the given name unless it is "".
func (s *Store) all(name string) []*source {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sources []*source
	for _, n := range slices.Sorted(maps.Keys(s.sources)) {
		if name == "" || name == n {
			sources = append(sources, s.sources[n])
		}
	}
	return sources
}

// reserve takes room for n bytes of a source, and reports whether there is any.
func (s *Store) reserve(x *source, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used+n > s.o.Cap {
		if !s.full {
			s.o.Logger.Warn("the quarantine is full: refused records are only counted until some are replayed or dropped",
				"directory", s.dir, "bytes", s.used, "cap", s.o.Cap)
		}
		s.full = true
		return false
	}
	s.used += n
	x.bytes += n
	return true
}

// hasRoom reports whether there is room for n bytes.
func (s *Store) hasRoom(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used+n <= s.o.Cap
}

// resize adds n, which may be negative, to the bytes of a source's files.
func (s *Store) resize(x *source, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used += n
	x.bytes += n
	if n < 0 {
		s.full = false
	}
}

// setSize says how many bytes the files of a source have.
func (s *Store) setSize(x *source, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used += n - x.bytes
	x.bytes = n
}

// Put keeps the records of a span that were refused, durably. Entries of an
// earlier reading of the span are replaced, also by none.
func (s *Store) Put(source string, span Span, entries []Entry) error {
	if err := s.source(source).put(span, entries); err != nil {
		return fmt.Errorf("quarantine records of %s: %w", source, err)
	}
	return nil
}

// Append keeps refused records, durably, of a source that cannot be read again:
// behind those that are there.
func (s *Store) Append(source string, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if err := s.source(source).append(entries); err != nil {
		return fmt.Errorf("quarantine records of %s: %w", source, err)
	}
	return nil
}

// Used returns the bytes that all files have together, and their cap.
func (s *Store) Used() (bytes, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.o.Cap
}

// Counts counts records by source and reason. It looks at the sizes of all
// files: files that have lost records since are reported by Missing.
func (s *Store) Counts() (map[string]map[string]Count, error) {
	counts := map[string]map[string]Count{}
	for _, x := range s.all("") {
		if err := x.check(sizes); err != nil {
			return nil, fmt.Errorf("count quarantine: %w", err)
		}
		if sum := x.total(); len(sum) > 0 {
			counts[x.name] = sum
		}
	}
	return counts, nil
}

// Verify reads all entries: damaged ones, which need not change the size of a
// file, are reported by Missing from then on. ctx ends it between two files.
func (s *Store) Verify(ctx context.Context) (files int, err error) {
	for _, x := range s.all("") {
		n, err := x.verify(ctx)
		files += n
		if err != nil {
			return files, fmt.Errorf("verify quarantine: %w", err)
		}
	}
	return files, nil
}

// Missing are records that a file held and that are gone, although they were
// neither replayed nor dropped.
type Missing struct {
	Source, File string
	Counts       map[string]Count
}

// Missing visits the files that have lost records, by source.
func (s *Store) Missing(fn func(Missing)) error {
	for _, x := range s.all("") {
		err := x.eachMissing(func(file string, lost counts) error {
			fn(Missing{Source: x.name, File: file, Counts: lost})
			return nil
		})
		if err != nil {
			return fmt.Errorf("missing records of the quarantine: %w", err)
		}
	}
	return nil
}

// Hold keeps records from being added and removed until release is called, so that the
// files and the ledger can be copied together. Records of a source that has none yet
// are added all the same.
func (s *Store) Hold() (release func()) {
	sources := s.all("")
	for _, x := range sources {
		x.writing.Lock()
	}
	return func() {
		for _, x := range sources {
			x.writing.Unlock()
		}
	}
}

// Remove removes entries that were replayed. The ids of others stay as they
// are; a ref that names nothing is a *NotFoundError or ignored.
func (s *Store) Remove(refs []Ref) error {
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
		source, name := filepath.Split(file)
		err := s.source(filepath.Clean(source)).remove(name, lines)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove from quarantine: %w", err)
		}
	}
	return nil
}
