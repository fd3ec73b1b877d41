//go:build cgo

package queries

import (
	"database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/awsserver"
)

const redshiftBlock = `
destination "redshift" "warehouse" {
  bucket            = "lake"
  region            = "us-east-1"
  endpoint          = %q
  access_key_id     = %q
  secret_access_key = %q
  format            = %q
  glue_database     = "mixpanel"
  create_database   = true
  glue_role_arn     = "arn:aws:iam::123456789012:role/export"
  glue_region       = "eu-west-1"
  glue_endpoint     = %q
  workgroup_arn     = "wg"
  database          = "dev"
  redshift_role_arn = "arn:aws:iam::123456789012:role/export"
  redshift_region   = "us-west-2"
  redshift_endpoint = %q
  views             = ["resolved"]
}
`

// The catalog that the redshift plugin has written points at the rows that a
// directory has: DuckDB reads each table at its location, and events by partition.
func TestRedshiftCatalog(t *testing.T) {
	for _, format := range []string{"parquet", "json"} {
		t.Run(format, func(t *testing.T) { compareCatalog(t, format) })
	}
}

// warehouse is a site that exports to a redshift destination over stand-ins of its
// services.
type warehouse struct {
	*comparison
	files       *standin.S3
	catalog     *awsserver.Glue
	redshift    *awsserver.Redshift
	format      string
	environment []string
}

func newWarehouse(t *testing.T, format string) *warehouse {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	files, sts := standin.StartS3(t, "lake"), awsserver.StartSTS(t, time.Now)
	sts.Caller = aws.Credentials{AccessKeyID: files.AccessKey, SecretAccessKey: files.SecretKey}
	sts.Trust("arn:aws:iam::123456789012:role/export", token)
	w := &warehouse{
		files: files, format: format, catalog: awsserver.StartGlue(t, sts, "eu-west-1"), redshift: awsserver.StartRedshift(t, sts, "us-west-2", time.Now),
		environment: []string{"AWS_ENDPOINT_URL_STS=" + sts.URL},
	}
	w.comparison = &comparison{
		Site: penstocktest.NewSite(t), t: t, db: db,
		base: fmt.Sprintf(storeConfiguration, filepath.Join(penstocktest.Binaries, "plugins"), projectID, token),
	}
	w.store = fmt.Sprintf(redshiftBlock, files.Endpoint, files.AccessKey, files.SecretKey, format, w.catalog.URL, w.redshift.URL) + pipelinesTo("redshift.warehouse", "warehouse")
	w.local = "\ndestination \"localfs\" \"out\" {\n  path = \"./local\"\n}\n" + pipelinesTo("localfs.out", "local")
	return w
}

// location is the one that a table shows; empty: it does not exist.
func (w *warehouse) location(stream string) string {
	table, _, _ := w.catalog.Table("mixpanel", stream)
	storage, _ := table["StorageDescriptor"].(map[string]any)
	location, _ := storage["Location"].(string)
	return location
}

// source is DuckDB's table function over the files at a location, as the table's
// SerDe reads them.
func (w *warehouse) source(stream, location string) string {
	dir := filepath.Join(w.files.Dir, strings.TrimPrefix(location, "s3://"))
	if w.format == "parquet" {
		return fmt.Sprintf("read_parquet('%s')", filepath.Join(dir, "*.parquet"))
	}
	return fmt.Sprintf("read_json('%s', format='newline_delimited', columns=%s)", filepath.Join(dir, "*.json.gz"),
		strings.ReplaceAll(streams[stream], "'JSON'", "'VARCHAR'"))
}

func compareCatalog(t *testing.T, format string) {
	w := newWarehouse(t, format)
	w.collect(newSample())
	w.Write("penstock.hcl", w.base+w.store+w.local)
	w.Once(w.environment...)
	if got := w.redshift.Schemas()["mp_json_export"]; got.Database != "mixpanel" {
		t.Errorf("the external schema is %+v", got)
	}
	for stream, declared := range streams {
		theirs := w.shown(stream, casts(declared))
		date := "''"
		if stream == "mp_master_event" {
			date = "strftime(to_timestamp(time) AT TIME ZONE 'UTC', '%Y-%m-%d')"
		}
		ours := fmt.Sprintf("SELECT %s, %s AS mp_date FROM %s", casts(declared), date, w.objects("local", stream))
		for _, pair := range [][2]string{{theirs, ours}, {ours, theirs}} {
			if more := rows(t, w.db, fmt.Sprintf("SELECT * FROM (%s) EXCEPT ALL SELECT * FROM (%s) LIMIT 3", pair[0], pair[1])); len(more) > 0 {
				t.Errorf("%s: rows of one place only: %q", stream, more)
			}
		}
		if format == "parquet" {
			w.compareTypes(stream)
		}
	}
}

// shown is the query of all rows that a reader of the catalog sees: those at the
// location of a table, or at those of its partitions.
func (w *warehouse) shown(stream, columns string) string {
	w.t.Helper()
	shown := map[string]string{"": w.location(stream)}
	if stream == "mp_master_event" {
		shown = w.catalog.Partitions("mixpanel", stream)
	}
	if len(shown) == 0 || w.location(stream) == "" {
		w.t.Fatalf("the catalog does not show %s", stream)
	}
	var parts []string
	for date, at := range shown {
		parts = append(parts, fmt.Sprintf("SELECT %s, '%s' AS mp_date FROM %s", columns, date, w.source(stream, at)))
	}
	return strings.Join(parts, " UNION ALL ")
}

// compareTypes compares the physical types of a table's files, as DuckDB reads them,
// with the types of the table's columns.
func (w *warehouse) compareTypes(stream string) {
	w.t.Helper()
	of := map[string][]any{"varchar(65535)": {"BYTE_ARRAY", "OPTIONAL", "UTF8"}, "bigint": {"INT64", "OPTIONAL", ""}}
	table, _, _ := w.catalog.Table("mixpanel", stream)
	storage, _ := table["StorageDescriptor"].(map[string]any)
	declared, _ := storage["Columns"].([]any)
	var want []string
	for _, c := range declared {
		column, _ := c.(map[string]any)
		kind, _ := column["Type"].(string)
		if of[kind] == nil {
			w.t.Fatalf("%s: the column %v has an unknown type", stream, column)
		}
		want = append(want, line(append([]any{column["Name"]}, of[kind]...)...))
	}
	slices.Sort(want)
	files := filepath.Join(w.files.Dir, strings.TrimPrefix(w.location(stream), "s3://"), "**", "*.parquet")
	same(w.t, rows(w.t, w.db, "SELECT DISTINCT name, type, repetition_type, coalesce(converted_type, '') FROM parquet_schema('"+files+"') WHERE type IS NOT NULL ORDER BY 1"), want)
}

// dialects are functions of Redshift and Athena, as far as the page uses them, in
// DuckDB. They stand for their documented results: a key that is missing is an empty
// text in Redshift, and NULL in Athena.
var dialects = map[string]string{
	"redshift": `CREATE MACRO json_extract_path_text(j, k, invalid_is_null) AS
  CASE WHEN j IS NULL THEN NULL ELSE coalesce(json_extract_string(j, '$."' || k || '"'), '') END;
CREATE MACRO json_parse(j) AS CAST(j AS JSON);`,
	"athena": `CREATE MACRO json_extract_scalar(j, p) AS json_extract_string(j, regexp_replace(p, '^\$\["(.*)"\]$', '$."\1"'));
CREATE MACRO from_unixtime(t) AS make_timestamp(t * 1000000), (t, zone) AS make_timestamp(t * 1000000);`,
}

// superStep is a step into a SUPER value, which DuckDB writes as a function of JSON.
var superStep = regexp.MustCompile(`(\w+\.props)\."([^"]+)"`)

// The documented queries of Redshift and Athena over the tables of the catalog, and the
// view of resolved ids, return the events and profiles that were sent. DuckDB executes
// them with the functions of the dialects, and with JSON in place of SUPER; it does not
// know the refusals of Redshift and Athena.
func TestDocumentedQueriesOfTheCatalog(t *testing.T) {
	sent := newSample()
	w := newWarehouse(t, "parquet")
	w.collect(sent)
	w.Write("penstock.hcl", w.base+w.store)
	w.Once(w.environment...)
	exec := func(text string) {
		t.Helper()
		if _, err := w.db.Exec(text); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	exec("CREATE SCHEMA mp_json_export")
	for stream := range streams {
		exec("CREATE VIEW " + stream + " AS " + w.shown(stream, "*"))
		exec("CREATE VIEW mp_json_export." + stream + " AS SELECT * FROM main." + stream)
	}
	schema, _ := w.redshift.Local("mp_json_export_views")
	exec("CREATE SCHEMA mp_json_export_views")
	exec("CREATE VIEW mp_json_export_views.mp_master_event_resolved AS " + schema.Views["mp_master_event_resolved"].Text)
	want := map[string][]string{
		"unique_users": sent.uniqueUsers(), "events_per_user": sent.eventsPerUser(), "events_with_profile": sent.eventsWithProfile(), "dedup": sent.each(),
		"property": sent.perDevice(), "super": sent.withOwnProfile(), "resolved": sent.perPerson(),
	}
	for dialect, functions := range dialects {
		exec(functions)
		found, wanted := documented(t, dialect, "", projectID), 4
		if dialect == "redshift" {
			found, wanted = append(found, documentedIn(t, "destinations/redshift.md", dialect, "", projectID)...), len(want)
		}
		if len(found) != wanted {
			t.Errorf("%d queries of %s, want %d", len(found), dialect, wanted)
		}
		for _, q := range found {
			t.Run(dialect+"/"+q.name, func(t *testing.T) {
				if q.name == "dedup" {
					q.text = "SELECT insert_id FROM (" + strings.TrimRight(q.text, "; \n") + ") ORDER BY insert_id"
				}
				same(t, rows(t, w.db, superStep.ReplaceAllString(q.text, `json_extract_string($1, '$$."$2"')`)), want[q.name])
			})
		}
	}
}

// roundOf returns the profiles of one round: each has the round in its address.
func roundOf(n int) *sample {
	s := &sample{}
	for i := range 50 {
		s.profiles = append(s.profiles, profile{fmt.Sprintf("user-%02d", i), fmt.Sprintf("round-%d@example.com", n), first.Add(time.Duration(n) * time.Hour)})
	}
	return s
}

// A reader that asks the catalog for the location of the people, and reads there with
// DuckDB, finds the people of one run, all of them: never a mixture, and never a hole.
// The plugin and the host are killed and frozen in some of the runs.
func TestRedshiftReadersSeeOneSet(t *testing.T) {
	w := newWarehouse(t, "parquet")
	export := func(n int, disturbed ...penstocktest.Disturbance) {
		w.collect(roundOf(n))
		w.Write("penstock.hcl", w.base+w.store)
		for _, d := range disturbed {
			w.Disturbed(d, w.environment...)
		}
		w.Once(w.environment...)
	}
	export(1)
	stop, seen := make(chan struct{}), make(chan map[string]int, 1)
	go func() {
		found := make(map[string]int)
		defer func() { seen <- found }()
		for {
			found[w.lookAt("mp_people_data")]++
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	export(2, penstocktest.Disturbance{At: "plugin.write:1"}, penstocktest.Disturbance{At: "plugin.commit.before:1"})
	export(3, penstocktest.Disturbance{At: "plugin.commit.after:1"})
	export(4, penstocktest.Disturbance{At: "plugin.commit.before:1", Freezes: true}, penstocktest.Disturbance{At: "export.prepared:1"})
	close(stop)
	found := <-seen
	t.Logf("readers saw %v", found)
	for n := 1; n <= 4; n++ {
		delete(found, fmt.Sprintf("50 of round-%d@example.com", n))
	}
	if len(found) > 0 {
		t.Errorf("readers saw %v", found)
	}
	if got := w.lookAt("mp_people_data"); got != "50 of round-4@example.com" {
		t.Errorf("the last set is %s", got)
	}
}

// lookAt describes the set that a table shows.
func (w *warehouse) lookAt(stream string) string {
	var n, addresses int
	var address string
	err := w.db.QueryRow("SELECT count(*), count(DISTINCT email), any_value(email) FROM (SELECT json_extract_string(properties, '$.$email') AS email FROM "+
		w.source(stream, w.location(stream))+")").Scan(&n, &addresses, &address)
	switch {
	case err != nil:
		return err.Error()
	case addresses != 1:
		return fmt.Sprintf("%d rows with %d addresses", n, addresses)
	}
	return fmt.Sprintf("%d of %s", n, address)
}

// 'pipelines verify' finds a day that somebody has dropped from the catalog, and a
// table of people that was dropped; --repair registers and shows them again.
func TestRedshiftVerifyReadsTheCatalog(t *testing.T) {
	w := newWarehouse(t, "parquet")
	w.collect(newSample())
	w.Write("penstock.hcl", w.base+w.store)
	w.Once(w.environment...)
	verify := func(pipeline string, status int, texts ...string) {
		t.Helper()
		w.Says(w.Penstock(w.environment, "pipelines", "verify", pipeline), status, texts...)
	}
	verify("events_warehouse", 0)
	verify("people_warehouse", 0)
	date := first.AddDate(0, 0, 3).Format(time.DateOnly)
	before := w.catalog.Partitions("mixpanel", "mp_master_event")
	w.catalog.DropPartition("mixpanel", "mp_master_event", date)
	w.catalog.Drop("mixpanel", "mp_people_data")
	verify("events_warehouse", 3, date, "is not registered in Glue")
	verify("people_warehouse", 3, "is not there")
	for _, pipeline := range []string{"events_warehouse", "people_warehouse"} {
		w.Says(w.Penstock(w.environment, "pipelines", "verify", pipeline, "--repair", "--yes"), 0)
		verify(pipeline, 0)
	}
	if after := w.catalog.Partitions("mixpanel", "mp_master_event"); !maps.Equal(after, before) {
		t.Errorf("partitions were %v and are %v", before, after)
	}
	if n := rows(t, w.db, "SELECT count(*) FROM "+w.source("mp_people_data", w.location("mp_people_data"))); fmt.Sprint(n) == "[0]" {
		t.Error("the table of people shows no rows")
	}
}
