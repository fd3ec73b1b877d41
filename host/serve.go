package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/api"
	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/source/files"
)

// How often a serving host looks at things.
const (
	lookEvery  = 10 * time.Second // whether a pipeline is due
	retryPause = time.Minute      // the longest, after a source that failed
)

// The pauses after a pipeline failed: the first, and the longest.
const (
	retryFirst = 2 * time.Second
	retryLimit = 15 * time.Minute
)

// Serve registers pipelines, collects, reads sources as they grow, seals, and
// runs pipelines when they are due, until ctx is done. Then it answers the
// requests in flight, seals collected and read rows, and returns nil.
//
// A disk that is full or fails, a journal that takes nothing and a plugin that
// does not start are logged and tried again. Serve returns an error only when it
// cannot begin, when an address cannot be listened on, and for mistakes that a
// person must correct: in the configuration, or a catalog or write-ahead log
// that is not the one of this data directory.
func (h *Host) Serve(ctx context.Context) error {
	return h.dir.Explain(h.serve(ctx))
}

func (h *Host) serve(ctx context.Context) error {
	h.serving = true
	if err := h.plugins.Start(ctx); err != nil {
		h.log.Warn("could not remove the directories that plugins of a dead host left behind", "error", err)
	}
	if err := h.noteMissing(ctx, &operation.Summary{}); err != nil {
		h.log.Error("segments of the journal are missing", "error", err)
	}
	if err := h.recover(ctx); err != nil {
		return err
	}
	server, err := api.Listen(h.dir.Path(datadir.SocketFile), h.handlers())
	if err != nil {
		return err
	}
	h.log.Info("serving", "data_dir", h.dir.Data, "sources", len(h.config.Sources)+len(h.config.Collectors)+len(h.config.Mixpanel), "pipelines", len(h.config.Pipelines))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := make(chan struct{})
	go func() {
		defer close(started)
		if err := h.beginCollecting(ctx, cancel); err != nil {
			cancel(err)
		}
	}()
	var wg sync.WaitGroup
	wg.Go(func() {
		<-started
		h.trimCollectors(ctx)
	})
	for _, s := range h.config.Sources {
		wg.Go(func() { h.serveSource(ctx, s) })
	}
	for _, p := range h.pulls {
		wg.Go(func() { p.serve(ctx) })
		if p.config.People {
			wg.Go(func() { p.serveProfiles(ctx) })
		}
	}
	for _, p := range h.config.Projects {
		wg.Go(func() {
			var due *aliasMark
			h.projects.Of(p).ServeSeals(ctx, func(ctx context.Context) { due = h.settleAliases(ctx, p, due) })
		})
		wg.Go(func() {
			<-started
			h.serveAliases(ctx, p)
		})
	}
	wg.Go(func() { h.servePipelines(ctx, cancel) })
	<-ctx.Done()
	<-started
	h.grace.Begin()
	closing, stop := h.grace.Context()
	defer stop()
	err = h.stopCollectors(closing)
	wg.Wait()
	err = errors.Join(err, h.projects.Seal(closing), server.Close(closing))
	h.trim(closing)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	h.log.Info("stopped")
	return err
}

// beginCollecting starts the collectors.
func (h *Host) beginCollecting(ctx context.Context, end context.CancelCauseFunc) error {
	h.learnAliases(ctx)
	return h.startCollectors(ctx, end)
}

// retryTransient calls do again, after pauses that grow, while its error is
// transient.
func (h *Host) retryTransient(ctx context.Context, message string, do func(context.Context) error) error {
	pauses := lifecycle.Backoff{First: project.ReopenFirst, Limit: project.ReopenLimit}
	for {
		err := do(ctx)
		if err == nil || !datadir.IsTransient(err) || ctx.Err() != nil {
			return err
		}
		pause := pauses.Pause()
		h.log.Error(message, "error", h.dir.Explain(err), "pause", pause.Round(time.Millisecond))
		if err := lifecycle.Wait(ctx, pause); err != nil {
			return err
		}
	}
}

// serveSource reads a source until ctx is done. The end of a source that does
// not grow is not an error. After an error the source is read again, from where the
// journal stands.
func (h *Host) serveSource(ctx context.Context, s *config.Source) {
	pauses := lifecycle.Backoff{First: project.ReopenFirst, Limit: retryPause}
	if text, err := files.Unmatched(ctx, s.Pattern); err == nil && text != "" {
		h.log.Warn(text, "source", s.Reference())
	}
	for {
		began := time.Now()
		_, err := h.read(ctx, s, s.Follow)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			h.log.Info("source was read to its end", "source", s.Reference())
			return
		}
		if time.Since(began) > retryPause {
			pauses.Reset()
		}
		pause := pauses.Pause()
		h.log.Error("could not read a source; will retry", "source", s.Reference(), "error", err, "pause", pause.Round(time.Millisecond))
		if lifecycle.Wait(ctx, pause) != nil {
			return
		}
	}
}

// servePipelines registers pipelines, and runs each whenever it is due. A plugin
// that hangs or crashes delays pipelines, and nothing else. end is told of
// mistakes in the configuration.
func (h *Host) servePipelines(ctx context.Context, end context.CancelCauseFunc) {
	if err := h.register(ctx); err != nil {
		end(err)
		return
	}
	if err := h.retryFailed(ctx); err != nil && ctx.Err() == nil {
		h.log.Error("could not retry failed runs; the next start of a host does", "error", err)
	}
	var wg sync.WaitGroup
	for _, p := range h.config.Pipelines {
		wg.Go(func() { h.servePipeline(ctx, p) })
	}
	wg.Wait()
}

// servePipeline runs a pipeline whenever it is due. While a backlog is left,
// it is due at once.
func (h *Host) servePipeline(ctx context.Context, p *config.Pipeline) {
	r := &repeater{
		due:  func(ctx context.Context) (bool, error) { return h.due(ctx, p) },
		step: func(ctx context.Context) (time.Duration, error) { return h.serveStep(ctx, p) },
		note: func(a *attempt) { h.noteAttempt(p.Name, a) },
		now:  time.Now, wait: lifecycle.Wait, log: h.log.With("pipeline", p.Name),
	}
	r.run(ctx)
}

// due reports whether a run is under way, a backlog is left, or the pipeline's
// frequency has passed.
func (h *Host) due(ctx context.Context, p *config.Pipeline) (bool, error) {
	stored, err := h.registered(ctx, p)
	if errors.Is(err, catalog.ErrUnknownPipeline) {
		return true, nil // it could not be registered yet
	}
	if err != nil {
		return false, err
	}
	open, err := h.catalog.OpenRun(ctx, stored.ID)
	if err != nil {
		return false, err
	}
	if open != nil {
		return open.State != pipeline.RunFailed, nil
	}
	return !stored.Cursor.BackfillDone || pipeline.Due(time.Now(), stored.PlannedAt, p.Frequency), nil
}

// serveStep seals, and runs the pipeline until it has caught up.
func (h *Host) serveStep(ctx context.Context, p *config.Pipeline) (time.Duration, error) {
	w, err := h.projects.Of(p.Project).Journal.Writer(ctx)
	if err != nil {
		return 0, err
	}
	asOf := time.Now().UTC()
	if err := w.Seal(ctx); err != nil {
		return 0, err
	}
	for {
		receipt, err := h.step(ctx, p, asOf)
		if err != nil || receipt == nil {
			return lookEvery, err
		}
		fields := []any{"pipeline", p.Name, "rows", receipt.Rows, "rejected", receipt.Rejected}
		if len(receipt.Changed) > 0 {
			fields = append(fields, "changed", receipt.Changed)
		}
		h.log.Info("run succeeded", fields...)
	}
}
