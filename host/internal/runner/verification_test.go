package runner

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/destination"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/host/internal/verify"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// Rows that are sealed and exported during a comparison are not reported as rows
// that no run has.
func TestVerifyingDuringRuns(t *testing.T) {
	t.Parallel()
	h, source := folding(t)
	day, err := journal.ParseDay("2026-06-01")
	if err != nil {
		t.Fatal(err)
	}
	p := &config.Pipeline{
		Name: "events", Project: source.Config, Stream: batch.Events, From: day, To: day, Destination: &config.Destination{Type: "localfs", Name: "out"},
	}
	stored, err := h.o.Catalog.RegisterPipeline(t.Context(), p.Definition(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	v := &verification{
		Pipeline: pipelineOf(h, p), destination: &destination.Destination{Plugin: undescribed{}}, at: stored,
		request: operation.VerifyRequest{From: "2100-01-01"}, // the bytes of the journal are not read
	}
	compare := func() (in verify.Input, err error) {
		err = v.catalogued(t.Context(), &in)
		for date, j := range in.Journal {
			if j.Skipped > 0 || j.Twice > 0 {
				err = fmt.Errorf("%s, with %d runs: %+v", date, len(in.Runs), j)
			}
		}
		return in, err
	}
	committed, compared := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			_, err := compare()
			select {
			case <-committed:
			default:
				if err == nil {
					continue
				}
			}
			compared <- err
			return
		}
	}()
	const runs = 60
	for n := range runs {
		projecttest.SealOperations(t, source.Journal, n, n+1)
		commitNext(t, h)
	}
	close(committed)
	if err := <-compared; err != nil {
		t.Fatal(err)
	}
	in, err := compare()
	if j := in.Journal[day.String()]; err != nil || len(in.Runs) != runs || j.Rows != runs || j.Waiting != 0 {
		t.Errorf("at last: %d runs, %+v, %v", len(in.Runs), in.Journal, err)
	}
}

// commitNext plans the next run of pipeline "events" and commits it.
func commitNext(t *testing.T, h *Runner) {
	t.Helper()
	stored, err := h.o.Catalog.Pipeline(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	extents, cursor, _, err := next(t.Context(), h.o.Catalog, stored, pipeline.Limits{Bytes: math.MaxInt64})
	if err != nil {
		t.Fatal(err)
	}
	run := &pipeline.Run{Extents: extents, Next: cursor, Content: "c", PlannedAt: time.Now()}
	if err := h.o.Catalog.InsertRun(t.Context(), stored, run); err != nil {
		t.Fatal(err)
	}
	lease, err := h.o.Catalog.AcquireRun(t.Context(), stored.ID, run.Number, "test", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.o.Catalog.RecordReceipt(t.Context(), lease, pipeline.Receipt{}); err != nil {
		t.Fatal(err)
	}
}

// A journal that is not the one that the catalog describes repairs nothing.
func TestAJournalThatDoesNotOpenRepairsNothing(t *testing.T) {
	t.Parallel()
	r, p := folding(t)
	projecttest.SealOperations(t, p.Journal, 0, 1)
	other, err := disk.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := *r.o
	o.Projects = project.New(project.Options{
		Store: other, Catalog: o.Catalog, Now: time.Now, Log: o.Log, Observer: progress.Discard{},
	}, []*config.Project{p.Config})
	v := &verification{
		Pipeline: New(o, []*config.Pipeline{{Name: "events", Project: p.Config}}).All()[0], at: &pipeline.Pipeline{ID: "p"},
	}
	err = v.repair(t.Context(), &operation.Verification{}, &operation.RepairPlan{Record: true})
	if err == nil || !strings.Contains(err.Error(), "was blobs changed") {
		t.Errorf("got %v", err)
	}
	if err := o.Projects.Close(); err != nil {
		t.Error(err)
	}
}

// undescribed is a plugin that was not started.
type undescribed struct{ destination.Plugin }

func (undescribed) Description() protocol.Description { return protocol.Description{} }
