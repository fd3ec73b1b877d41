package jsonlines

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

func line(properties string) string {
	return `{"device_id":null,"distinct_id":"é\n","event_name":"View","insert_id":"i","properties":` + properties + `,"time":1780000000,"user_id":"u"}`
}

func encode(t *testing.T, f Format, reject func(uint64, string, []byte) error, lines ...string) ([]byte, batch.Totals) {
	t.Helper()
	var out bytes.Buffer
	e, err := f.Encode(&out, sdk.Events, "id")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if err := e.Add(destinationtest.NewBatch(destinationtest.Row{Line: l}), reject); err != nil {
			t.Fatal(err)
		}
	}
	done, err := e.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), done.Totals
}

// Properties arrive as a string that holds the object byte for byte, and Count has
// the same totals as the rows that were sent.
func TestPropertiesAreAString(t *testing.T) {
	sent := []string{line(`{"a":"\u00e9 \"quoted\"","n":[1e400,0.10]}`), line(`{ "b" : null }`)}
	data, totals := encode(t, Format{}, nil, sent...)
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil || z.Name != "id" {
		t.Fatalf("%v, the id is %q", err, z.Name)
	}
	d := json.NewDecoder(z)
	for _, want := range []string{`{"a":"\u00e9 \"quoted\"","n":[1e400,0.10]}`, `{ "b" : null }`} {
		var got struct{ Properties string }
		if err := d.Decode(&got); err != nil || got.Properties != want {
			t.Errorf("%v, properties are %q, want %q", err, got.Properties, want)
		}
	}
	counted, err := (Format{}).Count(nil, bytes.NewReader(data), sdk.Events)
	if err != nil || counted != (batch.Totals{Rows: totals.Rows, RowsBytes: totals.RowsBytes, RowsCRC32: totals.RowsCRC32}) || counted.RowsBytes != uint64(len(strings.Join(sent, "\n"))+1) {
		t.Errorf("%v, counted %+v, sent %+v", err, counted, totals)
	}
}

func TestLongRowsAreRejected(t *testing.T) {
	rejected := 0
	_, totals := encode(t, Format{Limit: columns.Limit{Bytes: 100}}, func(uint64, string, []byte) error { rejected++; return nil },
		line(`{}`), line(`{"a":"`+strings.Repeat("x", 100)+`"}`))
	if totals.Rows != 1 || totals.RowsBytes != 0 || rejected != 1 {
		t.Errorf("%+v, %d rejected", totals, rejected)
	}
}

func TestDamagedObjects(t *testing.T) {
	data, _ := encode(t, Format{}, nil, line(`{}`))
	for name, bad := range map[string][]byte{"empty": nil, "cut": data[:len(data)-9], "no gzip": []byte("{}")} {
		if _, err := (Format{}).Count(nil, bytes.NewReader(bad), sdk.Events); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var plain bytes.Buffer
	z := gzip.NewWriter(&plain)
	if _, err := z.Write([]byte(line(`{}`) + "\n")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := (Format{}).Count(nil, &plain, sdk.Events); err == nil {
		t.Error("properties that are an object were counted")
	}
}
