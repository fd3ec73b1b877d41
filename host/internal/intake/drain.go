package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/source/collector/rowlog"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

// trimEvery is how often the front of a log is dropped, as far as it is in
// journals.
const trimEvery = 5 * time.Second

// newPauses returns the pauses between attempts at a log or a journal that fails.
func newPauses() *lifecycle.Backoff {
	return &lifecycle.Backoff{First: project.ReopenFirst, Limit: project.ReopenLimit}
}

// unknownProject returns the error for rows of a project that is not configured.
func (d *logDir) unknownProject(id int64) error {
	return &rowlog.UnknownProjectError{Source: d.Name(), Project: id}
}

// drain is the state of a log's drain: the projects whose rows wait in the log, because
// their journals take nothing.
type drain struct {
	mu      sync.Mutex
	held    map[int64]bool
	restart context.CancelCauseFunc // has the log drained again from where journals are
}

func newDrain() *drain { return &drain{held: map[int64]bool{}, restart: func(error) {}} }

// begin begins a drain that holds no project.
func (d *drain) begin(restart context.CancelCauseFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restart, d.held = restart, map[int64]bool{}
}

func (d *drain) hold(project int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[project] = true
}

func (d *drain) isHeld(project int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held[project]
}

// holdsAny reports whether rows of any project wait in the log for its journal.
func (d *drain) holdsAny() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held) > 0
}

// release has the log drained again if a project's rows wait in it.
func (d *drain) release(project int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held[project] {
		d.restart(errWorksAgain)
	}
}

// rowsWait is logged when a journal takes nothing.
const rowsWait = "could not write collected rows to the journal: they wait in the write-ahead log; will retry"

// errWorksAgain has a log drained again after a journal was opened whose project
// was held.
var errWorksAgain = errors.New("the journal of a project takes rows again")

// drain carries a log to journals until the log is closed, also the rows that
// come while the host is stopping. Rows of a project whose journal takes nothing
// wait in the log, and those of other projects do not. The error is that of rows of a
// project that is not configured.
func (l *collecting) drain(ctx context.Context) error {
	pauses := newPauses()
	for ctx.Err() == nil {
		began := l.o.Now()
		err := l.drainOnce(ctx)
		var unknown *rowlog.UnknownProjectError
		switch {
		case ctx.Err() != nil || errors.Is(err, wal.ErrClosed) && !l.handed.holdsAny():
			return nil
		case errors.Is(err, wal.ErrClosed):
			// The host is stopping, and a journal may work again before it has to end.
			_ = l.o.Wait(ctx, pauses.Pause())
			continue
		case errors.As(err, &unknown):
			return err
		case errors.Is(err, errWorksAgain):
			continue
		}
		if l.o.Now().Sub(began) > project.ReopenLimit {
			pauses.Reset()
		}
		pause := pauses.Pause()
		l.o.Log.Error(rowsWait, "source", l.Name(), "error", err, "pause", pause.Round(time.Millisecond))
		_ = l.o.Wait(ctx, pause) // the loop looks at ctx
	}
	return nil
}

// finish brings the rows of a log that is closed to journals, and returns when they are
// sealed there, or ctx is done: the next host goes on.
func (l *collecting) finish(ctx context.Context) error {
	for pauses := newPauses(); ; {
		if err := l.drain(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		left := l.left(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case left == 0:
			l.o.Log.Info("a collector has left, and all its rows are in journals", "source", l.Name())
			return nil
		case len(l.strangers) > 0 && l.settled(ctx):
			l.o.Log.Error("a collector that is not configured has rows of projects that are not configured, which stay in its write-ahead log: configure them until the rows are in their journals",
				"source", l.Name(), "requests", left, "projects", l.strangers)
			return nil
		}
		if l.o.Wait(ctx, pauses.Pause()) != nil {
			return nil
		}
	}
}

// left seals journals, and returns how many entries of the log are not in them.
func (l *collecting) left(ctx context.Context) uint64 {
	for _, p := range l.o.Projects.All() {
		if err := p.Journal.Settle(ctx); err != nil && ctx.Err() == nil {
			l.o.Log.Error(rowsWait, "source", l.Name(), "project", p.Config.Name, "error", l.o.Dir.ExplainRetried(err))
		}
	}
	l.trim(ctx)
	return l.log.Waiting()
}

// settled reports whether all rows of projects that are configured are in their journals,
// sealed.
func (l *collecting) settled(ctx context.Context) bool {
	for _, p := range l.o.Projects.All() {
		if all, err := l.log.Settled(ctx, p.Config.ID, l.log.Last()); err != nil || !all {
			return false
		}
	}
	return true
}

// drainOnce drains from where the journals are, until one of them fails. It
// holds the projects whose journals cannot be opened.
func (l *collecting) drainOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.handed.begin(cancel)
	l.strangers = nil
	// Of all projects: the log may hold rows of one that is no longer the collector's.
	for _, p := range l.o.Projects.All() {
		if err := p.Journal.Settle(ctx); err != nil && ctx.Err() == nil {
			l.hold(p.Config.ID, err)
		}
	}
	journals := l.o.Projects.Pin(l.unknownProject)
	err := l.log.Drain(ctx, 0, func(ctx context.Context, id int64) (rowlog.Appender, error) {
		if l.handed.isHeld(id) {
			return nil, rowlog.ErrHeld
		}
		w, err := journals.Writer(ctx, id)
		var unknown *rowlog.UnknownProjectError
		switch {
		case err == nil:
			return w, nil
		case l.leaving && errors.As(err, &unknown):
			l.strangers = append(l.strangers, id)
			return nil, rowlog.ErrHeld
		case ctx.Err() != nil || errors.As(err, &unknown):
			return nil, err
		}
		l.hold(id, err)
		return nil, rowlog.ErrHeld
	})
	l.suspect(err)
	if cause := context.Cause(ctx); errors.Is(cause, errWorksAgain) {
		return cause // it comes before any other error
	}
	return err
}

// suspect has the next drain look for events that were compressed wrong, if a journal has
// failed because of some.
func (l *collecting) suspect(err error) {
	var corrupt *journal.CorruptFragmentError
	if errors.As(err, &corrupt) {
		l.log.Inspect()
	}
}

// hold has the rows of a project wait in the log until its journal works.
func (l *collecting) hold(id int64, cause error) {
	l.suspect(cause)
	l.o.Log.Error(rowsWait, "source", l.Name(), "project", l.o.Projects.ByID(id).Config.Name, "error", l.o.Dir.ExplainRetried(cause))
	l.handed.hold(id)
}

// repair repairs the write-ahead log whenever a write or a sync of it has failed,
// until the log is closed. Until then the collector answers 503.
func (l *collecting) repair(ctx context.Context) {
	log := l.o.Log.With("source", l.Name())
	for l.wal.AwaitBroken(ctx) == nil {
		log.Error("the write-ahead log takes nothing, and clients are answered 503; will repair it", "error", l.o.Dir.ExplainRetried(needRoom(l.wal.Err())))
		pauses := newPauses()
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
			log.Error("could not repair the write-ahead log; will retry", "error", l.o.Dir.ExplainRetried(needRoom(err)), "pause", pause.Round(time.Millisecond))
			_ = l.o.Wait(ctx, pause) // the loop looks at ctx
		}
	}
}

// serveTrims drops sealed entries from the log from time to time, and opens journals
// again that have failed.
func (l *collecting) serveTrims(ctx context.Context) {
	for l.o.Wait(ctx, trimEvery) == nil {
		for _, p := range l.o.Projects.All() {
			if _, err := p.Journal.Writer(ctx); err == nil { // drain has logged the error
				l.handed.release(p.Config.ID)
			}
		}
		l.trim(ctx)
	}
}

// trim drops the front of the log as far as it is sealed in journals.
func (l *collecting) trim(ctx context.Context) {
	leave, entered := l.trims.TryEnter()
	if !entered {
		return // the next call does
	}
	defer leave()
	if err := l.log.Trim(ctx); err != nil && ctx.Err() == nil {
		l.o.Log.Warn("could not trim a write-ahead log; will retry", "source", l.Name(), "error", err)
	}
}

// ReadAll implements Source: it drains the log into journals and seals them, while
// nothing listens. Entries that are missing from the log are an error, and the other
// work is done all the same.
func (c *Collector) ReadAll(ctx context.Context, _ time.Duration) (operation.SourceSummary, error) {
	done, lost, err := c.drainAll(ctx)
	if err != nil {
		done.Error = err.Error()
	}
	if lost != nil {
		done.Error = strings.TrimPrefix(done.Error+"; "+lost.Error(), "; ")
		err = errors.Join(err, lost)
	}
	return done, err
}

// drainAll drains the log into journals and seals them. lost are the entries that were
// found missing; nil: none.
func (d *logDir) drainAll(ctx context.Context) (done operation.SourceSummary, lost *lossError, err error) {
	done = operation.SourceSummary{Name: d.Name()}
	if ever, err := d.everCollected(ctx); err != nil || !ever {
		return done, nil, err
	}
	l, err := d.open(ctx)
	if err != nil {
		return done, nil, err
	}
	if l.lost != nil {
		lost = &lossError{d.Name(), l.lost.String(), d.lossPath()}
	}
	before := d.o.Projects.Stats(d.o.Config().Projects)
	journals := d.o.Projects.Pin(d.unknownProject)
	var strangers error // rows of these projects stay in the log, and those of others do not
	if last := l.log.Last(); last > 0 {
		err = l.log.Drain(ctx, last, func(ctx context.Context, id int64) (rowlog.Appender, error) {
			w, err := journals.Writer(ctx, id)
			var unknown *rowlog.UnknownProjectError
			if errors.As(err, &unknown) {
				strangers = errors.Join(strangers, err)
				return nil, rowlog.ErrHeld
			}
			return w, err
		})
	}
	if l.damaged > 0 && lost == nil {
		lost = &lossError{d.Name(), fmt.Sprintf("%d events of the write-ahead log cannot be read", l.damaged), d.lossPath()}
	}
	if err == nil {
		err = journals.Seal(ctx)
	}
	if err == nil {
		err = l.log.Trim(ctx)
	}
	after := d.o.Projects.Stats(d.o.Config().Projects)
	done.Records, done.Rows, done.Duplicates = after.Rows-before.Rows, after.Kept-before.Kept, after.Duplicates-before.Duplicates
	return done, lost, errors.Join(err, strangers, l.wal.Close())
}

// everCollected reports whether the collector has a log, or has had one.
func (d *logDir) everCollected(ctx context.Context) (bool, error) {
	if _, err := os.Stat(d.dir); !errors.Is(err, fs.ErrNotExist) {
		return true, nil // opening it reports other errors
	}
	sealed, err := d.sealedEntries(ctx)
	return sealed > 0, err
}
