package mixpanel

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

// A source that is retired begins no query, and those under way end and are stored.
func TestARetiredSourceEndsBetweenQueries(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	storing, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	result := make(chan error)
	go func() {
		result <- w.source.PullDue(t.Context(), nil, func(ctx context.Context, d *Download, p ingest.Source) error {
			once.Do(func() {
				close(storing)
				<-release
			})
			return w.kept.store(ctx, d, p)
		})
	}()
	<-storing
	waitFor(t, "as many queries as may be are sent", func() bool { return len(w.server.Requests()) == parallel })
	w.source.Retire()
	close(release)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if n := len(w.server.Requests()); n != parallel || len(w.kept.lines) != parallel*50 || len(w.spooled()) != 0 {
		t.Errorf("%d queries, %d lines stored, and %d files left", n, len(w.kept.lines), len(w.spooled()))
	}

	// The next one goes on where it has ended.
	w.open()
	if err := w.source.PullDue(t.Context(), nil, w.kept.store); err != nil {
		t.Fatal(err)
	}
	if n := len(w.server.Requests()); len(w.kept.lines) != 500 || n >= 10+parallel {
		t.Errorf("%d lines after %d queries", len(w.kept.lines), n)
	}
}

// A source that waits for its budget does not wait for it once it is retired.
func TestARetiredSourceDoesNotWait(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	w.limits = Limits{PerHour: 1}
	w.open()
	// Time stands still for a query that waits.
	w.source.o.Export.wait = func(ctx context.Context, _ time.Duration) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	waits := make(chan time.Time)
	result := make(chan error)
	go func() {
		result <- w.source.PullDue(t.Context(), func(until time.Time) { waits <- until }, w.kept.store)
	}()
	<-waits
	for waiting := true; waiting; {
		select {
		case <-waits: // the query before has ended
		default:
			w.source.Retire()
			waiting = false
		}
	}
	for {
		select {
		case <-waits:
			continue
		case err := <-result:
			if err != nil || len(w.server.Requests()) != 1 {
				t.Errorf("%v after %d queries", err, len(w.server.Requests()))
			}
		}
		return
	}
}

// A source goes on with other credentials, a later first day and another lookback, and a
// budget with other limits.
func TestASourceChanges(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	w.secret = "wrong"
	w.open()
	if err := w.source.PullDue(t.Context(), nil, w.kept.store); !NeedsPerson(err) {
		t.Fatalf("wrong credentials: %v", err)
	}
	client := NewClient(ClientOptions{Region: Region{Export: w.address, Query: w.address}, ProjectID: 7, Credentials: Credentials{Username: "sa", Secret: "pw"}})
	defer client.Close()
	before := len(w.server.Requests())
	w.source.Change(client, day(t, "2026-06-06"), 24*time.Hour)
	w.clock.move(lastHold)
	if err := w.source.PullDue(t.Context(), nil, w.kept.store); err != nil {
		t.Fatal(err)
	}
	if s := w.source.Status(); s.From != day(t, "2026-06-06") || s.Done != 4 || len(w.kept.lines) != 250 {
		t.Errorf("from %s, %d days done, %d lines", s.From, s.Done, len(w.kept.lines))
	}
	if requests := w.server.Requests(); slices.ContainsFunc(requests[before:], func(r mixpanelserver.Request) bool { return r.From < "2026-06-06" }) {
		t.Errorf("asked for %v", requests)
	}

	b := w.source.o.Export
	b.SetLimits(Limits{PerHour: 60, PerSecond: 3, Concurrent: 1})
	release, err := b.Acquire(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	full, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Acquire(full, true); err == nil {
		t.Error("two queries are under way, and the limit is one")
	}
	b.SetLimits(Limits{PerHour: 60, PerSecond: 3, Concurrent: 2})
	other, err := b.Acquire(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	other()
	release() // to the limit that it began with
}
