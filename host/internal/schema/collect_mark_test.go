package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/host/internal/rowmark"
)

// checkMarks returns the texts that the marks of a row stand before, and fails unless they are
// names, one after another, each of which begins where the row has such a member.
func checkMarks(t testing.TB, row []byte, marks []rowmark.Mark, at int) (texts []string) {
	t.Helper()
	end := at
	for _, m := range marks {
		from := int(m.At) - at
		if int(m.At) < end || from+int(m.Text) > len(row) {
			t.Fatalf("a mark of %d bytes at %d of %s", m.Text, from, row)
		}
		text := string(row[from : from+int(m.Text)])
		if m.Name != rowmark.Unknown && !strings.HasSuffix(strings.TrimRight(text, " "), `":`) {
			t.Fatalf("a mark stands before %q, at %d of %s", text, from, row)
		}
		texts, end = append(texts, text), int(m.At)+int(m.Text)
	}
	return texts
}

// A row's marks stand before the values of its columns, of the properties that were not
// removed, and of those that were added.
func TestCollectedRowsAreMarked(t *testing.T) {
	t.Parallel()
	a := arrival()
	a.Endpoint = "in.example.com"
	for _, test := range []struct{ properties, want string }{
		{`"time":1780000000,"$insert_id":"i1","distinct_id":"u","a":1`, `"time": "$insert_id": "distinct_id": "a":`},
		{`"token":"t","time":1780000000,"$insert_id":"i1","distinct_id":"u"`, `"time": "$insert_id": "distinct_id":`},
		{`"token":"t", "ip":"::1", "time":1780000000,"$insert_id":"i1", "distinct_id": "u"`, `"time": "$insert_id": "distinct_id": `},
		{`"time":1780000000,"token":"t","$insert_id":"i1", "distinct_id":"u","ip":"::1"`, `"time": "$insert_id": "distinct_id":`},
		{`"time":1780000000, "token":"t", "a":{"b":[1]}, "ip":"::1", "$insert_id":"i1","distinct_id":"u"`, `"time": "a": "$insert_id": "distinct_id":`},
		{`"token":"t","ip":"::1","time":1780000000,"token2":"t","mp_processing_time_ms":1,"distinct_id":"u","$insert_id":"i1"`, `"time": "token2": "distinct_id": "$insert_id":`},
	} {
		body := []byte(`{"event":"View","properties":{` + test.properties + `}}`)
		c := collector()
		for range 2 {
			c.Begin(body, false)
			if !c.Next() {
				t.Fatal(c.Err())
			}
			row, _, err := c.AppendEvent(nil, a)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(checkMarks(t, row, c.AppendMarks(nil, 100), 100), " ")
			// $user_id is added, in the part of which the members are not known.
			want := fmt.Sprintf(`{"device_id": ,"distinct_id": ,"event_name": ,"insert_id": ,"properties": %s  ,"$mp_api_endpoint":"in.example.com","$mp_api_timestamp_ms": ,"$mp_event_size": ,"mp_processing_time_ms": ,"time": ,"user_id":`, test.want)
			if got != want {
				t.Errorf("marks of %s\n%s\nwant\n%s", row, got, want)
			}
		}
	}
}

// Of a row whose properties were cut, and of a record of no usual form, no member is marked.
func TestCollectedRowsWithoutMarks(t *testing.T) {
	t.Parallel()
	c := collector()
	for _, record := range []string{
		`{"event":"View","properties":{"time":1780000000,"a":"` + strings.Repeat("x", 300) + `"}}`,
		`{"properties":{"time":1780000000,"distinct_id":"u"},"event":"View"}`,
		`{"event":"View","properties":{"time":1780000000,"a":1,"a":2}}`,
		`{"event":"View","properties":{"time":1780000000,"a":"\ud800"}}`,
	} {
		c.Begin([]byte(record), false)
		if !c.Next() {
			t.Fatal(c.Err())
		}
		if _, _, err := c.AppendEvent(nil, arrival()); err != nil {
			t.Fatal(err)
		}
		if marks := c.AppendMarks(nil, 7); len(marks) != 1 || marks[0] != (rowmark.Mark{At: 7, Name: rowmark.Unknown}) {
			t.Errorf("marks %v of %s", marks, record)
		}
	}
}

// Two collectors give equal names equal numbers, in whichever order these came.
func TestNumbersOfNamesAreThoseOfAllCollectors(t *testing.T) {
	t.Parallel()
	marks := func(c *Collector, properties string) map[string]uint16 {
		numbers := map[string]uint16{}
		c.Begin([]byte(`{"event":"View","properties":{`+properties+`}}`), false)
		if !c.Next() {
			t.Fatal(c.Err())
		}
		row, _, err := c.AppendEvent(nil, arrival())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.AppendMarks(nil, 0) {
			numbers[string(row[m.At:m.At+int32(m.Text)])] = m.Name
		}
		return numbers
	}
	a, b := marks(collector(), `"time":1780000000,"a":1,"b":2`), marks(collector(), `"b":2,"time":1780000000,"a":1`)
	for text, number := range a {
		if b[text] != number {
			t.Errorf("%q has the numbers %d and %d", text, number, b[text])
		}
	}
	if a[`"a":`] == 0 || a[`"a":`] == a[`"b":`] {
		t.Errorf("numbers are %v", a)
	}
}
