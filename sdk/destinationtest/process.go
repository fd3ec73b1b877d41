package destinationtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/penstock-io/penstock/sdk/protocol"
)

// ShareBuilds runs the tests of a package, and returns what run does. Until run returns,
// each plugin is built once for all calls of Run, which otherwise build it each. A
// package that calls Run more than once calls it in TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(destinationtest.ShareBuilds(m.Run)) }
func ShareBuilds(run func() int) int {
	dir, err := os.MkdirTemp("", "plugins")
	if err != nil {
		fmt.Fprintln(os.Stderr, "directory for built plugins:", err)
		return 1
	}
	builds.share(dir)
	defer func() {
		builds.share("")
		_ = os.RemoveAll(dir)
	}()
	return run()
}

// builds are the plugins that ShareBuilds keeps.
var builds sharedBuilds

type sharedBuilds struct {
	mu   sync.Mutex
	dir  string            // empty: nothing is shared
	done map[string]string // binaries by package
	last int               // number of the newest binary
}

func (b *sharedBuilds) share(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dir, b.done = dir, make(map[string]string)
}

// place returns where a plugin is to be built, or the binary if it was built before.
func (b *sharedBuilds) place(t T, pkg string) (path string, built bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir == "" {
		return filepath.Join(t.TempDir(), "plugin"), false
	}
	if path, built = b.done[pkg]; built {
		return path, true
	}
	b.last++
	return filepath.Join(b.dir, fmt.Sprintf("plugin%d", b.last)), false
}

// add notes that a plugin was built.
func (b *sharedBuilds) add(pkg, path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir != "" {
		b.done[pkg] = path
	}
}

// build compiles a plugin with its crash points.
func build(t T, pkg string) string {
	t.Helper()
	binary, built := builds.place(t, pkg)
	if built {
		return binary
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "crashpoints", "-o", binary, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	builds.add(pkg, binary)
	return binary
}

// process is a running plugin, configured for the bench's place.
type process struct {
	*protocol.Client
	bench  *bench
	plugin *plugin.Client
	cmd    *exec.Cmd
	once   sync.Once
}

// launch starts a process without configuring it. env is added to the
// harness's.
func (b *bench) launch(env ...string) *process {
	b.Helper()
	// Not t.TempDir: the path of a socket may not be longer than 104 bytes.
	dir, err := os.MkdirTemp("", "pk")
	if err != nil {
		b.Fatalf("directory for the plugin's socket: %v", err)
	}
	cmd := exec.Command(b.h.Command[0], b.h.Command[1:]...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + dir,
		protocol.EnvParent + "=" + strconv.Itoa(os.Getpid()),
	}, append(b.h.Env, env...)...)
	p := &process{bench: b, cmd: cmd}
	p.plugin = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake,
		VersionedPlugins: protocol.Plugins(nil),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  protocol.DialOptions(),
		Cmd:              cmd,
		SkipHostEnv:      true,
		StartTimeout:     b.h.Timeout,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &b.log, Exclude: ownKill}),
	})
	b.Cleanup(func() {
		p.kill()
		_ = os.RemoveAll(dir)
	})
	rpc, err := p.plugin.Client()
	if err != nil {
		b.Fatalf("start the plugin: %v", err)
	}
	raw, err := rpc.Dispense(protocol.Name)
	if err != nil {
		b.Fatalf("connect to the plugin: %v", err)
	}
	p.Client = raw.(*protocol.Client)
	return p
}

// ownKill reports whether a log entry is that of a process that the suite has
// killed: it is not the plugin's error.
func ownKill(_ hclog.Level, message string, args ...any) bool {
	if !strings.Contains(message, "plugin process exited") {
		return false
	}
	return slices.ContainsFunc(args, func(a any) bool { return strings.Contains(fmt.Sprint(a), "signal: killed") })
}

// start launches a process and configures it.
func (b *bench) start(env ...string) *process {
	b.Helper()
	p := b.launch(env...)
	configured, err := p.configure(b.config)
	if err != nil {
		b.Fatalf("configure: %v", err)
	}
	for _, d := range configured.Diagnostics {
		if d.Severity != protocol.SeverityWarning {
			b.Fatalf("configure refuses the good configuration: %+v", d)
		}
	}
	return p
}

func (p *process) configure(config map[string]any) (protocol.Configured, error) {
	return p.configureProject(p.bench.h.Project, config)
}

func (p *process) configureProject(project protocol.Project, config map[string]any) (protocol.Configured, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return protocol.Configured{}, fmt.Errorf("configuration of the harness: %w", err)
	}
	ctx, cancel := p.bench.call()
	defer cancel()
	return p.Configure(ctx, project, "under_test", data)
}

// kill ends the process at once and waits until it is gone. It may have ended
// before.
func (p *process) kill() {
	p.once.Do(func() {
		p.signal(syscall.SIGKILL)
		p.plugin.Kill()
	})
}

func (p *process) signal(s os.Signal) {
	if p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(s) // it may have ended by itself
	}
}

// logBuffer keeps the output of plugins, up to a limit, for the report of a
// failed check.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const maxLog = 64 << 10

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() < maxLog {
		l.buf.Write(p)
	}
	return len(p), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// call returns a context for one call to the plugin.
func (b *bench) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.Context(), b.h.Timeout)
}

// waitStopped returns when a process that was sent SIGSTOP no longer runs:
// until then it may still answer. Where there is no /proc it returns at once.
func (p *process) waitStopped() {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			return
		}
		// The state follows the name, which may hold anything but ends with the
		// last parenthesis.
		if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 0 && fields[0] == "T" {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
