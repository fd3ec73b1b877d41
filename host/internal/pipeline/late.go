package pipeline

import (
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// LateAfter is how long after the end of its export window a row still is in time.
const LateAfter = 2 * time.Hour

// Windows tells the export windows of a time zone. The window of a row is the day of the
// row's time in the zone of its project. A row is late if it was sealed in the journal
// more than LateAfter after the end of its window.
//
// In Berlin the window of 1 June ends on 2 June at 00:00. A row of 1 June that is sealed
// at 02:00 is in time, and a second later it is late. Windows remembers the days that it
// was asked for, and is not for concurrent use.
type Windows struct {
	days  Schedule // whose slots are the beginnings of local days
	limit map[journal.Day]time.Time
}

func newWindows(zone *time.Location) *Windows {
	return &Windows{days: Schedule{Cadence: Daily, Zone: zone}, limit: map[journal.Day]time.Time{}}
}

// Limit returns the last time at which a row of a local date is in time.
func (w *Windows) Limit(day journal.Day) time.Time {
	limit, ok := w.limit[day]
	if !ok {
		year, month, date := time.Unix(int64(day+1)*24*60*60, 0).UTC().Date()
		limit = w.days.slotOf(year, month, date).Add(LateAfter)
		w.limit[day] = limit
	}
	return limit
}

func (w *Windows) late(e *Extent) bool { return e.SealedAt.After(w.Limit(e.ZoneDate)) }

// Late reports for extents whether the pipeline leaves them out, or has left them out
// while it was configured so.
func (p *Pipeline) Late() func(*Extent) bool {
	if !p.LeaveLate && p.Cursor.LeftOut.Rows == 0 {
		return func(*Extent) bool { return false }
	}
	windows := newWindows(p.Schedule.Zone)
	return func(e *Extent) bool {
		return (e.Ref.Seq > p.Cursor.Cut || len(p.Cursor.Earlier) > 0) && windows.late(e)
	}
}

// Over reports whether the pipeline has ended at a time: the window of its last date,
// with the time for late rows, has passed.
func (p *Pipeline) Over(now time.Time) bool {
	return p.To != Forever && now.After(newWindows(p.Schedule.Zone).Limit(p.To))
}
