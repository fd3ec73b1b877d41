package mixpanel

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

// backlog is half a year that a source pulls from the stand-in server, query after
// query, in a simulated clock.
type backlog struct {
	*world
	perSecond int64  // bytes of lines that are downloaded and stored in a second
	refusals  [2]int // the numbers of two queries that are refused because of the limit
	sent      []time.Time
	ordered   time.Duration // pauses that the server has asked for
	failed    int
}

// promise is the forecast that status showed at an instant.
type promise struct {
	when    string
	at      time.Time
	until   time.Time
	ordered time.Duration // pauses that were known then
}

func newHalfYear(t *testing.T, share, perSecond int64) *backlog {
	b := &backlog{world: newWorld(t, nil), perSecond: perSecond}
	b.from, b.lookback = "2025-12-10", 10*24*time.Hour
	b.server.Generate(func(date string, line func([]byte) error) error {
		for n := range 20 {
			if err := line(fmt.Appendf(nil, `{"event":"Item","properties":{"time":1765324800000,"$insert_id":"%s-%d"}}`, date, n)); err != nil {
				return err
			}
		}
		return nil
	})
	b.open()
	b.source.schedule.share = share
	return b
}

// fault lets some queries of the first half fail: the server gives up in the middle of
// every fortieth, and twice, for ten and for forty minutes, another program has used up the limit.
func (b *backlog) fault(mixpanelserver.Request) *mixpanelserver.Fault {
	b.sent = append(b.sent, b.clock.now())
	switch n := len(b.sent); {
	case n == b.refusals[0] || n == b.refusals[1]:
		pause := 10 * time.Minute
		if n == b.refusals[1] {
			pause = 40 * time.Minute
		}
		b.ordered += pause
		return &mixpanelserver.Fault{
			Status: http.StatusTooManyRequests, Body: `{"error":"too many export requests in progress for this project"}`,
			Header: http.Header{"Retry-After": {fmt.Sprint(int(pause.Seconds()))}},
		}
	case n%40 == 0 && n < b.refusals[1]:
		return &mixpanelserver.Fault{Marker: "terminated early"}
	}
	return nil
}

// store takes the time that a download of its size takes.
func (b *backlog) store(ctx context.Context, d *Download, p ingest.Source) error {
	b.clock.move(time.Second + time.Duration(d.Bytes)*time.Second/time.Duration(b.perSecond))
	return b.kept.store(ctx, d, p)
}

// step carries out a query, or lets the time pass until one is due.
func (b *backlog) step() {
	q, at, _ := b.source.Next()
	if now := b.clock.now(); at.After(now) {
		b.clock.move(at.Sub(now))
		return
	}
	err := b.source.fly(b.t.Context(), b.source.begin(q), b.store)
	if k := KindOf(err); k != 0 {
		b.failed++
	}
	if k := KindOf(err); err != nil && k != TooMany && k != Truncated {
		b.t.Fatalf("%s: %v", q, err)
	}
}

// missing is how many days are missing.
func (b *backlog) missing() int {
	b.source.mu.Lock()
	defer b.source.mu.Unlock()
	return b.source.schedule.missing(b.clock.now())
}

func (b *backlog) promise(when string) promise {
	return promise{when: when, at: b.clock.now(), until: b.source.Status().Forecast.At, ordered: b.ordered}
}

// A source catches up half a year from a server that counts its queries, refuses some,
// and gives up in the middle of others: no window of time has more queries than the
// published limits allow, and the time that status promised is kept within a tenth. The
// pauses that the server asks for afterwards may come on top.
func TestCatchingUpKeepsToTheLimitsAndThePromise(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		share, perSecond int64
		refusals         [2]int
		most             int
	}{
		{"days of a query each", 2000, 1 << 20, [2]int{10, 90}, 210},
		{"large days", 2000, 20, [2]int{10, 90}, 210}, // more than a minute each
		{"days that share queries", 20_000, 50, [2]int{5, 10}, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newHalfYear(t, tt.share, tt.perSecond)
			b.refusals = tt.refusals
			b.server.Break(b.fault)
			missing := b.missing()
			var promises []promise
			for half := false; b.missing() > 0 && len(b.sent) < 1000; {
				sent, ordered := len(b.sent), b.ordered
				b.step()
				switch {
				case b.ordered > ordered:
					promises = append(promises, b.promise("while the server refuses"))
				case len(b.sent) == 2 && sent < 2:
					promises = append(promises, b.promise("after two queries"))
				case b.missing() <= missing/2 && !half:
					half = true
					promises = append(promises, b.promise("at the half"))
				}
			}
			end := b.clock.now()
			for _, p := range promises {
				took, promised := end.Sub(p.at), p.until.Sub(p.at)
				if p.until.IsZero() || took-(b.ordered-p.ordered) > promised*110/100 || took < promised*90/100 {
					t.Errorf("%s %s were promised, and it took %s; the server asked for later pauses of %s", p.when, promised, took, b.ordered-p.ordered)
				}
			}
			if missing != 182 || len(promises) != 4 || b.failed < len(tt.refusals) || len(b.sent) > tt.most {
				t.Errorf("%d days were missing; %d promises, %d queries, of which %d failed", missing, len(promises), len(b.sent), b.failed)
			}
			b.checkLimits()
		})
	}
}

// checkLimits checks the queries that were sent, and that the server refused none but
// those that fault made it refuse.
func (b *backlog) checkLimits() {
	b.t.Helper()
	for i, at := range b.sent {
		if j := i + testLimits.PerHour; j < len(b.sent) && b.sent[j].Sub(at) < time.Hour {
			b.t.Errorf("queries %d to %d were sent within %s", i, j, b.sent[j].Sub(at))
		}
		if j := i + testLimits.PerSecond; j < len(b.sent) && b.sent[j].Sub(at) < time.Second {
			b.t.Errorf("queries %d to %d were sent within %s", i, j, b.sent[j].Sub(at))
		}
	}
	refused := 0
	for _, r := range b.server.Requests() {
		if r.Status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != len(b.refusals) {
		b.t.Errorf("the server refused %d queries, %d of them by fault", refused, len(b.refusals))
	}
}
