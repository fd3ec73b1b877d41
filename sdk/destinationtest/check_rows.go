package destinationtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
)

// arrives exports a run and asserts that its rows are there, in their days.
func (b *bench) arrives(d data) {
	b.Helper()
	p := b.start()
	run := b.run(1, 1)
	p.mustExport(run, d)
	b.expectRows(run, d.lines(), "after the commit")
	p.expectState(run, sdk.Committed, 1)
}

func emptyRun(b *bench) { b.arrives(nil) }

func emptyPartition(b *bench) {
	date := firstDay.Format(time.DateOnly)
	b.arrives(data{{date: date}, {date: "2026-06-02", batches: [][]Row{{}}}})
}

func oneRow(b *bench) { b.arrives(days("one", 1, 1)) }

func manyDays(b *bench) {
	n := 40
	if limit := b.launch().describe().Capabilities.MaxDaysPerRun; limit > 0 {
		n = min(n, limit)
	}
	b.arrives(days("many", n, 7))
}

// strange returns rows that change when a destination decodes and encodes them
// carelessly, such as numbers that do not fit a double. Every destination must
// take the rows without flags.
func strange() []Row {
	plain := []string{
		`{"text":"é ü ß 日本語 العربية עברית 😀 👩‍👩‍👧 \u00e9 e\u0301 \ud83d\ude00"}`,
		"{\"line separators\":\"\u2028\u2029\",\"bom\":\"\ufeff\",\"del\":\"\u007f\",\"replacement\":\"\ufffd\"}",
		`{"escapes":"\"\\\/\b\f\n\r\t\u001f","slash":"a/b","angle":"<&>"}`,
		`{"":"empty key","a.b":"dot","$set":"dollar","with space":"space","é":"é"}`,
		`{ "white" :  "space" , "kept" : [ 1 , 2 ] }`,
		`{"numbers":[0,-0,0.10,1.0,1e3,1E+2,-1.5e-7,9007199254740991,0.30000000000000004]}`,
		`{"null":null,"true":true,"false":false,"empty":{},"none":[],"nested":[[[{"a":[{}]}]]]}`,
		`{"order":{"z":1,"a":2,"m":3}}`,
		`{}`,
	}
	var rows []Row
	for i, properties := range plain {
		rows = append(rows, event(firstDay, fmt.Sprintf("plain-%d", i), properties))
	}
	flagged := []struct {
		properties string
		flags      batch.Flags
	}{
		{`{"nul":"a\u0000b"}`, batch.NUL},
		{`{"a":1,"a":2}`, batch.DuplicateKey},
		{`{"wide":[1e400,9007199254740993,123456789012345678901234567890]}`, batch.WideNumber},
		{`{"rounded":[0.1234567890123456789,1e-400]}`, batch.RoundedNumber},
		{`{"lone":"\ud800 \udc00"}`, batch.LoneSurrogate},
		{`{"deep":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, batch.Deep},
	}
	for i, f := range flagged {
		row := event(firstDay, fmt.Sprintf("flagged-%d", i), f.properties)
		row.Flags = f.flags
		rows = append(rows, row)
	}
	return rows
}

func byteForByte(b *bench) {
	b.takesOrRejects(data{{date: firstDay.Format(time.DateOnly), batches: slices.Collect(slices.Chunk(strange(), 4))}}, func(r Row) bool {
		return r.Flags != 0
	})
}

func longRow(b *bench) {
	pad := func(n int) Row {
		frame := len(event(firstDay, "long", `{"pad":""}`).Line)
		return event(firstDay, "long", `{"pad":"`+strings.Repeat("0123456789abcdef", n/16+1)[:n-frame]+`"}`)
	}
	short := event(firstDay, "short", "{}")
	rows := [][]Row{{short, pad(300 << 10)}, {pad(b.h.LongestRow)}, {pad(4 << 20)}, {short}}
	b.takesOrRejects(data{{date: firstDay.Format(time.DateOnly), batches: rows}}, func(r Row) bool {
		return len(r.Line) > b.h.LongestRow
	})
}

// takesOrRejects exports rows of which some may be rejected. The other rows must
// be at the destination; a rejected row must be counted and returned unchanged.
func (b *bench) takesOrRejects(d data, mayReject func(Row) bool) {
	b.Helper()
	p := b.start()
	run := b.run(1, 1)
	s, receipt, err := p.export(run, d)
	if err != nil {
		b.Fatalf("export: %v", err)
	}
	want := d.lines()
	rejected := make([]uint64, len(d))
	for _, r := range s.rejected {
		if r.Partition >= len(d) || r.Row >= uint64(len(d[r.Partition].rows())) {
			b.Fatalf("rejected: partition %d row %d, which was not sent", r.Partition, r.Row)
		}
		sent := d[r.Partition].rows()[r.Row]
		if string(r.Line) != sent.Line || r.Reason == "" {
			b.Errorf("row %d was rejected as %s because %q; it was sent as %s", r.Row, shorten(string(r.Line)), r.Reason, shorten(sent.Line))
		}
		if !mayReject(sent) {
			b.Errorf("a row was rejected that every destination takes, because %q: %s", r.Reason, shorten(sent.Line))
		}
		date := d[r.Partition].date
		if i := slices.Index(want[date], sent.Line); i >= 0 {
			want[date] = slices.Delete(want[date], i, i+1)
		}
		rejected[r.Partition]++
	}
	for i, part := range receipt.Partitions {
		if part.Rejected != rejected[i] || part.Rows+part.Rejected != uint64(len(d[i].rows())) {
			b.Errorf("receipt of partition %d is %d rows and %d rejected; %d of %d came back",
				i, part.Rows, part.Rejected, rejected[i], len(d[i].rows()))
		}
	}
	b.expectRows(run, want, "after the commit")
}

func refusedRows(b *bench) {
	if len(b.h.Refused) == 0 {
		b.Skipf("the harness names no rows that the destination refuses")
	}
	good := days("good", 1, 5)[0].rows()
	rows := slices.Concat(good[:2], b.h.Refused, good[2:])
	d := data{{date: firstDay.Format(time.DateOnly), batches: slices.Collect(slices.Chunk(rows, 3))}}
	p := b.start()
	s, _, err := p.export(b.run(1, 1), d)
	if err != nil {
		b.Fatalf("export: %v", err)
	}
	if len(s.rejected) != len(b.h.Refused) {
		b.Errorf("%d rows were rejected, want the %d that the harness names", len(s.rejected), len(b.h.Refused))
	}
	b.elsewhere().takesOrRejects(d, func(r Row) bool {
		return slices.ContainsFunc(b.h.Refused, func(f Row) bool { return f.Line == r.Line })
	})
}

func twoRuns(b *bench) {
	p := b.start()
	first, second := days("first", 3, 5), days("second", 4, 5) // the days overlap
	p.mustExport(b.run(1, 1), first)
	p.mustExport(b.run(2, 2), second)
	b.expectRows(b.run(2, 2), union(first, second), "after two runs")
	p.expectState(b.run(1, 0), sdk.Committed, 2)
	p.expectState(b.run(2, 0), sdk.Committed, 2)
	p.expectState(b.run(3, 0), sdk.Absent, 2)
	third := days("third", 1, 1)
	b.start().mustExport(b.run(3, 3), third) // by another process
	b.expectRows(b.run(3, 3), union(first, second, third), "after a third run by another process")
}
