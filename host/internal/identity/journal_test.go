package identity_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/host/internal/schema"
)

const project = 7

var firstDay = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).Unix()

// realJournal is a journal on disk, as an index sees it.
type realJournal struct {
	store   *disk.Dir
	catalog *catalog.Catalog
	reader  *journal.Reader
}

type appender interface {
	Append(ctx context.Context, c journal.Chunk) error
}

func newJournal(tb testing.TB, dir string) *realJournal {
	tb.Helper()
	store, err := disk.OpenDir(filepath.Join(dir, "blobs"))
	if err != nil {
		tb.Fatal(err)
	}
	c, err := catalog.Open(tb.Context(), filepath.Join(dir, "catalog.db"), "test")
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.RegisterProject(tb.Context(), project, "shop", "UTC"); err != nil {
		tb.Fatal(err)
	}
	j := &realJournal{store: store, catalog: c, reader: journal.NewReader(project, store, c)}
	tb.Cleanup(func() {
		if err := j.reader.Close(); err != nil {
			tb.Error(err)
		}
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return j
}

func (j *realJournal) writer(tb testing.TB) *journal.Writer {
	tb.Helper()
	return j.writerWith(tb, journal.Options{})
}

func (j *realJournal) writerWith(tb testing.TB, o journal.Options) *journal.Writer {
	tb.Helper()
	o.Project, o.Store, o.Catalog, o.Now = project, j.store, j.catalog, time.Now
	w, err := journal.Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// seal seals, and returns where the journal stands then.
func (j *realJournal) seal(tb testing.TB, w *journal.Writer) int64 {
	tb.Helper()
	if err := w.Seal(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	seq, err := j.catalog.Sequence(tb.Context(), project)
	if err != nil {
		tb.Fatal(err)
	}
	return seq
}

func (j *realJournal) Links(ctx context.Context, after, to int64, fn func(int64, []pipeline.Extent) error) error {
	return j.catalog.Extents(ctx, project, journal.KindLinks, after, to, fn)
}

func (j *realJournal) Extent(ctx context.Context, ref journal.ExtentRef, fn func(journal.Block) error) error {
	return j.reader.Extent(ctx, ref, fn)
}

func (j *realJournal) Segment(ctx context.Context, seq int64) (string, error) {
	current, err := j.catalog.Sequence(ctx, project)
	if err != nil || seq > current {
		return "", err
	}
	return j.catalog.Blob(ctx, project, seq)
}

// chunkOf makes a chunk of links.
func chunkOf(links []schema.Link) journal.Chunk {
	var c journal.Chunk
	for _, l := range links {
		from := len(c.Data)
		c.Data = schema.AppendLink(c.Data, l)
		c.Rows = append(c.Rows, journal.Row{Offset: from, Length: len(c.Data) - from, Time: l.Time, Key: l.Key(), Kind: journal.KindLinks})
	}
	return c
}
