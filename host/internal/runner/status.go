package runner

import (
	"context"
	"math"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/export"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/project"
)

// The states of a pipeline, as PipelineStatus has them.
const (
	activePipeline   = "active"      // runs when it is due
	runningPipeline  = "running"     // a host is exporting a run
	retryingPipeline = "retrying"    // the last attempt at a run failed; the host will retry
	stoppedPipeline  = "interrupted" // a run was not finished when its host ended; the next host resumes it
	failedPipeline   = "failed"      // the last run failed; RetryRun or the next start of a host tries it again
	refusedPipeline  = "refused"     // the next run would shrink the set too much
	pausedPipeline   = "paused"
	overPipeline     = "cancelled" // for good
	removedPipeline  = "removed"   // registered, and not in the configuration
	endedPipeline    = "ended"     // its dates are over and exported; only late rows may come

	unregisteredPipeline = "unregistered" // in the configuration, and no host has run it yet
)

// preparedRun is a run whose data is at the destination, while the commit is requested.
const preparedRun = "prepared"

// View tells the state of pipelines and runs.
type View struct {
	*Runner
	serving bool
}

// View returns a view of the pipelines. serving is whether this host runs them: a run
// that the catalog has as running is interrupted otherwise.
func (r *Runner) View(serving bool) *View { return &View{Runner: r, serving: serving} }

// Pipelines describes all registered pipelines, configured or not.
func (v *View) Pipelines(ctx context.Context) ([]operation.PipelineStatus, error) {
	stored, err := v.o.Catalog.Pipelines(ctx)
	if err != nil {
		return nil, err
	}
	statuses := make([]operation.PipelineStatus, 0, len(stored))
	for _, p := range stored {
		s, err := v.status(ctx, p)
		if err != nil {
			return nil, err
		}
		statuses = append(statuses, s)
	}
	return statuses, nil
}

func (v *View) status(ctx context.Context, p *pipeline.Pipeline) (operation.PipelineStatus, error) {
	s := operation.PipelineStatus{
		Name: p.Name, ID: p.ID, Stream: p.Stream.String(), Destination: p.Destination,
		Phase: phase(p), Sequence: p.Cursor.Live.Seq, Runs: p.LastRun,
	}
	c := v.configured(p.Name)
	if c != nil {
		p.Definition = c.Definition()
	}
	seq, err := v.o.Catalog.Sequence(ctx, p.ProjectID)
	if err != nil {
		return s, err
	}
	s.Behind = seq - p.Cursor.Live.Seq
	runs, err := v.o.Catalog.Runs(ctx, p.ID, 2)
	if err != nil {
		return s, err
	}
	if len(runs) > 0 {
		last := v.Run(p.Name, runs[0])
		s.LastRun = &last
	}
	if pipeline.Replaced(p.Stream) {
		err = v.setStatus(ctx, p, c, runs, seq, &s)
	} else if s.Rows, s.Rejected, _, err = v.o.Catalog.ExportedTotals(ctx, p.ID); err == nil {
		if s.Changed, err = v.o.Catalog.ExportedChanges(ctx, p.ID); err == nil {
			s.BehindRows, err = unexported(ctx, v.o.Catalog, p)
		}
	}
	if err != nil {
		return s, err
	}
	if s.Backfill, err = v.backfill(ctx, p); err != nil {
		return s, err
	}
	if c != nil {
		if s.Outside, err = outside(ctx, v.o.Catalog, p); err != nil {
			return s, err
		}
	}
	s.LeftOut = p.Cursor.LeftOut.Rows
	s.State = pipelineState(p, c, &s)
	if s.State == activePipeline && p.Cursor.BackfillDone && s.BehindRows == 0 && p.Over(v.o.Now()) {
		s.State = endedPipeline
	}
	s.NextRunAt = nextRun(p, v.set.Load().schedule(p), &s, v.o.Now())
	v.addAttempt(&s)
	return s, err
}

// configured returns the block of a pipeline; nil: it is not in the configuration.
func (v *View) configured(name string) *config.Pipeline {
	if p := v.ByName(name); p != nil {
		return p.Config
	}
	return nil
}

// attempt returns the failed attempt that this host retries; nil: there is none.
func (v *View) attempt(name string) *attempt {
	if p := v.ByName(name); p != nil {
		return p.failed.Load()
	}
	return nil
}

// addAttempt adds the next attempt of a pipeline that a serving host retries, and
// the error of the last one if it belongs to no run.
func (v *View) addAttempt(s *operation.PipelineStatus) {
	a := v.attempt(s.Name)
	if a == nil || a.next.IsZero() || s.State != activePipeline && s.State != retryingPipeline {
		return
	}
	s.NextRunAt = &a.next
	if s.State == activePipeline {
		s.State, s.Error = retryingPipeline, a.err.Error()
	}
}

// pipelineState derives a pipeline's state from the configuration, from the
// catalog and from its last run.
func pipelineState(p *pipeline.Pipeline, c *config.Pipeline, s *operation.PipelineStatus) string {
	last := ""
	if s.LastRun != nil {
		last = s.LastRun.State
	}
	switch {
	case p.State == pipeline.Cancelled:
		return overPipeline
	case c == nil:
		return removedPipeline
	case c.Paused || p.State == pipeline.Paused:
		return pausedPipeline
	case last == preparedRun:
		return runningPipeline
	case last == failedPipeline || last == runningPipeline || last == retryingPipeline || last == stoppedPipeline:
		return last
	case s.Refused != "":
		return refusedPipeline
	}
	return activePipeline
}

// nextRun is when a host plans or resumes a run; nil when it does not. A time
// that has passed means that the run is due.
func nextRun(p *pipeline.Pipeline, schedule pipeline.Schedule, s *operation.PipelineStatus, now time.Time) *time.Time {
	switch s.State {
	case removedPipeline, pausedPipeline, overPipeline, failedPipeline, runningPipeline:
		return nil
	}
	if s.State == endedPipeline && p.LeaveLate {
		return nil
	}
	next := p.LookedAt
	if (s.State == activePipeline || s.State == endedPipeline) && p.Cursor.BackfillDone && p.LastRun > 0 {
		next = schedule.DueAt(p.LookedAt, now)
	}
	return &next
}

// setStatus adds the parts of a status that only a pipeline with a replaced set
// has. runs are its latest runs, and seq the journal's sequence.
func (v *View) setStatus(ctx context.Context, p *pipeline.Pipeline, c *config.Pipeline, runs []catalog.RunRecord, seq int64, s *operation.PipelineStatus) error {
	for _, r := range runs {
		if r.Receipt != nil {
			s.Rows, s.Rejected, s.Changed = r.Receipt.Rows, r.Receipt.Rejected, r.Receipt.Changed
			break
		}
	}
	g, err := v.o.Catalog.Generation(ctx, p.ProjectID, p.Stream)
	if err != nil {
		return err
	}
	if g == nil {
		g = &pipeline.Generation{}
	}
	changes, err := unfolded(ctx, v.Runner, p, g.Seq, seq)
	if err != nil {
		return err
	}
	s.BehindRows = pipeline.Sum(changes).Rows
	if len(runs) > 0 && !runs[0].State.Terminal() || g.Blob == "" {
		return nil
	}
	last, err := exported(ctx, v.o.Catalog, p)
	if err != nil {
		return err
	}
	if s.BehindRows == 0 && !unchanged(g, last, c != nil && c.AllowShrink) {
		s.BehindRows = g.Rows
	}
	s.Refused = v.refusal(p, g, last)
	return nil
}

// unfolded lists the extents that the next generation of a pipeline's set is made of.
func unfolded(ctx context.Context, r *Runner, p *pipeline.Pipeline, after, seq int64) (extents []pipeline.Extent, err error) {
	if known := r.ByName(p.Name); known != nil {
		extents, _, err = known.project.State(p.Stream).Unfolded(ctx, after, seq, math.MaxInt64)
	} else {
		extents, _, err = project.Unfolded(ctx, r.o.Catalog, p.ProjectID, p.Stream, after, seq, math.MaxInt64)
	}
	return extents, err
}

// unexported counts the rows in the journal that an events pipeline has yet to
// export.
func unexported(ctx context.Context, c *catalog.Catalog, p *pipeline.Pipeline) (rows int64, err error) {
	ahead := *p
	for {
		extents, cursor, _, err := next(ctx, c, &ahead, pipeline.Limits{Bytes: math.MaxInt64})
		if err != nil || len(extents) == 0 {
			return rows, err
		}
		rows += pipeline.Sum(extents).Rows
		ahead.Cursor = cursor
	}
}

// refusal says why a generation would not replace the set that a pipeline
// without an open run has exported last; "" when it would.
func (v *View) refusal(p *pipeline.Pipeline, g *pipeline.Generation, last pipeline.Generation) string {
	c := v.configured(p.Name)
	if _, err := pipeline.Replacement(p, g, last.Rows, c != nil && c.AllowShrink); err != nil {
		return err.Error()
	}
	return ""
}

// phase is a pipeline's phase in words.
func phase(p *pipeline.Pipeline) string {
	switch {
	case pipeline.Replaced(p.Stream):
		return "full set"
	case p.Cursor.BackfillDone:
		return "live"
	default:
		return "backfill"
	}
}

// Run describes a run as people see it. A run that the catalog has as running
// is only running while a host is: an attempt may have failed, or ended with
// its host.
func (v *View) Run(name string, r catalog.RunRecord) operation.RunStatus {
	totals := r.Totals()
	s := operation.RunStatus{
		Pipeline: name, Number: r.Number, State: string(r.State), Days: totals.Days,
		Rows: totals.Rows, Bytes: totals.Bytes, Fence: r.Fence, PlannedAt: r.PlannedAt, Error: r.Error, ErrorClass: r.ErrorClass, Attempts: r.Attempts,
	}
	if !r.StartedAt.IsZero() {
		s.StartedAt = &r.StartedAt
		if !r.FinishedAt.IsZero() {
			s.Seconds = r.FinishedAt.Sub(r.StartedAt).Seconds()
		}
	}
	switch {
	case r.ErrorClass == catalog.CancelledClass:
		s.State, s.ErrorClass = overPipeline, ""
	case r.State == pipeline.RunRunning && (!v.serving || r.Owner == "" && r.Error == ""):
		s.State = stoppedPipeline
	case r.State == pipeline.RunRunning && r.Error != "":
		s.State = retryingPipeline
		if a := v.attempt(name); a != nil && !a.next.IsZero() {
			s.RetryAt = &a.next
		}
	case r.State == pipeline.RunRunning && r.Prepared != nil:
		s.State = preparedRun
	}
	s.NeedsRecovery = r.State == pipeline.RunFailed && export.NeedsRecovery(r.Error)
	if r.Generation == nil && totals.Days > 0 {
		s.From, s.To = totals.From.String(), totals.To.String()
	}
	if !r.FinishedAt.IsZero() {
		s.FinishedAt = &r.FinishedAt
	}
	if r.Receipt != nil {
		s.Rejected, s.Changed, s.StoredBytes, s.LeftOut = r.Receipt.Rejected, r.Receipt.Changed, r.Receipt.StoredBytes, r.Receipt.LeftOut
		for _, p := range r.Receipt.Partitions {
			s.Objects = append(s.Objects, p.Objects...)
		}
	}
	return s
}
