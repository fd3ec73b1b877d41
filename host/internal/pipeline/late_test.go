package pipeline

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
)

func parseDay(t *testing.T, text string) journal.Day {
	t.Helper()
	d, err := journal.ParseDay(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLimitsOfWindows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ zone, day, limit string }{
		{"UTC", "2026-06-01", "2026-06-02T02:00:00Z"},
		{"Europe/Berlin", "2026-06-01", "2026-06-02T02:00:00+02:00"},
		{"Europe/Berlin", "2026-10-24", "2026-10-25T02:00:00+02:00"}, // before the hour comes again
		{"Europe/Berlin", "2026-03-28", "2026-03-29T03:00:00+02:00"}, // two hours after midnight
		{"Asia/Tokyo", "2028-02-29", "2028-03-01T02:00:00+09:00"},
		{"America/Asuncion", "2023-09-30", "2023-10-01T03:00:00-03:00"}, // whose midnight does not exist
	} {
		if got := newWindows(zone(t, tt.zone)).Limit(parseDay(t, tt.day)); !got.Equal(instant(t, tt.limit)) {
			t.Errorf("%s in %s: %s, want %s", tt.day, tt.zone, got, tt.limit)
		}
	}
}

// A pipeline that leaves late rows out counts each of them once, and exports all others;
// rows from before its registration are never late.
func TestLateRowsAreLeftOutAndCounted(t *testing.T) {
	t.Parallel()
	today := parseDay(t, "2026-06-10")
	sealed := func(text string, day journal.Day, rows int64) Extent {
		e := extent(day, rows)
		e.SealedAt = instant(t, text)
		return e
	}
	for _, leave := range []bool{false, true} {
		var s segments
		s.seal(sealed("2026-06-10T01:00:00Z", today-30, 1)) // before the registration
		p := newPipeline(1, Oldest)
		p.To, p.LeaveLate = Forever, leave
		s.seal(sealed("2026-06-10T12:00:00Z", today, 10), sealed("2026-06-10T12:00:00Z", today-2, 100))
		s.seal(sealed("2026-06-11T02:00:00Z", today, 1000))
		s.seal(sealed("2026-06-11T02:00:00.001Z", today, 10000), sealed("2026-06-11T02:00:00.001Z", today+1, 100000))
		s.seal(sealed("2026-07-01T00:00:00Z", today, 1000000)) // nothing in time follows
		var rows int64
		for _, run := range drain(t, p, Limits{Bytes: 1 << 40, Extents: 2}, s) {
			rows += Sum(run).Rows
		}
		want, left := int64(1111111), int64(0)
		if leave {
			want, left = 101011, 1010100
		}
		if rows != want || p.Cursor.LeftOut != (LeftOut{Rows: left, Bytes: left}) {
			t.Errorf("leave late rows out: %v: exported %d, left out %+v", leave, rows, p.Cursor.LeftOut)
		}
		for _, extents := range s {
			for i := range extents {
				rows := extents[i].Rows
				wanted := leave && (rows == 100 || rows == 10000 || rows == 1000000)
				if is := p.Late()(&extents[i]); is != wanted {
					t.Errorf("leave late rows out: %v: %d rows are late: %v", leave, extents[i].Rows, is)
				}
			}
		}
	}
}

func TestOver(t *testing.T) {
	t.Parallel()
	p := newPipeline(0, Oldest)
	p.To = parseDay(t, "2026-06-30")
	for at, want := range map[string]bool{"2026-07-01T02:00:00Z": false, "2026-07-01T02:00:01Z": true} {
		if got := p.Over(instant(t, at)); got != want {
			t.Errorf("at %s: %v", at, got)
		}
	}
	if p.To = Forever; p.Over(time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Error("a pipeline without an end has ended")
	}
}

// Days are done when all their rows are exported, in both orders.
func TestProgressOfABackfill(t *testing.T) {
	t.Parallel()
	for _, order := range []Order{Oldest, Newest} {
		var s segments
		s.seal(extent(1, 10), extent(2, 10), extent(3, 10), extent(2000, 7)) // the last is out of range
		s.seal(extent(1, 10), extent(3, 10))
		p := newPipeline(2, order)
		s.seal(extent(1, 10)) // after the registration
		want := []Progress{
			{Days: 3, Rows: 50, Bytes: 50},
			{Days: 3, Rows: 50, Bytes: 50, DaysDone: 2, RowsDone: 30, BytesDone: 30},
			{Days: 3, Rows: 50, Bytes: 50, DaysDone: 3, RowsDone: 50, BytesDone: 50},
		}
		for i := range want {
			got, err := Backfilled(t.Context(), p, s.visit)
			if err != nil || got != want[i] {
				t.Errorf("%s, after %d runs: %+v, %v, want %+v", order, i, got, err, want[i])
			}
			if _, p.Cursor, err = Next(t.Context(), p, Limits{Bytes: 30}, 2, s.visit); err != nil {
				t.Fatal(err)
			}
		}
	}
}
