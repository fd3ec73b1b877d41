package quarantine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// PipelinePrefix begins the names under which pipelines keep refused rows.
const PipelinePrefix = "pipeline-"

// runBytes is how much of a run's refused rows is kept; beyond it they are
// only counted.
const runBytes = 64 << 20

// Run collects the rows that a destination refused in one run, in a temporary
// file. It is for one goroutine; the caller ends it with Discard, also behind
// Commit.
type Run struct {
	store   *Store
	source  string
	path    string
	file    *os.File // nil before the first row and behind Commit
	w       *bufio.Writer
	bytes   int64
	kept    map[string]Count // rows in file, by reason
	counted map[string]int64 // rows beyond a cap, by reason
}

// Run begins what a run of a pipeline is refused. Nothing of an earlier attempt
// changes before Commit.
func (s *Store) Run(pipeline string, number int64) (*Run, error) {
	source := PipelinePrefix + pipeline
	path := filepath.Join(s.dir, source, fmt.Sprintf("run-%08d%s", number, extension))
	return &Run{store: s, source: source, path: path, kept: map[string]Count{}, counted: map[string]int64{}}, nil
}

// Add adds a row; it keeps nothing of the line.
func (r *Run) Add(date string, row uint64, reason string, line []byte) error {
	e := Entry{
		Source: r.source, Time: r.store.o.Now().UTC(), Position: fmt.Sprintf("%s row %d", date, row), Reason: reason, Bytes: line,
	}
	e.limit()
	encoded, err := e.encode()
	if err != nil {
		return fmt.Errorf("quarantine a row of %s: %w", date, err)
	}
	if n := r.bytes + int64(len(encoded)); n > runBytes || r.store.full(n) {
		r.counted[e.Reason]++
		return nil
	}
	r.bytes += int64(len(encoded))
	if err := r.write(encoded); err != nil {
		return fmt.Errorf("quarantine a row of %s: %w", date, err)
	}
	r.kept[e.Reason] = r.kept[e.Reason].plus(e.count())
	return nil
}

// full says whether n bytes more are too many.
func (s *Store) full(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used+n > s.o.Cap
}

func (r *Run) write(data []byte) (err error) {
	if r.file == nil {
		if r.file, err = create(filepath.Dir(r.path)); err != nil {
			return err
		}
		r.w = bufio.NewWriterSize(r.file, 64<<10)
	}
	_, err = r.w.Write(data)
	return err
}

// Commit puts the rows in their place, durably; those of an earlier attempt at
// the run are replaced.
func (r *Run) Commit() error {
	if err := r.commit(); err != nil {
		return fmt.Errorf("quarantine rows of %s: %w", r.source, err)
	}
	return nil
}

func (r *Run) commit() error {
	if len(r.counted) > 0 {
		data, err := json.Marshal(line{Entry: Entry{Source: r.source, Time: r.store.o.Now().UTC()}, Counted: r.counted})
		if err != nil {
			return err
		}
		if err := r.write(append(data, '\n')); err != nil {
			return err
		}
	}
	s := r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.file == nil {
		return s.remove(r.source, r.path)
	}
	if err := r.w.Flush(); err != nil {
		return err
	}
	earlier := size(r.path)
	a := s.account(r.source)
	a.forget(r.path)
	f := r.file
	r.file = nil
	if err := place(f, r.path); err != nil {
		a.known = false
		return err
	}
	s.used += size(r.path) - earlier
	for reason, n := range r.counted {
		r.kept[reason] = r.kept[reason].plus(Count{Counted: n})
	}
	a.add(r.kept)
	return nil
}

// size is a file's size, or 0 when there is none.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Discard frees what was not committed.
func (r *Run) Discard() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
