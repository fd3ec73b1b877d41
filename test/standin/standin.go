package standin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/freeport"
)

// Binary returns the path of an installed stand-in. Without it the test ends
// here: it fails when CI is set, and is skipped elsewhere.
func Binary(t testing.TB, name string) string {
	t.Helper()
	return installed(t, filepath.Join("bin", name))
}

// installed returns the path of a file below .cache of the checkout, or ends the
// test as Binary does.
func installed(t testing.TB, name string) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "..", "..", ".cache", name)
	if _, err := os.Stat(path); err != nil {
		missing(t, fmt.Sprintf("%s is not installed: run `make tools` (looked for %s)", filepath.Base(name), path))
	}
	return path
}

// missing ends a test that needs what is not installed.
func missing(t testing.TB, message string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(message)
	}
	t.Skip("SKIPPED: " + message)
}

// process is one running server. Its output is kept for a failed test.
type process struct {
	env []string // of the server; nil: that of the test

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	output bytes.Buffer
}

func (p *process) start(path string, args ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, &p.output, &p.output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	p.cmd, p.exited = cmd, exited
	return nil
}

// stop kills the server and waits until it is gone.
func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	p.cmd = nil
}

// signal sends a signal to the server, which runs.
func (p *process) signal(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errors.New("the server does not run")
	}
	return p.cmd.Process.Signal(sig)
}

// await returns when something listens at addr, and an error when the server
// has ended or a minute has passed.
func (p *process) await(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			return c.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("the server ended: %s", p.output.String())
		case <-ctx.Done():
			return errors.New("the server does not listen after a minute")
		case <-tick.C:
		}
	}
}

// freePort finds a port for a server.
func freePort(t testing.TB) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
