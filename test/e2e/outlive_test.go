package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A plugin that dies whenever it is configured keeps neither the collector from
// listening nor another pipeline from running. Once it works, its pipeline
// catches up.
func TestACollectorOutlivesAPluginThatFailsConfigure(t *testing.T) {
	t.Parallel()
	c := &collecting{site: newSiteWith(t, pickyDestination+localDestination, "picky.out"), sent: map[string]bool{}, acked: map[string]bool{}}
	c.Write("penstock.hcl", strings.Replace(c.Read("penstock.hcl"), `"./out"`, `"./refused"`, 1))
	c.Append("penstock.hcl", collectorSource+c.pipeline("well", "localfs.out"))
	c.Write("refused.crash", "")
	h := c.serve()
	stop := c.load(2, 20)
	h.Until("events are acknowledged", func() bool { return c.count(c.acked) > 200 })
	h.Until("the pipeline's failure is said", func() bool {
		return strings.Contains(h.Said(), `msg="could not register a pipeline; will retry" pipeline=events_out`)
	})
	if err := os.Remove(filepath.Join(c.Dir, "refused.crash")); err != nil {
		t.Fatal(err)
	}
	stop()
	h.Until("the pipeline runs", func() bool { return strings.Contains(h.Said(), `msg="run succeeded" pipeline=events_out`) })
	h.Until("the other one runs", func() bool { return strings.Contains(h.Said(), `msg="run succeeded" pipeline=well`) })
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	c.check()
	files, err := filepath.Glob(filepath.Join(c.Dir, "refused", "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		rows += strings.Count(string(data), "\n")
	}
	if want := len(c.Rows("out")); rows != want {
		t.Errorf("the destination that failed has %d rows, the other one %d", rows, want)
	}
}

// The file system of the journal is read-only for a while: the collector takes
// events all the time, and they are in the journal and exported once it can be
// written.
func TestACollectorOutlivesAFailingJournal(t *testing.T) {
	if !inside(t) {
		return
	}
	c := newCollecting(t)
	c.Write("penstock.hcl", strings.Replace(c.Read("penstock.hcl"), "host {", "host {\n  blobs = \"./blobs\"", 1))
	// Clients send as fast as they are answered: they pause while the host is waited
	// for, and the disk has room for whatever they send between.
	c.smallDisk("blobs", "2g")
	h := c.serve()
	stop := c.load(3, 50)
	h.Until("events are acknowledged", func() bool { return c.count(c.acked) > 2000 })
	stop()
	h.Until("events are exported", func() bool { return strings.Contains(h.Said(), `msg="run succeeded"`) })
	// A mount of its own on top, because a file system on which something is
	// being written cannot be made read-only.
	blobs := filepath.Join(c.Dir, "blobs")
	cover := func() (uncover func()) {
		t.Helper()
		if err := syscall.Mount(blobs, blobs, "", syscall.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("", blobs, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		return func() {
			t.Helper()
			if err := syscall.Unmount(blobs, syscall.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
		}
	}
	uncover := cover()
	stop = c.load(1, 20)
	failed := `msg="could not write collected rows to the journal: they wait in the write-ahead log; will retry"`
	h.Until("the journal's failure is said", func() bool { return strings.Contains(h.Said(), failed) })
	before := c.count(c.acked)
	h.Until("events are acknowledged all the same", func() bool { return c.count(c.acked) > before+500 })
	stop()
	journaled := c.Journaled()
	uncover()
	h.Until("the journal is written again", func() bool { return c.Journaled() > journaled })
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	c.check()
}

// The journal of one project cannot be opened when the host starts. Clients of
// that project, whose aliases are not known, are answered 503; those of the other
// project of the same collector are served and their events exported. Once the
// journal can be opened, everything works, and no event is lost.
func TestAFailingProjectKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	c.Write("penstock.hcl", strings.NewReplacer(
		"  project    = \"shop\"\n  listen", "  projects   = [\"shop\", \"old\"]\n  listen",
	).Replace(c.Read("penstock.hcl")))
	c.Append("penstock.hcl", `
project "old" {
  id       = 77
  token    = "tok-old"
  identity = "legacy"
}
destination "localfs" "old" {
  path = "./old"
}
`+strings.Replace(c.pipeline("old_out", "localfs.old"), `"shop"`, `"old"`, 1))
	send := func(token, id string) int {
		t.Helper()
		body := fmt.Sprintf(`{"event":"Seen","properties":{"token":%q,"distinct_id":"D","$insert_id":%q}}`, token, id)
		status, answer, err := c.post("/track", "application/json", "", body)
		if err != nil || status == 200 && answer != "1" {
			t.Fatal(status, answer, err)
		}
		return status
	}
	// Events that were acknowledged before.
	h := c.serve()
	if status := send("tok-old", "before"); status != 200 {
		t.Fatal(status)
	}
	h.Stop(syscall.SIGKILL)

	// A record of a seal that the catalog does not know.
	const record = "data/blobs/commits/77/0000000000000099.json"
	if err := os.MkdirAll(filepath.Join(c.Dir, filepath.Dir(record)), 0o700); err != nil {
		t.Fatal(err)
	}
	c.Write(record, "{}")
	h = c.serve()
	if status := send("tok-old", "refused"); status != 503 {
		t.Errorf("status %d while the project's aliases are not known", status)
	}
	if status := send("tok-7c1d", "other"); status != 200 {
		t.Errorf("status %d for the other project", status)
	}
	h.Until("the other project's events are exported", func() bool { return strings.Contains(h.Said(), `msg="run succeeded" pipeline=events_out rows=1`) })
	c.Says(c.Penstock(nil, "status"), 0, "FAILING: the journal of project old takes nothing")
	if err := os.Remove(filepath.Join(c.Dir, record)); err != nil {
		t.Fatal(err)
	}
	h.Until("the aliases are known", func() bool {
		return strings.Contains(h.Said(), `msg="the aliases of a legacy project are known" project=old`)
	})
	if status := send("tok-old", "after"); status != 200 {
		t.Errorf("status %d once the journal works", status)
	}
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	c.Once()
	for _, id := range []string{"before", "after"} {
		if n := strings.Count(strings.Join(c.Rows("old"), "\n"), fmt.Sprintf("%q", id)); n != 2 { // insert_id and in properties
			t.Errorf("event %q is exported %d times:\n%s", id, n, strings.Join(c.Rows("old"), "\n"))
		}
	}
}

// The disk of the identity index is full. The collector goes on, the pipeline of
// identity mappings says what is wrong, and it catches up once there is room.
func TestACollectorOutlivesAFullIndexDisk(t *testing.T) {
	if !inside(t) {
		return
	}
	for _, inodes := range []int{2, 5} {
		t.Run(fmt.Sprint(inodes, " inodes"), func(t *testing.T) {
			c := newCollecting(t)
			c.Write("penstock.hcl", strings.Replace(c.Read("penstock.hcl"), `token = env`, "identity = \"original\"\n  token = env", 1))
			c.Append("penstock.hcl", `
destination "localfs" "ids" {
  path = "./ids"
}
pipeline "ids" {
  project     = "shop"
  stream      = "identity"
  destination = destination.localfs.ids
}
`)
			// The disk has free bytes, but no inode for another file: the free space that
			// the index asks for before it writes does not show the fault.
			resize := c.smallDisk("data/identity", fmt.Sprintf("64m,nr_inodes=%d", inodes))
			h := c.serve()
			linked := func(n int) {
				t.Helper()
				body := fmt.Sprintf(`{"event":"$identify","properties":{"token":"tok-7c1d","$identified_id":"user","$anon_id":%q}}`, anonymousID(n))
				if status, answer, err := c.post("/track", "application/json", "", body); err != nil || status != 200 || answer != "1" {
					t.Fatal(status, answer, err)
				}
			}
			for n := range 50 {
				linked(n)
			}
			stop := c.load(2, 20)
			failed := func() bool { return strings.Contains(h.Said(), `msg="pipeline failed; will retry" pipeline=ids`) }
			h.Until("the full disk is said", func() bool { return failed() && strings.Contains(h.Said(), "no space left on device") })
			before := c.count(c.acked)
			h.Until("events are acknowledged all the same", func() bool { return c.count(c.acked) > before+200 })
			resize("64m,nr_inodes=10000")
			h.Until("the mappings are exported", func() bool { return strings.Contains(h.Said(), `msg="run succeeded" pipeline=ids rows=50`) })
			stop()
			if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
				t.Fatalf("it ended with %v:\n%s", status, h.Said())
			}
			c.Once()
			if got, want := len(c.Rows("out")), c.count(c.acked)+50; got < want {
				t.Errorf("%d events are exported, and %d were acknowledged", got, want)
			}
		})
	}
}
