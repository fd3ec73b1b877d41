package schema

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/rowmark"
)

// Marks stand where texts before values are, in order, and equal numbers are of equal
// texts, also where the properties of records differ.
func TestMarksStandBeforeValues(t *testing.T) {
	p := NewParser(time.Now)
	var data []byte
	var marks []rowmark.Mark
	texts := map[uint16]string{}
	for i := range 300 {
		extra := ""
		switch i % 5 {
		case 1:
			extra = `,"plan": "pro"`
		case 2:
			extra = `,"nested":{"a":{"b":[1,2,{"c":"}"}]}},"after":null`
		case 3:
			extra = fmt.Sprintf(`, "n%d":-1.5e3`, i)
		}
		record := fmt.Sprintf(`{"event": "View","properties": {"time":1780000000,"distinct_id":"u%d","$insert_id":"i%d"%s}}`, i%7, i, extra)
		start := len(data)
		var err error
		if data, _, err = p.AppendEvent(data, []byte(record)); err != nil {
			t.Fatal(err)
		}
		from := len(marks)
		marks = p.AppendMarks(marks, start)
		if n, want := len(marks)-from, strings.Count(record, `":`)-strings.Count(record, `{"a"`)*3+5; n != want {
			t.Fatalf("%d marks, want %d, of %s", n, want, data[start:])
		}
	}
	end := int32(0)
	for _, m := range marks {
		text := string(data[m.At : m.At+int32(m.Text)])
		if m.At < end || !strings.HasSuffix(strings.TrimRight(text, " "), `":`) {
			t.Fatalf("a mark stands before %q, at %d, behind %d", text, m.At, end)
		}
		if other, ok := texts[m.Name]; ok && other != text {
			t.Fatalf("number %d is of %q and of %q", m.Name, other, text)
		}
		texts[m.Name], end = text, m.At+int32(m.Text)
	}
}

// Of a row whose properties are not as they came, and of a record of no usual form, no
// member is marked.
func TestRowsWithoutMarks(t *testing.T) {
	p := NewParser(time.Now)
	for _, record := range []string{
		`{"event":"View","properties":{"time":1780000000,"token":"secret","distinct_id":"u"}}`,
		`{"properties":{"time":1780000000,"distinct_id":"u"},"event":"View"}`,
		`{"event":"View","properties":{"time":1780000000,"a":1,"a":2}}`,
		`{"event":"View","properties":{"time":1780000000,"a":"\ud800"}}`,
	} {
		if _, _, err := p.AppendEvent(nil, []byte(`{"event":"View","properties":{"time":1780000000,"distinct_id":"u"}}`)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.AppendEvent(nil, []byte(record)); err != nil {
			t.Fatal(err)
		}
		if marks := p.AppendMarks(nil, 7); len(marks) != 1 || marks[0] != (rowmark.Mark{At: 7, Name: rowmark.Unknown}) {
			t.Errorf("marks %v of %s", marks, record)
		}
	}
}
