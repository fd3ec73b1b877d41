package quarantine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func clock() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

func open(t *testing.T, dir string, limit int64) *Store {
	t.Helper()
	return openWith(t, dir, Options{Cap: limit, Now: clock})
}

func openWith(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Store, source string, span Span, entries ...Entry) {
	t.Helper()
	if err := s.Put(source, span, entries); err != nil {
		t.Fatal(err)
	}
}

func bad(reason, record string) Entry {
	return Entry{Position: "a at byte 1", Reason: reason, Detail: "why", Bytes: []byte(record)}
}

func list(t *testing.T, s *Store) (entries []Entry) {
	t.Helper()
	for e, err := range s.Entries("") {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

func texts(t *testing.T, s *Store) (texts []string) {
	t.Helper()
	for _, e := range list(t, s) {
		texts = append(texts, string(e.Bytes))
	}
	return texts
}

func countsOf(t *testing.T, s *Store) map[string]map[string]Count {
	t.Helper()
	c, err := s.Counts()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// totals are counts without the difference between records that are kept and
// records that are only counted.
func totals(t *testing.T, s *Store) map[string]map[string]int64 {
	t.Helper()
	totals := map[string]map[string]int64{}
	for source, reasons := range countsOf(t, s) {
		totals[source] = map[string]int64{}
		for reason, n := range reasons {
			totals[source][reason] = n.Total()
		}
	}
	return totals
}

// used holds the store's accounts against the files: those that a ledger knows,
// and those that are read because it knows none.
func used(t *testing.T, s *Store) {
	t.Helper()
	countsOf(t, s)
	for how, ledger := range map[string]Ledger{"without a ledger": nil, "with the ledger": s.o.Ledger} {
		again, err := Open(s.dir, Options{Cap: s.o.Cap, Ledger: ledger, Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		if again.used != s.used {
			t.Errorf("%s: %d bytes are accounted for, %d are there", how, s.used, again.used)
		}
		want := countsOf(t, s)
		if ledger == nil { // which alone counts records that are not kept
			for source, reasons := range want {
				for reason, n := range s.source(source).over {
					counts(reasons).add(reason, n.negative())
				}
				if len(reasons) == 0 {
					delete(want, source)
				}
			}
		}
		if diff := cmp.Diff(countsOf(t, again), want); diff != "" {
			t.Errorf("%s: counts (-there +accounted for):\n%s", how, diff)
		}
		if lost := missing(t, again); len(lost) > 0 {
			t.Errorf("%s: missing %v", how, lost)
		}
	}
}

// missing lists lost records: "files.in a.ndjson: 2 r".
func missing(t *testing.T, s *Store) (list []string) {
	t.Helper()
	if err := s.Missing(func(m Missing) { list = append(list, m.Source+" "+m.File+": "+counts(m.Counts).String()) }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEntriesComeBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "quarantine")
	s := open(t, dir, 0)
	records := []string{"plain", "\xff\x00 no text", "", "line\nbreak \u2028 \"quoted\" <&>", strings.Repeat("long", 100000)}
	var entries []Entry
	for _, r := range records {
		entries = append(entries, bad("invalid_json", r))
	}
	put(t, s, "files.in", Span{"a", 10, 20}, entries...)
	for _, s := range []*Store{s, open(t, dir, 0)} {
		if diff := cmp.Diff(records, texts(t, s)); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		for _, e := range list(t, s) {
			got, err := s.Get(e.ID)
			if err != nil || !bytes.Equal(got.Bytes, e.Bytes) || got.Source != "files.in" || got.Detail != "why" || !got.Time.Equal(clock()) {
				t.Errorf("%s: got %+v, %v", e.ID, got, err)
			}
		}
	}
	used(t, s)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, walkErr error) error {
		if walkErr != nil {
			return walkErr
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The lines are for people and other tools: their members have names that are
// documented.
func TestLine(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	put(t, s, "files.in", Span{"a", 0, 9}, bad("invalid_utf8", "\xff"), bad("no_time", "{}"))
	files, err := filepath.Glob(s.dir + "/files.in/*.ndjson")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"time":"2026-11-01T12:00:00Z","source":"files.in","position":"a at byte 1","reason":"invalid_utf8","detail":"why","record_base64":"/w=="}
{"time":"2026-11-01T12:00:00Z","source":"files.in","position":"a at byte 1","reason":"no_time","detail":"why","record":"{}"}
`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
}

// Records that are read again, in the same pieces or in others, are there once.
func TestReadingAgainReplaces(t *testing.T) {
	for _, reopen := range []bool{false, true} {
		s := open(t, t.TempDir(), 0)
		put(t, s, "files.in", Span{"a", 0, 100}, bad("r", "a0"))
		put(t, s, "files.in", Span{"a", 100, 200}, bad("r", "a100"), bad("r", "a150"))
		put(t, s, "files.in", Span{"a", 200, 300}, bad("r", "a200"))
		put(t, s, "files.in", Span{"b", 100, 200}, bad("r", "b100"))
		put(t, s, "files.other", Span{"a", 100, 200}, bad("r", "other"))
		if reopen {
			s = open(t, s.dir, 0)
		}
		put(t, s, "files.in", Span{"a", 100, 200}, bad("r", "a100"), bad("r", "a150"))
		put(t, s, "files.in", Span{"a", 100, 250}, bad("r", "a100"), bad("r", "a150"), bad("r", "a200"))
		put(t, s, "files.in", Span{"a", 250, 250}, bad("r", "at the end"))
		put(t, s, "files.in", Span{"a", 250, 250}, bad("r", "at the end"))
		got := strings.Join(texts(t, s), " ")
		for _, want := range []string{"a0", "a100", "a150", "a200", "b100", "other", "at the end"} {
			if n := strings.Count(got, want); n != 1 {
				t.Errorf("%q is there %d times: %s", want, n, got)
			}
		}
		used(t, s)
	}
}

func TestCap(t *testing.T) {
	s := open(t, t.TempDir(), 1000)
	for i := range 10 {
		put(t, s, "files.in", Span{"a", int64(i), int64(i + 1)}, bad("r", strings.Repeat("x", 100)))
	}
	put(t, s, "files.in", Span{"b", 0, 1}, bad("q", strings.Repeat("x", 2000)))
	// A small one behind those that are too large is still kept.
	put(t, s, "files.in", Span{"b", 1, 3}, bad("q", strings.Repeat("x", 2000)), bad("small", "x"))
	kept := int64(len(list(t, s)))
	if kept == 0 || kept >= 10 || s.used > 1000 {
		t.Errorf("%d records of 10 in %d bytes of 1000", kept, s.used)
	}
	used(t, s)
	want := map[string]map[string]Count{"files.in": {
		"r": {Entries: kept - 1, Counted: 11 - kept}, "q": {Counted: 2}, "small": {Entries: 1},
	}}
	if diff := cmp.Diff(want, countsOf(t, s)); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

// A record of any bytes is kept whole up to MaxRecord. Of a longer
// one the beginning is kept, and the entry says so.
func TestLongRecords(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	random := make([]byte, MaxRecord)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random) // never fails
	records := [][]byte{
		bytes.Repeat([]byte("x"), 87<<10), bytes.Repeat([]byte("\"\x01"), MaxRecord/2), bytes.Repeat([]byte("€"), MaxRecord/3), random,
		bytes.Repeat([]byte("\x01"), MaxRecord+1),
	}
	for i, r := range records {
		put(t, s, "files.in", Span{"a", int64(i), int64(i + 1)}, bad("long", string(r)))
	}
	appendTo(t, s, Entry{Reason: "long", Bytes: []byte("the beginning"), Truncated: true, Size: 99})
	all := list(t, s)
	if len(all) != len(records)+1 {
		t.Fatalf("%d entries", len(all))
	}
	cut := all[0]
	if string(cut.Bytes) != "the beginning" || !cut.Truncated || cut.Size != 99 {
		t.Errorf("truncated by its source: %d bytes, %v, %d", len(cut.Bytes), cut.Truncated, cut.Size)
	}
	for i, e := range all[1:] {
		long := len(records[i]) > MaxRecord
		if !bytes.Equal(e.Bytes, records[i][:min(len(records[i]), MaxRecord)]) || e.Truncated != long || (e.Size == int64(len(records[i]))) != long {
			t.Errorf("record %d: %d bytes of %d, truncated %v, size %d", i, len(e.Bytes), len(records[i]), e.Truncated, e.Size)
		}
	}
	want := map[string]map[string]Count{
		"files.in": {"long": {Entries: 5, Truncated: 1}}, "collector.web": {"long": {Entries: 1, Truncated: 1}},
	}
	if diff := cmp.Diff(want, countsOf(t, s)); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	used(t, s)
	// Removing one leaves the others.
	if err := s.Remove([]Ref{all[1].Ref(), cut.Ref()}); err != nil {
		t.Fatal(err)
	}
	used(t, s)
}

// A destination may name each row's own reason, as long as it likes.
func TestLongTexts(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	put(t, s, "files.in", Span{"a", 0, 1}, Entry{Reason: strings.Repeat("€", maxText), Detail: strings.Repeat("\x00", maxLine)})
	e := list(t, s)[0]
	if len(e.Reason) > maxText+3 || len(e.Detail) > maxText+3 || !utf8.ValidString(e.Reason) {
		t.Errorf("reason of %d bytes, detail of %d", len(e.Reason), len(e.Detail))
	}
}

// Memory grows with the longest record, not with the number of records.
func TestMemoryIsThatOfOneRecord(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	record := bytes.Repeat([]byte("\xff"), 1<<20)
	allocated := func(what string, limit uint64, fn func()) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fn()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > limit {
			t.Errorf("%s: %d MiB were allocated, of %d at most", what, n>>20, limit>>20)
		}
	}
	const many = 20
	entries := slices.Repeat([]Entry{{Reason: "r", Bytes: record}}, many)
	allocated("put", many*2<<20, func() { put(t, s, "files.in", Span{"a", 0, 1}, entries...) })
	allocated("count", 8<<20, func() {
		if _, err := countFile(filepath.Join(s.dir, "files.in", spanName(positionPrefix("a"), 0))); err != nil {
			t.Error(err)
		}
	})
	runtime.GC()
	peak := uint64(0)
	for _, err := range s.Entries("") {
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	if peak > 16<<20 {
		t.Errorf("%d MiB are held while entries are read", peak>>20)
	}
}

// A file that no store has written, however long, does not fill the memory.
func TestALineWithoutEnd(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	put(t, s, "files.in", Span{"a", 0, 1}, bad("r", "x"))
	path := filepath.Join(s.dir, "files.in", "zeros"+extension)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, s); len(got) != 1 {
		t.Errorf("entries %v", got)
	}
	used(t, s)
}

func TestRemove(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	put(t, s, "files.in", Span{"a", 0, 9}, bad("r", "0"), bad("r", "1"), bad("q", "2"))
	put(t, s, "files.in", Span{"a", 9, 12}, bad("r", "3"))
	all := list(t, s)
	if err := s.Remove([]Ref{all[0].Ref(), all[3].Ref()}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1", "2"}, texts(t, s)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	// The others are still named as they were.
	for i, gone := range []bool{true, false, false, true} {
		e, err := s.Get(all[i].ID)
		var missing *NotFoundError
		if gone != errors.As(err, &missing) || !gone && string(e.Bytes) != fmt.Sprint(i) {
			t.Errorf("%s: got %q, %v", all[i].ID, e.Bytes, err)
		}
	}
	if err := s.Remove([]Ref{all[2].Ref(), all[0].Ref()}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]map[string]int64{"files.in": {"r": 1}}, totals(t, s)); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	used(t, s)
	if err := s.Remove([]Ref{all[1].Ref()}); err != nil || len(list(t, s)) != 0 {
		t.Errorf("something is left, %v", err)
	}
	used(t, s)
}

func TestIDsThatAreNone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret.ndjson"), []byte("{\"reason\":\"r\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(dir, "q"), 0)
	for _, id := range []string{"", "x", "../secret:1", "/etc/passwd:1", "files.in/x:1", "files.in/x:0", "a:b"} {
		var missing *NotFoundError
		if _, err := s.Get(id); !errors.As(err, &missing) {
			t.Errorf("Get(%q): %v", id, err)
		}
		if err := s.Remove([]Ref{{ID: id}}); err != nil && !errors.As(err, &missing) {
			t.Errorf("Remove(%q): %v", id, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "secret.ndjson")); err != nil {
		t.Error(err)
	}
}

func attempt(t *testing.T, s *Store, commit bool, rows ...string) {
	t.Helper()
	r, err := s.Run("to_lake", 7)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		line := []byte(row)
		if err := r.Add("2026-06-01", uint64(i), "too_wide", line); err != nil {
			t.Fatal(err)
		}
		clear(line)
	}
	if commit {
		err = r.Commit()
	}
	if err := errors.Join(err, r.Discard()); err != nil {
		t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	attempt(t, s, false, "discarded")
	attempt(t, s, true, "a", "b")
	attempt(t, s, false, "discarded")
	if diff := cmp.Diff([]string{"a", "b"}, texts(t, s)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	e := list(t, s)[1]
	if e.Source != "pipeline-to_lake" || e.Position != "2026-06-01 row 1" || e.Reason != "too_wide" {
		t.Errorf("got %+v", e)
	}
	attempt(t, s, true, "a", "b", "c")
	if diff := cmp.Diff([]string{"a", "b", "c"}, texts(t, s)); diff != "" {
		t.Errorf("rows of the next attempt (-want +got):\n%s", diff)
	}
	used(t, s)
	attempt(t, s, true)
	if left := texts(t, s); left != nil {
		t.Errorf("an attempt without refusals leaves %v", left)
	}
	used(t, s)
}

// Rows that an attempt could only count are counted once, however often it is
// made.
func TestRunBeyondTheCap(t *testing.T) {
	s := open(t, t.TempDir(), 1000)
	var rows []string
	for range 50 {
		rows = append(rows, strings.Repeat("x", 50))
	}
	for range 3 {
		attempt(t, s, true, rows...)
	}
	want := map[string]map[string]int64{"pipeline-to_lake": {"too_wide": 50}}
	if diff := cmp.Diff(want, totals(t, s)); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	used(t, s)
}

// Files that a killed process has left half-written go.
func TestHalfWrittenFilesGo(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	r, err := s.Run("to_lake", 7)
	if err == nil {
		err = r.Add("2026-06-01", 0, "too_wide", bytes.Repeat([]byte("x"), 100<<10))
	}
	if err != nil {
		t.Fatal(err)
	}
	again := open(t, s.dir, 0)
	if again.used != 0 || len(list(t, again)) != 0 {
		t.Errorf("%d bytes, %d rows are left", again.used, len(list(t, again)))
	}
	files, err := os.ReadDir(filepath.Join(s.dir, "pipeline-to_lake"))
	if err != nil || len(files) != 0 {
		t.Errorf("%v is left, %v", files, err)
	}
	if err := r.file.Close(); err != nil {
		t.Error(err)
	}
}

func TestEntriesStop(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	put(t, s, "files.in", Span{"a", 0, 9}, bad("r", "0"), bad("r", "1"))
	put(t, s, "files.in", Span{"b", 0, 9}, bad("r", "2"))
	for e, err := range s.Entries("") {
		if err != nil || e.Source != "files.in" {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
	for _, err := range s.Entries("files.unknown") {
		t.Errorf("a source without entries has some, %v", err)
	}
}

// FuzzEntry: any bytes come back.
func FuzzEntry(f *testing.F) {
	f.Add("a", []byte("b"))
	f.Add("\xff", []byte("\xff\n"))
	f.Fuzz(func(t *testing.T, reason string, record []byte) {
		e := Entry{Source: "files.in", Time: clock(), Reason: reason, Bytes: record}
		data, err := e.encode()
		if err != nil || bytes.Count(data, []byte("\n")) != 1 || !json.Valid(data) {
			t.Fatalf("%q, %v", data, err)
		}
		l, err := decode(data)
		if err != nil || !bytes.Equal(l.Bytes, record) {
			t.Fatalf("got %q, %v, want %q", l.Bytes, err, record)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	s, err := Open(b.TempDir(), Options{Now: clock})
	if err != nil {
		b.Fatal(err)
	}
	i := int64(0)
	for b.Loop() {
		if err := s.Put("files.in", Span{"a", i, i + 1}, []Entry{bad("r", "record")}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// A ref means the entry that was read, not one that took its place later.
func TestRemoveMeansWhatWasRead(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	put(t, s, "files.in", Span{"a", 0, 9}, bad("r", "old"))
	old := list(t, s)[0].Ref()
	put(t, s, "files.in", Span{"a", 0, 9}, bad("r", "new"))
	if err := s.Remove([]Ref{old}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"new"}, texts(t, s)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	used(t, s)
}

// Entries may be put and removed while they are read.
func TestEntriesWhileTheyChange(t *testing.T) {
	s := open(t, t.TempDir(), 0)
	for i := range int64(20) {
		put(t, s, "files.in", Span{"a", i * 10, i*10 + 9}, bad("r", "x"), bad("r", "y"))
	}
	seen := 0
	for e, err := range s.Entries("files.in") {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if err := s.Remove([]Ref{e.Ref()}); err != nil {
			t.Fatal(err)
		}
		put(t, s, "files.other", Span{"b", int64(seen), int64(seen + 1)}, bad("r", "z"))
	}
	want := map[string]map[string]int64{"files.other": {"r": 40}}
	if diff := cmp.Diff(want, totals(t, s)); diff != "" || seen != 40 {
		t.Errorf("%d seen, counts (-want +got):\n%s", seen, diff)
	}
	used(t, s)
}

func BenchmarkCounts(b *testing.B) {
	s, err := Open(b.TempDir(), Options{Now: clock})
	if err != nil {
		b.Fatal(err)
	}
	for i := range int64(100) {
		if err := s.Put("files.in", Span{"a", i, i + 1}, slices.Repeat([]Entry{bad("r", strings.Repeat("record", 50))}, 100)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := s.Counts(); err != nil {
			b.Fatal(err)
		}
	}
}
