package private

import (
	"bytes"
	"context"
	"errors"
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
	case "printer":
		fmt.Print(os.Getenv("SECRET"))
		os.Exit(0)
	case "child":
		beChild()
	case "erased":
		beErased()
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

// beErased erases its environment, and prints how much is shown after that, and the
// variables that it and a child still have.
func beErased() {
	erased := EraseEnvironment()
	seen, err := os.ReadFile("/proc/self/environ") // HideMemory would close it
	if err := errors.Join(erased, err, HideMemory()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), asHost+"=printer")
	printed, err := child.Output()
	fmt.Printf("seen %d, own %s, %d, child %s, %v\n", len(bytes.Trim(seen, "\x00")), os.Getenv("SECRET"), len(os.Environ()), printed, err)
	os.Exit(0)
}

// The environment of a process is not shown any more, and the process and its
// children still have it.
func TestEraseEnvironment(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skipf("SKIPPED: there is no /proc: %v", err)
	}
	for _, tt := range []struct {
		env  []string
		want string
	}{
		{nil, "seen 0, own hunter2, 3, child hunter2, <nil>\n"},
		{[]string{"GOTRACEBACK=crash"}, "seen 68, own hunter2, 4, child hunter2, <nil>\n"},
	} {
		c := exec.CommandContext(t.Context(), "/proc/self/exe")
		c.Env = append([]string{asHost + "=erased", "SECRET=hunter2", "EMPTY="}, tt.env...)
		if out, err := c.CombinedOutput(); err != nil || string(out) != tt.want {
			t.Errorf("%v: %v\n%s\nwant %s", tt.env, err, out, tt.want)
		}
	}
}

func TestEnvironmentRange(t *testing.T) {
	t.Parallel()
	stat := func(from, to string) []byte {
		return []byte("12 (a) (b c) S" + strings.Repeat(" 1", envStartField-1) + " " + from + " " + to + " 0\n")
	}
	for _, tt := range []struct {
		stat     []byte
		from, to int64
		failed   bool
	}{
		{stat("140736", "140999"), 140736, 140999, false},
		{stat("0", "0"), 0, 0, false},
		{stat("140999", "140736"), 0, 0, true},
		{stat("0", "14073600000"), 0, 0, true},
		{stat("x", "1"), 0, 0, true},
		{[]byte("12 (a) S 1"), 0, 0, false},
	} {
		from, to, err := environmentRange(tt.stat)
		if from != tt.from || to != tt.to || (err != nil) != tt.failed {
			t.Errorf("%s: from %d to %d, %v", tt.stat, from, to, err)
		}
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
