package host

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
)

// retryFailed lets the failed run of each pipeline be tried again. A host does so
// when it starts: the configuration, or the reason of a failure that a person had
// to remove, may be another one since.
func (h *Host) retryFailed(ctx context.Context) error {
	var failed error
	for _, p := range h.config.Pipelines {
		failed = errors.Join(failed, h.retryFailedRun(ctx, p))
	}
	return failed
}

func (h *Host) retryFailedRun(ctx context.Context, p *config.Pipeline) error {
	stored, err := h.registered(ctx, p)
	if errors.Is(err, catalog.ErrUnknownPipeline) {
		return nil // it could not be registered yet
	}
	if err != nil {
		return err
	}
	again, err := h.catalog.RetryFailed(ctx, stored.ID)
	if again {
		h.log.Info("a run that failed is tried again", "pipeline", p.Name, "run", stored.LastRun)
	}
	return err
}

// attempt is the state of a pipeline that a serving host retries.
type attempt struct {
	err  error
	next time.Time // of the next attempt; zero: it waits for a person
}

// attemptOf returns why the last attempt at a pipeline failed and when the next
// one is, if there is one; nil when it did not fail.
func (h *Host) attemptOf(pipeline string) *attempt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.attempts[pipeline]
}

// noteAttempt remembers a failed attempt at a pipeline; nil: it works.
func (h *Host) noteAttempt(pipeline string, a *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a == nil {
		delete(h.attempts, pipeline)
		return
	}
	h.attempts[pipeline] = a
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
