package host

import (
	"context"
	"errors"
	"runtime/debug"

	"github.com/penstock-io/penstock/host/internal/api"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/project"
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
	answers := h.reload.service()
	if _, err := answers.MissingSegments(ctx); err != nil {
		h.log.Error("segments of the journal are missing", "error", err)
	}
	if err := h.prepareSome(ctx); ctx.Err() != nil {
		return endOf(ctx) // whatever the call that was cut says
	} else if err != nil {
		return err
	}
	if err := h.port.open(ctx, h, answers); err != nil {
		return err
	}
	server, err := api.Listen(h.dir.Path(datadir.SocketFile), api.Routes(version, answers))
	if err != nil {
		return errors.Join(err, h.port.close(ctx))
	}
	h.log.Info("serving", "data_dir", h.dir.Data, "sources", h.intake.Len(), "pipelines", len(h.config.Pipelines))
	err = h.serveRooms(ctx)
	closing, stop := h.grace.Context()
	defer stop()
	err = errors.Join(err, h.projects.Seal(closing), h.port.close(closing), server.Close(closing))
	h.intake.Trim(closing)
	h.log.Info("stopped")
	return errors.Join(endOf(ctx), err)
}

// endOf returns the cause of a context that has ended, unless the host was stopped.
func endOf(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// serveRooms serves sources, journals and pipelines until ctx is done, or one of them
// returns an error. All work of stopping has one deadline, which begins then.
func (h *Host) serveRooms(ctx context.Context) error {
	g := lifecycle.NewGroup(ctx)
	context.AfterFunc(g.Context(), h.grace.Begin)
	h.intake.Serve(g)
	for _, p := range h.projects.All() {
		serveSeals(g, h, p)
	}
	g.Go(func(ctx context.Context) error {
		if err := h.runner.Begin(ctx); err != nil {
			return err
		}
		// A host may be idle for hours. The memory that a large configuration took to
		// read is not kept for as long.
		debug.FreeOSMemory()
		h.schedule.Serve(ctx)
		return nil
	})
	g.Go(h.port.serve)
	g.Go(h.upkeep.Serve)
	g.Go(h.reload.serve)
	g.Go(func(ctx context.Context) error {
		<-ctx.Done()
		closing, stop := h.grace.First()
		defer stop()
		return h.port.close(closing)
	})
	g.Go(untilDone) // a configuration may have nothing to serve yet
	return g.Wait()
}

// serveSeals makes the rows of a project durable from time to time.
func serveSeals(g *lifecycle.Group, h *Host, p *project.Project) {
	sealed := h.intake.Sealed(p)
	g.Go(func(ctx context.Context) error {
		p.ServeSeals(ctx, sealed)
		return nil
	})
}

// untilDone returns when ctx is done.
func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// prepareSome prepares a host that serves: a journal that cannot be opened, and
// directories that cannot be removed, are left for later.
func (h *Host) prepareSome(ctx context.Context) error {
	return h.prepared.Do(ctx, func() error {
		if err := h.plugins.Start(ctx); err != nil {
			h.log.Warn("could not remove the directories that plugins of a dead host left behind", "error", err)
		}
		return h.projects.OpenSome(ctx)
	})
}
