package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// projectJournal is the journal of one project.
type projectJournal struct {
	project *config.Project
	writer  *journal.Writer
	reader  *journal.Reader // of sealed segments: it outlives the writer
}

// journals are the open journals of a host's projects. A journal is opened on
// first use. One whose writer has failed is closed and opened again by the next
// use, at the earliest after a pause that grows with each failure; until then
// get returns why. It may be used concurrently.
type journals struct {
	openWriter func(context.Context, *config.Project) (*journal.Writer, error)
	openReader func(*config.Project) *journal.Reader
	now        func() time.Time
	log        *slog.Logger
	// reopening is called with an errReopened before a journal takes the place
	// of one that failed: goroutines that carry rows to it from a log must begin
	// again behind the last sealed row.
	reopening func(error)

	mu  sync.Mutex
	all map[int64]*journalSlot
}

// journalSlot is the place of one project's journal.
type journalSlot struct {
	gate lifecycle.Gate // held while the journal is opened or closed, which takes I/O

	mu      sync.Mutex
	current *projectJournal // nil: it is not open
	reader  *journal.Reader // nil: it was never needed
	err     error           // why it could not be opened

	// Guarded by the gate.
	pauses lifecycle.Backoff
	due    time.Time // the earliest next attempt
}

// errReopened tells a caller that appended rows to a journal that another one is
// in its place: rows that were not sealed must be appended again.
var errReopened = errors.New("the journal was opened again after a failure")

// The pauses between attempts at opening a journal that has failed.
const (
	reopenFirst = time.Second
	reopenLimit = 30 * time.Second
)

// slot returns the place of a project's journal.
func (js *journals) slot(id int64) *journalSlot {
	js.mu.Lock()
	defer js.mu.Unlock()
	s := js.all[id]
	if s == nil {
		s = &journalSlot{gate: lifecycle.NewGate(), pauses: lifecycle.Backoff{First: reopenFirst, Limit: reopenLimit}}
		if js.all == nil {
			js.all = map[int64]*journalSlot{}
		}
		js.all[id] = s
	}
	return s
}

// get returns a project's journal, open.
func (js *journals) get(ctx context.Context, p *config.Project) (*projectJournal, error) {
	s := js.slot(p.ID)
	if j := s.working(); j != nil {
		return j, nil
	}
	leave, err := s.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if j := s.working(); j != nil {
		return j, nil
	}
	if wait := s.due.Sub(js.now()); wait > 0 {
		return nil, fmt.Errorf("%w (the journal of project %s will be opened again in %s)", s.failure(), p.Name, wait.Round(time.Second))
	}
	js.drop(s, p)
	return js.open(ctx, s, p)
}

// reader returns the reader of a project's sealed segments. It opens no writer.
func (js *journals) reader(p *config.Project) *journal.Reader {
	s := js.slot(p.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == nil {
		s.reader = js.openReader(p)
	}
	return s.reader
}

// working returns the journal unless it is to be opened.
func (s *journalSlot) working() *projectJournal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.writer.Err() != nil {
		return nil
	}
	return s.current
}

// failure returns why the journal takes nothing now; nil when it does, or was
// not used yet.
func (s *journalSlot) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		return s.current.writer.Err()
	}
	return s.err
}

// drop closes a journal that has failed. The gate is held.
func (js *journals) drop(s *journalSlot, p *config.Project) {
	s.mu.Lock()
	failed := s.current
	s.current = nil
	s.mu.Unlock()
	if failed == nil {
		return
	}
	cause := failed.writer.Err()
	js.log.Warn("the journal has failed and will be opened again", "project", p.Name, "error", cause)
	if failed.writer.Stats().Seals > 0 {
		s.pauses.Reset()
	}
	js.reopening(fmt.Errorf("%w: %w", errReopened, cause))
	if err := failed.writer.Close(); err != nil {
		js.log.Warn("could not close a journal that has failed", "project", p.Name, "error", err)
	}
}

// open opens a journal. The gate is held.
func (js *journals) open(ctx context.Context, s *journalSlot, p *config.Project) (*projectJournal, error) {
	// Also an attempt that succeeds: a journal that fails at its first seal is
	// not opened again at once.
	s.due = js.now().Add(s.pauses.Pause())
	w, err := js.openWriter(ctx, p)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	reader := js.reader(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	if err != nil {
		return nil, err
	}
	s.current = &projectJournal{project: p, writer: w, reader: reader}
	return s.current, nil
}

// failures returns why journals take nothing now, by project.
func (js *journals) failures() map[int64]error {
	failed := map[int64]error{}
	for id, s := range js.slots() {
		if err := s.failure(); err != nil {
			failed[id] = err
		}
	}
	return failed
}

// stats are the sums of the counters of projects' journals since each was opened
// last.
func (js *journals) stats(projects []*config.Project) (sum journal.Stats) {
	slots := js.slots()
	for _, p := range projects {
		s := slots[p.ID]
		if s == nil {
			continue
		}
		if j := s.working(); j != nil {
			n := j.writer.Stats()
			sum.Rows, sum.Kept, sum.Duplicates = sum.Rows+n.Rows, sum.Kept+n.Kept, sum.Duplicates+n.Duplicates
		}
	}
	return sum
}

// seal seals all open journals.
func (js *journals) seal(ctx context.Context) error {
	var failed error
	for _, s := range js.slots() {
		s.mu.Lock()
		j := s.current
		s.mu.Unlock()
		if j != nil {
			failed = errors.Join(failed, j.writer.Seal(ctx))
		}
	}
	return failed
}

// close closes all journals.
func (js *journals) close() error {
	var failed error
	for _, s := range js.slots() {
		s.mu.Lock()
		j, r := s.current, s.reader
		s.current, s.reader = nil, nil
		s.mu.Unlock()
		if j != nil {
			failed = errors.Join(failed, j.writer.Close())
		}
		if r != nil {
			failed = errors.Join(failed, r.Close())
		}
	}
	return failed
}

func (js *journals) slots() map[int64]*journalSlot {
	js.mu.Lock()
	defer js.mu.Unlock()
	return maps.Clone(js.all)
}
