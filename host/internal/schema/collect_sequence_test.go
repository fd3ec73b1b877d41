package schema

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal/rowflate"
	"github.com/penstock-io/penstock/host/internal/rowmark"
)

// readOrCut are the names that a Collector reads, and values at its limits and beyond.
var readOrCut = moreOf{
	names: append(slices.Sorted(maps.Keys(readNames)), "token", "ip", "token", "$mp_metadata", strings.Repeat("é", 100)),
	values: []string{
		`"` + strings.Repeat("x", maxText-1) + `"`, `"` + strings.Repeat("x", maxText) + `"`, `"` + strings.Repeat("x", maxText+1) + `"`,
		`"` + strings.Repeat("é", maxText) + `"`, `"` + strings.Repeat("é", maxText+1) + `"`, `"` + strings.Repeat("x", maxText-1) + `\n"`,
		`"` + strings.Repeat(`\u00e9`, maxText) + `"`, `"` + strings.Repeat(`\ud83d\ude00`, maxText+1) + `"`, strings.Repeat("1", maxText+3),
		`{"a":{"b":{"c":1}}}`, `{"a":[{"b":[{}]}]}`, `[{"a":{"b":{}}}]`, `{}`, "[" + strings.Repeat("1,", maxElements-1) + "1]", "[" + strings.Repeat("1,", maxElements) + "1]",
		`["` + strings.Repeat("x", maxComposite-4) + `"]`, `["` + strings.Repeat("x", maxComposite-3) + `"]`, `{"$mp_event_id":"0123456789abcdef"}`,
		"true", "null", `""`, `"0"`, `"i-1"`, `"192.0.2.1"`, "1780000000", `"$device:d"`, `"u\u0031"`,
	},
}

// collecting compares collectors, each of which takes some of the bodies of a sequence, with a
// judge, which is another one for each body and does not predict. Their rows lie side by side.
type collecting struct {
	collectors []*Collector
	arrival    *Arrival
	eager      bool // learns from each record
	rows       []byte
	marks      []rowmark.Mark
	taken      int // events that have a row
	marked     int // of which members have marks
	runs       int // most properties that were expected to be the same
}

// rowsAt is the place of the first row in marks.
const rowsAt = 1000

func newCollecting(seed uint64) *collecting {
	a := arrival()
	a.Identity, a.Import, a.Strict = Identity(seed%3), seed/3%2 == 1, seed/3%4 == 3
	if a.Identity != Simplified {
		a.Alias = func(id []byte) (string, bool) { return "alias of " + string(id), len(id)%2 == 0 }
	}
	if seed%5 == 0 {
		a.Geo, a.Place = someGeo{}, Place{City: `"Bern"`}
	}
	b := &collecting{arrival: a}
	for range 1 + seed%3 {
		c := collector()
		if seed%7 == 0 {
			c.learnNames(maxNames - 20)
		}
		b.collectors = append(b.collectors, c)
	}
	return b
}

// someGeo knows each address.
type someGeo struct{}

func (someGeo) Locate(netip.Addr) (Place, bool) { return Place{"Zürich", "ZH", "CH"}, true }

// learnNames has the predictor know many names.
func (c *Collector) learnNames(n int) {
	for from := 0; from < n; from += 200 {
		var b strings.Builder
		for i := from; i < min(n, from+200); i++ {
			fmt.Fprintf(&b, `,"name %d":%d`, i, i)
		}
		c.Begin([]byte(`{"event":"names","properties":{`+b.String()[1:]+`}}`), false)
		c.Next()
	}
}

// question says what is asked of a collector about a record.
type question struct {
	before, after string // the names of properties that are asked for before the row is made, and after
}

// ask takes a body, and returns what the collector says of each record. Of rows it calls made,
// with whether their members may have marks and how many properties were not removed.
func (b *collecting) ask(c *Collector, body []byte, lines bool, questions []question, made func(row []byte, sparse bool, sent int)) (said []string) {
	c.Begin(body, lines)
	for c.Next() {
		if b.eager {
			c.predictor.learnNow()
		}
		ask := questions[c.Count()%len(questions)]
		text := fmt.Sprintf("%s %v %s %s", c.Record(), c.Repaired(), c.Property(ask.before), c.Member("$mp_metadata"))
		sparse := c.sparse
		row, e, err := c.AppendEvent([]byte("before"), b.arrival)
		e.Device, e.User = bytes.Clone(e.Device), bytes.Clone(e.User)
		text += fmt.Sprintf(" %s %+v %v", row, e, err)
		if r, ok := err.(*Refused); ok {
			text += fmt.Sprintf(" %+v", *r)
		} else if !e.Ignored {
			made(row[len("before"):], sparse, c.members-c.sent.removed)
		}
		said = append(said, text+fmt.Sprintf(" %s", c.Property(ask.after)))
	}
	said = append(said, fmt.Sprint(c.Err()))
	c.End()
	return said
}

// run compares what is said of the bodies of a sequence of records.
func (b *collecting) run(t *testing.T, q *sequence, records int) {
	t.Helper()
	b.eager = q.IntN(2) == 0
	for n := 0; n < records; {
		body, lines, some := q.body()
		n += some
		questions := []question{{"token", "time"}}
		if q.IntN(4) == 0 {
			questions = append(questions, question{"token", "p1"}, question{"p1", "ip"})
		}
		c, judge := b.collectors[q.IntN(len(b.collectors))], collector()
		judge.predictor.pausing = math.MaxInt
		seed := [32]byte{byte(n)}
		*c.random, *judge.random = *rand.NewChaCha8(seed), *rand.NewChaCha8(seed)
		var sent []int
		want := b.ask(judge, bytes.Clone(body), lines, questions, func(_ []byte, _ bool, n int) { sent = append(sent, n) })
		got := b.ask(c, body, lines, questions, func(row []byte, sparse bool, _ int) {
			if len(sent) > 0 { // otherwise the answers differ
				b.checkMarks(t, c, row, sparse, sent[0])
				sent = sent[1:]
			}
		})
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("of record %d of %q\n%s\nwant\n%s", i, body, got[i], want[i])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d answers, want %d, of %q", len(got), len(want), body)
		}
		p := &c.predictor
		if b.eager {
			p.pausing = 0
		}
		if q.IntN(150) == 0 {
			p.refused = maxNames // it forgets all names
		}
		b.runs = max(b.runs, p.runs())
	}
	b.checkFragment(t)
}

// body returns the next few records as a body, and their number.
func (q *sequence) body() (body []byte, lines bool, records int) {
	records = 1 + q.IntN(4)
	between := []string{"\n", "", " ", ",", ", "}[q.IntN(5)]
	for i := range records {
		if i > 0 {
			body = append(body, between...)
		}
		record, _ := q.next()
		body = append(body, record...)
	}
	if strings.HasPrefix(between, ",") {
		body = append(append([]byte("["), body...), ']')
	}
	return body, between == "\n", records
}

// checkMarks checks that the marks of a row are one for each member, of the row and of the
// properties that were sent and not removed, and those of the properties that were added; or
// that there is only one for the whole.
func (b *collecting) checkMarks(t *testing.T, c *Collector, row []byte, sparse bool, sent int) {
	t.Helper()
	at := rowsAt + len(b.rows)
	got := c.AppendMarks(nil, at)
	b.rows, b.marks = append(b.rows, row...), append(b.marks, got...)
	b.taken++
	cut := slices.ContainsFunc(c.edits, func(e edit) bool { return !e.remove })
	if !sparse || cut {
		if len(got) != 1 || got[0] != (rowmark.Mark{At: int32(at), Name: rowmark.Unknown}) {
			t.Fatalf("row %s has the marks %v", row, got)
		}
		return
	}
	b.marked++
	if want := b.wantMarks(t, row, at, sent); !reflect.DeepEqual(got, want) || len(got) > c.MostMarks() {
		t.Fatalf("row %s has the marks\n%v, want\n%v, at most %d", row, got, want, c.MostMarks())
	}
}

func (b *collecting) wantMarks(t *testing.T, row []byte, at, sent int) (marks []rowmark.Mark) {
	t.Helper()
	s := scanner{every: true}
	if s.reset(row); !s.record() || len(s.outer) != 7 {
		t.Fatalf("row %s has %d members", row, len(s.outer))
	}
	mark := func(from, to int, name uint16) {
		marks = append(marks, rowmark.Mark{At: int32(at + from), Name: name, Text: uint16(to - from)})
	}
	for n, name := range []uint16{nameDevice, nameDistinct, nameEvent, nameInsert, nameProperties, nameTime, nameUser} {
		from := s.outer[n].key.from - 1 // a brace or comma
		mark(from, s.outer[n].value.from, name)
		if name != nameProperties {
			continue
		}
		for _, m := range s.inner[:sent] {
			mark(m.key.from, m.value.from, hashedName(string(row[m.key.from:m.value.from])))
		}
		added := s.inner[sent:]
		shared := added[len(added)-4:]
		if b.arrival.Import {
			shared = added[len(added)-5:]
		}
		if first := added[0].key.from - 1; first < shared[0].key.from-1 {
			mark(first, first, rowmark.Unknown)
		}
		size, processed := added[len(added)-2], added[len(added)-1]
		mark(shared[0].key.from-1, added[len(added)-3].value.from, nameAdded)
		mark(size.key.from-1, size.value.from, nameSize)
		mark(processed.key.from-1, processed.value.from, nameProcessed)
	}
	return marks
}

// checkFragment checks that rows compressed with their marks inflate to themselves.
func (b *collecting) checkFragment(t *testing.T) {
	t.Helper()
	fragment := new(rowflate.Encoder).EncodeMarked(nil, b.rows, b.marks, rowsAt)
	// A fragment lacks the last block of a stream: an empty one ends it.
	inflated, err := io.ReadAll(flate.NewReader(bytes.NewReader(append(fragment, 1, 0, 0, 0xff, 0xff))))
	if err != nil || !bytes.Equal(inflated, b.rows) {
		t.Fatalf("%d bytes of rows with %d marks inflate to %d others: %v", len(b.rows), len(b.marks), len(inflated), err)
	}
}

// Whatever records came before, a collector says of a record what one says that does not
// predict, and knows where the members of its row lie.
func TestSequencesOfCollectedRecords(t *testing.T) {
	t.Parallel()
	first, last := uint64(1), *sequencesFlag
	if *sequenceFlag > 0 {
		first, last = *sequenceFlag, *sequenceFlag
	}
	var taken, marked, runs int
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("again: go test ./host/internal/schema -run TestSequencesOfCollectedRecords -schema.sequence=%d", seed)
				}
			}()
			q, b := newSequenceOf(readOrCut, seed, nil), newCollecting(seed)
			b.run(t, q, 50+q.IntN(251))
			taken, marked, runs = taken+b.taken, marked+b.marked, max(runs, b.runs)
		})
	}
	t.Logf("%d rows, %d with marks of members; up to %d properties that are expected to be the same", taken, marked, runs)
	if *sequenceFlag == 0 && (marked < taken/4 || runs < 10) {
		t.Error("too few records are predicted to compare")
	}
}

// FuzzCollectedSequences is TestSequencesOfCollectedRecords with edits in addition to those of
// the seed.
func FuzzCollectedSequences(f *testing.F) {
	for seed := range uint64(24) {
		f.Add(seed, uint16(60+20*seed), []byte{})
		f.Add(seed, uint16(300), []byte{60, 3, byte(seed), 100, 0, 123, 1, 2, 30, 250, 7, byte(seed)})
	}
	f.Fuzz(func(t *testing.T, seed uint64, records uint16, edits []byte) {
		newCollecting(seed).run(t, newSequenceOf(readOrCut, seed, bytes.Clone(edits)), int(records%400))
	})
}
