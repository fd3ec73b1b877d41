package quarantine

import (
	"fmt"
	"path/filepath"
)

// PipelinePrefix begins the names under which pipelines keep refused rows.
const PipelinePrefix = "pipeline-"

// Run collects the rows that a destination refused in one run.
type Run struct {
	store   *Store
	source  string
	file    string
	entries []Entry
	bytes   int64
	more    []Entry // without bytes: they are only counted
}

// runBytes is how much of a run's refused rows is kept; beyond it they are
// only counted.
const runBytes = 64 << 20

// Run begins what a run of a pipeline is refused.
func (s *Store) Run(pipeline string, number int64) (*Run, error) {
	return &Run{store: s, source: PipelinePrefix + pipeline, file: fmt.Sprintf("run-%08d%s", number, extension)}, nil
}

// Add adds a row; it copies the line.
func (r *Run) Add(date string, row uint64, reason string, line []byte) error {
	e := Entry{Position: fmt.Sprintf("%s row %d", date, row), Reason: reason}
	if r.bytes += int64(len(line)); r.bytes > runBytes {
		r.more = append(r.more, e)
		return nil
	}
	e.Bytes = append([]byte(nil), line...)
	r.entries = append(r.entries, e)
	return nil
}

// Commit puts the rows in their place, durably; those of an earlier attempt at
// the run are replaced.
func (r *Run) Commit() error {
	s := r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := filepath.Join(s.dir, r.source)
	if err := s.remove(filepath.Join(dir, r.file)); err != nil {
		return err
	}
	if len(r.entries) == 0 {
		return nil
	}
	data, over, err := s.encode(r.source, r.entries)
	if err != nil {
		return err
	}
	if over = append(over, r.more...); len(over) > 0 {
		if err := s.count(dir, over); err != nil {
			return err
		}
	}
	if err := write(dir, r.file, data); err != nil {
		return err
	}
	s.used += int64(len(data))
	return nil
}

// Discard frees what was not committed.
func (r *Run) Discard() error {
	r.entries, r.more = nil, nil
	return nil
}
