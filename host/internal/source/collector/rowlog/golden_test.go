package rowlog

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/source/collector/wal"
)

var update = flag.Bool("update", false, "write the golden files that are missing")

// goldens are directories with logs, one for each version of entries. Logs of a
// version that was released stay readable: a file is never written again, and a
// new version gets a directory of its own.
var goldens = map[string]golden{
	"testdata/v1": {},
	"testdata/v2": {mark: func(r *journal.Row) { r.KeyDate, r.Undated = 20_605, r.Key[0] == 1 }},
	"testdata/v3": {mark: func(r *journal.Row) { r.KeyDate = 20_605 }, packed: true},
}

// golden says how the rows of a log are made.
type golden struct {
	mark   func(*journal.Row) // nil: they stay as they are
	packed bool               // they are compressed
}

// goldenEntries are the entries of each log: project and lines.
var goldenEntries = []struct {
	project int64
	lines   []string
}{
	{1, []string{`{"event_name":"a"}`, `{"event_name":"b"}`}}, {2, []string{`{"event_name":"c"}`}}, {1, []string{`{"event_name":"d"}`}},
}

func TestALogOfEachVersionOpens(t *testing.T) {
	for path, g := range goldens {
		t.Run(filepath.Base(path), func(t *testing.T) { testGolden(t, path, g) })
	}
}

func testGolden(t *testing.T, path string, g golden) {
	if _, err := os.Stat(path); *update && errors.Is(err, os.ErrNotExist) {
		g.write(t, path)
	}
	fresh := filepath.Join(t.TempDir(), "fresh")
	g.write(t, fresh)
	dir := filepath.Join(t.TempDir(), "log")
	files, err := filepath.Glob(filepath.Join(path, "*.wal"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	name := filepath.Base(files[0])
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	// Payloads may become smaller: they are not a part of the format.
	if written, err := os.ReadFile(filepath.Join(fresh, name)); err != nil || !g.packed && !bytes.Equal(written, data) {
		t.Errorf("%v: the format is another one and has the same version", err)
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, name), data, 0o600)); err != nil {
		t.Fatal(err)
	}
	w, found, err := wal.Open(wal.Options{FileSystem: wal.Dir(dir)})
	if err != nil || found.First != 1 || found.Last != 3 || found.Cut != 0 {
		t.Fatal(found, err)
	}
	b := newBooks()
	l := New(w, "collector.web", b)
	if err := l.Drain(t.Context(), 3, b.find); err != nil {
		t.Fatal(err)
	}
	b.seal(t, 1)
	b.seal(t, 2)
	want := map[int64][]string{}
	for _, e := range goldenEntries {
		for _, line := range e.lines {
			want[e.project] = append(want[e.project], line+"\n")
		}
	}
	if g.packed && b.packed != 4 {
		t.Errorf("%d of 4 rows came in fragments", b.packed)
	}
	for project, lines := range want {
		if !slices.Equal(b.sealed[project], lines) {
			t.Errorf("project %d has %q, not %q", project, b.sealed[project], lines)
		}
	}
	if err := l.Trim(t.Context()); err != nil || l.Waiting() != 0 {
		t.Errorf("%v, %d entries wait", err, l.Waiting())
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func (g golden) write(t *testing.T, path string) {
	t.Helper()
	dir, err := wal.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	w, _, err := wal.Open(wal.Options{FileSystem: dir})
	if err != nil {
		t.Fatal(err)
	}
	l := New(w, "collector.web", newBooks())
	if g.packed {
		l.Compress(func(int64) *time.Location { return time.UTC }, nil)
		l.packers.least = 1
	}
	for _, e := range goldenEntries {
		rows, data := rowsOf(e.lines...)
		for i := range rows {
			if g.mark != nil {
				g.mark(&rows[i])
			}
		}
		if err := l.Append(t.Context(), []Part{{e.project, rows}}, data, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
