package penstocktest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Host is a host that serves a site.
type Host struct {
	t       *testing.T
	command *exec.Cmd
	ended   chan struct{}

	mu    sync.Mutex
	lines []string
	rows  map[string]int64 // the latest that was reported, by stage and name
}

// Serve starts a host, with some more environment. It is killed at the end of
// the test at the latest.
func (s *Site) Serve(env ...string) *Host {
	s.t.Helper()
	command := exec.Command(filepath.Join(Binaries, "penstock"), "run", "--json", "--config", "penstock.hcl")
	command.Dir = s.Dir
	command.Env = Environment(env)
	out, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	h := &Host{t: s.t, command: command, ended: make(chan struct{}), rows: map[string]int64{}}
	go func() {
		defer close(h.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			h.heard(lines.Text())
		}
		_ = command.Wait() // its status is looked at
	}()
	s.t.Cleanup(func() {
		_ = command.Process.Kill()
		<-h.ended
	})
	return h
}

func (h *Host) heard(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, logText(line))
	var report struct {
		Stage, Name string
		Rows        int64
	}
	if json.Unmarshal([]byte(line), &report) == nil && report.Stage != "" {
		h.rows[report.Stage+" "+report.Name] = report.Rows
	}
}

// logText renders a line of the JSON log as the text log has it, which tests
// match; other lines stay as they are.
//
//	{"time":…,"level":"INFO","msg":"collecting","source":"collector.web"}
//	level=INFO msg=collecting source=collector.web
func logText(line string) string {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return line
	}
	var text []string
	isLog := false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return line
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return line
		}
		if name == "time" {
			continue
		}
		isLog = isLog || name == "msg"
		word := fmt.Sprint(value)
		if strings.ContainsAny(word, " \t\n\"=") {
			word = strconv.Quote(word)
		}
		text = append(text, fmt.Sprintf("%s=%s", name, word))
	}
	if !isLog {
		return line
	}
	return strings.Join(text, " ")
}

// Said is everything that the host has said.
func (h *Host) Said() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

// Reported returns the number of rows in the latest report of a stage and a name,
// such as "import files.import".
func (h *Host) Reported(stage string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rows[stage]
}

// Until waits until done returns true. It fails the test when the host ends
// first, or after some minutes; event describes the condition.
func (h *Host) Until(event string, done func() bool) {
	h.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-h.ended:
			h.t.Fatalf("the host ended before %s:\n%s", event, h.Said())
		case <-deadline.C:
			h.t.Fatalf("%s did not happen:\n%s", event, h.Said())
		}
	}
}

// Ended reports whether the host has ended.
func (h *Host) Ended() bool {
	select {
	case <-h.ended:
		return true
	default:
		return false
	}
}

// PID returns the host's process id.
func (h *Host) PID() int { return h.command.Process.Pid }

// Signal sends a signal that the host goes on after.
func (h *Host) Signal(signal syscall.Signal) {
	h.t.Helper()
	if err := h.command.Process.Signal(signal); err != nil {
		h.t.Fatal(err)
	}
}

// Stop sends a signal and returns how the host ended.
func (h *Host) Stop(signal syscall.Signal) syscall.WaitStatus {
	h.t.Helper()
	if err := h.command.Process.Signal(signal); err != nil {
		h.t.Fatal(err)
	}
	return h.Wait()
}

// Wait waits until the host has ended, and returns how.
func (h *Host) Wait() syscall.WaitStatus {
	h.t.Helper()
	select {
	case <-h.ended:
	case <-time.After(patience):
		h.t.Fatalf("the host does not end:\n%s", h.Said())
	}
	return h.command.ProcessState.Sys().(syscall.WaitStatus)
}

// Journaled is how many rows of all projects are durable.
func (s *Site) Journaled() int64 {
	s.t.Helper()
	var status struct {
		Projects []struct{ Rows int64 } `json:"projects"`
	}
	r := s.Penstock(nil, "status", "--json")
	if err := json.Unmarshal([]byte(r.Out), &status); err != nil || len(status.Projects) == 0 {
		s.t.Fatalf("%v in %s%s", err, r.Out, r.Err)
	}
	var rows int64
	for _, p := range status.Projects {
		rows += p.Rows
	}
	return rows
}
