package upkeep_test

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/upkeep"
	"github.com/penstock-io/penstock/sdk/batch"
)

// pass makes a pass and returns how many rows are left.
func (w *world) pass() (operation.Upkeep, int) {
	w.t.Helper()
	report, err := w.upkeep.Pass(w.t.Context(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return report, len(w.held(journal.KindEvents))
}

// A clock that is years ahead for some days removes nothing, also over restarts.
func TestAClockFarAheadRemovesNothing(t *testing.T) {
	for name, earlier := range map[string]bool{"there was a pass": true, "there was none": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			for range 5 {
				w.seal()
			}
			all := len(w.held(journal.KindEvents))
			if earlier {
				w.pass()
			}
			right := w.now
			w.now = right.AddDate(3, 0, 0)
			for range 6 {
				if report, left := w.pass(); left != all || report.AheadSince.IsZero() {
					t.Fatalf("%d of %d rows are left; the clock is ahead since %v", left, all, report.AheadSince)
				}
				w.now = w.now.AddDate(0, 0, 1)
				w.restart()
			}
			w.now = right.Add(time.Hour)
			if report, left := w.pass(); left != all || !report.AheadSince.IsZero() || !report.CountedTo.Equal(w.now) {
				t.Errorf("with the right clock %d of %d rows are left; %+v", left, all, report)
			}
		})
	}
}

// A host that was stopped for years removes old rows a week after its start.
func TestAHostThatWasStoppedForYearsRemovesRows(t *testing.T) {
	w := newWorld(t, 3)
	for range 5 {
		w.seal()
	}
	w.pass()
	w.now = w.now.AddDate(3, 0, 0)
	for day := 0; ; day++ {
		report, left := w.pass()
		if stats, err := w.upkeep.Stats(t.Context()); err != nil || left == 0 && stats[0].Due.Rows > 0 {
			t.Errorf("stats: %+v, %v", stats, err)
		}
		if left == 0 && day == 7 && report.AheadSince.IsZero() {
			return
		}
		if left == 0 || day == 7 {
			t.Fatalf("after %d days %d rows are left: %+v", day, left, report)
		}
		w.now = w.now.AddDate(0, 0, 1)
	}
}

// A pipeline that is configured, and whose destination could not be asked yet, keeps the
// rows of its dates; so does one whose to_date was set later, and not registered yet.
func TestConfiguredPipelinesKeepRowsBeforeTheyAreRegistered(t *testing.T) {
	w := newWorld(t, 4)
	for range 30 {
		w.seal()
	}
	first := journal.DayOf(w.now.Unix())
	def := pipeline.Definition{Name: "shop_events", ProjectID: project, Stream: batch.Events, Destination: "localfs.out", From: first - 3, To: first}
	configured := []pipeline.Definition{def, {Name: "other", ProjectID: project + 1, Stream: batch.Events, To: pipeline.Forever}}
	w.upkeep = upkeep.New(upkeep.Options{
		Projects: func() []upkeep.Project { return []upkeep.Project{{ID: project, Name: "shop", Reader: w.reader}} }, Store: w.store, Catalog: w.catalog, Retention: func() time.Duration { return retention },
		Configured: func() []pipeline.Definition { return configured }, Now: w.clock, Wait: noWait, Log: discard,
	})
	w.now = w.now.AddDate(0, 0, 40)
	kept := func(to journal.Day) (n int) {
		for _, day := range w.rows {
			if day >= first-3 && day <= to {
				n++
			}
		}
		return n
	}
	w.pass()
	if found, want := len(w.held(journal.KindEvents)), kept(first); found < want || found == len(w.rows) || want == 0 {
		t.Fatalf("%d rows are left, the pipeline's are %d", found, want)
	}
	stats, err := w.upkeep.Stats(t.Context())
	if want := "pipeline shop_events, which is configured and could not be registered yet"; err != nil || len(stats[0].Held) != 1 || stats[0].Held[0].Holder != want {
		t.Errorf("rows are held by %+v, want %s: %v", stats[0].Held, want, err)
	}
	// It is registered with fewer dates, exports them, and gets more.
	def.To = first - 2
	p, err := w.catalog.RegisterPipeline(t.Context(), def, nil, w.now)
	if err != nil {
		t.Fatal(err)
	}
	x := &exporter{name: def.Name, gone: map[string]bool{}, got: map[string]int{}, from: def.From, to: def.To}
	for w.step(x) {
	}
	w.pass()
	if found, want := len(w.held(journal.KindEvents)), kept(first)-kept(first-2); found < want || want == 0 {
		t.Errorf("%d rows are left, those of the pipeline's later dates are %d", found, want)
	}
	def.To = first
	if _, err := w.catalog.RegisterPipeline(t.Context(), def, nil, w.now); err != nil {
		t.Fatal(err)
	}
	for x.to = def.To; w.step(x); {
	}
	if found := len(x.got); found != kept(first) {
		t.Errorf("%d rows were exported of %d", found, kept(first))
	}
	if gap, err := w.catalog.PipelineGap(t.Context(), p.ID); err != nil || gap != (catalog.Gap{}) {
		t.Errorf("the gap is %+v: %v", gap, err)
	}
	if _, left := w.pass(); left != 0 {
		t.Errorf("%d rows are left", left)
	}
}

// Rows that retention removed while their dates were not a pipeline's are told when it
// gets the dates; those that an adopted pipeline has exported are not.
func TestRowsThatWereRemovedBeforeALaterToDateAreTold(t *testing.T) {
	w := newWorld(t, 6)
	for range 30 {
		w.seal()
	}
	first := journal.DayOf(w.now.Unix())
	count := func(from, to journal.Day) (n int64) {
		for _, day := range w.rows {
			if day >= from && day <= to {
				n++
			}
		}
		return n
	}
	register := func(name string, to journal.Day, adopt bool) catalog.Gap {
		t.Helper()
		def := pipeline.Definition{Name: name, ProjectID: project, Stream: batch.Events, Destination: "localfs.out", From: first - 3, To: to, Adopt: adopt}
		p, err := w.catalog.RegisterPipeline(t.Context(), def, []pipeline.Target{{URI: "file:///out/", ProjectID: project, Stream: batch.Events}}, w.now)
		if err != nil {
			t.Fatal(err)
		}
		gap, err := w.catalog.PipelineGap(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		return gap
	}
	register("a", first-2, false)
	x := &exporter{name: "a", gone: map[string]bool{}, got: map[string]int{}, from: first - 3, to: first - 2}
	for w.step(x) {
	}
	w.now = w.now.AddDate(0, 0, 40)
	if _, left := w.pass(); left != 0 {
		t.Fatalf("%d rows are left", left)
	}
	// The destination has lost all runs.
	p, err := w.catalog.Pipeline(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if gap, err := w.catalog.RestartGap(t.Context(), p, catalog.Restart{}); err != nil || gap.Rows != count(first-3, first-2) || gap.Rows == 0 {
		t.Errorf("a restart lacks %+v, want %d rows: %v", gap, count(first-3, first-2), err)
	}
	if gap, err := w.catalog.RestartGap(t.Context(), p, catalog.Restart{Agreed: p.Committed.Number}); err != nil || gap.Rows != 0 {
		t.Errorf("a restart after the last run lacks %+v: %v", gap, err)
	}
	for range 2 { // the second start of a host finds no more
		if gap, want := register("a", first, false), (catalog.Gap{Rows: count(first-1, first), From: first - 1, To: first}); gap != want || gap.Rows == 0 {
			t.Errorf("the gap is %+v, want %+v", gap, want)
		}
	}
	if _, err := w.catalog.CancelPipeline(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if gap, want := register("b", first, true), count(first-1, first); gap.Rows != want {
		t.Errorf("after an adoption the gap is %+v, want %d rows", gap, want)
	}
}
