package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-io/penstock/host/internal/private"
)

// The lock overwrites nothing but a lock.
func TestLockOverwritesNothingElse(t *testing.T) {
	for name, put := range map[string]func(target, path string) error{
		"symbolic link": os.Symlink,
		"hard link":     os.Link,
		"another file":  func(_, path string) error { return os.WriteFile(path, []byte("precious"), 0o600) },
	} {
		dir := t.TempDir()
		target, path := filepath.Join(dir, "target"), filepath.Join(dir, "data", LockFile)
		err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(target, []byte("precious"), 0o600), put(target, path))
		if err != nil {
			t.Fatal(err)
		}
		var refused *private.RefusedError
		if _, err := lock(filepath.Dir(path)); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
		for _, file := range []string{target, path} {
			if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
				t.Errorf("%s: %s holds %q, %v", name, file, data, err)
			}
		}
	}
}

// A lock that a dead process has left is taken over; that of a living one is
// not.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	f, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := lock(dir); !errors.As(err, &locked) || locked.Owner == "unknown" {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err = lock(dir); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	var refused *private.RefusedError
	if _, err := lock(dir); !errors.As(err, &refused) {
		t.Errorf("a directory that everyone may write: %v", err)
	}
}
