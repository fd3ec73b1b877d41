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
	var synced []string
	sync := func(dir string) error {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 {
			t.Errorf("%s is synced before anything was made in it: %v", dir, err)
		}
		if rel, err := filepath.Rel(root, dir); err == nil && filepath.IsLocal(rel) {
			synced = append(synced, rel)
		}
		return err
	}
	makes := func(dir string, want ...string) {
		t.Helper()
		synced = nil
		err := makeDir(filepath.Join(root, dir), sync)
		slices.Sort(synced)
		if err != nil || !slices.Equal(synced, want) {
			t.Errorf("%s: syncs of %q, want %q; %v", dir, synced, want, err)
		}
	}
	makes("a/b/c", ".", "a", "a/b")
	makes("a/b/c", ".", "a", "a/b") // it may be of a process that was killed
	makes("a/b/d/e", ".", "a", "a/b", "a/b/d")
	if info, err := os.Stat(filepath.Join(root, "a/b/c")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := MakeDir(filepath.Join(root, "f") + "/"); err != nil {
		t.Error(err)
	}
}

// A sync that failed is reported once: a directory whose name is perhaps not durable does not
// stay.
func TestADirectoryWhoseSyncFailed(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{filepath.Join(root, "web"), filepath.Join(root, "a", "b")} {
		failed := false
		sync := func(of string) error {
			if of == filepath.Dir(dir) && !failed {
				failed = true
				return &fs.PathError{Op: "sync", Path: of, Err: syscall.EIO}
			}
			return nil
		}
		if err := makeDir(dir, sync); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there, and passes for durable: %v", dir, err)
		}
		if err := makeDir(dir, sync); err != nil {
			t.Error(err)
		}
	}
}

// A directory may lie below one of a file system that has no fsync for directories, as /proc.
func TestMakeDirBelowOneThatCannotBeSynced(t *testing.T) {
	if err := SyncDir("/proc"); err == nil {
		t.Skip("/proc can be synced here")
	}
	if err := MakeDir("/proc/self"); err != nil {
		t.Error(err)
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
