package projecttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/generation"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/disk"
	"github.com/penstock-io/penstock/host/internal/schema"
)

// Stores are the stores of a data directory.
type Stores struct {
	Dir     datadir.Dir
	Blobs   *disk.Dir
	Spill   *disk.Dir
	Catalog *catalog.Catalog
}

// Open opens the stores in a directory, which may hold those of an earlier Open, and
// registers projects. The caller closes them.
func Open(t testing.TB, dir string, projects []*config.Project) *Stores {
	t.Helper()
	s := &Stores{Dir: datadir.Dir{Data: dir}}
	s.Dir.Blobs = s.Dir.Path("blobs")
	var failed [3]error
	s.Blobs, failed[0] = disk.OpenDir(s.Dir.Blobs)
	s.Spill, failed[1] = disk.OpenDir(s.Dir.Path(datadir.SpillDir))
	s.Catalog, failed[2] = catalog.Open(t.Context(), s.Dir.Path(datadir.CatalogFile), "test")
	if err := errors.Join(failed[:]...); err != nil {
		t.Fatal(err)
	}
	for _, p := range projects {
		if err := s.Catalog.RegisterProject(t.Context(), p.ID, p.Name, p.TimeZone.String()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Close closes the catalog; the other stores hold nothing open.
func (s *Stores) Close() error { return s.Catalog.Close() }

// Journal is a journal of a project, as package project has it.
type Journal interface {
	Writer(ctx context.Context) (*journal.Writer, error)
}

// SealOperations seals one operation and one event for each number from from up to
// to, without it. Operation n appends {"n":n} to the list "n" of profile "u<n mod 7>".
func SealOperations(t testing.TB, j Journal, from, to int) {
	t.Helper()
	w, err := j.Writer(t.Context())
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

// Text returns the rows of a generation.
func Text(t testing.TB, s *generation.Store, blob string) string {
	t.Helper()
	var text strings.Builder
	err := s.Rows(t.Context(), blob, func(row []byte) error {
		text.Write(row)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}
