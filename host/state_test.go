package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/progress"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/sdk/batch"
)

// folding returns a Host with the parts that folds need.
func folding(t *testing.T) (*Host, *state) {
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
	p := &config.Project{Name: "shop", ID: 1, TimeZone: time.UTC}
	if err := c.RegisterProject(t.Context(), p.ID, p.Name, "UTC"); err != nil {
		t.Fatal(err)
	}
	h := &Host{
		config: &Config{}, log: slog.New(slog.DiscardHandler), observer: progress.Discard{}, catalog: c, store: store, spill: spill,
		states: map[stateKey]*state{}, folds: lifecycle.NewGate(),
	}
	h.journals = journals{openWriter: h.openWriter, openReader: h.openReader, now: time.Now, log: h.log, reopening: h.drainAgain}
	t.Cleanup(func() {
		if err := errors.Join(h.journals.close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	return h, h.state(p, batch.People)
}

// sealOperations seals operations on some profiles, and as many events.
func sealOperations(t *testing.T, h *Host, s *state, from, to int) {
	t.Helper()
	j, err := h.journal(t.Context(), s.project)
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
	if err := errors.Join(j.writer.Append(t.Context(), c), j.writer.Seal(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func (s *state) text(t *testing.T, g *pipeline.Generation) string {
	t.Helper()
	var text strings.Builder
	err := s.generations.Rows(t.Context(), g.Blob, func(row []byte) error {
		text.Write(row)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// A backlog is folded in parts, each of which is kept, and the result is that of
// one fold.
func TestABacklogIsFoldedInParts(t *testing.T) {
	t.Parallel()
	h, s := folding(t)
	for n := range 6 {
		sealOperations(t, h, s, 10*n, 10*n+10)
	}
	extents, to, err := h.unfolded(t.Context(), s, 1, 6, 1)
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
	parts, err := h.latest(t.Context(), s)
	if err != nil || folds != 6 {
		t.Fatalf("%d folds, %v", folds, err)
	}
	if stored, err := h.catalog.Generation(t.Context(), 1, batch.People); err != nil || *stored != *parts || stored.Seq != 6 {
		t.Errorf("the catalog has %+v, %v", stored, err)
	}
	extents, _, err = h.unfolded(t.Context(), s, 0, 6, foldBytes)
	if err != nil {
		t.Fatal(err)
	}
	s.limit = foldBytes
	once, err := h.advance(t.Context(), s, nil, 6)
	if err != nil || *once != *parts || len(extents) != 6 {
		t.Errorf("at once: %+v, %v, want %+v", once, err, parts)
	}
	if want := `{"distinct_id":"u3","properties":{"n":[3,10,17,24,31,38,45,52,59]}}`; !strings.Contains(s.text(t, once), want) {
		t.Errorf("%s is missing in %s", want, s.text(t, once))
	}
}

// A seal without operations moves the generation on, and nothing is written.
func TestNothingToFold(t *testing.T) {
	t.Parallel()
	h, s := folding(t)
	sealOperations(t, h, s, 0, 20)
	first, err := h.latest(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := h.latest(t.Context(), s); err != nil || *again != *first {
		t.Errorf("%+v, %v", again, err)
	}
	j, err := h.journal(t.Context(), s.project)
	if err != nil {
		t.Fatal(err)
	}
	row := []byte("{}\n")
	c := journal.Chunk{Rows: []journal.Row{{Length: len(row), Time: 1780315200, Kind: journal.KindEvents, Key: journal.Key{1}}}, Data: row}
	if err := errors.Join(j.writer.Append(t.Context(), c), j.writer.Seal(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.fold = nil
	next, err := h.latest(t.Context(), s)
	if err != nil || next.Seq != 2 || next.Blob != first.Blob {
		t.Errorf("%+v, %v", next, err)
	}
}

// A generation that a run will export is kept, whatever is folded before it
// does.
func TestTheGenerationOfARunIsKept(t *testing.T) {
	t.Parallel()
	h, s := folding(t)
	sealOperations(t, h, s, 0, 20)
	def := pipeline.Definition{Name: "people", ProjectID: 1, Stream: batch.People, Destination: "x.y", To: pipeline.Forever}
	stored, err := h.catalog.RegisterPipeline(t.Context(), def, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := &config.Pipeline{Name: "people", Project: s.project, Stream: batch.People}
	run, err := h.replacement(t.Context(), p, stored, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := s.text(t, run.Generation)
	var middle, last *pipeline.Generation
	for n := range 2 {
		sealOperations(t, h, s, 20+10*n, 30+10*n)
		middle = last
		if last, err = h.latest(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.text(t, run.Generation); got != want {
		t.Errorf("the run's generation is %s", got)
	}
	if err := s.generations.Rows(t.Context(), middle.Blob, func([]byte) error { return nil }); err == nil {
		t.Error("a generation that is not used is kept")
	}
	lease, err := h.catalog.AcquireRun(t.Context(), stored.ID, run.Number, "test", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.catalog.RecordReceipt(t.Context(), lease, pipeline.Receipt{}); err != nil {
		t.Fatal(err)
	}
	if err := h.sweepState(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := s.generations.Rows(t.Context(), run.Generation.Blob, func([]byte) error { return nil }); err == nil {
		t.Error("the generation of a run that is done is kept")
	}
}

// A fold that replaces a generation during its verification is not a corruption;
// files that are gone without a fold are.
func TestVerifyingDuringAFold(t *testing.T) {
	t.Parallel()
	h, s := folding(t)
	sealOperations(t, h, s, 0, 20)
	first, err := h.latest(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sealOperations(t, h, s, 20, 30)
	second, err := h.latest(t.Context(), s)
	if err != nil || second.Blob == first.Blob {
		t.Fatalf("%+v, %v", second, err)
	}
	var report operation.JournalReport
	next, err := h.verifyState(t.Context(), s.project.ID, batch.People, first, &report)
	if err != nil || next == nil || *next != *second || len(report.Corruptions) > 0 {
		t.Errorf("%+v, %v, %+v", next, err, report)
	}
	if err := h.verifyStates(t.Context(), s.project.ID, &report); err != nil || len(report.Corruptions) > 0 || report.Bytes != second.Bytes {
		t.Errorf("%v, %+v", err, report)
	}
	if err := h.store.Delete(t.Context(), second.Blob); err != nil {
		t.Fatal(err)
	}
	if err := h.verifyStates(t.Context(), s.project.ID, &report); err != nil || len(report.Corruptions) != 1 || report.Corruptions[0].Blob != second.Blob {
		t.Errorf("%v, %+v", err, report)
	}
}

// A fold may go further than it was asked to; the blocks that it replaces are
// removed all the same.
func TestAFoldThatGoesFurther(t *testing.T) {
	t.Parallel()
	h, s := folding(t)
	sealOperations(t, h, s, 0, 20)
	first, err := h.latest(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	inner := s.fold
	s.fold = func(ctx context.Context, last *pipeline.Generation, seq int64, blocks func(context.Context, func(journal.Block) error) error) (*pipeline.Generation, error) {
		next, err := inner(ctx, last, seq, blocks)
		if next != nil {
			next.Seq++
		}
		return next, err
	}
	sealOperations(t, h, s, 20, 30)
	if next, err := h.latest(t.Context(), s); err != nil || next.Seq != 3 {
		t.Fatalf("%+v, %v", next, err)
	}
	if err := s.generations.Rows(t.Context(), first.Blob, func([]byte) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the generation before is kept: %v", err)
	}
}
