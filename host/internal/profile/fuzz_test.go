package profile

import (
	"bytes"
	"testing"
	"time"

	"github.com/penstock-io/penstock/host/internal/schema"
)

// Whatever records are accepted can be applied, to nothing and to a profile,
// and the result is a row that is read as it was written.
func FuzzApply(f *testing.F) {
	for _, record := range []string{
		`{"$distinct_id":"u","$set":{"a":[1,{"b":null}],"\u0061":"\ud800"},"$unset":["x","\u0078"]}`,
		`{"$distinct_id":"u\"","$union":{"a":[1,1.0,"x",[],{}]},"$remove":{"a":1e0},"$append":{"a":{"a":1,"a":2}},"$add":{"n":-0.0e1}}`,
		`{"$distinct_id":"u","$properties":{"$last_seen":"2026-06-01T12:00:00","":{}}}`,
		`{"$distinct_id":"u","$add":{"n":1e400},"$delete":""}`,
		`{"$distinct_id":"u","$append":{"$last_seen":1},"$union":{"$last_seen":[]},"$set_once":{"$last_seen":2}}`,
	} {
		f.Add([]byte(record), []byte(`{"$distinct_id":"u","$set":{"a":[1,"x"],"n":1}}`))
	}
	records := schema.NewProfiles()
	now := time.UnixMilli(1780315200000)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		refused := Refused{}
		p := newProfile(refused)
		p.begin([]byte("u"))
		for _, record := range [][]byte{first, second, first} {
			operations, err := records.Operations(record, now)
			if err != nil {
				continue
			}
			var rows []byte
			for _, o := range operations {
				rows = schema.AppendOperation(rows, o)
			}
			for row := range bytes.Lines(rows) {
				o, err := schema.SplitOperation(row)
				if err != nil {
					t.Fatalf("%s: %v", row, err)
				}
				if err := p.apply(o); err != nil {
					t.Fatalf("%s: %v", row, err)
				}
			}
			if !p.exists {
				continue
			}
			row := p.append(nil)
			if _, err := schema.RowFlags(row); err != nil || len(row) > MaxProfile {
				t.Fatalf("%.200s, %d bytes: %v", row, len(row), err)
			}
			again := newProfile(refused)
			if err := again.read(row); err != nil {
				t.Fatalf("%s: %v", row, err)
			}
			if second := again.append(nil); !bytes.Equal(second, row) {
				t.Fatalf("%s became %s", row, second)
			}
			if again.size() != p.size() {
				t.Fatalf("%s: %d bytes and %d", row, again.size(), p.size())
			}
		}
	})
}
