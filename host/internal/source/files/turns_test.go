package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// shelf is a place in memory that counts which files are open, and how much is read of them.
type shelf struct {
	files map[string]string
	fails map[string]failure

	mu   sync.Mutex
	open int
	most int            // files that were open at the same time
	read map[string]int // bytes of each path
}

// failure is an error that comes after some bytes of a file.
type failure struct {
	after int
	err   error
}

// newShelf returns a shelf whose files must be closed when the test ends.
func newShelf(t *testing.T, files map[string]string) *shelf {
	h := &shelf{files: files, fails: map[string]failure{}, read: map[string]int{}}
	t.Cleanup(func() {
		if h.open > 0 {
			t.Errorf("%d files are open after the end", h.open)
		}
	})
	return h
}

func (h *shelf) list(context.Context) (listing, error) {
	var l listing
	for _, path := range slices.Sorted(maps.Keys(h.files)) {
		l.entries = append(l.entries, entry{path: path, size: int64(len(h.files[path])), modTime: 1})
	}
	return l, nil
}

// lent is the place that a shelf is for a source.
type lent struct{ *shelf }

func (l lent) open(_ context.Context, path string, from int64) (io.ReadCloser, error) {
	h := l.shelf
	data, ok := h.files[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	in := io.Reader(strings.NewReader(data[from:]))
	if f, fails := h.fails[path]; fails {
		in = io.MultiReader(strings.NewReader(data[from:max(int(from), f.after)]), endedBy{f.err})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open++
	h.most = max(h.most, h.open)
	return &volume{shelf: h, path: path, in: in}, nil
}

func (l lent) close() error { return nil }

// volume is an open file of a shelf.
type volume struct {
	*shelf
	path string
	in   io.Reader
}

func (v *volume) Read(p []byte) (int, error) {
	n, err := v.in.Read(p)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.read[v.path] += n
	return n, err
}

func (v *volume) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shelf.open--
	return nil
}

// bytesRead returns how many bytes of a file were read.
func (h *shelf) bytesRead(path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.read[path]
}

// source opens a source of the files of a shelf, in turns of some width.
func (h *shelf) source(t *testing.T, o Options, cursors map[string][]byte, size, width int) *Source {
	t.Helper()
	o.Name, o.Now = "files.test", later
	s := newSource(o, lent{h})
	s.size, s.turns.depth = size, width
	if !o.Keep {
		s.turns.width = width
	}
	if err := errors.Join(s.load(cursors), s.look(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// turnsRead holds all that came out of a source.
type turnsRead struct {
	pieces  []string // the names of their files
	records map[string][]string
	refused map[string][]string
	cursors []map[string][]byte // behind each piece
	err     error               // why it ended; nil: io.EOF
}

// readTurns reads up to some pieces of a source, or all if there are fewer.
func readTurns(t *testing.T, s *Source, cursors map[string][]byte, most int) *turnsRead {
	t.Helper()
	got := &turnsRead{records: map[string][]string{}, refused: map[string][]string{}}
	r := &reading{cursors: []map[string][]byte{cursors}}
	for range most {
		p, err := s.Next(t.Context())
		if err != nil {
			if !errors.Is(err, io.EOF) {
				got.err = err
			}
			break
		}
		name := strings.SplitN(filepath.Base(p.File), ".", 2)[0]
		r.records, r.refused = nil, nil
		r.take(t, p)
		got.pieces = append(got.pieces, name)
		got.records[name] = append(got.records[name], r.records...)
		got.refused[name] = append(got.refused[name], r.refused...)
	}
	got.cursors = r.cursors[1:]
	return got
}

const all = 1 << 30

// numbered returns lines of 16 bytes, which tell whose they are.
func numbered(name string, count int) string {
	var b strings.Builder
	for n := range count {
		fmt.Fprintf(&b, "{\"%s\":%9d}\n", name, n)
	}
	return b.String()
}

// Compressed files give their pieces in turns, in an order that depends on nothing but the
// files and the width; plain files, objects of a bucket, and all of a source that must keep
// their order, give theirs one after the other.
func TestTurns(t *testing.T) {
	counts := map[string]int{"a": 7, "b": 15, "c": 7, "d": 3, "e": 3}
	for name, test := range map[string]struct {
		place string
		form  func(string) string
		keep  bool
		width int
		want  string
	}{
		"one at a time":   {"/in/", gz, false, 1, "aabbbbccde"},
		"two":             {"/in/", gz, false, 2, "ababcbcdbe"},
		"zstd":            {"/in/", zst, false, 2, "ababcbcdbe"},
		"more than files": {"/in/", gz, false, 9, "ababcbcdbe"},
		"plain":           {"/in/", func(s string) string { return s }, false, 3, "aabbbbccde"},
		"in order":        {"/in/", gz, true, 3, "aabbbbccde"},
		"objects":         {"s3://in/", gz, false, 3, "aabbbbccde"},
	} {
		h := newShelf(t, map[string]string{})
		for file, n := range counts {
			h.files[test.place+file] = test.form(numbered(file, n))
		}
		for range 20 {
			s := h.source(t, Options{Keep: test.keep}, nil, 64, test.width)
			got := readTurns(t, s, nil, all)
			if order := strings.Join(got.pieces, ""); order != test.want || got.err != nil {
				t.Fatalf("%s: pieces %s, then %v, want %s", name, order, got.err, test.want)
			}
			for file, n := range counts {
				if lines := strings.Count(numbered(file, n), "\n"); len(got.records[file]) != lines {
					t.Errorf("%s: %d records of %s, want %d", name, len(got.records[file]), file, lines)
				}
			}
		}
	}
}

// A file that begins as the first piece of another one waits until that is read, also if
// the bytes behind the piece differ: it is compared with all that the piece's cursor tells.
func TestFilesThatBeginAsAPieceWait(t *testing.T) {
	h := newShelf(t, map[string]string{})
	for _, file := range []string{"a", "b"} {
		h.files["/in/"+file] = gz(numbered("x", 4) + numbered(file, 3))
	}
	s := h.source(t, Options{}, nil, 72, 2)
	got := readTurns(t, s, nil, all)
	if order := strings.Join(got.pieces, ""); order != "aabb" || got.err != nil {
		t.Errorf("pieces %s, then %v, want aabb", order, got.err)
	}
}

// stored returns data as a gzip file that is at least as long.
func stored(data string) string {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		panic(err)
	}
	_, _ = w.Write([]byte(data))
	_ = w.Close()
	return b.String()
}

// While the first file is read, the others are opened and decompressed: as many as there
// may be, and no more, and of each no more than prefetch holds.
func TestFilesAreDecompressedBeforeTheirTurn(t *testing.T) {
	const (
		width = 3
		ahead = prefetchCount * prefetchSize
		slack = 2 * 64 << 10 // buffers between the place and prefetch
	)
	for name, keep := range map[string]bool{"in turns": false, "in order": true} {
		synctest.Test(t, func(t *testing.T) {
			h := newShelf(t, map[string]string{})
			for _, file := range "abcdefgh" {
				h.files["/in/"+string(file)] = stored(numbered(string(file), 3*ahead/16))
			}
			s := h.source(t, Options{Keep: keep}, nil, pieceSize, width)
			handed := map[string]int{}
			for n := 0; ; n++ {
				p, err := s.Next(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				handed[p.File] += len(p.Data)
				p.Release()
				synctest.Wait() // until all goroutines have done what they may
				begun := 0
				for path := range h.files {
					early := h.bytesRead(path) - handed[path]
					if early > ahead+pieceSize+slack {
						t.Fatalf("%s: behind piece %d, %d bytes of %s are read ahead", name, n, early, path)
					}
					if handed[path] == 0 && early >= ahead {
						begun++
					}
				}
				if n == 0 && begun != width {
					t.Errorf("%s: %d files are decompressed while the first is read, want %d", name, begun, width)
				}
			}
			if len(handed) != len(h.files) {
				t.Errorf("%s: %d files were read", name, len(handed))
			}
			// A file that is opened is open twice while its first bytes are hashed.
			limit := s.turns.width + 2*s.turns.depth
			if h.most < s.turns.width+s.turns.depth || h.most > limit {
				t.Errorf("%s: %d files were open at a time, want %d to %d", name, h.most, s.turns.width+s.turns.depth, limit)
			}
		})
	}
}

// oddShelf is a shelf of everything that a source can find.
func oddShelf(t *testing.T) *shelf {
	lines := numbered("l", 200)
	return newShelf(t, map[string]string{
		"/in/a.gz":    gz(numbered("a", 100)),
		"/in/b.gz":    gz("[" + strings.ReplaceAll(strings.TrimSpace(numbered("b", 90)), "\n", ",") + "]"),
		"/in/c.zst":   zst(numbered("c", 50)),
		"/in/copy.gz": gz(numbered("a", 100)),
		"/in/cut.gz":  gz(lines)[:len(gz(lines))*2/3],
		"/in/d":       numbered("d", 40),
		"/in/dull.gz": gz(""),
		"/in/empty":   "",
		"/in/f.gz":    gz(numbered("f", 30) + "{\"torn\":"),
		"/in/g.gz":    gz(numbered("a", 120)), // a, and more
		"/in/h.xz":    "\xfd7zXZ\x00\x00\x04",
		"/in/i.gz":    gz(numbered("i", 60)) + "nonsense",
		"/in/j.gz":    gz("{\"long\":\"" + strings.Repeat("x", 3000) + "\"}\n" + numbered("j", 20)),
		"/in/k.gz":    gz(numbered("k", 5)),
	})
}

// Files that are read in turns give the records, refusals, cursors and findings that they
// give one after the other. After a crash behind any piece the rest is read, once, with
// any width.
func TestTurnsChangeNothing(t *testing.T) {
	for _, size := range []int{100, 1000, pieceSize} {
		h := oddShelf(t)
		s := h.source(t, Options{}, nil, size, 1)
		want := readTurns(t, s, nil, all)
		if want.err != nil {
			t.Fatal(want.err)
		}
		for _, width := range []int{2, 3, 20} {
			s2 := h.source(t, Options{}, nil, size, width)
			got := readTurns(t, s2, nil, all)
			if diff := cmp.Diff(want.records, got.records); diff != "" || got.err != nil {
				t.Fatalf("pieces of %d, width %d: %v, records (-alone +turns):\n%.2000s", size, width, got.err, diff)
			}
			if diff := cmp.Diff(want.refused, got.refused); diff != "" {
				t.Fatalf("pieces of %d, width %d: refused (-alone +turns):\n%s", size, width, diff)
			}
			if diff := cmp.Diff(s.Report(), s2.Report()); diff != "" {
				t.Fatalf("pieces of %d, width %d: report (-alone +turns):\n%s", size, width, diff)
			}
			if diff := cmp.Diff(want.cursors[len(want.cursors)-1], got.cursors[len(got.cursors)-1]); diff != "" {
				t.Fatalf("pieces of %d, width %d: cursors (-alone +turns):\n%s", size, width, diff)
			}
			step := 1 + len(got.cursors)/40
			for n := 0; n < len(got.cursors); n += step {
				cursors := got.cursors[n]
				before := readTurns(t, h.source(t, Options{}, nil, size, width), nil, n+1)
				rest := readTurns(t, h.source(t, Options{}, cursors, size, 1+n%4), cursors, all)
				if diff := cmp.Diff(inAll(want.records), inAll(before.records, rest.records)); diff != "" || rest.err != nil {
					t.Fatalf("pieces of %d, width %d, behind piece %d: %v, records (-want +got):\n%.2000s", size, width, n, rest.err, diff)
				}
			}
		}
	}
}

// inAll returns the records of all files, sorted. After a crash a copy may go on under
// another name.
func inAll(some ...map[string][]string) []string {
	var found []string
	for _, records := range some {
		for _, r := range records {
			found = append(found, r...)
		}
	}
	slices.Sort(found)
	return found
}

// The error of a file ends the reading when the files before it are read, and nothing of
// the files after it is read any more. A file that alone is unreadable is passed over.
func TestErrorsOfFilesInTurns(t *testing.T) {
	gone := errors.New("connection reset")
	for name, test := range map[string]struct {
		fails map[string]failure
		want  map[string]bool // files that are read to their end
		err   string
	}{
		"of all":     {map[string]failure{"c": {9000, gone}}, map[string]bool{"a": true, "b": true}, "read /in/c: connection reset"},
		"first":      {map[string]failure{"a": {9000, gone}}, map[string]bool{}, "read /in/a: connection reset"},
		"two":        {map[string]failure{"c": {8000, gone}, "b": {10000, gone}}, map[string]bool{"a": true}, "read /in/b: connection reset"},
		"at opening": {map[string]failure{"d": {0, gone}}, map[string]bool{"a": true, "b": true, "c": true}, "open /in/d: connection reset"},
		"unreadable": {map[string]failure{"b": {8500, syscall.EIO}}, map[string]bool{"a": true, "c": true, "d": true, "e": true}, ""},
	} {
		for _, width := range []int{1, 2, 3, 9} {
			h := newShelf(t, map[string]string{})
			const count = 1000
			for _, file := range "abcde" {
				h.files["/in/"+string(file)] = stored(numbered(string(file), count))
			}
			for file, f := range test.fails {
				h.fails["/in/"+file] = f
			}
			s := h.source(t, Options{}, nil, 500, width)
			got := readTurns(t, s, nil, all)
			if message := fmt.Sprint(got.err); (got.err != nil || test.err != "") && message != test.err {
				t.Errorf("%s, width %d: %s", name, width, message)
			}
			if _, err := s.Next(t.Context()); test.err != "" && !errors.Is(err, gone) {
				t.Errorf("%s, width %d: after the error: %v", name, width, err)
			}
			for _, file := range []string{"a", "b", "c", "d", "e"} {
				if n := len(got.records[file]); (n == count) != test.want[file] {
					t.Errorf("%s, width %d: %d records of %s", name, width, n, file)
				}
			}
			clear(h.fails)
			rest := readTurns(t, h.source(t, Options{}, last(got.cursors), 500, width), last(got.cursors), all)
			for _, file := range []string{"a", "b", "c", "d", "e"} {
				seen := slices.Concat(got.records[file], rest.records[file])
				if slices.Sort(seen); len(slices.Compact(seen)) != count || len(got.records[file])+len(rest.records[file]) != count {
					t.Errorf("%s, width %d: %d and %d records of %s", name, width, len(got.records[file]), len(rest.records[file]), file)
				}
			}
		}
	}
}

func last(cursors []map[string][]byte) map[string][]byte {
	if len(cursors) == 0 {
		return nil
	}
	return cursors[len(cursors)-1]
}

// A reading that is given up while files are opened and decompressed closes all of them.
// TestMain finds goroutines that stay.
func TestTurnsAreGivenUp(t *testing.T) {
	h := newShelf(t, map[string]string{})
	for _, file := range "abcdefgh" {
		h.files["/in/"+string(file)] = stored(numbered(string(file), 80_000))
	}
	for pieces := range 8 {
		s := h.source(t, Options{}, nil, pieceSize, 3)
		cause := errors.New("given up")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		for n := 0; ; n++ {
			if n == pieces {
				cancel(cause)
			}
			p, err := s.Next(ctx)
			if err != nil {
				if !errors.Is(err, cause) {
					t.Error(err)
				}
				break
			}
			if p.Release(); n > pieces {
				t.Fatal("it goes on")
			}
		}
	}
}

// A file that was opened before its turn may grow, and is then read on by the next reading,
// or be removed, and is then read.
func TestFilesChangeBeforeTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, file := range []string{"a", "b", "c"} {
			write(t, dir, file+".gz", gz(numbered(file, 10)))
		}
		s, err := Open(t.Context(), Options{Name: "files.test", Pattern: dir + "/*", Now: later})
		if err != nil {
			t.Fatal(err)
		}
		s.turns.width, s.turns.depth = 2, 2
		first := readTurns(t, s, nil, 1)
		synctest.Wait()
		grown, err := os.OpenFile(filepath.Join(dir, "b.gz"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = grown.WriteString(gz(numbered("b", 15)[160:]))
		if err := errors.Join(err, grown.Close(), os.Remove(filepath.Join(dir, "c.gz"))); err != nil {
			t.Fatal(err)
		}
		rest := readTurns(t, s, last(first.cursors), all)
		if n, m := len(rest.records["b"]), len(rest.records["c"]); n != 10 || m != 10 || rest.err != nil {
			t.Errorf("%d records of the file that grew, %d of the one that is gone, then %v", n, m, rest.err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		next := readAll(t, dir+"/*", last(rest.cursors), pieceSize)
		if len(next.records) != 5 || !strings.Contains(next.records[0], `"b":       10}`) {
			t.Errorf("what was added: %q", next.records)
		}
	})
}

// A file whose window takes much memory is not opened before its turn.
func TestLargeWindowsAreNotOpenedAhead(t *testing.T) {
	frame := func(window byte) string { return "\x28\xb5\x2f\xfd\x00" + string(window) + "\x01\x00\x00" } // an empty last block
	for window, want := range map[byte]bool{0x50: true, 0x68: true, 0x70: false, 0x80: false} {
		h := newShelf(t, map[string]string{"/in/a": frame(window)})
		s := h.source(t, Options{}, nil, pieceSize, 2)
		r, err := s.openStored(t.Context(), entry{path: "/in/a"})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.suitsAhead(); got != want {
			t.Errorf("a window of %d MiB: %v", r.memory>>20, got)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}
}

// flaky is a place that fails once, some bytes into one of a file's openings.
type flaky struct {
	place
	path    string
	opening int // which one; the first is 1
	failure
}

func (f *flaky) open(ctx context.Context, path string, from int64) (io.ReadCloser, error) {
	in, err := f.place.open(ctx, path, from)
	if path != f.path || err != nil {
		return in, err
	}
	if f.opening--; f.opening != 0 {
		return in, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(in, int64(f.after)), endedBy{f.err}), in}, nil
}

// A copy whose place fails within its first bytes is not taken for new content, at whichever
// of its openings that happens: its records are read once.
func TestCopiesThatFailAtTheirBeginning(t *testing.T) {
	lines := numbered("a", 1000)
	begin := gz(lines[:165]) // a record is torn
	for _, keep := range []bool{true, false} {
		for opening := range 5 {
			h := newShelf(t, map[string]string{"/in/a": gz(lines), "/in/copy": begin + gz(lines[165:])})
			s := h.source(t, Options{Keep: keep}, nil, pieceSize, 2)
			s.place = &flaky{s.place, "/in/copy", opening + 1, failure{len(begin), errors.New("connection reset")}}
			got := readTurns(t, s, nil, all)
			next := readTurns(t, h.source(t, Options{Keep: keep}, last(got.cursors), pieceSize, 2), last(got.cursors), all)
			n := len(inAll(got.records, next.records))
			if n != strings.Count(lines, "\n") || next.err != nil {
				t.Errorf("keep %v, opening %d: %d records, then %v", keep, opening+1, n, next.err)
			}
		}
	}
}
