package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// insideEnv says that this process may mount file systems of its own, and where
// the binaries are that its parent has built.
const insideEnv = "PENSTOCK_TEST_INSIDE"

// inside runs the test again in namespaces of its own, in which any user may mount
// file systems. It returns true there; the caller returns when it is false.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	command.Env = append(os.Environ(), insideEnv+"="+penstocktest.Binaries)
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Skipf("SKIPPED: this machine gives a process no namespaces of its own: %v", err)
	}
	err := command.Wait()
	switch {
	case err != nil:
		t.Errorf("inside: %v\n%s", err, out.String())
	case strings.Contains(out.String(), "--- SKIP"):
		t.Skip(out.String())
	}
	return false
}

// smallDisk mounts a file system of a size at a directory of the site, and
// returns a function that gives it another size.
func (s *site) smallDisk(name, size string) (resize func(string)) {
	s.t.Helper()
	dir := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	options := func(size string) string { return "mode=0700,size=" + size }
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options(size)); err != nil {
		s.t.Skipf("SKIPPED: no tmpfs can be mounted here: %v", err)
	}
	s.t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			s.t.Error(err)
		}
	})
	return func(size string) {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, options(size)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// The disk of the journal, or that of a destination, fills up while a host
// works. The host reports it, and once there is room the export is complete.
func TestDiskFull(t *testing.T) {
	if !inside(t) {
		return
	}
	undisturbed := newSite(t)
	fill(undisturbed)
	undisturbed.Once()
	want := undisturbed.Rows("out")
	for _, tt := range []struct{ where, size string }{
		{"data", "16k"}, {"data", "128k"}, {"data", "600k"}, {"data", "2m"}, {"data", "3m"},
		{"out", "64k"}, {"out", "1m"}, {"out", "2m"},
	} {
		t.Run(tt.where+" "+tt.size, func(t *testing.T) {
			s := newSite(t)
			fill(s)
			resize := s.smallDisk(tt.where, tt.size)
			r := s.Penstock(nil, "run", "--once", "--retry-for", "1s")
			s.Says(r, 1, s.room(tt.where))
			before := s.Objects("out")
			resize("64m")
			s.Once()
			checkUntouched(t, before, s.Objects("out"))
			penstocktest.SameRows(t, s.Rows("out"), want)
			checkNothingMore(t, s)
		})
	}
}

// As above, by a limit on the size of files, which every machine has.
func TestFileTooLarge(t *testing.T) {
	undisturbed := newSite(t)
	fill(undisturbed)
	undisturbed.Once()
	want := undisturbed.Rows("out")
	for _, kib := range []int{64, 256, 700, 1024} {
		t.Run(fmt.Sprint(kib, " KiB"), func(t *testing.T) {
			s := newSite(t)
			fill(s)
			r := s.limited(kib, "run", "--once", "--retry-for", "1s")
			s.Says(r, 1, s.room("data"))
			before := s.Objects("out")
			s.Once()
			checkUntouched(t, before, s.Objects("out"))
			penstocktest.SameRows(t, s.Rows("out"), want)
			checkNothingMore(t, s)
		})
	}
}

// room is the message about a full disk of the site.
func (s *site) room(where string) string {
	if where == "out" {
		return "no space left on device: free some space" // the plugin's disk
	}
	return filepath.Join(s.Dir, where) + " has "
}

// limited is penstock with a limit on the size of the files that it and its
// plugins write.
func (s *site) limited(kib int, args ...string) penstocktest.Result {
	s.t.Helper()
	script := fmt.Sprintf(`ulimit -f %d && exec "$0" "$@"`, kib*2)
	args = append([]string{"-c", script, filepath.Join(penstocktest.Binaries, "penstock")}, args...)
	command := exec.Command("sh", append(args, "--config", "penstock.hcl")...)
	command.Dir = s.Dir
	command.Env = penstocktest.Environment(nil)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return penstocktest.Result{Out: stdout.String(), Err: stderr.String(), Status: command.ProcessState.ExitCode()}
}
