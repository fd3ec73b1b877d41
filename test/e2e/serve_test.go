package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
)

// grow appends events to a file, in two writes that cut one in half.
func (s *site) grow(name string, day, from, to int) {
	s.t.Helper()
	var b strings.Builder
	for n := from; n < to; n++ {
		b.WriteString(event(day, n, ""))
		b.WriteByte('\n')
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, "events", name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), `"./events/*"`, "\"./events/*\"\n  follow  = true", 1))
}

// Files that appear and grow while the host serves are read as they do. On SIGTERM
// the host makes the rows durable that it has read; after SIGKILL it reads them
// again.
func TestFollowedFiles(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.follow()
	s.grow("a.ndjson", 0, 0, 1000)
	h := s.Serve()
	imported := func(rows int64) func() bool {
		return func() bool { return h.Reported("import files.import") == rows }
	}
	h.Until("the first file is read", imported(1000))
	h.Until("the first file is exported", func() bool { return len(s.Objects("out")) > 0 })
	s.grow("a.ndjson", 1, 1000, 1500)
	s.grow("b.ndjson", 2, 0, 300)
	h.Until("new rows and the new file are read", imported(1800))
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	if n := s.Journaled(); n != 1800 {
		t.Errorf("%d rows are durable, want 1800", n)
	}

	s.grow("b.ndjson", 2, 300, 400)
	h = s.Serve()
	h.Until("only rows that were added since are read", imported(100))
	s.grow("b.ndjson", 2, 400, 500)
	// A log is rotated: its content has a new name, and is recognised. The last
	// line of another file is not complete.
	if err := os.Rename(filepath.Join(s.Dir, "events", "a.ndjson"), filepath.Join(s.Dir, "events", "a.ndjson.1")); err != nil {
		t.Fatal(err)
	}
	s.grow("a.ndjson", 3, 0, 200)
	half := event(3, 200, "")
	s.Write("events/c.ndjson", half[:50])
	h.Until("the rotated file is read", imported(100+100+200))
	if n := strings.Count(h.Said(), `"rows":400`); n > 2 {
		t.Errorf("nothing new was reported %d times", n)
	}
	h.Stop(syscall.SIGKILL)

	s.Write("events/c.ndjson", half+"\n")
	h = s.Serve()
	h.Until("everything is durable, once", func() bool { return s.Journaled() == 2201 })
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	s.Once()
	want := newSite(t)
	want.grow("1", 0, 0, 1000)
	want.grow("2", 1, 1000, 1500)
	want.grow("3", 2, 0, 500)
	want.grow("4", 3, 0, 201)
	want.Once()
	penstocktest.SameRows(t, s.Rows("out"), want.Rows("out"))
	checkNothingMore(t, s)
	if got := s.quarantined(); len(got) > 0 {
		t.Errorf("in quarantine: %v", got)
	}
}

// A host that serves goes on when the disk of its journal is full: it says so,
// and reads on once there is room.
func TestDiskFullWhileServing(t *testing.T) {
	if !inside(t) {
		return
	}
	want := newSite(t)
	fill(want)
	want.Once()
	s := newSite(t)
	s.follow()
	resize := s.smallDisk("data", "600k")
	h := s.Serve()
	h.Until("it serves", func() bool { return strings.Contains(h.Said(), "serving") })
	fill(s)
	h.Until("the full disk is said", func() bool {
		return strings.Contains(h.Said(), `msg="could not read a source; will retry" source=files.import`)
	})
	resize("64m")
	h.Until("everything is durable", func() bool { return s.Journaled() == int64(len(want.Rows("out"))) })
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	s.Once()
	penstocktest.SameRows(t, s.Rows("out"), want.Rows("out"))
	checkNothingMore(t, s)
}

// children are the processes that a process has started.
func children(t *testing.T, parent int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var state string
		var ppid int
		_, rest, _ := strings.Cut(string(stat), ") ")
		if _, err := fmt.Sscan(rest, &state, &ppid); err == nil && ppid == parent {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// A host stops soon although a plugin is frozen, before container runtimes kill
// it, and the next one exports what is left.
func TestStopWithAFrozenPlugin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.follow()
	s.grow("a.ndjson", 0, 0, 1000)
	h := s.Serve()
	h.Until("the file is exported", func() bool { return len(s.Objects("out")) > 0 })
	plugins := children(t, h.PID())
	if len(plugins) == 0 {
		t.Skip("SKIPPED: there is no /proc to find the plugin in")
	}
	for _, pid := range plugins {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	s.grow("a.ndjson", 1, 1000, 1500)
	h.Until("what has grown is read", func() bool { return h.Reported("import files.import") == 1500 })
	began := time.Now()
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the host took %s to stop", took)
	}
	if left := children(t, h.PID()); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	s.Once()
	if n := len(s.Rows("out")); n != 1500 {
		t.Errorf("%d rows", n)
	}
}

// A host stops soon although its store answers nothing, and the next one exports
// everything.
func TestStopWithAFrozenStore(t *testing.T) {
	t.Parallel()
	server := standin.StartS3(t, "lake")
	s := newSiteWith(t, s3Destination(server), "s3.lake")
	s.events("a.ndjson", 0, 3, 1000)
	server.Freeze()
	h := s.Serve("S3_SECRET=" + server.SecretKey)
	h.Until("a run waits for the store", func() bool {
		return strings.Contains(s.Penstock(nil, "runs", "list", "--json").Out, `"state": "running"`)
	})
	began := time.Now()
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the host took %s to stop", took)
	}
	if left := children(t, h.PID()); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	server.Thaw()
	s.Says(s.Once("S3_SECRET="+server.SecretKey), 0, "1,000 rows")
}
