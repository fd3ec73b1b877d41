package schema

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk/batch"
)

// seen is all that a scanner says of a record.
type seen struct {
	Body, Event, Properties                        span
	Time, Distinct, Insert, Device, User, Received span
	Tokens                                         []member
	Rewritten, Lines                               bool
	Flags                                          batch.Flags
	Keys, Stack                                    int
}

func (s *scanner) seen() seen {
	return seen{
		s.body, s.event, s.properties, s.time, s.distinct, s.insert, s.device, s.user, s.received,
		append([]member{}, s.tokens...), s.rewritten, s.lines, s.flags, len(s.keys), len(s.stack),
	}
}

// compare scans a record with a predictor and with a scanner alone, and reports whether the
// predictor took it.
func compare(t *testing.T, p *predictor, s *scanner, record []byte) (taken bool) {
	t.Helper()
	var judge scanner
	judge.reset(record)
	untouched := judge.seen()
	valid := judge.record()
	s.reset(record)
	switch taken = p.scan(s); {
	case taken && !valid:
		t.Fatalf("the predictor takes %q, which the scanner refuses", record)
	case taken && !reflect.DeepEqual(s.seen(), judge.seen()):
		t.Fatalf("of %q\nthe predictor says %+v\nthe scanner       %+v", record, s.seen(), judge.seen())
	case !taken && !reflect.DeepEqual(s.seen(), untouched):
		t.Fatalf("the predictor declines %q, and leaves %+v", record, s.seen())
	}
	return taken
}

// learnNow has a predictor learn from each of the next few records, so that runs of members
// that were the same are expected soon.
func (p *predictor) learnNow() {
	for i := range p.shapes.all {
		p.shapes.all[i].age, p.shapes.all[i].pause = renewal, 0
	}
}

// runs returns how many properties a predictor expects to be the same as before.
func (p *predictor) runs() (n int) {
	for _, sh := range p.shapes.all {
		for _, l := range sh.slots {
			if l.run > 0 {
				n++
			}
		}
	}
	return n
}

// FuzzPredictor holds the predictor against the scanner, over lines that it sees twice, each of
// them often enough to be expected as it is, and then all of them.
func FuzzPredictor(f *testing.F) {
	f.Add(sample())
	for _, seed := range []string{
		"{\"event\":\"e\",\"properties\":{\"time\":1,\"$device_id\":\"d\", \"a\":[1],\"b\":2}}\r{\"event\":\"e\",\"properties\":{\"time\":1,\"$device_id\":\"d\", \"b\":2,\"c\":3}}",
		"{\"event\":\"e\",\"properties\":{\"a\":1,\"b\":2}}\r{\"event\":\"e\",\"properties\":{\"b\":2,\"a\":1}}\r{\"event\":\"e\",\"properties\":{\"a\":1,\"b\":2,\"a\":3}}",
		"{\"event\":\"e\",\"properties\":{\"a\":\"\\u0000\",\"b\":{\"c\":1,\"c\":2},\"d\":3}}\r{\"event\":\"e\",\"properties\":{\"a\":1,\"b\":2,\"d\":3,\"a\":1}}",
		"{\"event\":\"e\",\"properties\":{\"time\":1,\"token\":\"t\",\"a\":[{\"time\":2}]}}\n{\"event\":\"e\",\"properties\":{\"token\":\"t\",\"time\":1,\"time\":2}}",
		`{"event": "e", "properties": {"time": 1, "token": "t"}}`, `{"event":"e","properties":{"time":1},"properties":{"a":1}}`,
		`{"event":"e","properties":{"a\u0062":1,"ab":9007199254740993}}`, "{\"event\":\"e\",\n\"properties\":{\"$distinct_id_before_identity\":{}}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		var p predictor
		var s scanner
		records := bytes.Split(lines, []byte("\r"))
		for range 2 {
			for _, record := range records {
				for range sameLeast + 2 {
					compare(t, &p, &s, record)
					p.learnNow()
				}
			}
			for _, record := range records {
				compare(t, &p, &s, record)
			}
		}
	})
}

// names of properties: those that mean something, names of all lengths, and equal ones in
// two spellings.
var someNames = func() []string {
	all := []string{
		"time", "token", "distinct_id", "$insert_id", "$device_id", "$user_id", "$mp_api_timestamp_ms", ingestedID, preshuffledID, reshuffled,
		linkFailure, verbFailure, "event", "properties", `\u0074oken`, "é", "漢字", "",
	}
	for n := range 40 {
		all = append(all, strings.Repeat("n", n)+"a", strings.Repeat("n", n)+"b")
	}
	return all
}()

// event writes an event of a name whose properties come in some order, with one space behind
// most colons and commas, or none. The values of most of them depend on their names alone.
func (w *writer) event(event string, names []string) {
	space := []string{"", "", " "}[len(event)%3]
	fmt.Fprintf(w, `{"event":%s`, space)
	w.text(event)
	fmt.Fprintf(w, `,%s"properties":%s{`, space, space)
	for i, name := range names {
		if i > 0 {
			w.WriteString("," + space)
		}
		colon := ":" + space
		if w.IntN(100) == 0 {
			colon = ": "
		}
		fmt.Fprintf(w, `"%s"%s`, name, colon)
		if w.IntN(16) > 0 {
			fmt.Fprintf(w, []string{`"%d"`, `%d`, `[%d,"é"]`}[len(name)%3], len(name))
		} else {
			w.value(w.IntN(3))
		}
	}
	w.WriteString("}}")
}

// Events of many shapes, as they are and with a byte changed, added or taken away.
func TestThePredictorSaysWhatTheScannerSays(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 14))
	shapes := make([][]string, 60)
	for i := range shapes {
		for _, n := range r.Perm(len(someNames))[:1+r.IntN(25)] {
			shapes[i] = append(shapes[i], someNames[n])
		}
		if i%8 == 0 {
			shapes[i] = append(shapes[i], shapes[i][0]) // twice
		}
	}
	var p predictor
	var s scanner
	whole, changed, same := 0, 0, 0
	const events = 10_000
	for range events {
		w := &writer{Rand: r}
		shape := r.IntN(len(shapes))
		names := shapes[shape]
		if r.IntN(3) == 0 { // an optional property
			at := r.IntN(len(names))
			names = append(append([]string{}, names[:at]...), names[at+1:]...)
		}
		w.event(strings.Repeat("e", 1+shape), names)
		record := []byte(w.String())
		p.pausing = 0
		if compare(t, &p, &s, record) {
			whole++
		}
		at := r.IntN(len(record))
		switch r.IntN(3) {
		case 0:
			record[at] = byte(r.IntN(256))
		case 1:
			record = append(record[:at:at], append([]byte{`"\,:{}[] 0e`[r.IntN(11)]}, record[at:]...)...)
		default:
			record = append(record[:at:at], record[at+1:]...)
		}
		p.pausing = 0
		if compare(t, &p, &s, record) {
			changed++
		}
		if r.IntN(4) == 0 {
			p.learnNow()
		}
		same = max(same, p.runs())
	}
	if whole < events/3 || changed < events/8 {
		t.Errorf("of %d events it took %d, and %d that were changed: too few to compare", events, whole, changed)
	}
	if same < len(shapes)/2 {
		t.Errorf("it expects %d properties to be as they were", same)
	}
}

// A record with a flag is not the text of its shape. If it has a property that no record had
// before, that property is not expected between two that are the same as before.
func TestANewPropertyOfAFlaggedRecordEndsRuns(t *testing.T) {
	t.Parallel()
	const end = `"c":{"long":"for a comparison of words"},"d":"and no property that is read to the end of the text"}}`
	const usual = `{"event":"e","properties":{"a":1,"b":2,` + end
	for _, name := range []string{"time", "token", "$insert_id", "distinct_id", "other"} {
		var p predictor
		var s scanner
		for range sameLeast + 2 {
			compare(t, &p, &s, []byte(usual))
			p.learnNow()
		}
		if p.runs() < 2 {
			t.Fatalf("%d properties are expected to be the same", p.runs())
		}
		flagged := fmt.Sprintf(`{"event":"e","properties":{"a":1,"%s":9007199254740993,"b":2,%s`, name, end)
		if !compare(t, &p, &s, []byte(flagged)) || !compare(t, &p, &s, []byte(usual)) {
			t.Errorf("with %s, a record is not predicted", name)
		}
		if len(p.marks) != 4 {
			t.Errorf("with %s, the record has the marks %v, want one for each of 4 properties", name, p.marks)
		}
	}
}

// Events of few names have shapes of their own, and those of very many names share some. All
// are predicted.
func TestShapesOfManyNames(t *testing.T) {
	t.Parallel()
	var p predictor
	var s scanner
	for n := range 20_000 {
		name := n % 60
		if n >= 5_000 {
			name = n
		}
		record := fmt.Sprintf(`{"event":"event %d","properties":{"a%d":1,"time":2,"b%d":3}}`, name, name%60, name%60)
		if !compare(t, &p, &s, []byte(record)) {
			t.Fatalf("event %d, %s, is not predicted", n, record)
		}
		if n == 5_000 && len(p.shapes.all) < 55 {
			t.Errorf("60 names have %d shapes", len(p.shapes.all))
		}
	}
	if n := len(p.shapes.all); n != maxShapes {
		t.Errorf("20,000 names have %d shapes, want %d", n, maxShapes)
	}
}

// A stream of events of the usual form is predicted, and one of other records costs few tries.
func TestWhatIsPredicted(t *testing.T) {
	t.Parallel()
	var p predictor
	var s scanner
	count := func(n int, record func(i int) string) (taken int) {
		for i := range n {
			if compare(t, &p, &s, []byte(record(i))) {
				taken++
			}
		}
		return taken
	}
	usual := func(int) string { return string(sample()) }
	if got := count(100, usual); got != 100 {
		t.Errorf("it took %d of 100 usual events", got)
	}
	other := func(int) string { return `{"properties":{"time":1},"event":"e"}` }
	before := p.record
	if got := count(10_000, other); got != 0 || p.record-before > 100 {
		t.Errorf("it took %d unusual events and tried %d", got, p.record-before)
	}
	count(pause, usual)
	if got := count(100, usual); got != 100 {
		t.Errorf("after unusual events it took %d of 100 usual ones", got)
	}
	// More names than it can keep: they are forgotten, and the usual ones learnt again.
	fresh := func(i int) string {
		p.pausing = 0
		return fmt.Sprintf(`{"event":"e","properties":{"x%d":1,"y%d":2}}`, i, i)
	}
	count(3*maxNames, fresh)
	if len(p.names) > maxNames || len(p.ids) > maxNames || len(p.seen) > maxNames {
		t.Errorf("it keeps %d texts of %d names", len(p.names), len(p.ids))
	}
	count(pause, usual)
	if got := count(100, usual); got != 100 {
		t.Errorf("after too many names it took %d of 100 usual events", got)
	}
}
