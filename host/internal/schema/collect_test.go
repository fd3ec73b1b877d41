package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/penstock-io/penstock/sdk/batch"
)

// tail returns the properties that the server adds to an event of size bytes sent
// to /track.
func tail(size int) string {
	return fmt.Sprintf(`"$mp_api_endpoint":"in.example.com","$mp_api_timestamp_ms":%d,"$mp_event_size":%d,"mp_processing_time_ms":%d`,
		now.UnixMilli(), size, now.UnixMilli()+7)
}

func arrival() *Arrival {
	return &Arrival{Received: now, Processed: now.Add(7 * time.Millisecond), Endpoint: "in.example.com"}
}

func collector() *Collector { return NewCollector([32]byte{1}) }

// first appends the row of a body's first record.
func first(t *testing.T, c *Collector, body string, a *Arrival) (string, Collected, error) {
	t.Helper()
	c.Begin([]byte(body), false)
	if !c.Next() {
		t.Fatalf("%s: %v", body, c.Err())
	}
	row, e, err := c.AppendEvent([]byte("before"), a)
	if err != nil && string(row) != "before" {
		t.Fatalf("a refused record leaves %s", row)
	}
	return strings.TrimPrefix(string(row), "before"), e, err
}

func TestCollectedRows(t *testing.T) {
	const at = `"time":1780000000,"$insert_id":"i-1"`
	long := strings.Repeat("é", 255)
	for name, test := range map[string]struct {
		identity Identity
		record   string
		// The columns of the row: ids, name, properties without the tail.
		device, distinct, event, insert, properties, user string
	}{
		"ids as sent, token and address gone": {
			record: `{"event":"e","properties":{"token":"t",` + at + `,"distinct_id":"U","$device_id":"D","$user_id":"U","ip":"1.2.3.4","x":1.50}}`,
			device: `"D"`, distinct: `"U"`, event: `"e"`, insert: `"i-1"`, user: `"U"`,
			properties: `{` + at + `,"distinct_id":"U","$device_id":"D","$user_id":"U","x":1.50,`,
		},
		"device alone": {
			record: `{"event":"e","properties":{` + at + `,"$device_id":"D1"}}`,
			device: `"D1"`, distinct: `"$device:D1"`, event: `"e"`, insert: `"i-1"`, user: `null`,
			properties: `{` + at + `,"$device_id":"D1",`,
		},
		"device with prefix": {
			record: `{"event":"e","properties":{` + at + `,"$device_id":"\u0024device:\u0058"}}`,
			device: `"\u0058"`, distinct: `"$device:\u0058"`, event: `"e"`, insert: `"i-1"`, user: `null`,
			properties: `{` + at + `,"$device_id":"\u0024device:\u0058",`,
		},
		"only one prefix goes": {
			record: `{"event":"e","properties":{` + at + `,"$device_id":"$device:$device:X"}}`,
			device: `"$device:X"`, distinct: `"$device:$device:X"`, event: `"e"`, insert: `"i-1"`, user: `null`,
			properties: `{` + at + `,"$device_id":"$device:$device:X",`,
		},
		"bare device": {
			record: `{"event":"e","properties":{` + at + `,"distinct_id":"$device:X"}}`,
			device: `"X"`, distinct: `"$device:X"`, event: `"e"`, insert: `"i-1"`, user: `null`,
			properties: `{` + at + `,"distinct_id":"$device:X","$device_id":"X",`,
		},
		"bare user": {
			record: `{"event":"e","properties":{` + at + `,"distinct_id":12}}`,
			device: `null`, distinct: `"12"`, event: `"e"`, insert: `"i-1"`, user: `"12"`,
			properties: `{` + at + `,"distinct_id":12,"$user_id":"12",`,
		},
		"an id that clients send by mistake": {
			record: `{"event":"e","properties":{` + at + `,"distinct_id":"N\u0055LL","$user_id":"undefined","$device_id":0}}`,
			device: `null`, distinct: `null`, event: `"e"`, insert: `"i-1"`, user: `null`,
			properties: `{` + at + `,"distinct_id":"N\u0055LL","$user_id":"undefined","$device_id":0,`,
		},
		"an empty id": {
			record: `{"event":"e","properties":{` + at + `,"distinct_id":"","$user_id":""}}`,
			device: `null`, distinct: `""`, event: `"e"`, insert: `"i-1"`, user: `null`,
			properties: `{` + at + `,"distinct_id":"","$user_id":"",`,
		},
		"an original project keeps ids": {
			identity: Original,
			record:   `{"event":"e","properties":{` + at + `,"distinct_id":"Z","$device_id":"$device:D","$user_id":"U"}}`,
			device:   `"$device:D"`, distinct: `"Z"`, event: `"e"`, insert: `"i-1"`, user: `"U"`,
			properties: `{` + at + `,"distinct_id":"Z","$device_id":"$device:D","$user_id":"U",`,
		},
		"an original project infers the id of $identify": {
			identity: Original,
			record:   `{"event":"$identify","properties":{` + at + `,"$identified_id":"U","$anon_id":"A"}}`,
			device:   `null`, distinct: `"U"`, event: `"$identify"`, insert: `"i-1"`, user: `null`,
			properties: `{` + at + `,"$identified_id":"U","$anon_id":"A",`,
		},
		"long names and strings are cut, ids and the inside of lists are not": {
			record: `{"event":"` + long + `x","properties":{` + at + `,"$user_id":"` + long + `x","` + long + `y":"` + long + `z","l":["` + long + `z"],"s":"` + long + `"}}`,
			device: `null`, distinct: `"` + long + `x"`, event: `"` + long + `"`, insert: `"i-1"`, user: `"` + long + `x"`,
			properties: `{` + at + `,"$user_id":"` + long + `x","` + long + `":"` + long + `","l":["` + long + `z"],"s":"` + long + `",`,
		},
		"escapes are not cut": {
			record: `{"event":"e","properties":{` + at + `,"$user_id":"U","a":"` + strings.Repeat("a", 254) + `\ud83d\ude00b","b":"` + strings.Repeat("a", 254) + `\"b","c":"` + strings.Repeat(`\u00e9`, 255) + `"}}`,
			device: `null`, distinct: `"U"`, event: `"e"`, insert: `"i-1"`, user: `"U"`,
			properties: `{` + at + `,"$user_id":"U","a":"` + strings.Repeat("a", 254) + `\ud83d\ude00","b":"` + strings.Repeat("a", 254) + `\"","c":"` + strings.Repeat(`\u00e9`, 255) + `",`,
		},
		"what the server adds itself is not taken": {
			record: `{"event":"e","properties":{"mp_processing_time_ms":1,"$import":true,` + at + `,"$mp_api_endpoint":2,"$user_id":"U","$mp_api_timestamp_ms":3,"$mp_event_size":4}}`,
			device: `null`, distinct: `"U"`, event: `"e"`, insert: `"i-1"`, user: `"U"`,
			properties: `{` + at + `,"$user_id":"U",`,
		},
		"white space that would break the line": {
			record: "{\"event\":\n\"e\",\"properties\":{\r\n" + at + " ,\n\"$user_id\" : \"U\"\n}\n}",
			device: `null`, distinct: `"U"`, event: `"e"`, insert: `"i-1"`, user: `"U"`,
			properties: "{  " + at + " , \"$user_id\" : \"U\",",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := arrival()
			a.Identity = test.identity
			row, e, err := first(t, collector(), " \n"+test.record+"\n", a)
			if err != nil {
				t.Fatal(err)
			}
			end := "}"
			if strings.HasSuffix(test.record, "\n}\n}") {
				end = " }"
			}
			want := fmt.Sprintf(`{"device_id":%s,"distinct_id":%s,"event_name":%s,"insert_id":%s,"properties":%s%s%s,"time":1780000000,"user_id":%s}`+"\n",
				test.device, test.distinct, test.event, test.insert, test.properties, tail(len(test.record)), end, test.user)
			if row != want {
				t.Errorf("\n got %s\nwant %s", row, want)
			}
			sameKey(t, row, e)
		})
	}
}

// sameKey holds the key of a collected row against that which a record with
// the same ids has, unless its time is not the one that was sent.
func sameKey(t *testing.T, row string, e Collected) {
	t.Helper()
	if e.Undated || e.KeyTime != e.Time {
		return
	}
	var r struct {
		Distinct json.RawMessage `json:"distinct_id"`
		Event    json.RawMessage `json:"event_name"`
		Insert   json.RawMessage `json:"insert_id"`
		Time     int64
	}
	if err := json.Unmarshal([]byte(row), &r); err != nil {
		t.Fatalf("%v: %s", err, row)
	}
	record := fmt.Sprintf(`{"event":%s,"properties":{"distinct_id":%s,"$insert_id":%s,"time":%d}}`, r.Event, r.Distinct, r.Insert, r.Time)
	_, want, err := parser().AppendEvent(nil, []byte(record))
	if err != nil || want.Key != e.Key || want.Time != e.Time {
		t.Errorf("%v: the key of %s is not that of %s", err, row, record)
	}
}

func TestCollectedPropertiesLoseTokens(t *testing.T) {
	const at = `"time":1780000000,"$insert_id":"i"`
	for properties, want := range map[string]string{
		`{"token":"t",` + at + `}`:                             `{` + at + `,`,
		`{ "token" : "t" , ` + at + ` }`:                       `{ ` + at + `,`,
		`{` + at + `,"token":"t"}`:                             `{` + at + `,`,
		`{` + at + ` , "token" : "t" }`:                        `{` + at + `,`,
		`{` + at + `, "token":{"a":[1,{}]}, "x":1}`:            `{` + at + `, "x":1,`,
		`{"token":1,"token":2,` + at + `,"token":3,"token":4}`: `{` + at + `,`,
		`{"token":1,` + at + `,"x":{"token":2},"token":3}`:     `{` + at + `,"x":{"token":2},`,
		`{` + at + `,"token":1 ,"token":2}`:                    `{` + at + `,`,
		`{` + at + `,"Token":1,"tokens":2}`:                    `{` + at + `,"Token":1,"tokens":2,`,
		`{` + at + `,"tok\u0065n":1}`:                          `{` + at + `,`,
		`{"token":1}`:                                          `{ `,
		`{"token":1 , "ip":2 }`:                                `{ `,
		`{}`:                                                   `{ `,
		`{ }`:                                                  `{ `,
	} {
		record := `{"event":"e","properties":` + properties + `}`
		row, _, err := first(t, collector(), record, arrival())
		if err != nil {
			t.Errorf("%s: %v", properties, err)
			continue
		}
		var got struct{ Properties json.RawMessage }
		if err := json.Unmarshal([]byte(row), &got); err != nil {
			t.Errorf("%s: %v: %s", properties, err, row)
		}
		text, _, found := strings.Cut(string(got.Properties), `"$mp_api_endpoint"`)
		if generated := strings.Index(text, `"$insert_id":"`); generated >= 0 && !strings.Contains(properties, "$insert_id") {
			text = text[:generated]
		}
		if !found || text != want {
			t.Errorf("%s\n got %s\nwant %s…", properties, got.Properties, want)
		}
	}
}

func TestRefusedRecords(t *testing.T) {
	const ids = `"time":1780000000,"distinct_id":"U","$insert_id":"i"`
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	type result struct {
		reason Reason
		field  string
	}
	for record, test := range map[string]struct{ strict, track result }{
		`{"event":"e","properties":{` + ids + `}}`:                                                                        {},
		`{"event":"e","properties":{"time":null,"distinct_id":"U","$insert_id":"i"}}`:                                     {result{NoTime, "properties.time"}, result{}},
		`{"event":"e","properties":{"time":"soon","distinct_id":"U","$insert_id":"i"}}`:                                   {result{InvalidTime, "properties.time"}, result{InvalidTime, "properties.time"}},
		`{"event":"e","properties":{"time":"1780000000","distinct_id":"U","$insert_id":"i"}}`:                             {result{InvalidTime, "properties.time"}, result{}},
		`{"event":"e","properties":{"time":[1],"distinct_id":"U","$insert_id":"i"}}`:                                      {result{InvalidTime, "properties.time"}, result{InvalidTime, "properties.time"}},
		`{"event":"e","properties":{"time":1,"distinct_id":"U","$insert_id":"i"}}`:                                        {result{TimeOutOfRange, "properties.time"}, result{TimeOutOfRange, "properties.time"}},
		`{"event":"e","properties":{"time":-1e300,"distinct_id":"U","$insert_id":"i"}}`:                                   {result{TimeOutOfRange, "properties.time"}, result{TimeOutOfRange, "properties.time"}},
		`{"event":"e","properties":{"time":1e999,"distinct_id":"U","$insert_id":"i"}}`:                                    {result{TimeOutOfRange, "properties.time"}, result{}},
		`{"event":"e","properties":{"time":1893456000,"distinct_id":"U","$insert_id":"i"}}`:                               {result{TimeOutOfRange, "properties.time"}, result{}},
		`{"event":"e","properties":{"time":1780000000,"$insert_id":"i"}}`:                                                 {result{NoDistinctID, "properties.distinct_id"}, result{}},
		`{"event":"e","properties":{"time":1780000000,"$insert_id":"i","$device_id":"d"}}`:                                {},
		`{"event":"e","properties":{"time":1780000000,"$insert_id":"i","distinct_id":""}}`:                                {},
		`{"event":"e","properties":{"time":1780000000,"$insert_id":"i","distinct_id":{}}}`:                                {result{NoDistinctID, "properties.distinct_id"}, result{}},
		`{"event":"e","properties":{"time":1780000000,"$insert_id":"i","distinct_id":"None"}}`:                            {result{InvalidDistinctID, "properties.distinct_id"}, result{}},
		`{"event":"e","properties":{"time":1780000000,"distinct_id":"U"}}`:                                                {result{NoInsertID, "properties.$insert_id"}, result{}},
		`{"event":"e","properties":{"time":1780000000,"distinct_id":"U","$insert_id":"a_b"}}`:                             {result{InvalidInsertID, "$insert_id"}, result{}},
		`{"event":"e","properties":{"time":1780000000,"distinct_id":"U","$insert_id":"undefined"}}`:                       {result{InvalidInsertID, "$insert_id"}, result{}},
		`{"event":"e","properties":{"time":1780000000,"distinct_id":"U","$insert_id":"` + strings.Repeat("a", 37) + `"}}`: {result{InvalidInsertID, "$insert_id"}, result{}},
		`{"event":"","properties":{` + ids + `}}`:                                                                         {result{NoEventName, "event"}, result{NoEventName, "event"}},
		`{"event":" ","properties":{` + ids + `}}`:                                                                        {result{NoEventName, "event"}, result{NoEventName, "event"}},
		`{"event":7,"properties":{` + ids + `}}`:                                                                          {result{NoEventName, "event"}, result{NoEventName, "event"}},
		`{"properties":{` + ids + `}}`:                                                                                    {result{NoEventName, "event"}, result{NoEventName, "event"}},
		`{"event":"e"}`:                                                                                                   {result{NoProperties, "properties"}, result{NoProperties, "properties"}},
		`{"event":"e","properties":[]}`:                                                                                   {result{NoProperties, "properties"}, result{NoProperties, "properties"}},
		`7`:                                                                                                               {result{NotAnObject, ""}, result{NotAnObject, ""}},
		`"event"`:                                                                                                         {result{NotAnObject, ""}, result{NotAnObject, ""}},
		"{\"event\":\"e\",\"properties\":{" + ids + ",\"u\\u0074m\":\"\xff\"}}":                                           {result{InvalidUTF8, "properties.u\\u0074m"}, result{InvalidUTF8, "properties.u\\u0074m"}},
		"{\"event\":\"\xff\",\"properties\":{" + ids + "}}":                                                               {result{InvalidUTF8, "event"}, result{InvalidUTF8, "event"}},
		"{\"event\":\"e\",\"properties\":{" + ids + ",\"\xff\":1}}":                                                       {result{InvalidUTF8, "properties.?"}, result{InvalidUTF8, "properties.?"}},
		`{"event":"e","properties":{` + ids + `,` + many(251, `"p%d":0,`) + `}}`:                                          {},
		`{"event":"e","properties":{` + ids + `,` + many(252, `"p%d":0,`) + `}}`:                                          {result{TooManyProperties, "properties"}, result{TooManyProperties, "properties"}},
		`{"event":"e","properties":{` + ids + `,"token":"","a":{` + many(254, `"p%d":0,`) + `}}}`:                         {},
		`{"event":"e","properties":{` + ids + `,"a":{` + many(255, `"p%d":0,`) + `}}}`:                                    {result{TooManyProperties, "properties.a"}, result{TooManyProperties, "properties.a"}},
		`{"event":"e","properties":{` + ids + `,"a":[` + many(254, `%d,`) + `]}}`:                                         {},
		`{"event":"e","properties":{` + ids + `,"a":[[` + many(255, `%d,`) + `]]}}`:                                       {result{TooManyElements, "properties.a"}, result{TooManyElements, "properties.a"}},
		`{"event":"e","properties":{` + ids + `,"a":[{"b":{"c":{}}},{"b":"{{{{[[,,\"{"}]}}`:                               {},
		`{"event":"e","properties":{` + ids + `,"a":{"b":[{"c":{"d":{}}}]}}}`:                                             {result{TooDeep, "properties.a"}, result{TooDeep, "properties.a"}},
		`{"event":"e","properties":{` + ids + `,"a":["` + strings.Repeat("x", 8188) + `"]}}`:                              {},
		`{"event":"e","properties":{` + ids + `,"a":["` + strings.Repeat("x", 8189) + `"]}}`:                              {result{PropertyTooLong, "properties.a"}, result{PropertyTooLong, "properties.a"}},
		`{"event":"e","properties":{` + ids + `,"a":"` + strings.Repeat("x", MaxRecord) + `"}}`:                           {result{TooLong, ""}, result{TooLong, ""}},
	} {
		strict, track := arrival(), arrival()
		strict.Strict, strict.Import = true, true
		for a, want := range map[*Arrival]result{strict: test.strict, track: test.track} {
			_, _, err := first(t, collector(), record, a)
			var got result
			var refused *Refused
			if errors.As(err, &refused) {
				got = result{refused.Reason, refused.Field}
			}
			if got != want || (err == nil) != (want.reason == "") {
				t.Errorf("strict %v: %.120s: got %v, want %v: %v", a.Strict, record, got, want, err)
			}
		}
	}
}

func TestCollectedTimes(t *testing.T) {
	for _, test := range []struct {
		time string
		want int64
	}{
		{`1780000000`, 1780000000}, {`1780000000.9`, 1780000000}, {`1780000000999`, 1780000000}, {`1780000000999.5`, 1780000000},
		{`"1780000000"`, 1780000000}, {`null`, now.Unix()}, {`1893456000`, now.Unix()}, {`1e300`, now.Unix()}, {`31536000`, 31536000},
	} {
		row, e, err := first(t, collector(), `{"event":"e","properties":{"time":`+test.time+`,"$insert_id":"i"}}`, arrival())
		if err != nil || e.Time != test.want || !strings.Contains(row, fmt.Sprintf(`},"time":%d,"user_id"`, test.want)) || !strings.Contains(row, `{"time":`+test.time+`,`) {
			t.Errorf("%s: got %d, %v: %s", test.time, e.Time, err, row)
		}
	}
	_, e, err := first(t, collector(), `{"event":"e","properties":{}}`, arrival())
	if err != nil || e.Time != now.Unix() {
		t.Errorf("no time: %d, %v", e.Time, err)
	}
	lenient := arrival()
	lenient.Import = true
	var refused *Refused
	if _, _, err = first(t, collector(), `{"event":"e","properties":{}}`, lenient); !errors.As(err, &refused) || refused.Reason != NoTime {
		t.Errorf("no time through /import: %v", err)
	}
	lenient.Identity = Original
	if _, e, err = first(t, collector(), `{"event":"$merge","properties":{"$distinct_ids":["a","b"]}}`, lenient); err != nil || e.Verb != "$merge" || e.Time != now.Unix() {
		t.Errorf("$merge without time: %v, %v", e, err)
	}
	lenient.Strict = true
	if row, e, err := first(t, collector(), `{"event":"$merge","properties":{"$distinct_ids":["a","b"]}}`, lenient); err != nil || e.Time != now.Unix() || !strings.Contains(string(row), `"$insert_id":`) {
		t.Errorf("$merge as it is documented, strict: %v, %v: %s", e, err, row)
	}
	old := arrival()
	old.Oldest = now.Unix() - 5*86400
	if _, _, err = first(t, collector(), fmt.Sprintf(`{"event":"e","properties":{"time":%d}}`, old.Oldest-1), old); !errors.As(err, &refused) || refused.Reason != TooOld {
		t.Errorf("too old: %v", err)
	}
	if _, _, err = first(t, collector(), fmt.Sprintf(`{"event":"e","properties":{"time":%d}}`, old.Oldest), old); err != nil {
		t.Error(err)
	}
}

func TestInsertIDs(t *testing.T) {
	insert := func(c *Collector, record string) string {
		row, e, err := first(t, c, record, arrival())
		if err != nil {
			t.Fatal(err)
		}
		sameKey(t, row, e)
		var r struct {
			ID         string `json:"insert_id"`
			Properties map[string]any
		}
		if err := json.Unmarshal([]byte(row), &r); err != nil {
			t.Fatal(err)
		}
		if sent, _ := r.Properties["$insert_id"].(string); !strings.Contains(record, `"$insert_id"`) && sent != r.ID {
			t.Errorf("the properties have %q for %q", sent, r.ID)
		}
		return r.ID
	}
	letters := func(id string) bool {
		return len(id) == 36 && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
	}
	c := collector()
	const plain = `{"event":"e","properties":{}}`
	a, b := insert(c, plain), insert(c, plain)
	if !letters(a) || !letters(b) || a == b {
		t.Errorf("generated %q and %q", a, b)
	}
	if other := insert(NewCollector([32]byte{2}), plain); other == a {
		t.Error("another seed generates the same id")
	}
	for _, denied := range []string{`"0"`, `""`, `null`, `"Undefined"`, `{}`} {
		record := `{"event":"e","properties":{"$insert_id":` + denied + `}}`
		if a, b := insert(c, record), insert(c, record); !letters(a) || a == b {
			t.Errorf("%s: generated %q and %q", denied, a, b)
		}
	}
	// A record that is sent again gets the same id.
	for _, again := range []string{
		`{"event":"e","properties":{"$insert_id":"under_score"}}`,
		`{"event":"e","properties":{"$insert_id":"` + strings.Repeat("0f", 32) + `"}}`,
		`{"event":"e","$mp_metadata":{"$mp_event_id":"0123456789abcdef","$mp_session_id":"x"},"properties":{}}`,
	} {
		if a, b := insert(c, again), insert(collector(), again); !letters(a) || a != b {
			t.Errorf("%s: derived %q and %q", again, a, b)
		}
	}
}

func TestCollectedLinks(t *testing.T) {
	for properties, want := range map[string][2]string{
		`{"$device_id":"D","$user_id":"U"}`:                   {"D", "U"},
		`{"$device_id":"$device:X","$user_id":"U8"}`:          {"X", "U8"},
		`{"distinct_id":"Z","$device_id":"D","$user_id":"U"}`: {"D", "U"},
		`{"$device_id":"\u0044","$user_id":12}`:               {"D", "12"},
		`{"$device_id":"D","$user_id":"null"}`:                {},
		`{"$device_id":"anon","$user_id":"U"}`:                {},
		`{"$device_id":"D"}`:                                  {},
		`{"distinct_id":"$device:D","$user_id":"U"}`:          {},
	} {
		for _, name := range []string{"e", "$identify", "$create_alias", "$merge"} {
			want := want
			if name != "e" {
				want = [2]string{}
			}
			_, e, err := first(t, collector(), `{"event":"`+name+`","properties":`+properties+`}`, arrival())
			if err != nil || string(e.Device) != want[0] || string(e.User) != want[1] {
				t.Errorf("%s %s: got %q, %q, %v", name, properties, e.Device, e.User, err)
			}
		}
		original := arrival()
		original.Identity = Original
		if _, e, _ := first(t, collector(), `{"event":"e","properties":`+properties+`}`, original); e.Device != nil || e.User != nil {
			t.Errorf("an original project links %s", properties)
		}
	}
}

func TestIgnoredEvents(t *testing.T) {
	for value, want := range map[string]bool{`true`: true, `"yes"`: true, `false`: false, `""`: false, `null`: false, `1`: false} {
		row, e, err := first(t, collector(), `{"event":"e","properties":{"$ignore":`+value+`}}`, arrival())
		if err != nil || e.Ignored != want || (row == "") != want {
			t.Errorf("%s: %v, %v, %q", value, e.Ignored, err, row)
		}
	}
}

type geo map[string]Place

func (g geo) Locate(address netip.Addr) (Place, bool) {
	p, ok := g[address.String()]
	return p, ok
}

func TestPlaces(t *testing.T) {
	a := arrival()
	a.Geo = geo{"192.0.2.1": {City: `Zü"rich`, Region: "Zurich", Country: "CH"}, "2001:db8::1": {Country: "DE"}}
	a.Place = Place{City: "Bern", Country: "CH"}
	for properties, want := range map[string]string{
		`{"$insert_id":"i"}`:                                    `"$city":"Bern","mp_country_code":"CH",`,
		`{"$insert_id":"i","ip":"192.0.2.1"}`:                   `"$city":"Zü\"rich","$region":"Zurich","mp_country_code":"CH",`,
		`{"$insert_id":"i","ip":"2001:db8::1"}`:                 `"mp_country_code":"DE",`,
		`{"$insert_id":"i","ip":"::ffff:192.0.2.1","$city":""}`: `"$city":"","$region":"Zurich","mp_country_code":"CH",`,
		`{"$insert_id":"i","ip":"0"}`:                           ``,
		`{"$insert_id":"i","ip":"192.0.2.9"}`:                   ``,
		`{"$insert_id":"i","ip":{}}`:                            ``,
	} {
		want = strings.ReplaceAll(want, `\`, `\`)
		record := `{"event":"e","properties":` + properties + `}`
		row, _, err := first(t, collector(), record, a)
		if err != nil || !strings.Contains(row, `{"$insert_id":"i",`+want+tail(len(record))) {
			t.Errorf("%s: %v: %s", properties, err, row)
		}
	}
}

func TestBodies(t *testing.T) {
	const e = `{"event":"e","properties":{}}`
	for body, want := range map[string]struct {
		count, refused int
		err            string
	}{
		e:                                      {count: 1},
		" " + e + "\n":                         {count: 1},
		"\ufeff" + e:                           {count: 1},
		"[" + e + "]":                          {count: 1},
		"[" + e + " ,\n" + e + " ] ":           {count: 2},
		e + "\n" + e + "\n\n" + e:              {count: 3},
		e + e:                                  {count: 2},
		"[]":                                   {},
		"[ ] ":                                 {},
		`[1,"a",null,[{}],` + e + `]`:          {count: 5, refused: 4},
		"":                                     {err: "the body is empty"},
		" \n":                                  {err: "the body is empty"},
		"[":                                    {err: "the body ends before its JSON does"},
		"[" + e:                                {count: 1, err: "the body ends before its JSON does"},
		"[" + e + ",":                          {count: 1, err: "the body ends before its JSON does"},
		"[" + e + ",]":                         {count: 1, err: `the body is not JSON: unexpected byte ']' at 31`},
		"[" + e + "}":                          {count: 1, err: `the body is not JSON: unexpected byte '}' at 30`},
		"[" + e + "]]":                         {count: 1, err: `the body is not JSON: unexpected byte ']' at 31`},
		"[" + e + e + "]":                      {count: 1, err: `the body is not JSON: unexpected byte '{' at 30`},
		"[]" + e:                               {err: `the body is not JSON: unexpected byte '{' at 2`},
		`{"event":"e"`:                         {err: "the body ends before its JSON does"},
		e + "\nx\n" + e:                        {count: 1, err: `the body is not JSON: unexpected byte 'x' at 30`},
		"{\"a\":\"\xff\"}x":                    {count: 1, refused: 1, err: `the body is not JSON: unexpected byte 'x' at 9`},
		"{\"a\":\"\xff\"":                      {err: "the body ends before its JSON does"},
		"[" + strings.Repeat("[", 20000) + "]": {count: 1, err: "the body ends before its JSON does"},
		"[" + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + "," + e + "]": {count: 2, refused: 1},
		`[{"a":"` + strings.Repeat("x", MaxRecord) + `"},` + e + `]`:                  {count: 2, refused: 1},
		`[{"a":"` + strings.Repeat("x", MaxRecord) + `"`:                              {count: 1, err: "the body ends before its JSON does"},
	} {
		if err := bodies(body, false, want.count, want.refused, want.err); err != nil {
			t.Errorf("%.80q: %v", body, err)
		}
	}
	for body, want := range map[string][2]int{
		e + "\nx\n" + e:                     {3, 1},
		e + "\n{\"a\"\n" + e + "\n":         {3, 1},
		"{\"a\":\"\xff\"\n" + e:             {2, 1},
		"\n\n" + e + "\r\n{\"a\":1}{\r\n\"": {4, 2},
	} {
		if err := bodies(body, true, want[0], want[1], ""); err != nil {
			t.Errorf("lines: %.80q: %v", body, err)
		}
	}
}

func bodies(body string, lines bool, count, refused int, want string) error {
	c := collector()
	c.Begin([]byte(body), lines)
	gotRefused := 0
	for c.Next() {
		if c.Refused() != nil {
			gotRefused++
		}
	}
	got := ""
	if err := c.Err(); err != nil {
		got = err.Error()
	}
	if c.Count() != count || gotRefused != refused || got != want {
		return fmt.Errorf("got %d records, %d refused, %q, want %d, %d, %q", c.Count(), gotRefused, got, count, refused, want)
	}
	return nil
}

func TestCollectedFlags(t *testing.T) {
	for properties, want := range map[string]batch.Flags{
		`{"a":1,"a":2}`:                          batch.DuplicateKey,
		`{"a":12345678901234567890}`:             batch.WideNumber,
		`{"` + strings.Repeat("k", 256) + `":1}`: batch.DuplicateKey,
		`{"a":"\u0000"}`:                         batch.NUL,
		`{"a":` + strings.Repeat("[", 80) + strings.Repeat("]", 80) + `}`:        batch.Deep,
		`{"$user_id":"` + strings.Repeat("u", longRow) + `"}`:                    batch.LongRow,
		`{"a":"\ud800","b":"` + strings.Repeat(`\ud800`, 300) + `","token":"x"}`: 0,
	} {
		row, e, err := first(t, collector(), `{"event":"e","properties":`+properties+`}`, arrival())
		if err != nil || e.Flags != want || !json.Valid([]byte(row)) {
			t.Errorf("%.80s: got %b, %v, want %b", properties, e.Flags, err, want)
		}
	}
}

// Memory that a hostile body took is not kept.
func TestCollectorForgets(t *testing.T) {
	c := collector()
	c.Begin([]byte(`{"event":"e","properties":{`+strings.TrimSuffix(strings.Repeat(`"":0,`, 200_000), ",")+`}}`), false)
	if !c.Next() {
		t.Fatal(c.Err())
	}
	c.End()
	if c.scanner.keys != nil || c.scanner.inner != nil || c.body != nil {
		t.Error("memory is kept")
	}
	if row, _, err := first(t, c, `{"event":"e","properties":{}}`, arrival()); err != nil || row == "" {
		t.Error(err)
	}
}

func TestCollectingAllocatesNothing(t *testing.T) {
	c, dst, a := collector(), make([]byte, 0, 8192), arrival()
	body := []byte("[" + string(sample()) + `,{"event":"$identify","$mp_metadata":{"$mp_event_id":"0123456789abcdef"},"properties":{"token":"t","distinct_id":"\u0055","a":[1,{"b":2}],"ip":"1.2.3.4"}},` + string(sample()) + "]")
	allocated := testing.AllocsPerRun(100, func() {
		c.Begin(body, false)
		for c.Next() {
			if _, _, err := c.AppendEvent(dst, a); err != nil {
				t.Fatal(err)
			}
		}
		if c.Err() != nil || c.Count() != 3 {
			t.Fatal(c.Err(), c.Count())
		}
		c.End()
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}

// FuzzCollect compares rows with encoding/json and with the record.
func FuzzCollect(f *testing.F) {
	for _, seed := range []string{
		`[{"event":"e","properties":{"time":1780000000,"token":"t","$insert_id":"i"}}]`, `{"event":"e","properties":{"$device_id":"$device:a","$user_id":"\u0055","ip":"1.2.3.4"}}`,
		"{}\n[]\n1", `{"event":"e","properties":{"a":[1,{"b":{}}],"` + strings.Repeat("x", 300) + `":"` + strings.Repeat("\u00e9", 300) + `"}}`,
		"{\"event\":\"\xff\",\"properties\":{}}", `{"event":"e","properties":{"token":1,"time":null,"token":2}}`, `{"event":"e","properties":{"distinct_id":"\u0024device:x"}}`,
	} {
		f.Add([]byte(seed), false, false)
		f.Add([]byte(seed), true, true)
	}
	f.Fuzz(func(t *testing.T, body []byte, strict, lines bool) {
		c, a := collector(), arrival()
		a.Strict, a.Import, a.Geo = strict, strict, geo{}
		c.Begin(body, lines)
		for c.Next() {
			c.Member("$token")
			record := bytes.Clone(c.Record())
			row, e, err := c.AppendEvent(nil, a)
			if err != nil || e.Ignored {
				continue
			}
			if !utf8.Valid(row) || !json.Valid(row) || bytes.Count(row, []byte("\n")) != 1 || bytes.ContainsRune(row, '\r') {
				t.Fatalf("the row is not one line of JSON: %q", row)
			}
			if !bytes.ContainsAny(row, `\`) {
				sameKey(t, string(row), e)
			}
			if !json.Valid(record) {
				t.Fatalf("the record is not JSON: %q", record)
			}
		}
		if c.Err() == nil && !lines && c.Count() == 1 && !json.Valid(bytes.TrimPrefix(body, []byte("\ufeff"))) && utf8.Valid(body) {
			t.Fatalf("taken for JSON: %q", body)
		}
	})
}

func BenchmarkCollect(b *testing.B) {
	c, a := collector(), arrival()
	record := sample()
	body := append([]byte("["), bytes.Repeat(append(record, ','), 2000)...)
	body[len(body)-1] = ']'
	var dst []byte
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for i := 0; i < b.N; i += 2000 {
		c.Begin(body, false)
		dst = dst[:0]
		for c.Next() {
			var err error
			if dst, _, err = c.AppendEvent(dst, a); err != nil {
				b.Fatal(err)
			}
		}
	}
}
