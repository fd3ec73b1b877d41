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
)

// How often a serving host looks whether a pipeline is due.
const lookEvery = 10 * time.Second

// The pauses after a pipeline failed: the first, and the longest.
const (
	retryFirst = 2 * time.Second
	retryLimit = 15 * time.Minute
)

// Serve registers the pipelines, and runs each whenever it is due, until ctx is done. A
// plugin that hangs or crashes delays pipelines, and nothing else. An error is a
// mistake in the configuration.
func (r *Runner) Serve(ctx context.Context) error {
	if err := r.Register(ctx); ctx.Err() != nil {
		return nil // whatever the call that was cut says
	} else if err != nil {
		return err
	}
	if err := r.RetryFailed(ctx); err != nil && ctx.Err() == nil {
		r.o.Log.Error("could not retry failed runs; the next start of a host does", "error", err)
	}
	g := lifecycle.NewGroup(ctx)
	for _, p := range r.all {
		g.Go(func(ctx context.Context) error {
			loop{p}.serve(ctx)
			return nil
		})
	}
	return g.Wait()
}

// repeater runs a pipeline whenever it is due. After an error it tries again,
// after pauses that grow with each further error, are shortened at random, and
// are at least as long as the destination asks for.
type repeater struct {
	due  func(context.Context) (bool, error)
	step func(context.Context) (pause time.Duration, err error)
	note func(*attempt) // nil after a success
	now  func() time.Time
	wait func(context.Context, time.Duration) error
	log  *slog.Logger
}

// run runs the pipeline until ctx ends.
func (r *repeater) run(ctx context.Context) {
	pauses := lifecycle.Backoff{First: retryFirst, Limit: retryLimit}
	pause := time.Duration(0)
	for r.wait(ctx, pause) == nil {
		pause = lookEvery
		due, err := r.due(ctx)
		if err == nil && !due {
			continue // the run before may have failed for good: that stays noted
		}
		if err == nil {
			pause, err = r.step(ctx)
		}
		if err == nil {
			pauses.Reset()
			r.note(nil)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		pause = max(pauses.Pause(), export.RetryAfter(err))
		if r.waits(ctx, err) {
			r.note(&attempt{err: err})
			r.log.Error("pipeline failed, and waits for a person; the next start of a host tries again", "error", err)
			continue
		}
		r.note(&attempt{err: err, next: r.now().Add(pause)})
		r.log.Error("pipeline failed; will retry", "error", err, "pause", pause.Round(time.Millisecond))
	}
}

// waits reports whether an attempt that ended with err has failed its run for good.
// An error that a person must remove, but that came before there was a run, such as
// a plugin that is missing, is looked for again.
func (r *repeater) waits(ctx context.Context, err error) bool {
	if export.Retryable(err) {
		return false
	}
	due, asked := r.due(ctx)
	return asked == nil && !due
}

// loop runs a pipeline while a host serves.
type loop struct{ *Pipeline }

// serve runs the pipeline whenever it is due, until ctx is done. While a backlog is
// left, it is due at once.
func (p loop) serve(ctx context.Context) {
	r := &repeater{
		due: p.due, step: p.serveStep, note: p.failed.Store, now: p.o.Now, wait: p.o.Wait, log: p.o.Log.With("pipeline", p.Config.Name),
	}
	r.run(ctx)
}

// due reports whether a run is under way, a backlog is left, or the pipeline's
// frequency has passed.
func (p loop) due(ctx context.Context) (bool, error) {
	stored, err := p.stored(ctx)
	if errors.Is(err, catalog.ErrUnknownPipeline) {
		return true, nil // it could not be registered yet
	}
	if err != nil {
		return false, err
	}
	open, err := p.o.Catalog.OpenRun(ctx, stored.ID)
	if err != nil {
		return false, err
	}
	if open != nil {
		return open.State != pipeline.RunFailed, nil
	}
	return !stored.Cursor.BackfillDone || pipeline.Due(p.o.Now(), stored.PlannedAt, p.Config.Frequency), nil
}

// serveStep seals, and runs the pipeline until it has caught up.
func (p loop) serveStep(ctx context.Context) (time.Duration, error) {
	asOf := p.o.Now().UTC()
	if err := p.project.Journal.Settle(ctx); err != nil {
		return 0, err
	}
	for {
		receipt, err := p.step(ctx, asOf, false)
		if err != nil || receipt == nil {
			return lookEvery, err
		}
		fields := []any{"pipeline", p.Config.Name, "rows", receipt.Rows, "rejected", receipt.Rejected}
		if len(receipt.Changed) > 0 {
			fields = append(fields, "changed", receipt.Changed)
		}
		p.o.Log.Info("run succeeded", fields...)
	}
}
