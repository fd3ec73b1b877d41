package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func clock() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

// record is a record whose event is named by a number.
func record(n int) string {
	return fmt.Sprintf(`{"event":"e%d","properties":{"time":1780000000,"$insert_id":"%d"}}`, n, n)
}

// source is a Source of pieces in memory, and then an error or the end.
type source struct {
	pieces []*Piece
	next   int
	err    error
	wait   bool // at the end: for ctx
}

func (s *source) Next(ctx context.Context) (*Piece, error) {
	if s.next < len(s.pieces) {
		s.next++
		return s.pieces[s.next-1], nil
	}
	if s.wait {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if s.err != nil {
		return nil, s.err
	}
	return nil, io.EOF
}

// sink notes each call, in order.
type sink struct {
	log    []string
	fail   error
	onPut  func()
	events []string
}

func (s *sink) Append(_ context.Context, c journal.Chunk) error {
	if s.onPut != nil {
		s.onPut()
	}
	if s.fail != nil {
		return s.fail
	}
	for _, r := range c.Rows {
		row := string(c.Data[r.Offset : r.Offset+r.Length])
		_, rest, _ := strings.Cut(row, `"event_name":"`)
		name, _, _ := strings.Cut(rest, `"`)
		s.events = append(s.events, name)
	}
	for _, m := range c.Cursors {
		s.log = append(s.log, fmt.Sprintf("%d rows, cursor %s to %s", len(c.Rows), m.From, m.To))
	}
	return nil
}

func (s *sink) Put(file string, _ int, from, to int64, refused []Refusal) error {
	for _, r := range refused {
		s.log = append(s.log, fmt.Sprintf("refused %s %d-%d at %d: %s %q", file, from, to, r.At, r.Reason, r.Bytes))
	}
	return nil
}

func run(ctx context.Context, src *source, s *sink) (*Counters, error) {
	counters := &Counters{}
	err := Run(ctx, Options{Source: src, Appender: s, Rejects: s, Now: clock, Counters: counters, Workers: 4})
	return counters, err
}

func TestOrderIsThatOfTheSource(t *testing.T) {
	src, want := &source{}, []string{}
	var released atomic.Int64
	for i := range 300 {
		// Pieces of very different sizes overtake each other in the workers.
		var b strings.Builder
		for j := range 1 + i%7*40 {
			b.WriteString(record(i*1000+j) + "\n")
			want = append(want, fmt.Sprintf("e%d", i*1000+j))
		}
		src.pieces = append(src.pieces, &Piece{Data: []byte(b.String()), Read: 10, Release: func() { released.Add(1) }})
	}
	s := &sink{}
	counters, err := run(t.Context(), src, s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.events); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if released.Load() != 300 || counters.Read.Load() != 3000 || counters.Rows.Load() != int64(len(want)) || counters.Records.Load() != int64(len(want)) {
		t.Errorf("%d pieces released, counters %d bytes, %d rows, %d records", released.Load(), counters.Read.Load(), counters.Rows.Load(), counters.Records.Load())
	}
}

// moved is the cursor of a piece that moves it whatever was repaired.
func moved(m *journal.CursorMove) func(int64) []journal.CursorMove {
	return func(int64) []journal.CursorMove { return []journal.CursorMove{*m} }
}

// Refused records are set aside before the cursor passes them.
func TestRefusalsComeBeforeTheCursor(t *testing.T) {
	data := record(1) + "\n\n  \nnonsense\n[" + record(2) + `, {"event":7}, ` + record(3) + "]\r\n[1"
	src := &source{pieces: []*Piece{
		{Data: []byte(data), Base: 100, End: 100 + int64(len(data)), File: "f", Cursor: moved(&journal.CursorMove{To: []byte("a")})},
		{Data: []byte("xx" + record(4) + "yy"), Records: []Span{{2, 2 + len(record(4))}}, File: "f",
			Refused: []Refusal{{At: 7, Reason: "by_source"}}, Cursor: moved(&journal.CursorMove{From: []byte("a"), To: []byte("b")})},
	}}
	s := &sink{}
	counters, err := run(t.Context(), src, s)
	if err != nil {
		t.Fatal(err)
	}
	at := func(part string) int { return 100 + strings.Index(data, part) }
	want := []string{
		fmt.Sprintf(`refused f 100-%d at %d: invalid_json "nonsense"`, 100+len(data), at("nonsense")),
		fmt.Sprintf(`refused f 100-%d at %d: no_event_name "{\"event\":7}"`, 100+len(data), at(`{"event":7}`)),
		fmt.Sprintf(`refused f 100-%d at %d: invalid_json "[1"`, 100+len(data), at("[1")),
		"3 rows, cursor  to a",
		`refused f 0-0 at 7: by_source ""`,
		"1 rows, cursor a to b",
	}
	if diff := cmp.Diff(want, s.log); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"e1", "e2", "e3", "e4"}, s.events); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if counters.Refused.Load() != 4 || counters.Records.Load() != 8 {
		t.Errorf("counted %d refused of %d records", counters.Refused.Load(), counters.Records.Load())
	}
}

func TestLinesThatAreArrays(t *testing.T) {
	for line, want := range map[string]string{
		"[]":                                 "",
		" [ ] ":                              "",
		"[" + record(1) + "]":                "e1",
		"[" + record(1) + "][" + record(2):   "e1 e2 !invalid_json",
		"[" + record(1) + ",null," + "[]]":   "e1 !invalid_json",
		"[" + record(1) + "] x":              "e1 !invalid_json",
		"[" + record(1) + `,{"event":"x`:     "e1 !invalid_json",
		"[" + record(1):                      "e1 !invalid_json",
		`["]",` + record(1) + `,"\\\"]"]`:    "e1 !invalid_json !invalid_json",
		`[{}, ` + record(1) + `,"\\\"]"]`:    "e1 !no_event_name !invalid_json",
		record(1) + " , ":                    "e1",
		"[2026-11-28] \"started":             "!invalid_json",
		"[" + record(1) + " " + record(2):    "e1 e2 !invalid_json",
		"[" + strings.Repeat("x", 2<<20):     "!too_long",
		strings.Repeat(" ", 2<<20) + "{":     "!too_long",
		"[" + strings.Repeat(" ", 10) + "}]": "!invalid_json",
	} {
		var r result
		r.parse((&Options{Now: clock}).parser(), &Piece{Data: []byte(line)})
		var got []string
		// Rows first, then refusals.
		s := &sink{}
		_ = s.Append(t.Context(), journal.Chunk{Rows: r.rows, Data: r.data})
		got = append(got, s.events...)
		for _, refused := range r.refused {
			got = append(got, "!"+string(refused.Reason))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%.60s: got %v, want %s", line, got, want)
		}
	}
}

// Records about profiles become operations, each known by its place.
func TestPeople(t *testing.T) {
	data := `[{"$distinct_id":"a","$add":{"n":1},"$unset":["x"]},{"$distinct_id":"a","$add":{"n":1}},{"$distinct_id":7}]` + "\n" +
		`{"distinct_id":"b","properties":{"p":1}}` + "\n" + `{"$distinct_id":"b","$remove":{"p":[]}}`
	parse := func(file string, base int64) result {
		var r result
		r.parse((&Options{Records: People, Now: clock}).parser(), &Piece{Data: []byte(data), File: file, Base: base})
		return r
	}
	r := parse("f", 50)
	want := strings.NewReplacer("TIME", fmt.Sprint(clock().UnixMilli())).Replace(
		`{"distinct_id":"a","operation":"$add","time":TIME,"last_seen":true,"value":{"n":1}}` + "\n" +
			`{"distinct_id":"a","operation":"$unset","time":TIME,"last_seen":true,"value":["x"]}` + "\n" +
			`{"distinct_id":"a","operation":"$add","time":TIME,"last_seen":true,"value":{"n":1}}` + "\n" +
			`{"distinct_id":"b","operation":"$set","time":TIME,"last_seen":false,"value":{"p":1}}` + "\n")
	if diff := cmp.Diff(want, string(r.data)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	var got []string
	for _, refused := range r.refused {
		got = append(got, fmt.Sprintf("%d %s", refused.At, refused.Reason))
	}
	at := func(part string) int { return 50 + strings.Index(data, part) }
	wantRefused := []string{fmt.Sprintf("%d unknown_operation", at(`{"$distinct_id":7`)), fmt.Sprintf("%d invalid_value", at(`{"$distinct_id":"b"`))}
	if diff := cmp.Diff(wantRefused, got); diff != "" || r.records != 5 {
		t.Errorf("%d records, refused %s", r.records, diff)
	}
	keys := map[journal.Key]bool{}
	for _, other := range []result{r, parse("g", 50), parse("f", 51), parse("f", 50)} {
		for _, row := range other.rows {
			keys[row.Key] = true
			if row.Kind != journal.KindProfiles || row.Time != clock().Unix() {
				t.Errorf("a row of kind %s at %d", row.Kind, row.Time)
			}
		}
	}
	if len(keys) != 12 {
		t.Errorf("%d keys for 4 rows at 3 places", len(keys))
	}
}

// Repaired records are counted, and the cursor learns how many there were.
func TestRepairedRecordsAreCounted(t *testing.T) {
	const event, lone = `{"event":"e","properties":{"time":1780000000,"n":%d,"a":"x"}}`, `\ud83d`
	var data strings.Builder
	for n := range 10 {
		line := fmt.Sprintf(event, n)
		if n%3 == 0 {
			line = strings.Replace(line, "x", lone, 1)
		}
		data.WriteString(line + "\n")
	}
	data.WriteString(`{"event":"refused","properties":{"a":"` + lone + `"}}` + "\n")
	var cursor int64
	piece := &Piece{Data: []byte(data.String()), File: "f", Cursor: func(repaired int64) []journal.CursorMove {
		cursor += repaired
		return nil
	}}
	counters, err := run(t.Context(), &source{pieces: []*Piece{piece}}, &sink{})
	if err != nil || counters.Repaired.Load() != 4 || cursor != 4 || counters.Rows.Load() != 10 {
		t.Errorf("%d repaired, %d in the cursor, %d rows, %v", counters.Repaired.Load(), cursor, counters.Rows.Load(), err)
	}
	var r result
	r.parse((&Options{Records: People, Now: clock}).parser(), &Piece{Data: []byte(`{"$distinct_id":"` + lone + `","$set":{},"$unset":[]}` + "\n" + `{"$distinct_id":"u","$set":{}}`)})
	if r.repaired != 1 || len(r.rows) != 3 {
		t.Errorf("%d of the records about people repaired, %d rows", r.repaired, len(r.rows))
	}
}

func TestARecordThatIsTooLongIsKeptWhole(t *testing.T) {
	var r result
	record := `{"x":"` + strings.Repeat("x", schema.MaxRecord) + `"}`
	r.parse((&Options{Now: clock}).parser(), &Piece{Data: []byte(record)})
	if len(r.refused) != 1 || r.refused[0].Reason != schema.TooLong || string(r.refused[0].Bytes) != record || r.refused[0].Truncated {
		t.Errorf("got %d refused, %d bytes", len(r.refused), len(r.refused[0].Bytes))
	}
}

// Rows read before the source failed reach the journal.
func TestSourceThatFails(t *testing.T) {
	broken := errors.New("broken")
	src := &source{err: broken}
	for i := range 10 {
		src.pieces = append(src.pieces, &Piece{Data: []byte(record(i))})
	}
	s := &sink{}
	if _, err := run(t.Context(), src, s); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if len(s.events) != 10 {
		t.Errorf("%d of 10 rows", len(s.events))
	}
}

func TestAppenderThatFails(t *testing.T) {
	full := errors.New("full")
	src := &source{wait: true}
	for i := range 100 {
		src.pieces = append(src.pieces, &Piece{Data: []byte(record(i)), File: "f"})
	}
	if _, err := run(t.Context(), src, &sink{fail: full}); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if src.next > 10 {
		t.Errorf("%d pieces were read for an appender that takes none", src.next)
	}
}

func TestCancel(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	src := &source{wait: true}
	for i := range 100 {
		src.pieces = append(src.pieces, &Piece{Data: []byte(record(i))})
	}
	puts := 0
	s := &sink{onPut: func() {
		if puts++; puts == 20 {
			cancel(stop)
		}
	}}
	if _, err := run(ctx, src, s); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	// They are the first rows of the source.
	for i, e := range s.events {
		if e != fmt.Sprintf("e%d", i) {
			t.Fatalf("row %d is %s", i, e)
		}
	}
}

// Records that came earlier are as they were then, whenever they are read.
func TestPeopleThatCameEarlier(t *testing.T) {
	now := clock()
	parse := func() []journal.Row {
		now = now.Add(30 * time.Hour)
		var r result
		r.parse((&Options{Records: People, Now: func() time.Time { return now }}).parser(), &Piece{
			Data: []byte(`{"$distinct_id":"a","$add":{"n":1}}`), File: "quarantined:1", Arrived: clock(),
		})
		return r.rows
	}
	if once, again := parse(), parse(); len(once) != 1 || !slices.Equal(once, again) || once[0].Time != clock().Unix() {
		t.Errorf("%+v, then %+v", once, again)
	}
}

// kinds notes the kinds of rows, in order.
type kinds struct{ list []journal.Kind }

func (k *kinds) Append(_ context.Context, c journal.Chunk) error {
	for _, r := range c.Rows {
		k.list = append(k.list, r.Kind)
	}
	return nil
}

// Pulled events bring identity links, each after its event.
func TestPulledEventsBringLinks(t *testing.T) {
	t.Parallel()
	lines := `{"event":"a","properties":{"time":1780000000,"$insert_id":"1","distinct_id":"U","$device_id":"D","$user_id":"U"}}
{"event":"b","properties":{"time":1780000001,"$insert_id":"2","distinct_id":"U","$device_id":"D","$user_id":"U"}}
not JSON
{"event":"c","properties":{"time":1780000002,"$insert_id":"3","distinct_id":"V","$device_id":"D","$user_id":"V","$identity_failure_reason":"x"}}
`
	k, rejects := &kinds{}, &sink{}
	counters := &Counters{}
	err := Run(t.Context(), Options{
		Source: &source{pieces: []*Piece{{Data: []byte(lines), File: "day"}}}, Records: Pulled, Appender: k, Rejects: rejects, Now: clock, Counters: counters,
	})
	want := []journal.Kind{journal.KindEvents, journal.KindLinks, journal.KindEvents, journal.KindEvents}
	if err != nil || !slices.Equal(k.list, want) {
		t.Errorf("%v rows (%v), want %v", k.list, err, want)
	}
	if n := counters.Refused.Load(); n != 1 {
		t.Errorf("%d refused", n)
	}
}

// FuzzLines holds lines that are scanned together with their ends against lines that are
// looked for first, in a piece that is parsed twice by the same parsers.
func FuzzLines(f *testing.F) {
	const usual = `{"event":"e","properties":{"time":1780000000,"$insert_id":"i","a":[1,"é"]}}`
	for _, seed := range []string{
		usual + "\n" + usual + ",\r\n" + usual + "]\n" + usual, "[\n" + usual + ",\n" + usual + "\n]\n", usual + "\x00\n" + usual + usual + "\n",
		"{\"event\":\"e\",\n\"properties\":{\"time\":1}}\n" + usual + " ,\t\n", "{\"event\":\"e\",\"properties\":{\"time\":1,\"a\":[\n1]}}\n", " " + usual + "\n\n\r\n" + usual + "\n}",
		`{"event":"e","properties":{"distinct_id":1}}` + "\n" + usual + "x\n" + `{"event":"","properties":{}}` + "\n", `{"event":"e","properties":{"time":1780000000,"token":"t","a":"\ud800"}}` + "\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		now := func() time.Time { return time.Unix(1_790_000_000, 0) }
		parse := func(p parser) *result {
			var r result
			for range 2 {
				r.parse(p, &Piece{Data: data, File: "f"})
			}
			return &r
		}
		lines := fileParser(schema.NewParser(now), true)
		apart := fileParser(schema.NewParser(now), true)
		apart.line = nil
		got, want := parse(lines), parse(apart)
		// Marks are hints, and of a record that only one of them predicts they differ.
		got.marks, want.marks = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("of %q\nlines: %+v\napart: %+v", data, got, want)
		}
	})
}
