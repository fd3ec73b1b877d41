package quarantine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// filled is a store of three sources with a file each, and its ledger.
func filled(t *testing.T) (dir string, o Options) {
	t.Helper()
	dir, o = t.TempDir(), Options{Ledger: NewMemoryLedger(), Now: clock}
	s := openWith(t, dir, o)
	put(t, s, "files.in", Span{"a", 0, 9}, bad("r", "0"), bad("q", "1"))
	appendTo(t, s, bad("r", "2"), bad("r", "3"), bad("r", "4"))
	attempt(t, s, true, "5", "6")
	return dir, o
}

func only(t *testing.T, dir, source string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, source, "*"+extension))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

// Files that have lost records are missed, however they lost them, by a
// process that had them open and by the next one, until they are found again.
func TestLostRecordsAreMissed(t *testing.T) {
	lose := func(change func(path string, data []byte) error) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := only(t, dir, "collector.web")
			data, err := os.ReadFile(path)
			if err == nil {
				err = change(path, data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	const tail = "collector.web tail-0000000000000001.ndjson: "
	for name, test := range map[string]struct {
		lose    func(t *testing.T, dir string)
		deep    bool // the size is as it was: only Verify notices
		missing []string
	}{
		"emptied":           {lose: lose(func(path string, _ []byte) error { return os.Truncate(path, 0) }), missing: []string{tail + "3 r"}},
		"deleted":           {lose: lose(func(path string, _ []byte) error { return os.Remove(path) }), missing: []string{tail + "3 r"}},
		"cut between lines": {lose: lose(func(path string, data []byte) error { return os.Truncate(path, int64(len(data)/3)) }), missing: []string{tail + "2 r"}},
		"cut within a line": {lose: lose(func(path string, data []byte) error { return os.Truncate(path, int64(len(data)/3+20)) }), missing: []string{tail + "2 r"}},
		"zeroed": {deep: true, missing: []string{tail + "3 r"}, lose: lose(func(path string, data []byte) error {
			return os.WriteFile(path, make([]byte, len(data)), 0o600)
		})},
		"a bit flipped": {deep: true, missing: []string{tail + "1 r"}, lose: lose(func(path string, data []byte) error {
			data[len(data)/2] ^= 0x80
			data[len(data)/2+1] = '"'
			return os.WriteFile(path, data, 0o600)
		})},
		"directory deleted": {missing: []string{tail + "3 r"}, lose: func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "collector.web")); err != nil {
				t.Fatal(err)
			}
		}},
		"everything deleted": {
			missing: []string{tail + "3 r", "files.in " + spanName(positionPrefix("a"), 0) + ": 1 q, 1 r", "pipeline-to_lake run-00000007.ndjson: 2 too_wide"},
			lose: func(t *testing.T, dir string) {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, running %v", name, running), func(t *testing.T) {
				dir, o := filled(t)
				s := openWith(t, dir, o)
				copied := t.TempDir()
				if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				test.lose(t, dir)
				if !running {
					s = openWith(t, dir, o)
				}
				countsOf(t, s)
				if test.deep {
					if lost := missing(t, s); len(lost) > 0 {
						t.Errorf("%v is missing before all is read", lost)
					}
					if _, err := s.Verify(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				want := 7
				for range 2 {
					if diff := cmp.Diff(test.missing, missing(t, s)); diff != "" {
						t.Errorf("missing (-want +got):\n%s", diff)
					}
					kept := 0
					for range s.Entries("") {
						kept++
					}
					var n int
					for _, m := range test.missing {
						for _, part := range strings.Split(m[strings.LastIndex(m, ": ")+2:], ", ") {
							var count int
							_, _ = fmt.Sscanf(part, "%d", &count) // 0 does not fit
							n += count
						}
					}
					if kept != want-n {
						t.Errorf("%d entries are left of %d without %d", kept, want, n)
					}
					// Entries that are appended from then on are kept, and do not hide the loss.
					appendTo(t, s, bad("r", "new"))
					want++
					s = openWith(t, dir, o)
				}
				if err := os.CopyFS(dir, os.DirFS(copied)); err != nil && !errors.Is(err, os.ErrExist) {
					t.Fatal(err)
				}
			})
		}
	}
}

// Files that come back, from a backup, are not missing any more.
func TestRecordsThatAreFoundAgain(t *testing.T) {
	dir, o := filled(t)
	path := only(t, dir, "collector.web")
	aside := filepath.Join(t.TempDir(), "aside")
	if err := os.Rename(path, aside); err != nil {
		t.Fatal(err)
	}
	s := openWith(t, dir, o)
	if len(missing(t, s)) != 1 {
		t.Fatal(missing(t, s))
	}
	if err := os.Rename(aside, path); err != nil {
		t.Fatal(err)
	}
	countsOf(t, s)
	if lost := missing(t, s); len(lost) != 0 || len(list(t, s)) != 7 {
		t.Errorf("missing %v, %d entries", lost, len(list(t, s)))
	}
	used(t, s)
}

// failing is a ledger that fails, or that a crash keeps from being written.
type failing struct {
	Ledger
	sets int // that succeed
}

var errNoLedger = errors.New("no ledger")

func (l *failing) Set(ctx context.Context, source string, values map[string][]byte) error {
	if l.sets--; l.sets < 0 {
		return errNoLedger
	}
	return l.Ledger.Set(ctx, source, values)
}

// Wherever a process ends between the files and the ledger, nothing that is
// there is missed afterwards, and all of it is counted.
func TestACrashBetweenFilesAndLedger(t *testing.T) {
	for sets := range 12 {
		dir, o := filled(t)
		s := openWith(t, dir, Options{Ledger: &failing{o.Ledger, sets}, Now: clock})
		entries := list(t, s)
		// All of these change files, and fail at some point.
		steps := []error{
			s.Append("collector.web", []Entry{bad("r", "new")}),
			s.Put("files.in", Span{"a", 0, 20}, []Entry{bad("r", "0")}),
			s.Put("files.in", Span{"b", 0, 20}, []Entry{bad("r", "0")}),
			s.Remove([]Ref{entries[0].Ref(), entries[6].Ref()}),
			s.Put("files.in", Span{"b", 0, 20}, nil),
		}
		run, err := s.Run("to_lake", 7)
		if err == nil {
			err = errors.Join(run.Add("2026-06-01", 0, "too_wide", []byte("again")), run.Commit(), run.Discard())
		}
		failed := slices.ContainsFunc(append(steps, err), func(err error) bool { return err != nil })
		t.Logf("%d sets: failed %v", sets, failed)
		s = openWith(t, dir, o)
		used(t, s)
		found := map[string]map[string]Count{}
		for _, e := range list(t, s) {
			if found[e.Source] == nil {
				found[e.Source] = map[string]Count{}
			}
			counts(found[e.Source]).add(e.Reason, e.Count())
		}
		if diff := cmp.Diff(found, countsOf(t, s)); diff != "" {
			t.Errorf("%d sets: counts (-there +counted):\n%s", sets, diff)
		}
	}
}

// A destination may give each row a reason of its own: memory for counts does
// not grow with them.
func TestReasonsWithoutNumber(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	r, err := s.Run("to_lake", 7)
	if err != nil {
		t.Fatal(err)
	}
	const rows = 3 * maxReasons
	for i := range rows {
		if err := r.Add("2026-06-01", uint64(i), fmt.Sprintf("row %d is wrong", i), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.Commit(), r.Discard()); err != nil {
		t.Fatal(err)
	}
	got := countsOf(t, s)["pipeline-to_lake"]
	if len(got) > maxReasons+1 || got[otherReason].Entries != rows-maxReasons {
		t.Errorf("%d reasons, %+v others", len(got), got[otherReason])
	}
	last := list(t, s)[rows-1]
	if last.Reason != otherReason || last.Detail != fmt.Sprintf("row %d is wrong", rows-1) {
		t.Errorf("the last row: %q, %q", last.Reason, last.Detail)
	}
	used(t, s)
}

// A span that is read again without refusals leaves nothing.
func TestReadingAgainCompletes(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	put(t, s, "files.in", Span{"a", 0, 100}, bad("r", "whole"))
	put(t, s, "files.in", Span{"a", 100, 120}, bad("r", "half"))
	put(t, s, "files.in", Span{"a", 100, 150})
	put(t, s, "files.in", Span{"b", 0, 100})
	if diff := cmp.Diff([]string{"whole"}, texts(t, s)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	used(t, s)
}

func BenchmarkAppend(b *testing.B) {
	s, err := Open(b.TempDir(), Options{Now: clock})
	if err != nil {
		b.Fatal(err)
	}
	record := bytes.Repeat([]byte("x"), 1<<10)
	for b.Loop() {
		if err := s.Append("collector.web", []Entry{{Reason: "r", Bytes: record}}); err != nil {
			b.Fatal(err)
		}
	}
}
