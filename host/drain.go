package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// trimEvery is how often the front of a log is dropped, as far as it is in
// journals.
const trimEvery = 5 * time.Second

// writer returns the journal of a project for rows that lie in a source's log.
func (h *Host) writer(ctx context.Context, source string, id int64) (*journal.Writer, error) {
	p := projectByID(h.config, id)
	if p == nil {
		return nil, &rowlog.UnknownProjectError{Source: source, Project: id}
	}
	j, err := h.journal(ctx, p)
	if err != nil {
		return nil, err
	}
	return j.writer, nil
}

// pinned hands out each project's journal as it was when it was asked for first.
// If that journal fails, appending to it and sealing it fail, too: a journal that
// was opened in its place lacks the rows before.
type pinned struct {
	host    *Host
	source  string
	writers map[int64]*journal.Writer
}

func (h *Host) pinned(source string) *pinned {
	return &pinned{host: h, source: source, writers: map[int64]*journal.Writer{}}
}

// writer returns the journal of a project.
func (p *pinned) writer(ctx context.Context, id int64) (*journal.Writer, error) {
	if w := p.writers[id]; w != nil {
		return w, nil
	}
	w, err := p.host.writer(ctx, p.source, id)
	if err != nil {
		return nil, err
	}
	p.writers[id] = w
	return w, nil
}

// seal seals the journals that were handed out.
func (p *pinned) seal(ctx context.Context) error {
	for _, w := range p.writers {
		if err := w.Seal(ctx); err != nil {
			return err
		}
	}
	return nil
}

// drainCollectors drains the logs of collectors into journals and seals them. It
// runs while no collector listens.
func (h *Host) drainCollectors(ctx context.Context, summary *Summary) error {
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

func (h *Host) drainCollector(ctx context.Context, c *config.Collector) (SourceSummary, error) {
	done := SourceSummary{Name: c.Reference()}
	if ever, err := h.everCollected(ctx, c); err != nil || !ever {
		return done, err
	}
	l, err := h.openCollector(ctx, c)
	if err != nil {
		return done, err
	}
	if l.lost != nil {
		done.lost = &lossError{c.Reference(), *l.lost, h.lossPath(c)}
	}
	before := h.journals.stats(c.Projects)
	journals := h.pinned(c.Reference())
	if last := l.log.Last(); last > 0 {
		err = l.log.Drain(ctx, last, func(ctx context.Context, id int64) (rowlog.Appender, error) {
			return journals.writer(ctx, id)
		})
	}
	if err == nil {
		err = journals.seal(ctx)
	}
	if err == nil {
		err = l.log.Trim(ctx)
	}
	after := h.journals.stats(c.Projects)
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
// come while the host is stopping. While a journal takes nothing the rows wait in
// the log.
func (h *Host) drain(ctx context.Context, l *collecting, end context.CancelCauseFunc) {
	defer close(l.drained)
	pauses := backoff{first: reopenFirst, limit: reopenLimit}
	for ctx.Err() == nil {
		began := time.Now()
		err := h.drainOnce(ctx, l)
		var unknown *rowlog.UnknownProjectError
		switch {
		case errors.Is(err, wal.ErrClosed) || ctx.Err() != nil:
			return
		case errors.As(err, &unknown), errors.Is(err, wal.ErrBroken):
			end(err)
			return
		}
		if time.Since(began) > reopenLimit {
			pauses.reset()
		}
		pause := pauses.pause()
		h.log.Error("could not write collected rows to the journal: they wait in the write-ahead log; will retry",
			"source", l.config.Reference(), "error", err, "pause", pause.Round(time.Millisecond))
		_ = wait(ctx, pause) // the loop looks at ctx
	}
}

// drainOnce drains from where the journals stand, until one of them fails.
func (h *Host) drainOnce(ctx context.Context, l *collecting) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h.mu.Lock()
	l.restart = cancel
	h.mu.Unlock()
	// Of all projects: the log may hold rows of one that is no longer the collector's.
	err := h.settle(ctx, h.config.Projects)
	if err == nil {
		err = l.log.Drain(ctx, 0, func(ctx context.Context, id int64) (rowlog.Appender, error) {
			return h.writer(ctx, l.config.Reference(), id)
		})
	}
	if cause := context.Cause(ctx); errors.Is(cause, errReopened) {
		return cause // it comes before any other error
	}
	return err
}

// drainAgain has all collectors drain again from where journals stand.
func (h *Host) drainAgain(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.collectors {
		if l.restart != nil {
			l.restart(cause)
		}
	}
}

// settle seals the journals of projects: each stands where its cursors say.
func (h *Host) settle(ctx context.Context, projects []*config.Project) error {
	for _, p := range projects {
		j, err := h.journal(ctx, p)
		if err == nil {
			err = j.writer.Seal(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// trimCollectors drops sealed entries from logs from time to time, and opens
// journals again that have failed.
func (h *Host) trimCollectors(ctx context.Context) {
	for wait(ctx, trimEvery) == nil {
		for _, l := range h.collectors {
			for _, p := range l.config.Projects {
				_, _ = h.journal(ctx, p) // drain logs the error
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
