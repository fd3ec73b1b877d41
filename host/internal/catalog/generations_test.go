package catalog

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

func TestGenerations(t *testing.T) {
	c, err := Open(t.Context(), filepath.Join(t.TempDir(), "catalog.db"), "host-1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.RegisterProject(t.Context(), 1, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	if g, err := c.Generation(t.Context(), 1, batch.People); g != nil || err != nil {
		t.Fatal(g, err)
	}
	first := &pipeline.Generation{Blob: "people/1/a", Seq: 3, Rows: 10, RowsBytes: 1000, Bytes: 100}
	second := &pipeline.Generation{Blob: "people/1/b", Seq: 5, Rows: 12, RowsBytes: 1200, Bytes: 120}
	third := &pipeline.Generation{Blob: "people/1/c", Seq: 7, Rows: 13, RowsBytes: 1300, Bytes: 130}
	if err := c.SetGeneration(t.Context(), 1, batch.People, nil, first); err != nil {
		t.Fatal(err)
	}
	for _, last := range []*pipeline.Generation{nil, second} {
		if err := c.SetGeneration(t.Context(), 1, batch.People, last, third); !errors.Is(err, ErrGenerationMoved) {
			t.Errorf("in the place of %v: %v", last, err)
		}
	}
	def := pipeline.Definition{Name: "people", ProjectID: 1, Stream: batch.People, Destination: "x.y", To: pipeline.Forever}
	p, err := c.RegisterPipeline(t.Context(), def, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	next, err := pipeline.Replacement(p, first, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	run := &pipeline.Run{Generation: first, Next: next, PlannedAt: time.Now(), AsOf: time.Now()}
	if err := c.InsertRun(t.Context(), p, run); err != nil {
		t.Fatal(err)
	}
	stored, err := c.OpenRun(t.Context(), p.ID)
	if err != nil || stored.Generation == nil || *stored.Generation != *first || stored.Totals().Rows != 10 {
		t.Fatalf("%+v, %v", stored, err)
	}
	// The generation of a run that is not done stays in use.
	for _, step := range [][2]*pipeline.Generation{{first, second}, {second, third}} {
		if err := c.SetGeneration(t.Context(), 1, batch.People, step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	inUse := func() (blobs []string) {
		used, err := c.Generations(t.Context(), 1, batch.People)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range used {
			blobs = append(blobs, g.Blob)
		}
		slices.Sort(blobs)
		return blobs
	}
	if got := inUse(); !slices.Equal(got, []string{first.Blob, third.Blob}) {
		t.Errorf("in use are %v", got)
	}
	lease, err := c.AcquireRun(t.Context(), p.ID, run.Number, "host-1", time.Minute)
	if err == nil {
		err = c.RecordReceipt(t.Context(), lease, pipeline.Receipt{Rows: 10})
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := inUse(); !slices.Equal(got, []string{third.Blob}) {
		t.Errorf("in use are %v", got)
	}
	if other, err := c.Generation(t.Context(), 1, batch.Identity); other != nil || err != nil {
		t.Error("identity has", other, err)
	}
}
