package catalog

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

var registeredAt = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

func day(t *testing.T, s string) journal.Day {
	t.Helper()
	if s == "" {
		return pipeline.Forever
	}
	d, err := journal.ParseDay(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func definition(t *testing.T, name, from, to string) pipeline.Definition {
	t.Helper()
	return pipeline.Definition{
		Name: name, ProjectID: project, Stream: batch.Events, Destination: "s3.lake", From: day(t, from), To: day(t, to),
		Order: pipeline.Oldest, Schedule: pipeline.Schedule{Cadence: pipeline.Hourly}, MaxRunBytes: 1 << 30,
	}
}

func lake(uri string) []pipeline.Target {
	return []pipeline.Target{{ProjectID: project, Stream: batch.Events, URI: uri}}
}

func register(t *testing.T, c *Catalog, def pipeline.Definition, targets []pipeline.Target) *pipeline.Pipeline {
	t.Helper()
	p, err := c.RegisterPipeline(t.Context(), def, targets, registeredAt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPipelineIsRegisteredOnce(t *testing.T) {
	c := newCatalog(t)
	mustCommit(t, c, newSeal(1))
	mustCommit(t, c, newSeal(2))
	def := definition(t, "events", "2026-01-01", "")
	first := register(t, c, def, lake("s3://a/x"))
	if !regexp.MustCompile(`^[0-9a-z]{10}$`).MatchString(first.ID) {
		t.Errorf("id %q", first.ID)
	}
	want := &pipeline.Pipeline{Definition: def, ID: first.ID, State: pipeline.Active, Cursor: pipeline.NewCursor(2), CreatedAt: registeredAt}
	if !reflect.DeepEqual(first, want) {
		t.Errorf("got %+v, want %+v", first, want)
	}
	mustCommit(t, c, newSeal(3))
	// Properties that are not fixed follow the configuration; the rest is kept.
	def.Schedule, def.MaxRunBytes, def.Order, def.Paused = pipeline.Schedule{Cadence: pipeline.Daily}, 1<<20, pipeline.Newest, true
	want.Definition = def
	again, err := c.RegisterPipeline(t.Context(), def, lake("s3://a/x"), registeredAt.Add(time.Hour))
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("got %+v, %v, want %+v", again, err, want)
	}
	other := register(t, c, definition(t, "events-2", "2026-01-01", ""), lake("s3://a/y"))
	if other.ID == first.ID || other.Cursor.Cut != 3 {
		t.Errorf("a later pipeline has id %s and cursor %+v", other.ID, other.Cursor)
	}
	all, err := c.Pipelines(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "events" || all[1].Name != "events-2" || all[0].ID != first.ID {
		t.Errorf("got %+v, %v", all, err)
	}
	if n := count(t, c, `SELECT COUNT(*) FROM targets`); n != 2 {
		t.Errorf("%d targets are claimed", n)
	}
}

func TestFixedPropertiesDoNotChange(t *testing.T) {
	c := newCatalog(t)
	if err := c.RegisterProject(t.Context(), 8, "other", "UTC"); err != nil {
		t.Fatal(err)
	}
	register(t, c, definition(t, "events", "2026-01-01", "2026-06-30"), lake("s3://a/x"))
	before, err := c.Pipeline(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	for attribute, change := range map[string]func(*pipeline.Definition){
		"project":     func(d *pipeline.Definition) { d.ProjectID = 8 },
		"stream":      func(d *pipeline.Definition) { d.Stream = batch.People },
		"destination": func(d *pipeline.Definition) { d.Destination = "s3.other" },
		"from_date":   func(d *pipeline.Definition) { d.From++ },
	} {
		def := definition(t, "events", "2026-01-01", "2026-06-30")
		change(&def)
		def.Adopt = true // makes no difference
		_, err := c.RegisterPipeline(t.Context(), def, lake("s3://a/z"), registeredAt)
		var changed *pipeline.ChangedError
		if !errors.As(err, &changed) || changed.Attribute != attribute || changed.Pipeline != "events" {
			t.Errorf("%s: got %v", attribute, err)
		}
	}
	after, err := c.Pipeline(t.Context(), "events")
	if err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("got %+v, %v, want %+v", after, err, before)
	}
	if n := count(t, c, `SELECT COUNT(*) FROM targets`); n != 1 {
		t.Errorf("%d targets are claimed", n)
	}
}

func TestOverlappingDatesAtOneTargetAreRefused(t *testing.T) {
	tests := []struct {
		name     string
		from, to string // of the second; the first has 2026-03-01 to 2026-03-31, or is open-ended
		open     bool
		target   pipeline.Target
		refused  bool
	}{
		{"same dates", "2026-03-01", "2026-03-31", false, lake("s3://a/x/")[0], true},
		{"inside", "2026-03-10", "2026-03-11", false, lake("s3://a/x/")[0], true},
		{"around", "2026-01-01", "2026-12-31", false, lake("s3://a/x/")[0], true},
		{"the last day", "2026-03-31", "2026-04-30", false, lake("s3://a/x/")[0], true},
		{"the first day", "2026-02-01", "2026-03-01", false, lake("s3://a/x/")[0], true},
		{"open-ended from within", "2026-03-15", "", false, lake("s3://a/x/")[0], true},
		{"open-ended from before", "2026-01-01", "", false, lake("s3://a/x/")[0], true},
		{"the day before", "2026-02-01", "2026-02-28", false, lake("s3://a/x/")[0], false},
		{"the day after", "2026-04-01", "", false, lake("s3://a/x/")[0], false},
		{"after an open end", "2027-01-01", "2027-12-31", true, lake("s3://a/x/")[0], true},
		{"before an open end", "2026-02-01", "2026-02-28", true, lake("s3://a/x/")[0], false},
		{"another place", "2026-03-01", "2026-03-31", false, lake("s3://a/y/")[0], false},
		{"a directory in it", "2026-03-01", "2026-03-31", false, lake("s3://a/x/y/")[0], true},
		{"a directory that holds it", "2026-03-31", "", false, lake("s3://a/")[0], true},
		{"a directory with a longer name", "2026-03-01", "2026-03-31", false, lake("s3://a/xy/")[0], false},
		{"a file with its name", "2026-03-01", "2026-03-31", false, lake("s3://a/x")[0], false},
		{"another stream", "2026-03-01", "2026-03-31", false, pipeline.Target{ProjectID: project, Stream: batch.People, URI: "s3://a/x/"}, false},
		{"another project", "2026-03-01", "2026-03-31", false, pipeline.Target{ProjectID: 8, Stream: batch.Events, URI: "s3://a/x/"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCatalog(t)
			until := "2026-03-31"
			if tt.open {
				until = ""
			}
			register(t, c, definition(t, "first", "2026-03-01", until), lake("s3://a/x/"))
			second := definition(t, "second", tt.from, tt.to)
			// For other dates at the same target destinations want it: see TestATargetHasOnePipelineUnlessAnotherAdopts.
			second.Adopt = !tt.refused && tt.target == lake("s3://a/x/")[0]
			targets := []pipeline.Target{{ProjectID: project, Stream: batch.Events, URI: "s3://free"}, tt.target}
			_, err := c.RegisterPipeline(t.Context(), second, targets, registeredAt)
			if !tt.refused {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if c.TargetsTaken(t.Context(), second, targets) == nil {
				t.Error("no target is reported as taken")
			}
			days, _ := second.Days().Common(pipeline.Days{From: day(t, "2026-03-01"), To: day(t, until)})
			var taken *TargetTakenError
			if !errors.As(err, &taken) || *taken != (TargetTakenError{"second", tt.target.URI, "first", "s3://a/x/", batch.Events, days, false}) {
				t.Fatalf("got %v", err)
			}
			for _, said := range []string{"second", "first", tt.target.URI, "s3://a/x/", "the dates " + days.String() + " in common"} {
				if !strings.Contains(taken.Error(), said) {
					t.Errorf("%q is not said in %q", said, taken)
				}
			}
			if _, err := c.Pipeline(t.Context(), "second"); !errors.Is(err, ErrUnknownPipeline) {
				t.Errorf("a pipeline that was refused is registered: %v", err)
			}
			if n := count(t, c, `SELECT COUNT(*) FROM targets`); n != 1 {
				t.Errorf("%d targets are claimed", n)
			}
		})
	}
}

// A destination that was pointed elsewhere brings new targets: they are
// claimed, and the claims to the old ones, which hold rows, are kept.
func TestATargetThatMovedIsClaimed(t *testing.T) {
	c := newCatalog(t)
	def := definition(t, "events", "2026-01-01", "")
	register(t, c, def, lake("s3://a/x"))
	register(t, c, def, lake("s3://a/y"))
	for _, uri := range []string{"s3://a/x", "s3://a/y"} {
		_, err := c.RegisterPipeline(t.Context(), definition(t, "other", "2026-05-01", ""), lake(uri), registeredAt)
		var taken *TargetTakenError
		if !errors.As(err, &taken) || taken.Other != "events" {
			t.Errorf("%s: got %v", uri, err)
		}
	}
	register(t, c, definition(t, "third", "2026-05-01", ""), lake("s3://a/z"))
	_, err := c.RegisterPipeline(t.Context(), def, lake("s3://a/z"), registeredAt)
	var taken *TargetTakenError
	if !errors.As(err, &taken) || taken.Other != "third" {
		t.Errorf("moved to another pipeline's place: %v", err)
	}
}

// A pipeline that adopts takes a target over, and goes on where the other one stopped:
// the one that had it is refused from then on, unless it adopts in turn.
func TestAdoptTakesATargetOver(t *testing.T) {
	c := newCatalog(t)
	old := definition(t, "old", "2026-01-01", "")
	former := register(t, c, old, lake("s3://a/x"))
	passed := pipeline.Cursor{BackfillDone: true, Live: pipeline.Position{Seq: 5, Index: 2}, To: pipeline.Forever}
	if err := c.MoveCursor(t.Context(), former, passed); err != nil {
		t.Fatal(err)
	}
	next := definition(t, "new", "2026-01-01", "")
	if _, err := c.RegisterPipeline(t.Context(), next, lake("s3://a/x"), registeredAt); err == nil {
		t.Fatal("the target was given away")
	}
	next.Adopt = true
	if err := c.TargetsTaken(t.Context(), next, lake("s3://a/x")); err != nil {
		t.Errorf("adopting is reported as refused: %v", err)
	}
	adopted := register(t, c, next, lake("s3://a/x"))
	want := []pipeline.Exported{{Pipeline: former.ID, From: old.From, To: pipeline.Forever, Cursor: passed}}
	for _, adopt := range []bool{false, true} { // and once is enough
		next.Adopt = adopt
		again := register(t, c, next, lake("s3://a/x"))
		if again.ID != adopted.ID || !reflect.DeepEqual(again.Cursor.Earlier, want) {
			t.Errorf("got %+v, then %+v, want the part %+v", adopted, again, want)
		}
	}
	_, err := c.RegisterPipeline(t.Context(), old, lake("s3://a/x"), registeredAt)
	var taken *TargetTakenError
	if !errors.As(err, &taken) || taken.Other != "new" {
		t.Errorf("the one that had it: %v", err)
	}
	// The dates of the former one stay taken for a third.
	_, err = c.RegisterPipeline(t.Context(), definition(t, "third", "2026-01-01", "2026-01-31"), lake("s3://a/x"), registeredAt)
	if !errors.As(err, &taken) {
		t.Errorf("a third one: %v", err)
	}
	old.Adopt = true
	if in := register(t, c, old, lake("s3://a/x")); len(in.Cursor.Earlier) != 1 || in.Cursor.Earlier[0].Pipeline != adopted.ID {
		t.Errorf("adopted in turn: %+v", in.Cursor)
	}
	// Dates that do not overlap stay whose they are.
	past := definition(t, "past", "2025-01-01", "2025-12-31")
	past.Adopt = true
	if in := register(t, c, past, lake("s3://a/x")); len(in.Cursor.Earlier) != 0 {
		t.Errorf("adopted other dates: %+v", in.Cursor)
	}
	register(t, c, old, lake("s3://a/x"))
	if n := count(t, c, `SELECT COUNT(*) FROM targets`); n != 3 {
		t.Errorf("%d claims", n)
	}
}

// Destinations refuse a second pipeline at a target that does not adopt, whatever its
// dates are: it is refused before it is registered. One that is there already stays, and
// a place within the other's is another target.
func TestATargetHasOnePipelineUnlessAnotherAdopts(t *testing.T) {
	c := newCatalog(t)
	if err := c.RegisterProject(t.Context(), 8, "other", "UTC"); err != nil {
		t.Fatal(err)
	}
	first := definition(t, "first", "2026-01-01", "2026-01-31")
	register(t, c, first, lake("s3://a/x/"))
	second := definition(t, "second", "2026-02-01", "")
	_, err := c.RegisterPipeline(t.Context(), second, lake("s3://a/x/"), registeredAt)
	for _, err := range []error{err, c.TargetsTaken(t.Context(), second, lake("s3://a/x/"))} {
		var taken *TargetTakenError
		if !errors.As(err, &taken) || !taken.Apart || taken.Other != "first" || !strings.Contains(err.Error(), "adopt = true") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Pipeline(t.Context(), "second"); !errors.Is(err, ErrUnknownPipeline) {
		t.Errorf("it was registered: %v", err)
	}
	register(t, c, definition(t, "inner", "2026-02-01", ""), lake("s3://a/x/y/"))

	foreign := definition(t, "foreign", "2026-02-01", "")
	foreign.ProjectID, foreign.Adopt = 8, true
	_, err = c.RegisterPipeline(t.Context(), foreign, []pipeline.Target{{ProjectID: 8, Stream: batch.Events, URI: "s3://a/x/"}}, registeredAt)
	var refused *AdoptError
	if !errors.As(err, &refused) {
		t.Errorf("another project's: %v", err)
	}

	second.Adopt = true
	second.From = day(t, "2027-02-01") // the dates of inner are not its own
	if in := register(t, c, second, lake("s3://a/z/")); len(in.Cursor.Earlier) != 0 {
		t.Errorf("%+v", in.Cursor)
	}
	for _, def := range []pipeline.Definition{first, second} {
		def.Adopt = false
		target := map[string]string{"first": "s3://a/x/", "second": "s3://a/z/"}[def.Name]
		register(t, c, def, lake(target)) // at the next start
	}
}

// A target is not adopted from a pipeline whose run may be there or not, nor from another
// project; and a run that is open when its pipeline adopts does not undo that.
func TestAdoptNeedsToKnowWhatIsThere(t *testing.T) {
	c := newCatalog(t)
	if err := c.RegisterProject(t.Context(), 8, "other", "UTC"); err != nil {
		t.Fatal(err)
	}
	former := register(t, c, definition(t, "old", "2026-01-01", ""), lake("s3://a/x"))
	passed := pipeline.Cursor{BackfillDone: true, Live: pipeline.Position{Seq: 5}, To: pipeline.Forever}
	if err := c.InsertRun(t.Context(), former, unplanned(nil, passed)); err != nil {
		t.Fatal(err)
	}
	lease, err := c.AcquireRun(t.Context(), former.ID, 1, "host-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	next := definition(t, "new", "2026-01-01", "")
	next.Adopt = true
	refused := func(def pipeline.Definition, targets []pipeline.Target, said string) {
		t.Helper()
		_, err := c.RegisterPipeline(t.Context(), def, targets, registeredAt)
		for _, err := range []error{err, c.TargetsTaken(t.Context(), def, targets)} {
			var adopt *AdoptError
			if !errors.As(err, &adopt) || !strings.Contains(adopt.Error(), said) {
				t.Errorf("got %v, want that %q", err, said)
			}
		}
	}
	refused(next, lake("s3://a/x"), "its run 1 was begun and is not done")
	if err := c.RecordReceipt(t.Context(), lease, pipeline.Receipt{}); err != nil {
		t.Fatal(err)
	}
	foreign := next
	foreign.Name, foreign.ProjectID = "foreign", 8
	refused(foreign, []pipeline.Target{{ProjectID: 8, Stream: batch.Events, URI: "s3://a/x"}}, "another project")

	next.Adopt = false
	p := register(t, c, next, lake("s3://a/y"))
	if err := c.InsertRun(t.Context(), p, unplanned(nil, pipeline.NewCursor(9))); err != nil {
		t.Fatal(err)
	}
	next.Adopt = true
	register(t, c, next, append(lake("s3://a/x"), lake("s3://a/y")...))
	if lease, err = c.AcquireRun(t.Context(), p.ID, 1, "host-1", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := c.RecordReceipt(t.Context(), lease, pipeline.Receipt{}); err != nil {
		t.Fatal(err)
	}
	after, err := c.Pipeline(t.Context(), "new")
	if err != nil || after.Cursor.Cut != 9 || len(after.Cursor.Earlier) != 1 || after.Cursor.Earlier[0].Cursor.Live.Seq != 5 {
		t.Errorf("after the run that was open: %+v, %v", after, err)
	}
}

// The last date may change: the claims follow it, and keep the dates that were written.
func TestTheLastDateMayChange(t *testing.T) {
	c := newCatalog(t)
	def := definition(t, "events", "2026-03-01", "2026-03-31")
	p := register(t, c, def, lake("s3://a/x"))
	run := unplanned([]pipeline.Extent{{UTCDate: day(t, "2026-03-20")}}, pipeline.Cursor{BackfillDone: true})
	if err := c.InsertRun(t.Context(), p, run); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ to, free string }{
		{"2026-04-30", "2026-05-01"}, {"2026-03-10", "2026-03-21"}, {"", ""}, {"2026-03-25", "2026-03-26"},
	} {
		def.To = day(t, tt.to)
		register(t, c, def, lake("s3://a/x"))
		if stored, err := c.Pipeline(t.Context(), "events"); err != nil || stored.To != def.To {
			t.Errorf("to %s: got %+v, %v", tt.to, stored, err)
		}
		var taken *TargetTakenError
		last := pipeline.Forever
		if tt.free != "" {
			last = day(t, tt.free) - 1
			if err := c.TargetsTaken(t.Context(), definition(t, "next", tt.free, ""), lake("s3://a/x")); !errors.As(err, &taken) || !taken.Apart {
				t.Errorf("to %s: %v", tt.to, err)
			}
		}
		other := definition(t, "next", "2026-03-01", "")
		other.From = min(last, day(t, "2026-12-31"))
		if err := c.TargetsTaken(t.Context(), other, lake("s3://a/x")); !errors.As(err, &taken) || taken.Apart {
			t.Errorf("to %s: %s is free: %v", tt.to, other.From, err)
		}
	}
	next := definition(t, "next", "2026-04-01", "")
	next.Adopt = true
	register(t, c, next, lake("s3://a/x"))
	def.To = day(t, "2026-04-01")
	var taken *TargetTakenError
	if _, err := c.RegisterPipeline(t.Context(), def, lake("s3://a/x"), registeredAt); !errors.As(err, &taken) || taken.Days.String() != "2026-04-01" {
		t.Errorf("into another pipeline's dates: %v", err)
	}
	if stored, err := c.Pipeline(t.Context(), "events"); err != nil || stored.To == def.To {
		t.Errorf("a change that was refused is there: %+v, %v", stored, err)
	}
}

// Two processes register pipelines at once: of two that overlap one is registered,
// and a name gets one id.
func TestRegistrationsRace(t *testing.T) {
	c := pair(t)
	for round := range 20 {
		var wg sync.WaitGroup
		uri := fmt.Sprintf("s3://a/%d", round)
		errs, ids := make([]error, 4), make([]string, 4)
		for i := range errs {
			wg.Go(func() {
				// Two of one name and two of another.
				def := definition(t, fmt.Sprintf("pipeline-%d-%d", round, i/2), "2026-01-01", "")
				p, err := c[i%2].RegisterPipeline(t.Context(), def, lake(uri), registeredAt)
				if errs[i] = err; err == nil {
					ids[i] = p.ID
				}
			})
		}
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 2
		}
		var taken *TargetTakenError
		if errs[winner] != nil || errs[winner+1] != nil || ids[winner] != ids[winner+1] ||
			!errors.As(errs[2-winner], &taken) || !errors.As(errs[3-winner], &taken) {
			t.Fatalf("errors %q, ids %q", errs, ids)
		}
	}
}

func TestAPipelineIsPausedByName(t *testing.T) {
	c := newCatalog(t)
	register(t, c, definition(t, "events", "2026-01-01", ""), nil)
	for _, state := range []pipeline.State{pipeline.Paused, pipeline.Active} {
		if err := c.SetPipelineState(t.Context(), "events", state); err != nil {
			t.Fatal(err)
		}
		if p, err := c.Pipeline(t.Context(), "events"); err != nil || p.State != state {
			t.Errorf("got %+v, %v, want %s", p, err, state)
		}
		if p := register(t, c, definition(t, "events", "2026-01-01", ""), nil); p.State != state {
			t.Errorf("registered again it is %s, want %s", p.State, state)
		}
	}
	if err := c.SetPipelineState(t.Context(), "nothing", pipeline.Paused); !errors.Is(err, ErrUnknownPipeline) {
		t.Errorf("got %v", err)
	}
	if err := c.SetPipelineState(t.Context(), "events", "half"); err == nil {
		t.Error("any state is taken")
	}
}
