package plugin

import (
	"bufio"
	"bytes"
	"context"
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
)

// beHost starts a plugin out of dir, prints its process id and that of its
// child, and waits for its end.
func beHost(dir string) {
	mode := os.Getenv(asHost + "_MODE")
	b, err := NewDir(dir, nil).Open(mode)
	if err != nil {
		panic(err)
	}
	l := launch{
		name: mode, binary: b, base: os.Getenv(asHost + "_BASE"), env: os.Environ(), logger: discard, red: &redactor{},
		now: time.Now, timeouts: Timeouts{}.withDefaults(),
	}
	p, err := startProcess(context.Background(), l)
	if err != nil {
		panic(err)
	}
	child := 0
	for mode != "stubborn" && child == 0 { // its log line may still be on its way
		<-time.After(time.Millisecond)
		child = childOf(p)
	}
	fmt.Println(p.run.ID(), child)
	<-p.run.exited
	panic("the plugin ended before its host")
}

// childOf is the process that the plugin says it has started; 0: none.
func childOf(p *process) (pid int) {
	for _, line := range p.logs.last() {
		_, _ = fmt.Sscanf(line, "INFO child %d", &pid)
	}
	return pid
}

// A host that is killed takes its plugins with it; the next host's sweep kills the
// processes that those plugins have started.
func TestKilledHostLeavesNoPlugin(t *testing.T) {
	for _, mode := range []string{"stubborn", "grandchild", "escaped"} {
		t.Run(mode, func(t *testing.T) {
			d, base := install(t, mode), shortTemp(t)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			host := exec.Command(self)
			host.Env = append(os.Environ(), asHost+"="+d.Path(), asHost+"_BASE="+base, asHost+"_MODE="+mode)
			host.Stderr = os.Stderr
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			var pid, child int
			if _, err := fmt.Fscan(bufio.NewReader(out), &pid, &child); err != nil {
				t.Fatalf("the host said nothing: %v", err)
			}
			if !runs(pid) || (child == 0) != (mode == "stubborn") {
				t.Fatalf("plugin %d runs: %t; its child is %d", pid, runs(pid), child)
			}
			if n, err := Sweep(base); n != 0 || err != nil {
				t.Fatalf("sweep during the life of the host: %d, %v", n, err)
			}
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = host.Wait()
			eventually(t, "the plugin ends with its host", func() bool { return !runs(pid) })
			if n, err := Sweep(base); n != 1 || err != nil {
				t.Fatalf("sweep after the host's death: %d, %v", n, err)
			}
			eventually(t, "the plugin's child ends", func() bool { return child == 0 || !runs(child) })
			empty(t, base)
		})
	}
}

func TestStartAndStop(t *testing.T) {
	d := install(t, "good")
	l := testLaunch(t, d, "good")
	before := openFiles(t)
	for range 3 { // the same pin each time
		p, err := startProcess(context.Background(), l)
		if err != nil {
			t.Fatal(err)
		}
		pid := pidOf(t, p)
		sockets, err := filepath.Glob(filepath.Join(p.dir.path, "plugin*"))
		if err != nil || len(sockets) < 1 {
			t.Errorf("no socket in %s: %v", p.dir.path, err)
		}
		if info, err := os.Stat(p.dir.path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("private directory: %v, %v", info.Mode(), err)
		}
		p.stop(context.Background())
		p.stop(context.Background())
		if runs(pid) {
			t.Errorf("process %d runs after stop", pid)
		}
		if got := strings.Join(p.logs.last(), "\n"); !strings.Contains(got, "drained") {
			t.Errorf("stopped without having been drained; its log: %s", got)
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, %d were", after, before)
	}
	empty(t, l.base)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	return len(entries)
}

// A plugin may be a script. Its interpreter reads the file that was verified.
func TestScriptIsAPlugin(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nexec " + testPlugin + "\n"
	writeProgram(t, filepath.Join(dir, Prefix+"script"), []byte(script), 0o700)
	d := NewDir(dir, nil)
	if _, err := d.WriteLock(context.Background()); err != nil {
		t.Fatal(err)
	}
	l := testLaunch(t, d, "script")
	if err := os.Remove(l.binary.Path); err != nil {
		t.Fatal(err)
	}
	mustStart(t, l)
}

func TestStopIsBounded(t *testing.T) {
	for _, mode := range []string{"stubborn", "undrained", "grandchild", "escaped"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			l := testLaunch(t, install(t, mode), mode)
			l.timeouts.Drain, l.timeouts.Term = 100*time.Millisecond, 100*time.Millisecond
			p := mustStart(t, l)
			pid, child := pidOf(t, p), 0
			if mode == "grandchild" || mode == "escaped" {
				eventually(t, "the child is named", func() bool { child = childOf(p); return child != 0 })
			}
			began := time.Now()
			p.stop(context.Background())
			if took := time.Since(began); took > patience {
				t.Errorf("stop took %s", took)
			}
			if runs(pid) {
				t.Errorf("process %d runs after stop", pid)
			}
			if child != 0 {
				eventually(t, "the grandchild ends", func() bool { return !runs(child) })
			}
			empty(t, l.base)
		})
	}
}

func TestFrozenPluginIsKilled(t *testing.T) {
	t.Parallel()
	l := testLaunch(t, install(t, "good"), "good")
	p := mustStart(t, l)
	pid := pidOf(t, p)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the frozen plugin ends", func() bool { return !p.alive() })
	var frozen *FrozenError
	if err := p.death("describe", nil); !errors.As(err, &frozen) || frozen.During != "heartbeat" {
		t.Errorf("error = %v", err)
	}
	p.stop(context.Background())
	empty(t, l.base)
}

func TestStopOfFrozenPlugin(t *testing.T) {
	l := testLaunch(t, install(t, "good"), "good")
	l.timeouts.Heartbeat = time.Hour
	l.timeouts.Drain, l.timeouts.Term = 100*time.Millisecond, 100*time.Millisecond
	p := mustStart(t, l)
	if err := syscall.Kill(pidOf(t, p), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p.stop(context.Background())
	if took := time.Since(began); took > patience {
		t.Errorf("stop took %s", took)
	}
	empty(t, l.base)
}

func TestStartFailures(t *testing.T) {
	tests := []struct{ mode, want string }{
		{"exits", "ended (exit status 3) before it said where it listens; its last log lines:\n  INFO cannot find my licence"},
		{"silent", "did not get ready within"},
		{"deaf", "did not get ready within"},
		{"banner", "instead of a plugin's handshake line"},
		{"netrpc", "it does not speak gRPC"},
		{"tcp", "it has to listen on a unix socket in the directory that PLUGIN_UNIX_SOCKET_DIR names"},
		{"newer", "version 9 of the destination protocol, this host version 1; install a newer penstock"},
	}
	for _, test := range tests {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			l := testLaunch(t, install(t, test.mode), test.mode)
			if test.mode == "silent" || test.mode == "deaf" {
				l.timeouts.Start = 500 * time.Millisecond
			}
			p, err := startProcess(context.Background(), l)
			if err == nil {
				p.stop(context.Background())
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v\nwant it to contain %q", err, test.want)
			}
			empty(t, l.base)
		})
	}
}

func TestStartOfWhatIsNoPlugin(t *testing.T) {
	testBinary, err := os.ReadFile(testPlugin)
	if err != nil {
		t.Fatal(err)
	}
	arm := bytes.Clone(testBinary)
	arm[18], arm[19] = 0xb7, 0 // e_machine: AArch64
	if runtime.GOARCH == "arm64" {
		arm[18] = 0x3e
	}
	tests := []struct {
		name, content string
		mode          os.FileMode
		want          string
		final         bool
	}{
		{"empty", "", 0o700, "the file is empty", true},
		{"text", "hello, world\n", 0o700, "neither an executable nor a script", true},
		{"cut", string(testBinary[:100_000]), 0o700, "it is a damaged or incomplete ELF binary", false},
		{"lost", "#!/no/such/interpreter\n", 0o700, "it is a script for /no/such/interpreter", true},
		{"foreign", string(arm), 0o700, "it is an ELF binary for a", true},
		{"three", "#!/bin/sh\nexit 3\n", 0o700, "ended (exit status 3) before it said where it listens", false},
		{"true", "#!/bin/sh\nexit 0\n", 0o700, "ended (exit status 0) before it said where it listens", false},
		{"echo", "#!/bin/sh\necho hello\n", 0o700, `it printed "hello" instead`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeProgram(t, filepath.Join(dir, Prefix+"odd"), []byte(test.content), test.mode)
			d := NewDir(dir, nil)
			if _, err := d.WriteLock(context.Background()); err != nil {
				t.Fatal(err)
			}
			l := testLaunch(t, d, "odd")
			_, err := startProcess(context.Background(), l)
			var start *StartError
			if !errors.As(err, &start) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error = %v\nwant it to contain %q", err, test.want)
			}
			if strings.Contains(test.content, "#!/bin/sh") && strings.Contains(err.Error(), "installed") {
				t.Errorf("an interpreter that is installed is called missing: %v", err)
			}
			if start.Final != test.final {
				t.Errorf("final %t of %v", start.Final, err)
			}
			empty(t, l.base)
		})
	}
}

func TestStartIsCancelled(t *testing.T) {
	l := testLaunch(t, install(t, "silent"), "silent")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := startProcess(ctx, l); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v", err)
	}
	empty(t, l.base)
}

// The file that was verified is executed, not the file that its name leads to by
// then.
func TestExecutesTheVerifiedFile(t *testing.T) {
	d := install(t, "good")
	l := testLaunch(t, d, "good")
	if err := os.Remove(l.binary.Path); err != nil {
		t.Fatal(err)
	}
	writeProgram(t, l.binary.Path, []byte("#!/bin/sh\nexit 7\n"), 0o700)
	mustStart(t, l)
}

// A plugin that does not run at all is gone when the time to stop is over.
func TestStopOfAFrozenPlugin(t *testing.T) {
	t.Parallel()
	l := testLaunch(t, install(t, "good"), "good")
	l.timeouts.Heartbeat, l.timeouts.Drain, l.timeouts.Term = time.Hour, time.Hour, time.Hour
	p, err := startProcess(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	p.run.signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	p.stop(ctx)
	if took := time.Since(began); p.alive() || took > patience {
		t.Errorf("alive %t after %s", p.alive(), took)
	}
}
