package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// trimEvery is how often the front of a log is dropped, as far as it is in
// journals.
const trimEvery = 5 * time.Second

// unknownProject returns the function that makes the error for rows of a project that
// is not configured, in the log of a source.
func unknownProject(source string) func(id int64) error {
	return func(id int64) error { return &rowlog.UnknownProjectError{Source: source, Project: id} }
}

// drainCollectors drains the logs of collectors into journals and seals them. It
// runs while no collector listens.
func (h *Host) drainCollectors(ctx context.Context, summary *operation.Summary) error {
	var failed error
	for _, c := range h.config.Collectors {
		done, err := h.drainCollector(ctx, c)
		if err != nil {
			done.Error = err.Error()
			failed = errors.Join(failed, err)
		}
		summary.Sources = append(summary.Sources, done)
	}
	return failed
}

func (h *Host) drainCollector(ctx context.Context, c *config.Collector) (operation.SourceSummary, error) {
	done := operation.SourceSummary{Name: c.Reference()}
	if ever, err := h.everCollected(ctx, c); err != nil || !ever {
		return done, err
	}
	l, err := h.openCollector(ctx, c)
	if err != nil {
		return done, err
	}
	if l.lost != nil {
		done.Lost = &lossError{c.Reference(), *l.lost, h.lossPath(c)}
	}
	before := h.projects.Stats(c.Projects)
	journals := h.projects.Pin(unknownProject(c.Reference()))
	if last := l.log.Last(); last > 0 {
		err = l.log.Drain(ctx, last, func(ctx context.Context, id int64) (rowlog.Appender, error) {
			return journals.Writer(ctx, id)
		})
	}
	if err == nil {
		err = journals.Seal(ctx)
	}
	if err == nil {
		err = l.log.Trim(ctx)
	}
	after := h.projects.Stats(c.Projects)
	done.Records, done.Rows, done.Duplicates = after.Rows-before.Rows, after.Kept-before.Kept, after.Duplicates-before.Duplicates
	return done, errors.Join(err, l.wal.Close())
}

// everCollected reports whether a collector has a log, or has had one.
func (h *Host) everCollected(ctx context.Context, c *config.Collector) (bool, error) {
	if _, err := os.Stat(h.collectorPath(c)); !errors.Is(err, fs.ErrNotExist) {
		return true, nil // opening it reports other errors
	}
	sealed, err := h.sealedEntries(ctx, c)
	return sealed > 0, err
}

// drain carries a log to journals until the log is closed, also the rows that
// come while the host is stopping. Rows of a project whose journal takes nothing
// wait in the log, and those of other projects do not.
func (h *Host) drain(ctx context.Context, l *collecting, end context.CancelCauseFunc) {
	pauses := lifecycle.Backoff{First: project.ReopenFirst, Limit: project.ReopenLimit}
	for ctx.Err() == nil {
		began := time.Now()
		err := h.drainOnce(ctx, l)
		var unknown *rowlog.UnknownProjectError
		switch {
		case ctx.Err() != nil || errors.Is(err, wal.ErrClosed) && !h.holdsAny(l):
			return
		case errors.Is(err, wal.ErrClosed):
			// The host is stopping, and a journal may work again before it has to end.
			_ = lifecycle.Wait(ctx, pauses.Pause())
			continue
		case errors.As(err, &unknown):
			end(err)
			return
		case errors.Is(err, errWorksAgain):
			continue
		}
		if time.Since(began) > project.ReopenLimit {
			pauses.Reset()
		}
		pause := pauses.Pause()
		h.log.Error(rowsWait, "source", l.config.Reference(), "error", err, "pause", pause.Round(time.Millisecond))
		_ = lifecycle.Wait(ctx, pause) // the loop looks at ctx
	}
}

// rowsWait is logged when a journal takes nothing.
const rowsWait = "could not write collected rows to the journal: they wait in the write-ahead log; will retry"

// errWorksAgain has a log drained again after a journal was opened whose project
// was held.
var errWorksAgain = errors.New("the journal of a project takes rows again")

// drainOnce drains from where the journals stand, until one of them fails. It
// holds the projects whose journals cannot be opened.
func (h *Host) drainOnce(ctx context.Context, l *collecting) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h.mu.Lock()
	l.restart, l.held = cancel, map[int64]bool{}
	h.mu.Unlock()
	// Of all projects: the log may hold rows of one that is no longer the collector's.
	for _, p := range h.config.Projects {
		if err := h.projects.Of(p).Journal.Settle(ctx); err != nil && ctx.Err() == nil {
			h.hold(l, p, err)
		}
	}
	journals := h.projects.Pin(unknownProject(l.config.Reference()))
	err := l.log.Drain(ctx, 0, func(ctx context.Context, id int64) (rowlog.Appender, error) {
		if h.isHeld(l, id) {
			return nil, rowlog.ErrHeld
		}
		w, err := journals.Writer(ctx, id)
		var unknown *rowlog.UnknownProjectError
		if err == nil || ctx.Err() != nil || errors.As(err, &unknown) {
			return w, err
		}
		h.hold(l, h.config.ProjectByID(id), err)
		return nil, rowlog.ErrHeld
	})
	if cause := context.Cause(ctx); errors.Is(cause, errWorksAgain) {
		return cause // it comes before any other error
	}
	return err
}

// hold has the rows of a project wait in a log until its journal works.
func (h *Host) hold(l *collecting, p *config.Project, cause error) {
	h.log.Error(rowsWait, "source", l.config.Reference(), "project", p.Name, "error", h.dir.Explain(cause))
	h.mu.Lock()
	defer h.mu.Unlock()
	l.held[p.ID] = true
}

func (h *Host) isHeld(l *collecting, project int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return l.held[project]
}

// holdsAny reports whether rows of any project wait in a log for its journal.
func (h *Host) holdsAny(l *collecting) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(l.held) > 0
}

// release has a log drained again if a project's rows wait in it.
func (h *Host) release(l *collecting, project int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.held[project] {
		l.restart(errWorksAgain)
	}
}

// repair repairs a collector's write-ahead log whenever a write or a sync of it
// has failed, until the log is closed. Until then the collector answers 503.
func (h *Host) repair(ctx context.Context, l *collecting) {
	log := h.log.With("source", l.config.Reference())
	for l.wal.AwaitBroken(ctx) == nil {
		log.Error("the write-ahead log takes nothing, and clients are answered 503; will repair it", "error", h.dir.Explain(l.wal.Err()))
		pauses := lifecycle.Backoff{First: project.ReopenFirst, Limit: project.ReopenLimit}
		for {
			err := l.wal.Repair()
			if errors.Is(err, wal.ErrClosed) || ctx.Err() != nil {
				return
			}
			if err == nil {
				log.Info("the write-ahead log works again, in a new file")
				break
			}
			pause := pauses.Pause()
			log.Error("could not repair the write-ahead log; will retry", "error", h.dir.Explain(err), "pause", pause.Round(time.Millisecond))
			_ = lifecycle.Wait(ctx, pause) // the loop looks at ctx
		}
	}
}

// trimCollectors drops sealed entries from logs from time to time, and opens
// journals again that have failed.
func (h *Host) trimCollectors(ctx context.Context) {
	for lifecycle.Wait(ctx, trimEvery) == nil {
		for _, l := range h.collectors {
			for _, p := range h.config.Projects {
				if _, err := h.projects.Of(p).Journal.Writer(ctx); err == nil { // drain has logged the error
					h.release(l, p.ID)
				}
			}
		}
		h.trim(ctx)
	}
}

func (h *Host) trim(ctx context.Context) {
	for _, l := range h.collectors {
		if err := l.log.Trim(ctx); err != nil && ctx.Err() == nil {
			h.log.Warn("could not trim a write-ahead log; will retry", "source", l.config.Reference(), "error", err)
		}
	}
}
