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

// appender finds the journal that rows in a log are for.
func (h *Host) appender(source string) func(context.Context, int64) (rowlog.Appender, error) {
	return func(ctx context.Context, id int64) (rowlog.Appender, error) {
		for _, p := range h.config.Projects {
			if p.ID == id {
				j, err := h.journal(ctx, p)
				if err != nil {
					return nil, err
				}
				return j.writer, nil
			}
		}
		return nil, &rowlog.UnknownProjectError{Source: source, Project: id}
	}
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
	before := h.collected(c)
	if last := l.log.Last(); last > 0 {
		err = l.log.Drain(ctx, last, h.appender(c.Reference()))
	}
	if err == nil {
		err = errors.Join(h.sealAll(ctx), l.log.Trim(ctx))
	}
	after := h.collected(c)
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

// collected sums the rows in the journals of a collector's projects.
func (h *Host) collected(c *config.Collector) (sum struct{ Rows, Kept, Duplicates int64 }) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range c.Projects {
		if j := h.journals[p.ID]; j != nil {
			s := j.writer.Stats()
			sum.Rows, sum.Kept, sum.Duplicates = sum.Rows+s.Rows, sum.Kept+s.Kept, sum.Duplicates+s.Duplicates
		}
	}
	return sum
}

// errReopened says that a journal was opened again: entries that its predecessor
// had not sealed are to be sent again.
var errReopened = errors.New("a journal that had failed is opened again")

// drain carries a log to journals until the log is closed, also entries that come
// while the host is stopping. A journal whose disk is full is opened again when
// there is room: acknowledged entries are in the log.
func (h *Host) drain(ctx context.Context, l *collecting, end context.CancelCauseFunc) {
	defer close(l.drained)
	for ctx.Err() == nil {
		err := h.drainOnce(ctx, l)
		switch {
		case errors.Is(err, wal.ErrClosed) || ctx.Err() != nil:
			return
		case !h.isTransient(err):
			end(err)
			return
		}
		h.log.Error("the journal takes nothing; collected records stay in the write-ahead log; will retry", "source", l.config.Reference(), "error", err)
		_ = wait(ctx, fullPause) // the loop looks at ctx
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
		err = l.log.Drain(ctx, 0, h.appender(l.config.Reference()))
	}
	if cause := context.Cause(ctx); errors.Is(cause, errReopened) {
		return cause // it comes before any other error
	}
	return err
}

// fullPause is how long a host waits before it looks again whether a disk has
// room.
const fullPause = 5 * time.Second

// isTransient reports whether the host keeps running after an error of a journal:
// it collects, and the disk is full.
func (h *Host) isTransient(err error) bool {
	if err == nil || len(h.config.Collectors) == 0 || errors.Is(err, wal.ErrBroken) {
		return false // a log that is broken is so until the next host opens it
	}
	return diskFailed(err) || errors.Is(err, journal.ErrClosed) || errors.Is(err, errReopened)
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
				if _, err := h.journal(ctx, p); err != nil && ctx.Err() == nil {
					h.log.Warn("could not reopen a journal; will retry", "project", p.Name, "error", err)
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
