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

	"github.com/penstock-io/penstock/test/penstocktest"
)

// What a page's server answers: a page, and Mixpanel's client in it.
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
	command.Env = append(command.Env, "CHROMIUM="+chromium)
	b := &browser{t: t, complaints: &bytes.Buffer{}}
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

// ask has the browser do something and returns what came of it.
func (b *browser) ask(command object) json.RawMessage {
	b.t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		b.t.Fatalf("the browser is gone: %v", err)
	}
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

// visit opens a page and begins to use the client there.
func (b *browser) visit(page, origin, collector string) {
	b.t.Helper()
	b.open(page, origin+pagePath)
	b.run(page, fmt.Sprintf(`
		window.problems = [];
		mixpanel.init(%q, {
			api_host: %q, batch_flush_interval_ms: 100, error_reporter: (problem) => problems.push(problem),
		});`, shopToken, collector))
}

// unproblematic fails the test when the client in a page had problems.
func (b *browser) unproblematic(page string) {
	b.t.Helper()
	if problems := b.run(page, `return problems`); string(problems) != "[]" {
		b.t.Errorf("the client had problems: %s", problems)
	}
}

// stored waits until count events wait in the page's storage.
func (b *browser) stored(page string, count int) {
	b.t.Helper()
	b.run(page, fmt.Sprintf(`
		const waiting = () => JSON.parse(localStorage.getItem('__mpq_%s_ev') ?? '[]').length;
		while (waiting() !== %d) await new Promise((resolve) => setTimeout(resolve, 10));`, shopToken, count))
}

// engaged are how many profile operations were answered with success.
func (r *relay) engaged(t *testing.T) int {
	n := 0
	for _, e := range r.all() {
		if strings.Trim(e.path, "/") == "engage" && e.status == http.StatusOK {
			n += len(e.records(t))
		}
	}
	return n
}

// beacons are how many requests came as navigator.sendBeacon sends them.
func (r *relay) beacons() int {
	n := 0
	for _, e := range r.all() {
		if e.header.Get("Sec-Fetch-Mode") == "no-cors" && strings.HasPrefix(e.header.Get("Content-Type"), "text/plain") {
			n++
		}
	}
	return n
}

// arrived waits until the events that the host has taken are so many.
func (s *shop) arrived(h *penstocktest.Host, count int) {
	s.t.Helper()
	h.Until(fmt.Sprintf("%d events arrive", count), func() bool { return len(s.relay.events(s.t, shopToken)) >= count })
	if n := len(s.relay.events(s.t, shopToken)); n != count {
		s.t.Fatalf("%d events came, want %d", n, count)
	}
}

// A page of another origin sends whatever mixpanel-browser can send.
func TestBrowser(t *testing.T) {
	t.Parallel()
	origin := newOrigin(t)
	b := startBrowser(t)
	s := newShop(t, origin)
	h := s.serve()
	collector := "http://" + s.relay.address

	b.visit("shop", origin, collector)
	b.run("shop", `
		mixpanel.register({plan: 'gold', 'Zürich 🏔': 'ça'});
		mixpanel.track('anonymous', {n: 1, text: 'Zürich 🏔 "<&>" \\ / + % = \u2028', list: [1, 'a', null, {a: {}}]});
		for (let n = 0; n < 120; n++) mixpanel.track('batched', {n, half: 'x'.repeat(254) + '🏔', big: 1e21, small: 1e-7});`)
	s.arrived(h, 121)
	device := strings.Trim(string(b.run("shop", `return mixpanel.get_property('$device_id')`)), `"`)

	// People are known from identify on; operations before it wait for it.
	b.run("shop", `
		mixpanel.people.set({early: 'bird 🏔'});
		mixpanel.identify('ada');
		mixpanel.track('identified', {n: 2});
		mixpanel.alias('ada@example.com', 'ada');`)
	s.arrived(h, 121+3)
	b.run("shop", `
		mixpanel.people.set({a: 1, note: 'Zürich 🏔'});
		mixpanel.people.set_once({a: 2, b: 3});
		mixpanel.people.union('tags', ['x', 'y']);
		mixpanel.get_group('company', 'acme').set('founded', 1949);
		mixpanel.set_group('company', 'acme');`)
	operations := 6
	h.Until("operations arrive", func() bool { return s.relay.engaged(t) >= operations })
	for _, js := range []string{
		`mixpanel.people.increment({logins: 1, credits: -2.5})`, `mixpanel.people.increment('logins')`,
		`mixpanel.people.append('pages', 'home')`, `mixpanel.people.append({pages: 'about'})`,
		`mixpanel.people.remove('pages', 'home')`, `mixpanel.people.union('tags', ['y', 'z'])`, `mixpanel.people.unset('b')`,
		`mixpanel.people.track_charge(9.5, {$time: '2026-01-02T03:04:05'})`,
	} {
		before := s.relay.engaged(t)
		b.run("shop", js)
		h.Until(js, func() bool { return s.relay.engaged(t) > before })
	}

	// Somebody else at the same computer.
	b.run("shop", `
		mixpanel.reset();
		mixpanel.track('after reset', {n: 3});
		mixpanel.identify('bob');
		mixpanel.track('of bob', {n: 4});`)
	s.arrived(h, 124+3)
	b.run("shop", `mixpanel.people.set({a: 1}); mixpanel.people.delete_user();`)

	// The other ways to send: one at a time, asking first, as JSON, by GET.
	b.run("shop", `
		const sent = (name, config) => new Promise((resolve, reject) => {
			mixpanel.set_config(config);
			mixpanel.track(name, {n: 5, text: '🏔 + é'}, {send_immediately: true}, (answer) =>
				(answer === 1 || answer?.status === 1 ? resolve : reject)(JSON.stringify(answer)));
		});
		await sent('one', {});
		await sent('one, verbose', {verbose: true});
		await sent('asked first', {xhr_headers: {'X-Shop': '1'}});
		await sent('as JSON', {api_payload_format: 'json'});
		await sent('as JSON by GET', {api_method: 'GET', xhr_headers: {}});
		await sent('by GET', {api_payload_format: 'base64'});
		mixpanel.set_config({api_method: 'POST', verbose: false});`)
	s.arrived(h, 127+6)

	// Who leaves sends a beacon, and sends the same again on coming back: it is
	// not known what became of the beacon.
	b.run("shop", `mixpanel.set_config({batch_flush_interval_ms: 60_000});`)
	b.visit("shop", origin, collector)
	b.run("shop", `mixpanel.stop_batch_senders(); mixpanel.track('left', {n: 6});`)
	b.stored("shop", 1)
	b.run("shop", `mixpanel.start_batch_senders`)
	s.finishBrowser(b, h, origin, collector, device)
}

func (s *shop) finishBrowser(b *browser, h *penstocktest.Host, origin, collector, device string) {
	s.finish(h)
	same(s.t, "events", s.events(shopID), s.relay.events(s.t, shopToken))
}
