package quarantine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/host/internal/private"
)

// Entries visits the entries of a source, or of all sources when it is "", by
// source and file. One is held at a time. Entries that are put or removed at the
// same time may be among them or not. Damaged lines are skipped: Missing reports
// them from then on. An error ends the entries.
func (s *Store) Entries(source string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, x := range s.all(source) {
			more, err := x.each(func(e Entry) bool { return yield(e, nil) })
			if err != nil {
				yield(Entry{}, fmt.Errorf("read quarantine: %w", err))
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// each visits the entries of a source.
func (x *source) each(fn func(Entry) bool) (more bool, err error) {
	names, err := x.files()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		more, damaged, err := x.eachIn(name, fn)
		if damaged > 0 && err == nil {
			err = x.check(contents, name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed since the directory was read
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// files returns the names of a source's files of entries, sorted.
func (x *source) files() ([]string, error) {
	found, err := os.ReadDir(x.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, d := range found {
		if strings.HasSuffix(d.Name(), extension) && !strings.HasPrefix(d.Name(), temporary) {
			names = append(names, d.Name())
		}
	}
	return names, err
}

// eachIn visits the entries of a file, and counts its damaged lines.
func (x *source) eachIn(name string, fn func(Entry) bool) (more bool, damaged int, err error) {
	return eachLine(x.path(name), func(n int, data []byte) (bool, error) {
		l, err := decode(data)
		if err != nil || l.Counted != nil {
			return true, err
		}
		l.ID = fmt.Sprintf("%s/%s:%d", x.name, strings.TrimSuffix(name, extension), n)
		return fn(l.Entry), nil
	})
}

// eachLine visits the lines of a file that were not removed, with their
// numbers. A line is valid until fn returns. Lines that fn returns an error for,
// and the rest of a file whose line has no end, are damaged.
func eachLine(path string, fn func(n int, line []byte) (more bool, err error)) (more bool, damaged int, err error) {
	f, err := private.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return false, 0, err
	}
	defer f.Close()
	lines := newLineReader(f)
	for n := 1; ; n++ {
		data, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return true, damaged, nil
		case errors.Is(err, errLine):
			return true, damaged + 1, nil
		case err != nil:
			return false, damaged, err
		case data[len(data)-1] != '\n' && isTail(path):
			return true, damaged, nil // an entry that is being appended
		case len(data) == 1:
			continue
		}
		more, err := fn(n, data)
		if err != nil {
			damaged++
		} else if !more {
			return false, damaged, nil
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
	source, name := filepath.Split(file)
	_, _, err = s.source(filepath.Clean(source)).eachIn(name, func(e Entry) bool {
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

// Ref names an entry as it was when it was read: another one that has come to
// lie in its place is not meant.
type Ref struct {
	ID  string
	Sum uint64
}

// Ref is the entry's.
func (e Entry) Ref() Ref { return Ref{e.ID, e.Sum} }
