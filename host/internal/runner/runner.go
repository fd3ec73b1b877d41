package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/quarantine"
)

// Options are the stores and parts that pipelines share. All are required but Random; a Runner
// that only tells states needs no Destinations.
type Options struct {
	Projects     *project.Set
	Destinations *destination.Set
	Catalog      *catalog.Catalog
	Quarantine   *quarantine.Store // of rows that destinations refuse
	Owner        string            // of leases: this process
	Sources      diagnostic.Sources
	Now          func() time.Time
	Wait         func(context.Context, time.Duration) error
	Ticker       func(time.Duration) (<-chan time.Time, func())
	// Random shortens the pauses after failures; nil: rand.N.
	Random   func(below time.Duration) time.Duration
	Log      *slog.Logger
	Observer progress.Observer
	// Prepare starts the plugins and opens the journals, once. It is called before
	// the first operation on a pipeline.
	Prepare func(context.Context) error
	// Wake is called after an operation that may have moved the time at which the
	// pipeline of a name is due; nil: no scheduler runs the pipelines.
	Wake func(name string)
}

// Runner holds the pipelines of a configuration, which Reload replaces. It may be used
// concurrently.
type Runner struct {
	o   *Options
	set atomic.Pointer[pipelineSet]
}

// pipelineSet are the pipelines of one configuration. It does not change.
type pipelineSet struct {
	all    []*Pipeline // in the order of the configuration
	byName map[string]*Pipeline
	shared map[string]*shared // by name, also of pipelines that earlier reloads have removed
}

// newSet returns the pipelines of a configuration. Those of old whose block is the same
// are taken over.
func newSet(r *Runner, old *pipelineSet, pipelines []*config.Pipeline) *pipelineSet {
	s := &pipelineSet{byName: map[string]*Pipeline{}, shared: old.sharedBy()}
	for _, c := range pipelines {
		p := old.byName[c.Name]
		if p == nil || p.Config != c {
			p = newPipeline(r, c, s.sharedOf(c.Name))
		}
		s.all = append(s.all, p)
		s.byName[c.Name] = p
	}
	return s
}

// New returns the pipelines of a configuration. Nothing is started.
func New(o Options, pipelines []*config.Pipeline) *Runner {
	r := &Runner{o: &o}
	r.set.Store(newSet(r, &pipelineSet{}, pipelines))
	return r
}

// Wake has the scheduler look again when a pipeline is due: after it was resumed, or
// its run was given back.
func (r *Runner) Wake(name string) {
	if s := r.set.Load().shared[name]; s != nil {
		s.woken.Store(true)
	}
	if r.o.Wake != nil {
		r.o.Wake(name)
	}
}

// All returns the pipelines in the order of the configuration.
func (r *Runner) All() []*Pipeline { return r.set.Load().all }

// ByName returns the pipeline of a name; nil: none is configured.
func (r *Runner) ByName(name string) *Pipeline { return r.set.Load().byName[name] }

// Ensure returns the pipeline of a name for an operation on it: plugins are started,
// journals are open, and the pipeline is registered.
func (r *Runner) Ensure(ctx context.Context, name string) (*Pipeline, error) {
	p := r.ByName(name)
	if p == nil {
		return nil, fmt.Errorf("%w: %s", catalog.ErrUnknownPipeline, name)
	}
	if err := r.o.Prepare(ctx); err != nil {
		return nil, err
	}
	return p, p.register(ctx)
}

// Register registers all pipelines that are not registered yet and checks the
// others for changes. It starts their destinations. Mistakes in the
// configuration are returned together, as one *diagnostic.ConfigurationError. A
// pipeline that cannot be registered for another reason is registered by its next
// step.
func (r *Runner) Register(ctx context.Context) error {
	var wrong diagnostic.Mistakes
	for _, p := range r.All() {
		err := p.register(ctx)
		var refused *diagnostic.ConfigurationError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return err
		case errors.As(err, &refused):
			wrong.Add(refused.Diagnostics.List...)
		default:
			r.o.Log.Error("could not register a pipeline; will retry", "pipeline", p.Config.Name, "error", err)
		}
	}
	if len(wrong.List) > 0 {
		return &diagnostic.ConfigurationError{Diagnostics: diagnostic.Found{List: wrong.List, Sources: r.o.Sources}}
	}
	return nil
}

// RetryFailed lets the failed run of each pipeline be tried again. A host does so
// when it starts: the configuration, or the reason of a failure that a person had
// to remove, may be another one since.
func (r *Runner) RetryFailed(ctx context.Context) error {
	var failed error
	for _, p := range r.All() {
		failed = errors.Join(failed, p.retryFailed(ctx))
	}
	return failed
}

// RunFailedError says that a run failed and waits for a person, or for the next
// start of a host.
type RunFailedError struct {
	Pipeline string
	Number   int64
	Reason   string
}

func (e *RunFailedError) Error() string {
	text := fmt.Sprintf("run %d of pipeline %s has failed: %s",
		e.Number, e.Pipeline, strings.TrimPrefix(e.Reason, fmt.Sprintf("run %d of pipeline %s: ", e.Number, e.Pipeline)))
	if export.NeedsRecovery(e.Reason) {
		return text
	}
	return text + fmt.Sprintf(" (penstock runs retry %s %d tries it again)", e.Pipeline, e.Number)
}
