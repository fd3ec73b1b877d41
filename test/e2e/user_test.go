package e2e

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// Plugins of another user export to a directory of that user, and to no other; a
// host that is not root refuses plugin_user.
func TestPluginsOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root runs plugins as another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.MkdirTemp("", "penstock-out-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(out) })
	s := newSiteWith(t, "\ndestination \"localfs\" \"out\" {\n  path = \""+out+"\"\n}\n", "localfs.out")
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "  data_dir ", "  plugin_user = \""+nobody.Uid+"\"\n  data_dir ", 1))
	s.events("a.ndjson", 0, 3, 50)
	s.Says(s.Penstock(nil, "validate"), 0, "valid: ")
	s.Says(s.Penstock(nil, "run", "--once", "--retry-for", "1s"), 1, out, "permission denied")
	if err := os.Chown(out, uid, -1); err != nil {
		t.Fatal(err)
	}
	s.Once()
	relative, err := filepath.Rel(s.Dir, out)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Rows(relative)); n != 50 {
		t.Errorf("%d rows are exported", n)
	}
	files := 0
	err = filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != uid {
			t.Errorf("%s belongs to user %d", path, stat.Uid)
		}
		files++
		return err
	})
	if err != nil || files < 4 {
		t.Errorf("%d files, %v", files, err)
	}

	binary, err := os.Open(filepath.Join(penstocktest.Binaries, "penstock"))
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	config := filepath.Join(out, "penstock.hcl")
	if err := errors.Join(os.WriteFile(config, []byte(s.Read("penstock.hcl")), 0o600), os.Chown(config, uid, -1)); err != nil {
		t.Fatal(err)
	}
	// The directory of the binary is closed to the other user, and the descriptor is not.
	c := &exec.Cmd{Path: "/proc/self/fd/3", Args: []string{"penstock", "validate", "-c", config}, Dir: "/", Env: penstocktest.Environment(nil)}
	c.ExtraFiles = []*os.File{binary}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	said, err := c.CombinedOutput()
	var exit *exec.ExitError
	if want := "plugins can run as user " + nobody.Uid + " only when penstock runs as root"; !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(said), want) {
		t.Errorf("%v\n%s\nwant %s", err, said, want)
	}
}
