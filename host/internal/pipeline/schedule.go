package pipeline

import "time"

// Cadence is how often a pipeline looks for rows to export.
type Cadence string

// The cadences.
const (
	Daily      Cadence = "daily"
	Hourly     Cadence = "hourly"
	Continuous Cadence = "continuous"
)

// The times of a schedule that says nothing else.
const (
	DailyAt         = 30 * time.Minute // after midnight: 00:30
	HourlyAt        = 30 * time.Minute // after the full hour
	ContinuousPause = time.Minute      // between the beginnings of two iterations
)

// Schedule says when the iterations of a pipeline are due. An iteration exports the
// rows that were journaled since the one before, in as many runs as they take.
//
// The slots of a daily schedule are a time of day, those of an hourly one a minute, on
// the clock of the project's time zone. Each local day has one daily slot: if the clock
// is set forward past it, the slot is the instant of the change; if the clock shows it
// twice, the slot is the first time. An hourly schedule has a slot in every hour that
// passes, also in one whose wall clock is repeated.
//
//	at 02:30, Europe/Berlin:  29 March 2026 has no 02:30      slot at 03:00 summer time
//	                          25 October 2026 has it twice    slot at 02:30 summer time
type Schedule struct {
	Cadence Cadence
	At      time.Duration // after local midnight (daily), or after the local full hour (hourly)
	// MinInterval is the least time from the beginning of an iteration to the next one;
	// 0: none, and for Continuous ContinuousPause.
	MinInterval time.Duration
	Zone        *time.Location // nil: UTC
}

// Period returns the usual time between two iterations.
func (s Schedule) Period() time.Duration {
	switch s.Cadence {
	case Hourly:
		return max(time.Hour, s.MinInterval)
	case Continuous:
		return s.pause()
	default:
		return max(24*time.Hour, s.MinInterval)
	}
}

func (s Schedule) pause() time.Duration {
	if s.MinInterval > 0 {
		return s.MinInterval
	}
	return ContinuousPause
}

// Next returns the time of the first iteration that is due after one that began at
// last.
func (s Schedule) Next(last time.Time) time.Time {
	switch s.Cadence {
	case Continuous:
		return last.Add(s.pause()).UTC()
	case Hourly:
		return s.nextHour(s.after(last)).UTC()
	default:
		return s.nextDay(s.after(last)).UTC()
	}
}

// after returns the time after which the slot of the next iteration lies.
func (s Schedule) after(last time.Time) time.Time {
	if s.MinInterval > 0 {
		last = last.Add(s.MinInterval - 1)
	}
	return last.In(s.zone())
}

// DueAt returns when the next iteration is due, at now: a time that has passed means at
// once. last is when the latest iteration began, and zero if there was none. Slots that
// have passed since last are one iteration. A last that is half a period or more in the
// future was told by a clock that was wrong: DueAt then returns now.
func (s Schedule) DueAt(last, now time.Time) time.Time {
	if last.IsZero() || last.Sub(now) >= s.Period()/2 {
		return now.UTC()
	}
	return s.Next(last)
}

func (s Schedule) zone() *time.Location {
	if s.Zone == nil {
		return time.UTC
	}
	return s.Zone
}

// nextDay returns the first daily slot after t.
func (s Schedule) nextDay(t time.Time) time.Time {
	year, month, day := t.Date()
	for n := -1; ; n++ {
		if slot := s.slotOf(year, month, day+n); slot.After(t) {
			return slot
		}
	}
}

// slotOf returns the daily slot of a local date.
func (s Schedule) slotOf(year int, month time.Month, day int) time.Time {
	wall := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Add(s.At) // as if the zone were UTC
	// The offsets of the zone well before and well after the wall clock's time are
	// those that it may be told with: a zone changes its offset some times a year.
	const aside = 26 * time.Hour
	before := atOffset(wall, wall.Add(-aside).In(s.zone()))
	after := atOffset(wall, wall.Add(aside).In(s.zone()))
	for _, t := range []time.Time{before, after} {
		if _, offset := t.Zone(); t.UTC().Add(time.Duration(offset) * time.Second).Equal(wall) {
			return t
		}
	}
	change, _ := before.ZoneBounds() // the clock is set forward past the time
	return change
}

// atOffset returns the instant at which a clock with the offset of t shows wall, which
// is written in UTC.
func atOffset(wall, t time.Time) time.Time {
	_, offset := t.Zone()
	return wall.Add(-time.Duration(offset) * time.Second).In(t.Location())
}

// nextHour returns the first hourly slot after t.
func (s Schedule) nextHour(t time.Time) time.Time {
	t = t.Add(1)
	slot := s.minuteFrom(t)
	if _, change := t.ZoneBounds(); !change.IsZero() && !slot.Before(change) {
		// In a zone that changes by less than an hour the minutes change, too.
		return s.minuteFrom(change.In(s.zone()))
	}
	return slot
}

// minuteFrom returns the first time from t on at which a clock with the offset of t
// shows the minute of an hourly schedule.
func (s Schedule) minuteFrom(t time.Time) time.Time {
	_, offset := t.Zone()
	// Full hours of the wall clock are those of a zone whose offset is less than one.
	aside := time.Duration(offset)*time.Second%time.Hour - s.At
	slot := t.Add(aside).Truncate(time.Hour).Add(-aside)
	if slot.Before(t) {
		slot = slot.Add(time.Hour)
	}
	return slot
}
