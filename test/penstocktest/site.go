package penstocktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// Copy copies a directory of the site, such as the data directory of a host that is
// frozen. It leaves sockets out.
func (s *Site) Copy(from, to string) {
	s.t.Helper()
	source, target := filepath.Join(s.Dir, from), filepath.Join(s.Dir, to)
	err := filepath.WalkDir(source, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		copied := filepath.Join(target, relative)
		switch {
		case d.IsDir():
			return os.MkdirAll(copied, 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(copied, data, 0o600)
	})
	if err != nil {
		s.t.Fatal(err)
	}
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
	return s.begin(env, args...).end()
}

// running is a command of the host that was started.
type running struct {
	t              *testing.T
	command        *exec.Cmd
	ctx            context.Context
	stdout, stderr bytes.Buffer
	memory         func() int64 // ends the watch
}

func (s *Site) begin(env []string, args ...string) *running {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	r := &running{t: s.t, ctx: ctx}
	r.command = exec.CommandContext(ctx, filepath.Join(Binaries, "penstock"), append(args, "--config", "penstock.hcl")...)
	r.command.Dir = s.Dir
	r.command.Env = Environment(env)
	r.command.Stdout, r.command.Stderr = &r.stdout, &r.stderr
	if err := r.command.Start(); err != nil {
		s.t.Fatalf("run penstock: %v", err)
	}
	r.memory = watchMemory(r.command.Process.Pid)
	return r
}

// end waits until the command has ended.
func (r *running) end() Result {
	r.t.Helper()
	err := r.command.Wait()
	result := Result{Out: r.stdout.String(), Err: r.stderr.String()}
	result.Memory = r.memory()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		result.Status, result.Signal = status.ExitStatus(), 0
		if status.Signaled() {
			result.Signal = status.Signal()
		}
	} else if err != nil {
		r.t.Fatalf("run penstock: %v", err)
	}
	if r.ctx.Err() != nil {
		r.t.Fatalf("penstock %v did not end\n%s", r.command.Args[1:], result.Err)
	}
	return result
}

// Freeze starts a command of the host and waits until it has stopped itself at a
// point. The function that it returns continues the command and waits for its end.
func (s *Site) Freeze(env []string, point string, args ...string) (thaw func() Result) {
	s.t.Helper()
	r := s.begin(append(slices.Clone(env), "PENSTOCK_STOP_AT="+point), args...)
	AwaitStop(s.t, r.ctx, r.command.Process.Pid)
	return func() Result {
		s.t.Helper()
		if err := r.command.Process.Signal(syscall.SIGCONT); err != nil {
			s.t.Fatal(err)
		}
		return r.end()
	}
}

// AwaitStop waits until a process has stopped itself.
func AwaitStop(t *testing.T, ctx context.Context, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(rest, "T") {
			return
		}
		if strings.HasPrefix(rest, "Z") {
			t.Fatalf("process %d has ended and did not stop", pid)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d did not stop: %s", pid, stat)
		}
	}
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

// Disturbance is a process of a run that ends or stops itself at a crash point.
type Disturbance struct {
	At      string // of the host, "export.prepared:2", or of each plugin process, "plugin.write:1"
	Freezes bool   // it stops instead of being killed
}

// Disturbed runs everything with a disturbance, and fails the test when none
// happened. A host that is killed leaves its work. A plugin is started again and
// disturbed again, until the host gives up, or finds its run committed.
func (s *Site) Disturbed(d Disturbance, env ...string) {
	s.t.Helper()
	variable := "PENSTOCK_CRASH_AT"
	if d.Freezes {
		variable = "PENSTOCK_STOP_AT"
	}
	r := s.Penstock(append(slices.Clone(env), variable+"="+d.At), "run", "--once", "--retry-for", "1s")
	said := func(text string) bool { return strings.HasPrefix(d.At, "plugin.") && strings.Contains(r.Err, text) }
	switch {
	case !strings.HasPrefix(d.At, "plugin.") && r.Signal == syscall.SIGKILL:
	case said("killed"), said("frozen"), said("a plugin that does not answer"):
	default:
		s.t.Fatalf("no process was disturbed at %s: status %d, signal %v\n%s%s", d.At, r.Status, r.Signal, r.Out, r.Err)
	}
}
