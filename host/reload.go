package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/intake"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/runner"
	"github.com/penstock-io/penstock/host/internal/scheduler"
	"github.com/penstock-io/penstock/host/internal/service"
)

// retireTime is how long a plugin may take to end that no pipeline uses any more.
const retireTime = 30 * time.Second

// reload has a host that serves change to other configurations.
type reload struct {
	host    *Host
	live    *config.Live
	load    func(context.Context) (*Config, Diagnostics, error) // nil: the configuration cannot be read again
	hangups <-chan os.Signal
	level   *slog.LevelVar // nil: the level of the log stays
	gate    lifecycle.Gate // held by a reload

	changes  chan func(*lifecycle.Group) // for serve, in whose group the work of a change goes on
	retiring chan retirement             // for serve
	stopped  chan struct{}               // closed when serve takes no change any more
}

func newReload(h *Host, live *config.Live, o Options) *reload {
	return &reload{
		host: h, live: live, load: o.Load, hangups: o.Hangups, level: o.Level, gate: lifecycle.NewGate(),
		changes: make(chan func(*lifecycle.Group)), retiring: make(chan retirement), stopped: make(chan struct{}),
	}
}

// service answers requests of a host that serves.
func (r *reload) service() *service.Service {
	o := partsOf(r.host)
	o.Serving = true
	o.Reload = func(ctx context.Context, plan bool) (*operation.ReloadReport, error) { return r.do(ctx, plan) }
	return service.New(o, r.host.Close)
}

// retirement waits for pipelines that end, and ends the plugins that they used.
type retirement struct {
	pipelines    *runner.Replacement
	destinations []*config.Destination
}

// serve reloads when the process is told to, carries changes out, and ends the plugins of
// destinations that no pipeline uses any more, until ctx is done.
func (r *reload) serve(ctx context.Context) error {
	g := lifecycle.NewGroup(ctx)
	g.Go(func(ctx context.Context) error {
		for {
			select {
			case <-r.hangups:
				r.hangUp(ctx)
			case <-ctx.Done():
				return nil
			}
		}
	})
	g.Go(func(ctx context.Context) error {
		defer close(r.stopped)
		for {
			select {
			case change := <-r.changes:
				change(g)
			case <-ctx.Done():
				return nil
			}
		}
	})
	g.Go(func(ctx context.Context) error {
		for {
			select {
			case x := <-r.retiring:
				g.Go(func(ctx context.Context) error { return r.retire(ctx, x) })
			case <-ctx.Done():
				return nil
			}
		}
	})
	return g.Wait()
}

// hangUp reloads the configuration, and logs why that was not possible.
func (r *reload) hangUp(ctx context.Context) {
	report, err := r.do(ctx, false)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.host.log.Error("could not reload the configuration; nothing was changed", "error", err)
	case report.Refused != "":
		r.host.log.Error("the configuration is wrong; nothing was changed", "mistakes", report.Refused)
	case report.Failed != "":
		r.host.log.Error("could not change to the configuration; nothing was changed", "error", report.Failed)
	}
}

// errStopping is the error of a reload of a host that stops.
var errStopping = errors.New("the host is stopping: the next one reads the configuration when it starts")

// do reads the configuration again and changes to it, one reload after another. A plan
// only tells the changes.
func (r *reload) do(ctx context.Context, plan bool) (*operation.ReloadReport, error) {
	if r.load == nil {
		return nil, errors.New("this host cannot read its configuration again")
	}
	leave, err := r.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	next, found, err := r.load(ctx)
	var wrong *diagnostic.ConfigurationError
	switch {
	case errors.As(err, &wrong):
		return &operation.ReloadReport{Refused: texts(wrong.Diagnostics), Changes: []operation.ConfigChange{}}, nil
	case err != nil:
		return nil, err
	}
	merged, changes := config.Merge(r.live.Get(), next)
	report := reportOf(changes, found)
	if plan || report.Refused != "" {
		return report, nil
	}
	changed := make(chan struct{})
	select {
	case r.changes <- func(g *lifecycle.Group) {
		defer close(changed)
		r.change(g, merged, report)
	}:
		<-changed
		return report, nil
	case <-r.stopped:
		return nil, errStopping
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// reportOf returns the report of changes that are not made yet.
func reportOf(changes []config.Change, found diagnostic.Found) *operation.ReloadReport {
	report := &operation.ReloadReport{Changes: make([]operation.ConfigChange, 0, len(changes)), Warnings: texts(found)}
	for _, c := range changes {
		report.Changes = append(report.Changes, operation.ConfigChange(c))
		if c.Refused != "" {
			report.Refused += fmt.Sprintf("%s: %s\n", strings.TrimSuffix(c.Block+": "+c.Attribute, ": "), c.Refused)
		}
	}
	return report
}

// change changes to a merged configuration, which is valid. Everything that can fail is
// done first: after a failure, which is in the report, nothing has changed.
func (r *reload) change(g *lifecycle.Group, merged *config.Config, report *operation.ReloadReport) {
	ctx := g.Context()
	next, err := r.prepare(ctx, merged)
	if err != nil {
		report.Failed, report.Changes = err.Error(), []operation.ConfigChange{}
		return
	}
	for _, c := range report.Changes {
		r.host.log.Info("configuration reloaded", "block", c.Block, "attribute", c.Attribute, "event", c.Event, "from", c.From, "to", c.To, "needs_restart", c.Restart)
	}
	if len(report.Changes) == 0 {
		r.host.log.Info("configuration reloaded; nothing has changed")
	}
	if err := next.apply(ctx, g); err != nil {
		r.host.log.Warn("could not read a certificate again; the one before is still used", "error", err)
		report.Warnings += err.Error() + "\n"
	}
}

// prepared is a change to another configuration that only has to be applied.
type prepared struct {
	reload   *reload
	config   *config.Config
	projects []*project.Project // that are new to the host
	unknown  []int64            // of these, the ids of those that are new to the catalog
	sources  *intake.Change
}

// prepare opens everything that is new in a configuration. After an error nothing is open.
func (r *reload) prepare(ctx context.Context, merged *config.Config) (*prepared, error) {
	x := &prepared{reload: r, config: merged}
	err := x.openProjects(ctx)
	if err == nil {
		x.sources, err = r.host.intake.Prepare(ctx, merged, x.project)
	}
	if err != nil {
		x.discard(context.WithoutCancel(ctx))
		return nil, r.host.dir.Explain(err)
	}
	return x, nil
}

// openProjects registers projects that are new, and opens their journals.
func (x *prepared) openProjects(ctx context.Context) error {
	h := x.reload.host
	for _, c := range x.config.Projects {
		if returned, err := h.projects.Returned(c); err != nil || returned != nil {
			if err != nil {
				return err
			}
			continue
		}
		known, err := h.catalog.ProjectIDs(ctx)
		if err != nil {
			return err
		}
		if err := h.catalog.RegisterProject(ctx, c.ID, c.Name, c.TimeZone.String()); err != nil {
			return err
		}
		if !slices.Contains(known, c.ID) {
			x.unknown = append(x.unknown, c.ID)
		}
		p, err := h.projects.Prepare(ctx, c)
		if err != nil {
			return err
		}
		x.projects = append(x.projects, p)
	}
	return nil
}

// project returns the project of a block, also one that is new.
func (x *prepared) project(c *config.Project) *project.Project {
	for _, p := range x.projects {
		if p.Config == c {
			return p
		}
	}
	return x.reload.host.projects.Of(c)
}

// discard closes what was opened. A project that the catalog has not known before leaves
// no trace; the time zone of one that was configured once stays frozen, since rows of it
// may wait in the log of a collector.
func (x *prepared) discard(ctx context.Context) {
	h := x.reload.host
	for _, p := range x.projects {
		if err := p.Drop(); err != nil {
			h.log.Warn("could not close a project that is not added", "project", p.Config.Name, "error", err)
		}
	}
	for _, id := range x.unknown {
		if err := h.catalog.ForgetProject(ctx, id); err != nil {
			h.log.Warn("could not forget a project that is not added", "id", id, "error", err)
		}
	}
}

// apply makes the change. The error names certificates that could not be read again.
func (x *prepared) apply(ctx context.Context, g *lifecycle.Group) error {
	r, h := x.reload, x.reload.host
	before := r.live.Get()
	for _, p := range x.projects {
		h.projects.Add(p)
	}
	r.live.Set(x.config)
	if r.level != nil {
		r.level.Set(x.config.Host.LogLevel)
	}
	h.places.Reload(x.config)
	var gone []*config.Destination
	for _, d := range before.Destinations {
		if !slices.Contains(x.config.Destinations, d) {
			gone = append(gone, d)
		}
	}
	replaced := runner.Reload(h.runner, x.config.Pipelines)
	tasks := make([]scheduler.Task, 0, len(replaced.Added))
	for _, t := range replaced.Added {
		tasks = append(tasks, t)
	}
	h.schedule.Replace(replaced.Gone, tasks)
	select {
	case r.retiring <- retirement{replaced, gone}:
	case <-ctx.Done():
	}
	for _, p := range x.projects {
		serveSeals(g, h, p)
	}
	return errors.Join(x.sources.Apply(ctx, x.projects), h.port.reload(ctx, string(x.config.API.Token)))
}

// retire ends plugins once the running attempts that use them have ended.
func (r *reload) retire(ctx context.Context, x retirement) error {
	if err := x.pipelines.Settle(ctx); err != nil {
		return nil // ctx is done: Close ends all plugins
	}
	ctx, cancel := context.WithTimeout(ctx, retireTime)
	defer cancel()
	r.host.places.Retire(ctx, x.destinations)
	return nil
}

// texts returns diagnostics as they are printed.
func texts(found diagnostic.Found) string {
	var b strings.Builder
	found.WriteText(&b, false)
	return b.String()
}
