package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cloud.google.com/go/bigquery"
)

var documentedQuery = regexp.MustCompile("(?s)```sql bigquery[^\n]*\n-- ([a-z_]+)\n(.*?)```")

// The queries for BigQuery in docs/queries.md run, and find the rows of events of one
// user before and after a link.
func TestDocumentedQueries(t *testing.T) {
	w := newWorld(t)
	w.createEvents()
	for _, line := range []string{
		`{"distinct_id":"device-1","event_name":"Sign Up","insert_id":"i1","properties":{"mp_processing_time_ms":1},"time":1795780800}`,
		`{"distinct_id":"device-1","event_name":"Sign Up","insert_id":"i1","properties":{"mp_processing_time_ms":2},"time":1795780800}`,
		`{"distinct_id":"ada","event_name":"Buy","insert_id":"i2","properties":{},"time":1795780900}`,
	} {
		_, err := w.load("mp_master_event$20261127", line+"\n", nil)
		w.must(err)
	}
	w.rows("CREATE TABLE mp.p AS SELECT 'ada' AS distinct_id, JSON '{\"$email\": \"ada@acme.example\", \"$last_seen\": \"2026-11-27\"}' AS properties")
	w.rows("CREATE TABLE mp.i AS SELECT 'device-1' AS distinct_id, 'ada' AS resolved_distinct_id")
	w.rows("CREATE VIEW mp.mp_people_data_view AS SELECT * FROM `acme.mp.p`")
	w.rows("CREATE VIEW mp.mp_identity_mappings_data_view AS SELECT * FROM `acme.mp.i`")
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "queries.md"))
	w.must(err)
	want := map[string]string{"unique_users": "2026-11-27 1", "events_per_user": "ada 3", "events_with_profile": "ada@acme.example", "dedup": "i2"}
	for _, q := range documentedQuery.FindAllStringSubmatch(string(text), -1) {
		t.Run(q[1], func(t *testing.T) {
			inner := *w
			inner.T = t
			query := w.client.Query(q[2])
			query.Location, query.DefaultDatasetID = location, "mp"
			rows, err := query.Read(t.Context())
			inner.must(err)
			var lines []string
			for {
				var row []bigquery.Value
				if rows.Next(&row) != nil {
					break
				}
				lines = append(lines, printed(row))
			}
			if !strings.Contains(strings.Join(lines, "\n"), want[q[1]]) {
				t.Errorf("rows\n%s\nwant %q among them", strings.Join(lines, "\n"), want[q[1]])
			}
			if q[1] == "dedup" && len(lines) != 2 {
				t.Errorf("%d rows, want 2", len(lines))
			}
		})
		delete(want, q[1])
	}
	for name := range want {
		t.Errorf("the page has no query %s", name)
	}
}
