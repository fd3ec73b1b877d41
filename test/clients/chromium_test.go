package clients

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Paths of the server of pages: a page, and Mixpanel's client in it.
const (
	pagePath   = "/page"
	scriptPath = "/mixpanel.js"
	page       = `<!doctype html><meta charset="utf-8"><title>Shop 🏔</title><script src="` + scriptPath + `"></script>`
)

func pages(t *testing.T) http.Handler {
	t.Helper()
	client, err := os.ReadFile(filepath.Join("..", "..", ".cache", "clients", "node_modules", "mixpanel-browser", "dist", "mixpanel.umd.js"))
	if err != nil {
		missing(t, "mixpanel-browser is not installed: run `make tools`")
	}
	mux := http.NewServeMux()
	serve := func(path, contentType string, content []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write(content) // a browser that is gone shows no page
		})
	}
	serve(pagePath, "text/html; charset=utf-8", []byte(page))
	serve(scriptPath, "text/javascript; charset=utf-8", client)
	return mux
}

// newOrigin serves pages at an origin of their own.
func newOrigin(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(pages(t))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

// browser is a Chromium that a script of ours drives.
type browser struct {
	t          *testing.T
	command    *exec.Cmd
	in         io.Writer
	answers    *bufio.Reader
	complaints *bytes.Buffer
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "Chromium is not installed: run `make tools` as root, or apt-get install --no-install-recommends chromium")
	}
	command := node(t, "browser/drive.js")
	command.Env = append(command.Env, "CHROMIUM="+chromium, "PROFILE="+t.TempDir())
	b := &browser{t: t, command: command, complaints: &bytes.Buffer{}}
	command.Stderr = b.complaints
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	b.in, b.answers = in, bufio.NewReader(out)
	t.Cleanup(func() {
		// Its end closes the browser.
		_ = in.Close()
		guard := time.AfterFunc(time.Minute, func() { _ = command.Process.Kill() })
		defer guard.Stop()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("the browser said:\n%s", b.complaints.String())
		}
	})
	return b
}

// ask sends the browser a command and returns the result.
func (b *browser) ask(command object) json.RawMessage {
	b.t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		b.t.Fatalf("the browser is gone: %v", err)
	}
	guard := time.AfterFunc(2*time.Minute, func() { _ = b.command.Process.Kill() })
	defer guard.Stop()
	line, err = b.answers.ReadBytes('\n')
	if err != nil {
		b.t.Fatalf("the browser does not answer: %v", err)
	}
	var answer struct {
		Value json.RawMessage
		Error string
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		b.t.Fatalf("%v in %s", err, line)
	}
	if answer.Error != "" {
		b.t.Fatalf("%v: %s", command, answer.Error)
	}
	return answer.Value
}

func (b *browser) open(page, url string) {
	b.t.Helper()
	b.ask(object{"do": "open", "page": page, "url": url})
}
func (b *browser) close(page string) { b.t.Helper(); b.ask(object{"do": "close", "page": page}) }

// run runs the body of an async function in a page.
func (b *browser) run(page, js string) json.RawMessage {
	b.t.Helper()
	return b.ask(object{"do": "run", "page": page, "js": js})
}

// visit opens a page and begins to use the client there, which sends its queue
// when the interval, in milliseconds, has passed.
func (b *browser) visit(page, origin, collector string, interval int) {
	b.t.Helper()
	b.open(page, origin+pagePath)
	b.run(page, fmt.Sprintf(`
		window.problems = [];
		mixpanel.init(%q, {
			api_host: %q, batch_flush_interval_ms: %d, error_reporter: (problem) => problems.push(problem),
		});`, shopToken, collector, interval))
}

// Intervals of visits: events are sent soon, or only on leaving.
const (
	soon  = 100
	never = 1e6
)

// unproblematic fails the test when the client in a page had problems.
func (b *browser) unproblematic(page string) {
	b.t.Helper()
	if problems := b.run(page, `return problems`); string(problems) != "[]" {
		b.t.Errorf("the client had problems: %s", problems)
	}
}

// drained waits until nothing waits in the page's storage.
func (b *browser) drained(page string) {
	b.t.Helper()
	b.run(page, fmt.Sprintf(`
		const waiting = (kind) => JSON.parse(localStorage.getItem('__mpq_%s_' + kind) ?? '[]').length;
		while (waiting('ev') + waiting('pp') + waiting('gr') > 0) await new Promise((resolve) => setTimeout(resolve, 10));`, shopToken))
}

// track tracks an event that waits in the page's storage until it is sent.
func (b *browser) track(page, js string) {
	b.t.Helper()
	b.run(page, fmt.Sprintf(`
		const waiting = () => JSON.parse(localStorage.getItem('__mpq_%s_ev') ?? '[]').length;
		const before = waiting();
		%s;
		while (waiting() === before) await new Promise((resolve) => setTimeout(resolve, 10));`, shopToken, js))
}
