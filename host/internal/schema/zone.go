package schema

import "time"

// Times describes the meaning of the times of exported events.
type Times struct {
	// Zone is the project's time zone; nil: UTC.
	Zone *time.Location
	// Local says that a time is the wall clock of Zone, written as if it was UTC:
	// Mixpanel exports it so for projects that were created before 2023.
	Local bool
}

// Clock says which of two meanings of an event's time is near to when Mixpanel
// received the event.
type Clock uint8

// The meanings; zero is neither, or both.
const (
	ClockUTC Clock = iota + 1
	ClockLocal
)

// nearArrival is how far a time may be from the arrival of its event, in
// seconds. Offsets of time zones are larger.
const nearArrival = 10 * 60

// compare compares a time with the arrival of its event.
func (t Times) compare(seconds, arrived int64) Clock {
	local := instant(seconds, t.Zone)
	utcNear, localNear := near(seconds, arrived), near(local, arrived)
	switch {
	case utcNear == localNear:
		return 0
	case utcNear:
		return ClockUTC
	}
	return ClockLocal
}

func near(a, b int64) bool { return a-b < nearArrival && b-a < nearArrival }

// instant returns the unix time of a wall clock, given as the unix time that it
// would have in UTC. A wall clock that is there twice, when clocks are set back,
// is the first of the two instants; one that is missing, when they are set
// forward, is counted with the offset before: 02:30 becomes 03:30.
//
//	Europe/Berlin 2026-10-25 02:30   00:30Z (and not 01:30Z)
//	Europe/Berlin 2026-03-29 02:30   01:30Z, which is 03:30 there
func instant(wall int64, zone *time.Location) int64 {
	const day = 86400
	before, after := offset(wall-day, zone), offset(wall+day, zone)
	first, second := wall-before, wall-after
	if before == after || offset(first, zone) == before || offset(second, zone) != after {
		return first
	}
	return second
}

// offset returns a zone's offset from UTC in seconds at an instant.
func offset(at int64, zone *time.Location) int64 {
	_, seconds := time.Unix(at, 0).In(zone).Zone()
	return int64(seconds)
}
