package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cloud.google.com/go/bigquery"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/server"
)

// world is a server with the official client of it.
type world struct {
	*testing.T
	url    string
	client *bigquery.Client
}

const location = "europe-west3"

// newWorld starts a server with the dataset mp in europe-west3.
func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := server.New(server.Options{Temp: t.TempDir(), Projects: []string{"acme"}})
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		listening.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := bigquery.NewClient(t.Context(), "acme", option.WithEndpoint(listening.URL+"/bigquery/v2/"), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	w := &world{T: t, url: listening.URL, client: client}
	w.must(client.Dataset("mp").Create(t.Context(), &bigquery.DatasetMetadata{Location: location}))
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// control posts to the paths that change the server's behaviour.
func (w *world) control(path, body string) {
	w.Helper()
	answer, err := http.Post(w.url+"/_standin/"+path, "application/json", strings.NewReader(body))
	w.must(err)
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		w.Fatalf("%s: %s", path, answer.Status)
	}
}

// rows runs a query; each row becomes a line.
func (w *world) rows(text string) []string {
	w.Helper()
	list, err := w.query(text)
	if err != nil {
		w.Fatalf("%s: %v", text, err)
	}
	return list
}

func (w *world) query(text string) (list []string, err error) {
	q := w.client.Query(text)
	q.Location = location
	rows, err := q.Read(w.Context())
	if err != nil {
		return nil, err
	}
	for {
		var row []bigquery.Value
		err := rows.Next(&row)
		if errors.Is(err, iterator.Done) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		list = append(list, printed(row))
	}
}

// printed is a row with blanks between its values.
func printed(row []bigquery.Value) string { return strings.Trim(fmt.Sprint(row), "[]") }

// refused demands that an error is BigQuery's.
func (w *world) refused(err error, code int, reason, text string) {
	w.Helper()
	var api *googleapi.Error
	var job *bigquery.Error
	switch {
	case errors.As(err, &api):
		got := ""
		if len(api.Errors) > 0 {
			got = api.Errors[0].Reason
		}
		if api.Code != code || got != reason || !strings.Contains(api.Message, text) {
			w.Errorf("error %d %s %q, want %d %s %q", api.Code, got, api.Message, code, reason, text)
		}
	case errors.As(err, &job):
		if job.Reason != reason || !strings.Contains(job.Message, text) {
			w.Errorf("error of the job %s %q, want %s %q", job.Reason, job.Message, reason, text)
		}
	default:
		w.Errorf("error %v, want %d %s %q", err, code, reason, text)
	}
}

// refusedQuery demands that a query is refused.
func (w *world) refusedQuery(text string, code int, reason, message string) {
	w.Helper()
	_, err := w.query(text)
	if err == nil {
		w.Errorf("%s: it is not refused", text)
		return
	}
	w.refused(err, code, reason, message)
}

func gzipped(text string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return out.Bytes()
}

var events = bigquery.Schema{
	{Name: "device_id", Type: bigquery.StringFieldType}, {Name: "distinct_id", Type: bigquery.StringFieldType},
	{Name: "event_name", Type: bigquery.StringFieldType}, {Name: "insert_id", Type: bigquery.StringFieldType},
	{Name: "properties", Type: bigquery.JSONFieldType}, {Name: "time", Type: bigquery.TimestampFieldType}, {Name: "user_id", Type: bigquery.StringFieldType},
}

// event is a line of the export.
func event(id int, properties string) string {
	return fmt.Sprintf(`{"device_id":null,"distinct_id":"u%d","event_name":"Sign Up","insert_id":"i%d","properties":%s,"time":1795780800,"user_id":"u%d"}`+"\n", id, id, properties, id)
}

// createEvents creates mp_master_event.
func (w *world) createEvents() *bigquery.Table {
	w.Helper()
	t := w.client.Dataset("mp").Table("mp_master_event")
	w.must(t.Create(w.Context(), &bigquery.TableMetadata{Schema: events, TimePartitioning: &bigquery.TimePartitioning{Type: bigquery.DayPartitioningType}}))
	return t
}

// load loads a compressed file, and waits.
func (w *world) load(table, text string, change func(*bigquery.Loader)) (*bigquery.JobStatus, error) {
	w.Helper()
	source := bigquery.NewReaderSource(bytes.NewReader(gzipped(text)))
	source.SourceFormat = bigquery.JSON
	source.Schema = events
	l := w.client.Dataset("mp").Table(table).LoaderFrom(source)
	l.Location = location
	if change != nil {
		change(l)
	}
	j, err := l.Run(w.Context())
	if err != nil {
		return nil, err
	}
	status, err := j.Wait(w.Context())
	if err != nil {
		return nil, err
	}
	return status, status.Err()
}

// A load of compressed rows, then the script that the plugin runs, end to end.
func TestStageAndCommit(t *testing.T) {
	w := newWorld(t)
	w.createEvents()
	status, err := w.load("stage", event(1, `{"plan":"free","n":1}`)+event(2, `{"plan":"pro"}`), nil)
	w.must(err)
	if got := status.Statistics.Details.(*bigquery.LoadStatistics).OutputRows; got != 2 {
		t.Errorf("the load wrote %d rows, want 2", got)
	}
	w.rows("CREATE TABLE mp.ledger (pipeline STRING, run INT64, fence INT64)")
	w.rows("INSERT INTO mp.ledger VALUES ('p', 0, 1)")
	script := `BEGIN TRANSACTION;
UPDATE mp.ledger SET run = 1, fence = 2 WHERE pipeline = 'p' AND run = 0 AND fence <= 2;
ASSERT @@row_count = 1 AS 'the run is fenced';
INSERT INTO mp.mp_master_event (_PARTITIONTIME, device_id, distinct_id, event_name, insert_id, properties, time, user_id)
SELECT TIMESTAMP('2026-11-27'), device_id, distinct_id, event_name, insert_id, properties, time, user_id FROM mp.stage;
COMMIT TRANSACTION;`
	q := w.client.Query(script)
	q.Location, q.JobID = location, "run-1-1"
	j, err := q.Run(t.Context())
	w.must(err)
	status, err = j.Wait(t.Context())
	w.must(err)
	w.must(status.Err())
	want := []string{"u1 free 2026-11-27", "u2 pro 2026-11-27"}
	got := w.rows("SELECT distinct_id, JSON_VALUE(properties, '$.plan'), _PARTITIONDATE FROM mp.mp_master_event ORDER BY distinct_id")
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("rows %v, want %v", got, want)
	}
	// The script's children tell its outcome.
	children := map[string]string{}
	for it := j.Children(t.Context()); ; {
		child, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		w.must(err)
		children[child.LastStatus().Statistics.Details.(*bigquery.QueryStatistics).StatementType] = fmt.Sprint(child.LastStatus().Err())
	}
	if children["COMMIT_TRANSACTION"] != "<nil>" || children["UPDATE"] != "<nil>" {
		t.Errorf("children %v, want a COMMIT_TRANSACTION and an UPDATE without errors", children)
	}
	// A second run of the same script is fenced, and changes nothing.
	w.refusedQuery(script, 400, "invalidQuery", "the run is fenced")
	if n := w.rows("SELECT COUNT(*) FROM mp.mp_master_event"); n[0] != "2" {
		t.Errorf("%s rows, want 2", n[0])
	}
}

// A file over the size of a chunk goes up in several requests.
func TestResumableUpload(t *testing.T) {
	w := newWorld(t)
	w.createEvents()
	var text strings.Builder
	noise := strings.Repeat("x", 100)
	for n := range 2000 {
		text.WriteString(event(n, fmt.Sprintf(`{"n":%d,"noise":"%s%d"}`, n, noise, n*7919)))
	}
	source := bigquery.NewReaderSource(strings.NewReader(text.String()))
	source.SourceFormat = bigquery.JSON
	l := w.client.Dataset("mp").Table("mp_master_event$20261127").LoaderFrom(source)
	l.Location = location
	l.MediaOptions = []googleapi.MediaOption{googleapi.ChunkSize(256 << 10)}
	j, err := l.Run(t.Context())
	w.must(err)
	status, err := j.Wait(t.Context())
	w.must(err)
	w.must(status.Err())
	if got := w.rows("SELECT COUNT(*), COUNT(DISTINCT insert_id), MIN(_PARTITIONDATE), MAX(_PARTITIONDATE) FROM mp.mp_master_event"); got[0] != "2000 2000 2026-11-27 2026-11-27" {
		t.Errorf("rows %v", got)
	}
}

// A view is switched by one PATCH, which a stale entity tag does not survive
// (https://docs.cloud.google.com/bigquery/docs/reference/rest/v2/tables/patch).
func TestSwitchView(t *testing.T) {
	w := newWorld(t)
	w.rows("CREATE TABLE mp.people_1 AS SELECT 'a' AS distinct_id")
	w.rows("CREATE TABLE mp.people_2 AS SELECT 'b' AS distinct_id")
	view := w.client.Dataset("mp").Table("people_view")
	w.must(view.Create(t.Context(), &bigquery.TableMetadata{ViewQuery: "SELECT * FROM `acme.mp.people_1`", Labels: map[string]string{"run": "1"}}))
	old, err := view.Metadata(t.Context())
	w.must(err)
	change := bigquery.TableMetadataToUpdate{ViewQuery: "SELECT * FROM `acme.mp.people_2`"}
	change.SetLabel("run", "2")
	_, err = view.Update(t.Context(), change, old.ETag)
	w.must(err)
	if got := w.rows("SELECT distinct_id FROM mp.people_view"); len(got) != 1 || got[0] != "b" {
		t.Errorf("the view has %v, want b", got)
	}
	_, err = view.Update(t.Context(), change, old.ETag)
	w.refused(err, 412, "conditionNotMet", "Precondition Failed")
}

// A used job id is refused for ever, and a job is found only in its location
// (https://docs.cloud.google.com/bigquery/docs/error-messages,
// https://docs.cloud.google.com/bigquery/docs/reference/rest/v2/jobs/get).
func TestJobIDs(t *testing.T) {
	w := newWorld(t)
	run := func(text string) error {
		q := w.client.Query(text)
		q.Location, q.JobID = location, "run-7"
		_, err := q.Run(t.Context())
		return err
	}
	w.must(run("SELECT nope"))
	w.refused(run("SELECT 1"), 409, "duplicate", "Already Exists: Job acme:europe-west3.run-7")
	_, err := w.client.JobFromIDLocation(t.Context(), "run-7", location)
	w.must(err)
	for _, elsewhere := range []string{"", "US", "europe-west1"} {
		_, err := w.client.JobFromIDLocation(t.Context(), "run-7", elsewhere)
		w.refused(err, 404, "notFound", "Not found: Job acme:")
	}
}

// Of two transactions that mutate one table the second is aborted; inserts do not
// conflict (https://docs.cloud.google.com/bigquery/docs/transactions).
func TestTransactionsConflict(t *testing.T) {
	for name, test := range map[string]struct {
		first, second string
		conflict      bool
	}{
		"both update":    {"UPDATE mp.ledger SET run = run + 1 WHERE id = 'a'", "UPDATE mp.ledger SET run = run + 1 WHERE id = 'b'", true},
		"delete":         {"DELETE FROM mp.ledger WHERE id = 'a'", "UPDATE mp.ledger SET run = 9 WHERE id = 'b'", true},
		"write skew":     {"INSERT INTO mp.ledger VALUES ('c', 1)", "INSERT INTO mp.ledger VALUES ('c', 2)", false},
		"insert, update": {"INSERT INTO mp.ledger VALUES ('c', 1)", "UPDATE mp.ledger SET run = 9 WHERE id = 'b'", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.rows("CREATE TABLE mp.ledger (id STRING, run INT64)")
			w.rows("INSERT INTO mp.ledger VALUES ('a', 1), ('b', 1)")
			w.control("hold", `{"statement": "COMMIT", "job": "^first$"}`)
			q := w.client.Query("BEGIN TRANSACTION; " + test.first + "; COMMIT TRANSACTION;")
			q.Location, q.JobID = location, "first"
			first, err := q.Run(t.Context())
			w.must(err)
			answer, err := http.Get(w.url + "/_standin/hold/1/reached")
			w.must(err)
			_ = answer.Body.Close()
			_, err = w.query("BEGIN TRANSACTION; " + test.second + "; COMMIT TRANSACTION;")
			if test.conflict {
				w.refused(err, 400, "invalidQuery", "Transaction is aborted due to concurrent update against table acme:mp.ledger. Transaction ID: ")
			} else {
				w.must(err)
			}
			w.control("hold/1/release", "{}")
			status, err := first.Wait(t.Context())
			w.must(err)
			w.must(status.Err())
		})
	}
}
