package schema

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// taken is all that a Collector says of a body: rows and members of each record, and why a
// record or the body is refused.
type taken struct {
	rows []string
	err  error
}

// take takes a body as events of an identity. Without usual nothing is predicted.
func take(t testing.TB, c *Collector, body []byte, identity Identity, usual bool) (got taken, predicted int) {
	a := arrival()
	a.Identity = identity
	asked := slices.Sorted(maps.Keys(readNames))
	asked = append(asked, "event", "x", "properties", "time2", "é")
	if identity != Simplified {
		a.Alias = func(id []byte) (string, bool) { return "alias of " + string(id), len(id)%2 == 0 }
	}
	c.Begin(body, false)
	for {
		if c.predictor.pausing = 0; !usual {
			c.predictor.pausing = 1
		}
		if !c.Next() {
			break
		}
		if c.sparse {
			predicted++
		}
		row, e, err := c.AppendEvent(nil, a)
		if err == nil && !e.Ignored {
			if marks := c.AppendMarks(nil, 9); len(marks) > c.MostMarks() {
				t.Fatalf("%d marks, at most %d", len(marks), c.MostMarks())
			} else {
				checkMarks(t, row, marks, 9)
			}
		}
		e.Device, e.User = bytes.Clone(e.Device), bytes.Clone(e.User)
		text := fmt.Sprintf("%s %+v %v %s %v", row, e, err, c.Record(), c.Repaired())
		if r, ok := err.(*Refused); ok {
			text += fmt.Sprintf(" %+v", *r)
		}
		for _, name := range asked {
			text += fmt.Sprintf(" %s", c.Property(name))
		}
		got.rows = append(got.rows, text+fmt.Sprintf(" %s", c.Member("$mp_metadata")))
	}
	got.err = c.Err()
	return got, predicted
}

// compareCollected takes a body with and without prediction, and returns how many of its
// records were predicted.
func compareCollected(t testing.TB, c *Collector, body []byte, identity Identity) int {
	t.Helper()
	judge := collector()
	*c.random, *judge.random = *rand.NewChaCha8([32]byte{1}), *rand.NewChaCha8([32]byte{1})
	got, predicted := take(t, c, bytes.Clone(body), identity, true)
	want, _ := take(t, judge, bytes.Clone(body), identity, false)
	if !reflect.DeepEqual(got, want) {
		for i := range min(len(got.rows), len(want.rows)) {
			if got.rows[i] != want.rows[i] {
				t.Fatalf("of %q, predicted:\n%s\nscanned:\n%s", body, got.rows[i], want.rows[i])
			}
		}
		t.Fatalf("of %q, predicted:\n%s, %v\nscanned:\n%s, %v", body, got.rows, got.err, want.rows, want.err)
	}
	return predicted
}

// FuzzCollectorPredicts holds a collector that predicts against one that does not, over
// bodies that it sees twice.
func FuzzCollectorPredicts(f *testing.F) {
	f.Add(uint8(0), sample())
	for _, seed := range []string{
		`[{"event":"e","properties":{"token":"t"}},{"event":"e","properties":{"token":"t","time":1780000000,"ip":"::1"}}]`,
		`{"event":"e","properties":{"a":1,"token":"t","b":[1,{"token":2}], "distinct_id": "$device:d"}}`,
		`{"event":"$identify","properties":{"$identified_id":"a","$anon_id":"b","x":{"y":{"z":{"w":1}}}}}`,
		`{"event":"\ud800","properties":{"token":"t","token":"u","$insert_id":"\ud800"}} {"event":"e","properties":{},"x":1}`,
	} {
		f.Add(uint8(1), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, identity uint8, body []byte) {
		c := collector()
		for range 2 {
			compareCollected(t, c, body, Identity(identity%3))
		}
	})
}

// Events of many shapes, alone and several in a body, with values that are long, cut and
// refused, and with a byte changed, added or taken away.
func TestAPredictingCollectorSaysWhatTheScannerSays(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 15))
	names := slices.Concat(someNames, slices.Sorted(maps.Keys(readNames)))
	shapes := make([][]string, 40)
	for i := range shapes {
		for _, n := range r.Perm(len(names))[:1+r.IntN(25)] {
			shapes[i] = append(shapes[i], names[n])
		}
	}
	c := collector()
	predicted := 0
	const bodies = 2_000
	for n := range bodies {
		w := &writer{Rand: r}
		w.WriteString("[")
		for range 1 + r.IntN(3) {
			shape := shapes[r.IntN(len(shapes))]
			if w.Len() > 1 {
				w.WriteString(",")
			}
			w.event("e", shape)
		}
		w.WriteString("]")
		text := w.String()
		if r.IntN(4) == 0 {
			text = strings.Replace(text, `":`, `":"`+strings.Repeat("é", 100+r.IntN(400))+`","`+fmt.Sprint(n)+`":`, 1+r.IntN(2))
		}
		body := []byte(text)
		predicted += compareCollected(t, c, body, Identity(n%3))
		at := r.IntN(len(body))
		switch r.IntN(3) {
		case 0:
			body[at] = byte(r.IntN(256))
		case 1:
			body = slices.Insert(body, at, `"\,:{}[] 0e`[r.IntN(11)])
		default:
			body = slices.Delete(body, at, at+1)
		}
		compareCollected(t, c, body, Identity(n%3))
	}
	if predicted < bodies/3 {
		t.Errorf("in %d bodies it predicted %d events: too few to compare", bodies, predicted)
	}
}

// Limits count all members, also those that are not kept, and the comma of a member that is
// removed goes with it.
func TestPredictedEdits(t *testing.T) {
	t.Parallel()
	c := collector()
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"m%d":%d`, i, i)
		}
		return b.String()
	}
	for _, properties := range []string{
		`"token":"t","a":1`, `"a":1,"token":"t"`, `"token":"t"`, `"token":"t", "ip":"::1", "a":1`, `"a":1, "ip":"::1", "token":"t", "b":2`,
		`"x":"` + strings.Repeat("é", 300) + `","token":"t","y":[1,2]`, `"token":"t"` + many(254), `"token":"t"` + many(255), `"token":"t"` + many(256),
	} {
		body := []byte(`{"event":"e","properties":{` + properties + `}}`)
		compareCollected(t, c, body, Original) // learns the names
		if compareCollected(t, c, body, Original) != 1 {
			t.Errorf("%.80s is not predicted", properties)
		}
	}
}

// Properties that all events of a request get are those of its arrival, whatever the request
// before had.
func TestAddedPropertiesAreThoseOfTheRequest(t *testing.T) {
	t.Parallel()
	c := collector()
	arrivals := []Arrival{*arrival(), *arrival(), *arrival(), *arrival(), *arrival()}
	arrivals[1].Endpoint = "other.example.com"
	arrivals[2].Received = now.Add(time.Second)
	arrivals[3].Processed = now.Add(time.Hour)
	arrivals[4].Import, arrivals[4].Identity = true, Original
	for _, i := range []int{0, 1, 0, 2, 0, 3, 0, 4, 0, 0, 3, 4} {
		const body = `{"event":"e","properties":{"time":1780000000,"distinct_id":"d","$insert_id":"i"}}`
		got, _, err := first(t, c, body, &arrivals[i])
		want, _, _ := first(t, collector(), body, &arrivals[i])
		if err != nil || got != want || !strings.Contains(got, arrivals[i].Endpoint) {
			t.Errorf("arrival %d: %v\n%s\n%s", i, err, got, want)
		}
	}
}
