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

// A service that accepts connections and never answers does not hold a login, although
// the driver would wait and try again for minutes.
func TestASilentServiceDoesNotHoldALogin(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted sync.WaitGroup
	accepted.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); accepted.Wait() })
	w := startWarehouse(t)
	config := w.config()
	config["endpoint"] = "http://" + listener.Addr().String()
	d := openAt(t, config, impatient)
	if _, err := d.Status(t.Context(), testRun(sdk.Events, 1, 1)); !errors.Is(err, errSilent) || protocol.ClassOf(err) != protocol.Retryable {
		t.Errorf("status: %v", err)
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
