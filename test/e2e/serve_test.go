package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// serving is a host that serves a site.
type serving struct {
	t       *testing.T
	command *exec.Cmd
	ended   chan struct{}

	mu    sync.Mutex
	lines []string
	rows  map[string]int64 // the latest that was reported, by stage and name
}

// serve starts a host. It is killed at the end of the test at the latest.
func (s *site) serve() *serving {
	s.t.Helper()
	command := exec.Command(filepath.Join(binaries, "penstock"), "run", "--json", "--config", "penstock.hcl")
	command.Dir = s.dir
	command.Env = environment(nil)
	out, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	h := &serving{t: s.t, command: command, ended: make(chan struct{}), rows: map[string]int64{}}
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

func (h *serving) heard(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
	var report struct {
		Stage, Name string
		Rows        int64
	}
	if json.Unmarshal([]byte(line), &report) == nil && report.Stage != "" {
		h.rows[report.Stage+" "+report.Name] = report.Rows
	}
}

// said is everything that the host has said.
func (h *serving) said() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

func (h *serving) reported(what string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rows[what]
}

// until waits for what the host does.
func (h *serving) until(what string, done func() bool) {
	h.t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-h.ended:
			h.t.Fatalf("the host ended before %s:\n%s", what, h.said())
		case <-deadline.C:
			h.t.Fatalf("%s did not happen:\n%s", what, h.said())
		}
	}
}

// stop sends a signal and returns how the host ended.
func (h *serving) stop(signal syscall.Signal) syscall.WaitStatus {
	h.t.Helper()
	if err := h.command.Process.Signal(signal); err != nil {
		h.t.Fatal(err)
	}
	return h.wait()
}

func (h *serving) wait() syscall.WaitStatus {
	h.t.Helper()
	select {
	case <-h.ended:
	case <-time.After(time.Minute):
		h.t.Fatalf("the host does not end:\n%s", h.said())
	}
	return h.command.ProcessState.Sys().(syscall.WaitStatus)
}

// journaled is how many rows are durable.
func (s *site) journaled() int64 {
	s.t.Helper()
	var status struct {
		Projects []struct{ Rows int64 } `json:"projects"`
	}
	r := s.penstock(nil, "status", "--json")
	if err := json.Unmarshal([]byte(r.out), &status); err != nil || len(status.Projects) != 1 {
		s.t.Fatalf("%v in %s%s", err, r.out, r.err)
	}
	return status.Projects[0].Rows
}

// grow appends events to a file, in two writes that cut one in half.
func (s *site) grow(name string, day, from, to int) {
	s.t.Helper()
	var b strings.Builder
	for n := from; n < to; n++ {
		b.WriteString(event(day, n, ""))
		b.WriteByte('\n')
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "events", name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	text := b.String()
	for _, part := range []string{text[:len(text)-100], text[len(text)-100:]} {
		if _, err := f.WriteString(part); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) follow() {
	s.t.Helper()
	s.write("penstock.hcl", strings.Replace(s.read("penstock.hcl"), `"./events/*"`, "\"./events/*\"\n  follow  = true", 1))
}

// Files that come and grow while the host serves are read as they do. SIGTERM
// makes what was read durable, SIGKILL costs reading it again.
func TestFollowedFiles(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.follow()
	s.grow("a.ndjson", 0, 0, 1000)
	h := s.serve()
	imported := func(rows int64) func() bool {
		return func() bool { return h.reported("import files.import") == rows }
	}
	h.until("the first file is read", imported(1000))
	h.until("the first file is exported", func() bool { return len(s.objects("out")) > 0 })
	s.grow("a.ndjson", 1, 1000, 1500)
	s.grow("b.ndjson", 2, 0, 300)
	h.until("what has grown and what is new is read", imported(1800))
	if status := h.stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.said())
	}
	if n := s.journaled(); n != 1800 {
		t.Errorf("%d rows are durable, want 1800", n)
	}

	s.grow("b.ndjson", 2, 300, 400)
	h = s.serve()
	h.until("what has grown meanwhile is read, and nothing else", imported(100))
	s.grow("b.ndjson", 2, 400, 500)
	// A log that is rotated: what it held has a new name, is read again, and adds
	// nothing. Beside it somebody is in the middle of a line.
	if err := os.Rename(filepath.Join(s.dir, "events", "a.ndjson"), filepath.Join(s.dir, "events", "a.ndjson.1")); err != nil {
		t.Fatal(err)
	}
	s.grow("a.ndjson", 3, 0, 200)
	half := event(3, 200, "")
	s.write("events/c.ndjson", half[:50])
	h.until("the rotated file is read", imported(100+100+1500+200))
	if n := strings.Count(h.said(), `"rows":1900`); n > 2 {
		t.Errorf("nothing new was reported %d times", n)
	}
	h.stop(syscall.SIGKILL)

	s.write("events/c.ndjson", half+"\n")
	h = s.serve()
	h.until("everything is durable, once", func() bool { return s.journaled() == 2201 })
	if status := h.stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.said())
	}
	s.once()
	want := newSite(t)
	want.grow("1", 0, 0, 1000)
	want.grow("2", 1, 1000, 1500)
	want.grow("3", 2, 0, 500)
	want.grow("4", 3, 0, 201)
	want.once()
	sameRows(t, s.rows("out"), want.rows("out"))
	checkNothingMore(t, s)
	if got := s.quarantined(); len(got) > 0 {
		t.Errorf("in quarantine: %v", got)
	}
}

// A host that serves ends when the disk of its journal is full: the next one
// goes on.
func TestDiskFullWhileServing(t *testing.T) {
	if !inside(t) {
		return
	}
	want := newSite(t)
	fill(want)
	want.once()
	s := newSite(t)
	s.follow()
	resize := s.smallDisk("data", "600k")
	h := s.serve()
	h.until("it serves", func() bool { return strings.Contains(h.said(), "serving") })
	fill(s)
	if status := h.wait(); status.ExitStatus() != 1 || !strings.Contains(h.said(), s.room("data")) {
		t.Fatalf("it ended with %v:\n%s", status, h.said())
	}
	resize("64m")
	h = s.serve()
	h.until("everything is durable", func() bool { return s.journaled() == int64(len(want.rows("out"))) })
	if status := h.stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.said())
	}
	s.once()
	sameRows(t, s.rows("out"), want.rows("out"))
	checkNothingMore(t, s)
}
