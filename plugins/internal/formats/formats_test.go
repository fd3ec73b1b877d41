package formats_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/parquet"
	"github.com/penstock-io/penstock/sdk"
)

// An empty object is one that its readers take: a gzip member, or a Parquet file
// with the columns of the stream.
func TestEmpty(t *testing.T) {
	for _, name := range []string{"7/mp_people_data/p-id.json.gz", "check"} {
		data, err := formats.Empty(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := io.ReadAll(z); err != nil || len(rows) != 0 {
			t.Errorf("%s: %d bytes, %v", name, len(rows), err)
		}
	}
	for name, stream := range map[string]sdk.Stream{
		"7/mp_people_data/p-id.parquet":                                          sdk.People,
		"a/7/mp_identity_mappings_data/p-id.parquet":                             sdk.Identity,
		"mp_people_data/7/mp_master_event/2026/06/01/p-id-00000001-0001.parquet": sdk.Events,
	} {
		data, err := formats.Empty(name)
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		err = parquet.Read(bytes.NewReader(data), int64(len(data)), stream, func(*columns.Row) error { rows++; return nil })
		if err != nil || rows != 0 {
			t.Errorf("%s: %d rows, %v", name, rows, err)
		}
	}
	if data, err := formats.Empty("elsewhere/p-id.parquet"); err == nil {
		t.Errorf("a file without a stream has %d bytes", len(data))
	}
}
