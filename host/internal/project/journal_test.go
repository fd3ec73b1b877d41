package project

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/journal/disk/disktest"
	"github.com/penstock-io/penstock/host/internal/progress"
)

// failing is the journal of one project on a disk in memory that fails when it is
// told to.
type failing struct {
	*Set
	project *Project
	broken  atomic.Bool // the disk
	at      time.Time
	opened  int // attempts
}

func newFailing(t *testing.T) *failing {
	t.Helper()
	f := &failing{at: time.Unix(1e9, 0)}
	script := &disktest.Script{}
	script.Fail(func(int, string) (disktest.Fault, error) {
		if f.broken.Load() {
			return disktest.Before, syscall.EIO
		}
		return disktest.None, nil
	})
	store, err := disk.OpenOn(disktest.New(script), "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(t.Context(), filepath.Join(t.TempDir(), "catalog.db"), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RegisterProject(t.Context(), 1, "shop", "UTC"); err != nil {
		t.Fatal(err)
	}
	f.Set = New(Options{
		Store: store, Catalog: c, Now: func() time.Time { return f.at }, Log: slog.New(slog.DiscardHandler), Observer: progress.Discard{},
	}, []*config.Project{{Name: "shop", ID: 1, TimeZone: time.UTC}})
	f.project = f.All()[0]
	inner := f.project.Journal.open
	f.project.Journal.open = func(ctx context.Context) (*journal.Writer, error) {
		f.opened++
		return inner(ctx)
	}
	t.Cleanup(func() {
		if err := errors.Join(f.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// append appends a row, and seals it.
func (f *failing) append(t *testing.T, key byte) error {
	t.Helper()
	w, err := f.project.Journal.Writer(t.Context())
	if err != nil {
		return err
	}
	return errors.Join(w.Append(t.Context(), rowOf(key)), w.Seal(t.Context()))
}

// rowOf returns a chunk with one row of an event.
func rowOf(key byte) journal.Chunk {
	row := []byte("{}\n")
	return journal.Chunk{
		Rows: []journal.Row{{Length: len(row), Time: 1780315200, Kind: journal.KindEvents, Key: journal.Key{key}}}, Data: row,
	}
}

// ended reports whether a writer says that it takes nothing any more.
func ended(w *journal.Writer) bool {
	select {
	case <-w.Done():
		return true
	default:
		return false
	}
}

// A journal whose disk fails is opened again by the next use, then after pauses
// that grow; it works once the disk does. Its reader is the same throughout.
func TestAJournalThatFailsIsOpenedAgain(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	j := f.project.Journal
	if err := f.append(t, 1); err != nil {
		t.Fatal(err)
	}
	reader := j.Reader()
	first, err := j.Writer(t.Context())
	if err != nil || f.opened != 1 || j.Err() != nil || ended(first) {
		t.Fatalf("opened %d times, %v, %v", f.opened, err, j.Err())
	}
	f.broken.Store(true)
	if err := f.append(t, 2); !errors.Is(err, syscall.EIO) {
		t.Fatalf("%v", err)
	}
	if !ended(first) || !errors.Is(first.Err(), syscall.EIO) {
		t.Errorf("the writer that failed says %v", first.Err())
	}
	for range 100 {
		if err := f.append(t, 2); !errors.Is(err, syscall.EIO) || !errors.Is(j.Err(), syscall.EIO) {
			t.Fatalf("%v, %v", err, j.Err())
		}
		f.at = f.at.Add(time.Second)
	}
	if f.opened < 5 || f.opened > 12 {
		t.Errorf("in 100 seconds it was opened %d times", f.opened)
	}
	f.broken.Store(false)
	f.at = f.at.Add(ReopenLimit)
	if err := f.append(t, 2); err != nil || j.Err() != nil {
		t.Errorf("%v, %v", err, j.Err())
	}
	if w, err := j.Writer(t.Context()); err != nil || j.Reader() != reader || w == first {
		t.Errorf("%v: the reader is another one, or the writer is not", err)
	}
	if stats := f.Stats([]*config.Project{f.project.Config}); stats.Kept != 1 {
		t.Errorf("%+v", stats)
	}
}

// A caller that goes away while a journal is opened leaves nothing to the next one.
func TestAnOpeningThatIsCutIsNoFailure(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	j := f.project.Journal
	inner := j.open
	ctx, cancel := context.WithCancel(t.Context())
	j.open = func(ctx context.Context) (*journal.Writer, error) {
		cancel()
		return inner(ctx)
	}
	if w, err := j.Writer(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, %v", w, err)
	}
	j.open = inner
	if _, err := j.Writer(t.Context()); err != nil {
		t.Errorf("the next caller gets %v", err)
	}

	f.broken.Store(true)
	if err := f.append(t, 1); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	f.at = f.at.Add(ReopenLimit)
	ctx, cancel = context.WithCancel(t.Context())
	j.open = func(ctx context.Context) (*journal.Writer, error) {
		cancel()
		return nil, ctx.Err()
	}
	if w, err := j.Writer(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, %v", w, err)
	}
	if err := j.Err(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a journal that has failed, and was not opened again, says %v", err)
	}
}

// While a journal is opened, which may take as long as a disk hangs, its status is
// told, and another user of it can be called away.
func TestAJournalThatHangsKeepsNoStatusWaiting(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	j := f.project.Journal
	inner, began, goOn := j.open, make(chan struct{}), make(chan struct{})
	j.open = func(ctx context.Context) (*journal.Writer, error) {
		close(began)
		<-goOn
		return inner(ctx)
	}
	opened := make(chan error)
	go func() {
		_, err := j.Writer(t.Context())
		opened <- err
	}()
	<-began
	if err := j.Err(); err != nil || j.Stats() != (journal.Stats{}) {
		t.Errorf("its status is %v", err)
	}
	if err := f.Seal(t.Context()); err != nil {
		t.Error(err)
	}
	away := errors.New("called away")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(away)
	if _, err := j.Writer(ctx); !errors.Is(err, away) {
		t.Errorf("a user that was called away got %v", err)
	}
	close(goOn)
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// A host that serves makes rows durable at every turn, also after turns at which the
// disk failed, until it is stopped.
func TestRowsAreSealedFromTimeToTime(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	appendRow := func(key byte) error {
		w, err := f.project.Journal.Writer(t.Context())
		if err != nil {
			return err
		}
		return w.Append(t.Context(), rowOf(key))
	}
	ctx, stop := context.WithCancel(t.Context())
	turn := 0
	f.shared.Wait = func(ctx context.Context, d time.Duration) error {
		f.at = f.at.Add(d)
		turn++
		f.broken.Store(turn == 2)
		if err := appendRow(byte(turn)); err != nil {
			t.Errorf("turn %d: %v", turn, err)
		}
		if turn == 4 {
			stop()
		}
		return ctx.Err()
	}
	var sequences []int64
	f.project.ServeSeals(ctx, func(ctx context.Context) {
		seq, err := f.shared.Catalog.Sequence(ctx, 1)
		if err != nil {
			t.Error(err)
		}
		sequences = append(sequences, seq)
	})
	if got := fmt.Sprint(sequences); got != "[1 1 2]" || f.at.Sub(time.Unix(1e9, 0)) != 4*SealEvery {
		t.Errorf("after each turn the journal has the sequences %s; it is %s", got, f.at)
	}
}

// Rows that were appended to a journal before it failed are not sealed by the one
// in its place: the caller is told so.
func TestAPinnedJournalStaysFailed(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	unknown := errors.New("not configured")
	p := f.Pin(func(int64) error { return unknown })
	w, err := p.Writer(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	f.broken.Store(true)
	if err := w.Seal(t.Context()); err != nil {
		t.Fatal(err) // there is nothing to seal
	}
	if err := w.Append(t.Context(), rowOf(1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	f.broken.Store(false)
	f.at = f.at.Add(ReopenLimit)
	if _, err := f.project.Journal.Writer(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := p.Writer(t.Context(), 1)
	if err != nil || again.Append(t.Context(), rowOf(1)) == nil || p.Seal(t.Context()) == nil {
		t.Errorf("%v: rows that were lost look sealed", err)
	}
	if _, err := p.Writer(t.Context(), 2); !errors.Is(err, unknown) {
		t.Errorf("a project that is not configured has a journal: %v", err)
	}
}

// After rows that were compressed wrong, what is compressed for later writers is looked at,
// and the rows that are given again are sealed.
func TestAJournalIsCarefulAfterRowsThatWereCompressedWrong(t *testing.T) {
	f := newFailing(t)
	w, err := f.project.Journal.Writer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	chunk := rowOf(1)
	if err := journal.NewPacker(journal.PackOptions{Least: 1}).Pack(&chunk); err != nil {
		t.Fatal(err)
	}
	chunk.Fragments[0].Rows++
	var corrupt *journal.CorruptFragmentError
	if err := w.Append(t.Context(), chunk); !errors.As(err, &corrupt) || f.project.Journal.careful {
		t.Fatalf("%v, careful too early: %v", err, f.project.Journal.careful)
	}
	f.at = f.at.Add(ReopenLimit)
	if err := f.append(t, 1); err != nil || !f.project.Journal.careful {
		t.Errorf("%v, careful: %v", err, f.project.Journal.careful)
	}
	if n := f.project.Journal.Stats().Kept; n != 1 {
		t.Errorf("%d rows are sealed", n)
	}
}
