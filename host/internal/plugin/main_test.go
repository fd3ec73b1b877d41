package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// asHost makes the test binary be a host that starts a plugin and waits to be
// killed.
const asHost = "PENSTOCK_TEST_AS_HOST"

var discard = slog.New(slog.DiscardHandler)

var testPlugin, sdkPlugin string // the built binaries

func TestMain(m *testing.M) {
	if base := os.Getenv(asSweeper); base != "" {
		beSweeper(base)
	}
	if dir := os.Getenv(asHost); dir != "" {
		beHost(dir)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "plugin-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	testPlugin, sdkPlugin = filepath.Join(dir, "testplugin"), filepath.Join(dir, "sdkplugin")
	build := exec.Command("go", "build", "-o", dir, "./testdata/testplugin", "./testdata/sdkplugin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build test plugin: %v\n%s", err, out))
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	return code
}

// install makes a plugin directory with the test plugin under the names of the
// modes, and pins them unseen.
func install(t testing.TB, modes ...string) *Dir {
	t.Helper()
	dir := t.TempDir()
	for _, mode := range modes {
		copyFile(t, testPlugin, filepath.Join(dir, Prefix+mode), 0o700)
	}
	d := NewDir(dir, nil)
	if _, err := d.WriteLock(context.Background()); err != nil {
		t.Fatal(err)
	}
	return d
}

func copyFile(t testing.TB, from, to string, mode os.FileMode) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeProgram(t, to, data, mode)
}

// writeProgram writes an executable file. It holds the fork lock while the file is
// open: a child forked in between would inherit the descriptor, and the kernel
// refuses to execute a file that any process has open for writing.
func writeProgram(t testing.TB, path string, content []byte, mode os.FileMode) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := errors.Join(os.WriteFile(path, content, mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

// testLaunch is how tests start a mode: impatiently, and in a directory of
// their own.
func testLaunch(t testing.TB, d *Dir, mode string) launch {
	t.Helper()
	b, err := d.Open(mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return launch{
		name: mode, binary: b, base: shortTemp(t), env: os.Environ(), logger: testLogger(t), red: &redactor{},
		now: time.Now, timeouts: testTimeouts().withDefaults(),
	}
}

// patience is how long an expected event may take on a busy machine.
const patience = time.Minute

func testTimeouts() Timeouts {
	return Timeouts{Heartbeat: 50 * time.Millisecond, HeartbeatTimeout: 4 * time.Second, Drain: 3 * time.Second, Term: 2 * time.Second}
}

// shortTemp is a temporary directory whose name leaves room for sockets.
func shortTemp(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func mustStart(t testing.TB, l launch) *process {
	t.Helper()
	p, err := startProcess(context.Background(), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(context.Background()) })
	return p
}

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	line := string(p)
	if len(line) > 300 {
		line = line[:300] + "…"
	}
	w.t.Log(strings.TrimRight(line, "\n"))
	return len(p), nil
}

// eventually polls until ok, or fails.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// runs reports whether a process exists and is not a zombie.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err != nil {
		return syscall.Kill(pid, 0) == nil
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func pidOf(t testing.TB, p *process) int {
	t.Helper()
	pid, err := strconv.Atoi(p.run.ID())
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func empty(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
	}
}

// send sends a batch with the checksum of its payload.
func send(ctx context.Context, x *Export, b *batch.Batch) error {
	return x.SendWithChecksum(ctx, b, protocol.PayloadCRC32C(b.Payload))
}
