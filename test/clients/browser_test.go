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
	"slices"
	"strings"
	"syscall"
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

// visit opens a page and begins to use the client there, which sends what it
// has when the interval, in milliseconds, has passed.
func (b *browser) visit(page, origin, collector string, interval int) {
	b.t.Helper()
	b.open(page, origin+pagePath)
	b.run(page, fmt.Sprintf(`
		window.problems = [];
		mixpanel.init(%q, {
			api_host: %q, batch_flush_interval_ms: %d, error_reporter: (problem) => problems.push(problem),
		});`, shopToken, collector, interval))
}

// Intervals of visits: what is tracked is sent soon, or only on leaving.
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

// track tracks an event that waits in the page's storage until it is sent.
func (b *browser) track(page, js string) {
	b.t.Helper()
	b.run(page, fmt.Sprintf(`
		const waiting = () => JSON.parse(localStorage.getItem('__mpq_%s_ev') ?? '[]').length;
		const before = waiting();
		%s;
		while (waiting() === before) await new Promise((resolve) => setTimeout(resolve, 10));`, shopToken, js))
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

// asked is how often browsers asked before they sent.
func (r *relay) asked() int {
	n := 0
	for _, e := range r.all() {
		if e.method == http.MethodOptions && e.status == http.StatusNoContent {
			n++
		}
	}
	return n
}

// arrive waits until the host has taken so many events.
func (s *shop) arrive(h *penstocktest.Host, count int) {
	s.t.Helper()
	n := 0
	defer func() {
		if s.t.Failed() {
			s.t.Logf("%d events came, want %d", n, count)
		}
	}()
	h.Until(fmt.Sprintf("%d events arrive", count), func() bool {
		n = len(s.relay.events(s.t, shopToken))
		return n >= count
	})
	if n != count {
		s.t.Fatalf("more came than was tracked:\n%s", strings.Join(s.relay.events(s.t, shopToken), "\n"))
	}
}

// operate has a page change a profile, and waits until the host has taken what
// the sign tells.
func (s *shop) operate(b *browser, h *penstocktest.Host, page, js, sign string) {
	s.t.Helper()
	count := func() (n int) {
		for _, e := range s.relay.all() {
			if strings.Trim(e.path, "/") == "engage" && e.status == http.StatusOK {
				for _, record := range e.records(s.t) {
					n += strings.Count(string(record), sign)
				}
			}
		}
		return n
	}
	before := count()
	b.run(page, js)
	h.Until(js, func() bool { return count() > before })
}

// A page of another origin sends whatever mixpanel-browser can send.
func TestBrowser(t *testing.T) {
	t.Parallel()
	origin := newOrigin(t)
	b := startBrowser(t)
	s := newShop(t, origin)
	s.export("shop", "people")
	s.export("shop", "identity")
	h := s.serve()
	collector := "http://" + s.relay.address

	b.visit("shop", origin, collector, soon)
	b.run("shop", `
		mixpanel.register({plan: 'gold', 'Zürich 🏔': 'ça'});
		mixpanel.track_pageview();
		mixpanel.time_event('timed');
		mixpanel.track('timed', {n: 1, text: 'Zürich 🏔 "<&>" \\ / + % = \u2028', list: [1, 'a', null, {a: {}}]});
		for (let n = 0; n < 120; n++) mixpanel.track('batched', {n, half: 'x'.repeat(254) + '🏔', big: 1e21, small: 1e-7});`)
	events := 122
	s.arrive(h, events)

	device := func() string { return plain(b.run("shop", `return mixpanel.get_property('$device_id')`)) }
	devices := []string{device()}
	version := string(b.run("shop", `return Number(/Chrome\/(\d+)/.exec(navigator.userAgent)[1])`))

	// Operations on profiles wait until somebody is identified.
	s.operate(b, h, "shop", `
		mixpanel.people.set({early: 'bird 🏔'});
		mixpanel.identify('ada');
		mixpanel.track('identified', {n: 2});`, "bird 🏔")
	events += 2
	s.arrive(h, events)
	for _, o := range []struct{ js, sign string }{
		{`mixpanel.people.set({a: 1, note: 'Zürich 🏔'})`, `"note"`},
		{`mixpanel.people.set_once({a: 2, b: 3})`, `"b":3`},
		{`mixpanel.people.union('tags', ['x', 'y'])`, `["x","y"]`},
		{`mixpanel.people.union({tags: ['y', 'z']})`, `["y","z"]`},
		{`mixpanel.people.increment({logins: 1, credits: -2.5})`, `"credits"`},
		{`mixpanel.people.increment('logins')`, `"logins":1`},
		{`mixpanel.people.append('pages', 'home')`, `"home"`},
		{`mixpanel.people.append({pages: 'about'})`, `"about"`},
		{`mixpanel.people.remove('pages', 'home')`, `"$remove"`},
		{`mixpanel.people.unset('b')`, `"$unset"`},
		{`mixpanel.people.clear_charges()`, `"$transactions"`},
		{`mixpanel.set_group('company', 'acme')`, `"company"`},
	} {
		s.operate(b, h, "shop", o.js, o.sign)
	}
	b.run("shop", `
		mixpanel.get_group('company', 'acme').set('founded', 1949);
		mixpanel.alias('ada@example.com');`)
	events += 2 // the alias is identified, too
	s.arrive(h, events)

	// Somebody else at the same computer.
	b.run("shop", `
		mixpanel.reset();
		mixpanel.track('after reset', {n: 3});
		mixpanel.identify('bob');
		mixpanel.track('of bob', {n: 4});`)
	events += 3
	s.arrive(h, events)
	devices = append(devices, device())
	s.operate(b, h, "shop", `mixpanel.people.set({temporary: 1})`, `"temporary"`)
	s.operate(b, h, "shop", `mixpanel.people.delete_user()`, `"$delete"`)

	// The other ways to send: one at a time, asking first, as JSON, by GET, by a
	// beacon.
	b.run("shop", `
		const send = (name, config) => new Promise((resolve, reject) => {
			mixpanel.set_config(config);
			mixpanel.track(name, {n: 5, text: '🏔 + é'}, {send_immediately: true}, (answer) =>
				(answer === 1 || answer?.status === 1 ? resolve : reject)(name + ': ' + JSON.stringify(answer)));
		});
		await send('one', {});
		await send('one, verbose', {verbose: true});
		await send('asked first', {xhr_headers: {'X-Shop': '1'}});
		await send('as JSON', {api_payload_format: 'json', xhr_headers: {}});
		await send('as JSON by GET', {api_method: 'GET'});
		await send('by GET', {api_payload_format: 'base64', verbose: false});
		await send('by a beacon', {api_method: 'POST', api_transport: 'sendBeacon'});
		mixpanel.set_config({api_transport: 'XHR'});`)
	events += 7
	s.arrive(h, events)
	if n := s.relay.asked(); n == 0 {
		t.Error("the browser did not ask before it sent a header of its own")
	}
	b.unproblematic("shop")

	// Who leaves sends a beacon, and on coming back the same again: the client
	// does not know what became of the beacon.
	beacons := s.relay.beacons()
	b.visit("shop", origin, collector, never)
	b.track("shop", `mixpanel.track('leaving', {n: 6, text: '🏔'})`)
	b.open("shop", "about:blank")
	h.Until("a beacon arrives", func() bool { return s.relay.beacons() == beacons+1 })
	events++
	s.arrive(h, events)
	b.open("shop", origin+pagePath)
	// As if the time had passed in which another tab might have sent it.
	b.run("shop", fmt.Sprintf(`
		const key = '__mpq_%s_ev';
		localStorage.setItem(key, JSON.stringify(JSON.parse(localStorage.getItem(key)).map((e) => ({...e, flushAfter: 0}))));`, shopToken))
	before := len(s.relay.all())
	b.visit("shop", origin, collector, soon)
	h.Until("it is sent again", func() bool {
		return slices.ContainsFunc(s.relay.all()[before:], func(e exchange) bool {
			return e.status == http.StatusOK && strings.Contains(string(unpackAll(t, e)), "leaving")
		})
	})
	b.visit("shop", origin, collector, never)
	b.track("shop", `mixpanel.track('closing', {n: 7})`)
	b.close("shop")
	h.Until("another beacon arrives", func() bool { return s.relay.beacons() == beacons+2 })
	events++
	s.arrive(h, events)

	// Whose origin is not allowed may send, as browsers let anybody, and learns
	// nothing.
	b.visit("stranger", newOrigin(t), collector, soon)
	b.run("stranger", `
		mixpanel.track('of a stranger');
		while (problems.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));`)
	events++
	s.arrive(h, events)

	// What the client also asks for is answered, with nothing.
	b.open("curious", origin+pagePath)
	if value := b.run("curious", fmt.Sprintf(`
		window.problems = [];
		mixpanel.init(%q, {
			api_host: %q, flags: true, remote_settings_mode: 'fallback', error_reporter: (problem) => problems.push(problem),
		});
		return await mixpanel.flags.get_variant_value('colour', 'blue');`, shopToken, collector)); plain(value) != "blue" {
		t.Errorf("a flag that nobody has set is %s", value)
	}
	for _, path := range []string{"/flags/", "/settings/"} {
		s.relay.await(t, path+" is answered", 0, func(e exchange) bool {
			return e.path == path && e.method == http.MethodGet && e.status == http.StatusOK
		})
	}
	b.unproblematic("curious")

	s.finish(h)
	same(t, "events", s.events(shopID), s.relay.events(t, shopToken))
	// The first user of a device is the one that it belongs to.
	same(t, "identity", s.mappings(shopID), slices.Sorted(slices.Values([]string{
		"$device:" + devices[0] + " is ada", "$device:" + devices[1] + " is bob",
	})))
	same(t, "people", s.people(shopID), s.profiles(map[string]string{"ada": `{
		"$os": "Linux", "$browser": "Chrome", "$browser_version": ` + version + `, "$initial_referrer": "$direct", "$initial_referring_domain": "$direct",
		"early": "bird 🏔", "a": 1, "note": "Zürich 🏔", "tags": ["x", "y", "z"], "logins": 2, "credits": -2.5, "pages": ["about"],
		"$transactions": [], "company": ["acme"], "$last_seen": "seen"}`}))
}

// A batch that is too large for the host is sent in halves.
func TestBrowserHalves(t *testing.T) {
	t.Parallel()
	origin := newOrigin(t)
	b := startBrowser(t)
	s := newShop(t, origin)
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "cors_origins", "max_body = \"20KB\"\n  cors_origins", 1))
	h := s.serve()
	b.visit("shop", origin, "http://"+s.relay.address, soon)
	b.run("shop", `for (let n = 0; n < 120; n++) mixpanel.track('batched', {n});`)
	s.arrive(h, 120)
	tooLarge := func(e exchange) bool { return e.status == http.StatusRequestEntityTooLarge }
	if !slices.ContainsFunc(s.relay.all(), tooLarge) {
		t.Error("nothing was too large")
	}
	s.finish(h)
	same(t, "events", s.events(shopID), s.relay.events(t, shopToken))
}

// unpackAll are the records of an exchange as one text.
func unpackAll(t *testing.T, e exchange) []byte {
	if e.method == http.MethodOptions {
		return nil
	}
	var all []byte
	for _, record := range e.records(t) {
		all = append(all, record...)
	}
	return all
}

// While the host is killed and stopped again and again, pages go on. They send
// to the gateway that they came from, which says 502 meanwhile, and once before
// each SIGKILL loses an answer: what was taken is sent again.
func TestBrowserRestarts(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	s := newShop(t, "http://localhost:1")
	s.relay.pages = pages(t)
	h := s.serve()
	gateway := "http://" + s.relay.address
	b.visit("shop", gateway, gateway, soon)
	b.run("shop", `
		window.tracked = 0;
		window.timer = setInterval(() => mixpanel.track('tick', {n: window.tracked++, text: '🏔'}), 20);`)
	arrived := func() int { return len(s.relay.events(t, shopToken)) }
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM} {
		goal := arrived() + 50
		h.Until("events arrive", func() bool { return arrived() >= goal })
		if signal == syscall.SIGKILL {
			s.relay.loseOne(t)
		}
		before := len(s.relay.all())
		status := h.Stop(signal)
		if signal == syscall.SIGTERM && status.ExitStatus() != 0 {
			t.Fatalf("it ended with %v:\n%s", status, h.Said())
		}
		s.relay.await(t, "the page is told that there is no host", before, func(e exchange) bool { return e.status == http.StatusBadGateway })
		h = s.serve()
	}
	var tracked int
	if err := json.Unmarshal(b.run("shop", `clearInterval(timer); return tracked`), &tracked); err != nil {
		t.Fatal(err)
	}
	s.arrive(h, tracked)
	s.finish(h)
	same(t, "events", s.events(shopID), s.relay.events(t, shopToken))
	t.Logf("%d events", tracked)
}
