package host

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/penstock-io/penstock/host/internal/api"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// How often a serving host looks at things.
const (
	sealEvery  = 30 * time.Second // rows that were read become durable
	lookEvery  = 10 * time.Second // whether a pipeline is due
	retryPause = time.Minute      // after a run that failed
)

// Serve registers pipelines, collects, reads sources as they grow, seals, and
// runs pipelines when they are due, until ctx is done. Then it answers the
// requests in flight, seals collected and read rows, and returns nil.
func (h *Host) Serve(ctx context.Context) error {
	return explain(h.config, h.serve(ctx))
}

func (h *Host) serve(ctx context.Context) error {
	if err := h.plugins.Start(ctx); err != nil {
		return err
	}
	if err := h.recover(ctx); err != nil {
		return err
	}
	if err := h.register(ctx); err != nil {
		return err
	}
	h.serving = true
	server, err := api.Listen(filepath.Join(h.config.Host.DataDir, socketFile), h.handlers())
	if err != nil {
		return err
	}
	h.log.Info("serving", "data_dir", h.config.Host.DataDir, "sources", len(h.config.Sources)+len(h.config.Collectors), "pipelines", len(h.config.Pipelines))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := h.learnAliases(ctx); err != nil {
		cancel(err)
	} else if err := h.startCollectors(ctx, cancel); err != nil {
		cancel(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { h.trimCollectors(ctx) })
	for _, s := range h.config.Sources {
		wg.Go(func() { h.serveSource(ctx, s, cancel) })
	}
	for _, p := range h.config.Projects {
		wg.Go(func() { h.serveSeals(ctx, p, cancel) })
	}
	for _, p := range h.config.Pipelines {
		wg.Go(func() { h.servePipeline(ctx, p) })
	}
	<-ctx.Done()
	h.stopBy = time.Now().Add(stopTimeout)
	closing, stop := h.stopping()
	defer stop()
	err = h.stopCollectors(closing)
	wg.Wait()
	err = errors.Join(err, h.sealAll(closing), server.Close(closing))
	h.trim(closing)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	h.log.Info("stopped")
	return err
}

// serveSource reads a source until ctx is done. The end of one that does not
// grow is not an error; an error of reading is retried, one of the journal ends
// the host.
func (h *Host) serveSource(ctx context.Context, s *config.Source, end context.CancelCauseFunc) {
	for {
		_, err := h.read(ctx, s, s.Follow)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			h.log.Info("source was read to its end", "source", s.Reference())
			return
		}
		if !h.isTransient(err) {
			if j, openErr := h.journal(ctx, s.Project); openErr != nil || j.writer.Err() != nil {
				end(err)
				return
			}
		}
		h.log.Error("source failed and is read again", "source", s.Reference(), "error", err, "pause", retryPause)
		if wait(ctx, retryPause) != nil {
			return
		}
	}
}

// serveSeals makes rows that were read durable from time to time.
func (h *Host) serveSeals(ctx context.Context, p *config.Project, end context.CancelCauseFunc) {
	var due *aliasMark
	for wait(ctx, sealEvery) == nil {
		j, err := h.journal(ctx, p)
		if err == nil {
			err = j.writer.Seal(ctx)
		}
		if err != nil && ctx.Err() == nil && !h.isTransient(err) {
			end(err)
			return
		}
		due = h.settleAliases(ctx, p, due)
	}
}

func (h *Host) sealAll(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var err error
	for _, j := range h.journals {
		err = errors.Join(err, j.writer.Seal(ctx))
	}
	return err
}

// servePipeline runs a pipeline whenever it is due. While a backlog is left,
// it is due at once.
func (h *Host) servePipeline(ctx context.Context, p *config.Pipeline) {
	pause := time.Duration(0)
	for wait(ctx, pause) == nil {
		pause = lookEvery
		due, err := h.due(ctx, p)
		if err == nil && due {
			pause, err = h.serveStep(ctx, p)
		}
		if err != nil && ctx.Err() == nil {
			h.log.Error("pipeline failed", "pipeline", p.Name, "error", err)
			pause = retryPause
		}
	}
}

// due reports whether a run is under way, a backlog is left, or the pipeline's
// frequency has passed.
func (h *Host) due(ctx context.Context, p *config.Pipeline) (bool, error) {
	stored, err := h.registered(ctx, p)
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
	j, err := h.journal(ctx, p.Project)
	if err != nil {
		return 0, err
	}
	asOf := time.Now().UTC()
	if err := j.writer.Seal(ctx); err != nil {
		return 0, err
	}
	for {
		receipt, err := h.step(ctx, p, asOf)
		if err != nil || receipt == nil {
			return lookEvery, err
		}
		h.log.Info("run succeeded", "pipeline", p.Name, "rows", receipt.Rows, "rejected", receipt.Rejected)
	}
}
