package schema

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penstock-io/penstock/sdk/batch"
)

// escapes matches pairs of surrogates, single surrogates and all other escapes,
// in this order of preference.
var escapePattern = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\(?s:.)`)

// repairedText is the reference for repairSurrogates.
func repairedText(text string) string {
	return escapePattern.ReplaceAllStringFunc(text, func(escape string) string {
		if len(escape) == 6 {
			return `\ufffd`
		}
		return escape
	})
}

func TestLoneSurrogatesAreRepaired(t *testing.T) {
	for text, want := range map[string]string{
		`"cut at \ud83d"`:           `"cut at \ufffd"`,
		`"\uD83D"`:                  `"\ufffd"`,
		`"\udE00"`:                  `"\ufffd"`,
		`"\ud83d\ude00"`:            `"\ud83d\ude00"`,
		`"\uD83D\uDe00"`:            `"\uD83D\uDe00"`,
		`"\ud83d\ud83d\ude00"`:      `"\ufffd\ud83d\ude00"`,
		`"\ud83d\ude00\ude00"`:      `"\ud83d\ude00\ufffd"`,
		`"\ude00\ud83d"`:            `"\ufffd\ufffd"`,
		`"\ud83d\u0041"`:            `"\ufffd\u0041"`,
		`"\ud83d \ude00"`:           `"\ufffd \ufffd"`,
		`"\ud83d\\ude00"`:           `"\ufffd\\ude00"`,
		`"\\ud83d"`:                 `"\\ud83d"`,
		`"\\\ud83d\""`:              `"\\\ufffd\""`,
		`["\ud83d",{"\udfff":"é"}]`: `["\ufffd",{"\ufffd":"é"}]`,
		`"\u0000\/\ud7ff\ue000😀"`:   `"\u0000\/\ud7ff\ue000😀"`,
	} {
		got := []byte(text)
		repairSurrogates(got)
		if string(got) != want || repairedText(text) != want {
			t.Errorf("%s: got %s, want %s, and the reference has %s", text, got, want, repairedText(text))
		}
	}
}

// Row, ids and key are those of the repaired record.
func TestRepairedEvents(t *testing.T) {
	const record = `{"event":"e\ud83d","properties":{"time":1780000000,"distinct_id":"u\udc00","$insert_id":"i\ud800","$device_id":"d\ud800","$user_id":"\ud83d\ude00","\ud800":1,"\udc00":2,"token":"\ud800"}}`
	repaired := repairedText(record)
	for name, pair := range map[string][2]string{
		"with insert id":    {record, repaired},
		"without insert id": {strings.Replace(record, `$insert_id`, `x`, 1), strings.Replace(repaired, `$insert_id`, `x`, 1)},
	} {
		before := []byte(pair[0])
		row, e, err := parser().AppendEvent(nil, before)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, wantEvent, err := parser().AppendEvent(nil, []byte(pair[1]))
		if err != nil || wantEvent.Repaired {
			t.Fatalf("%s: %v, repaired %v", name, err, wantEvent.Repaired)
		}
		wantEvent.Repaired = true
		if string(row) != string(want) || e != wantEvent {
			t.Errorf("%s:\n got %s %+v\nwant %s %+v", name, row, e, want, wantEvent)
		}
		// Two names have become one.
		if e.Flags != batch.DuplicateKey {
			t.Errorf("%s: flags are %b", name, e.Flags)
		}
		if string(before) != pair[0] {
			t.Errorf("%s: the record was changed", name)
		}
	}
	const refused = `{"event":"\ud83d","properties":{}}`
	if row, _, err := parser().AppendEvent(nil, []byte(refused)); err == nil || row != nil {
		t.Errorf("got %s, %v", row, err)
	}
}

func TestCollectedRecordsAreRepaired(t *testing.T) {
	const record = `{"event":"e","properties":{"token":"t","distinct_id":"u\ud83d","$insert_id":"i-1","$device_id":"d\ud83d","$user_id":"u\ud83d","a":"\ud83d\ude00 \ude00"}}`
	c := collector()
	c.Begin([]byte(`[{"event":"before","properties":{}},`+record+`,{"event":"behind","properties":{"a":"\ud83d\ude00"}}]`), false)
	var repaired []bool
	var rows []string
	for c.Next() {
		row, e, err := c.AppendEvent(nil, arrival())
		if err != nil || e.Flags != 0 {
			t.Errorf("%s: %b, %v", c.Record(), e.Flags, err)
		}
		if c.Count() == 2 {
			if string(c.Record()) != record {
				t.Errorf("the record as sent is %s", c.Record())
			}
			if string(e.Device) != "d\ufffd" || string(e.User) != "u\ufffd" {
				t.Errorf("the ids of the link are %q and %q", e.Device, e.User)
			}
			sameKey(t, string(row), e)
		}
		repaired, rows = append(repaired, c.Repaired()), append(rows, string(row))
	}
	if c.Err() != nil || !reflect.DeepEqual(repaired, []bool{false, true, false}) {
		t.Errorf("repaired %v, %v", repaired, c.Err())
	}
	want, _, err := first(t, collector(), repairedText(record), arrival())
	if err != nil || rows[1] != want {
		t.Errorf(" got %swant %s%v", rows[1], want, err)
	}
	c.End()
}

func TestRepairedOperations(t *testing.T) {
	p := NewProfiles()
	operations, err := p.Operations([]byte(`{"$distinct_id":"u\ud83d","$set":{"a\ud800":"\ud83d\ude00\ud83d"}}`), now)
	if err != nil || !p.Repaired() || len(operations) != 1 {
		t.Fatal(operations, err)
	}
	row := AppendOperation(nil, operations[0])
	if !bytes.Contains(row, []byte(`{"distinct_id":"u`+"\ufffd"+`",`)) || !bytes.Contains(row, []byte(`"value":{"a\ufffd":"\ud83d\ude00\ufffd"}}`)) {
		t.Errorf("the row is %s", row)
	}
	if flags, err := RowFlags(row); err != nil || flags != 0 {
		t.Errorf("flags %b, %v", flags, err)
	}
	if _, err := p.Operations([]byte(`{"$distinct_id":"\ud83d\ude00","$set":{}}`), now); err != nil || p.Repaired() {
		t.Error("a pair is repaired", err)
	}
}

// FuzzRepair holds the repair against encoding/json, which reads a surrogate
// without partner as U+FFFD, and against the reference.
func FuzzRepair(f *testing.F) {
	for _, seed := range []string{`"\ud83d"`, `{"\ud83d\ude00":"\\ud83d\ud83d\ud83d\ude00"}`, `["\u0000",1e999,"é"]`, `"\ud83d\ude0g"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) || !utf8.Valid(data) {
			return
		}
		got := bytes.Clone(data)
		repairSurrogates(got)
		if string(got) != repairedText(string(data)) {
			t.Fatalf("%q became %q", data, got)
		}
		var s scanner
		if s.reset(got); !s.only() || s.flags&batch.LoneSurrogate != 0 {
			t.Fatalf("%q became %q, which scans with %b", data, got, s.flags)
		}
		var before, after any
		if json.Unmarshal(data, &before) == nil && (json.Unmarshal(got, &after) != nil || !reflect.DeepEqual(before, after)) {
			t.Fatalf("%q became %q: %v became %v", data, got, before, after)
		}
	})
}
