package snowflake

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// impatient makes calls of the driver end at once when they have no answer.
func impatient(d *destination) {
	d.connector.patience.silence, d.connector.patience.grace = time.Millisecond, time.Millisecond
}

// silentServer returns the URL of a server that accepts connections and never answers, and
// a channel that has a value for each of its first connections.
func silentServer(t *testing.T) (url string, reached <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connected := make(chan struct{}, 1)
	var accepted sync.WaitGroup
	accepted.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			select {
			case connected <- struct{}{}:
			default:
			}
		}
	})
	t.Cleanup(func() { _ = listener.Close(); accepted.Wait() })
	return "http://" + listener.Addr().String(), connected
}

// A service that accepts connections and never answers does not hold a login, although
// the driver would wait and try again for minutes.
func TestASilentServiceDoesNotHoldALogin(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	config["endpoint"], _ = silentServer(t)
	d := openAt(t, config, impatient)
	if _, err := d.Status(t.Context(), testRun(sdk.Events, 1, 1)); !errors.Is(err, errSilent) || protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("status: %v", err)
	}
}

// The login of one user that has no answer does not hold up that of another user of the
// same process, as it does one of its own.
func TestASilentServiceDoesNotHoldLoginsOfOthers(t *testing.T) {
	w := startWarehouse(t)
	config, c, run := w.config(), events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
	shared := newLogins()
	together := func(d *destination) { d.connector.logins = shared }
	answers := config["endpoint"]
	url, reached := silentServer(t)
	config["endpoint"] = url
	silent := openAt(t, config, together, func(d *destination) { d.connector.patience.grace = time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := silent.Open(ctx, run); ended <- err }()
	<-reached
	config["endpoint"] = answers
	other := openAt(t, config, together)
	if n, err := whole(t.Context(), func() *destination { return other }, run, c); err != nil || n != 1 {
		t.Error(n, err)
	}
	waiting, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := shared.enter(waiting, silent.config.loginKey()); !errors.Is(err, context.Canceled) {
		t.Errorf("a second login of the user begins: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
	w.expect(t, config, sdk.Events, c.want())
}

// Open ends before its host does, which would end the process and with it the runs of other
// projects: without an answer to the login, without a session that is free, and without an
// answer to any statement. The run begins when the service answers.
func TestOpenDoesNotWaitForAServiceForLong(t *testing.T) {
	w := startWarehouse(t)
	c, run := events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
	hurried := func(d *destination) { d.openFor, d.connector.patience.grace = time.Millisecond, time.Millisecond }
	refused := func(t *testing.T, d *destination) {
		t.Helper()
		if _, err := d.Open(t.Context(), run); !errors.Is(err, errOpenTime) || protocol.ClassOf(err) != protocol.Retryable {
			t.Errorf("open: %v", err)
		}
	}
	t.Run("login", func(t *testing.T) {
		config := w.config()
		config["endpoint"], _ = silentServer(t)
		refused(t, openAt(t, config, hurried))
	})
	t.Run("no session is free", func(t *testing.T) {
		d := openAt(t, w.config(), hurried)
		d.pool.SetMaxOpenConns(1)
		x, err := d.open(t.Context(), "a long COPY")
		if err != nil {
			t.Fatal(err)
		}
		defer x.close()
		refused(t, d)
	})
	for _, statement := range []string{"SHOW TABLES", "CREATE TABLE", "CREATE STAGE", "SET ..FENCE"} {
		t.Run(statement, func(t *testing.T) {
			config, proxy := w.config(), faultproxy.Start(t, w.URL)
			config["endpoint"] = proxy.URL
			d := openAt(t, config, hurried)
			d.openFor = 200 * time.Millisecond // as the statement has no answer, a longer time has the same end
			proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Path: "/query-request", Body: statement}, Times: -1, Fault: faultproxy.Hang(), Optional: true})
			refused(t, d)
			config["endpoint"] = w.URL
			run.Fence++
			runOne(t, config, run, c)
			w.expect(t, config, sdk.Events, c.want())
		})
	}
}

// A bucket that does not answer does not hold Open: the files of earlier attempts are
// removed by a later run.
func TestASilentBucketDoesNotHoldOpen(t *testing.T) {
	o := startOutside(t)
	config := o.config()
	c, run := events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
	d := openAt(t, config)
	if _, err := export(t.Context(), d, run, c); err != nil {
		t.Fatal(err)
	}
	o.bucket.Add(faultproxy.Rule{Times: -1, Fault: faultproxy.Hang(), Optional: true})
	d.tidyFor = 100 * time.Millisecond
	run.Fence++
	if _, err := d.Open(t.Context(), run); err != nil {
		t.Errorf("open: %v", err)
	}
}

// A service that falls silent does not hold a commit, which is in doubt for as long; nor
// does it hold the end of the process.
func TestASilentServiceDoesNotHoldACommit(t *testing.T) {
	w := startWarehouse(t)
	proxy := faultproxy.Start(t, w.URL)
	config := w.config()
	c, run := events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
	patient := config["endpoint"]
	config["endpoint"] = proxy.URL
	d := openAt(t, config)
	receipt, err := export(t.Context(), d, run, c)
	if err != nil {
		t.Fatal(err)
	}
	proxy.Add(faultproxy.Rule{Times: -1, Fault: faultproxy.Hang()})
	impatient(d)
	if err := d.Commit(t.Context(), run, receipt); !errors.Is(err, errSilent) || protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("commit: %v", err)
	}
	if _, err := d.Status(t.Context(), run); !errors.Is(err, errSilent) {
		t.Errorf("status: %v", err)
	}
	config["endpoint"] = patient
	run.Fence++
	runOne(t, config, run, c)
	w.expect(t, config, sdk.Events, c.want())
}

// The end of a context ends a statement that has no answer, although the driver then asks
// the service, without an end, to cancel it. No session is used while the driver still
// works in it, and a run is there once.
func TestTheEndOfAContextEndsAStatement(t *testing.T) {
	w := startWarehouse(t)
	for _, statement := range []string{"ALTER SESSION SET AUTOCOMMIT = FALSE", `"BEGIN"`, "COPY INTO", `SET ..RUN`, `"COMMIT"`} {
		t.Run(statement, func(t *testing.T) {
			proxy := faultproxy.Start(t, w.URL)
			config := w.config()
			c, run := events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
			direct := config["endpoint"]
			config["endpoint"] = proxy.URL
			d := openAt(t, config)
			d.connector.patience.grace = time.Millisecond
			receipt, err := export(t.Context(), d, run, c)
			if err != nil {
				t.Fatal(err)
			}
			held := make(chan struct{}, 1)
			proxy.Add(
				faultproxy.Rule{Match: faultproxy.Match{Path: "/query-request", Body: statement}, Fault: faultproxy.HoldOne(held, nil)},
				faultproxy.Rule{Match: faultproxy.Match{Path: "/abort-request|/session$"}, Times: -1, Fault: faultproxy.Hang(), Optional: true})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- d.Commit(ctx, run, receipt) }()
			<-held
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("commit: %v", err)
			}
			if n := d.pool.Stats().OpenConnections; n != 0 {
				t.Errorf("%d sessions are kept", n)
			}
			w.abortTransactions(t) // as the service does after five minutes
			config["endpoint"] = direct
			run.Fence++
			runOne(t, config, run, c)
			w.expect(t, config, sdk.Events, c.want())
		})
	}
}
