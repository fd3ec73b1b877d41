package runner

import (
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/sdk/batch"
)

// processorTime returns the time that the process has used of processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkThousandPipelines plans and records one run of each of 1,000 pipelines of one
// project, without a destination: it asks when the pipeline is due, plans, computes the
// content, takes the lease, records both receipts, and notes the iteration.
func BenchmarkThousandPipelines(b *testing.B) {
	const pipelines = 1000
	projects := []*config.Project{{Name: "shop", ID: 1, TimeZone: time.UTC}}
	stores := projecttest.Open(b, b.TempDir(), projects)
	now := time.Date(2026, 6, 10, 0, 0, 0, 0, time.UTC)
	o := Options{
		Catalog: stores.Catalog, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Observer: progress.Discard{},
	}
	o.Projects = project.New(project.Options{
		Dir: stores.Dir, Store: stores.Blobs, Spill: stores.Spill, Catalog: stores.Catalog, Now: o.Now, Log: o.Log, Observer: o.Observer,
	}, projects)
	source := o.Projects.All()[0]
	day, err := journal.ParseDay("2026-06-01") // of the rows
	if err != nil {
		b.Fatal(err)
	}
	var blocks []*config.Pipeline
	for n := range pipelines {
		blocks = append(blocks, &config.Pipeline{
			Name: fmt.Sprintf("events_%d", n), Project: projects[0], Stream: batch.Events, From: day, To: pipeline.Forever, MaxRun: 1 << 30,
			Schedule:    pipeline.Schedule{Cadence: pipeline.Daily, At: pipeline.DailyAt, Zone: time.UTC},
			Destination: &config.Destination{Type: "localfs", Name: fmt.Sprintf("out_%d", n)},
		})
	}
	tasks := New(o, blocks).Tasks()
	for _, task := range tasks {
		if _, err := o.Catalog.RegisterPipeline(b.Context(), task.Config.Definition(), nil, now); err != nil {
			b.Fatal(err)
		}
	}
	rows := 0
	for b.Loop() {
		projecttest.SealOperations(b, source.Journal, rows, rows+1)
		rows++
		now = now.AddDate(0, 0, 1)
		used := processorTime(b)
		for _, task := range tasks {
			if _, ok := task.Next(b.Context()); !ok {
				b.Fatal("a pipeline is not due")
			}
			bookkeep(b, task)
		}
		b.ReportMetric(float64(processorTime(b)-used)/float64(time.Millisecond)/pipelines, "ms-CPU/run")
	}
	if err := o.Projects.Close(); err != nil {
		b.Error(err)
	}
	if err := stores.Close(); err != nil {
		b.Error(err)
	}
}

// bookkeep plans the next run of a pipeline, and records it as done.
func bookkeep(b *testing.B, task *Iterations) {
	b.Helper()
	c := task.o.Catalog
	stored, err := task.stored(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if idle, err := isIdle(b.Context(), c, stored); idle || err != nil {
		b.Fatal(idle, err)
	}
	if open, err := c.OpenRun(b.Context(), stored.ID); open != nil || err != nil {
		b.Fatal(open, err)
	}
	extents, cursor, all, err := next(b.Context(), c, stored, pipeline.Limits{Bytes: 1 << 30})
	if err != nil || len(extents) == 0 || !all {
		b.Fatal(len(extents), all, err)
	}
	r := &resolved{Pipeline: task.Pipeline, stored: stored}
	run, err := r.plan(b.Context(), &pipeline.Run{Extents: extents, Next: cursor, AsOf: task.o.Now()}, false)
	if err != nil {
		b.Fatal(err)
	}
	lease, err := c.AcquireRun(b.Context(), stored.ID, run.Number, "bench", time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	receipt := pipeline.Receipt{Rows: run.Totals().Rows, Partitions: []pipeline.PartitionReceipt{{Date: "2026-06-01", Objects: []string{"object"}}}}
	for _, record := range []func() error{
		func() error { return c.RecordPrepared(b.Context(), lease, receipt) },
		func() error { return c.RecordReceipt(b.Context(), lease, receipt) },
		func() error { return task.noteLook(b.Context(), task.o.Now(), project.Mark{}) },
	} {
		if err := record(); err != nil {
			b.Fatal(err)
		}
	}
}
