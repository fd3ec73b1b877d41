package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// edit replaces a text of the configuration.
func (s *site) edit(old, next string) {
	s.t.Helper()
	text := s.Read("penstock.hcl")
	if !strings.Contains(text, old) {
		s.t.Fatalf("the configuration has no %q", old)
	}
	s.Write("penstock.hcl", strings.Replace(text, old, next, 1))
}

// secondDestination is for the same events.
const secondDestination = `
destination "localfs" "two" {
  path = "./two"
}
`

// keptOpen sends requests over one connection, and counts the connections that it needed.
type keptOpen struct {
	client *http.Client
	dialed atomic.Int64
}

func newKeptOpen(t *testing.T) *keptOpen {
	k := &keptOpen{}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		k.dialed.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	k.client = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	return k
}

// status imports nothing with a secret, and returns the answer's status.
func (k *keptOpen) status(t *testing.T, address, secret string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+address+"/import?strict=1&project_id=2195193", strings.NewReader("[]"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth(secret, "")
	response, err := k.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// A host is reloaded again and again while clients send: pipelines, destinations and
// secrets come, change and go, some by SIGHUP and some at the same time. No connection is
// closed, and each event is at each destination once.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	c.Write("secret.txt", "first-secret")
	c.edit(`api_secret = env("SHOP_TOKEN")`, `api_secret = file("./secret.txt")`)
	h := c.serve()
	stop := c.load(3, 10)
	open, refused := newKeptOpen(t), newKeptOpen(t) // a refusal may close its connection
	secrets := func(good, bad string) {
		t.Helper()
		if s := open.status(t, *c.address.Load(), good); s == http.StatusUnauthorized {
			t.Errorf("%s is refused", good)
		}
		if s := refused.status(t, *c.address.Load(), bad); s != http.StatusUnauthorized {
			t.Errorf("%s is answered %d", bad, s)
		}
	}
	secrets("first-secret", "second-secret")
	h.Until("clients are answered", func() bool { return c.count(c.acked) > 100 })
	c.Says(c.Penstock(nil, "reload"), 0, "nothing has changed")

	// A second destination gets the events that were journaled before it was there.
	c.Append("penstock.hcl", secondDestination+c.pipeline("events_two", "localfs.two"))
	c.Says(c.Penstock(nil, "reload"), 0, "destination localfs.two added", "pipeline events_two added")
	h.Until("the second destination has events", func() bool { return len(c.Objects("two")) > 0 })

	// A wrong file changes nothing.
	c.edit(`path = "./two"`, `pth = "./two"`)
	c.Says(c.Penstock(nil, "reload"), 2, "penstock.hcl:", "pth", "goes on with the one before")
	h.Signal(syscall.SIGHUP)
	h.Until("the wrong file is refused", func() bool { return strings.Contains(h.Said(), "the configuration is wrong; nothing was changed") })
	c.edit(`pth = "./two"`, `path = "./two"`)

	c.Write("secret.txt", "second-secret")
	r := c.Penstock(nil, "reload")
	c.Says(r, 0, "source collector.web: api_secret changed")
	if said := r.Out + r.Err + h.Said(); strings.Contains(said, "first-secret") || strings.Contains(said, "second-secret") {
		t.Error("a secret is said")
	}
	secrets("second-secret", "first-secret")

	// An operator's pause outlives a reload that changes the pipeline.
	c.Says(c.Penstock(nil, "pipelines", "pause", "events_two"), 0)
	c.edit("pipeline \"events_two\" {\n", "pipeline \"events_two\" {\n  paused = false\n  max_run = \"2MiB\"\n")
	h.Signal(syscall.SIGHUP)
	h.Until("SIGHUP reloads", func() bool { return strings.Contains(h.Said(), "attribute=max_run") })
	c.Says(c.Penstock(nil, "pipelines", "list"), 0, "paused")
	c.Says(c.Penstock(nil, "pipelines", "resume", "events_two"), 0)

	// Some changes wait for a restart, and say so.
	c.edit(`memory     = "4MiB"`, `memory     = "5MiB"`)
	c.Says(c.Penstock(nil, "reload"), 0, "host: memory changed", "(needs a restart of the host)")
	c.edit(`memory     = "5MiB"`, `memory     = "4MiB"`)

	// Reloads at the same time follow one another. A destination is changed to and fro,
	// between two names of its directory.
	if err := os.Symlink("two", filepath.Join(c.Dir, "twin")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"./twin", "./two"} {
		text := c.Read("penstock.hcl")
		at := strings.LastIndex(text, `path = "./t`)
		c.Write("penstock.hcl", text[:at]+fmt.Sprintf("path = %q", path)+text[at+strings.IndexByte(text[at:], '\n'):])
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if r := c.Penstock(nil, "reload"); r.Status != 0 {
					t.Errorf("status %d: %s%s", r.Status, r.Out, r.Err)
				}
			})
		}
		wg.Wait()
	}

	// A plugin that hangs does not keep its pipeline from being removed.
	plugins := children(t, h.PID())
	for _, pid := range plugins {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	before := c.Read("penstock.hcl")
	c.edit(c.pipelineText("events_two"), "")
	c.Says(c.Penstock(nil, "reload"), 0, "pipeline events_two removed")
	for _, pid := range plugins {
		_ = syscall.Kill(pid, syscall.SIGCONT) // its supervisor may have ended it
	}
	c.Says(c.Penstock(nil, "runs", "list", "events_two"), 0, "events_two")
	c.Write("penstock.hcl", before)
	c.Says(c.Penstock(nil, "reload"), 0, "pipeline events_two added")

	if n := open.dialed.Load(); n != 1 {
		t.Errorf("the collector was connected to %d times", n)
	}
	h.Stop(syscall.SIGTERM)
	stop()
	c.check()
	penstocktest.SameRows(t, c.Rows("two"), c.Rows("out"))
}

// SIGHUP that comes while a host reads its configuration does not end it: the host reads
// it again as soon as it serves.
func TestAHangUpBeforeTheHostServes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	path, text := filepath.Join(s.Dir, "penstock.hcl"), s.Read("penstock.hcl")
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	h := s.Serve()
	answer := func(reads string, before func()) {
		t.Helper()
		var pipe *os.File
		h.Until(reads, func() bool {
			var err error
			pipe, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			return err == nil // it has opened the pipe for reading
		})
		before()
		_, err := pipe.WriteString(text)
		if err := errors.Join(err, pipe.Close()); err != nil {
			t.Fatal(err)
		}
	}
	answer("the host reads its configuration", func() { h.Signal(syscall.SIGHUP) })
	h.Until("the host serves", func() bool { return strings.Contains(h.Said(), "msg=serving") })
	answer("it reads its configuration again", func() {})
	h.Until("it has reloaded", func() bool { return strings.Contains(h.Said(), "configuration reloaded") })
	h.Stop(syscall.SIGTERM)
}

// pipelineText returns the block of a pipeline.
func (s *site) pipelineText(name string) string {
	s.t.Helper()
	text := s.Read("penstock.hcl")
	from := strings.Index(text, fmt.Sprintf("pipeline %q {", name))
	if from < 0 {
		s.t.Fatalf("there is no pipeline %s", name)
	}
	return text[from : from+strings.Index(text[from:], "\n}\n")+3]
}
