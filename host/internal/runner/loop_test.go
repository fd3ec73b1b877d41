package runner

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/plugin"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// later is when the pipelines of these tests are due again after a success.
const later = time.Hour

// repeated runs a repeater on a clock of its own, until steps is used up. Each
// step is the error of one attempt. It returns the pauses between attempts, and
// the attempts that were noted.
func repeated(t *testing.T, steps []error) (pauses []time.Duration, noted []*attempt) {
	t.Helper()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	due := now
	r := &repeater{
		due: func(context.Context) (time.Time, bool, error) { return due, true, nil },
		step: func(context.Context) error {
			err := steps[0]
			if steps = steps[1:]; err == nil {
				due = now.Add(later)
			}
			return err
		},
		note:   func(a *attempt) { noted = append(noted, a) },
		fails:  func() bool { return noted[len(noted)-1] != nil },
		now:    func() time.Time { return now },
		log:    slog.New(slog.DiscardHandler),
		pauses: lifecycle.Backoff{First: retryFirst, Limit: retryLimit},
	}
	for len(steps) > 0 {
		r.Run(t.Context())
		next, ok := r.Next(t.Context())
		if !ok {
			t.Fatal("it waits for a person")
		}
		pauses = append(pauses, next.Sub(now))
		now = next
	}
	return pauses, noted
}

// Pauses grow while a pipeline fails, up to a limit, and begin again after a
// success. The next attempt is noted when it really comes.
func TestARepeatersPausesGrow(t *testing.T) {
	t.Parallel()
	steps := make([]error, 14)
	for i := range steps {
		steps[i] = syscall.EIO
	}
	steps[12] = nil
	pauses, noted := repeated(t, steps)
	longest := retryFirst
	var at time.Time
	for i, pause := range pauses {
		if i == 12 {
			if noted[i] != nil || pause != later {
				t.Errorf("after a success: noted %+v, a pause of %s", noted[i], pause)
			}
			longest = retryFirst
			continue
		}
		if pause < longest/2 || pause > longest {
			t.Errorf("pause %d is %s, want %s to %s", i, pause, longest/2, longest)
		}
		if i > 0 && noted[i] != nil && noted[i-1] != nil {
			if got := noted[i].next.Sub(at); got != pause {
				t.Errorf("attempt %d is noted %s after the one before, and comes after %s", i, got, pause)
			}
		}
		if noted[i] == nil || !errors.Is(noted[i].err, syscall.EIO) {
			t.Fatalf("attempt %d is noted as %+v", i, noted[i])
		}
		at = noted[i].next
		longest = min(2*longest, retryLimit)
	}
}

// A destination's own pause is kept, and is the least.
func TestARepeaterWaitsAsLongAsAsked(t *testing.T) {
	t.Parallel()
	asked := &protocol.Error{Class: protocol.Retryable, RetryAfter: time.Hour, Err: syscall.EAGAIN}
	pauses, _ := repeated(t, []error{asked, syscall.EIO})
	if pauses[0] != time.Hour || pauses[1] > 2*retryFirst {
		t.Errorf("pauses of %s", pauses)
	}
}

// A pipeline that a person has run in between is due by its schedule, and its next failure
// is a first one.
func TestARepeaterForgetsFailuresThatAPersonHasEnded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	fails := true
	r := &repeater{
		due:    func(context.Context) (time.Time, bool, error) { return now.Add(time.Second), true, nil },
		step:   func(context.Context) error { return syscall.EIO },
		note:   func(*attempt) {},
		fails:  func() bool { return fails },
		now:    func() time.Time { return now },
		log:    slog.New(slog.DiscardHandler),
		pauses: lifecycle.Backoff{First: retryFirst, Limit: retryLimit},
	}
	for range 10 {
		r.Run(t.Context())
	}
	if at, _ := r.Next(t.Context()); at.Sub(now) < retryLimit/4 {
		t.Errorf("it is due in %s", at.Sub(now))
	}
	fails = false
	if at, _ := r.Next(t.Context()); at.Sub(now) != time.Second {
		t.Errorf("after a success it is due in %s", at.Sub(now))
	}
	fails = true
	r.Run(t.Context())
	if at, _ := r.Next(t.Context()); at.Sub(now) > retryFirst {
		t.Errorf("after the next failure it is due in %s", at.Sub(now))
	}
}

// A run that failed for good is not tried again, and no time is promised. A permanent
// error without such a run is looked for again, and the log says so.
func TestARepeaterPromisesOnlyWhatItDoes(t *testing.T) {
	t.Parallel()
	permanent := &protocol.Error{Class: protocol.Configuration, Err: syscall.EACCES}
	for _, fails := range []bool{true, false} {
		var said bytes.Buffer
		var noted *attempt
		ran := false
		r := &repeater{
			due:    func(context.Context) (time.Time, bool, error) { return time.Now(), !fails || !ran, nil },
			step:   func(context.Context) error { ran = true; return permanent },
			note:   func(a *attempt) { noted = a },
			fails:  func() bool { return noted != nil },
			now:    time.Now,
			log:    slog.New(slog.NewTextHandler(&said, nil)),
			pauses: lifecycle.Backoff{First: retryFirst, Limit: retryLimit},
		}
		r.Run(t.Context())
		next, again := r.Next(t.Context())
		if again == fails || noted == nil || noted.next.IsZero() != fails || again && !next.Equal(noted.next) {
			t.Errorf("run failed: %v: another attempt: %v, noted %+v", fails, again, noted)
		}
		if person := strings.Contains(said.String(), "waits for a person"); person != fails {
			t.Errorf("run failed: %v: it says %s", fails, said.String())
		}
	}
}

// A host that is stopped while it registers pipelines has no error: the call that was
// cut may return anything.
func TestStoppingWhilePipelinesAreRegisteredIsNoError(t *testing.T) {
	t.Parallel()
	r, p := folding(t)
	o := *r.o
	o.Destinations = destination.New(&config.Config{}, plugin.NewManager(plugin.Options{Dir: t.TempDir()}), o.Log)
	r = New(o, []*config.Pipeline{{
		Name: "events", Project: p.Config, Destination: &config.Destination{Type: "localfs", Name: "here"},
	}})
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("terminated"))
	if err := r.Begin(ctx); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// timed is a pipeline of events with a real catalog and journal, and a clock.
type timed struct {
	*Iterations
	runner *Runner
	t      *testing.T
	now    time.Time
}

func newTimed(t *testing.T, s pipeline.Schedule) *timed {
	t.Helper()
	r, source := folding(t)
	x := &timed{t: t, now: time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC)}
	o := *r.o
	o.Now = func() time.Time { return x.now }
	c := &config.Pipeline{
		Name: "events", Project: source.Config, Stream: batch.Events, To: pipeline.Forever, Schedule: s, MaxRun: 1 << 30,
		Destination: &config.Destination{Type: "localfs", Name: "here"},
	}
	x.runner = New(o, []*config.Pipeline{c})
	p := x.runner.All()[0]
	p.registered.Store(true)
	if _, err := o.Catalog.RegisterPipeline(t.Context(), c.Definition(), nil, x.now); err != nil {
		t.Fatal(err)
	}
	x.Iterations = newIterations(p)
	return x
}

// export seals a row and exports it at the clock's time, as a step does with a plugin.
func (x *timed) export() {
	x.t.Helper()
	_, lease := x.begun()
	if err := x.o.Catalog.RecordReceipt(x.t.Context(), lease, pipeline.Receipt{}); err != nil {
		x.t.Fatal(err)
	}
}

// begun seals a row, and plans and leases a run of it.
func (x *timed) begun() (*pipeline.Run, pipeline.Lease) {
	x.t.Helper()
	projecttest.SealOperations(x.t, x.project.Journal, int(x.now.Unix()), int(x.now.Unix())+1)
	stored, err := x.Pipeline.stored(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	extents, cursor, _, err := next(x.t.Context(), x.o.Catalog, stored, pipeline.Limits{Bytes: 1 << 30})
	if err != nil || len(extents) == 0 {
		x.t.Fatal(extents, err)
	}
	run := &pipeline.Run{Extents: extents, Next: cursor, Content: "c", PlannedAt: x.now}
	if err := x.o.Catalog.InsertRun(x.t.Context(), stored, run); err != nil {
		x.t.Fatal(err)
	}
	lease, err := x.o.Catalog.AcquireRun(x.t.Context(), stored.ID, run.Number, "test", time.Minute)
	if err != nil {
		x.t.Fatal(err)
	}
	return run, lease
}

// wantNext compares the time at which the pipeline is due, as the scheduler and as
// status have it.
func (x *timed) wantNext(what, want string) {
	x.t.Helper()
	at, ok := x.Next(x.t.Context())
	if !ok || at.Format(time.RFC3339) != want {
		x.t.Errorf("%s: due at %s, %v, want %s", what, at.Format(time.RFC3339), ok, want)
	}
	all, err := x.runner.View(true).Pipelines(x.t.Context())
	if err != nil || len(all) != 1 || all[0].NextRunAt == nil || all[0].NextRunAt.Format(time.RFC3339) != want {
		x.t.Errorf("%s: status has %+v, %v", what, all, err)
	}
}

// An iteration that finds nothing is one, also for the next host; a slot that passed
// while no host was running is made up for once.
func TestIterationsFollowTheSchedule(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt})
	x.export()
	x.wantNext("after the first run", "2026-06-11T00:30:00Z")
	x.now = time.Date(2026, 6, 11, 0, 30, 0, 0, time.UTC)
	x.wantNext("at its time", "2026-06-11T00:30:00Z")
	x.Run(t.Context()) // nothing to export: no plugin is needed
	x.wantNext("after an iteration without rows", "2026-06-12T00:30:00Z")
	x.Iterations = newIterations(x.Pipeline)
	x.wantNext("for the next host", "2026-06-12T00:30:00Z")

	x.now = time.Date(2026, 6, 20, 9, 0, 0, 0, time.UTC)
	x.wantNext("after days without a host", "2026-06-12T00:30:00Z")
	x.Run(t.Context())
	x.wantNext("once", "2026-06-21T00:30:00Z")

	x.now = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	x.Run(t.Context())
	x.now = time.Date(2026, 6, 20, 9, 10, 0, 0, time.UTC)
	x.wantNext("after the clock was years fast", "2026-06-20T09:10:00Z")
	x.Run(t.Context())
	x.wantNext("and was set right", "2026-06-21T00:30:00Z")
}

// The first run does not wait for the schedule. The pipeline is looked at rarely if
// there is nothing for long.
func TestTheFirstRunIsDueWhenThereAreRows(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt})
	for _, tt := range []struct{ age, pause time.Duration }{{0, 10 * time.Second}, {16 * time.Minute, 2 * time.Minute}, {24 * time.Hour, 5 * time.Minute}} {
		x.now = time.Date(2026, 6, 10, 12, 0, 0, 0, time.UTC).Add(tt.age)
		x.Run(t.Context())
		if at, ok := x.Next(t.Context()); !ok || at.Sub(x.now) != tt.pause {
			t.Errorf("at an age of %s: due in %s, %v", tt.age, at.Sub(x.now), ok)
		}
	}
	x.now = x.now.AddDate(0, 0, -1) // the clock is set back
	if at, ok := x.Next(t.Context()); !ok || at.Sub(x.now) != 10*time.Second {
		t.Errorf("with an earlier clock: due in %s, %v", at.Sub(x.now), ok)
	}
	x.now = x.now.AddDate(0, 0, 1)
	x.export()
	x.wantNext("after the first run", "2026-06-12T00:30:00Z")
}

// A look for the first rows holds until a row is sealed, an operation concerns the
// pipeline, or five minutes have passed: until then the catalog is not read, and so a
// pause that was noted there alone is not seen.
func TestALookForTheFirstRowsHolds(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt})
	state := func(s pipeline.State) {
		t.Helper()
		if err := x.o.Catalog.SetPipelineState(t.Context(), "events", s); err != nil {
			t.Fatal(err)
		}
	}
	for _, ends := range []struct {
		what string
		act  func()
	}{
		{"an operation", func() { x.woken.Store(true) }},
		{"five minutes", func() { x.now = x.now.Add(5 * time.Minute) }},
		{"a clock that is set back", func() { x.now = x.now.Add(-time.Minute) }},
		{"a seal", func() { projecttest.SealOperations(t, x.project.Journal, 1, 2) }},
	} {
		x.Run(t.Context())
		state(pipeline.Paused)
		x.now = x.now.Add(10 * time.Second)
		if at, ok := x.Next(t.Context()); !ok {
			t.Errorf("before %s: due at %s, %v", ends.what, at, ok)
		}
		x.Run(t.Context())
		if at, ok := x.Next(t.Context()); !ok || !at.After(x.now) {
			t.Errorf("before %s, after another look: due at %s, %v", ends.what, at, ok)
		}
		ends.act()
		if _, ok := x.Next(t.Context()); ok {
			t.Errorf("after %s the catalog was not read", ends.what)
		}
		state(pipeline.Active)
	}
}

// A look that fails is made again, although the one before it would still hold.
func TestALookThatFailsIsMadeAgain(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt})
	x.o.Destinations = destination.New(&config.Config{}, plugin.NewManager(plugin.Options{Dir: t.TempDir()}), x.o.Log)
	x.Run(t.Context())
	x.registered.Store(false) // the next look needs the plugin, and there is none
	x.woken.Store(true)
	for attempt := range 3 {
		x.Run(t.Context())
		if x.failed.Load() == nil {
			t.Errorf("attempt %d did not fail", attempt+1)
		}
		x.now = x.now.Add(10 * time.Second)
	}
}

// A continuous pipeline without new rows is not written to the catalog.
func TestAContinuousPipelineLooksInMemory(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Continuous, MinInterval: 5 * time.Minute})
	x.export()
	x.wantNext("after a run", "2026-06-10T12:05:00Z")
	x.now = x.now.Add(5 * time.Minute)
	x.Run(t.Context())
	if at, ok := x.Next(t.Context()); !ok || !at.Equal(x.now.Add(5*time.Minute)) {
		t.Errorf("due at %s, %v", at, ok)
	}
	stored, err := x.Pipeline.stored(t.Context())
	if err != nil || !stored.LookedAt.Equal(x.now.Add(-5*time.Minute)) {
		t.Errorf("looked at %s, %v", stored.LookedAt, err)
	}
}

// A pipeline that waits for a person is not due, and is due at once when the person has
// acted.
func TestPipelinesThatWaitForAPersonAreNotDue(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt})
	x.export()
	x.now = x.now.AddDate(0, 0, 2)
	for _, state := range []pipeline.State{pipeline.Paused, pipeline.Active} {
		if err := x.o.Catalog.SetPipelineState(t.Context(), "events", state); err != nil {
			t.Fatal(err)
		}
		if _, ok := x.Next(t.Context()); ok != (state == pipeline.Active) {
			t.Errorf("%s: due is %v", state, ok)
		}
		if state == pipeline.Paused {
			x.Run(t.Context()) // it was due, and had to wait for its turn until it was paused
		}
	}
	x.wantNext("after it was resumed", "2026-06-11T00:30:00Z")
}

// A run that failed for good waits for a person, or for a reload that changes the pipeline
// or its destination: the reason may be gone.
func TestAReloadTriesAFailedRunAgain(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt})
	run, lease := x.begun()
	if err := x.o.Catalog.RecordFailure(t.Context(), lease, "no permission", "configuration", true); err != nil {
		t.Fatal(err)
	}
	if _, ok := x.Next(t.Context()); ok {
		t.Error("a run that failed is due")
	}
	changed := *x.Config
	changed.MaxRun++
	o := *x.o
	o.Destinations = destination.New(&config.Config{}, plugin.NewManager(plugin.Options{Dir: t.TempDir()}), o.Log)
	r := New(o, []*config.Pipeline{x.Config})
	x.Iterations = Reload(r, []*config.Pipeline{&changed}).Added[0]
	x.registered.Store(true)
	if _, ok := x.Next(t.Context()); !ok {
		t.Error("it is not due after a reload")
	}
	paused := x.o.Catalog.SetPipelineState(t.Context(), "events", pipeline.Paused)
	x.Run(t.Context())
	stored, err := x.o.Catalog.OpenRun(t.Context(), run.PipelineID)
	if paused != nil || err != nil || stored.State != pipeline.RunFailed {
		t.Fatalf("a paused pipeline's run is %+v, %v, %v", stored, paused, err)
	}
	if err := x.o.Catalog.SetPipelineState(t.Context(), "events", pipeline.Active); err != nil {
		t.Fatal(err)
	}
	x.Run(t.Context()) // there is no plugin
	if stored, err = x.o.Catalog.OpenRun(t.Context(), run.PipelineID); err != nil || stored.State == pipeline.RunFailed {
		t.Errorf("it was not tried again: %+v, %v", stored, err)
	}
	if _, ok := x.Next(t.Context()); !ok || x.again.Load() {
		t.Errorf("due: %v, and again: %v", ok, x.again.Load())
	}
}

// A pipeline that has ended has no further run. Rows that it leaves out do not stay before
// its cursor, where retention would keep them for ever.
func TestAPipelineThatHasEndedPassesOverLateRows(t *testing.T) {
	t.Parallel()
	x := newTimed(t, pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt})
	x.export()
	x.Config.LeaveLate, x.Config.To = true, journal.DayOf(x.now.Unix())-5 // rows are of 1 June
	projecttest.SealOperations(t, x.project.Journal, 1, 4)
	x.now = time.Date(2026, 6, 11, 0, 30, 0, 0, time.UTC)
	done, err := x.CatchUp(t.Context(), 0) // there is no plugin
	if err != nil || done.Runs != 0 || done.LeftOut != 3 {
		t.Errorf("it has done %+v, %v", done, err)
	}
	if done, err = x.CatchUp(t.Context(), 0); err != nil || done.LeftOut != 0 {
		t.Errorf("it has done %+v again, %v", done, err)
	}
	stored, err := x.Pipeline.stored(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seq, err := x.o.Catalog.Sequence(t.Context(), stored.ProjectID)
	if err != nil || !stored.Cursor.Reached(seq) || stored.Cursor.LeftOut.Rows != 3 || stored.LastRun != 1 {
		t.Errorf("at %d: %+v, %v", seq, stored, err)
	}
	all, err := New(*x.o, []*config.Pipeline{x.Config}).View(true).Pipelines(t.Context())
	if err != nil || len(all) != 1 || all[0].NextRunAt != nil || all[0].State != endedPipeline {
		t.Errorf("status has %+v, %v", all, err)
	}
}
