package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/quarantine"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// leaseTTL is how long a run stays leased to a host that has stopped renewing.
const leaseTTL = 60 * time.Second

// step carries out a pipeline's next run, if there is one, with one attempt.
// asOf is the time at which the journal was last sealed. Steps of one pipeline
// run one after another. allowShrink confirms that a set may shrink.
func (p *Pipeline) step(ctx context.Context, asOf time.Time, allowShrink bool) (*pipeline.Receipt, error) {
	return carryOut(ctx, p, func(r *resolved) (*pipeline.Run, error) {
		r.allowShrink = r.allowShrink || allowShrink
		return r.run(ctx, asOf)
	})
}

// carryOut carries out the run that choose returns, if there is one, with one attempt, and
// counts it. choose is called when the pipeline may run and is not idle.
func carryOut(ctx context.Context, p *Pipeline, choose func(*resolved) (*pipeline.Run, error)) (*pipeline.Receipt, error) {
	var took time.Duration
	receipt, err := tryOnce(ctx, p, choose, &took)
	p.tally.note(ctx, receipt, err, took)
	return receipt, err
}

// tryOnce is carryOut without counting. took is how long the attempt took, without its
// waiting for other steps.
func tryOnce(ctx context.Context, p *Pipeline, choose func(*resolved) (*pipeline.Run, error), took *time.Duration) (*pipeline.Receipt, error) {
	leave, err := p.steps.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	settle, err := p.active.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer settle()
	if p.retired.Err() != nil {
		return nil, errReloaded
	}
	ctx, end := untilRetired(ctx, p)
	defer end()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.stop.Store(&stop)
	defer p.stop.Store(nil)
	if err := p.register(ctx); err != nil {
		return nil, err
	}
	p.held.Store(false) // the state, which is read after it, has the last word
	stored, err := p.stored(ctx)
	if err != nil || isPaused(p.Config, stored) {
		return nil, err
	}
	if p.again.Load() {
		if err := p.retryFailed(ctx); err != nil {
			return nil, err
		}
		p.again.Store(false)
	}
	if idle, err := isIdle(ctx, p.o.Catalog, stored); idle || err != nil {
		return nil, err
	}
	if ended, err := passOver(ctx, p, stored); ended || err != nil {
		return nil, err
	}
	r, err := p.resolve(ctx, stored)
	if err != nil {
		return nil, err
	}
	run, err := choose(r)
	if err != nil || run == nil {
		return nil, err
	}
	if run.State == pipeline.RunFailed {
		return nil, &RunFailedError{Pipeline: p.Config.Name, Number: run.Number, Reason: run.Error}
	}
	began := p.o.Now()
	receipt, err := r.attempt(ctx, run)
	*took = max(0, p.o.Now().Sub(began))
	if err == nil {
		r.reportBackfill(ctx)
	}
	return receipt, err
}

// isIdle reports whether a pipeline of events has exported all that is in the journal: its
// plugin is not started then. For sets that is not known before they are folded.
func isIdle(ctx context.Context, c *catalog.Catalog, stored *pipeline.Pipeline) (bool, error) {
	if to := stored.Cursor.To; pipeline.Replaced(stored.Stream) || to != 0 && to != stored.To {
		return false, nil // or its last date has changed
	}
	seq, err := c.Sequence(ctx, stored.ProjectID)
	if err != nil || !stored.Cursor.Reached(seq) {
		return false, err
	}
	open, err := c.OpenRun(ctx, stored.ID)
	return open == nil, err
}

// passOver moves the cursor of a pipeline that has ended past the rows that it leaves out,
// so that they are counted, and retention need not keep them for it. Its plugin is not
// started. A pipeline has ended when it leaves late rows out, the last of its windows is
// over, and everything from before is exported.
func passOver(ctx context.Context, p *Pipeline, stored *pipeline.Pipeline) (ended bool, err error) {
	if !stored.LeaveLate || !stored.Over(p.o.Now()) {
		return false, nil
	}
	open, err := p.o.Catalog.OpenRun(ctx, stored.ID)
	if open != nil || err != nil {
		return false, err
	}
	extents, cursor, all, err := next(ctx, p.o.Catalog, stored, pipeline.Limits{Bytes: 1})
	if len(extents) > 0 || !all || err != nil {
		return false, err
	}
	return true, p.o.Catalog.MoveCursor(ctx, stored, cursor)
}

// attempt exports a run.
func (r *resolved) attempt(ctx context.Context, run *pipeline.Run) (*pipeline.Receipt, error) {
	r.pace.begin(run.Number)
	defer r.pace.end()
	x, job := r.export(run)
	planned := run.Content
	job.Replan = func(ctx context.Context, content string) (*pipeline.Run, error) {
		return replan(ctx, r.Pipeline, r.destination, content)
	}
	receipt, err := x.Do(ctx, job)
	if err != nil {
		return nil, err
	}
	if run.Content != planned {
		r.o.Log.Info("the destination's run was found in the journal and is recorded; nothing was sent", "pipeline", r.stored.Name, "run", run.Number, "rows", run.Totals().Rows)
	}
	totals := run.Totals()
	r.report(run, totals.Rows, totals.Bytes, totals.Bytes, true)
	return receipt, nil
}

// report tells how far the export of a run is, of which total bytes are sent in all.
func (r *resolved) report(run *pipeline.Run, rows, bytes, total int64, done bool) {
	r.o.Observer.Report(progress.Report{
		Stage: "export", Name: fmt.Sprintf("%s run %d", r.stored.Name, run.Number),
		Rows: rows, Bytes: bytes, Total: total, Done: done,
	})
}

// export returns the exporter of a run, and its job.
func (r *resolved) export(run *pipeline.Run) (*export.Exporter, export.Job) {
	total := run.Totals().Bytes // of a plan that is replaced later, nothing is sent
	x := &export.Exporter{
		Store: r.o.Catalog, Blocks: r.project.Journal.Reader(), Places: r.project.Journal.Reader(), Generations: r.project, Owner: r.o.Owner, LeaseTTL: leaseTTL, Ticker: r.o.Ticker, Wait: r.o.Wait,
		Progress: func(run *pipeline.Run, rows, bytes int64) {
			r.pace.sent(rows, bytes)
			r.report(run, rows, bytes, total, false)
		},
		Pace: r.pace.next,
	}
	return x, export.Job{
		Pipeline: r.stored, Run: run, Destination: r.destination,
		Totals: func(ctx context.Context) ([]batch.Totals, error) {
			return r.totals(ctx, run, run.Parts(r.destination.ByZone()))
		},
		Refusals: func() (export.Refusals, error) {
			q, err := r.o.Quarantine.Run(r.stored.Name, run.Number)
			return refusals{q}, err
		},
	}
}

// refusals adapts the quarantine of a run.
type refusals struct{ *quarantine.Run }

func (r refusals) Add(date string, row protocol.RejectedRow) error {
	return r.Run.Add(date, row.Row, row.Reason, row.Line)
}

// retryable reports whether another step may succeed after err.
func retryable(err error) bool {
	var failed *RunFailedError
	var wrong *diagnostic.ConfigurationError
	var budget *plugin.BudgetError
	var shrunk *pipeline.ShrunkError
	if errors.As(err, &shrunk) || errors.As(err, &failed) || errors.As(err, &wrong) || errors.As(err, &budget) {
		return false
	}
	return export.Retryable(err)
}
