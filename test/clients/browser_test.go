package clients

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// session drives a browser that sends to a host through a relay.
type session struct {
	*shop
	browser   *browser
	host      *penstocktest.Host
	origin    string // of the pages
	collector string
	tracked   int // events up to now
}

// newSession opens no page yet.
func newSession(t *testing.T) *session {
	t.Helper()
	origin := newOrigin(t)
	s := &session{browser: startBrowser(t), shop: newShop(t, origin), origin: origin}
	s.collector = "http://" + s.relay.address
	return s
}

func (s *session) visit(page string, interval int) {
	s.t.Helper()
	s.browser.visit(page, s.origin, s.collector, interval)
}

// track runs a script that tracks so many events, and waits until the host has
// them.
func (s *session) track(page string, events int, js string) {
	s.t.Helper()
	s.browser.run(page, js)
	s.arrive(events)
}

// arrive waits until the host has taken so many events more.
func (s *session) arrive(events int) {
	s.t.Helper()
	s.tracked += events
	s.shop.arrive(s.host, s.tracked)
}

// operate has a page change a profile, and waits until the host has taken the
// request that contains sign.
func (s *session) operate(page, js, sign string) {
	s.t.Helper()
	count := func() (n int) {
		for _, e := range s.relay.all() {
			if strings.Trim(e.path, "/") == "engage" && e.status == http.StatusOK {
				n += strings.Count(e.text(s.t), sign)
			}
		}
		return n
	}
	before := count()
	s.browser.run(page, js)
	s.host.Until(js, func() bool { return count() > before })
}

func (s *session) device(page string) string {
	s.t.Helper()
	return textOf(s.browser.run(page, `return mixpanel.get_property('$device_id')`))
}

// A page of another origin sends whatever mixpanel-browser can send.
func TestBrowser(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.export("shop", "people")
	s.export("shop", "identity")
	s.host = s.serve()
	s.visit("shop", soon)
	ada := s.anonymous()
	version := string(s.browser.run("shop", `return Number(/Chrome\/(\d+)/.exec(navigator.userAgent)[1])`))
	s.identified()
	bob := s.somebodyElse()
	s.otherWays()
	s.browser.unproblematic("shop")
	s.leaving()
	s.stranger()
	s.curious()

	s.finish(s.host)
	same(t, "events", s.events(shopID), s.relay.events(t, shopToken))
	// The first user of a device is the one that it belongs to.
	same(t, "identity", s.mappings(shopID), slices.Sorted(slices.Values([]string{
		"$device:" + ada + " is ada", "$device:" + bob + " is bob",
	})))
	same(t, "people", s.people(shopID), s.profiles(map[string]string{"ada": `{
		"$os": "Linux", "$browser": "Chrome", "$browser_version": ` + version + `, "$initial_referrer": "$direct", "$initial_referring_domain": "$direct",
		"early": "bird 🏔", "a": 1, "note": "Zürich 🏔", "tags": ["x", "y", "z"], "logins": 2, "credits": -2.5, "pages": ["about"],
		"$transactions": [], "company": ["acme"], "$last_seen": "seen"}`}))
}

// anonymous tracks events before identify, one batch after another.
func (s *session) anonymous() (device string) {
	s.t.Helper()
	s.track("shop", 122, `
		mixpanel.register({plan: 'gold', 'Zürich 🏔': 'ça'});
		mixpanel.track_pageview();
		mixpanel.time_event('timed');
		mixpanel.track('timed', {n: 1, text: 'Zürich 🏔 "<&>" \\ / + % = \u2028', list: [1, 'a', null, {a: {}}]});
		for (let n = 0; n < 120; n++) mixpanel.track('batched', {n, half: 'x'.repeat(254) + '🏔', big: 1e21, small: 1e-7});`)
	return s.device("shop")
}

// identified changes profile, group and id of an identified user. Operations wait
// until then.
func (s *session) identified() {
	s.t.Helper()
	s.operate("shop", `
		mixpanel.people.set({early: 'bird 🏔'});
		mixpanel.identify('ada');
		mixpanel.track('identified', {n: 2});`, "bird 🏔")
	s.arrive(2)
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
		s.operate("shop", o.js, o.sign)
	}
	// The alias is identified, too.
	s.track("shop", 2, `
		mixpanel.get_group('company', 'acme').set('founded', 1949);
		mixpanel.alias('ada@example.com');`)
}

// somebodyElse uses the same computer.
func (s *session) somebodyElse() (device string) {
	s.t.Helper()
	s.track("shop", 3, `
		mixpanel.reset();
		mixpanel.track('after reset', {n: 3});
		mixpanel.identify('bob');
		mixpanel.track('of bob', {n: 4});`)
	s.operate("shop", `mixpanel.people.set({temporary: 1})`, `"temporary"`)
	s.operate("shop", `mixpanel.people.delete_user()`, `"$delete"`)
	return s.device("shop")
}

// otherWays are those to send one event: asking first, as JSON, by GET, by a
// beacon.
func (s *session) otherWays() {
	s.t.Helper()
	s.track("shop", 7, `
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
	if s.relay.asked() == 0 {
		s.t.Error("the browser did not ask before it sent a header of its own")
	}
}

// leaving sends a beacon, and coming back the same again: the client does not
// know the outcome of the beacon.
func (s *session) leaving() {
	s.t.Helper()
	b, sent := s.browser, s.relay.beacons()
	b.drained("shop")
	s.visit("shop", never)
	b.track("shop", `mixpanel.track('leaving', {n: 6, text: '🏔'})`)
	b.open("shop", "about:blank")
	s.host.Until("a beacon arrives", func() bool { return s.relay.beacons() == sent+1 })
	s.arrive(1)

	b.open("shop", s.origin+pagePath)
	// As if the time had passed in which another tab might have sent it.
	b.run("shop", fmt.Sprintf(`
		const key = '__mpq_%s_ev';
		localStorage.setItem(key, JSON.stringify(JSON.parse(localStorage.getItem(key)).map((e) => ({...e, flushAfter: 0}))));`, shopToken))
	before := len(s.relay.all())
	s.visit("shop", soon)
	s.relay.await(s.t, "it is sent again", before, func(e exchange) bool {
		return e.status == http.StatusOK && strings.Contains(e.text(s.t), "leaving")
	})
	b.drained("shop")

	s.visit("shop", never)
	b.track("shop", `mixpanel.track('closing', {n: 7})`)
	b.close("shop")
	s.host.Until("another beacon arrives", func() bool { return s.relay.beacons() == sent+2 })
	s.arrive(1)
}

// stranger has an origin that is not allowed: may send, as browsers let
// anybody, and learns nothing.
func (s *session) stranger() {
	s.t.Helper()
	s.browser.visit("stranger", newOrigin(s.t), s.collector, soon)
	s.track("stranger", 1, `
		mixpanel.track('of a stranger');
		while (problems.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));`)
}

// curious asks for features that the collector does not have, and gets empty
// answers.
func (s *session) curious() {
	s.t.Helper()
	s.browser.open("curious", s.origin+pagePath)
	answers := s.browser.run("curious", fmt.Sprintf(`
		window.problems = [];
		mixpanel.init(%[1]q, {
			api_host: %[2]q, flags: true, remote_settings_mode: 'fallback', error_reporter: (problem) => problems.push(problem),
		});
		const flag = await mixpanel.flags.get_variant_value('colour', 'blue');
		// The client itself gives up after half a second.
		const settings = await fetch(%[2]q + '/settings/?sdk_config=1', {headers: {Authorization: 'Basic ' + btoa(%[1]q + ':')}});
		return [flag, settings.ok, await settings.json()];`, shopToken, s.collector))
	if string(answers) != `["blue",true,{}]` {
		s.t.Errorf("flags and settings are %s", answers)
	}
	s.browser.unproblematic("curious")
}

// A batch that is too large for the host is sent in halves.
func TestBrowserHalves(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.Write("penstock.hcl", strings.Replace(s.Read("penstock.hcl"), "cors_origins", "max_body = \"20KB\"\n  cors_origins", 1))
	s.host = s.serve()
	s.visit("shop", soon)
	s.track("shop", 120, `for (let n = 0; n < 120; n++) mixpanel.track('batched', {n});`)
	s.relay.await(t, "something is too large", 0, func(e exchange) bool { return e.status == http.StatusRequestEntityTooLarge })
	s.finish(s.host)
	same(t, "events", s.events(shopID), s.relay.events(t, shopToken))
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
	h.Until(fmt.Sprintf("%d events arrive", count), func() bool {
		n = len(s.relay.events(s.t, shopToken))
		return n >= count
	})
	if n != count {
		s.t.Fatalf("%d events came, and %d were tracked:\n%s", n, count, strings.Join(s.relay.events(s.t, shopToken), "\n"))
	}
}

// text is that of the exchange's records.
func (e exchange) text(t *testing.T) string {
	if e.method == http.MethodOptions {
		return ""
	}
	var b strings.Builder
	for _, record := range e.records(t) {
		b.Write(record)
	}
	return b.String()
}
