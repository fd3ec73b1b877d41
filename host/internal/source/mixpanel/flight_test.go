package mixpanel

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

// newBacklog makes a world with events on the first ten days of June, each of them
// too large to share a query.
func newBacklog(t *testing.T) *world {
	t.Helper()
	// The clock of a test may jump while a query is on its way: the server would count
	// it at another time than the budget.
	w := newWorld(t, func(o *mixpanelserver.Options) { o.Export = mixpanelserver.Limits{} })
	w.from = "2026-06-01"
	w.add([]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 50)
	w.open()
	w.source.schedule.share = 1
	w.source.schedule.days[day(t, "2026-05-31")] = dayState{Pulled: w.clock.now().UnixMilli(), Bytes: 1, Millis: 1000}
	return w
}

// waitFor waits until a condition holds that other goroutines bring about.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute until %s", what)
		}
	}
}

// Several days are downloaded at the same time, while another is stored, and no more
// than parallel lie on the disk.
func TestDownloadsOverlapWithStoring(t *testing.T) {
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
	waitFor(t, "the other downloads are whole", func() bool {
		files := w.spooled()
		return len(files) == parallel && !slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, partialSuffix) })
	})
	s := w.source.Status()
	if len(s.InFlight.Queries) != parallel || s.InFlight.Bytes == 0 || s.InFlight.String() != "2026-06-07, 2026-06-08, 2026-06-09, 2026-06-10" {
		t.Errorf("in flight: %s, %d bytes", s.InFlight, s.InFlight.Bytes)
	}
	if len(w.kept.lines) != 0 {
		t.Errorf("%d lines were stored", len(w.kept.lines))
	}
	// Downloads that wait are not taken for what an earlier process has left.
	if left, err := leftovers(w.source.o.Dir, w.source.isFlying); err != nil || len(left) != 0 || len(w.spooled()) != parallel {
		t.Errorf("%v were left (%v)", left, err)
	}
	close(release)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if s := w.source.Status(); len(w.kept.lines) != 500 || s.Done != 9 || s.InFlight.String() != "" || len(w.spooled()) != 0 {
		t.Errorf("%d lines, %d days done, in flight %s, files %v", len(w.kept.lines), s.Done, s.InFlight, w.spooled())
	}
	if n := len(w.server.Requests()); n != 10 {
		t.Errorf("%d queries for ten days", n)
	}
}

// Until the size of a day is known one query is under way, so that the next ones can
// ask for several days.
func TestTheFirstQueryIsAlone(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	w.from = "2026-05-01"
	w.open()
	if err := w.source.PullDue(t.Context(), nil, w.kept.store); err != nil {
		t.Fatal(err)
	}
	var asked []string
	for _, r := range w.server.Requests() {
		asked = append(asked, r.From+" "+r.To)
	}
	slices.Sort(asked[1:]) // they are under way together
	want := []string{"2026-06-09 2026-06-09", "2026-05-01 2026-05-08", "2026-05-09 2026-06-07", "2026-06-08 2026-06-08", "2026-06-10 2026-06-10"}
	slices.Sort(want[1:])
	if asked[0] != want[0] || w.source.Status().Done != 40 || len(asked) > len(want) {
		t.Errorf("asked for %v", asked)
	}
}

// Queries that are under way together keep to the limits.
func TestQueriesTogetherKeepToTheLimits(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	w.limits, w.from = Limits{PerHour: 7, PerSecond: 2, Concurrent: 2}, "2026-05-01"
	w.open()
	w.source.schedule.share = 1
	began, waits := w.clock.now(), 0
	if err := w.source.PullDue(t.Context(), func(time.Time) { waits++ }, w.kept.store); err != nil {
		t.Fatal(err)
	}
	if n := w.server.Most(mixpanelserver.Export); n > 2 {
		t.Errorf("%d queries at the same time", n)
	}
	// 39 days and today, 7 an hour, and today again each hour.
	if took := w.clock.now().Sub(began); took < 5*time.Hour || took > 8*time.Hour || waits == 0 {
		t.Errorf("it took %s, and waited %d times", took, waits)
	}
	if s := w.source.Status(); s.Forecast.Days != 0 || len(w.kept.lines) != 500 {
		t.Errorf("%d days missing, %d lines", s.Forecast.Days, len(w.kept.lines))
	}
}

// An error decides whether other days go on.
func TestErrorsOfOneOfSeveralQueries(t *testing.T) {
	t.Parallel()
	bad := "2026-06-07"
	tests := []struct {
		name   string
		fault  mixpanelserver.Fault
		bad    func(from string) bool
		kind   Kind
		least  int // days that are done before it stops
		most   int
		client int // queries at most
	}{
		{"a day is cut", mixpanelserver.Fault{Marker: "terminated early"}, func(d string) bool { return d == bad }, Truncated, 8, 8, 10},
		{"every day is cut", mixpanelserver.Fault{Marker: "terminated early"}, func(string) bool { return true }, Truncated, 0, 0, 2 * parallel},
		{"the secret is revoked", mixpanelserver.Fault{Status: 401}, func(d string) bool { return d <= bad }, Unauthorized, 2, 2, 2 * parallel},
		{"the server is down", mixpanelserver.Fault{Status: 503}, func(string) bool { return true }, Unavailable, 0, 0, parallel},
	}
	for _, tt := range tests {
		w := newBacklog(t)
		w.server.Break(func(r mixpanelserver.Request) *mixpanelserver.Fault {
			if tt.bad(r.From) {
				return &tt.fault
			}
			return nil
		})
		err := w.source.PullDue(t.Context(), nil, w.kept.store)
		s := w.source.Status()
		if KindOf(err) != tt.kind || s.Done < tt.least || s.Done > tt.most || len(w.server.Requests()) > tt.client || s.InFlight.String() != "" {
			t.Errorf("%s: %v; %d days done, %d queries, in flight %q", tt.name, err, s.Done, len(w.server.Requests()), s.InFlight)
		}
		w.server.Break(nil)
		w.clock.move(2 * time.Hour)
		if err := w.source.PullDue(t.Context(), nil, w.kept.store); err != nil || w.source.Status().Done != 9 || len(w.kept.lines) != 500 {
			t.Errorf("%s: afterwards %v; %d days done, %d lines", tt.name, err, w.source.Status().Done, len(w.kept.lines))
		}
	}
}

// A disk that takes nothing stops the queries, and their downloads are stored later.
func TestADiskThatIsFullStopsQueries(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	w.kept.fail = errors.New("the disk is full")
	if err := w.source.PullDue(t.Context(), nil, w.kept.store); !errors.Is(err, w.kept.fail) || KindOf(err) != 0 {
		t.Fatal(err)
	}
	asked := len(w.server.Requests())
	if asked > 2*parallel || len(w.spooled()) != asked {
		t.Errorf("%d queries, files %v", asked, w.spooled())
	}
	w.kept.fail = nil
	if err := w.source.Resume(t.Context(), w.kept.store); err != nil {
		t.Fatal(err)
	}
	if s := w.source.Status(); s.Done != asked && s.Done != asked-1 || len(w.spooled()) != 0 { // one may be of today
		t.Errorf("%d days done of %d queries, files %v", s.Done, asked, w.spooled())
	}
	if err := w.source.PullDue(t.Context(), nil, w.kept.store); err != nil || len(w.server.Requests()) != 10 || len(w.kept.lines) != 500 {
		t.Errorf("%v; %d queries, %d lines", err, len(w.server.Requests()), len(w.kept.lines))
	}
}

// A call that is cancelled ends all its queries, and no day counts as failed.
func TestQueriesThatAreCancelled(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	never := make(chan struct{})
	w.server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault { return &mixpanelserver.Fault{Stall: never} })
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	result := make(chan error)
	go func() { result <- w.source.PullDue(ctx, nil, w.kept.store) }()
	waitFor(t, "several queries are under way", func() bool { return w.server.Most(mixpanelserver.Export) == parallel })
	cancel(stop)
	if err := <-result; !errors.Is(err, stop) || w.source.Failing() || len(w.spooled()) != 0 {
		t.Errorf("%v, files %v", err, w.spooled())
	}
}

// A call that waits for the limit is told of a query that fails while it waits, and is
// cancelled at once.
func TestWaitingForTheLimitIsCancelled(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	waiting := make(chan struct{})
	first := sync.OnceFunc(func() { close(waiting) }) // another query may have its turn when the call is cancelled
	budget, err := OpenBudget(BudgetOptions{Path: w.dir + "/other", Limits: Limits{PerHour: 1}, Now: w.clock.now, Wait: func(ctx context.Context, _ time.Duration) error {
		first()
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.source.o.Export = budget
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	result := make(chan error)
	go func() { result <- w.source.PullDue(ctx, nil, w.kept.store) }()
	<-waiting
	cancel(stop)
	if err := <-result; !errors.Is(err, stop) {
		t.Error(err)
	}
}

// Days that a person asks for are carried out together, too.
func TestRequestedDaysArePulledTogether(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	all := make(chan struct{})
	var mu sync.Mutex
	begun := 0
	w.server.Break(func(mixpanelserver.Request) *mixpanelserver.Fault {
		mu.Lock()
		defer mu.Unlock()
		if begun++; begun == parallel {
			close(all)
		}
		return &mixpanelserver.Fault{Stall: all}
	})
	if err := w.source.PullDays(t.Context(), day(t, "2026-06-02"), day(t, "2026-06-05"), nil, w.kept.store); err != nil {
		t.Fatal(err)
	}
	if len(w.kept.lines) != 200 || w.source.Status().Done != 4 {
		t.Errorf("%d lines, %d days", len(w.kept.lines), w.source.Status().Done)
	}
}

// Queries that are under way at the same time share the time that each is said to
// take, so that the pace that is extrapolated is that of all together.
func TestThePaceOfSeveralQueries(t *testing.T) {
	t.Parallel()
	w := newBacklog(t)
	began := w.clock.now()
	var downloads []*Download
	for n := range parallel {
		d := journal.Day(n)
		f := w.source.begin(Query{From: day(t, "2026-06-02") + d, To: day(t, "2026-06-02") + d})
		downloads = append(downloads, w.source.send(f))
	}
	total := int64(0)
	for i, d := range downloads {
		w.clock.move(time.Duration(10+i) * time.Second)
		d.Bytes = querySize
		w.source.stored(d, w.source.moves(d))
		total += w.source.schedule.days[d.From].Millis
	}
	if took := w.clock.now().Sub(began).Milliseconds(); total < took-10 || total > took+10 {
		t.Errorf("the queries share %d ms of %d", total, took)
	}
}

// A download that an earlier process left does not count as slow.
func TestALeftDownloadIsNotSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.add([]int{8, 9, 10}, 10)
	w.kept.fail = errors.New("the process dies")
	if _, err := w.pull(); err == nil {
		t.Fatal("it did not die")
	}
	w.kept.fail = nil
	w.clock.move(20 * time.Hour)
	w.open()
	if pace := w.source.schedule.pace(); pace > time.Minute {
		t.Errorf("a day takes %s", pace)
	}
	if s := w.source.schedule.days[day(t, "2026-06-09")]; s.Bytes == 0 {
		t.Errorf("the day has no size: %+v", s)
	}
}
