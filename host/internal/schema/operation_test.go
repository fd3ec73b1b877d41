package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk/batch"
)

func TestOperationRows(t *testing.T) {
	for name, test := range map[string]struct {
		o   Operation
		row string
	}{
		"plain": {
			Operation{"U1", Set, 1780000000123, true, []byte(`{"a":1,"b":"x"}`)},
			`{"distinct_id":"U1","operation":"$set","time":1780000000123,"last_seen":true,"value":{"a":1,"b":"x"}}`,
		},
		"white space goes, except in strings": {
			Operation{"U1", SetOnce, 0, false, []byte("\t{ \"a \\\" b\" : [ 1 , \" \" ,\r\n{ } ] }\n")},
			`{"distinct_id":"U1","operation":"$set_once","time":0,"last_seen":false,"value":{"a \" b":[1," ",{}]}}`,
		},
		"numbers keep their text": {
			Operation{"U1", Add, 1, true, []byte(`{"a":-0,"b":9007199254740993,"c":1e400,"d":1.50}`)},
			`{"distinct_id":"U1","operation":"$add","time":1,"last_seen":true,"value":{"a":-0,"b":9007199254740993,"c":1e400,"d":1.50}}`,
		},
		"strings keep their escapes, ids do not": {
			Operation{Unescape([]byte(`\u0055\u00e9\ud83d\ude00\ud800\/\u0000\"\\\n`)), Append, 1, true, []byte(`{"\u0061":"\u00e9\/"}`)},
			`{"distinct_id":"Ué😀\ud800/\u0000\"\\\n","operation":"$append","time":1,"last_seen":true,"value":{"\u0061":"\u00e9\/"}}`,
		},
		"lists":          {Operation{"U1", Union, 1, true, []byte(`{"a":[1,{"b":2}],"c":[]}`)}, `{"distinct_id":"U1","operation":"$union","time":1,"last_seen":true,"value":{"a":[1,{"b":2}],"c":[]}}`},
		"scalars":        {Operation{"U1", Remove, 1, true, []byte(`{"a":1,"b":null,"c":"x","d":true}`)}, `{"distinct_id":"U1","operation":"$remove","time":1,"last_seen":true,"value":{"a":1,"b":null,"c":"x","d":true}}`},
		"names":          {Operation{"U1", Unset, 1, true, []byte(`["a", "b"]`)}, `{"distinct_id":"U1","operation":"$unset","time":1,"last_seen":true,"value":["a","b"]}`},
		"no names":       {Operation{"U1", Unset, 1, true, []byte(`[]`)}, `{"distinct_id":"U1","operation":"$unset","time":1,"last_seen":true,"value":[]}`},
		"delete string":  {Operation{"U1", Delete, 253402300799999, false, []byte(` "" `)}, `{"distinct_id":"U1","operation":"$delete","time":253402300799999,"last_seen":false,"value":""}`},
		"delete null":    {Operation{"U1", Delete, 1, false, []byte(`null`)}, `{"distinct_id":"U1","operation":"$delete","time":1,"last_seen":false,"value":null}`},
		"duplicate keys": {Operation{"U1", Set, 1, true, []byte(`{"a":1,"a":{"b":1,"b":2}}`)}, `{"distinct_id":"U1","operation":"$set","time":1,"last_seen":true,"value":{"a":1,"a":{"b":1,"b":2}}}`},
	} {
		if err := test.o.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		row := AppendOperation([]byte("x"), test.o)
		if string(row) != "x"+test.row+"\n" {
			t.Errorf("%s:\n got %s\nwant x%s", name, row, test.row)
			continue
		}
		got, err := ParseOperation(row[1:])
		want := test.o
		want.Value = Compact(nil, want.Value)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: parsed %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func TestOperationsThatAreRefused(t *testing.T) {
	big := `"` + strings.Repeat("x", MaxRecord) + `"`
	for _, test := range []struct {
		id    string
		verb  Verb
		time  int64
		value string
		want  Reason
	}{
		{"", Set, 1, `{}`, NoProfileID},
		{"\xff", Set, 1, `{}`, InvalidUTF8},
		{"\xed\xa0\xbd\xed\xb8\x80", Set, 1, `{}`, InvalidUTF8}, // a pair that is not written as one
		{"U", Set, -1, `{}`, TimeOutOfRange},
		{"U", Set, 253402300800000, `{}`, TimeOutOfRange},
		{"U", "$merge", 1, `{}`, UnknownOperation},
		{"U", "", 1, `{}`, UnknownOperation},
		{"U", Set, 1, ``, InvalidJSON},
		{"U", Set, 1, ` `, InvalidJSON},
		{"U", Set, 1, `{"a":}`, InvalidJSON},
		{"U", Set, 1, `{"a":1}}`, InvalidJSON},
		{"U", Set, 1, `{"a":1},"value":{}`, InvalidJSON},
		{"U", Set, 1, `{"a":NaN}`, InvalidJSON},
		{"U", Set, 1, "{\"a\":\"\xff\"}", InvalidUTF8},
		{"U", Set, 1, `{"a":` + big + `}`, TooLong},
		{"U", Set, 1, `[1]`, InvalidValue},
		{"U", Set, 1, `"a"`, InvalidValue},
		{"U", SetOnce, 1, `null`, InvalidValue},
		{"U", Append, 1, `[{"a":1}]`, InvalidValue},
		{"U", Add, 1, `{"a":"1"}`, InvalidValue},
		{"U", Add, 1, `{"a":1,"b":null}`, InvalidValue},
		{"U", Add, 1, `{"a":1,"b":[2]}`, InvalidValue},
		{"U", Add, 1, `5`, InvalidValue},
		{"U", Union, 1, `{"a":1}`, InvalidValue},
		{"U", Union, 1, `{"a":[],"b":{}}`, InvalidValue},
		{"U", Remove, 1, `{"a":[1]}`, InvalidValue},
		{"U", Remove, 1, `{"a":1, "b": {}}`, InvalidValue},
		{"U", Unset, 1, `{"a":1}`, InvalidValue},
		{"U", Unset, 1, `"a"`, InvalidValue},
		{"U", Unset, 1, `["a",1]`, InvalidValue},
		{"U", Delete, 1, `nothing`, InvalidJSON},
	} {
		err := Operation{test.id, test.verb, test.time, true, []byte(test.value)}.Check()
		var rejection *Rejection
		if !errors.As(err, &rejection) || rejection.Reason != test.want {
			t.Errorf("%s of %q at %d, %.40s: got %v, want %s", test.verb, test.id, test.time, test.value, err, test.want)
		}
	}
}

// A row has one spelling: nothing else is one.
func TestWhatIsNoOperationRow(t *testing.T) {
	const row = `{"distinct_id":"U","operation":"$set","time":1,"last_seen":true,"value":{"a":1}}` + "\n"
	if _, err := ParseOperation([]byte(row)); err != nil {
		t.Fatal(err)
	}
	for i := range row {
		if o, err := ParseOperation([]byte(row[:i])); err == nil {
			t.Errorf("cut after %d bytes: %+v", i, o)
		}
	}
	for old, others := range map[string][]string{
		`"U"`:            {`""`, `"\u0055"`, `"U\/"`, `"\ud83d\ude00"`, `"\uD800"`, `"\u000a"`, `"` + "\x01" + `"`, `"` + "\xff" + `"`, `5`, `null`, ` "U"`, `"U","x":"y"`},
		`"$set"`:         {`"$sets"`, `""`, `"\u0024set"`, `null`},
		`1,"last`:        {`01,"last`, `-1,"last`, `1.0,"last`, `,"last`, `253402300800000,"last`, `99999999999999999999,"last`, `1 ,"last`, `"1","last`},
		`true`:           {`false `, `1`, `null`, `True`, ``},
		`{"a":1}`:        {`{"a": 1}`, `{"a":1}x`, `{"a":1},"b":2`, `{"a":1,}`, `[]`, ``, "{\"a\":1}\n", `1`},
		"}}\n":           {"}}", "}}\r\n", "}}\n\n", "}} \n", "}}}\n"},
		`{"distinct_id"`: {` {"distinct_id"`, `{ "distinct_id"`, `{"Distinct_id"`},
	} {
		for _, other := range others {
			line := strings.Replace(row, old, other, 1)
			if line == row {
				t.Fatalf("%q is not in the row", old)
			}
			if o, err := ParseOperation([]byte(line)); err == nil {
				t.Errorf("%q is taken for a row: %+v", line, o)
			}
		}
	}
}

func TestOperationKeys(t *testing.T) {
	row := AppendOperation(nil, Operation{"U", Add, 1, true, []byte(`{"a":1}`)})
	other := AppendOperation(nil, Operation{"U", Add, 1, true, []byte(`{"a":2}`)})
	key := OperationKey([]byte("r1"), row)
	if key != OperationKey([]byte("r1"), bytes.Clone(row)) {
		t.Error("the same operation has two keys")
	}
	if key == OperationKey([]byte("r2"), row) || key == OperationKey([]byte("r1"), other) || key == OperationKey(nil, row) {
		t.Error("two operations have one key")
	}
}

func TestRowFlags(t *testing.T) {
	for row, want := range map[string]batch.Flags{
		`{"distinct_id":"U","properties":{"a":1}}` + "\n":           0,
		`{"distinct_id":"U","properties":{"a":1e400}}`:              batch.WideNumber,
		`{"distinct_id":"U","properties":{"a":{"b":1,"b":2}}}`:      batch.DuplicateKey,
		`{"distinct_id":"\u0000","properties":{"event":"\ud800"}}`:  batch.NUL | batch.LoneSurrogate,
		`{"properties":"` + strings.Repeat("x", 256<<10) + `"}`:     batch.LongRow,
		strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70): batch.Deep,
	} {
		if got, err := RowFlags([]byte(row)); err != nil || got != want {
			t.Errorf("%.60s: %b, %v, want %b", row, got, err, want)
		}
	}
	if _, err := RowFlags([]byte(`{"a":1`)); err == nil {
		t.Error("half a row has flags")
	}
}

// Members and Elements find in a compact value the members and elements that
// encoding/json finds.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{`{}`, `[]`, `{"a":1,"b\"\\":[1,"x]",{"c":{}}],"d":-1e5}`, ` [ 1 , {"a" : [ ] } , "\\" , null ] `, `"x"`, `{"a":[[[]]],"b":"}"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		s := &scanner{}
		if s.reset(value); !s.only() {
			// Whatever it is, it is walked without end or panic.
			Members(value, func(_, _ []byte) bool { return true })
			Elements(value, func([]byte) bool { return true })
			return
		}
		small := Compact(nil, value)
		var plain bytes.Buffer
		if err := json.Compact(&plain, value); err == nil && plain.String() != string(small) {
			t.Fatalf("compact: %q, want %q", small, plain.Bytes())
		}
		if !compact(small) || SkipValue(small, 0) != len(small) {
			t.Fatalf("%q: compact %v, ends at %d", small, compact(small), SkipValue(small, 0))
		}
		again := []byte{}
		var ok bool
		switch small[0] {
		case '{':
			again = append(again, '{')
			ok = Members(small, func(name, value []byte) bool {
				again = append(append(again, '"'), name...)
				again = append(append(again, `":`...), value...)
				again = append(again, ',')
				return true
			})
			again = append(bytes.TrimSuffix(again, []byte{','}), '}')
		case '[':
			again = append(again, '[')
			ok = Elements(small, func(value []byte) bool {
				again = append(append(again, value...), ',')
				return true
			})
			again = append(bytes.TrimSuffix(again, []byte{','}), ']')
		default:
			return
		}
		if !ok || string(again) != string(small) {
			t.Fatalf("walked %q and found %q, %v", small, again, ok)
		}
	})
}

// Every operation that passes Check comes back from its row, and every line
// that is a row equals the row that its operation is rendered to.
func FuzzOperation(f *testing.F) {
	f.Add("U1", "$set", int64(1), true, []byte(`{"a":1}`), []byte(`{"distinct_id":"U","operation":"$set","time":1,"last_seen":true,"value":{"a":1}}`+"\n"))
	f.Add("\xed\xa0\x80", "$unset", int64(0), false, []byte(` ["a" ,"\u0000"]`), []byte(`{"distinct_id":"\ud800","operation":"$delete","time":0,"last_seen":false,"value":""}`+"\n"))
	f.Add("a\"b\\", "$union", int64(5), false, []byte(`{"a":[1,1.0]}`), []byte(`{"distinct_id":"\"","operation":"$add","time":10,"last_seen":true,"value":{"a":-1e5}}`+"\n"))
	f.Fuzz(func(t *testing.T, id, verb string, time int64, seen bool, value, line []byte) {
		o := Operation{id, Verb(verb), time, seen, value}
		if o.Check() == nil {
			row := AppendOperation(nil, o)
			got, err := ParseOperation(row)
			o.Value = Compact(nil, o.Value)
			if err != nil || !reflect.DeepEqual(got, o) {
				t.Fatalf("%q: parsed %+v, %v, want %+v", row, got, err, o)
			}
			if bytes.Count(row, []byte{'\n'}) != 1 || !json.Valid(row) {
				t.Fatalf("%q is not one line of JSON", row)
			}
		}
		if o, err := ParseOperation(line); err == nil {
			if err := o.Check(); err != nil {
				t.Fatalf("%q is a row, but: %v", line, err)
			}
			if again := AppendOperation(nil, o); string(again) != string(line) {
				t.Fatalf("%q is a row, and is rendered %q", line, again)
			}
		}
	})
}

func BenchmarkParseOperation(b *testing.B) {
	row := AppendOperation(nil, Operation{"user-1234567", Set, 1780000000123, true, []byte(`{"$name":"Ada Lovelace","$email":"ada@example.com","plan":"pro","logins":17,"tags":["a","b"]}`)})
	b.SetBytes(int64(len(row)))
	for b.Loop() {
		if _, err := ParseOperation(row); err != nil {
			b.Fatal(err)
		}
	}
}
