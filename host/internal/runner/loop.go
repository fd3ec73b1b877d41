package runner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/project"
)

// The pauses after a pipeline failed: the first, and the longest.
const (
	retryFirst = 2 * time.Second
	retryLimit = 15 * time.Minute
)

// Begin prepares the pipelines of a host that serves: it registers them, and lets
// failed runs be tried again. An error is a mistake in the configuration.
func (r *Runner) Begin(ctx context.Context) error {
	if err := r.Register(ctx); ctx.Err() != nil {
		return nil // whatever the call that was cut says
	} else if err != nil {
		return err
	}
	if err := r.RetryFailed(ctx); err != nil && ctx.Err() == nil {
		r.o.Log.Error("could not retry failed runs; the next start of a host does", "error", err)
	}
	return nil
}

// Tasks returns the iterations of all pipelines, for a scheduler.
func (r *Runner) Tasks() []*Iterations {
	tasks := make([]*Iterations, 0, len(r.All()))
	for _, p := range r.All() {
		tasks = append(tasks, newIterations(p))
	}
	return tasks
}

// Iterations are the work of one pipeline while a host serves: whenever its schedule
// says so, it exports everything that was journaled since the last time. It implements
// scheduler.Task. A plugin that hangs or crashes delays the pipelines of its
// destination, and nothing else.
type Iterations struct {
	*Pipeline
	repeater
	looked time.Time // when the latest iteration of this host ended with nothing left; zero: none did
	first  firstLook
}

func newIterations(p *Pipeline) *Iterations {
	i := &Iterations{Pipeline: p}
	i.repeater = repeater{
		due: i.due, step: i.iterate, note: p.failed.Store, fails: func() bool { return p.failed.Load() != nil }, now: p.o.Now, log: p.o.Log.With("pipeline", p.Config.Name),
		pauses: lifecycle.Backoff{First: retryFirst, Limit: retryLimit, Random: p.o.Random},
	}
	return i
}

// Name is the pipeline's.
func (i *Iterations) Name() string { return i.Config.Name }

// Group is the pipeline's destination.
func (i *Iterations) Group() string { return i.Config.Destination.Reference() }

// repeater decides when a pipeline is tried again. After an error the pauses grow with
// each further error, are shortened at random, and are at least as long as the
// destination asks for. It is not for concurrent use.
type repeater struct {
	due  func(context.Context) (at time.Time, ok bool, err error)
	step func(context.Context) error
	note func(*attempt) // nil after a success
	// fails reports whether nothing has succeeded since a failure was noted: a person may
	// have run the pipeline in between.
	fails func() bool
	now   func() time.Time
	log   *slog.Logger

	pauses lifecycle.Backoff
	retry  time.Time // the earliest next attempt after a failed one; zero: none has failed
}

// Next returns when the pipeline is due: see scheduler.Task.
func (r *repeater) Next(ctx context.Context) (time.Time, bool) {
	if !r.retry.IsZero() && !r.fails() {
		r.pauses.Reset()
		r.retry = time.Time{}
	}
	at, ok, err := r.due(ctx)
	switch {
	case ctx.Err() != nil:
		return time.Time{}, false
	case err != nil:
		r.fail(err, r.pauses.Pause())
		return r.retry, true
	case !ok:
		return time.Time{}, false
	case r.retry.After(at):
		return r.retry, true
	}
	return at, true
}

// Run makes one attempt at everything that is due.
func (r *repeater) Run(ctx context.Context) {
	err := r.step(ctx)
	switch {
	case err == nil:
		r.pauses.Reset()
		r.retry = time.Time{}
		r.note(nil)
	case ctx.Err() != nil:
	case r.waits(ctx, err):
		r.note(&attempt{err: err})
		r.log.Error("pipeline failed, and waits for a person; the next start of a host tries again", "error", err)
	default:
		r.fail(err, max(r.pauses.Pause(), export.RetryAfter(err)))
	}
}

// fail notes an attempt that is made again after a pause.
func (r *repeater) fail(err error, pause time.Duration) {
	r.retry = r.now().Add(pause)
	r.note(&attempt{err: err, next: r.retry})
	r.log.Error("pipeline failed; will retry", "error", err, "pause", pause.Round(time.Millisecond))
}

// waits reports whether an attempt that ended with err has failed its run for good.
// An error that a person must remove, but that came before there was a run, such as
// a plugin that is missing, is looked for again.
func (r *repeater) waits(ctx context.Context, err error) bool {
	if export.Retryable(err) {
		return false
	}
	_, due, asked := r.due(ctx)
	return asked == nil && !due
}

// due returns when the next iteration is due: at once while a run is under way or a
// backlog is left, otherwise at the next time of the schedule. ok is false if the
// pipeline waits for a person.
func (i *Iterations) due(ctx context.Context) (at time.Time, ok bool, err error) {
	now := i.o.Now()
	if i.first.holds(i.Pipeline) {
		return nextLook(i.looked, i.first.created, now), true, nil
	}
	stored, err := i.stored(ctx)
	if errors.Is(err, catalog.ErrUnknownPipeline) {
		return now, true, nil // it could not be registered yet
	}
	if err != nil || isPaused(i.Config, stored) {
		return time.Time{}, false, err
	}
	open, err := i.o.Catalog.OpenRun(ctx, stored.ID)
	switch {
	case err != nil:
		return time.Time{}, false, err
	case open != nil:
		return now, open.State != pipeline.RunFailed || i.again.Load(), nil
	case !stored.Cursor.BackfillDone:
		return now, true, nil
	case stored.LastRun == 0:
		return nextLook(i.looked, stored.CreatedAt, now), true, nil
	}
	last := stored.LookedAt
	if i.Config.Schedule.Cadence == pipeline.Continuous && i.looked.After(last) {
		last = i.looked
	}
	return i.paced(i.Config.Schedule, i.Config.Destination.Reference()).DueAt(last, now), true, nil
}

// iterate seals, and runs the pipeline until it has caught up.
func (i *Iterations) iterate(ctx context.Context) error {
	asOf := i.o.Now().UTC()
	if err := i.project.Journal.Settle(ctx); err != nil {
		return err
	}
	if i.first.holds(i.Pipeline) {
		i.looked = asOf
		return nil
	}
	i.first = firstLook{} // a look that fails is made again, whatever the one before has found
	i.woken.Store(false)
	mark := i.project.Journal.Mark()
	for {
		receipt, err := i.Pipeline.step(ctx, asOf, false)
		if errors.Is(err, errReloaded) && i.retired.Err() != nil {
			return nil
		}
		if errors.Is(err, pipeline.ErrPaused) {
			i.log.Info("pipeline is paused; its run continues when it is resumed")
			return nil
		}
		if err != nil {
			return err
		}
		if receipt == nil {
			return i.noteLook(ctx, asOf, mark)
		}
		fields := []any{"pipeline", i.Config.Name, "rows", receipt.Rows, "rejected", receipt.Rejected}
		if len(receipt.Changed) > 0 {
			fields = append(fields, "changed", receipt.Changed)
		}
		if receipt.LeftOut > 0 {
			fields = append(fields, "left_out", receipt.LeftOut)
		}
		i.o.Log.Info("run succeeded", fields...)
	}
}

// noteLook notes an iteration that began at a time and has nothing left to export. That
// of a continuous pipeline, and of one that has had no run, is not stored: it would be a
// write to the catalog each time. A pipeline that was paused while it waited for its turn
// was not looked at: it is due when it is resumed. mark is the journal's before the look.
func (i *Iterations) noteLook(ctx context.Context, at time.Time, mark project.Mark) error {
	stored, err := i.stored(ctx)
	if err != nil || isPaused(i.Config, stored) {
		return err
	}
	i.looked = at
	if stored.LastRun == 0 {
		i.first = firstLook{mark: mark, at: at, created: stored.CreatedAt}
	}
	if i.Config.Schedule.Cadence == pipeline.Continuous {
		return nil
	}
	if stored.LastRun == 0 || !stored.LookedAt.Before(at) && !stored.LookedAt.After(i.o.Now()) {
		return nil // a run of the iteration was planned later
	}
	return i.o.Catalog.NoteLook(ctx, stored.ID, at)
}
