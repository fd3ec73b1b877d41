package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// views are the commands that only look.
var views = [][]string{
	{"status"}, {"plan"}, {"journal", "verify"}, {"journal", "inspect"}, {"quarantine", "list"}, {"pipelines", "list"}, {"runs", "list"},
	{"identity", "failures"},
}

// refusedLink is why an anonymous id that has a user is linked to no other.
const refusedLink = "errAnonDistinctIdAssignedAlready"

// snapshot describes the files below a directory of a site: names, modes, sizes,
// times of change.
func snapshot(t *testing.T, s *site, name string) map[string]string {
	t.Helper()
	found := map[string]string{}
	root := filepath.Join(s.Dir, name)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		found[strings.TrimPrefix(path, root)] = fmt.Sprintf("%v %d %v", info.Mode(), info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A data_dir that does not exist is said and not made. Before the first run,
// status and plan name the files that it would read.
func TestViewsOfAMistypedDataDirectoryMakeNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.events("a.ndjson", 0, 1, 10)
	s.Once()
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `"./data"`, `"./mistyped"`, 1))
	for _, command := range views {
		status, says := 1, []string{filepath.Join(s.Dir, "mistyped"), "does not exist"}
		if command[0] == "status" || command[0] == "plan" {
			status, says = 0, []string{"1 file"}
		}
		s.Says(s.Penstock(nil, command...), status, says...)
	}
	s.Says(s.Penstock(nil, "status"), 0, "this directory does not exist")
	for _, command := range [][]string{
		{"pipelines", "pause", "events_out"}, {"runs", "retry", "events_out", "1"}, {"quarantine", "replay"}, {"quarantine", "drop", "--yes"},
		{"journal", "rebuild-catalog"},
	} {
		s.Says(s.Penstock(nil, command...), 1, "does not exist")
	}
	s.Says(s.Penstock(nil, "validate"), 0)
	if _, err := os.Stat(filepath.Join(s.Dir, "mistyped")); !os.IsNotExist(err) {
		t.Errorf("the directory was made: %v", err)
	}
}

// lookedAt makes a site with everything that views look at, after a host was
// killed: its catalog has a log, and its links are not folded.
func lookedAt(t *testing.T) *site {
	t.Helper()
	c := newCollecting(t)
	c.Write("penstock.hcl", strings.Replace(c.Read("penstock.hcl"), `token = env`, "identity = \"original\"\n  token = env", 1))
	c.events("a.ndjson", 0, 2, 200)
	c.Write("events/b.ndjson", "not a record\n")
	c.Once()
	h := c.serve()
	for n := range 3 {
		body := fmt.Sprintf(`{"event":"$identify","properties":{"token":"tok-7c1d","$identified_id":"user-%d","$anon_id":%q}}`, n, anonymousID(1))
		if status, answer, err := c.post("/track", "application/json", "", body); err != nil || status != 200 || answer != "1" {
			t.Fatal(status, answer, err)
		}
	}
	// It seals the links, and folds them.
	c.Says(c.Penstock(nil, "identity", "failures"), 0, refusedLink)
	h.Stop(syscall.SIGKILL)
	if info, err := os.Stat(filepath.Join(c.Dir, "data", "catalog.db-wal")); err != nil || info.Size() == 0 {
		t.Fatalf("the catalog has no log: %v", err)
	}
	return c.site
}

// Views change nothing after a host was killed, and nothing after one that ended
// in order.
func TestViewsChangeNothing(t *testing.T) {
	t.Parallel()
	s := lookedAt(t)
	temporary := t.TempDir()
	look := func() map[string]string {
		t.Helper()
		before := snapshot(t, s, "data")
		said := map[string]string{}
		for _, command := range views {
			r := s.Penstock([]string{"TMPDIR=" + temporary}, command...)
			s.Says(r, 0)
			said[strings.Join(command, " ")] = r.Out
		}
		s.Says(s.Penstock(nil, "validate"), 0)
		if diff := cmp.Diff(before, snapshot(t, s, "data")); diff != "" {
			t.Errorf("the data directory was changed (-before +after):\n%s", diff)
		}
		return said
	}
	said := look()
	for command, text := range map[string]string{
		"status": "no host is running", "quarantine list": "not a record", "journal verify": "0 corruptions", "runs list": "succeeded",
		"identity failures": refusedLink,
	} {
		if !strings.Contains(said[command], text) {
			t.Errorf("%s does not say %q:\n%s", command, text, said[command])
		}
	}
	s.Once()
	look()
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

// Views work on a data directory that is read-only, as a mounted backup is, and
// commands that write name the reason why they cannot.
func TestViewsOfAReadOnlyDataDirectory(t *testing.T) {
	if !inside(t) {
		return
	}
	s := lookedAt(t)
	data := filepath.Join(s.Dir, "data")
	if err := syscall.Mount(data, data, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("SKIPPED: nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Mount("", data, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, command := range views {
		s.Says(s.Penstock(nil, command...), 0)
	}
	s.Says(s.Penstock(nil, "identity", "failures"), 0, refusedLink)
	s.Says(s.Penstock(nil, "validate"), 2, "Directory cannot be used", "data_dir", "read-only file system")
	s.Says(s.Penstock(nil, "run", "--once"), 2, "Directory cannot be used", "read-only file system")
	s.Says(s.Penstock(nil, "pipelines", "pause", "events_out"), 1, "read-only file system", data)
}

// A data_dir that is a file, or that lies below one, is a mistake in the
// configuration.
func TestADataDirectoryThatIsAFile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Write("data", "a file\n")
	for _, command := range [][]string{{"validate"}, {"run", "--once"}} {
		s.Says(s.Penstock(nil, command...), 2, "Directory cannot be used", "data_dir is "+filepath.Join(s.Dir, "data")+": it is a file", "penstock.hcl")
	}
	s.Says(s.Penstock(nil, "status"), 1, filepath.Join(s.Dir, "data")+" is a file")
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `"./data"`, `"./data/below"`, 1))
	s.Says(s.Penstock(nil, "validate"), 2, "Directory cannot be used", "a part of its path is a file")
	if s.Read("data") != "a file\n" {
		t.Error("the file was changed")
	}
}
