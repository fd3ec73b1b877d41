package journal

import "time"

// zone computes dates in a time zone. It remembers the span between two
// changes of the clock that it was asked about last; not for concurrent use.
type zone struct {
	location   *time.Location
	from, to   int64 // the span, unix seconds
	offset     int64 // in it, seconds east of UTC
	everything bool  // the offset never changes
}

func newZone(location *time.Location) *zone {
	z := &zone{location: location, from: 1, to: 0}
	return z
}

// day is the date at an instant in unix seconds.
func (z *zone) day(seconds int64) Day {
	if !z.everything && (seconds < z.from || seconds >= z.to) {
		z.find(seconds)
	}
	return DayOf(seconds + z.offset)
}

// span returns the seconds around an instant, until before, in which its UTC date and
// its date in the zone are the same.
func (z *zone) span(seconds int64) (utc, day Day, from, until int64) {
	utc, day = DayOf(seconds), z.day(seconds)
	from, until = int64(utc)*86400, int64(utc+1)*86400
	from, until = max(from, int64(day)*86400-z.offset), min(until, int64(day+1)*86400-z.offset)
	if !z.everything {
		from, until = max(from, z.from), min(until, z.to)
	}
	return utc, day, from, until
}

func (z *zone) find(seconds int64) {
	t := time.Unix(seconds, 0).In(z.location)
	_, offset := t.Zone()
	z.offset = int64(offset)
	start, end := t.ZoneBounds()
	z.from, z.to = -1<<62, 1<<62
	if !start.IsZero() {
		z.from = start.Unix()
	}
	if !end.IsZero() {
		z.to = end.Unix()
	}
	z.everything = start.IsZero() && end.IsZero()
}
