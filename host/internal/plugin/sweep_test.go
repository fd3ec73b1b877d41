package plugin

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// asSweeper makes the test binary start a plugin out of descriptor 3, freeze it,
// and sweep the directory that the variable names.
const asSweeper = "PENSTOCK_TEST_AS_SWEEPER"

func beSweeper(base string) {
	dir := filepath.Join(base, runPrefix+"1")
	if err := os.Mkdir(dir, 0o700); err != nil {
		panic(err)
	}
	cmd := &exec.Cmd{Path: "/proc/self/fd/3", Args: []string{"sdkplugin"}, Env: []string{
		protocol.Handshake.MagicCookieKey + "=" + protocol.Handshake.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1",
		socketDirEnv + "=" + dir, "TMPDIR=" + dir,
	}}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		panic(err)
	}
	handshake, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = cmd.Process.Signal(syscall.SIGSTOP)
	}
	if err != nil {
		panic(err)
	}
	_, hidden := os.ReadFile(fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid))
	n, err := Sweep(base)
	timer := time.AfterFunc(patience/4, func() {
		fmt.Println("the sweep left the plugin running")
		_ = cmd.Process.Kill()
	})
	ended := cmd.Wait()
	timer.Stop()
	fmt.Println(strings.Count(handshake, "|") > 3, errors.Is(hidden, os.ErrPermission), n, err, ended)
	os.Exit(0)
}

// A sweep by a user other than root finds a plugin that hides its environment,
// also when it is frozen and cannot notice that its host has ended.
func TestSweepKillsAHiddenPlugin(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: elsewhere the end of a plugin is left to the SDK")
	}
	base := shortTemp(t)
	if err := os.Chmod(base, 0o777); err != nil {
		t.Fatal(err)
	}
	// The user may not enter the directories of the binaries.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	binary, err := os.Open(sdkPlugin)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	sweeper := exec.CommandContext(t.Context(), fmt.Sprintf("/proc/self/fd/%d", self.Fd()))
	sweeper.Dir, sweeper.Env, sweeper.ExtraFiles = "/", []string{asSweeper + "=" + base}, []*os.File{binary}
	if os.Geteuid() == 0 {
		sweeper.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := sweeper.CombinedOutput()
	if want := "true true 1 <nil> signal: killed\n"; err != nil || string(out) != want {
		t.Errorf("%v, %q, want %q", err, out, want)
	}
	empty(t, base)
}
