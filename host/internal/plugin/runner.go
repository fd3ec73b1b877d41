package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

var _ runner.Runner = (*processRunner)(nil)

// pipeGrace is how long the pipes of a process that has ended are still read,
// for its last lines. A grandchild may hold them for ever.
const pipeGrace = time.Second

// processRunner is the process as go-plugin sees it. go-plugin is given the
// handshake line only: the rest of the output is read here, so that no line is too
// long, too early or too late.
type processRunner struct {
	cmd  *exec.Cmd
	dir  *runDir
	logs *logs

	handshakeR *io.PipeReader
	handshakeW *io.PipeWriter
	first      firstLine // written before handshakeW is closed

	exited chan struct{} // closed when the process is reaped
	joined chan struct{} // closed when exited is closed and the pipes are read to their end
	status string        // "exit status 3"; valid once exited is closed

	mu     sync.Mutex
	pid    int  // 0: was never started
	doomed bool // was killed before it was started
	reaped bool
}

// firstLine is the first line of the process's standard output: its handshake.
type firstLine struct {
	text string
	cut  bool
}

func newRunner(cmd *exec.Cmd, dir *runDir, l *logs) *processRunner {
	r := &processRunner{cmd: cmd, dir: dir, logs: l, exited: make(chan struct{}), joined: make(chan struct{})}
	r.handshakeR, r.handshakeW = io.Pipe()
	return r
}

// Start starts the process. The goroutine that does keeps its thread until the
// process has ended, because the kernel takes the thread for the parent.
func (r *processRunner) Start(context.Context) error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("make pipe: %w", err), outR.Close(), outW.Close())
	}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = nil, outW, errW

	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := r.cmd.Start()
		_, _ = outW.Close(), errW.Close()
		if err == nil {
			r.born(r.cmd.Process.Pid)
		}
		started <- err
		if err == nil {
			r.reap()
		}
	}()
	if err := <-started; err != nil {
		_ = r.handshakeW.Close()
		return errors.Join(err, outR.Close(), errR.Close())
	}
	go r.readPipes(outR, errR)
	return nil
}

func (r *processRunner) born(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pid = pid
	if r.doomed {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// reap waits for the process, kills the rest of its group and only then releases
// its id.
func (r *processRunner) reap() {
	held := waitExit(r.pid) == nil
	if !held {
		_ = r.cmd.Wait()
	}
	r.mu.Lock()
	_ = syscall.Kill(-r.pid, syscall.SIGKILL)
	if held {
		_ = r.cmd.Wait()
	}
	r.reaped = true
	r.mu.Unlock()
	r.status = r.cmd.ProcessState.String()
	close(r.exited)
}

// readPipes reads both pipes to their end, but only pipeGrace longer than the
// process lives.
func (r *processRunner) readPipes(stdout, stderr *os.File) {
	defer close(r.joined)
	var wg sync.WaitGroup
	wg.Go(func() { r.readStdout(stdout) })
	wg.Go(func() { r.logs.read(r.logs.inlet(stderr), slog.LevelInfo) })
	read := make(chan struct{})
	go func() {
		wg.Wait()
		close(read)
	}()

	<-r.exited
	deadline := time.Now().Add(pipeGrace)
	_ = stdout.SetReadDeadline(deadline)
	_ = stderr.SetReadDeadline(deadline)
	<-read
	if !time.Now().Before(deadline) {
		// A descendant has left the group and still holds the pipes.
		killUsers(r.dir.sockets)
	}
	_, _ = stdout.Close(), stderr.Close()
}

// readStdout passes the first line on and logs the others.
func (r *processRunner) readStdout(stdout io.Reader) {
	defer r.handshakeW.Close()
	seen := false
	_ = readLines(stdout, func(line []byte, cut bool) error {
		if seen {
			r.logs.line(line, cut, slog.LevelInfo)
			return nil
		}
		seen = true
		r.first = firstLine{text: string(line), cut: cut}
		// go-plugin reads one line, then to the end, which it gets at once.
		_, _ = fmt.Fprintf(r.handshakeW, "%s\n", r.first.text)
		return r.handshakeW.Close()
	})
}

// signal sends a signal to the whole group, unless the process was reaped. One
// that is not started yet is killed when it is.
func (r *processRunner) signal(sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doomed = r.doomed || sig == syscall.SIGKILL
	if r.pid != 0 && !r.reaped {
		_ = syscall.Kill(-r.pid, sig)
	}
}

// Wait waits until the process was reaped.
func (r *processRunner) Wait(context.Context) error {
	<-r.exited
	return nil
}

// Kill kills the process and its group at once. It does not wait.
func (r *processRunner) Kill(context.Context) error {
	r.signal(syscall.SIGKILL)
	return nil
}

// Stdout gives the handshake line.
func (r *processRunner) Stdout() io.ReadCloser { return r.handshakeR }

// Stderr gives nothing: it is read here.
func (r *processRunner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is the process's name for go-plugin's messages.
func (r *processRunner) Name() string { return r.cmd.Args[0] }

// ID is the process id, or empty when the process was never started.
func (r *processRunner) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid == 0 {
		return ""
	}
	return strconv.Itoa(r.pid)
}

// Diagnose leaves the diagnosis to StartError.
func (r *processRunner) Diagnose(context.Context) string { return "" }

// PluginToHost accepts a socket in the private directory and nothing else.
func (r *processRunner) PluginToHost(network, addr string) (string, string, error) {
	if network != "unix" || !strings.HasPrefix(addr, r.dir.sockets+"/") {
		return "", "", fmt.Errorf("the plugin listens on %s %s; it has to listen on a unix socket in the directory that %s names", network, addr, socketDirEnv)
	}
	return network, addr, nil
}

// HostToPlugin is the identity: both see the same files.
func (r *processRunner) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
