package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/penstock-io/penstock/sdk/batch"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func parser() *Parser { return NewParser(func() time.Time { return now }) }

func TestAppendEvent(t *testing.T) {
	for name, test := range map[string]struct{ record, row string }{
		"export shape": {
			`{"event":"Signup","properties":{"time":1780000000,"distinct_id":"U1","$insert_id":"i-1","$device_id":"D1","$user_id":"U1","x":1}}`,
			`{"device_id":"D1","distinct_id":"U1","event_name":"Signup","insert_id":"i-1","properties":{"time":1780000000,"distinct_id":"U1","$insert_id":"i-1","$device_id":"D1","$user_id":"U1","x":1},"time":1780000000,"user_id":"U1"}`,
		},
		"ids absent, null, numbers and others": {
			`{"properties":{"distinct_id":12.50,"$user_id":null,"$device_id":true,"time":1780000000},"event":"e"}`,
			`{"device_id":null,"distinct_id":"12.50","event_name":"e","insert_id":null,"properties":{"distinct_id":12.50,"$user_id":null,"$device_id":true,"time":1780000000},"time":1780000000,"user_id":null}`,
		},
		"milliseconds": {
			`{"event":"e","properties":{"time":1780000000999}}`,
			`{"device_id":null,"distinct_id":null,"event_name":"e","insert_id":null,"properties":{"time":1780000000999},"time":1780000000,"user_id":null}`,
		},
		"fraction of a second": {
			`{"event":"e","properties":{"time":1780000000.75}}`,
			`{"device_id":null,"distinct_id":null,"event_name":"e","insert_id":null,"properties":{"time":1780000000.75},"time":1780000000,"user_id":null}`,
		},
		"the last of two wins": {
			`{"event":"a","event":"b","properties":{"time":1780000001,"distinct_id":"x"},"properties":{"time":1780000000,"time":1780000002}}`,
			`{"device_id":null,"distinct_id":null,"event_name":"b","insert_id":null,"properties":{"time":1780000000,"time":1780000002},"time":1780000002,"user_id":null}`,
		},
		"escaped names": {
			`{"\u0065vent":"e","properties":{"ti\u006de":1780000000,"$user_i\u0064":"\u0055"}}`,
			`{"device_id":null,"distinct_id":null,"event_name":"e","insert_id":null,"properties":{"ti\u006de":1780000000,"$user_i\u0064":"\u0055"},"time":1780000000,"user_id":"\u0055"}`,
		},
		"white space that would break the line": {
			"{\"event\":\"e\",\n\"properties\":{\r\n \"time\" : 1780000000 ,\n\t\"a\":[1,\n2]}\n}",
			"{\"device_id\":null,\"distinct_id\":null,\"event_name\":\"e\",\"insert_id\":null,\"properties\":{   \"time\" : 1780000000 , \t\"a\":[1, 2]},\"time\":1780000000,\"user_id\":null}",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := parser().AppendEvent([]byte("before"), []byte(test.record))
			if err != nil || string(got) != "before"+test.row+"\n" {
				t.Errorf("%v\n got %s\nwant before%s", err, got, test.row)
			}
		})
	}
}

func TestTokensAreRemoved(t *testing.T) {
	const at = `"time":1780000000`
	for properties, want := range map[string]string{
		`{"token":"t",` + at + `}`:                             `{` + at + `}`,
		`{` + at + `,"token":"t"}`:                             `{` + at + `}`,
		`{` + at + ` , "token" : "t" }`:                        `{` + at + ` }`,
		`{` + at + `, "token":{"a":[1,{}]}, "x":1}`:            `{` + at + `,  "x":1}`,
		`{"token":1,"token":2,` + at + `,"token":3,"token":4}`: `{` + at + `}`,
		`{"token":1,` + at + `,"x":{"token":2},"token":3}`:     `{` + at + `,"x":{"token":2}}`,
		`{` + at + `,"token":1 ,"token":2}`:                    `{` + at + `}`,
		`{` + at + `,"Token":1,"tokens":2}`:                    `{` + at + `,"Token":1,"tokens":2}`,
		`{` + at + `,"tok\u0065n":1}`:                          `{` + at + `}`,
	} {
		row, _, err := parser().AppendEvent(nil, []byte(`{"event":"e","properties":`+properties+`}`))
		if err != nil {
			t.Errorf("%s: %v", properties, err)
			continue
		}
		var got struct{ Properties json.RawMessage }
		if err := json.Unmarshal(row, &got); err != nil || string(got.Properties) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", properties, err, got.Properties, want)
		}
	}
}

func TestRejections(t *testing.T) {
	for record, want := range map[string]Reason{
		``:             InvalidJSON,
		`[]`:           InvalidJSON,
		`{"event":"e"`: InvalidJSON,
		`{"event":"e","properties":{"time":1780000000}} x`:           InvalidJSON,
		`{"event":"e","properties":{"time":1780000000,}}`:            InvalidJSON,
		`{"event":"e","properties":{"time":01}}`:                     InvalidJSON,
		"{\"event\":\"e\x01\",\"properties\":{\"time\":1780000000}}": InvalidJSON,
		"{\"event\":\"\xff\",\"properties\":{\"time\":1780000000}}":  InvalidUTF8,
		"{\"event\":\"\xed\xa0\x80\",\"properties\":{\"time\":1}}":   InvalidUTF8,
		`{"properties":{"time":1780000000}}`:                         NoEventName,
		`{"event":"","properties":{"time":1780000000}}`:              NoEventName,
		`{"event":7,"properties":{"time":1780000000}}`:               NoEventName,
		`{"event":"e"}`:                                                                     NoProperties,
		`{"event":"e","properties":[]}`:                                                     NoProperties,
		`{"event":"e","properties":{}}`:                                                     NoTime,
		`{"event":"e","properties":{"time":null}}`:                                          NoTime,
		`{"event":"e","properties":{"x":{"time":1780000000}}}`:                              NoTime,
		`{"event":"e","properties":{"time":"1780000000"}}`:                                  InvalidTime,
		`{"event":"e","properties":{"time":0}}`:                                             TimeOutOfRange,
		`{"event":"e","properties":{"time":-5}}`:                                            TimeOutOfRange,
		`{"event":"e","properties":{"time":1e400}}`:                                         TimeOutOfRange,
		`{"event":"e","properties":{"time":` + fmt.Sprint(now.Unix()+3601) + `}}`:           TimeOutOfRange,
		`{"event":"` + strings.Repeat("x", MaxRecord) + `"}`:                                TooLong,
		`{"event":"e","x":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`: TooDeep,
	} {
		dst, _, err := parser().AppendEvent([]byte("x"), []byte(record))
		var rejection *Rejection
		if !errors.As(err, &rejection) || rejection.Reason != want || string(dst) != "x" {
			t.Errorf("%.60q: got %v, %q, want %s", record, err, dst, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for value, want := range map[string]batch.Flags{
		`1`: 0, `9007199254740992`: 0, `-9007199254740992`: 0, `1.5e300`: 0, `0.30000000000000004`: 0,
		`123456789.123456789123456789`: batch.RoundedNumber, `1e-400`: batch.RoundedNumber,
		`9007199254740993`: batch.WideNumber, `-9007199254740993`: batch.WideNumber, `1e400`: batch.WideNumber, `123456789012345678901234567890`: batch.WideNumber,
		`"\u0000"`: batch.NUL, `{"\u0000":1}`: batch.NUL, `"\\u0000"`: 0,
		`"\ud800"`: 0, `"\ud83d\ude00"`: 0, `"\ud83d\u0000"`: batch.NUL,
		`{"a":1,"b":2}`: 0, `{"a":1,"a":2}`: batch.DuplicateKey, `[{"a":1},{"a":2}]`: 0, `{"a":{"a":1}}`: 0,
		`{"a":1,"\u0061":2}`: batch.DuplicateKey, `{"a":{"x":1},"b":{"x":{"y":1,"y":1}}}`: batch.DuplicateKey,
		strings.Repeat("[", 62) + strings.Repeat("]", 62): 0,
		strings.Repeat("[", 63) + strings.Repeat("]", 63): batch.Deep,
		`"` + strings.Repeat("x", 300<<10) + `"`:          batch.LongRow,
	} {
		_, e, err := parser().AppendEvent(nil, []byte(`{"event":"e","properties":{"time":1780000000,"v":`+value+`}}`))
		if err != nil || e.Flags != want {
			t.Errorf("%.60s: got flags %b, %v, want %b", value, e.Flags, err, want)
		}
	}
}

// An object of many keys, of which one is there twice, whatever it collides
// with.
func TestEachDuplicateKeyIsFound(t *testing.T) {
	for twice := range 200 {
		var b strings.Builder
		b.WriteString(`{"event":"e","properties":{"time":1780000000`)
		for i := range 200 {
			fmt.Fprintf(&b, `,"key number %d":%d`, i, i)
		}
		plain := b.String() + "}}"
		repeated := fmt.Sprintf(`%s,"key number %d":0}}`, b.String(), twice)
		if _, e, err := parser().AppendEvent(nil, []byte(plain)); err != nil || e.Flags != 0 {
			t.Fatalf("no key is there twice: %b, %v", e.Flags, err)
		}
		if _, e, err := parser().AppendEvent(nil, []byte(repeated)); err != nil || e.Flags != batch.DuplicateKey {
			t.Fatalf("key %d is there twice: %b, %v", twice, e.Flags, err)
		}
	}
}

// Keys that hash alike are no reason to take long: each is compared with few
// others.
func TestManyKeysThatHashAlike(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"event":"e","properties":{"time":1780000000`)
	for i := range 30000 {
		fmt.Fprintf(&b, `,"prefixed%06dsuffixed":0`, i)
	}
	plain := b.String() + "}}"
	repeated := b.String() + `,"prefixed\u00300000\u0037suffixed":0}}`
	p := parser()
	for record, want := range map[string]batch.Flags{plain: batch.LongRow, repeated: batch.LongRow | batch.DuplicateKey} {
		_, e, err := p.AppendEvent(nil, []byte(record))
		if err != nil || e.Flags != want {
			t.Errorf("got flags %b, %v, want %b", e.Flags, err, want)
		}
	}
	if compared := p.scanner.compared; compared > 4_000_000 {
		t.Errorf("%d comparisons of keys", compared)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	p, dst := parser(), make([]byte, 0, 4096)
	for _, record := range []string{
		string(sample()),
		`{"\u0065vent":"\u0065","properties":{"time":1780000000.25,"$insert_id":"\u0065","a":1,"\u0061":123456789012345678901234567890123456789,"b":{"c":[1e300,{}]},"token":1}}`,
	} {
		data := []byte(record)
		allocated := testing.AllocsPerRun(100, func() {
			if _, _, err := p.AppendEvent(dst, data); err != nil {
				t.Fatal(err)
			}
		})
		if allocated != 0 {
			t.Errorf("%v allocations for %.60s", allocated, record)
		}
	}
}

// White space around a record is not part of it.
func TestKeyOfARecordWithoutInsertID(t *testing.T) {
	key := func(record string) [16]byte {
		_, e, err := parser().AppendEvent(nil, []byte(record))
		if err != nil {
			t.Fatal(err)
		}
		return e.Key
	}
	one := key(`{"event":"e","properties":{"time":1780000000}}`)
	if key(" {\"event\":\"e\",\"properties\":{\"time\":1780000000}}\r\n") != one {
		t.Error("white space around a record makes another key")
	}
	if key(`{"event":"e","properties":{"time":1780000000.0}}`) == one {
		t.Error("another record has the same key")
	}
}

func TestKeys(t *testing.T) {
	key := func(record string) [16]byte {
		_, e, err := parser().AppendEvent(nil, []byte(record))
		if err != nil {
			t.Fatal(err)
		}
		return e.Key
	}
	one := key(`{"event":"e","properties":{"time":1780000000,"distinct_id":"d","$insert_id":"i","x":1}}`)
	for name, same := range map[string]string{
		"other properties":     `{"event":"e","properties":{"x":2,"$insert_id":"i","distinct_id":"d","time":1780000000}}`,
		"milliseconds":         `{"event":"e","properties":{"time":1780000000123,"distinct_id":"d","$insert_id":"i"}}`,
		"escapes":              `{"event":"\u0065","properties":{"time":1780000000,"distinct_id":"\u0064","$insert_id":"\u0069"}}`,
		"white space and rest": `{ "event":"e", "properties":{"time":1780000000,"distinct_id":"d","$insert_id":"i"}, "y":0}`,
	} {
		if key(same) != one {
			t.Errorf("%s makes another key", name)
		}
	}
	seen := map[[16]byte]string{one: "one"}
	for name, other := range map[string]string{
		"event":          `{"event":"f","properties":{"time":1780000000,"distinct_id":"d","$insert_id":"i"}}`,
		"time":           `{"event":"e","properties":{"time":1780000001,"distinct_id":"d","$insert_id":"i"}}`,
		"distinct":       `{"event":"e","properties":{"time":1780000000,"distinct_id":"di","$insert_id":""}}`,
		"distinct null":  `{"event":"e","properties":{"time":1780000000,"$insert_id":"i"}}`,
		"distinct empty": `{"event":"e","properties":{"time":1780000000,"distinct_id":"","$insert_id":"i"}}`,
		"insert":         `{"event":"e","properties":{"time":1780000000,"distinct_id":"d","$insert_id":"j"}}`,
		"moved border":   `{"event":"e","properties":{"time":1780000000,"distinct_id":"di","$insert_id":"x"}}`,
		"no insert id":   `{"event":"e","properties":{"time":1780000000,"distinct_id":"d"}}`,
		"nor here":       `{"event":"e","properties":{"time":1780000000,"distinct_id":"d","x":1}}`,
	} {
		k := key(other)
		if before, ok := seen[k]; ok {
			t.Errorf("%s has the key of %s", name, before)
		}
		seen[k] = name
	}
}

// Every property byte is kept.
func TestPropertiesAreKeptByteForByte(t *testing.T) {
	for _, value := range []string{
		`1e400`, `9007199254740993`, `-0`, `-0.0`, `1E+2`, `0.1000`, `"\u0000"`, `"\ud83d\ude00"`, `"\/\b\f\n\r\t\"\\"`, `"😀 é \u00e9"`,
		strings.Repeat(`{"a":[`, 400) + strings.Repeat(`]}`, 400), `{"a":1,"a":2}`, `{ "a" : [ 1 ,	2 ] }`, `""`, `[]`, `{}`, `null`,
	} {
		properties := `{"$insert_id":"i", "v":` + value + ` ,"time":1780000000}`
		row, _, err := parser().AppendEvent(nil, []byte(`{"event":"e","properties":`+properties+`}`))
		if err != nil || !bytes.Contains(row, []byte(`"properties":`+properties+`,"time"`)) {
			t.Errorf("%.60s: %v\n%.300s", value, err, row)
		}
	}
}

// FuzzScan holds the scanner against encoding/json, and the row against the
// record.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{"event":"e","properties":{"time":1780000000,"token":"t","$insert_id":"i"}}`, `{"a":[1,-0.5e+7,true,false,null,"\ud83d\ude00"]}`,
		`{"a":1,"a":2}`, "{\"\xc3\xa9\":\"\\u00e9\"}", `{"event":"e","properties":{"token":1,"time":1780000000,"token":2}}`, `{}`, ` {"x" : {} } `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		p := parser()
		p.scanner.reset(record)
		valid := p.scanner.record()
		trimmed := bytes.TrimLeft(record, " \t\r\n")
		if want := json.Valid(record) && utf8.Valid(record) && trimmed[0] == '{'; valid != want {
			t.Fatalf("scan says %v, encoding/json %v: %q", valid, want, record)
		}
		row, _, err := p.AppendEvent(nil, record)
		if err != nil {
			return
		}
		if !json.Valid(row) || bytes.Count(row, []byte("\n")) != 1 || bytes.ContainsRune(row, '\r') {
			t.Fatalf("the row is not one line of JSON: %q", row)
		}
		var in struct {
			Event      string
			Properties map[string]json.RawMessage
		}
		var out struct {
			Event      string `json:"event_name"`
			Properties map[string]json.RawMessage
		}
		if json.Unmarshal(record, &in) != nil || json.Unmarshal(row, &out) != nil || !sensitive(record) {
			return
		}
		delete(in.Properties, "token")
		if len(in.Properties) != len(out.Properties) {
			t.Fatalf("%d properties became %d: %q", len(in.Properties), len(out.Properties), row)
		}
	})
}

// sensitive reports whether encoding/json, which folds the case of names, reads
// the record's own members as we do.
func sensitive(record []byte) bool {
	lower := bytes.ToLower(record)
	return bytes.Count(lower, []byte(`event"`)) == bytes.Count(record, []byte(`event"`)) && bytes.Count(record, []byte(`properties"`)) == 1 &&
		!bytes.Contains(record, []byte(`\`)) && bytes.Count(lower, []byte(`properties"`)) == 1
}

// Invalid bytes at each place of a string, whatever its length.
func TestStringsOfAllLengths(t *testing.T) {
	for _, bad := range []struct {
		bytes string
		want  Reason
	}{{"", ""}, {"é", ""}, {"😀", ""}, {`\"`, ""}, {`\u00e9`, ""}, {"\xff", InvalidUTF8}, {"\xc3", InvalidUTF8}, {"\x1f", InvalidJSON}, {`\x`, InvalidJSON}} {
		for length := range 40 {
			for at := range length + 1 {
				text := strings.Repeat("a", at) + bad.bytes + strings.Repeat("a", length-at)
				record := `{"event":"e","properties":{"time":1780000000,"v":"` + text + `"}}`
				row, _, err := parser().AppendEvent(nil, []byte(record))
				var rejection *Rejection
				errors.As(err, &rejection)
				if bad.want == "" && (err != nil || !strings.Contains(string(row), `"`+text+`"`)) || bad.want != "" && (rejection == nil || rejection.Reason != bad.want) {
					t.Fatalf("%q: got %v, want %q", record, err, bad.want)
				}
			}
		}
	}
}

func sample() []byte {
	return []byte(`{"event":"Product Viewed","properties":{"time":1780000000,"distinct_id":"3f7c1a52-8f0e-4f5c-9d3e-7a1b2c3d4e5f","$insert_id":"a1b2c3d4-e5f6-7890-abcd-ef1234567890","$device_id":"18c9f3a7b2d4e6","$user_id":"user-481516","$browser":"Chrome","$browser_version":126,"$city":"Zürich","$region":"Zurich","mp_country_code":"CH","$current_url":"https://shop.example.com/products/4711?utm_source=newsletter","$initial_referrer":"$direct","$initial_referring_domain":"$direct","$lib_version":"2.55.1","$os":"Mac OS X","$screen_height":1117,"$screen_width":1728,"mp_lib":"web","product_id":4711,"price":129.95,"currency":"CHF","category":"Shoes","in_stock":true,"tags":["sale","running","new"],"mp_processing_time_ms":1780000000123,"$mp_api_endpoint":"api-js.mixpanel.com"}}`)
}

func BenchmarkAppendEvent(b *testing.B) {
	p := parser()
	record := sample()
	dst := make([]byte, 0, 4096)
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, _, err = p.AppendEvent(dst[:0], record); err != nil {
			b.Fatal(err)
		}
	}
}

// Events of which each lacks some of the properties.
func BenchmarkAppendEventOfManyShapes(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	begin, end, _ := bytes.Cut(bytes.Replace(sample(), []byte(`,"running","new"`), nil, 1), []byte(`"$browser"`))
	optional := strings.Split(strings.TrimSuffix(`"$browser"`+string(end), "}}"), `,"`)
	records := make([][]byte, 1000)
	for i := range records {
		record := bytes.TrimSuffix(bytes.Clone(begin), []byte(","))
		for _, member := range optional {
			if r.IntN(4) > 0 {
				record = append(append(record, `,"`...), strings.TrimPrefix(member, `"`)...)
			}
		}
		records[i] = append(record, "}}"...)
	}
	p := parser()
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var err error
		if dst, _, err = p.AppendEvent(dst[:0], records[i%len(records)]); err != nil {
			b.Fatal(err)
		}
	}
}
