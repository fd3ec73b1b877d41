package redshift

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/plugins/internal/jsonlines"
	"github.com/penstock-io/penstock/plugins/internal/parquet"
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

// eventOf returns an event as the journal has it.
func eventOf(id, properties string, flags batch.Flags) destinationtest.Row {
	return destinationtest.Row{Flags: flags, Line: fmt.Sprintf(
		`{"device_id":null,"distinct_id":%q,"event_name":"View","insert_id":null,"properties":%s,"time":1780272000,"user_id":null}`, id, properties)}
}

// propertiesOf returns an object of n bytes, of runes of two bytes and members of
// two sizes.
func propertiesOf(n int) string {
	const frame = `{"keep":1,"x":""}`
	return strings.Replace(frame, `""`, `"`+strings.Repeat("é", (n-len(frame))/2)+strings.Repeat("y", (n-len(frame))%2)+`"`, 1)
}

// The attributes oversize and unusual decide which rows are stored, in both formats:
// no string is longer than a varchar(65535), and all properties are JSON that
// Redshift's functions read.
func TestRowsThatRedshiftCannotHold(t *testing.T) {
	const nul = `{"a":"x\u0000y"}`
	in := []destinationtest.Row{
		eventOf("fits", propertiesOf(longestString), 0),
		eventOf("too long", propertiesOf(longestString+1), 0),
		eventOf("far too long", propertiesOf(4*longestString), 0),
		eventOf(strings.Repeat("é", 40_000), `{}`, 0),
		eventOf("twice", `{"a":1,"b":2,"a":3}`, batch.DuplicateKey),
		eventOf("nul", nul, batch.NUL),
		eventOf("number", `{"a":12345678901234567890123,"b":1.50}`, batch.WideNumber),
	}
	for _, tt := range []struct {
		oversize, unusual string
		want              []string // id and properties
		rejected          []int
	}{
		{"quarantine", "reject", []string{"fits " + propertiesOf(longestString), `number {"a":12345678901234567890123,"b":1.50}`}, []int{1, 2, 3, 4, 5}},
		{"quarantine", "repair", []string{
			"fits " + propertiesOf(longestString), `twice {"b":2,"a":3}`, `nul {"a":"xy"}`, `number {"a":12345678901234567890123,"b":1.50}`,
		}, []int{1, 2, 3}},
		{"truncate", "reject", []string{
			"fits " + propertiesOf(longestString), `too long {"keep":1,"$penstock_dropped":["x"]}`, `far too long {"keep":1,"$penstock_dropped":["x"]}`,
			`number {"a":12345678901234567890123,"b":1.50}`,
		}, []int{3, 4, 5}},
	} {
		for _, format := range []string{"parquet", "json"} {
			t.Run(strings.Join([]string{tt.oversize, tt.unusual, format}, " "), func(t *testing.T) {
				stored, rejected := store(t, config{Oversize: tt.oversize, Unusual: tt.unusual, Config: s3bucket.Config{Format: format}}, in)
				if !slices.Equal(stored, tt.want) {
					t.Errorf("stored are %s, want %s", abridged(stored), abridged(tt.want))
				}
				if !slices.Equal(rejected, tt.rejected) {
					t.Errorf("rejected are the rows %v, want %v", rejected, tt.rejected)
				}
			})
		}
	}
}

func abridged(texts []string) string {
	var short []string
	for _, text := range texts {
		short = append(short, fmt.Sprintf("%.60s (%d bytes)", text, len(text)))
	}
	return strings.Join(short, "; ")
}

// store encodes rows as the plugin does, and returns those that are stored, by id and
// properties, and the numbers of those that are rejected.
func store(t *testing.T, c config, in []destinationtest.Row) (stored []string, rejected []int) {
	t.Helper()
	format, err := formatOf(c)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e, err := format.Encode(&out, sdk.Events, "")
	if err != nil {
		t.Fatal(err)
	}
	err = e.Add(destinationtest.NewBatch(in...), func(row uint64, reason string, line []byte) error {
		if string(line) != in[row].Line || reason == "" {
			t.Errorf("row %d comes back as %.60s because %q", row, line, reason)
		}
		rejected = append(rejected, int(row))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Close(); err != nil {
		t.Fatal(err)
	}
	take := func(row *columns.Row) error {
		for i, v := range row.Values {
			if len(v.Text) > longestString || !utf8.Valid(v.Text) {
				t.Errorf("%s has %d bytes", columns.Of(sdk.Events)[i].Name, len(v.Text))
			}
		}
		if !json.Valid(row.Values[4].Text) {
			t.Errorf("properties are %.60s", row.Values[4].Text)
		}
		stored = append(stored, string(row.Values[1].Text)+" "+string(row.Values[4].Text))
		return nil
	}
	if c.Format == "json" {
		err = jsonlines.Read(&out, sdk.Events, take)
	} else {
		err = parquet.Read(bytes.NewReader(out.Bytes()), int64(out.Len()), sdk.Events, take)
	}
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rejected)
	return stored, rejected
}
