package plugin

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstock-io/penstock/sdk/protocol"
)

func put(t *testing.T, dir, name, content string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func fakeProbe(context.Context, *Binary) (string, []int, error) { return "1.2.3", []int{1}, nil }

func pinnedDir(t *testing.T, types ...string) *Dir {
	t.Helper()
	dir := t.TempDir()
	for _, typ := range types {
		put(t, dir, Prefix+typ, "binary of "+typ, 0o755)
	}
	d := NewDir(dir, fakeProbe)
	if _, err := d.WriteLock(context.Background()); err != nil {
		t.Fatal(err)
	}
	return d
}

func states(t *testing.T, d *Dir) map[string]State {
	t.Helper()
	entries, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]State{}
	for _, e := range entries {
		got[e.Type] = e.State
		if (e.Problem == "") != (e.State == Pinned) {
			t.Errorf("%s is %s with problem %q", e.Type, e.State, e.Problem)
		}
	}
	return got
}

func TestListStates(t *testing.T) {
	d := pinnedDir(t, "a", "b", "c", "e")
	put(t, d.Path(), Prefix+"b", "something else", 0o755)
	if err := os.Remove(filepath.Join(d.Path(), Prefix+"c")); err != nil {
		t.Fatal(err)
	}
	put(t, d.Path(), Prefix+"d", "new", 0o755)
	put(t, d.Path(), "README", "no plugin", 0o644)
	put(t, d.Path(), Prefix+"e", "binary of e", 0o600)
	put(t, d.Path(), Prefix+"f", "new", 0o600)
	want := map[string]State{"a": Pinned, "b": Changed, "c": Missing, "d": Unpinned, "e": Refused, "f": Unpinned}
	if diff := cmp.Diff(want, states(t, d)); diff != "" {
		t.Error(diff)
	}
	reasons := map[State]State{Changed: Changed, Missing: Missing, Unpinned: Unpinned, Refused: Pinned}
	for typ, state := range want {
		b, err := d.Open(typ)
		if state == Pinned {
			if err != nil {
				t.Errorf("open %s: %v", typ, err)
			} else if b.Pin.Version != "1.2.3" || b.Type() != typ {
				t.Errorf("open %s = %+v", typ, b)
			}
			_ = b.Close()
			continue
		}
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.State != reasons[state] || refused.Remedy == "" {
			t.Errorf("open %s: %v, want it refused as %s", typ, err, state)
		}
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"directory of everybody", func(t *testing.T, dir string) { chmod(t, dir, 0o777) }, "run: chmod go-w"},
		{"directory of the group", func(t *testing.T, dir string) { chmod(t, dir, 0o775) }, "mode 0775"},
		{"binary of the group", func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, Prefix+"a"), 0o775) }, "may be written by others"},
		{"lock of everybody", func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, LockFile), 0o666) }, "plugins.lock may be written"},
		{"directory above of everybody", func(t *testing.T, dir string) { chmod(t, filepath.Dir(dir), 0o777) }, "holds the plugin directory"},
		{"binary of a stranger", func(t *testing.T, dir string) { chown(t, filepath.Join(dir, Prefix+"a")) }, "belongs to user 4242"},
		{"directory of a stranger", func(t *testing.T, dir string) { chown(t, dir) }, "run: chown root"},
		{"binary is a directory", func(t *testing.T, dir string) {
			if err := errors.Join(os.Remove(filepath.Join(dir, Prefix+"a")), os.Mkdir(filepath.Join(dir, Prefix+"a"), 0o755)); err != nil {
				t.Fatal(err)
			}
		}, "is not a regular file"},
		{"binary that is not executable", func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, Prefix+"a"), 0o600) }, "is not executable (mode 0600); run: chmod +x"},
		{"no directory", func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, "set plugin_dir"},
		{"lock is not JSON", func(t *testing.T, dir string) { put(t, dir, LockFile, "{", 0o644) }, "is not valid JSON: unexpected end of JSON input; put a copy of the file back"},
		{"lock of the future", func(t *testing.T, dir string) { put(t, dir, LockFile, `{"version":2,"plugins":[]}`, 0o644) }, "this host reads version 1"},
		{"lock with an unknown key", func(t *testing.T, dir string) { put(t, dir, LockFile, `{"version":1,"plugin":[]}`, 0o644) }, "unknown field"},
		{"lock with a short checksum", func(t *testing.T, dir string) {
			put(t, dir, LockFile, `{"version":1,"plugins":[{"file":"penstock-destination-a","sha256":"00"}]}`, 0o644)
		}, "not a SHA-256"},
		{"lock with a path", func(t *testing.T, dir string) {
			put(t, dir, LockFile, `{"version":1,"plugins":[{"file":"../penstock-destination-a","sha256":"00"}]}`, 0o644)
		}, "is not the name of a plugin"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			above := t.TempDir()
			dir := filepath.Join(above, "plugins")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, dir, Prefix+"a", "binary", 0o755)
			d := NewDir(dir, fakeProbe)
			if _, err := d.WriteLock(context.Background()); err != nil {
				t.Fatal(err)
			}
			test.spoil(t, dir)
			_, err := d.Open("a")
			var refused *RefusedError
			if !errors.As(err, &refused) || refused.Remedy == "" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("open: %v, want it refused, and to say %q", err, test.want)
			}
		})
	}
}

// A file that the host's user may not read stays so until a person acts.
func TestUnreadableIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want protocol.Class
		text string
	}{
		{&fs.PathError{Op: "open", Path: "/p/x", Err: syscall.EACCES}, protocol.Configuration, "plugin refused: /p/x cannot be read by the user penstock runs as"},
		{&fs.PathError{Op: "open", Path: "/p/x", Err: syscall.EMFILE}, protocol.Retryable, "open plugin: open /p/x: too many open files"},
	} {
		err := openError("open plugin", "/p/x", test.err)
		if protocol.ClassOf(err) != test.want || !strings.HasPrefix(err.Error(), test.text) {
			t.Errorf("%v of class %s, want %q of class %s", err, protocol.ClassOf(err), test.text, test.want)
		}
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func chown(t *testing.T, path string) {
	t.Helper()
	if err := os.Chown(path, 4242, 4242); err != nil {
		t.Skipf("needs root: %v", err)
	}
}

func TestTrustInstallRemove(t *testing.T) {
	ctx := context.Background()
	d := pinnedDir(t, "a")
	put(t, d.Path(), Prefix+"a", "newer", 0o755)
	entry, err := d.Trust(ctx, "a")
	if err != nil || entry.State != Pinned || entry.Version != "1.2.3" {
		t.Fatalf("trust = %+v, %v", entry, err)
	}

	source := t.TempDir()
	put(t, source, Prefix+"b", "b", 0o600)
	if entry, err = d.Install(ctx, filepath.Join(source, Prefix+"b")); err != nil || entry.State != Pinned {
		t.Fatalf("install = %+v, %v", entry, err)
	}
	if info, err := os.Stat(filepath.Join(d.Path(), Prefix+"b")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("installed with mode %v, %v", info.Mode(), err)
	}
	if diff := cmp.Diff(map[string]State{"a": Pinned, "b": Pinned}, states(t, d)); diff != "" {
		t.Error(diff)
	}
	if err := d.Remove("a"); err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if err := d.Remove("a"); !errors.As(err, &refused) || refused.State != Missing {
		t.Errorf("remove twice: %v", err)
	}
	if _, err := d.Trust(ctx, "a"); !errors.As(err, &refused) {
		t.Errorf("trust a missing binary: %v", err)
	}
	if _, err := d.Install(ctx, filepath.Join(source, "something")); err == nil {
		t.Error("installed under a name that is not a plugin's")
	}
	if diff := cmp.Diff(map[string]State{"b": Pinned}, states(t, d)); diff != "" {
		t.Error(diff)
	}
}

// A binary that cannot be run is neither installed nor pinned.
func TestProbeFails(t *testing.T) {
	ctx := context.Background()
	d := pinnedDir(t, "a")
	broken := NewDir(d.Path(), func(context.Context, *Binary) (string, []int, error) { return "", nil, errors.New("no plugin") })
	before, err := os.ReadFile(filepath.Join(d.Path(), LockFile))
	if err != nil {
		t.Fatal(err)
	}
	source := t.TempDir()
	put(t, source, Prefix+"a", "newer", 0o755)
	if _, err := broken.Install(ctx, filepath.Join(source, Prefix+"a")); err == nil {
		t.Error("installed")
	}
	put(t, d.Path(), Prefix+"b", "b", 0o755)
	if _, err := broken.Trust(ctx, "b"); err == nil {
		t.Error("trusted")
	}
	if _, err := broken.WriteLock(ctx); err == nil {
		t.Error("wrote the lock")
	}
	after, err := os.ReadFile(filepath.Join(d.Path(), LockFile))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]State{"a": Pinned, "b": Unpinned}, states(t, d)); diff != "" {
		t.Error(diff)
	}
	left, err := filepath.Glob(filepath.Join(d.Path(), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLockRoundTrip(t *testing.T) {
	l := Lock{Plugins: []Pin{
		{File: Prefix + "s3", Version: "0.1.0", SHA256: strings.Repeat("ab", 32), Protocols: []int{1}},
		{File: Prefix + "gcs", SHA256: strings.Repeat("00", 32)},
	}}
	got, err := ParseLock(l.Encode())
	if err != nil {
		t.Fatal(err)
	}
	less := func(a, b Pin) bool { return a.File < b.File }
	if diff := cmp.Diff(l.Plugins, got.Plugins, cmpopts.SortSlices(less)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(string(l.Encode()), string(got.Encode())); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add(Lock{Plugins: []Pin{{File: Prefix + "a", SHA256: strings.Repeat("ab", 32)}}}.Encode())
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseLock(data)
		if err != nil {
			return
		}
		again, err := ParseLock(l.Encode())
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if diff := cmp.Diff(l.Encode(), again.Encode()); diff != "" {
			t.Error(diff)
		}
	})
}
