//go:build duckdb

package main

import (
	"database/sql"
	"fmt"
	"strings"

	_ "github.com/duckdb/duckdb-go/v2" // the driver "duckdb"
)

const duckdbPresent = true

// duckdbCopy does the same work as the product, as a careful user of DuckDB
// would: the columns of the events table as NDJSON, one directory per UTC day,
// gzipped. Its JSON writer knows no partitions, so lines are made as JSON and
// written as a CSV of one column without quotes.
func duckdbCopy(path, out string) error {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer db.Close()
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	_, err = db.Exec(fmt.Sprintf(`COPY (
  SELECT json_object('device_id', properties->'$.$device_id', 'distinct_id', properties->'$.distinct_id', 'event_name', event,
         'insert_id', properties->'$.$insert_id', 'properties', properties, 'time', properties->'$.time', 'user_id', properties->'$.$user_id') AS line,
         strftime(make_timestamp((properties->>'$.time')::BIGINT * 1000000), '%%Y-%%m-%%d') AS day
  FROM read_json(%s, format = 'newline_delimited', columns = {event: 'VARCHAR', properties: 'JSON'})
) TO %s (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', COMPRESSION gzip, PARTITION_BY (day), FILE_EXTENSION 'json.gz')`, quote(path), quote(out)))
	return err
}
