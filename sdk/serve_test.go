//go:build unix

package sdk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// roleEnv makes this test binary another program: a plugin, or a host that
// starts one and prints its process id.
const roleEnv = "PENSTOCK_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "plugin":
		Serve(testPlugin(&chatty{}))
	case "host", "host behind a wrapper":
		hostAndWait()
	default:
		os.Exit(m.Run())
	}
}

// chatty prints a lot wherever it can.
type chatty struct{ double }

func (*chatty) Check(context.Context) []CheckResult {
	noise := bytes.Repeat([]byte("x"), 1<<20) // no newline
	runtime.GC()                              // closes files without a reference
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if _, err := f.Write(noise); err != nil {
			return []CheckResult{{Action: "print", Detail: err.Error()}}
		}
	}
	for fd := 1; fd <= 2; fd++ {
		if n, err := syscall.Write(fd, noise); err != nil || n != len(noise) {
			return []CheckResult{{Action: "print", Detail: fmt.Sprint(n, err)}}
		}
	}
	fmt.Println("and a line")
	return []CheckResult{{Action: "print", OK: true}}
}

// startPlugin launches this binary as a plugin.
func startPlugin(dir string, log hclog.Logger) (*plugin.Client, *exec.Cmd, *protocol.Client, error) {
	cmd := exec.Command(os.Args[0])
	if os.Getenv(roleEnv) == "host behind a wrapper" {
		cmd = exec.Command("sh", "-c", `"$0" & wait $!; echo $? > "$TMPDIR/status"`, os.Args[0])
	}
	cmd.Env = []string{
		roleEnv + "=plugin", "TMPDIR=" + dir, protocol.EnvParent + "=" + strconv.Itoa(os.Getpid()),
		"GOCOVERDIR=" + dir, "PATH=" + os.Getenv("PATH"), "GOTRACEBACK=" + os.Getenv("GOTRACEBACK"),
	}
	c := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: protocol.Handshake, VersionedPlugins: protocol.Plugins(nil),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, GRPCDialOptions: protocol.DialOptions(),
		Cmd: cmd, SkipHostEnv: true, Logger: log, UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
	})
	rpc, err := c.Client()
	if err != nil {
		return c, cmd, nil, err
	}
	raw, err := rpc.Dispense(protocol.Name)
	if err != nil {
		return c, cmd, nil, err
	}
	return c, cmd, raw.(*protocol.Client), nil
}

func hostAndWait() {
	_, cmd, _, err := startPlugin(os.Getenv("TMPDIR"), hclog.NewNullLogger())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(cmd.Process.Pid)
	select {}
}

// launched starts a plugin with project 1 configured.
func launched(t *testing.T) (dir string, process *os.Process, c *protocol.Client, exited func() bool) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pk") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	client, cmd, c, err := startPlugin(dir, hclog.NewNullLogger())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		client.Kill()
		_ = os.RemoveAll(dir)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Configure(t.Context(), Project{ID: 1}, "test", []byte(`{"path":"/"}`)); err != nil {
		t.Fatal(err)
	}
	return dir, cmd.Process, c, client.Exited
}

// eventually waits until done returns true because of another process's work.
func eventually(t *testing.T, what string, limit time.Duration, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s did not happen within %s", what, limit)
		}
	}
}

func TestPrintingDoesNotBlockThePlugin(t *testing.T) {
	t.Parallel()
	_, _, c, _ := launched(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 3 {
		results, err := c.Check(ctx, 1)
		if err != nil || len(results) != 1 || !results[0].OK {
			t.Fatalf("Check = %+v, %v", results, err)
		}
	}
}

func TestSIGTERMLetsAnOpenExportCommit(t *testing.T) {
	t.Parallel()
	dir, process, c, exited := launched(t)
	e := opened(t, c, testRun(1, 1))
	if err := errors.Join(process.Signal(os.Interrupt), process.Signal(syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refusing new exports", 10*time.Second, func() bool {
		late, err := c.Export(t.Context(), nil)
		if err != nil {
			return false
		}
		defer late.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		run := testRun(1, 2)
		run.ProjectID = 2
		_, err = late.Open(ctx, run)
		return err != nil && strings.Contains(err.Error(), "stopping")
	})
	sendPartition(t, e, 0, 1)
	if _, err := e.Prepare(t.Context(), batch.Totals{PayloadBytes: 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the process", 10*time.Second, exited)
	if sockets, _ := filepath.Glob(filepath.Join(dir, "plugin*", "*")); len(sockets) > 0 {
		t.Errorf("left behind: %v", sockets)
	}
}

func TestSIGTERMEndsAPluginWhoseExportHangs(t *testing.T) {
	t.Parallel()
	_, process, c, exited := launched(t)
	e := opened(t, c, testRun(1, 1))
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the process", drainTimeout+exitTimeout+10*time.Second, exited)
	_, err := e.Prepare(t.Context(), batch.Totals{})
	if !errors.Is(err, protocol.ErrLost) {
		t.Errorf("Prepare = %v, want ErrLost", err)
	}
}

func TestThePluginEndsWithItsHost(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "pk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	host := exec.Command(os.Args[0])
	host.Env = []string{roleEnv + "=host", "TMPDIR=" + dir, "GOCOVERDIR=" + dir}
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
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the host says %q", line)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // it was killed
	eventually(t, "the end of the orphan", 10*time.Second, func() bool { return gone(pid) })
}

// gone reports whether a process has ended. A zombie, for which no parent has
// waited, has ended too.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !alive(pid)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z")
}

func TestAPersonGetsAnAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args   []string
		status int
		out    string
		errOut string
	}{
		{nil, 0, "", "The host starts it"},
		{[]string{"--version"}, 0, "double 1.2.3 (destination protocol 1)", ""},
		{[]string{"--describe"}, 0, `"name": "part_size"`, ""},
		{[]string{"serve"}, 2, "", `does not take ["serve"]`},
	}
	for _, tt := range tests {
		var out, errOut bytes.Buffer
		status := talk(testPlugin(&double{}), tt.args, &out, &errOut)
		if status != tt.status || !strings.Contains(out.String(), tt.out) || !strings.Contains(errOut.String(), tt.errOut) {
			t.Errorf("talk(%q) = %d, out %q, err %q", tt.args, status, out.String(), errOut.String())
		}
		if len(tt.args) > 0 && tt.args[0] == "--describe" && !json.Valid(out.Bytes()) {
			t.Errorf("--describe prints no JSON: %s", out.String())
		}
	}
}
