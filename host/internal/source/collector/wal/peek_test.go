package wal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// The last entry is found without opening the log, also before a torn tail and
// when the last file has no entry yet.
// seen returns the last index that EachIn visits from an index on; they come in
// order.
func seen(t *testing.T, dir string, from uint64) uint64 {
	t.Helper()
	last := uint64(0)
	err := EachIn(dir, from, func(index uint64, payload []byte) error {
		if last != 0 && index != last+1 || index < from || len(payload) != 40 {
			t.Errorf("after entry %d comes %d, of %d bytes", last, index, len(payload))
		}
		last = index
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func TestEachIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	last := func() uint64 {
		t.Helper()
		return seen(t, dir, 0)
	}
	if n := seen(t, filepath.Join(dir, "missing"), 0); n != 0 {
		t.Errorf("a missing directory: %d", n)
	}
	if n := last(); n != 0 {
		t.Errorf("an empty directory: %d", n)
	}
	fs, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, _, err := Open(Options{FileSystem: fs, Segment: 64})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(5) {
		if _, err := l.Append(context.Background(), make([]byte, 40)); err != nil {
			t.Fatal(err)
		}
		if got := last(); got != n+1 {
			t.Errorf("after %d entries: %d", n+1, got)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List()
	if err != nil || len(names) < 2 {
		t.Fatalf("the log has the files %v, %v", names, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, names[len(names)-1]), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("torn"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for from := range uint64(6) {
		if n := seen(t, dir, from); n != 5 {
			t.Errorf("with a torn tail, from %d on: %d", from, n)
		}
	}
	if n := seen(t, dir, 6); n != 0 {
		t.Errorf("after the last entry comes %d", n)
	}
	stop := errors.New("stop")
	if err := EachIn(dir, 0, func(uint64, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error is %v", err)
	}
}
