package mixpanel

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

// processedAt are events of a day, one a minute, each processed five seconds later
// or when late says.
func processedAt(day, each int, late time.Time) (events []mixpanelserver.Event) {
	for n := range each {
		at := time.Date(2026, 6, day, 23, 59-n, 0, 0, time.UTC)
		processed := at.Add(5 * time.Second)
		if !late.IsZero() {
			processed = late
		}
		events = append(events, mixpanelserver.Event{
			Name: "Item", Time: at.UnixMilli(), DistinctID: "u", Properties: fmt.Sprintf(`"$insert_id":"%d-%d-%d"`, day, n, late.Unix()), Processed: processed.UnixMilli(),
		})
	}
	return events
}

// newLate makes a world of the first days of June, of which the last four are in the
// lookback, with its clock at 10 June 12:00.
func newLate(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, func(o *mixpanelserver.Options) { o.Export = mixpanelserver.Limits{} })
	w.from, w.lookback = "2026-06-01", 4*24*time.Hour
	for d := 1; d <= 10; d++ {
		w.server.Add(processedAt(d, 50, time.Time{})...)
	}
	w.open()
	w.pullAll()
	return w
}

// asked are the requests since a number of them: dates, and "late" with a selector.
func (w *world) asked(after int) (list []string) {
	for _, r := range w.server.Requests()[after:] {
		text := r.From
		if r.To != r.From {
			text += " to " + r.To
		}
		if r.Where != "" {
			text += " late"
		}
		list = append(list, text)
	}
	return list
}

// nextDay moves the clock to noon of the next day, carries out what is due, and
// returns what was asked for.
func (w *world) nextDay() []string {
	n := len(w.server.Requests())
	w.clock.move(24 * time.Hour)
	w.pullAll()
	return w.asked(n)
}

// After a trial has succeeded, the days of the lookback share a query for late events.
// The day that leaves the lookback is pulled whole.
func TestLateEventsAreSelected(t *testing.T) {
	t.Parallel()
	w := newLate(t)
	want := []string{"2026-06-10", "2026-06-11", "2026-06-08 to 2026-06-09", "2026-06-07", "2026-06-07 late"}
	if got := w.nextDay(); !slices.Equal(got, want) {
		t.Fatalf("asked for %v, want %v", got, want)
	}
	if late := w.source.Status().Late; !late.Selects || late.Reason != "" || !late.Tried.Equal(w.clock.now()) {
		t.Errorf("%+v", late)
	}
	sizes := w.source.schedule.days[day(t, "2026-06-09")].Bytes
	before := len(w.kept.lines)
	w.server.Add(processedAt(9, 7, w.clock.now().Add(-time.Hour))...)
	w.server.Add(processedAt(10, 5, w.clock.now().Add(time.Hour))...)
	w.open() // the trial outlives the process
	want = []string{"2026-06-11", "2026-06-12", "2026-06-09 to 2026-06-10 late", "2026-06-08"}
	if got := w.nextDay(); !slices.Equal(got, want) {
		t.Errorf("a day later asked for %v, want %v", got, want)
	}
	if got := len(w.kept.lines) - before; got != 12 {
		t.Errorf("%d lines came late, want 12", got)
	}
	if got := w.source.schedule.days[day(t, "2026-06-09")].Bytes; got != sizes {
		t.Errorf("the size of a day became that of its late events: %d, was %d", got, sizes)
	}
	// A week after the trial there is another one.
	for range 5 {
		if got := w.nextDay(); len(got) != 4 {
			t.Errorf("asked for %v", got)
		}
	}
	if got := w.nextDay(); len(got) != 5 || !strings.HasSuffix(got[4], "late") || !strings.HasPrefix(got[4], got[3]) {
		t.Errorf("asked for %v", got)
	}
}

// Days are pulled whole while the selector does not do what it should.
func TestTrialsThatFail(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		world func(w *world)
		fault *mixpanelserver.Fault // of queries with a selector
		say   string
	}{
		{"an event is not found", nil, &mixpanelserver.Fault{Skip: 1}, "49 of 50 events were found"},
		{"the selector is ignored", func(w *world) { w.server.Add(processedAt(7, 3, time.Date(2026, 6, 7, 1, 0, 0, 0, time.UTC))...) }, &mixpanelserver.Fault{IgnoreWhere: true}, "3 events came that were not asked for"},
		{"the selector is refused", nil, &mixpanelserver.Fault{Status: http.StatusBadRequest, Body: "no"}, "answered 400"},
		{"events do not say when they were processed", func(w *world) { w.add([]int{7}, 2) }, nil, "2 events have no mp_processing_time_ms"},
	}
	for _, tt := range tests {
		w := newLate(t)
		if tt.world != nil {
			tt.world(w)
		}
		w.server.Break(func(r mixpanelserver.Request) *mixpanelserver.Fault {
			if r.Where == "" {
				return nil
			}
			return tt.fault
		})
		w.nextDay()
		if late := w.source.Status().Late; late.Selects || !strings.Contains(late.Reason, tt.say) || w.source.Failing() {
			t.Errorf("%s: %+v", tt.name, late)
		}
		for _, asked := range w.nextDay() {
			if strings.HasSuffix(asked, "late") {
				t.Errorf("%s: asked for %s", tt.name, asked)
			}
		}
	}
}

// Times of processing that are those of another zone find nothing near the end of a
// day: such a trial does not succeed.
func TestATrialWithoutEventsDoesNotSucceed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *mixpanelserver.Options) { o.Export = mixpanelserver.Limits{} })
	w.from, w.lookback = "2026-06-01", 4*24*time.Hour
	for d := 1; d <= 10; d++ {
		w.server.Add(processedAt(d, 50, time.Date(2026, 6, d, 16, 0, 0, 0, time.UTC))...)
	}
	w.open()
	w.pullAll()
	w.nextDay()
	if late := w.source.Status().Late; late.Selects || !strings.Contains(late.Reason, "no event that was processed near its end") {
		t.Errorf("%+v", late)
	}
}

// A selector that was accepted and is refused later costs a query, and the days are
// pulled whole.
func TestASelectorThatIsRefusedLater(t *testing.T) {
	t.Parallel()
	w := newLate(t)
	w.nextDay()
	w.server.Break(func(r mixpanelserver.Request) *mixpanelserver.Fault {
		if r.Where != "" {
			return &mixpanelserver.Fault{Status: http.StatusBadRequest, Body: "no selectors"}
		}
		return nil
	})
	want := []string{"2026-06-11", "2026-06-12", "2026-06-09 to 2026-06-10 late", "2026-06-08 to 2026-06-10"}
	if got := w.nextDay(); !slices.Equal(got, want) || w.source.Failing() {
		t.Errorf("asked for %v, want %v", got, want)
	}
}

// The selector begins before the last pull by the server's clock, not by this machine's.
func TestLateEventsByTheClockOfTheServer(t *testing.T) {
	t.Parallel()
	w := newLate(t)
	w.nextDay()
	for d, state := range w.source.schedule.days {
		state.Seen = w.clock.now().Add(-5 * time.Hour).UnixMilli()
		w.source.schedule.days[d] = state
	}
	n, want := len(w.server.Requests()), selector(w.clock.now().Add(-7*time.Hour).UnixMilli())
	w.nextDay()
	if got := w.server.Requests()[n+2].Where; got != want {
		t.Errorf("selects %s, want %s", got, want)
	}
	// A server that does not say when it answered gives no instant to begin at.
	for d, state := range w.source.schedule.days {
		state.Seen = 0
		w.source.schedule.days[d] = state
	}
	for _, asked := range w.nextDay() {
		if strings.HasSuffix(asked, "late") {
			t.Errorf("asked for %s", asked)
		}
	}
}

// A download of late events that an earlier process left does not count as the whole
// day's.
func TestADownloadOfLateEventsSurvivesTheProcess(t *testing.T) {
	t.Parallel()
	w := newLate(t)
	w.nextDay()
	size := w.source.schedule.days[day(t, "2026-06-09")].Bytes
	w.clock.move(24 * time.Hour)
	q := Query{From: day(t, "2026-06-09"), To: day(t, "2026-06-10"), Why: Again, Since: 1781000000000}
	w.kept.fail = fmt.Errorf("the process dies")
	if err := w.carryOut(q); err == nil || len(w.spooled()) != 1 {
		t.Fatalf("%v, files %v", err, w.spooled())
	}
	w.kept.fail = nil
	w.open()
	if s := w.source.schedule.days[day(t, "2026-06-09")]; s.Bytes != size || s.Pulled != w.clock.now().UnixMilli() || len(w.spooled()) != 0 {
		t.Errorf("%+v, files %v", s, w.spooled())
	}
}
