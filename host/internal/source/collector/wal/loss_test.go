package wal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever is missing of a log is reported, before the log is changed and once:
// as lost when it is known to have been acknowledged, and as perhaps lost when
// only the journal tells that there was something.
func TestWhatIsMissingIsReported(t *testing.T) {
	// A log with entries 1 to 3 in its first file, and 4 and 5 in its second.
	begin := func(t *testing.T) (Dir, int64) {
		t.Helper()
		dir := directory(t)
		l, _, err := Open(Options{FileSystem: dir, Segment: 150})
		if err != nil {
			t.Fatal(err)
		}
		appendAll(t, l, "one, which has some bytes", "two, which has some bytes", "three, which has bytes", "four, which has some bytes")
		size := l.Size()
		appendAll(t, l, "five")
		first, err := os.Stat(filepath.Join(string(dir), nameOf(1)))
		if err != nil {
			t.Fatal(err)
		}
		shut(t, l)
		names, err := dir.List()
		if err != nil || len(names) != 3 {
			t.Fatal(names, err)
		}
		return dir, size - first.Size()
	}
	remove := func(names ...string) func(*testing.T, Dir, int64) {
		return func(t *testing.T, dir Dir, _ int64) {
			for _, name := range names {
				if err := os.Remove(filepath.Join(string(dir), name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	empty := func(names ...string) func(*testing.T, Dir, int64) {
		return func(t *testing.T, dir Dir, _ int64) {
			for _, name := range names {
				if err := os.Truncate(filepath.Join(string(dir), name), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, test := range []struct {
		name  string
		after uint64
		harm  func(*testing.T, Dir, int64)
		want  *Loss
		next  uint64 // the index of the next entry; 0: the log does not open
	}{
		{"nothing", 2, empty(), nil, 6},
		{"nothing, all of it in the journal", 5, empty(), nil, 6},
		{"all files", 2, remove(nameOf(1), nameOf(4), MarkName), &Loss{First: 3, Gone: true}, 3},
		{"all files, but for the mark", 2, remove(nameOf(1), nameOf(4)), &Loss{First: 3, Last: 5, Gone: true}, 3},
		{"all files, but for the mark, and all was in the journal", 5, remove(nameOf(1), nameOf(4)), nil, 6},
		{"all files, and nothing was in the journal", 0, remove(nameOf(1), nameOf(4)), &Loss{First: 1, Last: 5, Gone: true}, 1},
		{"files emptied", 3, empty(nameOf(1), nameOf(4)), nil, 0}, // a file that is followed has a header
		{"the only file emptied", 3, func(t *testing.T, dir Dir, n int64) {
			remove(nameOf(1))(t, dir, n)
			empty(nameOf(4))(t, dir, n)
		}, &Loss{First: 4, Last: 5, Gone: true}, 4},
		{"the only file emptied, and the mark", 3, func(t *testing.T, dir Dir, n int64) {
			remove(nameOf(1))(t, dir, n)
			empty(nameOf(4), MarkName)(t, dir, n)
		}, &Loss{First: 4, Gone: true}, 4},
		{"the newest file emptied", 2, empty(nameOf(4)), &Loss{First: 4, Last: 5}, 4},
		{"the newest file removed", 2, remove(nameOf(4)), &Loss{First: 4, Last: 5}, 4},
		{"the last entry cut off", 2, func(t *testing.T, dir Dir, size int64) {
			if err := os.Truncate(filepath.Join(string(dir), nameOf(4)), size); err != nil {
				t.Fatal(err)
			}
		}, &Loss{First: 5, Last: 5}, 5},
		{"half of the last entry cut off", 2, func(t *testing.T, dir Dir, size int64) {
			if err := os.Truncate(filepath.Join(string(dir), nameOf(4)), size+frameHeader); err != nil {
				t.Fatal(err)
			}
		}, &Loss{First: 5, Last: 5, Cut: nameOf(4) + cutSuffix}, 5},
		{"a bit of the last entry flipped", 2, func(t *testing.T, dir Dir, size int64) {
			path := filepath.Join(string(dir), nameOf(4))
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[size+3] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, &Loss{First: 5, Last: 5, Cut: nameOf(4) + cutSuffix}, 5},
		{"a torn entry that was not acknowledged", 2, func(t *testing.T, dir Dir, size int64) {
			frame := appendFrame(nil, 6, size+frameHeader+4, []byte("six"))
			appendTo(t, filepath.Join(string(dir), nameOf(4)), frame[:len(frame)-1])
		}, nil, 6},
		{"the mark", 2, remove(MarkName), nil, 6},
		{"the mark is damaged", 2, func(t *testing.T, dir Dir, _ int64) {
			if err := os.WriteFile(filepath.Join(string(dir), MarkName), make([]byte, markSize), 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil, 6},
		{"more than the journal has", 4, remove(nameOf(4)), nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, size := begin(t)
			test.harm(t, dir, size)
			report, verifyErr := Verify(dir, test.after)
			if missing, err := Missing(dir, test.after); verifyErr == nil && (err != nil || !cmp.Equal(missing, test.want)) {
				t.Errorf("Missing: %v, %v", missing, err)
			}
			if verifyErr == nil {
				if diff := cmp.Diff(test.want, report.Loss); diff != "" {
					t.Errorf("Verify (-want +got):\n%s", diff)
				}
			}
			refused := errors.New("not yet")
			var told []Loss
			tell := func(l Loss) error {
				told = append(told, l)
				if len(told) == 1 {
					return refused
				}
				return nil
			}
			// A loss that could not be noted is reported again: nothing was changed.
			l, _, err := Open(Options{FileSystem: dir, After: test.after, Lost: tell})
			if test.want != nil {
				if !errors.Is(err, refused) {
					t.Fatalf("a loss that is not noted is passed over: %v", err)
				}
				l, _, err = Open(Options{FileSystem: dir, After: test.after, Lost: tell})
			}
			if (err == nil) != (test.next != 0) || (err == nil) != (verifyErr == nil) {
				t.Fatalf("open: %v, verify: %v", err, verifyErr)
			}
			if err != nil {
				return
			}
			if test.want != nil && (len(told) != 2 || told[1] != *test.want) || test.want == nil && told != nil {
				t.Errorf("told of %v, want %v", told, test.want)
			}
			if index, err := l.Append(t.Context(), []byte("next")); index != test.next || err != nil {
				t.Errorf("the next entry is %d (%v), want %d", index, err, test.next)
			}
			shut(t, l)
			if test.want != nil && test.want.Cut != "" {
				if info, err := os.Stat(filepath.Join(string(dir), test.want.Cut)); err != nil || info.Size() < frameHeader {
					t.Errorf("what is cut is not kept: %v", err)
				}
			}
			// It is told of once.
			if l, _, err = Open(Options{FileSystem: dir, After: test.after, Lost: unexpected(t)}); err != nil {
				t.Fatal(err)
			}
			shut(t, l)
			if report, err := Verify(dir, test.after); err != nil || report.Loss != nil || report.Last != test.next {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// A process that is killed at any moment, and a power failure, lose nothing that
// is reported as lost.
func TestAMarkNeverClaimsTooMuch(t *testing.T) {
	for n := 1; ; n++ {
		m := newMemory()
		m.failAt, m.kills = n, true
		l, _, err := Open(Options{FileSystem: m, Segment: 200})
		if err == nil {
			for _, entry := range numbered(1, 9) {
				_, _ = l.Append(t.Context(), []byte(entry))
			}
			_ = l.Close()
		}
		if !m.failed {
			return
		}
		m.failAt, m.kills = 0, false
		if n%2 == 0 {
			m.losePower()
		}
		l, _ = open(t, m)
		shut(t, l)
	}
}
