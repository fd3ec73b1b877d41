//go:build cgo

package queries

import (
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // the driver "duckdb"
)

// The result of every query of the page, over the exported files, agrees with the
// events and profiles that were sent.
func TestDocumentedQueries(t *testing.T) {
	sent := newSample()
	out := export(t, sent)
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	want := map[string][]string{
		"unique_users":        sent.uniqueUsers(),
		"events_per_user":     sent.eventsPerUser(),
		"events_with_profile": sent.eventsWithProfile(),
		"dedup":               sent.each(),
	}
	for _, q := range documented(t, "duckdb", out, projectID) {
		if q.name == "setup" {
			if _, err := db.Exec(q.text); err != nil {
				t.Fatalf("setup: %v", err)
			}
			continue
		}
		t.Run(q.name, func(t *testing.T) {
			if want[q.name] == nil {
				t.Fatal("this test does not know the result of the query")
			}
			if q.name == "dedup" {
				repeat(t, out)
				q.text = "SELECT insert_id FROM (" + strings.TrimRight(q.text, "; \n") + ") ORDER BY insert_id"
			}
			same(t, rows(t, db, q.text), want[q.name])
		})
		delete(want, q.name)
	}
	for name := range want {
		t.Errorf("the page has no query %s for DuckDB", name)
	}
}

// repeat puts each object of events there a second time, as an older export
// would have it.
func repeat(t *testing.T, out string) {
	t.Helper()
	objects, err := filepath.Glob(filepath.Join(out, projectID, "mp_master_event/*/*/*/*.json.gz"))
	if err != nil || len(objects) == 0 {
		t.Fatal(len(objects), "objects", err)
	}
	for _, object := range objects {
		data, err := os.ReadFile(object)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(object), "older-"+filepath.Base(object)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// rows runs a query; each row becomes a line.
func rows(t *testing.T, db *sql.DB, text string) []string {
	t.Helper()
	result, err := db.Query(text)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	columns, err := result.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for result.Next() {
		values, places := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		if err := result.Scan(places...); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line(values...))
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// same compares lines, and shows the first that differs.
func same(t *testing.T, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("row %d of %d:\n got %s\nwant %s", i, len(got), got[i], want[i])
		}
	}
	t.Fatalf("%d rows, want %d", len(got), len(want))
}
