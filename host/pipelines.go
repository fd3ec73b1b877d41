package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// leaseTTL is how long a run stays leased to a host that has stopped renewing.
const leaseTTL = 60 * time.Second

// register registers all pipelines that are not registered yet and checks the
// others for changes. It starts their destinations. Mistakes in the
// configuration are returned together, as one *ConfigurationError. A pipeline
// that cannot be registered for another reason is registered by its next step.
func (h *Host) register(ctx context.Context) error {
	var wrong diagnostic.Mistakes
	for _, p := range h.config.Pipelines {
		err := h.registerPipeline(ctx, p)
		var refused *ConfigurationError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return err
		case errors.As(err, &refused):
			wrong.Add(refused.Diagnostics.List...)
		default:
			h.log.Error("could not register a pipeline; will retry", "pipeline", p.Name, "error", err)
		}
	}
	if len(wrong.List) > 0 {
		return &ConfigurationError{Diagnostics: diagnostic.Found{List: wrong.List, Sources: h.config.Files}}
	}
	return nil
}

// registerPipeline registers a pipeline, once in the life of the host.
func (h *Host) registerPipeline(ctx context.Context, p *config.Pipeline) error {
	h.mu.Lock()
	done := h.isRegistered[p.Name]
	h.mu.Unlock()
	if done {
		return nil
	}
	if err := h.registerNow(ctx, p); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isRegistered[p.Name] = true
	return nil
}

func (h *Host) registerNow(ctx context.Context, p *config.Pipeline) error {
	d, err := h.places.Configured(ctx, p.Destination, p.Project)
	if err != nil {
		return err
	}
	if mistake := d.Unable(p); mistake != nil {
		return &ConfigurationError{Diagnostics: diagnostic.Found{List: diagnostic.Diagnostics{mistake}, Sources: h.config.Files}}
	}
	_, err = h.catalog.RegisterPipeline(ctx, p.Definition(), d.Targets(p), time.Now().UTC())
	if mistake := destination.Refused(p, err); mistake != nil {
		return &ConfigurationError{Diagnostics: diagnostic.Found{List: diagnostic.Diagnostics{mistake}, Sources: h.config.Files}}
	}
	return err
}

// registered returns a pipeline's state from the catalog with its definition
// from the configuration.
func (h *Host) registered(ctx context.Context, p *config.Pipeline) (*pipeline.Pipeline, error) {
	stored, err := h.catalog.Pipeline(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	stored.Definition = p.Definition()
	return stored, nil
}

// limits returns the limits of a pipeline's next run; d may be nil.
func (h *Host) limits(p *config.Pipeline, d *destination.Destination) pipeline.Limits {
	limits := pipeline.Limits{Bytes: p.MaxRun}
	if d != nil {
		c := d.Description().Capabilities
		limits.Days, limits.Zone = c.MaxDaysPerRun, d.ByZone()
	}
	return limits
}

// next picks the extents of a pipeline's next run. all reports whether no
// further extents are left to export.
func (h *Host) next(ctx context.Context, stored *pipeline.Pipeline, limits pipeline.Limits) (extents []pipeline.Extent, cursor pipeline.Cursor, all bool, err error) {
	seq, err := h.catalog.Sequence(ctx, stored.ProjectID)
	if err != nil {
		return nil, pipeline.Cursor{}, false, err
	}
	kind := pipeline.StreamKind(stored.Stream)
	extents, cursor, err = pipeline.Next(ctx, stored, limits, seq, func(ctx context.Context, after, to int64, fn func(int64, []pipeline.Extent) error) error {
		return h.catalog.Extents(ctx, stored.ProjectID, kind, after, to, fn)
	})
	return extents, cursor, cursor.Reached(seq), err
}

// run returns the run that the pipeline has to carry out: the open one, or else
// a new one; nil when there are no rows to export.
func (h *Host) run(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline, d *destination.Destination, asOf time.Time) (*pipeline.Run, error) {
	open, err := h.catalog.OpenRun(ctx, stored.ID)
	if err != nil {
		return nil, err
	}
	if open != nil {
		return open, h.identify(ctx, p, stored, open, d.ByZone())
	}
	if pipeline.Replaced(stored.Stream) {
		return h.replacement(ctx, p, stored, asOf)
	}
	extents, cursor, all, err := h.next(ctx, stored, h.limits(p, d))
	if err != nil {
		return nil, err
	}
	if len(extents) == 0 {
		return nil, h.catalog.MoveCursor(ctx, stored, cursor)
	}
	if !all {
		asOf = time.Time{} // the remaining extents may have the same dates
	}
	return h.plan(ctx, p, stored, &pipeline.Run{Extents: extents, Next: cursor, AsOf: asOf}, d.ByZone())
}

// plan computes the run's content and inserts the run into the catalog. With
// zone the run's parts have dates of the project's time zone, else UTC dates.
func (h *Host) plan(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline, run *pipeline.Run, zone bool) (*pipeline.Run, error) {
	content, err := h.content(ctx, p, stored, run, zone)
	if err != nil {
		return nil, fmt.Errorf("plan a run of pipeline %s: %w", stored.Name, err)
	}
	run.Content, run.PlannedAt = content, time.Now().UTC()
	return run, h.catalog.InsertRun(ctx, stored, run)
}

// identify gives a content to a run that an older host planned without one.
func (h *Host) identify(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline, run *pipeline.Run, zone bool) error {
	if run.Content != "" {
		return nil
	}
	content, err := h.content(ctx, p, stored, run, zone)
	if err != nil {
		return fmt.Errorf("run %d of pipeline %s: %w", run.Number, stored.Name, err)
	}
	return h.catalog.SetContent(ctx, run, content)
}

// content returns the digest that identifies a run: see pipeline.Content.
func (h *Host) content(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline, run *pipeline.Run, zone bool) (string, error) {
	id, err := h.catalog.ID(ctx)
	if err != nil {
		return "", err
	}
	parts := run.Parts(zone)
	totals, err := h.totals(ctx, p, run, parts)
	if err != nil {
		return "", err
	}
	return pipeline.Content(id, stored, parts, totals), nil
}

// totals returns the rows, bytes and checksums of a run's parts, as the journal
// lists them.
func (h *Host) totals(ctx context.Context, p *config.Pipeline, run *pipeline.Run, parts []pipeline.Part) ([]batch.Totals, error) {
	if g := run.Generation; g != nil {
		t, err := h.projects.Of(p.Project).State(p.Stream).Generations.Totals(ctx, g.Blob)
		return []batch.Totals{t}, err
	}
	reader := h.projects.Of(p.Project).Journal.Reader()
	totals := make([]batch.Totals, len(parts))
	for i, part := range parts {
		for _, e := range part.Extents {
			t, err := reader.Totals(ctx, e.Ref)
			if err != nil {
				return nil, err
			}
			totals[i].Append(t)
		}
	}
	return totals, nil
}

// RunFailedError says that a run failed and waits for a person, or for the next
// start of a host.
type RunFailedError struct {
	Pipeline string
	Number   int64
	Reason   string
}

func (e *RunFailedError) Error() string {
	return fmt.Sprintf("run %d of pipeline %s has failed: %s (penstock runs retry %s %d tries it again)",
		e.Number, e.Pipeline, strings.TrimPrefix(e.Reason, fmt.Sprintf("run %d of pipeline %s: ", e.Number, e.Pipeline)), e.Pipeline, e.Number)
}

// step carries out a pipeline's next run, if there is one, with one attempt.
// asOf is the time at which the journal was last sealed. Steps of one pipeline
// run one after another.
func (h *Host) step(ctx context.Context, p *config.Pipeline, asOf time.Time) (*pipeline.Receipt, error) {
	leave, err := h.steps(p.Name).Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := h.registerPipeline(ctx, p); err != nil {
		return nil, err
	}
	stored, err := h.registered(ctx, p)
	if err != nil {
		return nil, err
	}
	if p.Paused || stored.State != pipeline.Active {
		return nil, nil
	}
	d, err := h.places.Configured(ctx, p.Destination, p.Project)
	if err != nil {
		return nil, err
	}
	if err := d.Start(ctx); err != nil {
		return nil, err
	}
	run, err := h.run(ctx, p, stored, d, asOf)
	if err != nil || run == nil {
		return nil, err
	}
	if run.State == pipeline.RunFailed {
		return nil, &RunFailedError{Pipeline: p.Name, Number: run.Number, Reason: run.Error}
	}
	return h.attempt(ctx, p, stored, run, d)
}

// steps returns the gate that a pipeline's steps pass one at a time.
func (h *Host) steps(name string) lifecycle.Gate {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gates[name] == nil {
		h.gates[name] = lifecycle.NewGate()
	}
	return h.gates[name]
}

func (h *Host) attempt(ctx context.Context, p *config.Pipeline, stored *pipeline.Pipeline, run *pipeline.Run, d *destination.Destination) (*pipeline.Receipt, error) {
	totals := run.Totals()
	report := func(rows, bytes int64, done bool) {
		h.observer.Report(progress.Report{
			Stage: "export", Name: fmt.Sprintf("%s run %d", stored.Name, run.Number),
			Rows: rows, Bytes: bytes, Total: totals.Bytes, Done: done,
		})
	}
	source := h.projects.Of(p.Project)
	x := &export.Exporter{
		Store: h.catalog, Blocks: source.Journal.Reader(), Generations: source, Owner: h.owner, LeaseTTL: leaseTTL, Ticker: lifecycle.Ticker, Wait: lifecycle.Wait,
		Progress: func(_ *pipeline.Run, rows, bytes int64) { report(rows, bytes, false) },
	}
	receipt, err := x.Do(ctx, export.Job{
		Pipeline: stored, Run: run, Destination: d,
		Totals: func(ctx context.Context) ([]batch.Totals, error) {
			return h.totals(ctx, p, run, run.Parts(d.ByZone()))
		},
		Refusals: func() (export.Refusals, error) {
			r, err := h.quarantine.Run(stored.Name, run.Number)
			return refusals{r}, err
		},
	})
	if err != nil {
		return nil, err
	}
	report(totals.Rows, totals.Bytes, true)
	return receipt, nil
}

// refusals adapts the quarantine of a run.
type refusals struct{ *quarantine.Run }

func (r refusals) Add(date string, row protocol.RejectedRow) error {
	return r.Run.Add(date, row.Row, row.Reason, row.Line)
}

// ready prepares an operation on one pipeline: it registers the pipeline, after
// it has started the plugins and recovered, unless a host that serves has done
// both.
func (h *Host) ready(ctx context.Context, p *config.Pipeline) error {
	if !h.serving {
		if err := h.plugins.Start(ctx); err != nil {
			return err
		}
		if err := h.recover(ctx); err != nil {
			return err
		}
	}
	return h.registerPipeline(ctx, p)
}

// RunPipeline implements Operations. It seals open segments first, and does not
// read sources.
func (h *Host) RunPipeline(ctx context.Context, name string, allowShrink bool) (*operation.PipelineSummary, error) {
	done, err := h.runPipeline(ctx, name, allowShrink)
	return done, h.dir.Explain(err)
}

func (h *Host) runPipeline(ctx context.Context, name string, allowShrink bool) (*operation.PipelineSummary, error) {
	p := h.config.Pipeline(name)
	if p == nil {
		return nil, fmt.Errorf("%w: %s", catalog.ErrUnknownPipeline, name)
	}
	if err := h.ready(ctx, p); err != nil {
		return nil, err
	}
	stored, err := h.registered(ctx, p)
	if err != nil {
		return nil, err
	}
	if p.Paused || stored.State != pipeline.Active {
		return nil, fmt.Errorf("pipeline %s is paused", name)
	}
	w, err := h.projects.Of(p.Project).Journal.Writer(ctx)
	if err != nil {
		return nil, err
	}
	// A person asks for it: a failed run is tried again, too.
	if err := h.retryFailedRun(ctx, p); err != nil {
		return nil, err
	}
	asOf := time.Now().UTC()
	if err := w.Seal(ctx); err != nil {
		return nil, err
	}
	confirmed := *p
	confirmed.AllowShrink = p.AllowShrink || allowShrink
	done := &operation.PipelineSummary{Name: p.Name, Destination: p.Destination.Reference()}
	for {
		receipt, err := h.step(ctx, &confirmed, asOf)
		if err != nil || receipt == nil {
			return done, err
		}
		addReceipt(done, receipt)
	}
}

// catchUp runs a pipeline until no rows are left to export. It retries a
// transient error for at most retryFor, counted from the first failure in a
// row.
func (h *Host) catchUp(ctx context.Context, p *config.Pipeline, retryFor time.Duration, done *operation.PipelineSummary) error {
	asOf := time.Now().UTC()
	var failing time.Time
	pauses := lifecycle.Backoff{First: retryFirst, Limit: 30 * time.Second}
	for {
		receipt, err := h.step(ctx, p, asOf)
		switch {
		case err == nil && receipt == nil:
			return nil
		case err == nil:
			addReceipt(done, receipt)
			failing = time.Time{}
			pauses.Reset()
			continue
		case ctx.Err() != nil:
			return err
		}
		if failing.IsZero() {
			failing = time.Now()
		}
		pause := max(pauses.Pause(), export.RetryAfter(err))
		if !retryable(err) || time.Since(failing)+pause > retryFor {
			return err
		}
		h.observer.Report(progress.Report{Stage: "export", Name: p.Name, Text: fmt.Sprintf("%v; will retry in %s", err, pause.Round(time.Millisecond))})
		if err := lifecycle.Wait(ctx, pause); err != nil {
			return err
		}
	}
}

// retryable reports whether another step may succeed after err.
func retryable(err error) bool {
	var failed *RunFailedError
	var wrong *ConfigurationError
	var budget *plugin.BudgetError
	var shrunk *pipeline.ShrunkError
	if errors.As(err, &shrunk) || errors.As(err, &failed) || errors.As(err, &wrong) || errors.As(err, &budget) {
		return false
	}
	return export.Retryable(err)
}
