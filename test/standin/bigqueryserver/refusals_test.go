package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
)

const docs = "https://docs.cloud.google.com/bigquery/docs/"

// Queries that BigQuery refuses, with the page or the recorded answer that shows it.
func TestRefusedQueries(t *testing.T) {
	w := newWorld(t)
	w.createEvents()
	w.rows("CREATE TABLE mp.ledger (id STRING NOT NULL, run INT64)")
	w.rows("INSERT INTO mp.ledger VALUES ('a', 1)")
	w.rows("CREATE VIEW mp.v AS SELECT id FROM `acme.mp.ledger`")
	for name, test := range map[string]struct {
		source  string
		query   string
		code    int
		reason  string
		message string
	}{
		"partition in the middle of a day": {docs + "using-dml-with-partitioned-tables", "INSERT INTO mp.mp_master_event (_PARTITIONTIME, device_id) SELECT TIMESTAMP('2017-05-01 21:30:00'), 'd'", 400, "invalidQuery", "_PARTITIONTIME"},
		"partition before 1970":            {docs + "partitioned-tables", "INSERT INTO mp.mp_master_event (_PARTITIONTIME, device_id) VALUES (TIMESTAMP '1969-12-31', 'd')", 400, "invalidQuery", "1970-01-01"},
		"partition after 2159":             {docs + "partitioned-tables", "INSERT INTO mp.mp_master_event (_PARTITIONTIME, device_id) VALUES (TIMESTAMP '2160-01-01', 'd')", 400, "invalidQuery", "2159-12-31"},
		"DDL in a transaction":             {docs + "transactions", "BEGIN TRANSACTION; CREATE TABLE mp.t (a INT64); COMMIT TRANSACTION;", 400, "invalidQuery", "DDL statements are not supported in a transaction"},
		"nested transaction":               {docs + "transactions", "BEGIN TRANSACTION; BEGIN TRANSACTION; COMMIT TRANSACTION;", 400, "invalidQuery", "already in progress"},
		"commit without a transaction":     {docs + "reference/standard-sql/procedural-language#commit_transaction", "COMMIT TRANSACTION", 400, "invalidQuery", "No active transaction"},
		"ASSERT":                           {docs + "reference/standard-sql/debugging-statements", "ASSERT (SELECT COUNT(*) > 5 FROM mp.ledger) AS 'too few rows'", 400, "invalidQuery", "too few rows"},
		"ASSERT of NULL":                   {docs + "reference/standard-sql/debugging-statements", "ASSERT CAST(NULL AS BOOL) AS 'unknown'", 400, "invalidQuery", "unknown"},
		"UPDATE without WHERE":             {docs + "reference/standard-sql/dml-syntax#update_statement", "UPDATE mp.ledger SET run = 1", 400, "invalidQuery", "UPDATE must have a WHERE clause"},
		"DELETE without WHERE":             {docs + "reference/standard-sql/dml-syntax#delete_statement", "DELETE FROM mp.ledger", 400, "invalidQuery", "DELETE must have a WHERE clause"},
		"UPDATE with two sources":          {docs + "reference/standard-sql/dml-syntax#update_statement", "UPDATE mp.ledger l SET run = s.n FROM UNNEST([1, 2]) AS s_n JOIN (SELECT 1 AS n) s ON TRUE WHERE l.id = 'a'", 400, "invalidQuery", "must match at most one source row for each target row"},
		"required column":                  {docs + "schemas#modes", "INSERT INTO mp.ledger (run) VALUES (1)", 400, "invalidQuery", "Required field id cannot be null"},
		"text into JSON":                   {docs + "reference/standard-sql/conversion_rules", "INSERT INTO mp.mp_master_event (properties) SELECT '{}'", 400, "invalidQuery", "which cannot be inserted into column properties, which has type JSON"},
		"unknown column":                   {"recorded: rest_crud", "SELECT nope FROM mp.ledger", 400, "invalidQuery", "Unrecognized name: nope at [1:8]"},
		"unknown function":                 {"recorded: api_configuration/dry_run_invalid_function", "SELECT BQEMU_NONEXISTENT_FUNCTION(1)", 400, "invalidQuery", "Function not found: BQEMU_NONEXISTENT_FUNCTION at [1:8]"},
		"missing table":                    {"recorded: rest_crud/error_table_not_found", "SELECT * FROM mp.nope", 404, "notFound", "Not found: Table acme:mp.nope was not found in location europe-west3"},
		"missing dataset":                  {"recorded: rest_crud/error_dataset_not_found", "SELECT * FROM other.nope", 404, "notFound", "Not found: Dataset acme:other was not found in location europe-west3"},
		"foreign project":                  {"recorded: rest_crud/error_invalid_project_format", "SELECT * FROM `elsewhere.mp.t`", 403, "accessDenied", "or perhaps it does not exist"},
		"existing table":                   {"recorded: rest_crud/error_create_table_already_exists", "CREATE TABLE mp.ledger (a INT64)", 409, "duplicate", "Already Exists: Table acme:mp.ledger"},
		"division by zero":                 {docs + "reference/standard-sql/operators", "SELECT 1 / 0", 400, "invalidQuery", "division by zero"},
		"JSON with a lone surrogate":       {"https://github.com/PostHog/posthog/pull/27466", `SELECT PARSE_JSON('"\\ud83d"')`, 400, "invalidQuery", "surrogate"},
		"JSON with a wide number":          {docs + "reference/standard-sql/json_functions#parse_json", "SELECT PARSE_JSON('3.14159265358979323846')", 400, "invalidQuery", "round-trip"},
		"JSON compared":                    {docs + "reference/standard-sql/data-types#json_type", "SELECT properties = properties FROM mp.mp_master_event", 400, "invalidQuery", "not defined for arguments of type JSON"},
		"illegal escape":                   {docs + "reference/standard-sql/lexical#escape_sequences", `SELECT '\d'`, 400, "invalidQuery", `Illegal escape sequence: \d`},
		"a view is not a table":            {docs + "reference/standard-sql/data-definition-language#drop_table_statement", "DROP TABLE mp.v", 400, "invalidQuery", "which has type VIEW"},
		"legacy join":                      {docs + "reference/standard-sql/query-syntax", "SELECT l.id FROM mp.ledger l JOIN mp.ledger m", 400, "invalidQuery", "Syntax error: Expected keyword ON or keyword USING"},
		"procedure":                        {"not played", "CREATE PROCEDURE mp.p() BEGIN SELECT 1; END", 400, "invalidQuery", "the stand-in does not know this statement"},
	} {
		t.Run(name, func(t *testing.T) {
			inner := *w
			inner.T = t
			inner.refusedQuery(test.query, test.code, test.reason, test.message)
		})
	}
	if got := w.rows("SELECT COUNT(*) FROM mp.ledger WHERE run = 1"); got[0] != "1" {
		t.Errorf("%v rows of the ledger are as they were, want 1", got)
	}
}

// Loads that BigQuery refuses. None of their rows is stored
// (https://docs.cloud.google.com/bigquery/docs/loading-data-cloud-storage-json).
func TestRefusedLoads(t *testing.T) {
	good := event(1, `{}`)
	for name, test := range map[string]struct {
		table   string
		text    string
		change  func(*bigquery.Loader)
		reason  string
		message string
	}{
		"bad line":          {"t", good + "{nonsense\n" + good, nil, "invalid", "encountered too many errors, giving up. Rows: 1; errors: 1"},
		"unknown field":     {"t", `{"device_id":"d","extra":1}` + "\n", nil, "invalid", "too many errors"},
		"number for a time": {"t", `{"time":"yesterday"}` + "\n", nil, "invalid", "too many errors"},
		"lone surrogate":    {"t", good + event(2, `{"a":"\ud83d"}`), nil, "invalid", "too many errors"},
		"swapped pair":      {"t", good + event(2, `{"a":"\ude00\ud83d"}`), nil, "invalid", "too many errors"},
		"surrogate in text": {"t", `{"device_id":"\ud83d"}` + "\n", nil, "invalid", "too many errors"},
		"wide number":       {"t", event(2, `{"n":123456789012345678901234567890}`), nil, "invalid", "too many errors"},
		"wide fraction":     {"t", event(2, `{"n":0.12345678901234567890123}`), nil, "invalid", "too many errors"},
		"deep value":        {"t", event(2, strings.Repeat(`{"a":`, 501)+"1"+strings.Repeat("}", 501)), nil, "invalid", "too many errors"},
		"not UTF-8":         {"t", event(2, "{\"a\":\"\xff\"}"), nil, "invalid", "too many errors"},
		"no table":          {"nope", good, func(l *bigquery.Loader) { l.CreateDisposition = bigquery.CreateNever }, "notFound", "Not found: Table acme:mp.nope"},
		"bad decorator":     {"t$2026-11-27", good, nil, "invalid", "Invalid time partitioning decorator"},
		"no partitions":     {"plain$20261127", good, nil, "invalid", "not partitioned"},
		"other type": {"plain", `{"id":"x"}` + "\n", func(l *bigquery.Loader) {
			l.Src.(*bigquery.ReaderSource).Schema = bigquery.Schema{{Name: "id", Type: bigquery.IntegerFieldType}}
		}, "invalid", "Field id has changed type from STRING to INTEGER"},
		"new column":  {"plain", `{"id":"x"}` + "\n", nil, "invalid", "Invalid schema update. Cannot add fields (field: device_id)"},
		"not empty":   {"plain", `{"id":"x"}` + "\n", func(l *bigquery.Loader) { l.WriteDisposition = bigquery.WriteEmpty }, "duplicate", "Already Exists: Table acme:mp.plain"},
		"other place": {"t", good, func(l *bigquery.Loader) { l.Location = "US" }, "notFound", "Not found: Dataset acme:mp was not found in location US"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.client.Dataset("mp").Table("t").Create(t.Context(), &bigquery.TableMetadata{Schema: events, TimePartitioning: &bigquery.TimePartitioning{Type: bigquery.DayPartitioningType}}))
			w.rows("CREATE TABLE mp.plain (id STRING)")
			w.rows("INSERT INTO mp.plain VALUES ('a')")
			_, err := w.load(test.table, test.text, test.change)
			if err == nil {
				t.Fatal("it is not refused")
			}
			w.refused(err, 0, test.reason, test.message)
			if got := w.rows("SELECT (SELECT COUNT(*) FROM mp.t) + (SELECT COUNT(*) FROM mp.plain)"); got[0] != "1" {
				t.Errorf("%s rows are stored, want the one of before", got[0])
			}
		})
	}
}

// Values that JSON columns hold otherwise than they were written
// (https://docs.cloud.google.com/bigquery/docs/reference/standard-sql/data-types#json_type).
func TestJSONColumns(t *testing.T) {
	w := newWorld(t)
	for written, want := range map[string]string{
		`{"a":1,"a":2}`:                  `{"a":1}`,
		`{"b":[1, 2.50],"a":{"y":null}}`: `{"a":{"y":null},"b":[1,2.5]}`,
		`{"n":18446744073709551615}`:     `{"n":18446744073709551615}`,
		`{"n":1e3,"m":1.0}`:              `{"m":1.0,"n":1000.0}`,
		`{"s":"\ud83d\ude00\u0041"}`:     `{"s":"😀A"}`,
	} {
		_, err := w.load("j", event(1, written), func(l *bigquery.Loader) { l.WriteDisposition = bigquery.WriteTruncate })
		w.must(err)
		if got := w.rows("SELECT TO_JSON_STRING(properties) FROM mp.j"); len(got) != 1 || got[0] != want {
			t.Errorf("%s is kept as %v, want %s", written, got, want)
		}
		w.control("clock", `{"advance": "11s"}`)
	}
}

// WRITE_TRUNCATE with a decorator replaces one partition
// (https://docs.cloud.google.com/bigquery/docs/managing-partitioned-table-data).
func TestTruncatePartition(t *testing.T) {
	w := newWorld(t)
	w.createEvents()
	for _, day := range []string{"20261126", "20261127", "20261127"} {
		_, err := w.load("mp_master_event$"+day, event(1, `{}`)+event(2, `{}`), nil)
		w.must(err)
	}
	_, err := w.load("mp_master_event$20261127", event(3, `{}`), func(l *bigquery.Loader) { l.WriteDisposition = bigquery.WriteTruncate })
	w.must(err)
	got := w.rows("SELECT partition_id, total_rows FROM mp.INFORMATION_SCHEMA.PARTITIONS WHERE table_name = 'mp_master_event' ORDER BY partition_id")
	if want := "20261126 2|20261127 1"; strings.Join(got, "|") != want {
		t.Errorf("partitions %v, want %s", got, want)
	}
	// A refused load leaves the partition as it was.
	if _, err := w.load("mp_master_event$20261127", "{nonsense", func(l *bigquery.Loader) { l.WriteDisposition = bigquery.WriteTruncate }); err == nil {
		t.Error("a bad line is not refused")
	}
	if got := w.rows("SELECT insert_id FROM mp.mp_master_event WHERE _PARTITIONDATE = '2026-11-27'"); len(got) != 1 || got[0] != "i3" {
		t.Errorf("the partition has %v, want i3", got)
	}
}

// Quotas with their texts (https://docs.cloud.google.com/bigquery/docs/troubleshoot-quotas).
func TestQuotas(t *testing.T) {
	w := newWorld(t)
	w.createEvents()
	table := w.client.Dataset("mp").Table("view")
	w.must(table.Create(t.Context(), &bigquery.TableMetadata{ViewQuery: "SELECT 1 AS x"}))
	patch := func() error {
		_, err := table.Update(t.Context(), bigquery.TableMetadataToUpdate{Description: "d"}, "")
		return err
	}
	for range 5 {
		w.must(patch())
	}
	// The client would repeat the request until the quota is free again.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, w.url+"/bigquery/v2/projects/acme/datasets/mp/tables/view", strings.NewReader(`{"description":"d"}`))
	w.must(err)
	answer, err := http.DefaultClient.Do(request)
	w.must(err)
	w.refused(googleapi.CheckResponse(answer), 403, "rateLimitExceeded", "Exceeded rate limits: too many table update operations for this table")
	_ = answer.Body.Close()
	w.control("clock", `{"advance": "10s"}`)
	w.must(patch())

	w.control("quotas", `{"partition_modifications_per_day": 2, "table_modifications_per_day": 1}`)
	for range 2 {
		_, err := w.load("mp_master_event$20261127", event(1, `{}`), nil)
		w.must(err)
	}
	_, err = w.load("mp_master_event$20261127", event(1, `{}`), nil)
	w.refused(err, 403, "quotaExceeded", "partition modifications")
	_, err = w.load("plain", event(1, `{}`), nil)
	w.must(err)
	_, err = w.load("plain", event(1, `{}`), nil)
	w.refused(err, 403, "quotaExceeded", "Your table exceeded quota for imports or query appends per table")
	// DML counts against neither (https://docs.cloud.google.com/bigquery/quotas).
	w.rows("INSERT INTO mp.plain (device_id) VALUES ('d')")
}

// A dataset's defaults apply to new tables and partitions
// (https://docs.cloud.google.com/bigquery/docs/updating-datasets).
func TestExpirations(t *testing.T) {
	w := newWorld(t)
	short := w.client.Dataset("short")
	w.must(short.Create(t.Context(), &bigquery.DatasetMetadata{Location: location, DefaultTableExpiration: 2 * time.Hour, DefaultPartitionExpiration: 48 * time.Hour}))
	w.must(short.Table("plain").Create(t.Context(), &bigquery.TableMetadata{Schema: events}))
	w.must(short.Table("days").Create(t.Context(), &bigquery.TableMetadata{Schema: events, TimePartitioning: &bigquery.TimePartitioning{Type: bigquery.DayPartitioningType}}))
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for _, day := range []time.Time{today, today.AddDate(0, 0, -7)} {
		w.rows(fmt.Sprintf("INSERT INTO short.days (_PARTITIONTIME, device_id) VALUES (TIMESTAMP '%s', 'd')", day.Format(time.DateOnly)))
	}
	if got := w.rows("SELECT COUNT(*) FROM short.days"); got[0] != "1" {
		t.Errorf("%s rows, want only today's", got[0])
	}
	w.control("clock", `{"advance": "2h"}`)
	_, err := short.Table("plain").Metadata(t.Context())
	w.refused(err, 404, "notFound", "Not found: Table acme:short.plain")
	_, err = short.Table("days").Metadata(t.Context())
	w.must(err)
}

// Names, labels and places outside of the rules
// (https://docs.cloud.google.com/bigquery/docs/labels-intro, …/datasets, …/tables).
func TestRefusedResources(t *testing.T) {
	w := newWorld(t)
	create := func(id string, m *bigquery.TableMetadata) error {
		return w.client.Dataset("mp").Table(id).Create(t.Context(), m)
	}
	w.must(create("old", &bigquery.TableMetadata{Schema: events}))
	for _, labels := range []map[string]string{{"Run": "1"}, {"run": "A"}, {"run": strings.Repeat("a", 64)}, {"1run": "a"}, {"run": "a.b"}} {
		w.refused(create("t", &bigquery.TableMetadata{Schema: events, Labels: labels}), 400, "invalid", "Label")
	}
	w.refused(create("old", &bigquery.TableMetadata{Schema: events}), 409, "duplicate", "Already Exists: Table acme:mp.old")
	w.refused(create("t", &bigquery.TableMetadata{Schema: bigquery.Schema{{Name: "a b?", Type: bigquery.StringFieldType}}}), 400, "invalid", "Invalid field name")
	w.refused(create("t", &bigquery.TableMetadata{ViewQuery: "SELECT nope FROM `acme.mp.old`"}), 400, "invalidQuery", "Unrecognized name: nope")
	w.refused(create("t", &bigquery.TableMetadata{ViewQuery: "SELECT 1 AS a FROM old"}), 400, "invalid", "must be qualified with a dataset")
	w.refused(w.client.Dataset("a-b").Create(t.Context(), &bigquery.DatasetMetadata{}), 400, "invalid", "Invalid dataset ID")
	w.refused(w.client.Dataset("ab").Create(t.Context(), &bigquery.DatasetMetadata{Location: "moon"}), 400, "invalid", "Invalid location: moon")
	w.refused(w.client.Dataset("mp").Create(t.Context(), &bigquery.DatasetMetadata{}), 409, "duplicate", "Already Exists: Dataset acme:mp")
	w.refused(w.client.Dataset("mp").Delete(t.Context()), 400, "resourceInUse", "is still in use")
	_, err := w.client.Dataset("mp").Table("old").Update(t.Context(), bigquery.TableMetadataToUpdate{Schema: events[1:]}, "")
	w.refused(err, 400, "invalid", "Provided Schema does not match Table acme:mp.old. Field device_id is missing in new schema")
	q := w.client.Query("SELECT 1")
	q.JobID = "run.1"
	_, err = q.Run(t.Context())
	w.refused(err, 400, "invalid", "Invalid job ID")
	q = w.client.Query("SELECT 1")
	q.Labels = map[string]string{"Run": "1"}
	_, err = q.Run(t.Context())
	w.refused(err, 400, "invalid", "Label key")
}

// Permissions, the sandbox, a disabled API and a limit on bytes
// (https://docs.cloud.google.com/bigquery/docs/access-control, …/sandbox, …/best-practices-costs).
func TestRefusedAccess(t *testing.T) {
	const account = "anonymous@acme.iam.gserviceaccount.com"
	w := newWorld(t)
	w.createEvents()
	w.rows("CREATE TABLE mp.ledger AS SELECT 1 AS run")
	q := w.client.Query("SELECT * FROM mp.ledger")
	q.MaxBytesBilled = 1 << 20
	_, err := q.Read(t.Context())
	w.refused(err, 400, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed: 1048576. 10485760 or higher required.")

	w.control("billing", `{"enabled": false}`)
	w.refusedQuery("UPDATE mp.ledger SET run = 2 WHERE TRUE", 403, "billingNotEnabled", "Billing has not been enabled for this project.")
	w.control("billing", `{"enabled": true}`)

	grant := func(resource, role string) {
		w.control("iam", fmt.Sprintf(`{"account": %q, "resource": %q, "roles": [%q]}`, account, resource, role))
	}
	grant("acme:mp", "roles/bigquery.dataViewer")
	w.refusedQuery("SELECT 1", 403, "accessDenied", "Access Denied: Project acme: User does not have bigquery.jobs.create permission in project acme.")
	grant("acme", "roles/bigquery.jobUser")
	w.rows("SELECT * FROM mp.ledger")
	w.refusedQuery("UPDATE mp.ledger SET run = 2 WHERE TRUE", 403, "accessDenied", "Permission bigquery.tables.updateData denied on table acme:mp.ledger (or it may not exist).")
	err = w.client.Dataset("mp").Table("t").Create(t.Context(), &bigquery.TableMetadata{Schema: events})
	w.refused(err, 403, "accessDenied", "Permission bigquery.tables.create denied on dataset acme:mp (or it may not exist).")
	err = w.client.Dataset("new").Create(t.Context(), &bigquery.DatasetMetadata{})
	w.refused(err, 403, "accessDenied", "bigquery.datasets.create")
	grant("acme:mp", "roles/bigquery.dataEditor")
	w.rows("UPDATE mp.ledger SET run = 2 WHERE TRUE")

	w.control("api", `{"name": "bigquery.googleapis.com", "enabled": false}`)
	_, err = w.client.Dataset("mp").Metadata(t.Context())
	w.refused(err, 403, "accessNotConfigured", "BigQuery API has not been used in project acme before or it is disabled.")
}

// A failed statement rolls a transaction back; a handler that catches its error finds
// the transaction open (https://docs.cloud.google.com/bigquery/docs/transactions;
// recorded: routines_scripting/txn_in_exception_block).
func TestErrorsInTransactions(t *testing.T) {
	w := newWorld(t)
	w.rows("CREATE TABLE mp.ledger (run INT64)")
	w.refusedQuery("BEGIN TRANSACTION; INSERT INTO mp.ledger VALUES (1); SELECT 1 / 0; COMMIT TRANSACTION;", 400, "invalidQuery", "division by zero")
	if got := w.rows("SELECT COUNT(*) FROM mp.ledger"); got[0] != "0" {
		t.Errorf("%s rows after a rollback, want 0", got[0])
	}
	w.rows(`BEGIN
BEGIN TRANSACTION;
INSERT INTO mp.ledger VALUES (2);
SELECT 1 / 0;
COMMIT TRANSACTION;
EXCEPTION WHEN ERROR THEN
COMMIT TRANSACTION;
END;`)
	if got := w.rows("SELECT run FROM mp.ledger"); len(got) != 1 || got[0] != "2" {
		t.Errorf("rows %v after a handler's commit, want 2", got)
	}
	// A script that ends without COMMIT rolls back.
	w.rows("BEGIN TRANSACTION; INSERT INTO mp.ledger VALUES (3);")
	if got := w.rows("SELECT COUNT(*) FROM mp.ledger"); got[0] != "1" {
		t.Errorf("%s rows, want 1", got[0])
	}
}

// DML outside of a transaction waits for the transaction that mutates its table
// (https://docs.cloud.google.com/bigquery/docs/transactions#transaction_concurrency).
func TestStatementsWaitForTransactions(t *testing.T) {
	w := newWorld(t)
	w.rows("CREATE TABLE mp.ledger AS SELECT 1 AS run")
	w.control("hold", `{"statement": "COMMIT", "job": "^first$"}`)
	first := w.begin("first", "BEGIN TRANSACTION; UPDATE mp.ledger SET run = run + 1 WHERE TRUE; COMMIT TRANSACTION;")
	answer, err := http.Get(w.url + "/_standin/hold/1/reached")
	w.must(err)
	_ = answer.Body.Close()
	second := w.begin("second", "UPDATE mp.ledger SET run = run * 10 WHERE TRUE")
	if got := w.rows("SELECT run FROM mp.ledger"); got[0] != "1" {
		t.Errorf("run is %s before the commit, want 1", got[0])
	}
	w.control("quotas", `{"mutating_dml_queued": 0}`)
	w.refusedQuery("DELETE FROM mp.ledger WHERE TRUE", 400, "resourcesExceeded", "Too many DML statements outstanding against table acme:mp.ledger")
	w.control("hold/1/release", "{}")
	for _, j := range []*bigquery.Job{first, second} {
		status, err := j.Wait(t.Context())
		w.must(err)
		w.must(status.Err())
	}
	if got := w.rows("SELECT run FROM mp.ledger"); got[0] != "20" {
		t.Errorf("run is %s, want 20", got[0])
	}
}

// begin starts a query under an id.
func (w *world) begin(id, text string) *bigquery.Job {
	w.Helper()
	q := w.client.Query(text)
	q.Location, q.JobID = location, id
	j, err := q.Run(w.Context())
	w.must(err)
	return j
}

// A job that is cancelled while it runs has done nothing
// (https://docs.cloud.google.com/bigquery/docs/reference/rest/v2/jobs/cancel).
func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.rows("CREATE TABLE mp.ledger AS SELECT 1 AS run")
	w.control("hold", `{"statement": "COMMIT"}`)
	j := w.begin("held", "BEGIN TRANSACTION; UPDATE mp.ledger SET run = 2 WHERE TRUE; COMMIT TRANSACTION;")
	answer, err := http.Get(w.url + "/_standin/hold/1/reached")
	w.must(err)
	_ = answer.Body.Close()
	w.must(j.Cancel(t.Context()))
	status, err := j.Wait(t.Context())
	if err == nil {
		err = status.Err()
	}
	w.refused(err, 400, "stopped", "cancelled")
	w.rows("UPDATE mp.ledger SET run = run + 5 WHERE TRUE") // the table is free again
	if got := w.rows("SELECT run FROM mp.ledger"); got[0] != "6" {
		t.Errorf("run is %s, want 6", got[0])
	}
}

// Faults end a job with their reason, before or after its work.
func TestFaults(t *testing.T) {
	w := newWorld(t)
	w.rows("CREATE TABLE mp.ledger AS SELECT 1 AS run")
	w.control("fail", `{"statement": "^UPDATE", "nth": 2, "reason": "backendError", "message": "Error encountered during execution. Retrying may solve the problem."}`)
	w.control("fail", `{"job": "^late$", "at": "after", "reason": "internalError", "message": "lost"}`)
	w.rows("UPDATE mp.ledger SET run = 2 WHERE TRUE")
	q := w.client.Query("UPDATE mp.ledger SET run = 3 WHERE TRUE")
	q.Location = location
	j, err := q.Run(t.Context())
	w.must(err)
	for done := false; !done; {
		status, err := j.Status(t.Context())
		w.must(err)
		if done = status.Done(); done {
			w.refused(status.Err(), 503, "backendError", "Retrying may solve the problem")
		}
	}
	j = w.begin("late", "UPDATE mp.ledger SET run = 4 WHERE TRUE")
	for done := false; !done; {
		status, err := j.Status(t.Context())
		w.must(err)
		if done = status.Done(); done {
			w.refused(status.Err(), 500, "internalError", "lost")
		}
	}
	if got := w.rows("SELECT run FROM mp.ledger"); got[0] != "4" {
		t.Errorf("run is %s, want 4: the fault came after the work", got[0])
	}
}

// tabledata.list shows rows without a query, and pages.
func TestListRows(t *testing.T) {
	w := newWorld(t)
	w.rows("CREATE TABLE mp.n AS SELECT n FROM UNNEST(GENERATE_ARRAY(1, 25)) AS n")
	rows := w.client.Dataset("mp").Table("n").Read(t.Context())
	rows.PageInfo().MaxSize = 10
	sum := int64(0)
	for {
		var row []bigquery.Value
		err := rows.Next(&row)
		if errors.Is(err, iterator.Done) {
			break
		}
		w.must(err)
		sum += row[0].(int64)
	}
	if sum != 325 {
		t.Errorf("the sum is %d, want 325", sum)
	}
}

// Streaming inserts are not played, and say so.
func TestNoStreaming(t *testing.T) {
	w := newWorld(t)
	w.createEvents()
	answer, err := http.Post(w.url+"/bigquery/v2/projects/acme/datasets/mp/tables/mp_master_event/insertAll", "application/json", bytes.NewReader([]byte("{}")))
	w.must(err)
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusNotImplemented {
		t.Errorf("insertAll: %s, want 501", answer.Status)
	}
}
