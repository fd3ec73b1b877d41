package columns

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/sdk/unusual"
)

func event(id, properties string) string {
	return fmt.Sprintf(`{"device_id":null,"distinct_id":%s,"event_name":"View","insert_id":"i","properties":%s,"time":1780000000,"user_id":"u"}`, id, properties)
}

func TestRowsAreSplitAndRenderedAgain(t *testing.T) {
	tests := []struct {
		name   string
		stream batch.Stream
		line   string
		want   []string // texts; "<null>" for null
		exact  bool
	}{
		{"event", batch.Events, event(`"u1"`, `{"a":1}`), []string{"<null>", "u1", "View", "i", `{"a":1}`, "1780000000", "u"}, true},
		{"names of columns in properties", batch.Events, event(`"u1"`, `{"time":1,"user_id":"x","properties":{"time":2}}`), []string{"<null>", "u1", "View", "i", `{"time":1,"user_id":"x","properties":{"time":2}}`, "1780000000", "u"}, true},
		{"a string that looks like the end", batch.Events,
			`{"device_id":"d","distinct_id":"a","event_name":"e","insert_id":"i","properties":{},"time":-1,"user_id":"x,\"user_id\":\"y"}`,
			[]string{"d", "a", "e", "i", "{}", "-1", `x,"user_id":"y`}, true},
		{"escapes that are kept", batch.Events, event(`"a\"b\\c\n\u0001"`, `{"a":"\u00e9"}`), []string{"<null>", "a\"b\\c\n\x01", "View", "i", `{"a":"\u00e9"}`, "1780000000", "u"}, true},
		{"an escape that is not needed", batch.Events, event(`"\u00e9\/\ud83d\ude00"`, `{}`), []string{"<null>", "é/😀", "View", "i", "{}", "1780000000", "u"}, false},
		{"a surrogate without partner", batch.Events, event(`"a\ud800b"`, `{}`), []string{"<null>", "a\ufffdb", "View", "i", "{}", "1780000000", "u"}, false},
		{"white space in properties", batch.Events, event(`"u"`, `{ "a" : "}" }`), []string{"<null>", "u", "View", "i", `{ "a" : "}" }`, "1780000000", "u"}, true},
		{"person", batch.People, `{"distinct_id":"u","properties":{"$email":"a,b"}}`, []string{"u", `{"$email":"a,b"}`}, true},
		{"link", batch.Identity, `{"distinct_id":"a\\","resolved_distinct_id":"b"}`, []string{`a\`, "b"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var row Row
			exact, err := newSplitter(tt.stream).split([]byte(tt.line), &row)
			if err != nil {
				t.Fatal(err)
			}
			if got := texts(tt.stream, row); !slices.Equal(got, tt.want) || exact != tt.exact {
				t.Errorf("%q, exact %t; want %q, %t", got, exact, tt.want, tt.exact)
			}
			if line := string(AppendLine(nil, tt.stream, &row, false)); exact && line != tt.line {
				t.Errorf("rendered as %s", line)
			}
			checkEscaped(t, tt.stream, &row)
		})
	}
}

func texts(stream batch.Stream, row Row) []string {
	var got []string
	for i, v := range row.Values {
		switch {
		case v.Null:
			got = append(got, "<null>")
		case Of(stream)[i].Kind == Integer:
			got = append(got, fmt.Sprint(v.Integer))
		default:
			got = append(got, string(v.Text))
		}
	}
	return got
}

// checkEscaped compares the line whose properties are a string with the values, by
// encoding/json.
func checkEscaped(t *testing.T, stream batch.Stream, row *Row) {
	t.Helper()
	var got map[string]any
	line := AppendLine(nil, stream, row, true)
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	for i, c := range Of(stream) {
		v := row.Values[i]
		if c.Kind != Integer && !v.Null && utf8.Valid(v.Text) && got[c.Name] != string(v.Text) {
			t.Errorf("%s is %q, want %q", c.Name, got[c.Name], v.Text)
		}
	}
}

func TestOtherRowsAreRefused(t *testing.T) {
	for _, line := range []string{
		``, `{}`, `}`, `null`, `{"device_id":null}`,
		strings.Replace(event(`"u"`, `{}`), `"time"`, `"Time"`, 1),
		event(`"u"`, `[]`), event(`u`, `{}`), event(`"u`, `{}`), event(`"u\x"`, `{}`), event(`"u\u12"`, `{}`),
		strings.Replace(event(`"u"`, `{}`), `1780000000`, `1e9`, 1),
		strings.Replace(event(`"u"`, `{}`), `"user_id":"u"`, `"user_id":"u" `, 1),
		event(`"u"`, `{}`) + " ",
	} {
		var row Row
		if _, err := newSplitter(batch.Events).split([]byte(line), &row); !errors.Is(err, errForm) {
			t.Errorf("%v for %q", err, line)
		}
	}
}

func TestWholePropertiesAreDropped(t *testing.T) {
	tests := []struct {
		text  string
		limit int
		want  string // empty: it cannot be done
	}{
		{`{"a":"0123456789","b":1,"c":"01234"}`, 45, `{"b":1,"c":"01234","$penstock_dropped":["a"]}`},
		{`{"a":"0123456789","b":1,"c":"01234"}`, 44, `{"b":1,"$penstock_dropped":["a","c"]}`},
		{`{"a":"0123456789","a":"0123456789","b":2}`, 50, `{"a":"0123456789","b":2,"$penstock_dropped":["a"]}`},
		{`{ "a" : [1,{"b":"}"}] , "long" : "日本語日本語日本語日本語" }`, 60, `{"a" : [1,{"b":"}"}],"$penstock_dropped":["long"]}`},
		{`{"$penstock_dropped":["x"],"a":"0123456789012345678901234567890123456789"}`, 40, `{"$penstock_dropped":["a"]}`},
		{`{"a name that is longer than the limit itself":1,"b":2}`, 40, ""},
		{`{"a":1`, 3, ""},
		{`{"a" 1}`, 3, ""},
		{`{"a":1,}`, 3, ""},
	}
	for _, tt := range tests {
		got, ok := dropProperties([]byte(tt.text), tt.limit)
		if string(got) != tt.want || ok != (tt.want != "") {
			t.Errorf("%s in %d bytes: %s, %t", tt.text, tt.limit, got, ok)
		}
		if ok && (len(got) > tt.limit || !json.Valid(got)) {
			t.Errorf("%s has %d bytes of %d, or is not valid", got, len(got), tt.limit)
		}
	}
}

// R1 of the public reports: a string over the declared length keeps Redshift from
// reading the table at all. Both edges are tried, in bytes and not in runes.
func TestLongStrings(t *testing.T) {
	const most = 65_535
	object := func(n int) string {
		return `{"keep":1,"x":"` + strings.Repeat("é", (n-len(`{"keep":1,"x":""}`))/2) + strings.Repeat("y", (n-len(`{"keep":1,"x":""}`))%2) + `"}`
	}
	tests := []struct {
		name     string
		line     string
		truncate bool
		want     string // the properties, or "rejected"
	}{
		{"65,535 bytes", event(`"u"`, object(most)), false, object(most)},
		{"65,536 bytes", event(`"u"`, object(most+1)), false, "rejected"},
		{"65,536 bytes, truncated", event(`"u"`, object(most+1)), true, `{"keep":1,"$penstock_dropped":["x"]}`},
		{"a long id", event(`"`+strings.Repeat("u", most+1)+`"`, `{}`), true, "rejected"},
		{"a long name", strings.Replace(event(`"u"`, `{}`), "View", "x"+strings.Repeat("é", most), 1), true, `{}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := NewDecoder(Options{Stream: batch.Events, Limit: Limit{Bytes: most, Truncate: tt.truncate}})
			got := "rejected"
			reject := func(row uint64, reason string, line []byte) error {
				if row != 1 || string(line) != tt.line || !strings.Contains(reason, "at most 65535 fit") {
					t.Errorf("row %d is rejected because %q", row, reason)
				}
				return nil
			}
			b := destinationtest.NewBatch(destinationtest.Row{Line: event(`"first"`, `{}`)}, destinationtest.Row{Line: tt.line})
			err := d.Batch(b, reject, func(r *Row) error {
				for i, v := range r.Values {
					if len(v.Text) > most || !utf8.Valid(v.Text) {
						t.Errorf("%s has %d bytes, valid %t", Of(batch.Events)[i].Name, len(v.Text), utf8.Valid(v.Text))
					}
				}
				if string(r.Values[1].Text) != "first" {
					got = string(r.Values[4].Text)
				}
				return nil
			})
			if err != nil || got != tt.want {
				t.Errorf("%v, properties of %d bytes: %.60s", err, len(got), got)
			}
			if changed := d.Changed(); tt.truncate == (len(changed) == 0) && tt.want != "rejected" {
				t.Errorf("changed rows: %v", changed)
			}
		})
	}
}

// Rows that a filter rejects keep their places in the partition, and so do those
// that are rejected after it.
func TestRejectedRowsKeepTheirIndex(t *testing.T) {
	d := NewDecoder(Options{Stream: batch.Events, Limit: Limit{Bytes: 1000}, Unusual: &unusual.Rules{Mode: unusual.Reject}})
	long := event(`"u"`, `{"x":"`+strings.Repeat("y", 1000)+`"}`)
	twice := event(`"u"`, `{"a":1,"a":2}`)
	plain := event(`"u"`, `{}`)
	b := destinationtest.NewBatch(
		destinationtest.Row{Line: plain}, destinationtest.Row{Line: twice, Flags: batch.DuplicateKey}, destinationtest.Row{Line: plain},
		destinationtest.Row{Line: twice, Flags: batch.DuplicateKey}, destinationtest.Row{Line: long}, destinationtest.Row{Line: plain})
	b.First = 100
	rejected := map[uint64]string{}
	stored := 0
	err := d.Batch(b, func(row uint64, _ string, line []byte) error {
		rejected[row] = string(line)
		return nil
	}, func(*Row) error { stored++; return nil })
	if err != nil || stored != 3 || len(rejected) != 3 || rejected[101] != twice || rejected[103] != twice || rejected[104] != long {
		t.Errorf("%v, stored %d, rejected %d: %v", err, stored, len(rejected), rejected)
	}
	if got := d.Totals(); got != (batch.Totals{Rows: 3}) {
		t.Errorf("totals %+v of a batch with rejected rows", got)
	}
}

func TestTotalsAreThoseOfTheRowsReadBack(t *testing.T) {
	d, c := NewDecoder(Options{Stream: batch.Events}), NewCounter(batch.Events)
	for i := range 3 {
		b := destinationtest.NewBatch(destinationtest.Row{Line: event(fmt.Sprintf(`"%d\n"`, i), `{"a":"\u00e9"}`)})
		if err := d.Batch(b, nil, func(r *Row) error { c.Add(r); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if d.Totals() != c.Totals() || d.Totals().RowsCRC32 == 0 {
		t.Errorf("%+v, read back %+v", d.Totals(), c.Totals())
	}
	// A row with an escape that it need not have is not rendered byte for byte.
	b := destinationtest.NewBatch(destinationtest.Row{Line: event(`"\u0041"`, `{}`)})
	if err := d.Batch(b, nil, func(*Row) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if got := d.Totals(); got != (batch.Totals{Rows: 4}) {
		t.Errorf("%+v", got)
	}
}

// A row that the package renders is read back with the same values, whatever the
// strings hold.
func FuzzSplit(f *testing.F) {
	f.Add("u", "name", `{"a":1}`, int64(1))
	f.Add(`a","user_id":"b`, "\x00\x1f\"\\", `{"time":1,"user_id":null}`, int64(-1))
	f.Fuzz(func(t *testing.T, id, name, properties string, time int64) {
		if !json.Valid([]byte(properties)) || !strings.HasPrefix(properties, "{") || !utf8.ValidString(id+name) {
			t.Skip()
		}
		properties = strings.TrimRight(properties, " \t\r\n")
		if !strings.HasSuffix(properties, "}") {
			t.Skip()
		}
		in := Row{Values: []Value{
			{Text: []byte(id)}, {Null: true}, {Text: []byte(name)}, {Text: []byte(id)}, {Text: []byte(properties)}, {Integer: time}, {Text: []byte(id)},
		}}
		line := AppendLine(nil, batch.Events, &in, false)
		if !json.Valid(line) {
			t.Fatalf("not valid: %s", line)
		}
		var out Row
		exact, err := newSplitter(batch.Events).split(line, &out)
		if err != nil || !exact {
			t.Fatalf("%v, exact %t: %s", err, exact, line)
		}
		for i := range in.Values {
			if string(in.Values[i].Text) != string(out.Values[i].Text) || in.Values[i].Integer != out.Values[i].Integer || in.Values[i].Null != out.Values[i].Null {
				t.Errorf("value %d is %+v, was %+v", i, out.Values[i], in.Values[i])
			}
		}
	})
}

// Whatever is dropped, the result is valid, fits, and holds nothing new.
func FuzzDropProperties(f *testing.F) {
	f.Add(`{"a":"0123456789","b":1,"c":"01234"}`, 30)
	f.Add(`{ "a" : [1,{"b":"}"}] , "\"" : "é" }`, 28)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if !json.Valid([]byte(text)) || !strings.HasPrefix(text, "{") {
			t.Skip()
		}
		out, ok := dropProperties([]byte(strings.TrimRight(text, " \t\r\n")), limit)
		if !ok {
			return
		}
		var before, after map[string]json.RawMessage
		if err := json.Unmarshal(out, &after); err != nil || len(out) > limit {
			t.Fatalf("%v, %d bytes of %d: %s", err, len(out), limit, out)
		}
		if err := json.Unmarshal([]byte(text), &before); err != nil {
			t.Skip()
		}
		for key := range after {
			if _, ok := before[key]; !ok && key != DroppedKey {
				t.Errorf("%q is new in %s", key, out)
			}
		}
	})
}
