package sdk

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// orphaned starts a host, kills it, and returns the plugin process that the
// host had started, which then is a child of this process.
func orphaned(t *testing.T, role, dir string) (pid int) {
	t.Helper()
	host := exec.Command(os.Args[0])
	host.Env = []string{roleEnv + "=" + role, "TMPDIR=" + dir, "GOCOVERDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	out, err := host.StdoutPipe()
	if err == nil {
		err = host.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatalf("the host says %q", line)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // it was killed
	return pid
}

// The SDK alone ends a plugin whose host was killed: here the kernel sends it no
// signal, since the host has not asked for one.
func TestAnOrphanEndsByItself(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
	ended := func(t *testing.T, pid int) (status unix.WaitStatus) {
		eventually(t, "the end of the orphan", 10*time.Second, func() bool {
			got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
			return err == nil && got == pid
		})
		return status
	}
	t.Run("a child of the host", func(t *testing.T) {
		plugin := orphaned(t, "host", shortTempDir(t))
		if status := ended(t, plugin); status.ExitStatus() != exitOrphaned {
			t.Errorf("it ended with %#x, want exit status %d", status, exitOrphaned)
		}
	})
	t.Run("a child of a wrapper that lives on", func(t *testing.T) {
		dir := shortTempDir(t)
		ended(t, orphaned(t, "host behind a wrapper", dir))
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil || strings.TrimSpace(string(status)) != strconv.Itoa(exitOrphaned) {
			t.Errorf("it ended with %s, %v, want exit status %d", status, err, exitOrphaned)
		}
	})
}

// shortTempDir is one that may hold a socket.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
