package private

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func refused(t *testing.T, err error, reason string) {
	t.Helper()
	var r *RefusedError
	if !errors.As(err, &r) || !strings.Contains(err.Error(), reason) || r.Remedy == "" {
		t.Errorf("got %v, want a refusal: %s", err, reason)
	}
}

func TestMakeDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := errors.Join(MakeDir(dir), MakeDir(dir)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.Symlink(dir, link), os.Chmod(dir, 0o755), MakeDir(link)); err != nil {
		t.Errorf("a directory that others may read, behind a link: %v", err)
	}
	for _, mode := range []os.FileMode{0o777, 0o770, 0o707} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		refused(t, MakeDir(dir), "chmod 700")
		refused(t, MakeDir(link), "may be written by other users")
	}
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chmod(filepath.Dir(dir), 0o777)); err != nil {
		t.Fatal(err)
	}
	refused(t, MakeDir(dir), "chmod o-w")
	if err := os.Chmod(filepath.Dir(dir), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := MakeDir(dir); err != nil {
		t.Errorf("below a sticky directory: %v", err)
	}
	if info, err := os.Stat(dir); err == nil {
		refused(t, checkOwner(dir, info, os.Geteuid()+1), "chown -R")
	}
	if os.Geteuid() != 0 {
		t.Log("SKIPPED: only root can give a directory to another user")
		return
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	refused(t, MakeDir(dir), "65534")
}

// Whatever lies where a file should be, nothing else is written.
func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	path, target := filepath.Join(dir, "file"), filepath.Join(dir, "target")
	const flag = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	for name, test := range map[string]struct {
		put    func() error
		reason string
	}{
		"symbolic link":      {func() error { return os.Symlink(target, path) }, "symbolic link"},
		"dangling link":      {func() error { return os.Symlink(filepath.Join(dir, "nowhere"), path) }, "symbolic link"},
		"hard link":          {func() error { return os.Link(target, path) }, "hard link"},
		"fifo without peer":  {func() error { return syscall.Mkfifo(path, 0o600) }, "not a regular file"},
		"nothing":            {func() error { return nil }, ""},
		"a file of the host": {func() error { return os.WriteFile(path, []byte("before"), 0o600) }, ""},
	} {
		if err := errors.Join(os.WriteFile(target, []byte("precious"), 0o600), test.put()); err != nil {
			t.Fatal(err)
		}
		f, err := OpenFile(path, flag)
		if test.reason != "" {
			refused(t, err, test.reason)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if info, err := f.Stat(); err != nil || info.Size() != 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		if f != nil {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		if data, err := os.ReadFile(target); err != nil || string(data) != "precious" {
			t.Errorf("%s: the target is %q, %v", name, data, err)
		}
		if _, err := os.Lstat(filepath.Join(dir, "nowhere")); err == nil {
			t.Errorf("%s: the target of a dangling link was made", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
