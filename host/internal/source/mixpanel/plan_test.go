package mixpanel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

func day(t *testing.T, s string) journal.Day {
	t.Helper()
	d, err := journal.ParseDay(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newSchedule(t *testing.T, from string) *schedule {
	return &schedule{from: day(t, from), lookback: 10, zone: time.UTC, days: map[journal.Day]dayState{}, held: map[journal.Day]time.Time{}, claimed: map[journal.Day]int{}, share: querySize}
}

// run carries out a schedule under a budget until no day is missing, with days of
// some bytes that come at some bytes a second.
func run(s *schedule, w *window, at time.Time, size func(journal.Day) int64, perSecond int64) (end time.Time, queries []Query) {
	for s.missing(at) > 0 {
		q, due, _ := s.next(at)
		if due.After(at) {
			at = due
			continue
		}
		at = w.next(at)
		w.use(at)
		asked, total := at, int64(0)
		for d := q.From; d <= q.To; d++ {
			total += size(d)
		}
		at = at.Add(time.Second + time.Duration(total)*time.Second/time.Duration(perSecond))
		n := int64(q.Days())
		s.done(q, dayState{Pulled: asked.UnixMilli(), Bytes: total / n, Millis: at.Sub(asked).Milliseconds() / n})
		queries = append(queries, q)
	}
	return at, queries
}

// Half a year is planned within the limits, and the time that is promised after the
// first query is kept.
func TestHalfAYearIsCaughtUpAsPromised(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	start := time.Date(2026, 6, 30, 9, 30, 0, 0, time.UTC)
	tests := []struct {
		name  string
		size  func(journal.Day) int64
		limit Limits
		most  int // queries
	}{
		{"small days", func(journal.Day) int64 { return mib }, testLimits, 20},
		{"days of a query each", func(d journal.Day) int64 { return (200 + int64(d%7)*10) * mib }, testLimits, 200},
		{"a low limit", func(d journal.Day) int64 { return (150 + int64(d%7)*20) * mib }, Limits{PerHour: 12, PerSecond: 1}, 250},
		{"huge days", func(d journal.Day) int64 { return (5000 + int64(d%7)*300) * mib }, testLimits, 220},
	}
	for _, tt := range tests {
		s, w := newSchedule(t, "2026-01-01"), &window{limits: tt.limit}
		first, _, _ := s.next(start)
		if first.From != day(t, "2026-06-29") || first.Days() != 1 {
			t.Errorf("%s: the first query is for %s", tt.name, first)
		}
		const perSecond, slack = 20 * mib, 5 * time.Minute // the time of a query apart from its bytes is not known yet
		s.done(first, dayState{Pulled: start.UnixMilli(), Bytes: tt.size(first.From), Millis: 1000 + tt.size(first.From)*1000/perSecond})
		promise := s.forecast(start, w.clone())
		end, queries := run(s, w, start, tt.size, perSecond)
		took, promised := end.Sub(start), promise.At.Sub(start)
		if promise.At.IsZero() || took > promised*110/100+slack || took < promised*90/100-slack {
			t.Errorf("%s: it took %s, and %s was promised", tt.name, took, promised)
		}
		if promise.Days != 179 || len(queries) > tt.most {
			t.Errorf("%s: %d days were missing, %d queries", tt.name, promise.Days, len(queries))
		}
		// The backlog comes latest first, after everything that is recent.
		seen := false
		last := journal.Day(1 << 30)
		for _, q := range queries {
			if q.Why == Recent && q.To < day(t, "2026-06-30") && seen {
				t.Errorf("%s: %s came after the backlog began", tt.name, q)
			}
			if q.Why == Backlog {
				if q.To >= last {
					t.Errorf("%s: %s came after %s", tt.name, q, last)
				}
				seen, last = true, q.From
			}
		}
	}
}

// slots carries out a schedule with several queries at once, until no day is missing,
// in a simulated clock: a query has a stream of its own and is stored when it has come.
// The time of each query counts as in Source.moves.
type slots struct {
	s         *schedule
	w         *window
	at        time.Time
	size      func(journal.Day) int64
	perSecond int64 // of one stream
	flying    []simulated
	ended     time.Time
	queries   int
}

type simulated struct {
	q           Query
	asked, ends time.Time
}

// width is Source.width.
func (x *slots) width() int {
	if _, known := x.s.average(); !known {
		return 1
	}
	return parallel
}

// begin sends a query if one is due and may be sent.
func (x *slots) begin() bool {
	q, due, ok := x.s.next(x.at)
	if !ok || due.After(x.at) || len(x.flying) >= x.width() || x.w.next(x.at).After(x.at) {
		return false
	}
	x.w.use(x.at)
	x.s.claim(q, 1)
	total := int64(0)
	for d := q.From; d <= q.To; d++ {
		total += x.size(d)
	}
	x.queries++
	x.flying = append(x.flying, simulated{q, x.at, x.at.Add(time.Second + time.Duration(total)*time.Second/time.Duration(x.perSecond))})
	return true
}

// land ends the query that ends first.
func (x *slots) land() {
	first := slices.MinFunc(x.flying, func(a, b simulated) int { return a.ends.Compare(b.ends) })
	x.flying = slices.DeleteFunc(x.flying, func(f simulated) bool { return f == first })
	x.at = first.ends
	began := first.asked
	if x.ended.After(began) {
		began = x.ended
	}
	x.ended = x.at
	x.s.claim(first.q, -1)
	n := int64(first.q.Days())
	x.s.done(first.q, dayState{Pulled: first.asked.UnixMilli(), Bytes: x.size(first.q.From), Millis: x.at.Sub(began).Milliseconds() / n})
}

// step sends a query, or lets the time pass until something happens.
func (x *slots) step() {
	if x.begin() {
		return
	}
	free := x.w.next(x.at)
	if len(x.flying) > 0 && (len(x.flying) >= x.width() || !free.After(x.at) || slices.ContainsFunc(x.flying, func(f simulated) bool { return f.ends.Before(free) })) {
		x.land()
		return
	}
	if !free.After(x.at) {
		_, free, _ = x.s.next(x.at)
	}
	x.at = free
}

// With several queries at once the time that is promised, once each of them has been
// at work, is kept within a tenth, whether the streams or the limits are what is slow.
func TestThePromiseWithSeveralQueriesAtOnce(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	start := time.Date(2026, 6, 30, 9, 30, 0, 0, time.UTC)
	for _, tt := range []struct {
		name      string
		size      func(journal.Day) int64
		perSecond int64
		limits    Limits
	}{
		{"slow streams", func(d journal.Day) int64 { return (900 + int64(d%7)*30) * mib }, 4 * mib, testLimits},
		{"fast streams", func(d journal.Day) int64 { return (900 + int64(d%7)*30) * mib }, 400 * mib, testLimits},
		{"a low limit", func(d journal.Day) int64 { return (300 + int64(d%7)*10) * mib }, 10 * mib, Limits{PerHour: 12, PerSecond: 1}},
	} {
		x := &slots{s: newSchedule(t, "2026-01-01"), w: &window{limits: tt.limits}, at: start, size: tt.size, perSecond: tt.perSecond}
		for x.queries < 4*parallel {
			x.step()
		}
		began, promise := x.at, x.s.forecast(x.at, x.w.clone())
		for x.s.missing(x.at) > 0 {
			x.step()
		}
		took, promised := x.at.Sub(began), promise.At.Sub(began)
		if promise.At.IsZero() || took > promised*110/100 || took < promised*90/100 {
			t.Errorf("%s: it took %s, and %s was promised", tt.name, took, promised)
		}
	}
}

// The budget holds in every window of time.
func TestTheBudgetIsKeptOverRestarts(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := BudgetOptions{Path: filepath.Join(t.TempDir(), "budget"), Limits: Limits{PerHour: 10, PerSecond: 3, Concurrent: 2}, Now: c.now, Wait: c.wait}
	var sent []time.Time
	for range 8 {
		b, err := OpenBudget(o)
		if err != nil {
			t.Fatal(err)
		}
		for range 7 {
			release, err := b.Acquire(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			release()
			sent = append(sent, c.now())
			c.move(100 * time.Millisecond)
		}
	}
	for i := range sent {
		if j := i + 10; j < len(sent) && sent[j].Sub(sent[i]) < time.Hour {
			t.Errorf("queries %d to %d were sent within %s", i, j, sent[j].Sub(sent[i]))
		}
		if j := i + 3; j < len(sent) && sent[j].Sub(sent[i]) < time.Second {
			t.Errorf("queries %d to %d were sent within %s", i, j, sent[j].Sub(sent[i]))
		}
	}
	if took := sent[len(sent)-1].Sub(sent[0]); took > 6*time.Hour {
		t.Errorf("56 queries took %s", took)
	}
}

func TestTheBudgetAfterRefusals(t *testing.T) {
	t.Parallel()
	c := newClock()
	o := BudgetOptions{Path: filepath.Join(t.TempDir(), "budget"), Limits: testLimits, Now: c.now, Wait: c.wait}
	b, err := OpenBudget(o)
	if err != nil {
		t.Fatal(err)
	}
	refusal := &Error{Kind: TooMany}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute} {
		if err := b.Settle(t.Context(), refusal); err != nil {
			t.Fatal(err)
		}
		if got := b.Next(c.now()).Sub(c.now()); got != want {
			t.Errorf("paused %s, want %s", got, want)
		}
	}
	refusal.After = 17 * time.Minute
	_ = b.Settle(t.Context(), refusal)
	if b, err = OpenBudget(o); err != nil { // a restart
		t.Fatal(err)
	}
	if got := b.Next(c.now()).Sub(c.now()); got != 17*time.Minute {
		t.Errorf("after a restart it pauses %s", got)
	}
	// A clock that is set back, or a server that errs, stops nothing for longer.
	c.move(-48 * time.Hour)
	if got := b.Next(c.now()).Sub(c.now()); got > 2*time.Hour {
		t.Errorf("with a clock that was set back it pauses %s", got)
	}
	_ = b.Settle(t.Context(), &Error{Kind: TooMany, After: 300 * time.Hour})
	if got := b.Next(c.now()).Sub(c.now()); got > 2*time.Hour {
		t.Errorf("it pauses %s", got)
	}
	if err := os.WriteFile(o.Path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err = OpenBudget(o); err != nil || b.simulate(c.now()).left(c.now()) != 60 {
		t.Errorf("%v", err)
	}
}

// A server that is busy is asked again when it says so, and in no special way if it
// does not.
func TestTheBudgetAfterABusyServer(t *testing.T) {
	t.Parallel()
	c := newClock()
	b, err := OpenBudget(BudgetOptions{Path: filepath.Join(t.TempDir(), "budget"), Limits: testLimits, Now: c.now, Wait: c.wait})
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{0, 10 * time.Minute} {
		if err := b.Settle(t.Context(), &Error{Kind: Unavailable, After: after}); err != nil {
			t.Fatal(err)
		}
		if got := b.Next(c.now()).Sub(c.now()); got != after {
			t.Errorf("paused %s, want %s", got, after)
		}
	}
	// A shorter pause does not end a longer one.
	if err := b.Settle(t.Context(), &Error{Kind: TooMany, After: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if got := b.Next(c.now()).Sub(c.now()); got != 10*time.Minute {
		t.Errorf("paused %s", got)
	}
}

// A refusal is noted while a query of another source waits for the hourly limit,
// and that query waits for it, too.
func TestARefusalStopsAQueryThatWaits(t *testing.T) {
	t.Parallel()
	c := newClock()
	asked, proceed := make(chan time.Duration), make(chan struct{})
	o := BudgetOptions{Path: filepath.Join(t.TempDir(), "budget"), Limits: Limits{PerHour: 1}, Now: c.now, Wait: func(_ context.Context, d time.Duration) error {
		asked <- d
		<-proceed
		c.move(d)
		return nil
	}}
	b, err := OpenBudget(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Acquire(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := b.Acquire(t.Context(), false)
		done <- err
	}()
	first := <-asked
	if err := b.Settle(t.Context(), &Error{Kind: TooMany, After: 90 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	if again, err := OpenBudget(o); err != nil || again.Next(c.now()).Sub(c.now()) != 90*time.Minute {
		t.Errorf("a restart forgets the refusal (%v)", err)
	}
	proceed <- struct{}{}
	select {
	case second := <-asked:
		if first+second != 90*time.Minute {
			t.Errorf("it waited %s and %s", first, second)
		}
		proceed <- struct{}{}
		err = <-done
	case err = <-done:
		t.Error("it did not wait for the refusal")
	}
	if err != nil {
		t.Error(err)
	}
}

// Sources that share a budget have no more queries under way than it allows.
func TestTheBudgetBoundsConcurrency(t *testing.T) {
	t.Parallel()
	c := newClock()
	b, err := OpenBudget(BudgetOptions{Path: filepath.Join(t.TempDir(), "budget"), Limits: Limits{Concurrent: 2}, Now: c.now, Wait: c.wait})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	running, most := 0, 0
	for range 20 {
		wg.Go(func() {
			release, err := b.Acquire(t.Context(), false)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			mu.Lock()
			running--
			mu.Unlock()
			release()
		})
	}
	wg.Wait()
	if most > 2 {
		t.Errorf("%d at the same time", most)
	}
	one, err := b.Acquire(t.Context(), false)
	two, err2 := b.Acquire(t.Context(), false)
	stopped, stop := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	stop(gone)
	if _, err3 := b.Acquire(stopped, false); err != nil || err2 != nil || !errors.Is(err3, gone) {
		t.Errorf("%v, %v, %v", err, err2, err3)
	}
	one()
	two()
}

// Days are pulled when it is worth a query.
func TestWhenDaysArePulled(t *testing.T) {
	t.Parallel()
	s := newSchedule(t, "2026-06-01")
	at := func(text string) time.Time {
		at, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	s.trial = trial{At: at("2026-06-20 00:00").UnixMilli(), Reason: "late events are not selected in this test"}
	pull := func(from, to, when string) {
		s.done(Query{From: day(t, from), To: day(t, to)}, dayState{Pulled: at(when).UnixMilli(), Bytes: 1 << 20, Millis: 1000})
	}
	steps := []struct{ now, want string }{
		{"2026-06-20 00:10", "2026-06-19 recent now"},
		{"2026-06-20 00:10", "2026-06-10 to 2026-06-18 recent now"},
		{"2026-06-20 00:10", "2026-06-01 to 2026-06-09 backlog now"},
		{"2026-06-20 00:11", "2026-06-19 recent at 01:00"},          // it may not be all there
		{"2026-06-20 01:00", "2026-06-19 recent now"},               //
		{"2026-06-20 01:01", "2026-06-20 today now"},                //
		{"2026-06-20 01:02", "2026-06-10 to 2026-06-18 again now"},  // it was pulled before 01:00
		{"2026-06-20 01:03", "2026-06-20 today at 02:01"},           //
		{"2026-06-20 23:30", "2026-06-20 today now"},                //
		{"2026-06-21 00:30", "2026-06-20 recent at 01:00"},          //
		{"2026-06-21 05:00", "2026-06-20 recent now"},               //
		{"2026-06-21 05:00", "2026-06-21 today now"},                //
		{"2026-06-21 05:01", "2026-06-11 to 2026-06-19 again now"},  // 10 June left the lookback
		{"2026-06-21 05:02", "2026-06-21 today at 06:00"},           //
		{"2026-06-25 12:00", "2026-06-21 to 2026-06-24 recent now"}, // after an outage
	}
	for _, step := range steps {
		now := at(step.now)
		q, due, _ := s.next(now)
		when := "now"
		if due.After(now) {
			when = "at " + due.Format("15:04")
		}
		if got := fmt.Sprintf("%s %s %s", q, q.Why, when); got != step.want {
			t.Errorf("at %s: %s, want %s", step.now, got, step.want)
		}
		if when == "now" {
			pull(q.From.String(), q.To.String(), step.now)
		}
	}
}

// A day has 23 or 25 hours where clocks are set.
func TestDaysOfAZone(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	s := newSchedule(t, "2026-03-01")
	s.zone = zone
	for d, hours := range map[string]float64{"2026-03-28": 24, "2026-03-29": 23, "2026-10-25": 25} {
		if got := s.begins(day(t, d) + 1).Sub(s.begins(day(t, d))).Hours(); got != hours {
			t.Errorf("%s has %v hours", d, got)
		}
	}
	if got := s.today(time.Date(2026, 3, 28, 23, 30, 0, 0, time.UTC)).String(); got != "2026-03-29" {
		t.Errorf("today is %s", got)
	}
}

func TestRequestedDaysShareQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	texts := func() (all []string) {
		for from, to := day(t, "2026-04-01"), day(t, "2026-05-15"); to >= from; {
			q := w.source.latest(from, to)
			all, to = append(all, q.String()), q.From-1
		}
		return all
	}
	if got := texts(); len(got) != 45 || got[0] != "2026-05-15" {
		t.Errorf("%v", got)
	}
	w.source.schedule.done(Query{From: day(t, "2026-06-08"), To: day(t, "2026-06-08")}, dayState{Pulled: w.clock.now().UnixMilli(), Bytes: 1000})
	if got, want := texts(), []string{"2026-04-15 to 2026-05-15", "2026-04-01 to 2026-04-14"}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	// A source that has pulled nothing yet knows the size of a day after the first query.
	w = newWorld(t, nil)
	w.add([]int{7, 8, 9}, 50)
	if err := w.source.PullDays(t.Context(), day(t, "2026-05-15"), day(t, "2026-06-09"), nil, w.kept.store); err != nil {
		t.Fatal(err)
	}
	if n := len(w.server.Requests()); n != 2 || len(w.kept.lines) != 150 || len(w.kept.cursors) != 26 {
		t.Errorf("26 days took %d queries: %d lines, %d days", n, len(w.kept.lines), len(w.kept.cursors))
	}
}

// The days of a shared query whose stream is cut are pulled one by one. A day that fails by
// itself is an error, and is alone the next time.
func TestRequestedDaysOfACutQueryArePulledOneByOne(t *testing.T) {
	t.Parallel()
	// The clock may jump while a query is on its way: the server would count it at another
	// time than the budget.
	w := newWorld(t, func(o *mixpanelserver.Options) { o.Export = mixpanelserver.Limits{} })
	w.add([]int{6, 7, 8, 9}, 50)
	bad := ""
	w.server.Break(func(r mixpanelserver.Request) *mixpanelserver.Fault {
		if r.From != r.To || r.From == bad {
			return &mixpanelserver.Fault{Marker: "terminated early"}
		}
		return nil
	})
	pull := func() error {
		return w.source.PullDays(t.Context(), day(t, "2026-06-06"), day(t, "2026-06-09"), nil, w.kept.store)
	}
	if err := pull(); err != nil {
		t.Fatal(err)
	}
	if n := len(w.server.Requests()); n != 5 || len(w.kept.lines) != 200 {
		t.Errorf("four days took %d queries: %d lines", n, len(w.kept.lines))
	}
	bad = "2026-06-07"
	if err := pull(); KindOf(err) != Truncated || !strings.Contains(err.Error(), "pull "+bad+":") {
		t.Errorf("a day that fails by itself: %v", err)
	}
	for to, want := range map[string]string{"2026-06-09": "2026-06-08 to 2026-06-09", bad: bad, "2026-06-06": "2026-06-06"} {
		if got := w.source.latest(day(t, "2026-06-06"), day(t, to)).String(); got != want {
			t.Errorf("the latest query up to %s is %s, want %s", to, got, want)
		}
	}
}
