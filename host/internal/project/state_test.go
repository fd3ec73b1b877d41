package project

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/project/projecttest"
	"github.com/penstock-io/penstock/sdk/batch"
)

// folding returns a project with all its stores.
func folding(t *testing.T) (*Set, *Project) {
	t.Helper()
	projects := []*config.Project{{Name: "shop", ID: 1, TimeZone: time.UTC}}
	stores := projecttest.Open(t, t.TempDir(), projects)
	set := New(Options{
		Dir: stores.Dir, Store: stores.Blobs, Spill: stores.Spill, Catalog: stores.Catalog,
		Now: time.Now, Log: slog.New(slog.DiscardHandler), Observer: progress.Discard{},
	}, projects)
	t.Cleanup(func() {
		if err := errors.Join(set.Close(), stores.Close()); err != nil {
			t.Error(err)
		}
	})
	return set, set.All()[0]
}

// latest folds all sealed rows.
func latest(t *testing.T, s *State) *pipeline.Generation {
	t.Helper()
	g, err := s.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A backlog is folded in parts, each of which is kept, and the result is that of
// one fold.
func TestABacklogIsFoldedInParts(t *testing.T) {
	t.Parallel()
	set, p := folding(t)
	s := p.People
	for n := range 6 {
		projecttest.SealOperations(t, p.Journal, 10*n, 10*n+10)
	}
	extents, to, err := s.Unfolded(t.Context(), 1, 6, 1)
	if err != nil || to != 2 || len(extents) != 1 || extents[0].Rows != 10 {
		t.Errorf("%+v up to %d, %v", extents, to, err)
	}
	s.limit = 1
	folds := 0
	inner := s.fold
	s.fold = func(ctx context.Context, last *pipeline.Generation, seq int64, blocks func(context.Context, func(journal.Block) error) error) (*pipeline.Generation, error) {
		folds++
		return inner(ctx, last, seq, blocks)
	}
	parts, err := s.Latest(t.Context())
	if err != nil || folds != 6 {
		t.Fatalf("%d folds, %v", folds, err)
	}
	if stored, err := set.shared.Catalog.Generation(t.Context(), 1, batch.People); err != nil || *stored != *parts || stored.Seq != 6 {
		t.Errorf("the catalog has %+v, %v", stored, err)
	}
	extents, _, err = s.Unfolded(t.Context(), 0, 6, foldBytes)
	if err != nil {
		t.Fatal(err)
	}
	s.limit = foldBytes
	once, err := s.advance(t.Context(), nil, 6)
	if err != nil || *once != *parts || len(extents) != 6 {
		t.Errorf("at once: %+v, %v, want %+v", once, err, parts)
	}
	if want := `{"distinct_id":"u3","properties":{"n":[3,10,17,24,31,38,45,52,59]}}`; !strings.Contains(projecttest.Text(t, s.Generations, once.Blob), want) {
		t.Errorf("%s is missing in %s", want, projecttest.Text(t, s.Generations, once.Blob))
	}
}

// A seal without operations moves the generation on, and nothing is written.
func TestNothingToFold(t *testing.T) {
	t.Parallel()
	_, p := folding(t)
	s := p.People
	projecttest.SealOperations(t, p.Journal, 0, 20)
	first := latest(t, s)
	if again, err := s.Latest(t.Context()); err != nil || *again != *first {
		t.Errorf("%+v, %v", again, err)
	}
	w, err := p.Journal.Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := rowOf(1)
	if err := errors.Join(w.Append(t.Context(), c), w.Seal(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.fold = nil
	next, err := s.Latest(t.Context())
	if err != nil || next.Seq != 2 || next.Blob != first.Blob {
		t.Errorf("%+v, %v", next, err)
	}
}

// A fold that replaces a generation during its verification is not a corruption;
// files that are gone without a fold are.
func TestVerifyingDuringAFold(t *testing.T) {
	t.Parallel()
	set, p := folding(t)
	s := p.People
	projecttest.SealOperations(t, p.Journal, 0, 20)
	first := latest(t, s)
	projecttest.SealOperations(t, p.Journal, 20, 30)
	second, err := s.Latest(t.Context())
	if err != nil || second.Blob == first.Blob {
		t.Fatalf("%+v, %v", second, err)
	}
	var report operation.JournalReport
	next, err := verifyState(t.Context(), set.shared.Catalog, set.shared.Store, 1, batch.People, first, &report)
	if err != nil || next == nil || *next != *second || len(report.Corruptions) > 0 {
		t.Errorf("%+v, %v, %+v", next, err, report)
	}
	if err := VerifyStates(t.Context(), set.shared.Catalog, set.shared.Store, 1, &report); err != nil || len(report.Corruptions) > 0 || report.Bytes != second.Bytes {
		t.Errorf("%v, %+v", err, report)
	}
	if err := set.shared.Store.Delete(t.Context(), second.Blob); err != nil {
		t.Fatal(err)
	}
	if err := VerifyStates(t.Context(), set.shared.Catalog, set.shared.Store, 1, &report); err != nil || len(report.Corruptions) != 1 || report.Corruptions[0].Blob != second.Blob {
		t.Errorf("%v, %+v", err, report)
	}
}

// A fold may go further than it was asked to; the blocks that it replaces are
// removed all the same.
func TestAFoldThatGoesFurther(t *testing.T) {
	t.Parallel()
	_, p := folding(t)
	s := p.People
	projecttest.SealOperations(t, p.Journal, 0, 20)
	first := latest(t, s)
	inner := s.fold
	s.fold = func(ctx context.Context, last *pipeline.Generation, seq int64, blocks func(context.Context, func(journal.Block) error) error) (*pipeline.Generation, error) {
		next, err := inner(ctx, last, seq, blocks)
		if next != nil {
			next.Seq++
		}
		return next, err
	}
	projecttest.SealOperations(t, p.Journal, 20, 30)
	if next, err := s.Latest(t.Context()); err != nil || next.Seq != 3 {
		t.Fatalf("%+v, %v", next, err)
	}
	if err := s.Generations.Rows(t.Context(), first.Blob, func([]byte) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the generation before is kept: %v", err)
	}
}
