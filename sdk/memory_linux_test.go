package sdk

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// asUser has the command run as a user other than root, for whom the kernel
// checks permissions.
func asUser(cmd *exec.Cmd) *exec.Cmd {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	return cmd
}

// Another process of the same user cannot read a plugin's memory and environment,
// unless core dumps are asked for.
func TestServeHidesMemory(t *testing.T) {
	for traceback, readable := range map[string]bool{"": false, "crash": true} {
		pid := startAsUser(t, "GOTRACEBACK="+traceback)
		for _, file := range []string{"environ", "mem", "fd/0"} {
			out, err := asUser(exec.Command("sh", "-c", `: < "$0"`, fmt.Sprintf("/proc/%d/%s", pid, file))).CombinedOutput()
			switch {
			case readable && err != nil:
				t.Logf("SKIPPED in part: this system hides %s of processes anyway: %s", file, out)
			case !readable && err == nil:
				t.Errorf("with GOTRACEBACK=%q another process opens %s of a plugin", traceback, file)
			}
		}
	}
}

// startAsUser starts a host and its plugin as a user other than root, and returns
// the plugin's process id.
func startAsUser(t *testing.T, env string) (pid int) {
	t.Helper()
	self, err := os.Open("/proc/self/exe") // the user may not enter the directory of this binary
	if err != nil {
		t.Skipf("SKIPPED: there is no /proc: %v", err)
	}
	defer self.Close()
	dir := shortTempDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	host := asUser(exec.Command(fmt.Sprintf("/proc/self/fd/%d", self.Fd())))
	host.Args = []string{"/proc/self/exe"}
	host.Dir = dir
	host.Env = []string{roleEnv + "=host", "TMPDIR=" + dir, "GOCOVERDIR=" + dir, env}
	out, err := host.StdoutPipe()
	if err == nil {
		err = host.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = host.Process.Kill()
		_ = host.Wait() // it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatalf("the host says %q", line)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
	return pid
}
