package mixpanel

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/ingest"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
	"github.com/penstock-io/penstock/test/standin/mixpanelserver"
)

// Tests after public failures of other programs that pull from Mixpanel. Those that are
// shown elsewhere in this package:
//
//	airbyte 45068, 55673; estuary connectors 1883, 3546   TestLateEventsAreSelected: a selector never narrows the lookback
//	airbyte 40583, 41976                                   TestTheBudgetIsKeptOverRestarts, TestALimitThatIsNeverLifted
//	mixpanel-utils 5, data-export-js 31, posthog 94687     TestEndsOfStreams
//	cloudquery 10599                                       TestEndsOfStreams: the marker in brackets
//	tap-mixpanel 58, 61; posthog 65049                     TestACutStreamStoresNothing: a stream that is cut is retried
//	data-export-js 30                                      TestRefusalsAreToldApart: refusals are text or JSON
//	mixpanel-utils 25, mixpanel-mcp 5, posthog 74552       TestRefusalsAreToldApart: another region answers 400, and is named
//	mpMigrate 16                                           TestDaysArePulled: the server refuses a service account that names no project

// Lines end with a newline and with nothing else that is called a line break, and may
// be cut anywhere by the network (airbyte 11018, mixpanel-query-py 22).
func TestLineBreaksInsideOfValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	at := time.Date(2026, 6, 9, 3, 0, 0, 0, time.UTC).UnixMilli()
	for n, text := range []string{"a\u2028b\u2029c", "a\u0085b", "a\u000bb\u000cc", `a\r\nb`} {
		w.server.Add(mixpanelserver.Event{Name: "Item", Time: at, DistinctID: "u", Properties: fmt.Sprintf(`"$insert_id":"%d","text":"%s"`, n, text)})
	}
	if _, err := w.pull(); err != nil || len(w.kept.lines) != 4 {
		t.Errorf("%d lines (%v)", len(w.kept.lines), err)
	}
}

// The last event of a day is not lost (mixpanel-utils 7), nor is the only one.
func TestTheLastEventIsKept(t *testing.T) {
	t.Parallel()
	for _, events := range []int{1, 2, 1000} {
		w := newWorld(t, nil)
		w.add([]int{9}, events)
		if _, err := w.pull(); err != nil || len(w.kept.lines) != events {
			t.Errorf("%d of %d events (%v)", len(w.kept.lines), events, err)
		}
	}
}

// Reading all profiles takes one query of the hourly limit, however many pages there
// are (mixpanel-utils 13, 37; airbyte 40583).
func TestPagesOfProfilesAreOneQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *mixpanelserver.Options) { o.Profiles.PerHour = 2 })
	var all []mixpanelserver.Profile
	for n := range 300 {
		all = append(all, mixpanelserver.Profile{DistinctID: fmt.Sprint("u", n), Properties: "{}"})
	}
	w.server.SetProfiles(all...)
	for range 2 {
		err := w.source.ReadProfiles(t.Context(), nil, func(_ context.Context, set *ProfileSet, _ journal.CursorMove) error {
			if set.Total != 300 {
				t.Errorf("%d profiles", set.Total)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if left := w.source.o.Profiles.simulate(w.clock.now()).left(w.clock.now()); left != 58 || w.clock.waited > time.Minute {
		t.Errorf("%d queries are left, waited %s", left, w.clock.waited)
	}
}

// eventStream is a stream of so many bytes of events.
func eventStream(size int64) io.Reader {
	line := `{"event":"Item","properties":{"time":1780963200000,"distinct_id":"u","$insert_id":"i","text":"` + strings.Repeat("some text ", 60) + `"}}` + "\n"
	return io.LimitReader(&repeated{line: line}, size/int64(len(line))*int64(len(line)))
}

// repeated repeats a line for ever.
type repeated struct {
	line string
	at   int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		m := copy(p[n:], r.line[r.at:])
		n, r.at = n+m, (r.at+m)%len(r.line)
	}
	return n, nil
}

// How much memory a download takes does not depend on its size (mixpanel-utils 2, 28;
// estuary connectors 2910; airbyte 62845): eight times the bytes allocate about as
// much. The test has the process for itself, since the counts are those of all.
func TestTheMemoryOfADownloadDoesNotDependOnItsSize(t *testing.T) {
	allocated := func(size int64) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := &Download{Query: Query{From: day(t, "2026-06-09"), To: day(t, "2026-06-09")}, Asked: time.UnixMilli(size)}
		if err := spool(t.TempDir(), d, eventStream(size), nil, nil); err != nil {
			t.Fatal(err)
		}
		p, err := d.read(func(int64) []journal.CursorMove { return nil })
		if err != nil {
			t.Fatal(err)
		}
		read := int64(0)
		for {
			piece, err := p.Next(t.Context())
			if err != nil {
				break
			}
			read += int64(len(piece.Data))
			piece.Release()
		}
		runtime.ReadMemStats(&after)
		if err := p.Close(); err != nil || read != d.Bytes {
			t.Errorf("%d of %d bytes were read back (%v)", read, d.Bytes, err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	small, large := allocated(16<<20), allocated(128<<20)
	if large > small+64<<20 {
		t.Errorf("16 MiB allocate %d bytes, and 128 MiB %d", small, large)
	}
}

// times is a journal that keeps the times of rows, by insert id.
type times struct{ at map[string]string }

func (j *times) Append(_ context.Context, c journal.Chunk) error {
	for _, r := range c.Rows {
		row := string(c.Data[r.Offset : r.Offset+r.Length])
		_, rest, _ := strings.Cut(row, `"insert_id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		j.at[id] = time.Unix(r.Time, 0).UTC().Format("15:04:05")
	}
	return nil
}

func (j *times) Put(string, int, int64, int64, []ingest.Refusal) error { return nil }

// Days of a project that was created before 2023 are those of its zone, 23 and 25 hours
// long where clocks are set, and times are its wall clock (airbyte 23662, 30028;
// mpMigrate 10; tap-mixpanel 35). An instant that the wall clock shows twice is the
// first of the two.
func TestPullsOfDaysOnWhichClocksAreSet(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		date string
		// Instants of events, and the times that their rows have.
		want map[string]string
	}{
		{"2026-03-29", map[string]string{
			"2026-03-28T23:00:00Z": "23:00:00", // 00:00
			"2026-03-29T00:59:59Z": "00:59:59", // 01:59:59
			"2026-03-29T01:00:00Z": "01:00:00", // 03:00
			"2026-03-29T21:59:59Z": "21:59:59", // 23:59:59
			"2026-03-28T22:59:59Z": "",         // the day before
			"2026-03-29T22:00:00Z": "",         // the day after
		}},
		{"2026-10-25", map[string]string{
			"2026-10-24T22:00:00Z": "22:00:00", // 00:00
			"2026-10-24T23:59:59Z": "23:59:59", // 01:59:59
			"2026-10-25T00:30:00Z": "00:30:00", // 02:30
			"2026-10-25T01:30:00Z": "00:30:00", // 02:30 again
			"2026-10-25T02:00:00Z": "02:00:00", // 03:00
			"2026-10-25T22:59:59Z": "22:59:59", // 23:59:59
			"2026-10-24T21:59:59Z": "",
			"2026-10-25T23:00:00Z": "",
		}},
	}
	for _, tt := range tests {
		w := newWorld(t, func(o *mixpanelserver.Options) { o.Zone = zone })
		w.zone, w.from, w.clock.at = zone, "2026-03-01", time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
		rows := 0
		for instant, want := range tt.want {
			at, err := time.Parse(time.RFC3339, instant)
			if err != nil {
				t.Fatal(err)
			}
			if want != "" {
				rows++
			}
			w.server.Add(mixpanelserver.Event{Name: "Item", Time: at.UnixMilli(), DistinctID: "u", Properties: fmt.Sprintf(`"$insert_id":%q`, instant)})
		}
		w.open()
		kept := &times{at: map[string]string{}}
		local := schema.Times{Zone: zone, Local: true}
		store := func(ctx context.Context, _ *Download, p ingest.Source) error {
			return ingest.Run(ctx, ingest.Options{
				Source: p, Records: ingest.Pulled, Times: local, Appender: kept, Rejects: kept, Now: w.clock.now, Counters: &ingest.Counters{},
			})
		}
		d := day(t, tt.date)
		if err := w.source.PullDays(t.Context(), d, d, nil, store); err != nil {
			t.Fatal(err)
		}
		for instant, want := range tt.want {
			if got := kept.at[instant]; got != want {
				t.Errorf("%s of the day %s has the time %q, want %q", instant, tt.date, got, want)
			}
		}
		counts, err := w.source.Check(t.Context(), d, d, local)
		if err != nil || counts[0].Events != int64(rows) {
			t.Errorf("%s has %v (%v), want %d", tt.date, counts, err, rows)
		}
	}
}

// Clocks that differ: a machine that runs ahead asks for a day that has not begun for
// the server, and one that was set back loses nothing.
func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	var ahead time.Duration
	w := newWorld(t, func(o *mixpanelserver.Options) {
		now := o.Now
		o.Export = mixpanelserver.Limits{} // it counts by another clock than the budget
		o.Now = func() time.Time { return now().Add(-ahead) }
	})
	w.add([]int{8, 9, 10, 11}, 10)
	w.pullAll()
	// Ahead by 13 hours at 15:00: today is the 11th here.
	w.clock.move(3 * time.Hour)
	ahead = 16 * time.Hour
	w.clock.move(13 * time.Hour)
	refused := 0
	for range 20 {
		q, at, ok := w.source.Next()
		if !ok || at.After(w.clock.now()) {
			break
		}
		if err := w.carryOut(q); err != nil {
			refused++
			if KindOf(err) != BadRequest || !NeedsPerson(err) || !strings.Contains(err.Error(), "clock of this machine") {
				t.Errorf("%s: %v", q, err)
			}
		}
	}
	if refused == 0 {
		t.Error("no query was refused")
	}
	// The clock is set right, and later back by two days: every day is there.
	ahead = 0
	w.clock.move(24 * time.Hour)
	w.pullAll()
	lines := len(w.kept.lines)
	w.clock.move(-48 * time.Hour)
	w.pullAll()
	w.clock.move(72 * time.Hour)
	w.pullAll()
	if s := w.source.Status(); lines != 40 || len(w.kept.lines) != 40 || s.Forecast.Days != 0 || w.source.Failing() {
		t.Errorf("%d and then %d lines; %+v", lines, len(w.kept.lines), s)
	}
}
