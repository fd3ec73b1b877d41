package quarantine

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
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
	source *source
	name   string   // of the file
	file   *os.File // nil before the first row and behind Commit
	w      *bufio.Writer
	bytes  int64
	counts counts // of rows in file, and of rows beyond a cap
}

// Run begins the quarantine of a run. Nothing of an earlier attempt changes
// before Commit.
func (s *Store) Run(pipeline string, number int64) (*Run, error) {
	return &Run{
		source: s.source(PipelinePrefix + pipeline), name: fmt.Sprintf("run-%08d%s", number, extension), counts: counts{},
	}, nil
}

// Add adds a row; it keeps nothing of the line.
func (r *Run) Add(date string, row uint64, reason string, line []byte) error {
	e := Entry{
		Source: r.source.name, Time: r.source.store.o.Now().UTC(), Position: fmt.Sprintf("%s row %d", date, row), Reason: reason, Bytes: line,
	}
	e.limit()
	r.source.limitReason(&e, r.counts)
	encoded, err := e.encode()
	if err != nil {
		return fmt.Errorf("quarantine a row of %s: %w", date, err)
	}
	if n := r.bytes + int64(len(encoded)); n > runBytes || !r.source.store.hasRoom(n) {
		r.counts.add(e.Reason, Count{Counted: 1})
		return nil
	}
	r.bytes += int64(len(encoded))
	if err := r.write(encoded); err != nil {
		return fmt.Errorf("quarantine a row of %s: %w", date, err)
	}
	r.counts.add(e.Reason, e.Count())
	return nil
}

func (r *Run) write(data []byte) (err error) {
	if r.file == nil {
		if r.file, err = create(r.source.dir); err != nil {
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
		return fmt.Errorf("quarantine rows of %s: %w", r.source.name, err)
	}
	return nil
}

func (r *Run) commit() error {
	if err := r.writeCounted(); err != nil {
		return err
	}
	r.source.writing.Lock()
	defer r.source.writing.Unlock()
	if r.file == nil {
		return r.source.delete(r.name)
	}
	if err := r.w.Flush(); err != nil {
		return err
	}
	f := r.file
	r.file = nil
	return r.source.replace(r.name, f, r.counts)
}

// writeCounted writes the line that stands for rows beyond a cap.
func (r *Run) writeCounted() error {
	counted := map[string]int64{}
	for reason, n := range r.counts {
		if n.Counted > 0 {
			counted[reason] = n.Counted
		}
	}
	if len(counted) == 0 {
		return nil
	}
	data, err := json.Marshal(line{Entry: Entry{Source: r.source.name, Time: r.source.store.o.Now().UTC()}, Counted: counted})
	if err != nil {
		return err
	}
	return r.write(append(data, '\n'))
}

// Discard frees rows that were not committed.
func (r *Run) Discard() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return discard(f)
}
