package project

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// Journal is the journal of one project. It is opened for writing on first use. One
// whose writer has failed is closed and opened again by the next use, at the earliest
// after a pause that grows with each failure; until then Writer returns the reason.
// It may be used concurrently.
type Journal struct {
	project string // its name
	open    func(context.Context) (*journal.Writer, error)
	reader  *journal.Reader // of sealed segments: it outlives the writer
	now     func() time.Time
	log     *slog.Logger

	opening lifecycle.Gate // held while the writer is opened or closed, which takes I/O
	pauses  lifecycle.Backoff
	due     time.Time // the earliest next attempt; guarded by opening, as pauses is

	mu      sync.Mutex
	current *journal.Writer // nil: it is not open
	err     error           // why it is not open; nil: it was not used yet
	// careful says that a writer was given rows that were compressed wrong: the source reads
	// them again, and what is compressed for later writers is looked at.
	careful bool
}

// The pauses between attempts at opening a journal that has failed.
const (
	ReopenFirst = time.Second
	ReopenLimit = 30 * time.Second
)

func newJournal(project string, now func() time.Time, log *slog.Logger, open func(context.Context) (*journal.Writer, error), reader *journal.Reader) *Journal {
	return &Journal{
		project: project, now: now, log: log, open: open, reader: reader,
		opening: lifecycle.NewGate(), pauses: lifecycle.Backoff{First: ReopenFirst, Limit: ReopenLimit},
	}
}

// Writer returns the journal's writer, open.
func (j *Journal) Writer(ctx context.Context) (*journal.Writer, error) {
	if w := j.working(); w != nil {
		return w, nil
	}
	leave, err := j.opening.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if w := j.working(); w != nil {
		return w, nil
	}
	if wait := j.due.Sub(j.now()); wait > 0 {
		return nil, fmt.Errorf("%w (the journal of project %s will be opened again in %s)", j.Err(), j.project, wait.Round(time.Second))
	}
	j.drop()
	return j.reopen(ctx)
}

// Reader returns the reader of the sealed segments. It needs no writer.
func (j *Journal) Reader() *journal.Reader { return j.reader }

// Settle opens the journal and seals it: it is then where its cursors say.
func (j *Journal) Settle(ctx context.Context) error {
	w, err := j.Writer(ctx)
	if err != nil {
		return err
	}
	return w.Seal(ctx)
}

// Err returns the reason why the journal takes nothing now; nil when it does, or was
// not used yet.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.current != nil {
		return j.current.Err()
	}
	return j.err
}

// Stats returns the counters of the writer since it was opened last.
func (j *Journal) Stats() journal.Stats {
	if w := j.working(); w != nil {
		return w.Stats()
	}
	return journal.Stats{}
}

// Mark names a state of a journal's sealed rows, in memory: while it is the same, this
// process has sealed nothing. The zero value equals no other.
type Mark struct {
	writer *journal.Writer
	seals  int64
}

// Same reports whether nothing was sealed between two marks.
func (m Mark) Same(other Mark) bool { return m.writer != nil && m == other }

// Mark returns the present mark; the zero value if the journal is not open.
func (j *Journal) Mark() Mark {
	w := j.working()
	if w == nil {
		return Mark{}
	}
	return Mark{writer: w, seals: w.Stats().Seals}
}

// working returns the writer unless it is to be opened.
func (j *Journal) working() *journal.Writer {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.current == nil || j.current.Err() != nil {
		return nil
	}
	return j.current
}

// take returns the writer, which may have failed, and leaves none, but the reason of its
// failure.
func (j *Journal) take() *journal.Writer {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := j.current
	if j.current = nil; w != nil {
		j.err = w.Err()
		var corrupt *journal.CorruptFragmentError
		j.careful = j.careful || errors.As(j.err, &corrupt)
	}
	return w
}

// drop closes a writer that has failed. The gate is held.
func (j *Journal) drop() {
	failed := j.take()
	if failed == nil {
		return
	}
	j.log.Warn("the journal has failed and will be opened again", "project", j.project, "error", failed.Err())
	if failed.Stats().Seals > 0 {
		j.pauses.Reset()
	}
	if err := failed.Close(); err != nil {
		j.log.Warn("could not close a journal that has failed", "project", j.project, "error", err)
	}
}

// reopen opens the writer. The gate is held.
func (j *Journal) reopen(ctx context.Context) (*journal.Writer, error) {
	w, err := j.open(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, err // its caller was called away: that says nothing of the journal
	}
	// Also after an attempt that succeeds: a journal that fails at its first seal is
	// not opened again at once.
	j.due = j.now().Add(j.pauses.Pause())
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.careful && err == nil {
		w.Careful()
	}
	j.current, j.err = w, err
	return w, err
}

// seal seals the journal if it is open.
func (j *Journal) seal(ctx context.Context) error {
	j.mu.Lock()
	w := j.current
	j.mu.Unlock()
	if w == nil {
		return nil
	}
	return w.Seal(ctx)
}

func (j *Journal) close() error {
	var err error
	if w := j.take(); w != nil {
		err = w.Close()
	}
	return errors.Join(err, j.reader.Close())
}
