package snowflake

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
)

// gate keeps the first request whose statement has a text, once it is armed, as a
// machine that sleeps does.
type gate struct {
	http.RoundTripper
	text    string
	armed   atomic.Bool
	once    sync.Once
	reached chan struct{}
	open    chan struct{}
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if !g.armed.Load() || r.Body == nil || r.URL.Path != "/queries/v1/query-request" {
		return g.RoundTripper.RoundTrip(r)
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	if bytes.Contains(data, []byte(g.text)) {
		g.once.Do(func() { close(g.reached); <-g.open })
	}
	return g.RoundTripper.RoundTrip(r)
}

// A machine sleeps in the middle of a transaction, another session waits for its lock,
// and the service ends the transaction. The statements that follow succeed, and the run
// is not committed: neither without its rows nor with them.
func TestTheServiceEndsTheTransaction(t *testing.T) {
	w := startWarehouse(t)
	for _, c := range []struct {
		name, text string
		stream     sdk.Stream
		rows       content
	}{
		{"before COMMIT", `"COMMIT"`, sdk.Events, events("one", "2026-06-01")},
		{"before COMMIT of a set", `"COMMIT"`, sdk.People, people("one", 5)},
		{"before the ledger", `SET \"RUN\"`, sdk.People, people("one", 5)},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := w.config()
			g := &gate{text: c.text, reached: make(chan struct{}), open: make(chan struct{})}
			d := openAt(t, config, func(d *destination) { g.RoundTripper, d.connector.transport = d.connector.transport, g })
			other := openAt(t, config)
			run := testRun(c.stream, 1, 1)
			receipt, err := export(t.Context(), d, run, c.rows)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.Status(t.Context(), run); err != nil {
				t.Fatal(err)
			}
			g.armed.Store(true)
			ended := make(chan error, 1)
			go func() { ended <- d.Commit(t.Context(), run, receipt) }()
			<-g.reached
			w.Advance(6 * time.Minute)
			for _, table := range []string{d.ledgerOf(c.stream).table, d.config.in(rawTable(c.stream))} {
				if _, err := other.pool.ExecContext(t.Context(), "DELETE FROM "+table+" WHERE FALSE"); err != nil {
					t.Error(err)
				}
			}
			w.Advance(-6 * time.Minute)
			close(g.open)
			if err := <-ended; err == nil || protocol.ClassOf(err) != protocol.Retryable {
				t.Errorf("the commit ends with %v", err)
			}
			if status, err := other.Status(t.Context(), run); err != nil || status.Last.Number != 0 {
				t.Errorf("status %+v, %v", status, err)
			}
			w.expect(t, config, c.stream, nil)
			run.Fence++
			if n, err := whole(t.Context(), func() *destination { return d }, run, c.rows); err != nil || n != 1 {
				t.Errorf("again: %d attempts, %v", n, err)
			}
			w.expect(t, config, c.stream, c.rows.want())
		})
	}
}

// abortTransactions ends the open transactions of the warehouse's user, as an
// administrator does, and returns how many there were.
func (w *warehouse) abortTransactions(t *testing.T) int {
	t.Helper()
	open, err := w.query(t.Context(), "SHOW TRANSACTIONS")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range open {
		if _, err := w.query(t.Context(), "SELECT SYSTEM$ABORT_TRANSACTION("+row[0].(string)+")"); err != nil {
			t.Fatal(err)
		}
	}
	return len(open)
}

// An administrator ends the transaction before one of its statements, which then runs in
// none, or in another one. The run is not committed, and none of its rows is there.
func TestAnAdministratorEndsTheTransaction(t *testing.T) {
	w := startWarehouse(t)
	for _, c := range []struct {
		text   string
		stream sdk.Stream
		rows   content
	}{
		{"SELECT CURRENT_TRANSACTION()", sdk.Events, events("one", "2026-06-01")},
		{"COPY INTO", sdk.Events, events("one", "2026-06-01")},
		{`SET \"RUN\"`, sdk.Events, events("one", "2026-06-01")},
		{`"COMMIT"`, sdk.Events, events("one", "2026-06-01")},
		{"INSERT OVERWRITE", sdk.People, people("one", 5)},
		{`SET \"RUN\"`, sdk.People, people("one", 5)},
		{`"COMMIT"`, sdk.People, people("one", 5)},
	} {
		t.Run(c.stream.String()+" "+c.text, func(t *testing.T) {
			config := w.config()
			g := &gate{text: c.text, reached: make(chan struct{}), open: make(chan struct{})}
			d := openAt(t, config, func(d *destination) { g.RoundTripper, d.connector.transport = d.connector.transport, g })
			run := testRun(c.stream, 1, 1)
			receipt, err := export(t.Context(), d, run, c.rows)
			if err != nil {
				t.Fatal(err)
			}
			g.armed.Store(true)
			ended := make(chan error, 1)
			go func() { ended <- d.Commit(t.Context(), run, receipt) }()
			<-g.reached
			if n := w.abortTransactions(t); n != 1 {
				t.Errorf("%d transactions were open", n)
			}
			close(g.open)
			if err := <-ended; err == nil || protocol.ClassOf(err) != protocol.Retryable {
				t.Errorf("the commit ends with %v", err)
			}
			w.expect(t, config, c.stream, nil)
			if n := w.abortTransactions(t); n != 0 {
				t.Errorf("%d transactions are left open", n)
			}
			run.Fence++
			if n, err := whole(t.Context(), func() *destination { return d }, run, c.rows); err != nil || n != 1 {
				t.Errorf("again: %d attempts, %v", n, err)
			}
			w.expect(t, config, c.stream, c.rows.want())
		})
	}
}

// A pipeline that opens its first run loses the ledger's lock before it is entered, and
// another pipeline takes the target. One of the two holds it.
func TestTheServiceEndsTheTransactionOfAClaim(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	g := &gate{text: "INSERT INTO", reached: make(chan struct{}), open: make(chan struct{})}
	d := openAt(t, config, func(d *destination) { g.RoundTripper, d.connector.transport = d.connector.transport, g })
	run, others := testRun(sdk.Events, 1, 1), testRun(sdk.Events, 1, 1)
	others.PipelineID = "other"
	other := openAt(t, config)
	if _, err := other.Status(t.Context(), others); err != nil {
		t.Fatal(err)
	}
	g.armed.Store(true)
	ended := make(chan error, 1)
	go func() {
		_, err := d.Open(t.Context(), run)
		ended <- err
	}()
	<-g.reached
	w.Advance(6 * time.Minute)
	if _, err := other.Open(t.Context(), others); err != nil {
		t.Error(err)
	}
	w.Advance(-6 * time.Minute)
	close(g.open)
	if err := <-ended; err == nil || protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("open ends with %v", err)
	}
	if _, err := d.Open(t.Context(), run); err == nil || !strings.Contains(err.Error(), "is held by pipeline") {
		t.Errorf("again: %v", err)
	}
}

// A session that died keeps the lock of the ledger. Open gives up before its host does,
// which would end the process.
func TestOpenDoesNotWaitForALockForLong(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	c, run := events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
	zombie := openAt(t, config)
	receipt, err := export(t.Context(), zombie, run, c)
	if err != nil {
		t.Fatal(err)
	}
	hold := w.Hold(standin.SnowflakePoint{Statement: `^UPDATE .*SET "RUN"`, At: "after"})
	ended := make(chan error, 1)
	go func() { ended <- zombie.Commit(t.Context(), run, receipt) }()
	hold.Reached()
	d := openAt(t, config, func(d *destination) { d.claimFor = time.Millisecond })
	run.Fence++
	if _, err := d.Open(t.Context(), run); err == nil || protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(err.Error(), "holds the lock") {
		t.Errorf("open: %v", err)
	}
	hold.Release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	d.claimFor = claimTime
	if last, err := d.Open(t.Context(), run); err != nil || last.Number != 1 {
		t.Errorf("open: %+v, %v", last, err)
	}
	w.expect(t, config, sdk.Events, c.want())
}

// A role that has lost its rights does not see a committed run, and does not say that it
// is absent.
func TestStatusWithoutRights(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	run := testRun(sdk.Events, 1, 1)
	if status, err := openAt(t, config).Status(t.Context(), run); err != nil || status.State != sdk.Absent {
		t.Errorf("before the first run: %+v, %v", status, err)
	}
	runOne(t, config, run, events("one", "2026-06-01"))
	w.SQL("REVOKE USAGE, CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA " + w.Database + "." + config["schema"].(string) + " FROM ROLE " + w.Role)
	if status, err := openAt(t, config).Status(t.Context(), run); err == nil || protocol.ClassOf(err) != protocol.Configuration {
		t.Errorf("without rights: %+v, %v", status, err)
	}
}

// Another session can see the ledger as it was before a commit. Status asks again behind
// the ledger's lock before it says that a run is absent, and an attempt whose commit had
// no answer is not done again.
func TestALedgerThatIsSeenLate(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	one, two := testRun(sdk.Events, 1, 1), testRun(sdk.Events, 2, 2)
	runOne(t, config, one, events("one", "2026-06-01"))
	d, other := openAt(t, config), openAt(t, config)
	if _, err := other.Status(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	receipt, err := export(t.Context(), d, two, events("two", "2026-06-01"))
	if err != nil {
		t.Fatal(err)
	}
	w.Lag(true)
	defer w.Lag(false)
	if err := d.Commit(t.Context(), two, receipt); err != nil {
		t.Fatal(err)
	}
	l := other.ledgerOf(sdk.Events)
	if e, err := other.peek(t.Context(), two, l); err != nil || e.Last.Number != 1 {
		t.Fatalf("the ledger is not seen late: %+v, %v", e.Last, err)
	}
	before, _ := w.Statements()
	status, err := other.Status(t.Context(), two)
	if done, holdsErr := status.Last.Holds(two); err != nil || holdsErr != nil || !done {
		t.Errorf("status %+v, %v", status, err)
	}
	after, _ := w.Statements()
	var asked []string
	for _, s := range after[len(before):] {
		if word, _, _ := strings.Cut(s.Text, " "); word == "SELECT" || word == "UPDATE" {
			asked = append(asked, word)
		}
	}
	if got := strings.Join(asked, " "); got != "SELECT UPDATE SELECT" {
		t.Errorf("status asks with %s", got)
	}
	third := testRun(sdk.Events, 3, 3)
	if status, err := openAt(t, config).Status(t.Context(), third); err != nil || status.Last.Number != 2 {
		t.Errorf("status of a run that is absent: %+v, %v", status, err)
	}
}

// The content of each committed run is known, also of those before the last one, and
// whichever of several pipelines has committed it.
func TestStatusOfEarlierRuns(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	for number := range int64(3) {
		runOne(t, config, testRun(sdk.Events, number+1, number+1), events(fmt.Sprint("run", number), "2026-06-01"))
	}
	other := testRun(sdk.Events, 1, 1)
	other.PipelineID, other.Pipeline, other.Adopt, other.Content = "z8", "other", true, strings.Repeat("f", 32)
	runOne(t, config, other, events("other", "2026-06-01"))
	back := testRun(sdk.Events, 4, 4) // claims the target again
	back.Adopt = true
	runOne(t, config, back, events("back", "2026-06-01"))

	d := openAt(t, config)
	for number := range int64(6) {
		asked := testRun(sdk.Events, number, 0)
		want := ""
		if 1 <= number && number <= 4 {
			want = asked.Content
		}
		status, err := d.Status(t.Context(), asked)
		if err != nil || status.Content != want || status.Last != testRun(sdk.Events, 4, 0).Last() {
			t.Errorf("run %d: %+v, %v; want content %q", number, status, err, want)
		}
	}
	status, err := d.Status(t.Context(), other)
	if err != nil || status.Content != other.Content || status.Last != other.Last() {
		t.Errorf("the other pipeline: %+v, %v", status, err)
	}
}
