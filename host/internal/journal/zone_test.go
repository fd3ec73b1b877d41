package journal

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// In every time zone, the date is that of the local clock: around each change of
// the clock since 1970, at each midnight near it, and at random instants in random
// order.
func TestDatesOfEveryZone(t *testing.T) {
	t.Parallel()
	names, err := os.ReadFile("../config/zones.txt")
	if err != nil {
		t.Fatal(err)
	}
	changes := 0
	for _, name := range strings.Fields(string(names)) {
		location, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, uint64(len(name))))
		var instants []int64
		last := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
		for at := time.Unix(0, 0).In(location); at.Before(last); {
			_, next := at.ZoneBounds()
			if next.IsZero() {
				break
			}
			changes++
			instants = append(instants, next.Unix()-1, next.Unix(), next.Unix()+1)
			for day := -1; day <= 2; day++ {
				local := next.In(location)
				midnight := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, location).Unix()
				instants = append(instants, midnight-1, midnight, midnight+1)
			}
			at = next
		}
		for range 200 {
			instants = append(instants, r.Int64N(last.Unix()))
		}
		r.Shuffle(len(instants), func(i, j int) { instants[i], instants[j] = instants[j], instants[i] })
		z := newZone(location)
		for _, at := range instants {
			if got, want := z.day(at).String(), time.Unix(at, 0).In(location).Format(time.DateOnly); got != want {
				t.Errorf("%s: %d is in %s, want %s", name, at, got, want)
			}
		}
	}
	if changes < 10_000 {
		t.Errorf("only %d changes of the clock were seen", changes)
	}
}
