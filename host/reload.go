package host

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
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
	gate    lifecycle.Gate // held by a reload

	retiring chan retirement // for serve
}

// service answers requests of a host that serves until ctx is done.
func (r *reload) service(ctx context.Context) *service.Service {
	o := partsOf(r.host)
	o.Serving = true
	o.Reload = func(asked context.Context) (*operation.ReloadReport, error) { return r.do(ctx, asked) }
	return service.New(o, r.host.Close)
}

// retirement waits for pipelines that end, and ends the plugins that they used.
type retirement struct {
	pipelines    *runner.Replacement
	destinations []*config.Destination
}

// serve reloads when the process is told to, and ends the plugins of destinations that no
// pipeline uses any more, until ctx is done.
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
	report, err := r.do(ctx, ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.host.log.Error("could not reload the configuration; nothing was changed", "error", err)
	case report.Refused != "":
		r.host.log.Error("the configuration is wrong; nothing was changed", "mistakes", report.Refused)
	}
}

// do reads the configuration again and changes to it, one reload after another.
// serving ends with the host, and asked with the request.
func (r *reload) do(serving, asked context.Context) (*operation.ReloadReport, error) {
	if r.load == nil {
		return nil, errors.New("this host cannot read its configuration again")
	}
	leave, err := r.gate.Enter(asked)
	if err != nil {
		return nil, err
	}
	defer leave()
	next, found, err := r.load(asked)
	var wrong *diagnostic.ConfigurationError
	switch {
	case errors.As(err, &wrong):
		return &operation.ReloadReport{Refused: texts(wrong.Diagnostics), Changes: []operation.ConfigChange{}}, nil
	case err != nil:
		return nil, err
	}
	return r.change(serving, next, found), nil
}

// change changes to another configuration, which is valid.
func (r *reload) change(ctx context.Context, next *config.Config, found diagnostic.Found) *operation.ReloadReport {
	h, before := r.host, r.live.Get()
	merged, changes := config.Merge(before, next)
	report := &operation.ReloadReport{Changes: make([]operation.ConfigChange, 0, len(changes)), Warnings: texts(found)}
	for _, c := range changes {
		report.Changes = append(report.Changes, operation.ConfigChange(c))
		h.log.Info("configuration reloaded", "block", c.Block, "attribute", c.Attribute, "event", c.Event, "from", c.From, "to", c.To, "needs_restart", c.Restart)
	}
	if len(changes) == 0 {
		h.log.Info("configuration reloaded; nothing has changed")
	}
	r.live.Set(merged)
	h.places.Reload(merged)
	var gone []*config.Destination
	for _, d := range before.Destinations {
		if !slices.Contains(merged.Destinations, d) {
			gone = append(gone, d)
		}
	}
	replaced := runner.Reload(h.runner, merged.Pipelines)
	tasks := make([]scheduler.Task, 0, len(replaced.Added))
	for _, t := range replaced.Added {
		tasks = append(tasks, t)
	}
	h.schedule.Replace(replaced.Gone, tasks)
	select {
	case r.retiring <- retirement{replaced, gone}:
	case <-ctx.Done():
	}
	if err := h.intake.Reload(ctx, merged.Collectors); err != nil {
		h.log.Warn("could not read a certificate again; the one before is still used", "error", err)
		report.Warnings += err.Error() + "\n"
	}
	return report
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
