package host

import (
	"context"
	"errors"
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
)

// failing is the journal of one project on a disk in memory that fails when it is
// told to.
type failing struct {
	journals
	project  *config.Project
	broken   atomic.Bool // the disk
	at       time.Time
	opened   int // attempts
	reopened []error
}

func newFailing(t *testing.T) *failing {
	t.Helper()
	f := &failing{project: &config.Project{Name: "shop", ID: 1, TimeZone: time.UTC}, at: time.Unix(1e9, 0)}
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
	f.journals = journals{
		openWriter: func(ctx context.Context, p *config.Project) (*journal.Writer, error) {
			f.opened++
			return journal.Open(ctx, journal.Options{Project: p.ID, Store: store, Catalog: c, Now: time.Now})
		},
		openReader: func(p *config.Project) *journal.Reader { return journal.NewReader(p.ID, store, c) },
		now:        func() time.Time { return f.at },
		log:        slog.New(slog.DiscardHandler),
		reopening:  func(cause error) { f.reopened = append(f.reopened, cause) },
	}
	t.Cleanup(func() {
		if err := errors.Join(f.close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// append appends a row, and seals it.
func (f *failing) append(t *testing.T, key byte) error {
	t.Helper()
	j, err := f.get(t.Context(), f.project)
	if err != nil {
		return err
	}
	row := []byte("{}\n")
	return errors.Join(j.writer.Append(t.Context(), journal.Chunk{
		Rows: []journal.Row{{Length: len(row), Time: 1780315200, Kind: journal.KindEvents, Key: journal.Key{key}}}, Data: row,
	}), j.writer.Seal(t.Context()))
}

// A journal whose disk fails is opened again by the next use, then after pauses
// that grow; it works once the disk does. Its reader is the same throughout.
func TestAJournalThatFailsIsOpenedAgain(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	if err := f.append(t, 1); err != nil {
		t.Fatal(err)
	}
	first, err := f.get(t.Context(), f.project)
	if err != nil || f.opened != 1 || len(f.failures()) > 0 {
		t.Fatalf("opened %d times, %v, %v", f.opened, err, f.failures())
	}
	f.broken.Store(true)
	if err := f.append(t, 2); !errors.Is(err, syscall.EIO) {
		t.Fatalf("%v", err)
	}
	for range 100 {
		if err := f.append(t, 2); !errors.Is(err, syscall.EIO) || !errors.Is(f.failures()[1], syscall.EIO) {
			t.Fatalf("%v, %v", err, f.failures())
		}
		f.at = f.at.Add(time.Second)
	}
	if f.opened < 5 || f.opened > 12 {
		t.Errorf("in 100 seconds it was opened %d times", f.opened)
	}
	if len(f.reopened) != 1 || !errors.Is(f.reopened[0], errReopened) || !errors.Is(f.reopened[0], syscall.EIO) {
		t.Errorf("readers of logs were told %v", f.reopened)
	}
	f.broken.Store(false)
	f.at = f.at.Add(reopenLimit)
	if err := f.append(t, 2); err != nil || len(f.failures()) > 0 {
		t.Errorf("%v, %v", err, f.failures())
	}
	if j, err := f.get(t.Context(), f.project); err != nil || j.reader != first.reader || j.writer == first.writer {
		t.Errorf("%v: the reader is another one, or the writer is not", err)
	}
	if stats := f.stats([]*config.Project{f.project}); stats.Kept != 1 {
		t.Errorf("%+v", stats)
	}
}

// Rows that were appended to a journal before it failed are not sealed by the one
// in its place: the caller is told so.
func TestAPinnedJournalStaysFailed(t *testing.T) {
	t.Parallel()
	f := newFailing(t)
	h := &Host{config: &Config{Projects: []*config.Project{f.project}}}
	h.journals.openWriter, h.journals.openReader = f.openWriter, f.openReader
	h.journals.now, h.journals.log, h.journals.reopening = f.now, f.log, f.reopening
	defer h.journals.close()
	p := h.pinned("collector.web")
	w, err := p.writer(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	f.broken.Store(true)
	if err := w.Seal(t.Context()); err != nil {
		t.Fatal(err) // there is nothing to seal
	}
	row := []byte("{}\n")
	c := journal.Chunk{Rows: []journal.Row{{Length: len(row), Time: 1780315200, Kind: journal.KindEvents, Key: journal.Key{1}}}, Data: row}
	if err := w.Append(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	f.broken.Store(false)
	f.at = f.at.Add(reopenLimit)
	if _, err := h.journal(t.Context(), f.project); err != nil {
		t.Fatal(err)
	}
	again, err := p.writer(t.Context(), 1)
	if err != nil || again.Append(t.Context(), c) == nil || p.seal(t.Context()) == nil {
		t.Errorf("%v: rows that were lost look sealed", err)
	}
	if _, err := p.writer(t.Context(), 2); err == nil {
		t.Error("a project that is not configured has a journal")
	}
}
