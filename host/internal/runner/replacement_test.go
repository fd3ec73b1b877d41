package runner

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

// folding returns a runner of no pipelines with its stores, and its project.
func folding(t *testing.T) (*Runner, *project.Project) {
	t.Helper()
	dir := t.TempDir()
	store, err := disk.OpenDir(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	spill, err := disk.OpenDir(filepath.Join(dir, "spill"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(t.Context(), filepath.Join(dir, "catalog.db"), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RegisterProject(t.Context(), 1, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	set := project.New(project.Options{
		Store: store, Spill: spill, Catalog: c, Now: time.Now, Log: log, Observer: progress.Discard{},
	}, []*config.Project{{Name: "shop", ID: 1, TimeZone: time.UTC}})
	t.Cleanup(func() {
		if err := errors.Join(set.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	return New(Options{Projects: set, Catalog: c, Now: time.Now, Log: log, Observer: progress.Discard{}}, nil), set.All()[0]
}

// pipelineOf returns a pipeline of a runner's project.
func pipelineOf(r *Runner, c *config.Pipeline) *Pipeline {
	return New(*r.o, []*config.Pipeline{c}).All()[0]
}

// generationText returns the rows of a generation.
func generationText(t *testing.T, s *project.State, g *pipeline.Generation) string {
	t.Helper()
	var text strings.Builder
	err := s.Generations.Rows(t.Context(), g.Blob, func(row []byte) error {
		text.Write(row)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// sealOperations seals operations on some profiles, and as many events.
func sealOperations(t *testing.T, p *project.Project, from, to int) {
	t.Helper()
	w, err := p.Journal.Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var c journal.Chunk
	for n := from; n < to; n++ {
		o := schema.Operation{DistinctID: fmt.Sprint("u", n%7), Verb: schema.Append, Time: 1780315200000, Value: fmt.Appendf(nil, `{"n":%d}`, n)}
		for _, kind := range []journal.Kind{journal.KindProfiles, journal.KindEvents} {
			start := len(c.Data)
			c.Data = schema.AppendOperation(c.Data, o)
			row := c.Data[start:]
			c.Rows = append(c.Rows, journal.Row{
				Offset: start, Length: len(row), Time: 1780315200, Kind: kind, Key: schema.OperationKey(fmt.Append(nil, n, kind), row),
			})
		}
	}
	if err := errors.Join(w.Append(t.Context(), c), w.Seal(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// A generation that a run will export is kept, whatever is folded before it
// does.
func TestTheGenerationOfARunIsKept(t *testing.T) {
	t.Parallel()
	h, source := folding(t)
	s := source.People
	sealOperations(t, source, 0, 20)
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
	want := generationText(t, s, run.Generation)
	var middle, last *pipeline.Generation
	for n := range 2 {
		sealOperations(t, source, 20+10*n, 30+10*n)
		middle = last
		if last, err = s.Latest(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := generationText(t, s, run.Generation); got != want {
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
	sealOperations(t, source, 0, 20)
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
