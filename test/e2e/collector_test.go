package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// collecting is a site with a collector, its host and its clients.
type collecting struct {
	*site
	address atomic.Pointer[string] // of the host that serves; nil: none

	mu      sync.Mutex
	sent    map[string]bool // events, by insert id
	acked   map[string]bool // of those: the client was told that they are taken
	full    int             // answers that said that there is no room
	clients int             // that there were
	// Operations on profiles are sent once and not again.
	operations, ackedOperations int
}

const collectorSource = `
source "collector" "web" {
  project    = "shop"
  listen     = "127.0.0.1:0"
  api_secret = env("SHOP_TOKEN")
}
`

func newCollecting(t *testing.T) *collecting {
	t.Helper()
	s := newSite(t)
	s.Append("penstock.hcl", collectorSource)
	return &collecting{site: s, sent: map[string]bool{}, acked: map[string]bool{}}
}

var listens = regexp.MustCompile(`msg=collecting source=collector\.web listen=(\S+)`)

// serve starts a host, which clients find from then on.
func (c *collecting) serve(env ...string) *penstocktest.Host {
	c.t.Helper()
	h := c.Serve(env...)
	h.Until("the collector listens", func() bool {
		found := listens.FindStringSubmatch(h.Said())
		if found != nil {
			c.address.Store(&found[1])
		}
		return found != nil
	})
	return h
}

// batch is a request with events, each with an id of its own.
func (c *collecting) batch(client, number, size int) (path, contentType, encoding, body string, ids []string) {
	var events []string
	for i := range size {
		id := fmt.Sprintf("c%d-%d-%d", client, number, i)
		ids = append(ids, id)
		events = append(events, fmt.Sprintf(
			`{"event":"Item %d","properties":{"token":"tok-7c1d","time":%d,"distinct_id":"user-%d","$insert_id":%q,"pad":%q}}`,
			i%7, time.Now().Unix()-int64(i%3)*86400, i%97, id, padding(id)))
	}
	body = "[" + strings.Join(events, ",") + "]"
	switch client % 3 {
	case 0:
		return "/track?verbose=0", "application/x-www-form-urlencoded", "", "data=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(body))), ids
	case 1:
		return "/track?verbose=1", "application/json", "", body, ids
	default:
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, body)
		_ = z.Close()
		return "/import?strict=1", "application/json", "gzip", b.String(), ids
	}
}

// padding is a property that does not compress, so that events fill a disk.
func padding(id string) string {
	var b []byte
	for i := range 5 {
		sum := sha256.Sum256(fmt.Append(nil, id, i))
		b = append(b, sum[:]...)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// taken are the answers that acknowledge a request.
var taken = []string{"1", `{"status":1,"error":null}`}

// post sends a request. An error means that there was no answer.
func (c *collecting) post(path, contentType, encoding, body string) (status int, answer string, err error) {
	address := c.address.Load()
	if address == nil {
		return 0, "", io.EOF
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+*address+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", contentType)
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	r.SetBasicAuth("tok-7c1d", "")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") == "" {
		c.t.Error("503 without Retry-After")
	}
	return response.StatusCode, string(text), err
}

// client sends batches, each until it is taken, as long as more says so.
func (c *collecting) client(number, size int, more func() bool) {
	for n := 0; more(); n++ {
		path, contentType, encoding, body, ids := c.batch(number, n, size)
		c.note(func() {
			for _, id := range ids {
				c.sent[id] = true
			}
		})
		for more() {
			status, answer, err := c.post(path, contentType, encoding, body)
			if err == nil && status == http.StatusOK {
				if !slices.Contains(taken, answer) && answer != fmt.Sprintf(`{"code":200,"num_records_imported":%d,"status":"OK"}`, size) {
					c.t.Errorf("%s: %s", path, answer)
				}
				c.note(func() {
					for _, id := range ids {
						c.acked[id] = true
					}
				})
				break
			}
			if err == nil && status != http.StatusServiceUnavailable {
				c.t.Errorf("%s: %d %s", path, status, answer)
			}
			if status == http.StatusServiceUnavailable {
				c.note(func() { c.full++ })
			}
			waitABit()
		}
		c.operation(number, n)
	}
}

// waitABit is the pause of a client before its next attempt.
func waitABit() { <-time.After(5 * time.Millisecond) }

// operation changes a profile, once.
func (c *collecting) operation(client, number int) {
	body := fmt.Sprintf(`{"$token":"tok-7c1d","$distinct_id":"user-%d","$add":{"n":1}}`, client)
	c.note(func() { c.operations++ })
	if status, answer, err := c.post("/engage", "application/json", "", body); err == nil && status == http.StatusOK && answer == "1" {
		c.note(func() { c.ackedOperations++ })
	}
}

func (c *collecting) note(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn()
}

func (c *collecting) count(of map[string]bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(of)
}

// load runs clients until stop is called.
func (c *collecting) load(clients, size int) (stop func()) {
	var stopped atomic.Bool
	var wg sync.WaitGroup
	for range clients {
		number := c.clients
		c.clients++
		wg.Go(func() { c.client(number, size, func() bool { return !stopped.Load() }) })
	}
	stop = sync.OnceFunc(func() {
		stopped.Store(true)
		wg.Wait()
	})
	c.t.Cleanup(stop)
	return stop
}

// check exports everything, and looks for each event.
func (c *collecting) check() {
	c.t.Helper()
	c.Once()
	found := map[string]int{}
	for _, line := range c.Rows("out") {
		var row struct {
			InsertID   string `json:"insert_id"`
			Properties struct{ Pad string }
		}
		if err := json.Unmarshal([]byte(line[len("2006-01-02 "):]), &row); err != nil {
			c.t.Fatal(err)
		}
		if row.Properties.Pad != padding(row.InsertID) {
			c.t.Fatalf("not as it was sent: %s", line)
		}
		found[row.InsertID]++
	}
	for id, n := range found {
		if n != 1 || !c.sent[id] {
			c.t.Errorf("%s is there %d times, sent: %v", id, n, c.sent[id])
		}
	}
	lost := 0
	for id := range c.acked {
		if found[id] == 0 {
			lost++
		}
	}
	if lost > 0 || len(c.acked) == 0 {
		c.t.Errorf("%d of %d events are lost that were acknowledged", lost, len(c.acked))
	}
	// There are no links: no event has the two ids.
	operations := int(c.Journaled()) - len(found)
	if operations < c.ackedOperations || operations > c.operations {
		c.t.Errorf("%d operations are journaled; %d were sent and %d acknowledged", operations, c.operations, c.ackedOperations)
	}
	c.t.Logf("%d events sent, %d acknowledged, %d exported; %d operations", len(c.sent), len(c.acked), len(found), operations)
	if c.t.Failed() {
		return
	}
	checkNothingMore(c.t, c.site)
}

// A host is killed again and again, at each of its steps and anywhere, while
// clients send and, without an answer, send again. Events of small requests are logged as they
// are, those of large ones compressed.
func TestAcknowledgedEventsSurviveKills(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	stopSmall := c.load(6, 60)
	stopLarge := c.load(3, 900)
	stop := func() {
		stopSmall()
		stopLarge()
	}
	for _, point := range []string{
		"collector.logged:1", "journal.pending:1", "collector.logged:40", "journal.segment:1", "", "journal.committed:1",
		"journal.recorded:1", "", "collector.logged:7", "",
	} {
		var env []string
		if point != "" {
			env = []string{"PENSTOCK_CRASH_AT=" + point}
		}
		before := c.count(c.acked)
		h := c.Serve(env...)
		c.found(h)
		if point == "" {
			h.Until("events are acknowledged", func() bool { return c.count(c.acked) > before+2000 })
			h.Stop(syscall.SIGKILL)
		} else if status := h.Wait(); status.Signal() != syscall.SIGKILL {
			t.Fatalf("the host did not die at %s: %v\n%s", point, status, h.Said())
		}
		c.address.Store(nil)
	}
	h := c.serve()
	before := c.count(c.acked)
	h.Until("events are acknowledged again", func() bool { return c.count(c.acked) > before })
	stop()
	h.Stop(syscall.SIGKILL)
	c.check()
}

// found waits until a host listens or has died.
func (c *collecting) found(h *penstocktest.Host) {
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if found := listens.FindStringSubmatch(h.Said()); found != nil {
			c.address.Store(&found[1])
			return
		}
		if h.Ended() {
			return
		}
	}
}

// On SIGTERM the host answers the requests in flight and drains the log: every
// acknowledged record is durable in the journal when the host has ended.
func TestACollectorDrains(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	h := c.serve()
	stop := c.load(6, 40)
	h.Until("events are acknowledged", func() bool { return c.count(c.acked) > 3000 })
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	acked := c.count(c.acked)
	c.mu.Lock()
	operations := c.ackedOperations
	c.mu.Unlock()
	stop()
	if n := c.Journaled(); n < int64(acked+operations) {
		t.Errorf("%d rows are durable, and %d were acknowledged", n, acked+operations)
	}
	c.check()
}

// Half an entry at the end of the log is cut off and reported; the acknowledged
// records before it are exported.
func TestATornLog(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	h := c.serve()
	stop := c.load(2, 20)
	h.Until("events are acknowledged", func() bool { return c.count(c.acked) > 500 })
	stop()
	h.Stop(syscall.SIGKILL)
	files := c.logFiles()
	f, err := os.OpenFile(files[len(files)-1], os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString("half of an entry")
	}
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	h = c.serve()
	h.Until("the cut is said", func() bool { return strings.Contains(h.Said(), "torn") && strings.Contains(h.Said(), "bytes=16") })
	before := c.count(c.acked)
	stop = c.load(2, 20)
	h.Until("events are acknowledged again", func() bool { return c.count(c.acked) > before })
	stop()
	h.Stop(syscall.SIGKILL)
	c.check()
}

// The disk fills up under a collector: it asks clients to come again, and goes
// on when there is room. Nothing that it has acknowledged is lost, whether its
// journal fails as well or not.
func TestACollectorOnAFullDisk(t *testing.T) {
	if !inside(t) {
		return
	}
	for size, journal := range map[string]bool{"17500k": true, "22m": false} {
		t.Run(size, func(t *testing.T) {
			c := newCollecting(t)
			resize := c.smallDisk("data", size)
			h := c.serve()
			stop := c.load(4, 200)
			h.Until("there is no room", func() bool { return c.refusals() > 8 })
			if !journal {
				h.Until("the collector is not ready", c.readiness(http.StatusServiceUnavailable, "not ready: the disk of the write-ahead log is full\n"))
			}
			if journal {
				h.Until("the journal's failure is said", func() bool { return strings.Contains(h.Said(), "could not write collected rows to the journal") })
			}
			resize("256m")
			before := c.count(c.acked)
			h.Until("there is room again", func() bool { return c.count(c.acked) > before+2000 })
			stop()
			h.Until("the collector is ready", c.readiness(http.StatusOK, "ready\n"))
			if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
				t.Fatalf("it ended with %v:\n%s", status, h.Said())
			}
			c.check()
		})
	}
}

// A collector whose log finds no room is not ready, without another request, until there is
// room: the host says how much a file of the log needs.
func TestACollectorOnAFullDiskIsNotReady(t *testing.T) {
	if !inside(t) {
		return
	}
	c := newCollecting(t)
	resize := c.smallDisk("data", "34m")
	h := c.serve()
	stop := c.load(4, 200)
	h.Until("there is no room", func() bool { return c.refusals() > 0 })
	stop()
	h.Until("the collector is not ready", c.readiness(http.StatusServiceUnavailable, "not ready: the disk of the write-ahead log is full\n"))
	if said := h.Said(); !strings.Contains(said, "a new file of the write-ahead log needs 16 MiB; "+filepath.Join(c.Dir, "data")+" has ") {
		t.Errorf("the host does not say how much room there is, and how much is needed:\n%s", said)
	}
	c.Says(c.Penstock(nil, "status"), 0, "FAILING: collector.web answers 503, and the host will retry: ", "needs 16 MiB")
	resize("256m")
	h.Until("the collector is ready", c.readiness(http.StatusOK, "ready\n"))
	h.Stop(syscall.SIGTERM)
}

// A collector that finds no room for its log is seen in status, and listens once there is
// room.
func TestACollectorWithoutRoomForItsLog(t *testing.T) {
	if !inside(t) {
		return
	}
	c := newCollecting(t)
	resize := c.smallDisk("data", "8m")
	h := c.Serve()
	h.Until("it serves", func() bool { return strings.Contains(h.Said(), "msg=serving") })
	h.Until("the full disk is said", func() bool {
		return strings.Contains(h.Said(), "could not open the write-ahead log of a collector; will retry")
	})
	reason := "a new file of the write-ahead log needs 16 MiB; " + filepath.Join(c.Dir, "data") + " has 7 MiB free. The host goes on by itself once there is room"
	if said := h.Said(); !strings.Contains(said, reason) || strings.Contains(said, "again: durable") {
		t.Errorf("the host does not say what it needs:\n%s", said)
	}
	c.Says(c.Penstock(nil, "status"), 0, "FAILING: collector.web does not listen, and the host will retry: ", reason)
	c.Says(c.Penstock(nil, "status", "--json"), 0, `"failing"`, reason)
	resize("64m")
	h.Until("the collector listens", func() bool { return listens.MatchString(h.Said()) })
	if r := c.Penstock(nil, "status"); strings.Contains(r.Out, "FAILING") {
		t.Errorf("it listens, and status says:\n%s", r.Out)
	}
	h.Stop(syscall.SIGTERM)
}

// readiness reports whether the collector's /readyz gives an answer.
func (c *collecting) readiness(status int, says string) func() bool {
	return func() bool {
		r, err := http.Get("http://" + *c.address.Load() + "/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		return err == nil && r.StatusCode == status && string(body) == says
	}
}

func (c *collecting) refusals() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full
}

// Status reports a collector's address and its counts; quarantine lists the
// records that it refused.
func TestStatusOfACollector(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	h := c.serve()
	for _, body := range []string{
		`{"event":"e","properties":{"token":"tok-7c1d"}}`, `{"event":"e","properties":{"token":"no-token"}}`,
	} {
		if status, answer, err := c.post("/track", "application/json", "", body); err != nil || status != http.StatusOK || answer != "1" {
			t.Fatal(status, answer, err)
		}
	}
	if status, answer, err := c.post("/trak", "application/json", "", "{}"); err != nil || status != http.StatusNotFound {
		t.Fatal(status, answer, err)
	}
	var status struct {
		Collectors []struct {
			Name, Listen string
			Listening    bool
			Requests     []struct {
				Endpoint, Reason string
				Status, Requests int
			}
			Records []struct {
				Project, Endpoint, Outcome string
				Records                    int
			}
		}
	}
	r := c.Penstock(nil, "status", "--json")
	if err := json.Unmarshal([]byte(r.Out), &status); err != nil || len(status.Collectors) != 1 {
		t.Fatalf("%v in %s%s", err, r.Out, r.Err)
	}
	got := fmt.Sprint(status.Collectors)
	if want := fmt.Sprintf("[{collector.web %s true [{other unknown_path 404 1} {track  200 2}] [{ track unknown_token 1} {shop track accepted 1}]}]", *c.address.Load()); got != want {
		t.Errorf("status is %s, want %s", got, want)
	}
	c.Says(c.Penstock(nil, "status"), 0, "http://"+*c.address.Load(), "unknown_token", "other paths", "unknown_path")
	if !strings.Contains(h.Said(), "reason=unknown_path") || !strings.Contains(h.Said(), "path=/trak") {
		t.Errorf("a refused request is not logged:\n%s", h.Said())
	}
	c.Says(c.Penstock(nil, "quarantine", "list"), 0, "collector.web", "/track", "unknown_token", "no-token")
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	c.Says(c.Penstock(nil, "status"), 0, "does not listen", "1 unknown_token")
}

// Every command that looks reports acknowledged records that the log has lost,
// until an operator removes the note of the loss; the other records are exported.
func TestALogThatLostRecords(t *testing.T) {
	t.Parallel()
	remove := func(t *testing.T, path string) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		harm func(*testing.T, *collecting)
		said string // about the loss
		rows int    // of those that are left
	}{
		"deleted": {func(t *testing.T, c *collecting) {
			remove(t, filepath.Join(c.Dir, "data", "collector", "web"))
		}, "requests that were acknowledged after entry 1, the last one in the journal, may be lost", 1},
		"files deleted": {func(t *testing.T, c *collecting) {
			for _, file := range c.logFiles() {
				remove(t, file)
			}
		}, "entries 2 to 3 are lost; their 2 requests were acknowledged", 1},
		"emptied": {func(t *testing.T, c *collecting) {
			for _, file := range c.logFiles() {
				if err := os.Truncate(file, 0); err != nil {
					t.Fatal(err)
				}
			}
		}, "entries 2 to 3 are lost; their 2 requests were acknowledged", 1},
		"cut": {func(t *testing.T, c *collecting) {
			files := c.logFiles()
			last := files[len(files)-1]
			info, err := os.Stat(last)
			if err == nil {
				err = os.Truncate(last, info.Size()-5)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "entry 3 is lost; its request was acknowledged", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCollecting(t)
			sent := 0
			send := func() {
				t.Helper()
				sent++
				body := fmt.Sprintf(`{"event":"e","properties":{"token":"tok-7c1d","distinct_id":"u-%d"}}`, sent)
				if status, answer, err := c.post("/track", "application/json", "", body); err != nil || status != http.StatusOK || answer != "1" {
					t.Fatal(status, answer, err)
				}
			}
			h := c.serve()
			send()
			if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
				t.Fatalf("it ended with %v:\n%s", status, h.Said())
			}
			h = c.serve()
			send()
			send()
			h.Stop(syscall.SIGKILL)
			c.Says(c.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
			test.harm(t, c)
			note := filepath.Join(c.Dir, "data", "collector", "web", "lost.ndjson")
			c.Says(c.Penstock(nil, "status"), 0, "LOST collector.web", test.said)
			c.Says(c.Penstock(nil, "journal", "verify"), 3, "LOST collector.web", test.said)
			c.Says(c.Penstock(nil, "run", "--once"), 1, test.said, "lost.ndjson")
			if rows := c.Rows("out"); len(rows) != test.rows {
				t.Errorf("rows %q", rows)
			}
			// It is found once, and said until the note is removed.
			c.Once()
			c.Says(c.Penstock(nil, "status"), 0, "LOST collector.web", test.said, note)
			c.Says(c.Penstock(nil, "journal", "verify"), 3, test.said, note)
			h = c.serve()
			c.Says(c.Penstock(nil, "status"), 0, test.said, note)
			c.Says(c.Penstock(nil, "journal", "verify"), 3, test.said, note)
			send()
			h.Stop(syscall.SIGKILL)
			remove(t, note)
			c.Says(c.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
			c.Once()
			if rows := c.Rows("out"); len(rows) != test.rows+1 {
				t.Errorf("rows %q", rows)
			}
		})
	}
}

// The events of clients that close or reset their connection after the last byte
// of a request, as PHP's socket consumer and closing pages do, are stored.
func TestClientsThatDoNotWaitForAnAnswer(t *testing.T) {
	t.Parallel()
	const clients = 120
	c := newCollecting(t)
	h := c.serve()
	for i := range clients {
		body := fmt.Sprintf(`data={"event":"left","properties":{"token":"tok-7c1d","distinct_id":"u-%d"}}`, i)
		conn, err := net.Dial("tcp", *c.address.Load())
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			err = conn.(*net.TCPConn).SetLinger(0) // its end is a reset
		}
		_, writeErr := fmt.Fprintf(conn, "POST /track?ip=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
			"Accept: application/json\r\nContent-length: %d\r\n\r\n%s", len(body), body)
		if err := errors.Join(err, writeErr, conn.Close()); err != nil {
			t.Fatal(err)
		}
	}
	h.Until("all requests are counted", func() bool {
		return strings.Contains(c.Penstock(nil, "status", "--json").Out, fmt.Sprintf(`"requests": %d`, clients))
	})
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	c.Once()
	if rows := c.Rows("out"); len(rows) != clients {
		t.Errorf("%d rows of %d events", len(rows), clients)
	}
}

// Events that are sent again, because an answer was lost, count once, also when
// the collector replaced their time or id, and after a restart.
func TestEventsThatAreSentAgain(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	c.Write("penstock.hcl", strings.Replace(c.Read("penstock.hcl"), `project    = "shop"`, `projects   = ["shop", "old"]`, 1)+`
project "old" {
  id       = 1004
  token    = "tok-old"
  identity = "legacy"
}
`)
	now := time.Now().Unix()
	event := func(token, id, properties string) string {
		return fmt.Sprintf(`{"event":"e","properties":{"token":%q,"$insert_id":%q%s}}`, token, id, properties)
	}
	const alias = `{"event":"$create_alias","properties":{"token":"tok-old","$insert_id":"alias","distinct_id":"D","alias":"X"}}`
	events := []string{
		event("tok-7c1d", "ahead", fmt.Sprintf(`,"time":%d`, now+2*3600)),
		event("tok-7c1d", "a-day-ahead", fmt.Sprintf(`,"time":%d`, now+26*3600)),
		event("tok-7c1d", "undated", ""),
		event("tok-7c1d", "milliseconds", fmt.Sprintf(`,"time":%d789`, now)),
		event("tok-old", "dated", fmt.Sprintf(`,"distinct_id":"X","time":%d`, now)),
		event("tok-old", "undated", `,"distinct_id":"X"`),
	}
	for _, sent := range [][]string{append(events, alias), events, events} {
		h := c.serve()
		for range 2 {
			for _, body := range sent {
				if status, answer, err := c.post("/track", "application/json", "", body); err != nil || status != http.StatusOK || answer != "1" {
					t.Fatal(body, status, answer, err)
				}
			}
		}
		h.Stop(syscall.SIGKILL)
	}
	c.Once()
	if n, want := c.Journaled(), int64(len(events))+2; n != want {
		t.Errorf("%d rows are durable, want %d: each event, the alias and its link", n, want)
	}
	if rows := c.Rows("out"); len(rows) != 4 {
		t.Errorf("rows of shop: %q", rows)
	}
}

// Records that were refused for an unknown token are replayed once it is
// configured.
func TestReplayOfRefusedRecords(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	c.Says(c.Penstock(nil, "validate"), 0, "2 sources")
	c.Says(c.Penstock(nil, "status"), 0, "no pipeline is registered yet")
	h := c.serve("SHOP_TOKEN=tok-other")
	for n, r := range []struct{ path, body string }{
		{"/track", `{"event":"late","properties":{"token":"tok-7c1d","$device_id":"D","$user_id":"U"}}`},
		{"/track", `{"event":"of a stranger","properties":{"token":"tok-stranger"}}`},
		{"/engage", `{"$token":"tok-7c1d","$distinct_id":"U","$set":{"a":1}}`},
	} {
		if status, answer, err := c.post(r.path, "application/json", "", r.body); err != nil || status != http.StatusOK || answer != "1" {
			t.Fatal(n, status, answer, err)
		}
	}
	h.Stop(syscall.SIGKILL)
	const replay = "PENSTOCK_CRASH_AT=replay.sealed"
	if r := c.Penstock([]string{replay}, "quarantine", "replay"); r.Signal != syscall.SIGKILL {
		t.Fatalf("the replay was not killed: %d\n%s%s", r.Status, r.Out, r.Err)
	}
	c.Says(c.Penstock(nil, "quarantine", "replay"), 0, "3", "2", "1")
	if n := c.Journaled(); n != 3 {
		t.Errorf("%d rows are durable: an event, its link and an operation are 3", n)
	}
	c.Once()
	if rows := c.Rows("out"); len(rows) != 1 || !strings.Contains(rows[0], `"event_name":"late"`) {
		t.Errorf("rows %s", rows)
	}
	c.Says(c.Penstock(nil, "quarantine", "list"), 0, "tok-stranger", "1")
	c.Says(c.Penstock(nil, "quarantine", "list", "--source", "collector.app"), 0, "nothing in quarantine is of this source and reason")
	if r := c.Penstock(nil, "quarantine", "list"); strings.Contains(r.Out, "late") {
		t.Errorf("replayed records are still in quarantine:\n%s", r.Out)
	}
}

// A record is kept whole, however long it is: once its token is configured it is
// replayed and exported. So is a body that is not JSON.
func TestReplayOfALongRecord(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	h := c.serve("SHOP_TOKEN=tok-other")
	var lists []string
	for i := range 22 {
		lists = append(lists, fmt.Sprintf(`"list %d":[%s"%d"]`, i, strings.Repeat(fmt.Sprintf(`"%076d",`, i), 50), i))
	}
	long := `{"event":"long","properties":{"token":"tok-7c1d","distinct_id":"ada",` + strings.Join(lists, ",") + `}}`
	spoiled := `[{"event":"` + strings.Repeat("no JSON ", 100_000) + "the end"
	if len(long) < 87_000 {
		t.Fatalf("the event has only %d bytes", len(long))
	}
	form := "data=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(strings.Replace(long, `"long"`, `"long form"`, 1))))
	for _, r := range []struct{ contentType, body, answer string }{
		{"application/json", long, "1"}, {"application/x-www-form-urlencoded", form, "1"}, {"application/json", spoiled, "0"},
	} {
		if status, answer, err := c.post("/track", r.contentType, "", r.body); err != nil || status != http.StatusOK || answer != r.answer {
			t.Fatal(status, answer, err)
		}
	}
	h.Stop(syscall.SIGTERM)
	const body = "collector.web/tail-0000000000000001:3"
	c.Says(c.Penstock(nil, "quarantine", "list"), 0, "85.3 KiB", body, "781.3 KiB")
	if r := c.Penstock(nil, "quarantine", "show", body); r.Status != 0 || !strings.Contains(r.Out, spoiled+"\n") {
		t.Errorf("the body that is not JSON is not shown whole: status %d, %d bytes of %d\n%s", r.Status, len(r.Out), len(spoiled), r.Err)
	}
	c.Says(c.Penstock(nil, "quarantine", "replay"), 0, "replayed 3 records: 2 accepted, 1 refused again")
	c.Once()
	rows := c.Rows("out")
	if len(rows) != 2 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		for _, list := range lists {
			if !strings.Contains(row, list) {
				t.Fatalf("%.50s… is not in a row of %d bytes", list, len(row))
			}
		}
	}
}

// Every command that looks reports quarantined records that are gone, with the
// consequence.
func TestEmptiedQuarantineIsMissed(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	h := c.serve()
	for n := range 3 {
		body := fmt.Sprintf(`{"event":"%d","properties":{"token":"no-token"}}`, n)
		if status, answer, err := c.post("/track", "application/json", "", body); err != nil || status != http.StatusOK || answer != "1" {
			t.Fatal(status, answer, err)
		}
	}
	const file = "quarantine/collector.web/tail-0000000000000001.ndjson"
	c.Says(c.Penstock(nil, "status"), 0, "3 unknown_token", "quarantine: ")
	c.Says(c.Penstock(nil, "journal", "verify"), 0, "1 file of the quarantine")
	if err := os.Truncate(filepath.Join(c.Dir, "data", file), 0); err != nil {
		t.Fatal(err)
	}
	missed := func(when string) {
		t.Helper()
		for _, command := range []string{"status", "quarantine list", "journal verify"} {
			status := 0
			if command == "journal verify" {
				status = 3
			}
			r := c.Penstock(nil, strings.Fields(command)...)
			if r.Status != status || !strings.Contains(r.Out, file) || !strings.Contains(r.Out, "3 ") || !strings.Contains(r.Out, "no other copy") {
				t.Errorf("%s, %s: status %d\n%s%s", when, command, r.Status, r.Out, r.Err)
			}
		}
		var status struct {
			Quarantine struct {
				MissingRecords int `json:"missing_records"`
				Missing        []struct {
					File    string
					Reasons map[string]int
				}
			}
		}
		r := c.Penstock(nil, "status", "--json")
		if err := json.Unmarshal([]byte(r.Out), &status); err != nil {
			t.Fatalf("%v in %s%s", err, r.Out, r.Err)
		}
		if got, want := fmt.Sprint(status.Quarantine), "{3 [{"+file+" map[unknown_token:3]}]}"; got != want {
			t.Errorf("%s: status is %s, want %s", when, got, want)
		}
	}
	missed("a host is running")
	h.Stop(syscall.SIGKILL)
	if err := os.RemoveAll(filepath.Join(c.Dir, "data", "quarantine")); err != nil {
		t.Fatal(err)
	}
	missed("no host is running, and the directory is gone")
	c.Says(c.Penstock(nil, "quarantine", "drop", "--missing", "--reason", "other", "--yes"), 0, "dropped 0 missing records")
	missed("other losses were dropped")
	c.Says(c.Penstock(nil, "quarantine", "drop", "--missing", "--yes"), 0, "dropped 3 missing records")
	c.Says(c.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
	c.Says(c.Penstock(nil, "quarantine", "list"), 0, "nothing is in quarantine")
}

// logFiles are the files of the collector's log, the newest last.
func (c *collecting) logFiles() []string {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.Dir, "data", "collector", "web", "*.wal"))
	if err != nil || len(files) == 0 {
		c.t.Fatal(files, err)
	}
	slices.Sort(files)
	return files
}

// A log that is damaged where it holds acknowledged records stops the host before
// it takes a request, and is not changed: once the file is restored, every record
// is exported.
func TestADamagedLog(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	h := c.serve()
	stop := c.load(2, 20)
	h.Until("events are acknowledged", func() bool { return c.count(c.acked) > 500 })
	stop()
	h.Stop(syscall.SIGKILL)
	file := c.logFiles()[0]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[500] ^= 1
	if err := os.WriteFile(file, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	h = c.Serve()
	if status := h.Wait(); status.ExitStatus() != 1 || !strings.Contains(h.Said(), "is damaged at byte") || !strings.Contains(h.Said(), "collector.web") {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	r := c.Penstock(nil, "run", "--once")
	c.Says(r, 1, "is damaged at byte")
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, damaged) {
		t.Errorf("%v: the damaged file was changed", err)
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	c.check()
}

// A log whose files were moved away begins after the last entry that the journal
// holds, so that new records are not taken for old ones.
func TestALogThatIsGone(t *testing.T) {
	t.Parallel()
	c := newCollecting(t)
	h := c.serve()
	stop := c.load(2, 20)
	h.Until("events are acknowledged", func() bool { return c.count(c.acked) > 500 })
	stop()
	if status := h.Stop(syscall.SIGTERM); status.ExitStatus() != 0 {
		t.Fatalf("it ended with %v:\n%s", status, h.Said())
	}
	for _, file := range c.logFiles() {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	// All of it was in the journal, and the log's mark says so: nothing is lost.
	c.Says(c.Penstock(nil, "journal", "verify"), 0, "0 corruptions")
	h = c.serve()
	before := c.count(c.acked)
	stop = c.load(2, 20)
	h.Until("events are acknowledged again", func() bool { return c.count(c.acked) > before+500 })
	stop()
	h.Stop(syscall.SIGKILL)
	c.check()
}
