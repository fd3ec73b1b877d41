package runner

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/sdk/batch"
)

// folding returns a runner of no pipelines with its stores, and its project.
func folding(t *testing.T) (*Runner, *project.Project) {
	t.Helper()
	projects := []*config.Project{{Name: "shop", ID: 1, TimeZone: time.UTC}}
	stores, log := projecttest.Open(t, t.TempDir(), projects), slog.New(slog.DiscardHandler)
	set := project.New(project.Options{
		Dir: stores.Dir, Store: stores.Blobs, Spill: stores.Spill, Catalog: stores.Catalog, Now: time.Now, Log: log, Observer: progress.Discard{},
	}, projects)
	t.Cleanup(func() {
		if err := errors.Join(set.Close(), stores.Close()); err != nil {
			t.Error(err)
		}
	})
	return New(Options{Projects: set, Catalog: stores.Catalog, Now: time.Now, Log: log, Observer: progress.Discard{}}, nil), set.All()[0]
}

// pipelineOf returns a pipeline of a runner's project.
func pipelineOf(r *Runner, c *config.Pipeline) *Pipeline {
	return New(*r.o, []*config.Pipeline{c}).All()[0]
}

// A generation that a run will export is kept, whatever is folded before it
// does.
func TestTheGenerationOfARunIsKept(t *testing.T) {
	t.Parallel()
	h, source := folding(t)
	s := source.People
	projecttest.SealOperations(t, source.Journal, 0, 20)
	def := pipeline.Definition{Name: "people", ProjectID: 1, Stream: batch.People, Destination: "x.y", To: pipeline.Forever}
	stored, err := h.o.Catalog.RegisterPipeline(t.Context(), def, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := &resolved{Pipeline: pipelineOf(h, &config.Pipeline{Name: "people", Project: source.Config, Stream: batch.People}), stored: stored}
	run, err := r.replacement(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := projecttest.Text(t, s.Generations, run.Generation.Blob)
	var middle, last *pipeline.Generation
	for n := range 2 {
		projecttest.SealOperations(t, source.Journal, 20+10*n, 30+10*n)
		middle = last
		if last, err = s.Latest(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := projecttest.Text(t, s.Generations, run.Generation.Blob); got != want {
		t.Errorf("the run's generation is %s", got)
	}
	if err := s.Generations.Rows(t.Context(), middle.Blob, func([]byte) error { return nil }); err == nil {
		t.Error("a generation that is not used is kept")
	}
	lease, err := h.o.Catalog.AcquireRun(t.Context(), stored.ID, run.Number, "test", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.o.Catalog.RecordReceipt(t.Context(), lease, pipeline.Receipt{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Generations.Rows(t.Context(), run.Generation.Blob, func([]byte) error { return nil }); err == nil {
		t.Error("the generation of a run that is done is kept")
	}
}

// Operations that were collected before Mixpanel became the authority over profiles
// change nothing, and status says that nothing waits.
func TestOperationsUnderAnotherAuthorityDoNotWait(t *testing.T) {
	t.Parallel()
	r, source := folding(t)
	projecttest.SealOperations(t, source.Journal, 0, 20)
	def := pipeline.Definition{Name: "people", ProjectID: 1, Stream: batch.People, Destination: "x.y", To: pipeline.Forever}
	if _, err := r.o.Catalog.RegisterPipeline(t.Context(), def, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	c := &config.Pipeline{Name: "people", Project: source.Config, Stream: batch.People, Destination: &config.Destination{Type: "x", Name: "y"}, To: pipeline.Forever}
	for pulled, want := range map[bool]int64{false: 20, true: 0} {
		source.Config.ProfilesPulled = pulled
		found, err := New(*r.o, []*config.Pipeline{c}).View(false).Pipelines(t.Context())
		if err != nil || len(found) != 1 {
			t.Fatalf("%+v, %v", found, err)
		}
		if got := found[0].BehindRows; got != want {
			t.Errorf("profiles are pulled: %v: %d changes wait, want %d", pulled, got, want)
		}
	}
}
