package pipeline

import (
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata" // the tests know their zones on any machine
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// instant reads a time that is written with its offset.
func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Each case lists the slots that follow each other.
func TestSlots(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		schedule Schedule
		zone     string
		slots    []string // the first is the time to begin from
	}{
		"daily": {
			Schedule{Cadence: Daily, At: DailyAt}, "UTC",
			[]string{"2026-06-01T00:29:59Z", "2026-06-01T00:30:00Z", "2026-06-02T00:30:00Z"},
		},
		"daily in the project's zone": {
			Schedule{Cadence: Daily, At: DailyAt}, "America/New_York",
			[]string{"2026-06-01T00:30:00Z", "2026-06-01T00:30:00-04:00", "2026-06-02T00:30:00-04:00"},
		},
		"leap day": {
			Schedule{Cadence: Daily, At: DailyAt}, "UTC",
			[]string{"2028-02-28T12:00:00Z", "2028-02-29T00:30:00Z", "2028-03-01T00:30:00Z"},
		},
		"no leap day": {
			Schedule{Cadence: Daily, At: DailyAt}, "UTC",
			[]string{"2027-02-28T12:00:00Z", "2027-03-01T00:30:00Z"},
		},
		"end of the year": {
			Schedule{Cadence: Daily, At: 23*time.Hour + 59*time.Minute}, "Asia/Tokyo",
			[]string{"2026-12-30T23:59:00+09:00", "2026-12-31T23:59:00+09:00", "2027-01-01T23:59:00+09:00"},
		},
		"a missing hour": {
			Schedule{Cadence: Daily, At: 2*time.Hour + 30*time.Minute}, "Europe/Berlin",
			[]string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		},
		"a double hour": {
			Schedule{Cadence: Daily, At: 2*time.Hour + 30*time.Minute}, "Europe/Berlin",
			[]string{"2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		},
		"a missing midnight": {
			Schedule{Cadence: Daily, At: DailyAt}, "America/Asuncion",
			[]string{"2023-09-30T00:30:00-04:00", "2023-10-01T01:00:00-03:00", "2023-10-02T00:30:00-03:00"},
		},
		"a day that does not exist": { // Samoa went from the 29th to the 31st
			Schedule{Cadence: Daily, At: DailyAt}, "Pacific/Apia",
			[]string{"2011-12-29T00:30:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T00:30:00+14:00", "2012-01-01T00:30:00+14:00"},
		},
		"hourly": {
			Schedule{Cadence: Hourly, At: HourlyAt}, "UTC",
			[]string{"2026-06-01T00:30:00Z", "2026-06-01T01:30:00Z", "2026-06-01T02:30:00Z"},
		},
		"hourly, in a zone of half an hour": {
			Schedule{Cadence: Hourly, At: HourlyAt}, "Asia/Kolkata",
			[]string{"2026-06-01T00:29:00Z", "2026-06-01T01:00:00Z", "2026-06-01T02:00:00Z"},
		},
		"hourly, at another minute": {
			Schedule{Cadence: Hourly, At: 0}, "America/St_Johns",
			[]string{"2026-06-01T00:00:00Z", "2026-06-01T00:30:00Z", "2026-06-01T01:30:00Z"},
		},
		"hourly, over a missing hour": {
			Schedule{Cadence: Hourly, At: HourlyAt}, "Europe/Berlin",
			[]string{"2026-03-29T01:00:00+01:00", "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"},
		},
		"hourly, over a double hour": {
			Schedule{Cadence: Hourly, At: HourlyAt}, "Europe/Berlin",
			[]string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"},
		},
		"hourly, over a change of half an hour": {
			Schedule{Cadence: Hourly, At: HourlyAt}, "Australia/Lord_Howe",
			[]string{"2026-04-05T01:00:00+11:00", "2026-04-05T01:30:00+11:00", "2026-04-05T01:30:00+10:30", "2026-04-05T02:30:00+10:30"},
		},
		"hourly, at most every three hours": {
			Schedule{Cadence: Hourly, At: HourlyAt, MinInterval: 3 * time.Hour}, "UTC",
			[]string{"2026-06-01T00:10:00Z", "2026-06-01T03:30:00Z", "2026-06-01T06:30:00Z"},
		},
		"continuous": {
			Schedule{Cadence: Continuous}, "UTC",
			[]string{"2026-06-01T00:00:07Z", "2026-06-01T00:01:07Z", "2026-06-01T00:02:07Z"},
		},
		"continuous, every five minutes": {
			Schedule{Cadence: Continuous, MinInterval: 5 * time.Minute}, "Europe/Berlin",
			[]string{"2026-10-25T02:58:00+02:00", "2026-10-25T02:03:00+01:00"},
		},
	} {
		s := tt.schedule
		s.Zone = zone(t, tt.zone)
		at := instant(t, tt.slots[0])
		for i, text := range tt.slots[1:] {
			next := s.Next(at)
			if want := instant(t, text); !next.Equal(want) {
				t.Errorf("%s: after %s slot %d is %s, want %s", name, at.In(s.Zone), i, next.In(s.Zone), want.In(s.Zone))
			}
			at = next
		}
	}
}

// Over two years of each zone there is one daily slot in each local day, at the time of
// day or where the clock passed it, and an hourly slot in each hour.
func TestSlotsOfAllDays(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Chatham"} {
		z := zone(t, name)
		for _, clock := range []time.Duration{0, 30 * time.Minute, 2 * time.Hour, 2*time.Hour + 30*time.Minute, 23*time.Hour + 59*time.Minute} {
			s := Schedule{Cadence: Daily, At: clock, Zone: z}
			at := time.Date(2026, 1, 1, 23, 59, 30, 0, z)
			for day := range 730 {
				next := s.Next(at)
				y, m, d := time.Date(2026, 1, 2+day, 12, 0, 0, 0, z).Date()
				if ny, nm, nd := next.In(z).Date(); ny != y || nm != m || nd != d {
					t.Fatalf("%s at %s: slot %d is %s", name, clock, day, next.In(z))
				}
				h, mi, _ := next.In(z).Clock()
				if shown := time.Duration(h)*time.Hour + time.Duration(mi)*time.Minute; shown != clock {
					if start, _ := next.In(z).ZoneBounds(); !start.Equal(next) {
						t.Fatalf("%s at %s: slot %s", name, clock, next.In(z))
					}
				}
				at = next
			}
		}
		s := Schedule{Cadence: Hourly, At: HourlyAt, Zone: z}
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, z)
		for range 2 * 365 * 24 {
			next := s.Next(at)
			if gap := next.Sub(at); gap <= 0 || gap > time.Hour+30*time.Minute || next.In(z).Minute() != 30 {
				t.Fatalf("%s: after %s comes %s", name, at.In(z), next.In(z))
			}
			at = next
		}
	}
}

// Slots do not depend on where between two of them the search begins.
func TestNextIsTheFirstSlot(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"Europe/Berlin", "Australia/Lord_Howe", "America/Asuncion"} {
		for _, s := range []Schedule{{Cadence: Daily, At: 2*time.Hour + 30*time.Minute}, {Cadence: Hourly, At: HourlyAt}} {
			s.Zone = zone(t, name)
			at := time.Date(2023, 1, 1, 0, 0, 0, 0, s.Zone)
			for range 3000 {
				next := s.Next(at)
				between := at.Add(time.Duration(random.Int64N(int64(next.Sub(at)))))
				if got := s.Next(between); !got.Equal(next) {
					t.Fatalf("%s: after %s comes %s, and after %s %s", name, at, next, between, got)
				}
				at = next
			}
		}
	}
}

func TestDueAt(t *testing.T) {
	t.Parallel()
	daily := Schedule{Cadence: Daily, At: DailyAt}
	hourly := Schedule{Cadence: Hourly, At: HourlyAt}
	const now = "2026-06-10T12:00:00Z"
	for name, tt := range map[string]struct {
		schedule Schedule
		last     string
		want     string
	}{
		"never":                          {daily, "", now},
		"today":                          {daily, "2026-06-10T00:30:00Z", "2026-06-11T00:30:00Z"},
		"by hand after the slot":         {daily, "2026-06-10T11:59:00Z", "2026-06-11T00:30:00Z"},
		"a host that was down ten days":  {daily, "2026-05-31T00:30:00Z", "2026-06-01T00:30:00Z"},
		"after an iteration of 10 hours": {hourly, "2026-06-10T02:30:00Z", "2026-06-10T03:30:00Z"},
		"the clock was set back a bit":   {daily, "2026-06-10T12:05:00Z", "2026-06-11T00:30:00Z"},
		"the clock was a day fast":       {daily, "2026-06-11T12:00:00Z", now},
		"the clock was years fast":       {daily, "2030-06-11T12:00:00Z", now},
		"the clock was an hour fast":     {hourly, "2026-06-10T13:00:00Z", now},
	} {
		last := time.Time{}
		if tt.last != "" {
			last = instant(t, tt.last)
		}
		if got := tt.schedule.DueAt(last, instant(t, now)); !got.Equal(instant(t, tt.want)) {
			t.Errorf("%s: due at %s, want %s", name, got, tt.want)
		}
	}
}
