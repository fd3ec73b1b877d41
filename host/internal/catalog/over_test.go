package catalog

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// written returns a pipeline without an end that has exported 2026-03-01 to 2026-03-20,
// and has a second run planned.
func written(t *testing.T, c *Catalog) (*pipeline.Pipeline, *pipeline.Run) {
	t.Helper()
	p := register(t, c, definition(t, "events", "2026-01-01", ""), lake("s3://a/x"))
	first := unplanned([]pipeline.Extent{{UTCDate: day(t, "2026-03-01")}, {UTCDate: day(t, "2026-03-20")}}, pipeline.Cursor{BackfillDone: true, To: pipeline.Forever})
	if err := c.InsertRun(t.Context(), p, first); err != nil {
		t.Fatal(err)
	}
	lease, err := c.AcquireRun(t.Context(), p.ID, 1, "host-1", time.Hour)
	if err == nil {
		err = c.RecordReceipt(t.Context(), lease, pipeline.Receipt{})
	}
	if err != nil {
		t.Fatal(err)
	}
	second := unplanned([]pipeline.Extent{{UTCDate: day(t, "2026-05-01"), Rows: 3}}, pipeline.Cursor{BackfillDone: true, To: pipeline.Forever})
	if err := c.InsertRun(t.Context(), reload(t, c), second); err != nil {
		t.Fatal(err)
	}
	return reload(t, c), second
}

// A pipeline that was cancelled keeps the dates that it wrote, and nothing revives it.
func TestACancelledPipelineIsOver(t *testing.T) {
	c := newCatalog(t)
	p, run := written(t, c)
	kept, err := c.CancelPipeline(t.Context(), "events")
	want := []Kept{{URI: "s3://a/x", Days: pipeline.Days{From: day(t, "2026-03-01"), To: day(t, "2026-03-20")}}}
	if err != nil || !reflect.DeepEqual(kept, want) {
		t.Fatalf("got %+v, %v, want %+v", kept, err, want)
	}
	record, err := c.Run(t.Context(), p.ID, run.Number)
	if err != nil || record.ErrorClass != CancelledClass || len(record.Extents) > 0 || record.FinishedAt.IsZero() {
		t.Errorf("the open run: %+v, %v", record, err)
	}
	if open, err := c.OpenRun(t.Context(), p.ID); err != nil || open != nil {
		t.Errorf("it has an open run: %+v, %v", open, err)
	}
	again, err := c.RetryFailed(t.Context(), p.ID)
	if again || err != nil || c.RetryRun(t.Context(), p.ID, run.Number) == nil {
		t.Errorf("the run is tried again: %t, %v", again, err)
	}
	for _, state := range []pipeline.State{pipeline.Active, pipeline.Paused} {
		if err := c.SetPipelineState(t.Context(), "events", state); !errors.Is(err, ErrCancelled) {
			t.Errorf("%s: got %v", state, err)
		}
	}
	if p := register(t, c, p.Definition, lake("s3://a/x")); p.State != pipeline.Cancelled {
		t.Errorf("registered again it is %s", p.State)
	}
	if after, err := c.Targets(t.Context(), p.ID); err != nil || !reflect.DeepEqual(after, want) {
		t.Errorf("registered again it keeps %+v, %v", after, err)
	}
	next := definition(t, "next", "2026-03-20", "")
	var taken *TargetTakenError
	if _, err := c.RegisterPipeline(t.Context(), next, lake("s3://a/x"), registeredAt); !errors.As(err, &taken) || taken.Apart {
		t.Errorf("the dates that it wrote are free: %v", err)
	}
	next.From++
	if _, err := c.RegisterPipeline(t.Context(), next, lake("s3://a/x"), registeredAt); !errors.As(err, &taken) || !taken.Apart {
		t.Errorf("the destination knows the pipeline that was there: %v", err)
	}
	next.Adopt = true
	register(t, c, next, lake("s3://a/x"))
}

// A pipeline that wrote nothing keeps nothing.
func TestACancelledPipelineThatWroteNothingFreesItsDates(t *testing.T) {
	c := newCatalog(t)
	register(t, c, definition(t, "events", "2026-01-01", ""), lake("s3://a/x"))
	if kept, err := c.CancelPipeline(t.Context(), "events"); err != nil || len(kept) > 0 {
		t.Errorf("got %+v, %v", kept, err)
	}
	register(t, c, definition(t, "next", "2026-01-01", ""), lake("s3://a/x"))
}

// withGap has the catalog hold a gap of a pipeline.
func withGap(t *testing.T, c *Catalog, p *pipeline.Pipeline) {
	t.Helper()
	_, err := c.write.ExecContext(t.Context(), `INSERT INTO pipeline_gaps (pipeline, row_count, from_day, to_day) VALUES (?, 1, ?, ?)`, p.ID, int64(p.From), int64(p.From))
	if err != nil {
		t.Fatal(err)
	}
}

// A forgotten pipeline is listed no more and its name is free. The dates that it wrote
// stay taken, and can be adopted.
func TestAForgottenPipelineKeepsItsDates(t *testing.T) {
	c := newCatalog(t)
	former, run := written(t, c)
	lease, err := c.AcquireRun(t.Context(), former.ID, run.Number, "host-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var begun *BegunError
	if _, err := c.ForgetPipeline(t.Context(), "events", false, registeredAt); !errors.As(err, &begun) || begun.Run != run.Number {
		t.Errorf("with a run that was begun: %v", err)
	}
	if err := c.RecordReceipt(t.Context(), lease, pipeline.Receipt{}); err != nil {
		t.Fatal(err)
	}
	withGap(t, c, former)
	f, err := c.ForgetPipeline(t.Context(), "events", false, registeredAt)
	days := pipeline.Days{From: day(t, "2026-03-01"), To: day(t, "2026-05-01")}
	if err != nil || f.ID != former.ID || f.Runs != 2 || !reflect.DeepEqual(f.Kept, []Kept{{URI: "s3://a/x", Days: days}}) {
		t.Errorf("got %+v, %v", f, err)
	}
	if n := count(t, c, `SELECT COUNT(*) FROM pipeline_gaps`); n != 0 {
		t.Errorf("%d gaps are left", n)
	}
	if _, err := c.Pipeline(t.Context(), "events"); !errors.Is(err, ErrUnknownPipeline) {
		t.Errorf("it is there: %v", err)
	}
	if all, err := c.Pipelines(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("it is listed: %+v, %v", all, err)
	}
	def := definition(t, "events", "2026-01-01", "")
	_, err = c.RegisterPipeline(t.Context(), def, lake("s3://a/x"), registeredAt)
	var taken *TargetTakenError
	if !errors.As(err, &taken) || taken.Days != days || !strings.Contains(err.Error(), "events (forgotten)") {
		t.Errorf("its dates: %v", err)
	}
	def.Adopt = true
	p := register(t, c, def, lake("s3://a/x"))
	if p.ID == former.ID || len(p.Cursor.Earlier) != 1 || p.Cursor.Earlier[0].Pipeline != former.ID {
		t.Errorf("adopted: %+v", p)
	}
}

// With emptied nothing of a pipeline is left, whatever became of its last run.
func TestAForgottenPipelineWithoutRowsLeavesNothing(t *testing.T) {
	c := newCatalog(t)
	p, run := written(t, c)
	if _, err := c.AcquireRun(t.Context(), p.ID, run.Number, "host-1", time.Hour); err != nil {
		t.Fatal(err)
	}
	withGap(t, c, p)
	if f, err := c.ForgetPipeline(t.Context(), "events", true, registeredAt); err != nil || len(f.Kept) > 0 || f.Runs != 2 {
		t.Errorf("got %+v, %v", f, err)
	}
	for _, table := range []string{"pipelines", "targets", "runs", "pipeline_gaps"} {
		if n := count(t, c, `SELECT COUNT(*) FROM `+table); n != 0 {
			t.Errorf("%d rows in %s", n, table)
		}
	}
	if _, err := c.ForgetPipeline(t.Context(), "events", true, registeredAt); !errors.Is(err, ErrUnknownPipeline) {
		t.Errorf("twice: %v", err)
	}
}
