package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestMakeDir(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b", "c")
	var synced []string
	sync := func(dir string) error {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 {
			t.Errorf("%s is synced before anything was made in it: %v", dir, err)
		}
		rel, err := filepath.Rel(root, dir)
		synced = append(synced, rel)
		return err
	}
	if err := makeDir(dir, sync); err != nil || !slices.Equal(synced, []string{".", "a", "a/b"}) {
		t.Errorf("syncs of %q, %v", synced, err)
	}
	synced = nil
	if err := makeDir(dir, sync); err != nil || !slices.Equal(synced, []string{"a/b"}) {
		t.Errorf("of a directory that was there: syncs of %q, %v", synced, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestMakeDirFails(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if err := MakeDir(dir); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("MakeDir(%s): %v", dir, err)
		}
	}
	for _, failure := range []error{syscall.EIO, syscall.EACCES} {
		fails := func(dir string) error { return &fs.PathError{Op: "open", Path: dir, Err: failure} }
		if err := makeDir(filepath.Join(root, failure.Error()), fails); !errors.Is(err, failure) {
			t.Errorf("a directory that was made, and not synced: %v", err)
		}
		if err := makeDir(root, fails); (err == nil) != (failure == syscall.EACCES) {
			t.Errorf("a directory that was there, %v: %v", failure, err)
		}
	}
	if err := SyncDir(filepath.Join(root, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of a missing directory: %v", err)
	}
}
