package wal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Indexes are never given twice: new entries with the indexes of sealed ones would
// be passed over.
func TestALogThatEndsBeforeTheJournal(t *testing.T) {
	dir := directory(t)
	l, found, err := Open(Options{FileSystem: dir, After: 7})
	if err != nil || found.First != 8 || found.Last != 7 {
		t.Fatal(found, err)
	}
	if first, last := l.First(), l.Last(); first != 8 || last != 7 {
		t.Errorf("an empty log has entries %d to %d", first, last)
	}
	appendAll(t, l, "a", "b")
	if last := l.Last(); last != 9 {
		t.Errorf("the second entry behind 7 is %d", last)
	}
	shut(t, l)
	if l, _, err = Open(Options{FileSystem: dir, After: 9}); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	var behind *BehindError
	if _, _, err := Open(Options{FileSystem: dir, After: 10}); !errors.As(err, &behind) || behind.Last != 9 || behind.After != 10 {
		t.Fatal(err)
	}
	// As the error says: without files it goes on.
	names, err := dir.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(string(dir), name)); err != nil {
			t.Fatal(err)
		}
	}
	if l, found, err = Open(Options{FileSystem: dir, After: 10}); err != nil || found.First != 11 {
		t.Fatal(found, err)
	}
	shut(t, l)
}
