package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/private"
)

func TestFindUser(t *testing.T) {
	t.Parallel()
	lookup := func(name string) (*user.User, error) {
		switch name {
		case "root":
			return &user.User{Uid: "0", Gid: "0", Username: "root"}, nil
		case "daemon":
			return &user.User{Uid: "65534", Gid: "65534", Username: "daemon", HomeDir: "/nonexistent"}, nil
		}
		return nil, user.UnknownUserError(name)
	}
	for _, tt := range []struct {
		name string
		euid int
		want string
	}{
		{"daemon", 0, "<nil>"},
		{"daemon", 1000, "plugins can run as user daemon only when penstock runs as root, and it runs as user 1000"},
		{"root", 0, "user root is root"},
		{"nemo", 0, "there is no user nemo on this machine"},
	} {
		u, err := findUser(tt.name, tt.euid, lookup)
		if got := fmt.Sprint(err); !strings.Contains(got, tt.want) || err == nil && (u.UID != 65534 || u.GID != 65534 || u.Home != "/nonexistent") {
			t.Errorf("%s as %d: %+v, %v, want %s", tt.name, tt.euid, u, err, tt.want)
		}
	}
}

// asNobody is a user other than this one, for tests that root runs.
func asNobody(t *testing.T) *User {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root starts processes of other users")
	}
	u, err := FindUser("nobody")
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	return u
}

// A plugin of another user runs with that user's rights and places, answers, and
// leaves nothing behind; also when the host hides its memory.
func TestAPluginOfAnotherUser(t *testing.T) {
	u := asNobody(t)
	if err := private.HideMemory(); err != nil {
		t.Fatal(err)
	}
	d := install(t, "stubborn")
	b, err := d.Open("stubborn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	l := testLaunch(t, d, "stubborn")
	l.user, l.base = u, os.TempDir()
	var refused *StartError
	if _, err := startProcess(t.Context(), l); !errors.As(err, &refused) || !strings.Contains(err.Error(), "run chmod o+rx") {
		t.Errorf("a binary of mode 0700: %v", err)
	}
	if err := os.Chmod(l.binary.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	p := mustStart(t, l)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pidOf(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "Gid:\t65534\t65534\t65534\t65534\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("%q is not in\n%s", want, status)
		}
	}
	for _, line := range strings.Split(string(status), "\n") {
		if groups, ok := strings.CutPrefix(line, "Groups:"); ok && slices.Contains(strings.Fields(groups), "0") {
			t.Errorf("it is in root's group: %s", line)
		}
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pidOf(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Split(string(environ), "\x00")
	for name, want := range map[string]string{"HOME": u.Home, "USER": "nobody", "LOGNAME": "nobody", "TMPDIR": filepath.Join(p.dir.path, "tmp")} {
		if n := len(slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return !strings.HasPrefix(kv, name+"=") })); n != 1 || !slices.Contains(env, name+"="+want) {
			t.Errorf("%s is not %s once in %q", name, want, env)
		}
	}
	if info, err := os.Stat(p.dir.path); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("the private directory: %v, %v", info, err)
	}
	if info, err := os.Stat(p.dir.tmp); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its part for the plugin: %v, %v", info, err)
	}
	if err := p.health(t.Context()); err != nil {
		t.Error(err)
	}
	p.stop(context.Background())
	if _, err := os.Stat(p.dir.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the private directory is left: %v", err)
	}
}

// A manager sweeps the directories of plugins of another user, and ends the
// processes that a dead host left.
func TestPluginsOfAnotherUserAreSwept(t *testing.T) {
	u := asNobody(t)
	base := shortTemp(t)
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	r, err := newRunDir(base, u)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := Sweep(base); n != 0 || err != nil {
		t.Errorf("%d directories of a living host were swept, %v", n, err)
	}
	if err := r.lock.Close(); err != nil { // its host has died
		t.Fatal(err)
	}
	if n, err := Sweep(base); n != 1 || err != nil {
		t.Errorf("%d directories were swept, %v", n, err)
	}
}
