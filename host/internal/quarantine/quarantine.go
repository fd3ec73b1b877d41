package quarantine

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
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

	mu   sync.Mutex
	used int64
}

// Entry is a record that is set aside.
type Entry struct {
	ID       string    `json:"-"` // names it in this store
	Time     time.Time `json:"time"`
	Source   string    `json:"source"`
	Position string    `json:"position"` // "events/a.ndjson at byte 4711"
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail,omitempty"`
	Bytes    []byte    `json:"-"`
}

// line is how an entry is stored: bytes as text where they are UTF-8.
type line struct {
	Entry
	Text   *string `json:"record,omitempty"`
	Base64 []byte  `json:"record_base64,omitempty"`
}

// Span is a part of a source's position.
type Span struct {
	Position string // "events/a.ndjson"
	From, To int64
}

// Open opens the store in dir, which is made when it is missing.
func Open(dir string, o Options) (*Store, error) {
	if o.Cap == 0 {
		o.Cap = DefaultCap
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	s := &Store{dir: dir, o: o}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasPrefix(d.Name(), temporary) {
			return os.Remove(path)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		s.used += info.Size()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open quarantine: %w", err)
	}
	return s, nil
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
	prefix := positionPrefix(span.Position)
	if err := s.removeSpan(dir, prefix, span); err != nil {
		return err
	}
	data, left, err := s.encode(source, entries)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		if err := s.count(dir, left); err != nil {
			return err
		}
	}
	if len(data) == 0 {
		return nil
	}
	if err := write(dir, fmt.Sprintf("%s-%016x%s", prefix, span.From, extension), data); err != nil {
		return err
	}
	s.used += int64(len(data))
	return nil
}

// positionPrefix begins the names of a position's files.
func positionPrefix(position string) string {
	sum := sha256.Sum256([]byte(position))
	return hex.EncodeToString(sum[:6])
}

// removeSpan removes files that begin in the span: an earlier reading may have
// cut it into other pieces.
func (s *Store) removeSpan(dir, prefix string, span Span) error {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(name.Name(), extension), prefix+"-")
		if !ok {
			continue
		}
		from, err := strconv.ParseInt(rest, 16, 64)
		if err != nil || from < span.From || from >= max(span.To, span.From+1) {
			continue
		}
		if err := s.remove(filepath.Join(dir, name.Name())); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a file and what it takes of the cap.
func (s *Store) remove(path string) error {
	info, err := os.Stat(path)
	if err == nil {
		s.used -= info.Size()
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// encode renders entries up to the cap, and returns those that are over it.
func (s *Store) encode(source string, entries []Entry) (data []byte, over []Entry, err error) {
	now := s.o.Now().UTC()
	for i, e := range entries {
		e.Source, e.Time = source, now
		l := line{Entry: e}
		if utf8.Valid(e.Bytes) {
			text := string(e.Bytes)
			l.Text = &text
		} else {
			l.Base64 = e.Bytes
		}
		encoded, err := json.Marshal(l)
		if err != nil {
			return nil, nil, err
		}
		if s.used+int64(len(data)+len(encoded)) > s.o.Cap {
			return data, entries[i:], nil
		}
		data = append(append(data, encoded...), '\n')
	}
	return data, nil, nil
}

// count adds to what was only counted.
func (s *Store) count(dir string, entries []Entry) error {
	counts, err := readCounts(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		counts[e.Reason]++
	}
	data, err := json.Marshal(counts)
	if err != nil {
		return err
	}
	return write(dir, countsFile, data)
}

func readCounts(dir string) (map[string]int64, error) {
	counts := map[string]int64{}
	data, err := os.ReadFile(filepath.Join(dir, countsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return counts, nil
	}
	if err != nil {
		return nil, err
	}
	return counts, json.Unmarshal(data, &counts)
}

// write puts a file in its place durably.
func write(dir, name string, data []byte) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Each visits entries by source and file; fn returns false to stop.
func (s *Store) Each(fn func(Entry) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := s.files()
	if err != nil {
		return err
	}
	for _, file := range files {
		more, err := eachIn(filepath.Join(s.dir, file), file, fn)
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

func eachIn(path, file string, fn func(Entry) bool) (more bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("read quarantine: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for n := 0; ; n++ {
		data, err := r.ReadBytes('\n')
		if len(data) == 0 {
			return true, nil
		}
		var l line
		if jsonErr := json.Unmarshal(data, &l); jsonErr != nil {
			return false, fmt.Errorf("read quarantine: %s, line %d: %w", file, n+1, jsonErr)
		}
		if l.Bytes = l.Base64; l.Text != nil {
			l.Bytes = []byte(*l.Text)
		}
		l.ID = fmt.Sprintf("%s:%d", strings.TrimSuffix(filepath.ToSlash(file), extension), n+1)
		if !fn(l.Entry) {
			return false, nil
		}
		if err != nil {
			return true, nil
		}
	}
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
	if err := s.Each(func(e Entry) bool { add(e.Source, e.Reason, 1); return true }); err != nil {
		return nil, err
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

// Remove removes entries by id: they are where they belong by now.
func (s *Store) Remove(ids []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	byFile := map[string]map[int]bool{}
	for _, id := range ids {
		file, number, ok := cutLast(id)
		n, err := strconv.Atoi(number)
		if !ok || err != nil || strings.Contains(file, "..") {
			return fmt.Errorf("remove from quarantine: %q is no id", id)
		}
		if byFile[file] == nil {
			byFile[file] = map[int]bool{}
		}
		byFile[file][n] = true
	}
	for file, lines := range byFile {
		if err := s.removeLines(filepath.Join(s.dir, filepath.FromSlash(file)+extension), lines); err != nil {
			return fmt.Errorf("remove from quarantine: %w", err)
		}
	}
	return nil
}

func cutLast(id string) (file, number string, ok bool) {
	i := strings.LastIndexByte(id, ':')
	if i < 0 {
		return "", "", false
	}
	return id[:i], id[i+1:], true
}

// removeLines writes a file again without some of its lines.
func (s *Store) removeLines(path string, lines map[int]bool) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var kept []byte
	n := 0
	for l := range bytes.Lines(data) {
		n++
		if !lines[n] {
			kept = append(kept, l...)
		}
	}
	if len(kept) == 0 {
		return s.remove(path)
	}
	if err := write(filepath.Dir(path), filepath.Base(path), kept); err != nil {
		return err
	}
	s.used -= int64(len(data) - len(kept))
	return nil
}
