package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/test/freeport"
)

// answered sends events until stop is called, and reports each request that is not taken:
// no client may be refused, and no connection may be closed under a request.
// The load is a light one: it is there all the time, and its export is short.
func (c *collecting) answered(clients, size int) (stop func()) {
	var stopped atomic.Bool
	var wg sync.WaitGroup
	for range clients {
		number := c.clients
		c.clients++
		wg.Go(func() {
			for n := 0; !stopped.Load(); n++ {
				path, contentType, encoding, body, ids := c.batch(number, n, size)
				status, answer, err := c.post(path, contentType, encoding, body)
				c.note(func() {
					for _, id := range ids {
						c.sent[id], c.acked[id] = true, err == nil && status == http.StatusOK
					}
				})
				if err != nil || status != http.StatusOK {
					c.t.Errorf("%s: %d %s %v", path, status, answer, err)
					return
				}
				waitABit()
			}
		})
	}
	stop = sync.OnceFunc(func() {
		stopped.Store(true)
		wg.Wait()
	})
	c.t.Cleanup(stop)
	return stop
}

// rowsOf returns how many rows the journal of a project has; -1: it has none.
func (s *site) rowsOf(project string) int64 {
	var status struct {
		Projects []struct {
			Name string
			Rows int64
		}
	}
	r := s.Penstock(nil, "status", "--json")
	if err := json.Unmarshal([]byte(r.Out), &status); err != nil {
		s.t.Fatal(err, r.Err)
	}
	for _, p := range status.Projects {
		if p.Name == project {
			return p.Rows
		}
	}
	return -1
}

const secondProject = `
project "app" {
  id    = 77
  token = "tok-app"
}
source "files" "app" {
  project = "app"
  path    = "./app/*.ndjson"
  follow  = true
}
`

// Sources and a project come, change and go while clients send: a collector changes its
// settings, its name and its address, and goes. Each request is answered while the address
// stays, and each event is exported once. A change that cannot be made changes nothing.
func TestReloadOfSources(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	address := func() string {
		a, err := freeport.Address()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first, second := address(), address()
	c.Write("secret.txt", "first-secret")
	c.edit(`api_secret = env("SHOP_TOKEN")`, "api_secret = file(\"./secret.txt\")\n  max_body = \"1MB\"")
	c.edit("127.0.0.1:0", first)
	h := c.serve()
	stop := c.answered(3, 2)
	taken := func(event string) {
		before := c.count(c.sent)
		h.Until("clients are answered "+event, func() bool { return c.count(c.sent) > before+60 || t.Failed() })
	}
	taken("first")

	// Settings change in place, and a project with a file source is added.
	c.Write("secret.txt", "second-secret")
	c.edit(`max_body = "1MB"`, `max_body = "2MB"`)
	var lines strings.Builder
	for n := range 100 {
		lines.WriteString(event(0, n, "") + "\n")
	}
	for _, dir := range []string{"app", "more"} {
		if err := os.Mkdir(filepath.Join(c.Dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.Write(filepath.Join("app", "a.ndjson"), lines.String())
	c.Append("penstock.hcl", secondProject)
	c.Says(c.Penstock(nil, "plan"), 0, "with a reload, project app added", "with a reload, source files.app added (its files are read)", "api_secret changed")
	if n := c.rowsOf("app"); n != -1 {
		t.Errorf("a plan has added a project, with %d rows", n)
	}
	r := c.Penstock(nil, "reload")
	c.Says(r, 0, "project app added", "source files.app added", "source collector.web: api_secret changed", `max_body changed from "1MB" to "2MB"`)
	if said := r.Out + r.Err + h.Said(); strings.Contains(said, "-secret") {
		t.Error("a secret is said")
	}
	taken("with other settings")
	if k := newKeptOpen(t); k.status(t, first, "second-secret") == http.StatusUnauthorized || k.status(t, first, "first-secret") != http.StatusUnauthorized {
		t.Error("the secret is the one before")
	}
	h.Until("the files are read", func() bool { return c.rowsOf("app") == 100 })

	// Other patterns are read from where the source was; nothing twice.
	c.Write(filepath.Join("more", "b.ndjson"), event(1, 7_777_777, "")+"\n")
	c.edit("./app/*.ndjson", "./{app,more}/*.ndjson")
	h.Signal(syscall.SIGHUP)
	h.Until("the other file is read", func() bool { return c.rowsOf("app") == 101 })

	// A refused change changes nothing: an address that is in use, another project.
	inUse, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inUse.Close()
	before := c.Read("penstock.hcl")
	third := "\nproject \"third\" {\n  id = 78\n  token = \"tok-3\"\n  timezone = \"Asia/Tokyo\"\n}\n"
	c.Append("penstock.hcl", third+fmt.Sprintf("source \"collector\" \"other\" {\n  project = \"third\"\n  listen  = %q\n}\n", inUse.Addr()))
	c.edit(`max_body = "2MB"`, `max_body = "3MB"`)
	c.Says(c.Penstock(nil, "reload"), 1, "nothing was changed", "collector.other", "address already in use")
	c.Write("penstock.hcl", before)
	c.edit(`project = "app"`, `project = "shop"`)
	c.Says(c.Penstock(nil, "reload"), 2, "source files.app: project", `set it to "app" again`, "goes on with the one before")
	c.Write("penstock.hcl", before)
	c.Says(c.Penstock(nil, "reload"), 0, "nothing has changed")
	if n := c.rowsOf("third"); n != -1 {
		t.Error("a project is registered that was refused")
	}
	taken("after refused changes")

	// A collector with another name takes the address over, and all requests are answered.
	c.edit(`"collector" "web"`, `"collector" "site"`)
	c.Says(c.Penstock(nil, "reload"), 0, "source collector.site added", "source collector.web removed")
	taken("by the other collector")
	h.Until("the log of the one before is empty", func() bool {
		return strings.Contains(h.Said(), "a collector has left, and all its rows are in journals")
	})
	stop()

	// The address changes. It may be listened on again afterwards.
	c.edit(first, second)
	c.Says(c.Penstock(nil, "reload"), 0, "source collector.site: listen changed")
	c.address.Store(&second)
	stop = c.answered(3, 2)
	taken("at the other address")
	h.Until("the address before is free", func() bool {
		l, err := net.Listen("tcp", first)
		if err == nil {
			_ = l.Close()
		}
		return err == nil
	})
	stop()

	// Sources and a project are removed.
	text := c.Read("penstock.hcl")
	c.Write("penstock.hcl", text[:strings.Index(text, `source "collector"`)])
	c.Says(c.Penstock(nil, "reload"), 0, "source collector.site removed", "source files.app removed", "project app removed (its journal stays)")
	h.Until("its log is empty", func() bool {
		return strings.Contains(h.Said(), `all its rows are in journals" source=collector.site`)
	})
	h.Stop(syscall.SIGTERM)
	c.note(func() { c.operations, c.ackedOperations = 101, 101 }) // rows that are not exported: those of files
	c.check()
}
