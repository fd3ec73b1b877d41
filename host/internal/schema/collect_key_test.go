package schema

import (
	"fmt"
	"testing"
	"time"
)

// An event that is sent again has the key that it had, whenever it arrives and
// whatever became of its time and its id. Each case is sent by a collector of
// its own, as after a restart.
func TestKeysOfEventsThatAreSentAgain(t *testing.T) {
	ahead := now.Unix() + 7200
	event := func(properties string) string {
		return `{"event":"e","properties":{"$insert_id":"i","distinct_id":"X",` + properties + `"a":1}}`
	}
	dated := func(seconds int64) string { return event(fmt.Sprintf(`"time":%d,`, seconds)) }
	alias := func(id []byte) (string, bool) { return "D", string(id) == "X" }
	for _, test := range []struct {
		name          string
		first, second string
		later         time.Duration // between the two arrivals
		identity      Identity
		alias         func([]byte) (string, bool) // of the second arrival
		same          bool
	}{
		{"a time that was sent", dated(now.Unix()), dated(now.Unix()), time.Minute, Simplified, nil, true},
		{"seconds, then milliseconds", dated(now.Unix()), event(fmt.Sprintf(`"time":%d123,`, now.Unix())), time.Minute, Simplified, nil, true},
		{"a fraction", dated(now.Unix()), event(fmt.Sprintf(`"time":%d.75,`, now.Unix())), time.Minute, Simplified, nil, true},
		{"a time in quotes", dated(now.Unix()), event(fmt.Sprintf(`"time":"%d",`, now.Unix())), time.Minute, Simplified, nil, true},
		{"another time", dated(now.Unix()), dated(now.Unix() + 1), time.Minute, Simplified, nil, false},
		{"ahead, both replaced", dated(ahead), dated(ahead), time.Minute, Simplified, nil, true},
		{"ahead in milliseconds", dated(ahead), event(fmt.Sprintf(`"time":%d456,`, ahead)), time.Minute, Simplified, nil, true},
		{"ahead, then taken as it is", dated(ahead), dated(ahead), 2 * time.Hour, Simplified, nil, true},
		{"ahead, two events", dated(ahead), dated(ahead + 1), time.Minute, Simplified, nil, false},
		{"ahead, and one at the time of the arrival", dated(ahead), dated(now.Unix()), 0, Simplified, nil, false},
		{"beyond any time", event(`"time":1e300,`), event(`"time":1e300,`), time.Minute, Simplified, nil, true},
		{"no time", event(""), event(""), time.Minute, Simplified, nil, true},
		{"null for a time", event(`"time":null,`), event(""), 30 * time.Hour, Simplified, nil, true},
		{"no time, and one at the time of the arrival", event(""), dated(now.Unix()), 0, Simplified, nil, false},
		{"an alias in between", dated(now.Unix()), dated(now.Unix()), time.Minute, Legacy, alias, true},
		{"an alias in between, and no time", event(""), event(""), time.Minute, Legacy, alias, true},
		{"an event of the alias's own id", event(`"time":1780000000,"distinct_id":"D",`), event(`"time":1780000000,`), 0, Legacy, alias, false},
		{"no insert id", `{"event":"e","properties":{}}`, `{"event":"e","properties":{}}`, 0, Simplified, nil, false},
		{"an id next to the properties",
			`{"event":"e","properties":{},"$mp_metadata":{"$mp_event_id":"0123456789"}}`,
			`{"event":"e","properties":{},"$mp_metadata":{"$mp_event_id":"0123456789"}}`, time.Minute, Simplified, nil, true},
		{"an insert id that is replaced", event(`"$insert_id":"not allowed!",`), event(`"$insert_id":"not allowed!",`), time.Minute, Simplified, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := arrival()
			a.Identity = test.identity
			_, one, err := first(t, NewCollector([32]byte{1}), test.first, a)
			if err != nil {
				t.Fatal(err)
			}
			a.Received, a.Alias = a.Received.Add(test.later), test.alias
			_, two, err := first(t, NewCollector([32]byte{2}), test.second, a)
			if err != nil {
				t.Fatal(err)
			}
			if (one.Key == two.Key) != test.same {
				t.Errorf("the same key: %v, want %v", one.Key == two.Key, test.same)
			}
			if !test.same || one.Undated && two.Undated {
				return
			}
			if one.Undated || two.Undated || one.KeyTime/86400 != two.KeyTime/86400 {
				t.Errorf("the keys are looked for on different dates: %+v, %+v", one, two)
			}
		})
	}
}
