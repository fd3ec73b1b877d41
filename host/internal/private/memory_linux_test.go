package private

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asHost makes the test binary be a host that has a child read its environment
// and memory: "hidden" or "open".
const asHost = "PENSTOCK_TEST_PRIVATE"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(asHost); mode {
	case "":
		os.Exit(m.Run())
	case "child":
		beChild()
	default:
		beHost(mode == "hidden")
	}
}

// beHost starts a child the way plugins are started: out of an open descriptor.
func beHost(hidden bool) {
	if hidden {
		if err := HideMemory(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	c := &exec.Cmd{Path: fmt.Sprintf("/proc/self/fd/%d", self.Fd()), Args: []string{"child"}, Env: []string{asHost + "=child"}, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := c.Run(); err != nil {
		fmt.Println("run:", err)
		os.Exit(1)
	}
}

func beChild() {
	for _, file := range []string{"environ", "mem", "fd/0"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/%s", os.Getppid(), file))
		if err == nil {
			_, err = io.ReadFull(f, make([]byte, 1))
			if file == "mem" {
				err = nil // page 0 is never there; that it opens is enough
			}
		}
		fmt.Println(file, err == nil)
	}
	// PTRACE_SEIZE does not stop its target.
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(os.Getppid()), 0, 0, 0, 0)
	fmt.Println("ptrace", errno == 0)
	if f, err := os.Open(fmt.Sprintf("/proc/%d/environ", os.Getpid())); err != nil {
		fmt.Println("a child hides itself:", err)
	} else {
		f.Close()
	}
}

// A child of the same user reads nothing of a host that hides its memory, and
// can be started by it all the same.
func TestHideMemory(t *testing.T) {
	for mode, want := range map[string]string{"open": "environ true\nmem true\n", "hidden": "environ false\nmem false\nfd/0 false\nptrace false\n"} {
		exe, err := os.Open("/proc/self/exe")
		if err != nil {
			t.Skipf("SKIPPED: there is no /proc: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", exe.Fd()))
		c.Env, c.Dir = []string{asHost + "=" + mode}, "/"
		if os.Geteuid() == 0 { // root may read everything
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := c.CombinedOutput()
		if err := exe.Close(); err != nil {
			t.Error(err)
		}
		if mode == "open" && err == nil && !strings.HasPrefix(string(out), want) {
			t.Logf("SKIPPED in part: this system hides processes anyway:\n%s", out)
			continue
		}
		if err != nil || !strings.HasPrefix(string(out), want) || strings.Contains(string(out), "hides itself") {
			t.Errorf("%s: %v\n%s", mode, err, out)
		}
	}
}
