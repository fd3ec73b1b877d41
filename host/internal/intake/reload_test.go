package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/lifecycle"
	"github.com/penstock-io/penstock/host/internal/operation"
	"github.com/penstock-io/penstock/test/freeport"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

// live is a site whose sources are served until the test ends.
type live struct {
	*site
	t     *testing.T
	dir   string // of configurations
	group *lifecycle.Group
	stop  context.CancelFunc
}

// serveSite serves the sources of a configuration. Its text has no host block.
func serveSite(t *testing.T, text string) *live {
	t.Helper()
	l := &live{t: t, dir: t.TempDir()}
	l.begin(t.TempDir(), text)
	t.Cleanup(l.end)
	return l
}

// begin serves the sources of a configuration over a data directory.
func (l *live) begin(data, text string) {
	l.t.Helper()
	l.site = openConfig(l.t, data, load(l.t, l.dir, text))
	l.serve()
}

// serve serves the sources.
func (l *live) serve() {
	ctx, stop := context.WithCancel(context.Background())
	l.group = lifecycle.NewGroup(ctx)
	l.group.Go(func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	l.set.Serve(l.group)
	l.stop = stop
}

// end ends the host.
func (l *live) end() {
	l.t.Helper()
	l.stop()
	if err := l.group.Wait(); err != nil {
		l.t.Error(err)
	}
	l.close(l.t)
}

// merge returns the running configuration, changed to another one.
func (l *live) merge(text string) *config.Config {
	l.t.Helper()
	merged, changes := config.Merge(l.config.Get(), load(l.t, l.dir, text))
	for _, c := range changes {
		if c.Refused != "" || c.Restart {
			l.t.Fatalf("%+v", c)
		}
	}
	return merged
}

// reload changes to another configuration.
func (l *live) reload(text string) error {
	l.t.Helper()
	merged := l.merge(text)
	c, err := l.set.Prepare(l.t.Context(), merged, l.projects.Of)
	if err != nil {
		return err
	}
	l.config.Set(merged)
	return c.Apply(l.t.Context(), nil)
}

func (l *live) mustReload(text string) {
	l.t.Helper()
	if err := l.reload(text); err != nil {
		l.t.Fatal(err)
	}
}

// waitUntil waits for other goroutines.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute until %s", what)
		}
	}
}

// status describes the sources.
func (l *live) status() *operation.Status {
	l.t.Helper()
	s := &operation.Status{}
	if err := l.set.Describe(l.t.Context(), s); err != nil {
		l.t.Fatal(err)
	}
	return s
}

// collectors describes the collectors: "web 127.0.0.1:8080, old leaves".
func (l *live) collectors() string {
	var all []string
	for _, c := range l.status().Collectors {
		text := strings.TrimPrefix(c.Name, "collector.")
		switch {
		case c.Leaving:
			text += " leaves"
		case c.Listening:
			text += " " + c.Listen
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// rows returns how many rows the journal of a project has, sealed.
func (l *live) rows(id int64) int64 {
	l.t.Helper()
	if err := l.projects.ByID(id).Journal.Settle(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	projects, err := l.stores.Catalog.Projects(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, p := range projects {
		if p.ID == id {
			return p.Rows
		}
	}
	return -1
}

// send tracks one event with a token, and returns the status of the answer and its text.
func send(address, token, id string) (int, string, error) {
	body := fmt.Sprintf(`[{"event":"E","properties":{"token":%q,"time":%d,"distinct_id":"u","$insert_id":%q}}]`, token, time.Now().Unix(), id)
	r, err := http.Post("http://"+address+"/track", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, string(text), errors.Join(err, r.Body.Close())
}

func (l *live) mustSend(address, token, id string) {
	l.t.Helper()
	if status, text, err := send(address, token, id); err != nil || status != http.StatusOK || text != "1" {
		l.t.Fatalf("%d %s %v", status, text, err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

const twoProjects = `
project "shop" {
  id    = 1
  token = "tok-shop"
}
project "app" {
  id    = 2
  token = "tok-app"
}
`

func collectorText(name, project, listen string) string {
	return fmt.Sprintf("source \"collector\" %q {\n  project = %q\n  listen  = %q\n}\n", name, project, listen)
}

// Two collectors exchange their addresses and one takes the place of another: sockets
// stay open, requests go to the collector that is configured there, and all rows to the
// journal of their project.
func TestCollectorsExchangeAddresses(t *testing.T) {
	t.Parallel()
	first, second := freeAddress(t), freeAddress(t)
	l := serveSite(t, twoProjects+collectorText("a", "shop", first)+collectorText("b", "app", second))
	waitUntil(t, "they listen", func() bool { return l.collectors() == "a "+first+", b "+second })
	l.mustSend(first, "tok-shop", "1")
	l.mustSend(second, "tok-app", "1")

	l.mustReload(twoProjects + collectorText("a", "shop", second) + collectorText("b", "app", first))
	if got := l.collectors(); got != "a "+second+", b "+first {
		t.Errorf("after the exchange: %s", got)
	}
	l.mustSend(second, "tok-shop", "2")
	l.mustSend(first, "tok-app", "2")
	l.mustSend(first, "tok-shop", "3") // of a project that is not collected for: it goes to quarantine

	l.mustReload(twoProjects + collectorText("c", "shop", first) + collectorText("a", "shop", second))
	l.mustSend(first, "tok-shop", "4")
	waitUntil(t, "the one before has left", func() bool { return l.collectors() == "c "+first+", a "+second })
	l.mustReload(twoProjects)
	waitUntil(t, "all have left", func() bool { return l.collectors() == "" })
	if shop, app := l.rows(1), l.rows(2); shop != 3 || app != 2 {
		t.Errorf("the journals have %d and %d rows", shop, app)
	}
	for _, address := range []string{first, second} {
		if conn, err := net.Dial("tcp", address); err == nil {
			t.Errorf("%s is listened on: %v", address, conn.Close())
		}
	}
}

// After a change that cannot be made everything is as before, and the next one is made.
func TestAChangeThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	first, second := freeAddress(t), freeAddress(t)
	inUse, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := serveSite(t, twoProjects+collectorText("a", "shop", first))
	waitUntil(t, "it listens", func() bool { return l.collectors() == "a "+first })
	// Everything before the last block can be made.
	err = l.reload(twoProjects + collectorText("a", "app", second) + collectorText("b", "shop", first) + collectorText("c", "app", inUse.Addr().String()))
	if err == nil || !strings.Contains(err.Error(), "source collector.c") {
		t.Errorf("an address is in use: %v", err)
	}
	if got := l.collectors(); got != "a "+first {
		t.Errorf("after the refused change: %s", got)
	}
	l.mustSend(first, "tok-shop", "1")
	if conn, err := net.Dial("tcp", second); err == nil {
		t.Errorf("%s is listened on: %v", second, conn.Close())
	}
	if err := l.reload(twoProjects + collectorText("a", "shop", first) + "source \"collector\" \"d\" {\n  project = \"app\"\n  listen = \"127.0.0.1:0\"\n  geoip = \"./missing\"\n}\n"); err == nil {
		t.Error("a missing database is not reported")
	}
	if err := inUse.Close(); err != nil {
		t.Fatal(err)
	}
	l.mustReload(twoProjects + collectorText("a", "app", second) + collectorText("b", "shop", first) + collectorText("c", "app", inUse.Addr().String()))
	l.mustSend(first, "tok-shop", "2")
	l.mustSend(second, "tok-app", "3")
	l.mustSend(inUse.Addr().String(), "tok-app", "4")
	waitUntil(t, "all rows are in journals", func() bool { return l.rows(1) == 2 && l.rows(2) == 2 })
}

// The log of a collector that is not configured any more is drained by the next host,
// except rows of a project that is not configured either, which come to its journal when
// both are back.
func TestALogOutlivesItsCollector(t *testing.T) {
	t.Parallel()
	address, data := freeAddress(t), t.TempDir()
	collector := collectorOfTwo(address)
	l := withLog(t, data)

	// A host without the collector and the project "app".
	l.begin(data, oneProject)
	waitUntil(t, "the rows of the project that is left are in its journal", func() bool { return l.rows(1) == 2 })
	if got := l.collectors(); got != "a leaves" {
		t.Errorf("a row waits in the log of the collector: %s", got)
	}
	if all, err := Measure(t.Context(), l.set); err != nil || len(all) != 1 || all[0].Collector == nil || *all[0].Collector.Waiting == 0 {
		t.Errorf("the metrics of the log: %+v, %v", all, err)
	}
	l.end()

	l.begin(data, twoProjects)
	waitUntil(t, "the other row is in its journal", func() bool { return l.rows(2) == 1 })
	waitUntil(t, "it has left", func() bool { return l.collectors() == "" })
	l.mustReload(twoProjects + collector)
	l.mustSend(address, "tok-app", "3")
	waitUntil(t, "it takes rows again", func() bool { return l.rows(2) == 2 })
	l.end()
	l.begin(data, twoProjects)
	if got := l.collectors(); got != "" || l.rows(1) != 2 || l.rows(2) != 2 {
		t.Errorf("%s; %d and %d rows", got, l.rows(1), l.rows(2))
	}
	l.end()
}

const oneProject = `
project "shop" {
  id    = 1
  token = "tok-shop"
}
`

func collectorOfTwo(address string) string {
	return fmt.Sprintf("source \"collector\" \"a\" {\n  projects = [\"shop\", \"app\"]\n  listen = %q\n}\n", address)
}

// withLog returns a host that is not open over a data directory. The log of the collector
// "a" has two rows of the project "shop", with one of "app" between them: they were
// acknowledged, and the host ended before they were in journals.
func withLog(t *testing.T, data string) *live {
	t.Helper()
	l := &live{t: t, dir: t.TempDir()}
	l.site = openConfig(t, data, load(t, l.dir, twoProjects+collectorOfTwo("127.0.0.1:0")))
	c := l.set.now.Load().collectors[0]
	log, err := c.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	handler, err := c.newHandler(log, settingsOf(c.block()))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	for i, token := range []string{"tok-shop", "tok-app", "tok-shop"} {
		l.mustSend(server.Listener.Addr().String(), token, fmt.Sprint(i))
	}
	server.Close()
	if err := log.wal.Close(); err != nil {
		t.Fatal(err)
	}
	l.close(t)
	return l
}

// addProject does what a host does before it changes its sources to a configuration with
// a project that is new.
func (l *live) addProject(c *config.Project) {
	l.t.Helper()
	if err := l.stores.Catalog.RegisterProject(l.t.Context(), c.ID, c.Name, c.TimeZone.String()); err != nil {
		l.t.Fatal(err)
	}
	p, err := l.projects.Prepare(l.t.Context(), c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.projects.Add(p)
}

// A collector is not added while its log holds rows of a project that is not configured:
// it would end the host. The rows come to their journal when a reload adds the project,
// with the collector or without it.
func TestALogOfAProjectThatComesBack(t *testing.T) {
	t.Parallel()
	for name, collector := range map[string]string{"alone": "", "with the collector": collectorOfTwo(freeAddress(t))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			l := withLog(t, data)
			l.begin(data, oneProject)
			t.Cleanup(l.end)
			waitUntil(t, "the rows of the project that is configured are in its journal", func() bool { return l.rows(1) == 2 })
			err := l.reload(oneProject + collectorText("a", "shop", freeAddress(t)))
			if err == nil || !strings.Contains(err.Error(), "rows of project 2, which is not configured") {
				t.Errorf("the log has a row of another project: %v", err)
			}
			if got := l.collectors(); got != "a leaves" {
				t.Errorf("after the refused change: %s", got)
			}
			l.addProject(l.merge(twoProjects).Projects[1])
			l.mustReload(twoProjects + collector)
			waitUntil(t, "the other row is in its journal", func() bool { return l.rows(2) == 1 })
			waitUntil(t, "none leaves", func() bool { return !strings.Contains(l.collectors(), "leaves") })
			if err := l.group.Context().Err(); err != nil {
				t.Errorf("the host ends: %v", err)
			}
		})
	}
}

// A change that fails after the log of a collector was taken over from the one that
// brought its rows to journals has them brought there as before.
func TestALogIsGivenBackAfterAChangeThatFails(t *testing.T) {
	t.Parallel()
	inUse, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inUse.Close() })
	data := t.TempDir()
	l := withLog(t, data)
	l.begin(data, oneProject)
	t.Cleanup(l.end)
	waitUntil(t, "the rows of the project that is configured are in its journal", func() bool { return l.rows(1) == 2 })
	if err := l.reload(twoProjects + collectorOfTwo(inUse.Addr().String())); err == nil {
		t.Error("an address that is in use is not reported")
	}
	if got := l.collectors(); got != "a leaves" {
		t.Errorf("after the change that has failed: %s", got)
	}
	l.addProject(l.merge(twoProjects).Projects[1])
	waitUntil(t, "the other row is in its journal", func() bool { return l.rows(2) == 1 })
	waitUntil(t, "it has left", func() bool { return l.collectors() == "" })
}

// Rows of a project that is not configured do not keep later rows in the log when sources
// are read to their end.
func TestRowsAfterThoseOfAnUnknownProjectAreRead(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	l := withLog(t, data)
	l.site = openConfig(t, data, load(t, l.dir, oneProject))
	t.Cleanup(func() { l.close(t) })
	var summary operation.Summary
	err := l.set.ReadAll(t.Context(), 0, &summary)
	if err == nil || !strings.Contains(err.Error(), "rows of project 2, which is not configured") {
		t.Errorf("the log has a row of another project: %v", err)
	}
	if n := l.rows(1); n != 2 {
		t.Errorf("%d rows were read of 2", n)
	}
	if waiting, err := newCollector(l.set, "a", nil).waitingInLog(t.Context()); err != nil || waiting[1] != 0 || waiting[2] != 1 {
		t.Errorf("%v wait in the log, %v", waiting, err)
	}
}

// A collector that is removed before it listens leaves its address to the one that comes
// in its place.
func TestACollectorIsReplacedBeforeItListens(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	l := &live{t: t, dir: t.TempDir()}
	l.site = openConfig(t, t.TempDir(), load(t, l.dir, twoProjects+collectorText("a", "shop", address)))
	opens, err := l.set.aliases.learning.Enter(t.Context()) // as while the logs of legacy projects are drained
	if err != nil {
		t.Fatal(err)
	}
	l.serve()
	t.Cleanup(l.end)
	l.mustReload(twoProjects + collectorText("b", "shop", address))
	opens()
	<-l.set.served.endOf("collector.a")
	if got := l.collectors(); got != "b "+address {
		t.Errorf("after the change: %s", got)
	}
	l.mustSend(address, "tok-shop", "1")
	if err := l.group.Context().Err(); err != nil {
		t.Errorf("the host ends: %v", err)
	}
}

// A collector that is about to listen when a change retires it, which has opened its address
// for another one, waits for the change, and then does not listen.
func TestACollectorThatStartsDuringAChange(t *testing.T) {
	t.Parallel()
	for _, applied := range []bool{true, false} {
		address := freeAddress(t)
		l := &live{t: t, dir: t.TempDir()}
		l.site = openConfig(t, t.TempDir(), load(t, l.dir, twoProjects+collectorText("a", "shop", address)))
		opens, err := l.set.aliases.learning.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.serve()
		a := l.set.now.Load().collectors[0]
		merged := l.merge(twoProjects + collectorText("b", "shop", address))
		change, err := l.set.Prepare(t.Context(), merged, l.projects.Of)
		if err != nil {
			t.Fatal(err)
		}
		if done, entered := a.starting.TryEnter(); entered {
			done()
			t.Error("a collector that is retired may begin to listen")
		}
		opens()
		waitUntil(t, "the log is open", func() bool {
			logs, err := filepath.Glob(filepath.Join(a.dir, "*.wal"))
			return err == nil && len(logs) > 0
		})
		want := "b " + address
		if applied {
			l.config.Set(merged)
			if err := change.Apply(t.Context(), nil); err != nil {
				t.Error(err)
			}
			<-l.set.served.endOf("collector.a")
		} else {
			want = "a " + address
			change.Discard()
		}
		waitUntil(t, "it listens", func() bool { return l.collectors() == want })
		l.mustSend(address, "tok-shop", "1")
		if cause := context.Cause(l.group.Context()); cause != nil {
			t.Errorf("the host ends: %v", cause)
		}
		l.end()
	}
}

// A host that stops while its collectors change leaves no address open: nothing would
// close it, and the host would not end.
func TestAHostStopsWhileItsCollectorsChange(t *testing.T) {
	t.Parallel()
	first, second := freeAddress(t), freeAddress(t)
	l := serveSite(t, twoProjects+collectorText("a", "shop", first))
	waitUntil(t, "it listens", func() bool { return l.collectors() == "a "+first })
	change, err := l.set.Prepare(t.Context(), l.merge(twoProjects+collectorText("a", "shop", second)+collectorText("b", "app", first)), l.projects.Of)
	if err != nil {
		t.Fatal(err)
	}
	l.stop()
	<-l.set.served.endOf("collector.a")
	if err := change.Apply(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := l.group.Wait(); err != nil {
		t.Error(err)
	}
	for _, address := range []string{first, second} {
		if conn, err := net.Dial("tcp", address); err == nil {
			t.Errorf("%s is listened on: %v", address, conn.Close())
		}
	}
}

// A source of files goes on where it was when its pattern changes, and when it comes back.
func TestFilesGoOnAfterAReload(t *testing.T) {
	t.Parallel()
	files := t.TempDir()
	write := func(name string, ids ...int) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(files, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			_, err = fmt.Fprintf(f, `{"event":"E","properties":{"time":%d,"distinct_id":"u","$insert_id":"%d"}}`+"\n", time.Now().Unix(), id)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	source := func(pattern string) string {
		return twoProjects + fmt.Sprintf("source \"files\" \"in\" {\n  project = \"shop\"\n  path = %q\n  follow = true\n}\n", filepath.Join(files, pattern))
	}
	l := serveSite(t, source("a*"))
	rows := func(want int64) {
		t.Helper()
		waitUntil(t, fmt.Sprintf("%d rows are read", want), func() bool { return l.rows(1) == want })
	}
	write("a", 1, 2)
	write("b", 3)
	rows(2)
	l.mustReload(source("*"))
	rows(3)
	l.mustReload(twoProjects)
	if n := len(l.status().Sources); n != 0 {
		t.Errorf("%d sources", n)
	}
	write("a", 4)
	l.mustReload(source("*"))
	rows(4)
	l.stop()
	if err := l.group.Wait(); err != nil {
		t.Fatal(err)
	}
	if s := l.projects.ByID(1).Journal.Stats(); s.Duplicates != 0 {
		t.Errorf("%d rows were read twice", s.Duplicates)
	}
}

// A source that pulls goes on with other credentials; a removed one pulls no more.
func TestAPullChangesItsCredentials(t *testing.T) {
	t.Parallel()
	server := mixpanelserver.New(mixpanelserver.Options{ProjectID: 1, APISecret: "right", PageSize: 10})
	now := time.Now()
	server.Add(mixpanelserver.Event{Name: "E", Time: now.Add(-36 * time.Hour).UnixMilli(), DistinctID: "u", Properties: `"$insert_id":"1"`})
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	source := func(secret string, perHour int) string {
		return twoProjects + fmt.Sprintf("source \"mixpanel\" \"pull\" {\n  project = \"shop\"\n  endpoint = %q\n  from_date = %q\n  api_secret = %q\n  export_limit {\n    per_hour = %d\n  }\n}\n",
			listener.URL, now.UTC().AddDate(0, 0, -3).Format(time.DateOnly), secret, perHour)
	}
	l := serveSite(t, twoProjects)
	l.mustReload(source("wrong", 59))
	waitUntil(t, "the credentials are refused", func() bool { return l.status().Pulls[0].Error != "" })
	p := l.set.now.Load().pulls[0]
	l.mustReload(source("right", 50))
	if l.set.now.Load().pulls[0] != p || p.source.Status().Left > 50 {
		t.Errorf("%d queries are left of 50", p.source.Status().Left)
	}
	// The pause after wrong credentials is long: a person asks at once.
	day := now.UTC().Add(-36 * time.Hour).Format(time.DateOnly)
	if s, err := l.set.Pulls.Pull(t.Context(), "pull", day, day, false); err != nil || s.Error != "" || l.rows(1) != 1 {
		t.Errorf("%+v %v, %d rows", s, err, l.rows(1))
	}
	l.mustReload(twoProjects)
	removed := &Pulls{&Set{roster: roster{}, o: l.set.o}} // as a request has it that began before the reload
	removed.set.now.Store(&sources{pulls: []*Mixpanel{p}})
	if s, err := removed.Pull(t.Context(), "pull", day, day, false); err != nil || s.Days != 0 || s.Error != errPullRemoved.Error() {
		t.Errorf("a removed source: %+v %v", s, err)
	}
	if end := l.set.served.endOf("mixpanel.pull"); end == nil {
		t.Error("it was not served")
	} else {
		<-end
	}
	if _, err := l.set.Pulls.Pull(t.Context(), "pull", day, day, false); err == nil || len(l.status().Pulls) != 0 {
		t.Errorf("it is there: %v", err)
	}
	l.mustReload(source("right", 60))
	if len(l.status().Pulls) != 1 {
		t.Error("it has not come back")
	}
}
