package runner

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/project"
)

// Pipeline is a configured pipeline with its project.
type Pipeline struct {
	Config  *config.Pipeline
	o       *Options
	project *project.Project
	*shared // with the pipelines of its name that it replaces, or that replace it

	active     lifecycle.Gate  // held by a step of this pipeline, and not of the one that replaces it
	retired    context.Context // ends when a reload removes or replaces the pipeline
	retire     context.CancelFunc
	registered atomic.Bool             // by this host, or found registered as it is configured
	again      atomic.Bool             // the next step tries a failed run again: a reload may have removed the reason
	failed     atomic.Pointer[attempt] // the last attempt of a host that serves; nil: it did not fail
	pace       pace
	byName     func(string) *Pipeline                                                 // of Runner
	backfilled func(context.Context, *pipeline.Pipeline) (*operation.Backfill, error) // of Runner
}

// newPipeline returns a pipeline that is not run.
func newPipeline(r *Runner, c *config.Pipeline, s *shared) *Pipeline {
	p := &Pipeline{
		Config: c, o: r.o, project: r.o.Projects.Of(c.Project), shared: s, active: lifecycle.NewGate(), byName: r.ByName, backfilled: r.backfill,
	}
	p.pace.now, p.pace.wait, p.pace.rate, p.pace.held = r.o.Now, r.o.Wait, c.RateLimit, &s.held
	p.retired, p.retire = context.WithCancel(context.Background())
	return p
}

// attempt is the failed attempt at a pipeline that a serving host retries.
type attempt struct {
	err  error
	next time.Time // of the next attempt; zero: it waits for a person
}

// register registers the pipeline, once in the life of the host.
func (p *Pipeline) register(ctx context.Context) error {
	if p.registered.Load() {
		return nil
	}
	if err := p.registerNow(ctx); err != nil {
		return err
	}
	p.registered.Store(true)
	return nil
}

func (p *Pipeline) registerNow(ctx context.Context) error {
	d, err := p.o.Destinations.Configured(ctx, p.Config.Destination, p.Config.Project)
	if err != nil {
		return err
	}
	if mistake := d.Unable(p.Config); mistake != nil {
		return &diagnostic.ConfigurationError{Diagnostics: diagnostic.Found{List: diagnostic.Diagnostics{mistake}, Sources: p.o.Sources}}
	}
	var registered *pipeline.Pipeline
	err = refuseAdoption(ctx, p, d.Targets(p.Config))
	if err == nil {
		registered, err = p.o.Catalog.RegisterPipeline(ctx, p.Config.Definition(), d.Targets(p.Config), p.o.Now().UTC())
	}
	if mistake := destination.Refused(p.Config, err); mistake != nil {
		return &diagnostic.ConfigurationError{Diagnostics: diagnostic.Found{List: diagnostic.Diagnostics{mistake}, Sources: p.o.Sources}}
	}
	if err != nil {
		return err
	}
	return warnOfGap(ctx, p.o, registered)
}

// warnOfGap says, at the start of a host, that retention had removed rows before their
// dates were the pipeline's.
func warnOfGap(ctx context.Context, o *Options, registered *pipeline.Pipeline) error {
	gap, err := o.Catalog.PipelineGap(ctx, registered.ID)
	if err == nil && gap.Rows > 0 {
		o.Log.Warn("the pipeline does not export rows that retention removed before it was registered, or before its to_date was set so late",
			"pipeline", registered.Name, "rows", gap.Rows, "from", gap.From.String(), "to", gap.To.String())
	}
	return err
}

// stored returns the pipeline's state from the catalog with its definition from the
// configuration.
func (p *Pipeline) stored(ctx context.Context) (*pipeline.Pipeline, error) {
	stored, err := p.o.Catalog.Pipeline(ctx, p.Config.Name)
	if err != nil {
		return nil, err
	}
	stored.Definition = p.Config.Definition()
	return stored, nil
}

// retryFailed lets the failed run of the pipeline be tried again.
func (p *Pipeline) retryFailed(ctx context.Context) error {
	stored, err := p.stored(ctx)
	if errors.Is(err, catalog.ErrUnknownPipeline) {
		return nil // it could not be registered yet
	}
	if err != nil {
		return err
	}
	again, err := p.o.Catalog.RetryFailed(ctx, stored.ID)
	if again {
		p.o.Log.Info("a run that failed is tried again", "pipeline", p.Config.Name, "run", stored.LastRun)
	}
	return err
}

// isPaused reports whether the configuration or a person has paused a pipeline.
func isPaused(c *config.Pipeline, stored *pipeline.Pipeline) bool {
	return c.Paused || stored.State != pipeline.Active
}

// resolved is a pipeline with everything that a run of it needs.
type resolved struct {
	*Pipeline
	stored      *pipeline.Pipeline
	destination *destination.Destination // started, and configured for the project
	allowShrink bool                     // a set may be replaced by a much smaller one
}

// resolve starts the destination of a pipeline that is registered.
func (p *Pipeline) resolve(ctx context.Context, stored *pipeline.Pipeline) (*resolved, error) {
	d, err := p.start(ctx)
	if err != nil {
		return nil, err
	}
	return &resolved{Pipeline: p, stored: stored, destination: d, allowShrink: p.Config.AllowShrink}, nil
}

// start starts the pipeline's destination, configured for its project.
func (p *Pipeline) start(ctx context.Context) (*destination.Destination, error) {
	d, err := p.o.Destinations.Configured(ctx, p.Config.Destination, p.Config.Project)
	if err != nil {
		return nil, err
	}
	if err := d.Start(ctx); err != nil {
		return d, err
	}
	p.suits.Store(&suitable{destination: p.Config.Destination.Reference(), pause: d.Description().Capabilities.MinInterval})
	return d, nil
}
