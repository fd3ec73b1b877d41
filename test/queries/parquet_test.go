//go:build cgo

package queries

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
)

// physical are the columns of Parquet files: name, physical type, repetition,
// converted type. Readers such as Redshift Spectrum refuse a file whose physical
// type is not exactly that of the table's column: a string of the table is a
// BYTE_ARRAY with UTF8, a bigint an INT64.
var physical = map[string][]string{
	"mp_master_event": {
		line("device_id", "BYTE_ARRAY", "OPTIONAL", "UTF8"), line("distinct_id", "BYTE_ARRAY", "OPTIONAL", "UTF8"),
		line("event_name", "BYTE_ARRAY", "OPTIONAL", "UTF8"), line("insert_id", "BYTE_ARRAY", "OPTIONAL", "UTF8"),
		line("properties", "BYTE_ARRAY", "OPTIONAL", "UTF8"), line("time", "INT64", "OPTIONAL", ""),
		line("user_id", "BYTE_ARRAY", "OPTIONAL", "UTF8"),
	},
	"mp_people_data":            {line("distinct_id", "BYTE_ARRAY", "OPTIONAL", "UTF8"), line("properties", "BYTE_ARRAY", "OPTIONAL", "UTF8")},
	"mp_identity_mappings_data": {line("distinct_id", "BYTE_ARRAY", "OPTIONAL", "UTF8"), line("resolved_distinct_id", "BYTE_ARRAY", "OPTIONAL", "UTF8")},
}

// One journal is exported as NDJSON and as Parquet. DuckDB reads both: the rows are
// the same, and the physical types are those that tables declare.
func TestParquet(t *testing.T) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	destination := func(name, format string) string {
		return fmt.Sprintf("\ndestination \"localfs\" %q {\n  path   = \"./%s\"\n  format = %q\n}\n", name, name, format) + pipelinesTo("localfs."+name, name)
	}
	c := &comparison{
		Site: penstocktest.NewSite(t), t: t, db: db,
		base: fmt.Sprintf(storeConfiguration, filepath.Join(penstocktest.Binaries, "plugins"), projectID, token),
	}
	s := newSample()
	c.collect(s)
	c.Write("penstock.hcl", c.base+destination("local", "json")+destination("columns", "parquet"))
	c.Once()
	for stream, declared := range streams {
		files := fmt.Sprintf("'%s'", filepath.Join(c.Dir, "columns", projectID, stream, "**", "*.parquet"))
		same(t, rows(t, db, "SELECT DISTINCT name, type, repetition_type, coalesce(converted_type, '') FROM parquet_schema("+files+") WHERE type IS NOT NULL ORDER BY 1"),
			physical[stream])
		selected := func(from string) string { return "SELECT " + casts(declared) + " FROM " + from }
		json, parquet := selected(c.objects("local", stream)), selected("read_parquet("+files+")")
		for _, pair := range [][2]string{{json, parquet}, {parquet, json}} {
			if more := rows(t, db, pair[0]+" EXCEPT ALL "+pair[1]+" LIMIT 3"); len(more) > 0 {
				t.Errorf("%s: rows of one format only: %q", stream, more)
			}
		}
		if n := rows(t, db, "SELECT count(*) > 0 FROM read_parquet("+files+")"); len(n) != 1 || n[0] != line("true") {
			t.Errorf("%s: no rows were compared: %q", stream, n)
		}
	}
}
