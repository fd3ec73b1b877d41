package schema

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestWallClocks(t *testing.T) {
	zone := berlin(t)
	for wall, want := range map[string]string{
		"2026-01-15T12:00:00Z": "2026-01-15T11:00:00Z",
		"2026-07-15T12:00:00Z": "2026-07-15T10:00:00Z",
		// Clocks are set forward from 02:00 to 03:00.
		"2026-03-29T01:59:59Z": "2026-03-29T00:59:59Z",
		"2026-03-29T02:30:00Z": "2026-03-29T01:30:00Z",
		"2026-03-29T03:00:00Z": "2026-03-29T01:00:00Z",
		// Clocks are set back from 03:00 to 02:00.
		"2026-10-25T01:59:59Z": "2026-10-24T23:59:59Z",
		"2026-10-25T02:00:00Z": "2026-10-25T00:00:00Z",
		"2026-10-25T02:59:59Z": "2026-10-25T00:59:59Z",
		"2026-10-25T03:00:00Z": "2026-10-25T02:00:00Z",
	} {
		at, err := time.Parse(time.RFC3339, wall)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Unix(instant(at.Unix(), zone), 0).UTC().Format(time.RFC3339); got != want {
			t.Errorf("%s is %s, want %s", wall, got, want)
		}
	}
}

func TestTimesOfOldProjects(t *testing.T) {
	const utc = 1780315200 // 12:00 UTC in summer, two hours behind Berlin
	record := func(seconds int) []byte {
		return fmt.Appendf(nil, `{"event":"e","properties":{"time":%d,"$mp_api_timestamp_ms":%d123,"$insert_id":"i"}}`, seconds, utc+5)
	}
	for _, test := range []struct {
		local   bool
		seconds int
		row     int
		clock   Clock
	}{
		{false, utc, utc, ClockUTC},
		{false, utc + 7200, utc + 7200, ClockLocal},
		{true, utc + 7200, utc, ClockLocal},
		{true, utc, utc - 7200, ClockUTC},
		{true, utc + 3600, utc - 3600, 0},
	} {
		p := NewZoneParser(func() time.Time { return time.Unix(utc+86400, 0) }, Times{Zone: berlin(t), Local: test.local})
		row, e, err := p.AppendEvent(nil, record(test.seconds))
		if err != nil || e.Time != int64(test.row) || e.Clock != test.clock || !strings.Contains(string(row), fmt.Sprintf(`,"time":%d,`, test.row)) ||
			!strings.Contains(string(row), fmt.Sprintf(`"properties":{"time":%d,`, test.seconds)) {
			t.Errorf("%+v: got %+v, %v in %s", test, e, err, row)
		}
	}
}
