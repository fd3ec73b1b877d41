package wal

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// The last entry is found without opening the log, also before a torn tail and
// when the last file has no entry yet.
func TestLastIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	last := func() uint64 {
		t.Helper()
		n, err := LastIn(dir)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n, err := LastIn(filepath.Join(dir, "missing")); n != 0 || err != nil {
		t.Errorf("a missing directory: %d, %v", n, err)
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
	if n := last(); n != 5 {
		t.Errorf("with a torn tail: %d", n)
	}
}
