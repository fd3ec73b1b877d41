package schema

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/rowmark"
)

var (
	sequenceFlag  = flag.Uint64("schema.sequence", 0, "run the sequence of this seed alone")
	sequencesFlag = flag.Uint64("schema.sequences", 100, "number of sequences")
)

// sequence generates records that one parser takes one after another. An event has its
// properties, most of whose values stay the same, until an edit changes the event, or one of
// its records alone:
//
//	{"event":"e0","properties":{"time":1780000000,"p4":"web","p7":1}}
//	{"event":"e0","properties":{"time":1780000000,"p4":"web","p7":2}}
//	{"event":"e0","properties":{"time":1780000000,"$user_id":9007199254740993,"p4":"web","p7":3}}
//	{"event":"e0","properties":{"time":1780000000,"p4":"web","p7":4}}
type sequence struct {
	*rand.Rand
	events  []sequenceEvent
	edits   []byte // from a fuzzer, four for an edit: records before it, its kind, its place, its text
	names   int    // names of properties that were new
	rare    int    // records between two that are edited, on average
	often   int    // place of about half of all edits
	kinds   []int  // of edits of one record
	between string // stands between two members
	more    moreOf // in addition to what a Parser minds
}

// moreOf are further names and values of properties.
type moreOf struct{ names, values []string }

type sequenceEvent struct {
	name       string
	properties []sequenceProperty
}

// sequenceProperty is a property as it is written.
type sequenceProperty struct {
	head   string // name, colon and spaces
	value  string
	change uint8 // of the value from record to record
}

// quoted returns the name with its quotes.
func (p *sequenceProperty) quoted() string { return p.head[:strings.LastIndexByte(p.head, '"')+1] }

// Changes of a value from record to record.
const (
	stays uint8 = iota
	counts
	differs // and shares its beginning with the last value
)

func newSequence(seed uint64, edits []byte) *sequence { return newSequenceOf(moreOf{}, seed, edits) }

func newSequenceOf(more moreOf, seed uint64, edits []byte) *sequence {
	q := &sequence{Rand: rand.New(rand.NewPCG(seed, 27)), edits: edits, more: more}
	q.rare, q.often = 3+q.IntN(40), q.IntN(256)
	q.kinds = q.Perm(editKinds)[:1+q.IntN(editKinds)]
	q.between = []string{",", ",", ", "}[q.IntN(3)]
	events, properties := 1+q.IntN(4), 2+q.IntN(14)
	switch q.IntN(8) {
	case 0:
		events = maxShapes + q.IntN(3*maxShapes)
	case 1:
		events, properties = 1, maxSlots+q.IntN(80)
	}
	for n := range events {
		e := sequenceEvent{name: fmt.Sprintf("e%d", n)}
		if q.IntN(20) == 0 {
			e.name = []string{`\u0065`, "é", `a\"b`, strings.Repeat("e", 300), "$merge", "$identify"}[q.IntN(6)]
		}
		e.properties = append(e.properties, sequenceProperty{q.head("time"), "1780000000", uint8(q.IntN(2))})
		for range properties {
			what := 18 + q.IntN(174)
			if q.IntN(4) == 0 {
				what = q.IntN(12)
			}
			if name := q.name(what); !e.has(name) {
				q.insert(&e, q.IntN(256), name, q.ordinary(q.IntN(256)))
			}
		}
		if q.IntN(5) == 0 {
			q.insert(&e, q.IntN(256), q.name(q.IntN(192)), q.strange(q.IntN(flagged)))
		}
		q.events = append(q.events, e)
	}
	return q
}

func (q *sequence) head(name string) string {
	if q.IntN(50) == 0 {
		return `"` + name + `":  `
	}
	return `"` + name + `":` + q.between[1:]
}

// name returns the name of a property, mostly a new one.
func (q *sequence) name(what int) string {
	if n := len(q.more.names); n > 0 && q.IntN(3) == 0 {
		return q.more.names[what%n]
	}
	names := []string{
		"time", "distinct_id", "$insert_id", "$user_id", "$device_id", "$mp_api_timestamp_ms", ingestedID, "time", "distinct_id", "$insert_id", "$user_id",
		"é", strings.Repeat("n", maxName-3), strings.Repeat("n", maxName-3) + "n", "token", reshuffled, linkFailure, `\u0074ime`,
	}
	if what < len(names) || what >= 192 {
		return names[what%len(names)]
	}
	q.names++
	return fmt.Sprintf("%sp%d", strings.Repeat("long ", what%5), q.names)
}

// ordinary returns a value that has no flag.
func (q *sequence) ordinary(what int) string {
	if n := len(q.more.values); n > 0 && q.IntN(3) == 0 {
		return q.more.values[what%n]
	}
	return []string{
		"1", "12", "-1.5", "1780000000", "1780000000123", "true", "null", `""`, `"web"`, `"fifteen bytes, 1"`, `"of sixteen bytes"`, `"of seventeen byte"`,
		`{"a":1,"b":["x"]}`, "[]", `"漢字"`, `"$device:d"`, `"u1"`, `"i1"`,
	}[what%18]
}

// flagged is the number of strange values that are JSON.
const flagged = 16

// strange returns a value that has a flag, ends of lines or many bytes. Values from number
// flagged on are not JSON, or have spaces around them.
func (q *sequence) strange(what int) string {
	return []string{
		"9007199254740993", "-9007199254740993", "1e400", "0.1234567890123456789", "1e-1", "{\"a\":\n\"b\"}", `"\u0000"`, `"\ud800"`, `"\udc00\ud83d\ude00"`, `"\"\\\/\b\u00e9"`,
		strings.Repeat("[", deepDepth+5) + strings.Repeat("]", deepDepth+5), strings.Repeat(`{"a":`, deepDepth) + "1" + strings.Repeat("}", deepDepth),
		`{"a":1,"a":2}`, `{"time":5,"token":"t","$insert_id":"nested"}`, "[1,\n2]", `"` + strings.Repeat("long ", 1000) + `"`,
		"\"\xff\"", "\"sixteen bytes and \xc3\"", "01", "1.", "-", `"`, "tru", "", "\"a\nb\"", "\"\x00\"", `"\x"`, "1 ", "\t1", "\r1", `"a" `, "[1", `"` + strings.Repeat("x", usualLine) + `"`,
	}[what%33]
}

func (e *sequenceEvent) has(name string) bool {
	return slices.ContainsFunc(e.properties, func(p sequenceProperty) bool { return p.quoted() == `"`+name+`"` })
}

func (q *sequence) insert(e *sequenceEvent, at int, name, value string) {
	at %= len(e.properties) + 1
	change := stays
	switch {
	case q.IntN(8) == 0 && strings.HasPrefix(value, "1"):
		change = counts
	case q.IntN(8) == 0 && strings.HasPrefix(value, `"`):
		change = differs
	}
	e.properties = slices.Insert(e.properties, at, sequenceProperty{q.head(name), value, change})
}

func (q *sequence) place() int {
	if q.IntN(2) == 0 {
		return q.often
	}
	return q.IntN(256)
}

const editKinds = 11

// edit changes an event.
func (q *sequence) edit(e *sequenceEvent, kind, at, what int) {
	if len(e.properties) == 0 {
		return
	}
	i := at % len(e.properties)
	p := &e.properties[i]
	switch kind % editKinds {
	case 0, 1:
		e.properties = append(e.properties[:i:i], e.properties[i+1:]...)
	case 2:
		q.insert(e, at, q.name(what), q.ordinary(what>>2))
	case 3, 4:
		q.insert(e, at, q.name(what), q.strange(at+what))
	case 5:
		p.value = q.strange(what)
	case 6:
		p.value = q.ordinary(what)
	case 7:
		other := &e.properties[what%len(e.properties)]
		*p, *other = *other, *p
	case 8:
		e.properties = append(append(e.properties[:i:i], e.properties[i+1:]...), *p) // to the end
	case 9:
		twice := sequenceProperty{p.quoted() + []string{":", ": "}[what%2], q.ordinary(what), stays}
		if what%3 == 0 {
			i = at * what % (len(e.properties) + 1)
		}
		e.properties = slices.Insert(e.properties, i, twice)
	default:
		p.head = p.quoted() + []string{":", ": ", ":  ", " :"}[what>>6]
	}
}

// next returns a record and the text between it and the record after it.
func (q *sequence) next() (record []byte, behind string) {
	e := &q.events[q.IntN(1+q.IntN(len(q.events)))]
	for i := range e.properties {
		p := &e.properties[i]
		switch p.change {
		case counts:
			p.value = fmt.Sprint(1780000000 + q.IntN(100))
		case differs:
			p.value = fmt.Sprintf(`"shares this with others%d"`, q.IntN(20))
		}
	}
	once := sequenceEvent{e.name, append([]sequenceProperty{}, e.properties...)}
	spoilt := q.IntN(4*q.rare) == 0
	if len(q.edits) >= 4 {
		if q.edits[0] == 0 {
			kind, at, what := int(q.edits[1]), int(q.edits[2]), int(q.edits[3])
			if spoilt = spoilt || kind >= 240; kind < 120 {
				q.edit(e, kind, at, what)
			}
			q.edit(&once, kind, at, what)
			q.edits = q.edits[4:]
		} else {
			q.edits[0]--
		}
	}
	if q.IntN(q.rare) == 0 {
		for range 1 + q.IntN(2) {
			q.edit(&once, q.kinds[q.IntN(len(q.kinds))], q.place(), q.IntN(256))
		}
	}
	if q.IntN(4*q.rare) == 0 {
		// No edit makes all records of the event refused or unusual for good.
		kind := []int{0, 2, 6, 6, 7, 8, 10}[q.IntN(7)]
		q.edit(e, kind, q.place(), q.IntN(192))
	}
	record = once.write(q.between)
	if spoilt {
		record = q.spoil(record)
	}
	if behind = "\n"; q.IntN(q.rare) == 0 {
		behind = []string{"\r\n", ",\n", ",\r\n", "]\n", " \t\n", "", "\x00\n", "x\n"}[q.IntN(8)]
	}
	return record, behind
}

func (e *sequenceEvent) write(between string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"event":%s"%s"%s"properties":%[1]s{`, between[1:], e.name, between)
	for i, p := range e.properties {
		if i > 0 {
			b.WriteString(between)
		}
		b.WriteString(p.head + p.value)
	}
	b.WriteString("}}")
	return b.Bytes()
}

// spoil changes a byte of a record, adds one, or takes some away.
func (q *sequence) spoil(record []byte) []byte {
	at := q.IntN(len(record))
	c := "\"\\,:{}[] 0e\x00\n\r\xff"[q.IntN(15)]
	switch q.IntN(5) {
	case 0:
		record[at] = c
		return record
	case 1:
		return append(record[:at:at], append([]byte{c}, record[at:]...)...)
	case 2:
		return append(record[:at:at], record[at+1:]...)
	case 3:
		return record[:at]
	default:
		return append([]byte(" "), record...)
	}
}

// both compares a parser of all records of a sequence with a judge, whose parser is another
// one for each record and does not predict. The events are those of a file, or pulled.
type both struct {
	parser *Parser
	pulled *Pulled // that parser belongs to; nil for events of a file
	judge  *Pulled
	times  Times
	marked int // records that had marks of properties
	runs   int // most properties that were expected to be the same
}

func newBoth(seed uint64) *both {
	b := &both{}
	if seed%4 == 3 {
		b.times = Times{Zone: time.FixedZone("", -7*3600), Local: seed%8 == 3}
	}
	now := func() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }
	const several = linkRoom // that remember few links each
	identity := Identity(seed / 3 % 3)
	b.judge = NewPulled(now, b.times, identity, several)
	if seed%3 > 0 {
		b.parser = NewZoneParser(now, b.times)
		return b
	}
	b.pulled = NewPulled(now, b.times, identity, several)
	b.parser = b.pulled.parser
	return b
}

// result is a parser's answer for a record.
type result struct {
	row, refusal string
	event        Event
	link         Link
}

// want returns the result of a parser that has seen no record before and does not predict.
func (b *both) want(record []byte) (r result) {
	j := b.judge
	j.parser = NewZoneParser(j.parser.now, b.times)
	j.parser.predictor.pausing = math.MaxInt
	var row []byte
	var err error
	if b.pulled == nil {
		row, r.event, err = j.parser.AppendEvent([]byte("before"), record)
	} else {
		j.members = NewCollector([32]byte{})
		row, r.event, err = j.AppendEvent([]byte("before"), record)
		r.link, _ = j.Link()
	}
	r.row = string(row)
	if err != nil {
		r.refusal = err.Error()
	}
	return r
}

// got returns the result of a parser that has seen all records of text before, for the record
// that text begins with, and the bytes of its line if AppendLine took it.
func (b *both) got(text []byte, record int, lines bool) (r result, n int) {
	appendLine, appendEvent := b.parser.AppendLine, b.parser.AppendEvent
	if b.pulled != nil {
		appendLine, appendEvent = b.pulled.AppendLine, b.pulled.AppendEvent
	}
	var row []byte
	var err error
	if lines {
		if row, r.event, n = appendLine([]byte("before"), text); n == 0 && string(row) != "before" {
			return result{row: string(row)}, 0
		}
	}
	if n == 0 {
		row, r.event, err = appendEvent([]byte("before"), text[:record])
	}
	if b.pulled != nil {
		r.link, _ = b.pulled.Link()
	}
	r.row = string(row)
	if err != nil {
		r.refusal = err.Error()
	}
	return r, n
}

// run compares the results of a sequence of records.
func (b *both) run(t *testing.T, q *sequence, records int) {
	t.Helper()
	var text []byte
	var ends, lines []int // of the records and of their lines
	for range records {
		record, behind := q.next()
		text = append(text, record...)
		ends = append(ends, len(text))
		text = append(text, behind...)
		lines = append(lines, len(text))
	}
	eager := q.IntN(2) == 0
	from := 0
	for i, end := range ends {
		record := text[from:end]
		rest := text[from:]
		if lines[i] == end { // no end of a line
			rest = text[from:end:end]
		}
		got, n := b.got(rest, len(record), q.IntN(4) > 0)
		if n > 0 {
			if n != lines[i]-from {
				t.Fatalf("of record %d, AppendLine takes %d bytes, want %d: %q", i, n, lines[i]-from, text[from:lines[i]])
			}
			record = bytes.TrimRight(text[from:lines[i]], "\r\n\t ,]")
		}
		if want := b.want(record); !reflect.DeepEqual(got, want) {
			t.Fatalf("record %d is %q\ngot  %+v\nwant %+v", i, record, got, want)
		}
		if got.refusal == "" {
			b.checkMarks(t, i, strings.TrimPrefix(got.row, "before"))
		}
		if eager {
			b.parser.predictor.pausing = 0
			if i%3 == 0 {
				b.parser.predictor.learnNow()
			}
		}
		if i%16 == 0 {
			b.runs = max(b.runs, b.parser.predictor.runs())
			b.checkBounds(t)
		}
		from = lines[i]
	}
}

// checkBounds checks that shapes are not larger than they may be.
func (b *both) checkBounds(t *testing.T) {
	t.Helper()
	shapes := b.parser.predictor.shapes.all
	if len(shapes) > maxShapes {
		t.Fatalf("there are %d shapes", len(shapes))
	}
	for _, sh := range shapes {
		if len(sh.slots) > maxSlots || len(sh.text) > shapeText {
			t.Fatalf("a shape has %d slots and a text of %d bytes", len(sh.slots), len(sh.text))
		}
	}
}

// checkMarks checks that the marks of a row are one for each member, of the row and of its
// properties, and in the same order; or that there is only one for the whole.
func (b *both) checkMarks(t *testing.T, i int, row string) {
	t.Helper()
	const at = 7
	got := b.parser.AppendMarks(nil, at)
	if len(got) == 1 && got[0] == (rowmark.Mark{At: at, Name: rowmark.Unknown}) {
		return
	}
	b.marked++
	s := scanner{every: true}
	if s.reset([]byte(row)); !s.record() || len(s.outer) != 7 {
		t.Fatalf("row %d, %q, has %d members", i, row, len(s.outer))
	}
	var want []rowmark.Mark
	for n, name := range []uint16{nameDevice, nameDistinct, nameEvent, nameInsert, nameProperties, nameTime, nameUser} {
		from := s.outer[n].key.from - 1 // a brace or comma
		want = append(want, rowmark.Mark{At: int32(at + from), Name: name, Text: uint16(s.outer[n].value.from - from)})
		for _, m := range s.inner {
			if name == nameProperties {
				text := row[m.key.from:m.value.from]
				want = append(want, rowmark.Mark{At: int32(at + m.key.from), Name: uint16(b.parser.predictor.numbers[text]), Text: uint16(len(text))})
			}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("row %d, %q, has marks\n%v, want\n%v", i, row, got, want)
	}
}

// Whatever records came before, a record has the row, key, flags, refusal, link and marks
// that it has alone.
func TestSequencesOfRecords(t *testing.T) {
	t.Parallel()
	first, last := uint64(1), *sequencesFlag
	if *sequenceFlag > 0 {
		first, last = *sequenceFlag, *sequenceFlag
	}
	var records, marked, runs int
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("again: go test ./host/internal/schema -run TestSequencesOfRecords -schema.sequence=%d", seed)
				}
			}()
			q, b := newSequence(seed, nil), newBoth(seed)
			n := 50 + q.IntN(551)
			b.run(t, q, n)
			records, marked, runs = records+n, marked+b.marked, max(runs, b.runs)
		})
	}
	t.Logf("%d records, %d with marks; up to %d properties that are expected to be the same", records, marked, runs)
	if *sequenceFlag == 0 && (marked < records/4 || runs < 10) {
		t.Error("too few records are predicted to compare")
	}
}

// FuzzSequences is TestSequencesOfRecords with edits in addition to those of the seed.
func FuzzSequences(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(seed, uint16(60+40*seed), []byte{})
		f.Add(seed, uint16(300), []byte{60, 3, byte(seed), 100, 0, 123, 1, 2, 30, 250, 7, byte(seed)})
	}
	f.Fuzz(func(t *testing.T, seed uint64, records uint16, edits []byte) {
		newBoth(seed).run(t, newSequence(seed, bytes.Clone(edits)), int(records%600))
	})
}
