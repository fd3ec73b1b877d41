package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func open(t testing.TB, fs FileSystem) (*Log, Recovery) {
	t.Helper()
	l, found, err := Open(Options{FileSystem: fs, Segment: 4 << 10, Lost: unexpected(t)})
	if err != nil {
		t.Fatal(err)
	}
	return l, found
}

// unexpected fails a test that a loss is reported in.
func unexpected(t testing.TB) func(Loss) error {
	return func(l Loss) error {
		t.Errorf("a loss is reported: %s", l)
		return nil
	}
}

func directory(t testing.TB) Dir {
	t.Helper()
	d, err := OpenDir(filepath.Join(t.TempDir(), "wal"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func appendAll(t testing.TB, l *Log, entries ...string) {
	t.Helper()
	for _, e := range entries {
		if _, err := l.Append(t.Context(), []byte(e)); err != nil {
			t.Fatal(err)
		}
	}
}

// all reads the entries of a log from an index on.
func all(t testing.TB, l *Log, from uint64) []string {
	t.Helper()
	r := l.Read(from)
	defer r.Close()
	var entries []string
	for next := max(from, r.next); ; next++ {
		if next > l.Last() {
			return entries
		}
		index, payload, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		next = index
		entries = append(entries, string(payload))
	}
}

func shut(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.Write(data)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func numbered(from, to int) []string {
	var entries []string
	for i := from; i <= to; i++ {
		entries = append(entries, fmt.Sprintf("entry %d %s", i, bytes.Repeat([]byte{'x'}, 37*i%700)))
	}
	return entries
}

func TestEntriesComeBackInOrder(t *testing.T) {
	dir := directory(t)
	l, found := open(t, dir)
	if found != (Recovery{First: 1}) {
		t.Errorf("a new log: %+v", found)
	}
	want := numbered(1, 100) // over many files
	appendAll(t, l, want...)
	if got := all(t, l, 1); !slices.Equal(got, want) {
		t.Errorf("read %d entries", len(got))
	}
	if got := all(t, l, 60); !slices.Equal(got, want[59:]) {
		t.Errorf("read %d entries from the 60th on", len(got))
	}
	shut(t, l)
	l, found = open(t, dir)
	if found != (Recovery{First: 1, Last: 100}) {
		t.Errorf("opened again: %+v", found)
	}
	appendAll(t, l, "one more")
	if got := all(t, l, 1); !slices.Equal(got, append(want, "one more")) {
		t.Errorf("read %d entries", len(got))
	}
	shut(t, l)
}

func TestDropKeepsWhatFollows(t *testing.T) {
	dir := directory(t)
	l, _ := open(t, dir)
	want := numbered(1, 100)
	appendAll(t, l, want...)
	before := l.Size()
	if err := l.Drop(50); err != nil {
		t.Fatal(err)
	}
	if l.Size() >= before {
		t.Error("nothing was dropped")
	}
	if got := all(t, l, 51); !slices.Equal(got, want[50:]) {
		t.Errorf("read %d entries", len(got))
	}
	if err := l.Drop(100); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	l, found := open(t, dir)
	if found.Last != 100 {
		t.Errorf("the log forgot its last index: %+v", found)
	}
	appendAll(t, l, "next")
	if got := all(t, l, 101); !slices.Equal(got, []string{"next"}) {
		t.Errorf("read %q", got)
	}
	shut(t, l)
}

// The reader waits for entries, and goes on when files are dropped under it.
func TestAReaderFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _, err := Open(Options{FileSystem: newMemory(), Segment: 1 << 10})
		if err != nil {
			t.Fatal(err)
		}
		r := l.Read(1)
		defer r.Close()
		var got []string
		done := make(chan error)
		go func() {
			for {
				index, payload, err := r.Next(context.Background())
				if err == nil {
					got = append(got, string(payload))
					err = l.Drop(index)
				}
				if err != nil {
					done <- err
					return
				}
			}
		}()
		want := numbered(1, 50)
		appendAll(t, l, want...)
		synctest.Wait()
		shut(t, l)
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("the reader ended with %v", err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("read %d entries of %d", len(got), len(want))
		}
	})
}

func TestManyWriters(t *testing.T) {
	dir := directory(t)
	l, _ := open(t, dir)
	const writers, each = 16, 50
	indexes := make([]map[uint64]string, writers)
	var wg sync.WaitGroup
	for w := range writers {
		indexes[w] = map[uint64]string{}
		wg.Go(func() {
			for i := range each {
				entry := fmt.Sprintf("%d of %d", i, w)
				index, err := l.Append(t.Context(), []byte(entry))
				if err != nil {
					t.Error(err)
					return
				}
				indexes[w][index] = entry
			}
		})
	}
	wg.Wait()
	got := all(t, l, 1)
	if len(got) != writers*each {
		t.Fatalf("%d entries", len(got))
	}
	for _, m := range indexes {
		for index, entry := range m {
			if got[index-1] != entry {
				t.Errorf("entry %d is %q, not %q", index, got[index-1], entry)
			}
		}
	}
	shut(t, l)
}

func TestATornTailIsCut(t *testing.T) {
	want := numbered(1, 5)
	for cut := int64(1); ; cut += 7 {
		dir := directory(t)
		l, _ := open(t, dir)
		appendAll(t, l, want...)
		size := l.Size()
		shut(t, l)
		frame := appendFrame(nil, 6, size, []byte("the last one, which was not acknowledged"))
		if cut >= int64(len(frame)) {
			return
		}
		appendTo(t, filepath.Join(string(dir), nameOf(1)), frame[:cut])
		l, found := open(t, dir)
		if found.Last != 5 || found.Cut != cut {
			t.Fatalf("%d bytes of a torn tail: %+v", cut, found)
		}
		appendAll(t, l, "another")
		if got := all(t, l, 1); !slices.Equal(got, append(slices.Clone(want), "another")) {
			t.Fatalf("read %q", got)
		}
		shut(t, l)
	}
}

// A batch whose later entries reached the disk and whose earlier did not is
// torn too: none of it was acknowledged.
func TestATornBatchIsCut(t *testing.T) {
	dir := directory(t)
	l, _ := open(t, dir)
	appendAll(t, l, "durable")
	size := l.Size()
	shut(t, l)
	batch := appendFrame(nil, 2, size, []byte("first of a batch"))
	second := len(batch)
	batch = appendFrame(batch, 3, size, []byte("second of it"))
	clear(batch[:second])
	name := filepath.Join(string(dir), nameOf(1))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(b, batch...), 0o600); err != nil {
		t.Fatal(err)
	}
	l, found := open(t, dir)
	if found.Last != 1 || found.Cut != int64(len(batch)) {
		t.Errorf("%+v", found)
	}
	shut(t, l)
}

// Any bit that is flipped in a durable entry is found when the log is opened, and
// nothing is cut. Entries of the last batch cannot be told from a torn tail.
func TestDamageIsNotCut(t *testing.T) {
	dir := directory(t)
	l, _ := open(t, dir)
	appendAll(t, l, numbered(1, 30)...)
	last := int64(len(numbered(30, 30)[0])) + frameHeader
	shut(t, l)
	names, err := dir.List()
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == MarkName })
	slices.Sort(names)
	for i, name := range names {
		path := filepath.Join(string(dir), name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		end := int64(len(whole))
		if i == len(names)-1 {
			end -= last
		}
		for at := range end {
			if i == 0 && at%5 != 0 || at >= 12 && at < 16 { // four bytes of the header say nothing
				continue
			}
			damaged := slices.Clone(whole)
			damaged[at] ^= 1 << (at % 8)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, err := Open(Options{FileSystem: dir})
			var d *DamagedError
			var v *VersionError
			if err == nil {
				t.Fatalf("%s: a flipped bit at %d was not found", name, at)
			}
			if !errors.As(err, &d) && !errors.As(err, &v) {
				t.Fatalf("%s: a flipped bit at %d: %v", name, at, err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, damaged) {
				t.Fatalf("%s: the damaged file was changed (%v)", name, err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Behind a file that was followed by another, of which a crash has left nothing,
// everything was durable: its end is not cut either.
func TestTheEndOfAFileThatWasFollowedIsNotCut(t *testing.T) {
	for _, shorter := range []bool{false, true} {
		dir := directory(t)
		l, _ := open(t, dir)
		appendAll(t, l, "a", "b")
		shut(t, l)
		path := filepath.Join(string(dir), nameOf(1))
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damaged := slices.Clone(whole)
		if damaged[len(whole)-1] ^= 1; shorter {
			damaged = whole[:len(whole)-frameHeader-1]
		}
		for name, data := range map[string][]byte{path: damaged, filepath.Join(string(dir), nameOf(3)): nil} {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // it is not forgotten
			var d *DamagedError
			if _, _, err := Open(Options{FileSystem: dir}); !errors.As(err, &d) || d.Index != 2 {
				t.Errorf("its last entry is damaged (missing: %v): %v", shorter, err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		l, found := open(t, dir)
		appendAll(t, l, "c")
		if found.Last != 2 || l.Last() != 3 {
			t.Errorf("%+v, then %d", found, l.Last())
		}
		shut(t, l)
	}
}

func TestAMissingFileIsDamage(t *testing.T) {
	dir := directory(t)
	l, _ := open(t, dir)
	appendAll(t, l, numbered(1, 40)...)
	shut(t, l)
	names, err := dir.List()
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	slices.Sort(names)
	if err := dir.Remove(names[1]); err != nil {
		t.Fatal(err)
	}
	var d *DamagedError
	if _, _, err := Open(Options{FileSystem: dir}); !errors.As(err, &d) || d.File != names[1] {
		t.Errorf("a missing file: %v", err)
	}
}

func TestANewerLogIsRefused(t *testing.T) {
	dir := directory(t)
	l, _ := open(t, dir)
	appendAll(t, l, "a")
	shut(t, l)
	path := filepath.Join(string(dir), nameOf(1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[8] = 2
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var v *VersionError
	if _, _, err := Open(Options{FileSystem: dir}); !errors.As(err, &v) {
		t.Errorf("a newer log: %v", err)
	}
}

// A disk that fails at any operation, with or without its effect, and a crash
// after it that keeps all, some or nothing of the unsynced bytes: acknowledged
// entries are there, once, in order, and nothing else but the entries of the one
// batch whose outcome was unknown.
func TestEveryOperationMayFail(t *testing.T) {
	for n := 1; ; n++ {
		reached := false
		for _, effect := range []bool{false, true} {
			for seed := range uint64(6) {
				m := newMemory()
				m.failAt, m.effect = n, effect
				var told, unknown []string
				l, _, err := Open(Options{FileSystem: m, Segment: 256})
				if err == nil {
					for i := range 12 {
						entry := fmt.Sprintf("entry %d %s", i, bytes.Repeat([]byte{'y'}, 10*i))
						if _, err := l.Append(t.Context(), []byte(entry)); err == nil {
							told = append(told, entry)
						} else if errors.Is(err, ErrBroken) {
							unknown = append(unknown, entry)
						} else if !errors.Is(err, errInjected) {
							t.Fatal(err)
						}
					}
					_ = l.Close()
				}
				reached = reached || m.failed
				m.crash(rand.New(rand.NewPCG(seed, uint64(n))))
				l, _, err = Open(Options{FileSystem: m, Segment: 256, Lost: unexpected(t)})
				if err != nil {
					t.Fatalf("operation %d fails (effect %v), seed %d: opened again: %v", n, effect, seed, err)
				}
				got := all(t, l, 1)
				if len(got) > len(told) && len(unknown) > 0 && got[len(told)] == unknown[0] {
					got = got[:len(told)]
				}
				if !slices.Equal(got, told) {
					t.Fatalf("operation %d fails (effect %v), seed %d: %d entries were acknowledged, %d are there", n, effect, seed, len(told), len(got))
				}
				appendAll(t, l, "after")
				shut(t, l)
			}
		}
		if !reached {
			return
		}
	}
}

// Entries of one call are there, or none of them is: also when a file of the log is full
// between them, the disk fails at any operation, and the log is repaired.
func TestEntriesOfACallAreThereTogether(t *testing.T) {
	for n := 1; ; n++ {
		m := newMemory()
		l, _, err := Open(Options{FileSystem: m, Segment: 256})
		if err != nil {
			t.Fatal(err)
		}
		m.failAt = m.count + n
		var told []string
		for i := range 12 {
			call := []string{fmt.Sprintf("first %d", i), strings.Repeat("y", 20*i), fmt.Sprintf("last %d", i)}
			err := l.AppendAll(t.Context(), [][]byte{[]byte(call[0])}, [][]byte{[]byte(call[1][:5*i]), []byte(call[1][5*i:])}, [][]byte{[]byte(call[2])})
			switch {
			case err == nil:
				told = append(told, call...)
			case errors.Is(err, ErrBroken):
				for l.Err() != nil {
					_ = l.Repair()
				}
			case !errors.Is(err, errInjected):
				t.Fatal(err)
			}
			if got := all(t, l, 1); !slices.Equal(got, told) {
				t.Fatalf("operation %d fails: after call %d there are %q, and %q were acknowledged", n, i, got, told)
			}
		}
		shut(t, l)
		if !m.failed {
			return
		}
		m.losePower()
		l, _ = open(t, m)
		if got := all(t, l, 1); !slices.Equal(got, told) {
			t.Fatalf("operation %d fails: after a power failure there are %q, and %q were acknowledged", n, got, told)
		}
		shut(t, l)
	}
}

func TestAnEmptyOrTooLargeCall(t *testing.T) {
	l, _ := open(t, directory(t))
	if err := l.AppendAll(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.AppendAll(t.Context(), [][]byte{[]byte("a")}, [][]byte{make([]byte, MaxEntry+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if got := all(t, l, 1); len(got) > 0 {
		t.Errorf("%d entries are there", len(got))
	}
	shut(t, l)
}

// A disk that fails at any operation, once or for some operations, breaks the log
// for a while: once it is repaired it takes entries again, and after a power
// failure all acknowledged ones are there, in order, once, and no others.
func TestABrokenLogIsRepaired(t *testing.T) {
	broken := 0
	for n := 1; ; n++ {
		reached := false
		for _, fails := range []int{1, 2, 5, 9} {
			for _, effect := range []bool{false, true} {
				m := newMemory()
				l, _, err := Open(Options{FileSystem: m, Segment: 256})
				if err != nil {
					t.Fatal(err)
				}
				m.count, m.failAt, m.fails, m.effect = 0, n, fails, effect
				var told []string
				for i := range 12 {
					entry := fmt.Sprintf("entry %d %s", i, bytes.Repeat([]byte{'y'}, 10*i))
					_, err := l.Append(t.Context(), []byte(entry))
					if err == nil {
						told = append(told, entry)
						continue
					}
					if errors.Is(err, ErrBroken) {
						broken++
						if err := l.AwaitBroken(t.Context()); err != nil {
							t.Fatal(err)
						}
						if _, err := l.Append(t.Context(), []byte("refused")); !errors.Is(err, ErrBroken) {
							t.Fatalf("a broken log takes an entry: %v", err)
						}
						for tries := 0; l.Repair() != nil; tries++ {
							if tries > fails {
								t.Fatalf("operation %d fails (effect %v): not repaired: %v", n, effect, l.Repair())
							}
						}
						if err := l.Err(); err != nil {
							t.Fatalf("after Repair: %v", err)
						}
					}
				}
				if got := all(t, l, 1); !slices.Equal(got, told) {
					t.Fatalf("operation %d fails (effect %v, %d times): %d entries were acknowledged, %d are read", n, effect, fails, len(told), len(got))
				}
				reached = reached || m.failed
				m.failAt = 0
				m.losePower()
				_ = l.Close()
				l, _, err = Open(Options{FileSystem: m, Segment: 256, Lost: unexpected(t)})
				if err != nil {
					t.Fatalf("operation %d fails (effect %v, %d times): opened again: %v", n, effect, fails, err)
				}
				if got := all(t, l, 1); !slices.Equal(got, told) {
					t.Fatalf("operation %d fails (effect %v, %d times): %d entries were acknowledged, %d are there", n, effect, fails, len(told), len(got))
				}
				shut(t, l)
			}
		}
		if !reached {
			break
		}
	}
	if broken < 20 {
		t.Errorf("the log was broken only %d times", broken)
	}
}

// A reader waits while the log is broken, and reads on after the repair.
func TestAReaderOutlivesARepair(t *testing.T) {
	m := newMemory()
	l, _, err := Open(Options{FileSystem: m})
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, "one")
	r := l.Read(1)
	defer r.Close()
	next := func() string {
		t.Helper()
		_, payload, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(payload)
	}
	if got := next(); got != "one" {
		t.Fatal(got)
	}
	m.count, m.failAt = 0, 2 // the sync after the write
	if _, err := l.Append(t.Context(), []byte("lost")); !errors.Is(err, ErrBroken) {
		t.Fatal(err)
	}
	if err := l.Repair(); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, "two")
	if got := next(); got != "two" {
		t.Errorf("it reads %q", got)
	}
	shut(t, l)
	if err := l.Repair(); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed log is repaired: %v", err)
	}
	if err := l.AwaitBroken(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("awaiting a closed log: %v", err)
	}
}

// A process is killed at any operation, the next one reads its entries and appends
// something or not, and then the power fails: entries that were read and that were
// appended are still there.
func TestWhatIsReadIsDurable(t *testing.T) {
	for n := 1; ; n++ {
		for _, more := range [][]string{nil, {"after"}} {
			m := newMemory()
			m.failAt, m.kills = n, true
			l, _, err := Open(Options{FileSystem: m, Segment: 64})
			if err == nil {
				for _, entry := range numbered(1, 3) {
					_, _ = l.Append(t.Context(), []byte(entry))
				}
				_ = l.Close()
			}
			if !m.failed {
				return
			}
			m.failAt, m.kills = 0, false
			l, _ = open(t, m)
			want := append(all(t, l, 1), more...)
			appendAll(t, l, more...)
			m.losePower()
			shut(t, l)
			if l, _ = open(t, m); !slices.Equal(all(t, l, 1), want) {
				t.Errorf("killed at operation %d, %d entries more: %d entries were there, and %d are left", n, len(more), len(want), l.Last())
			}
			shut(t, l)
		}
	}
}

// A file that cannot be removed is removed before later ones: a gap would
// be taken for damage.
func TestADropThatFailsLeavesNoGap(t *testing.T) {
	m := newMemory()
	l, _, err := Open(Options{FileSystem: m, Segment: 1})
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, "a", "b", "c", "d")
	m.failAt = m.count + 1
	if err := l.Drop(2); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	if err := l.Drop(3); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	l, found := open(t, m)
	if found.First != 4 || found.Last != 4 {
		t.Errorf("%+v", found)
	}
	shut(t, l)
}

func TestAFullDisk(t *testing.T) {
	m := newMemory()
	l, _, err := Open(Options{FileSystem: m, Segment: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	m.setRoom(3 << 10)
	var told []string
	refused := 0
	for _, entry := range numbered(1, 30) {
		if _, err := l.Append(t.Context(), []byte(entry)); err == nil {
			told = append(told, entry)
		} else if errors.Is(err, ErrFull) {
			refused++
		} else {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Fatal("the disk did not fill")
	}
	m.setRoom(1 << 20)
	appendAll(t, l, "there is room again")
	if got := all(t, l, 1); !slices.Equal(got, append(told, "there is room again")) {
		t.Errorf("%d entries are there, %d were acknowledged", len(got), len(told)+1)
	}
	shut(t, l)
}

func TestClosedAndCancelled(t *testing.T) {
	l, _ := open(t, directory(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, []byte("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := l.Append(t.Context(), make([]byte, MaxEntry+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	shut(t, l)
	if _, err := l.Append(t.Context(), []byte("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func FuzzRecover(f *testing.F) {
	l, _, err := Open(Options{FileSystem: newMemory(), Segment: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	appendAll(f, l, numbered(1, 3)...)
	f.Add(l.fs.(*memory).files[nameOf(1)].data)
	shut(f, l)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newMemory()
		m.files[nameOf(1)] = &memoryFile{fs: m, data: slices.Clone(b)}
		l, found, err := Open(Options{FileSystem: m})
		if err != nil {
			return
		}
		entries := all(t, l, 1)
		if uint64(len(entries)) != found.Last {
			t.Fatalf("%d entries of %d", len(entries), found.Last)
		}
		shut(t, l)
	})
}

// An entry may come in parts.
func TestAnEntryInParts(t *testing.T) {
	l, _, err := Open(Options{FileSystem: newMemory()})
	if err != nil {
		t.Fatal(err)
	}
	for _, parts := range [][][]byte{{[]byte("a"), nil, []byte("bc")}, {}, {[]byte("d")}} {
		if _, err := l.Append(t.Context(), parts...); err != nil {
			t.Fatal(err)
		}
	}
	if got := all(t, l, 1); !slices.Equal(got, []string{"abc", "", "d"}) {
		t.Errorf("%q", got)
	}
	shut(t, l)
}

func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d", callers), func(b *testing.B) {
			l, _, err := Open(Options{FileSystem: directory(b)})
			if err != nil {
				b.Fatal(err)
			}
			payload := make([]byte, 40<<10) // 50 events
			b.SetBytes(int64(len(payload)))
			b.SetParallelism(callers)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := l.Append(context.Background(), payload); err != nil {
						b.Error(err)
						return
					}
				}
			})
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
