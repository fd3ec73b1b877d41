package upkeep_test

import (
	"context"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
)

// emptyFirst is a store whose files were all written after it was listed first.
type emptyFirst struct {
	disk.Store
	listed bool
}

func (s *emptyFirst) List(ctx context.Context, dir string) ([]string, error) {
	if !s.listed {
		s.listed = true
		return nil, nil
	}
	return s.Store.List(ctx, dir)
}

// Files that a pass replaces while missing segments are looked for are not missing.
func TestFilesThatARewriteReplacesAreNotMissing(t *testing.T) {
	w := newWorld(t, 5)
	for range 20 {
		w.seal()
	}
	w.now = w.now.Add(30 * time.Hour)
	visits := 0
	loss, err := journal.Missing(t.Context(), &emptyFirst{Store: w.store}, project, func(ctx context.Context, fn func(journal.Segment) error) error {
		err := w.catalog.Segments(ctx, project, fn)
		if visits++; visits == 1 {
			if report, err := w.upkeep.Pass(ctx, 0); err != nil || report.Rewritten != 20 {
				t.Errorf("%d files were rewritten: %v", report.Rewritten, err)
			}
		}
		return err
	})
	if err != nil || loss != (journal.Loss{}) {
		t.Errorf("missing are %+v: %v", loss, err)
	}
	// One that is gone without a rewrite is missing.
	blobs, err := w.catalog.Blobs(t.Context(), project)
	if err != nil || len(blobs) != 1 {
		t.Fatalf("blobs: %v, %v", blobs, err)
	}
	if err := w.store.Delete(t.Context(), blobs[0]); err != nil {
		t.Fatal(err)
	}
	loss, err = journal.Missing(t.Context(), w.store, project, func(ctx context.Context, fn func(journal.Segment) error) error {
		return w.catalog.Segments(ctx, project, fn)
	})
	if err != nil || loss.Segments != 20 || loss.First != blobs[0] {
		t.Errorf("missing are %+v: %v", loss, err)
	}
}
