package penstocktest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Site is one installation: a directory with a configuration, penstock.hcl, and
// the files that it names.
type Site struct {
	Dir string
	t   *testing.T
}

// NewSite makes a site in a directory of the test. It needs penstock.hcl.
func NewSite(t *testing.T) *Site {
	t.Helper()
	return &Site{Dir: t.TempDir(), t: t}
}

// At returns the installation in another directory, relative to this one's.
func (s *Site) At(dir string) *Site { return &Site{Dir: filepath.Join(s.Dir, dir), t: s.t} }

// Write writes a file; name is relative to the site.
func (s *Site) Write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Read reads a file.
func (s *Site) Read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

// Append appends to a file.
func (s *Site) Append(name, content string) {
	s.t.Helper()
	s.Write(name, s.Read(name)+content)
}

// Says checks the exit status of a command, and that its output has the texts.
func (s *Site) Says(r Result, status int, texts ...string) {
	s.t.Helper()
	if r.Status != status || r.Signal != 0 {
		s.t.Errorf("status %d, signal %v, want %d", r.Status, r.Signal, status)
	}
	for _, text := range texts {
		if !strings.Contains(r.Out+r.Err, text) {
			s.t.Errorf("%q is not said", text)
		}
	}
	if s.t.Failed() {
		s.t.Fatalf("it said:\n%s%s", r.Out, r.Err)
	}
}

// Result is how a command ended.
type Result struct {
	Out, Err string
	Status   int
	Signal   syscall.Signal
	Memory   int64 // the most that was resident, in bytes; of the command alone
}

// Environment is that of a process, with a project token unless env says
// "SHOP_TOKEN" alone.
func Environment(env []string) []string {
	if slices.Contains(env, "SHOP_TOKEN") {
		return append(os.Environ(), env...)
	}
	return append(append(os.Environ(), "SHOP_TOKEN=tok-7c1d"), env...)
}

// patience is how long a test waits for an event on a busy machine.
const patience = 5 * time.Minute

// Penstock runs a command of the host to its end.
func (s *Site) Penstock(env []string, args ...string) Result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(Binaries, "penstock"), append(args, "--config", "penstock.hcl")...)
	command.Dir = s.Dir
	command.Env = Environment(env)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	r := Result{Out: stdout.String(), Err: stderr.String()}
	if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.Memory = usage.Maxrss << 10 // Linux counts KiB
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		r.Status, r.Signal = status.ExitStatus(), 0
		if status.Signaled() {
			r.Signal = status.Signal()
		}
	} else if err != nil {
		s.t.Fatalf("run penstock: %v", err)
	}
	if ctx.Err() != nil {
		s.t.Fatalf("penstock %v did not end\n%s", args, r.Err)
	}
	return r
}

// Once runs everything to its end and fails the test when that fails.
func (s *Site) Once(env ...string) Result {
	s.t.Helper()
	r := s.Penstock(env, "run", "--once", "--retry-for", "10s")
	if r.Status != 0 || r.Signal != 0 {
		s.t.Fatalf("run --once: status %d, signal %v\n%s\n%s", r.Status, r.Signal, r.Out, r.Err)
	}
	return r
}
