package bigquery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

func dataset(config map[string]any) string { return config["dataset"].(string) }

// B4: a commit that outlives the patience of its plugin is in doubt, and not absent;
// when it ends its rows are there once.
func TestACommitThatRunsOnIsInDoubt(t *testing.T) {
	w := startWarehouse(t)
	config, c, run := w.config(), events("one", "2026-06-01", "2026-06-02"), testRun(sdk.Events, 1, 1)
	d := w.open(t, config)
	receipt, err := d.export(t.Context(), run, c)
	if err != nil {
		t.Fatal(err)
	}
	hold := w.Hold(standin.BigQueryPoint{Job: "_commit_"})
	var committing sync.WaitGroup
	committing.Go(func() { err = d.Commit(t.Context(), run, receipt) })
	hold.Reached()
	other := w.open(t, config)
	if status, err := other.Status(t.Context(), run); err != nil || status.State != sdk.InDoubt {
		t.Errorf("while the commit runs the state is %v, %v", status.State, err)
	}
	hold.Release()
	committing.Wait()
	if err != nil {
		t.Fatal(err)
	}
	status, err := other.Status(t.Context(), run)
	if done, holdsErr := status.Last.Holds(run); err != nil || !done || holdsErr != nil {
		t.Errorf("after the commit: %+v, %v", status, err)
	}
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
}

// The answer to COMMIT is there and that of its script is not: the plugin dies while the
// script goes on, or after it has failed. Status says that the run is committed, and the
// next attempt writes nothing.
func TestACommitWhoseScriptGivesNoAnswer(t *testing.T) {
	w := startWarehouse(t)
	for _, fails := range []bool{false, true} {
		config, c, run := w.config(), events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
		d := w.open(t, config)
		receipt, err := d.export(t.Context(), run, c)
		if err != nil {
			t.Fatal(err)
		}
		hold := w.Hold(standin.BigQueryPoint{Job: "_commit_", Statement: "^COMMIT", At: "after"})
		if fails {
			w.Fail(standin.BigQueryPoint{Job: "_commit_", At: "after"}, "internalError", "The job encountered an internal error")
		}
		ctx, dies := context.WithCancel(t.Context())
		var committing sync.WaitGroup
		committing.Go(func() { _ = d.Commit(ctx, run, receipt) })
		hold.Reached()
		dies()
		committing.Wait()
		for _, released := range []bool{false, true} {
			status, err := w.open(t, config).Status(t.Context(), run)
			if done, holdsErr := status.Last.Holds(run); err != nil || !done || holdsErr != nil || status.State == sdk.InDoubt {
				t.Errorf("fails %v, released %v: the state is %+v, %v", fails, released, status, err)
			}
			if !released {
				hold.Release()
			}
		}
		run.Fence++
		runOne(t, w, config, run, c)
		w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	}
}

// A ledger that is read as it was before the commit does not make a run absent whose
// COMMIT has succeeded: it is read again, and without another answer the run is in doubt.
func TestTheChildOfACommitDecides(t *testing.T) {
	w := startWarehouse(t)
	for _, stale := range []int{2, -1} {
		config, c, run := w.config(), events("one", "2026-06-01"), testRun(sdk.Events, 1, 1)
		proxy := faultproxy.Start(t, w.URL)
		proxied := maps.Clone(config)
		proxied["endpoint"] = proxy.URL
		d := w.open(t, proxied)
		receipt, err := d.export(t.Context(), run, c)
		if err != nil {
			t.Fatal(err)
		}
		data, err := w.api.Tabledata.List(w.Project, dataset(config), ledgerTable).FormatOptionsUseInt64Timestamp(true).Context(t.Context()).Do()
		if err != nil {
			t.Fatal(err)
		}
		text, err := data.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		w.Fail(standin.BigQueryPoint{Job: "_commit_", At: "after"}, "invalidQuery", "Division by zero") // the job, not its statements
		proxy.Add(faultproxy.Rule{
			Match: faultproxy.Match{Method: http.MethodGet, Path: ledgerTable + "/data"}, Times: stale,
			Fault: faultproxy.Answer(http.StatusOK, http.Header{"Content-Type": {"application/json"}}, string(text)),
		})
		err = d.Commit(t.Context(), run, receipt)
		if stale < 0 {
			if !errors.Is(err, errBehind) || protocol.ClassOf(err) != protocol.Retryable {
				t.Errorf("with an old ledger for ever: class %v of %v", protocol.ClassOf(err), err)
			}
			if status, err := w.open(t, proxied).Status(t.Context(), run); err != nil || status.State != sdk.InDoubt {
				t.Errorf("with an old ledger for ever the state is %+v, %v", status, err)
			}
		} else if err != nil {
			t.Errorf("with an old ledger for two reads: %v", err)
		}
		w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	}
}

// B8: when a statement of the commit fails for good, nothing of the run is visible,
// and the next attempt commits it whole.
func TestAStatementOfTheCommitThatFails(t *testing.T) {
	w := startWarehouse(t)
	for _, statement := range []string{"^UPDATE .*ledger", "^ASSERT", "^INSERT INTO .*" + eventsTable, "^INSERT INTO .*" + exportLog, "^COMMIT"} {
		for _, at := range []string{"before", "after"} {
			config, c, run := w.config(), events("one", "2026-06-01", "2026-06-02"), testRun(sdk.Events, 1, 1)
			d := w.open(t, config)
			receipt, err := d.export(t.Context(), run, c)
			if err != nil {
				t.Fatal(err)
			}
			w.Fail(standin.BigQueryPoint{Job: "_commit_", Statement: statement, At: at}, "invalidQuery", "Division by zero")
			err = d.Commit(t.Context(), run, receipt)
			if statement == "^COMMIT" && at == "after" {
				if err != nil {
					t.Errorf("committed, and the job failed afterwards: %v", err)
				}
				w.expect(t, dataset(config), sdk.Events, c.want(), 1)
				continue
			}
			if err == nil {
				t.Errorf("%s %s: the commit succeeded", at, statement)
			}
			w.expect(t, dataset(config), sdk.Events, nil, 0)
			_ = d.Abort(t.Context(), run, false)
			runOne(t, w, config, testRun(sdk.Events, 1, 2), c)
			w.expect(t, dataset(config), sdk.Events, c.want(), 1)
		}
	}
}

// A zombie is frozen at each statement of its commit while a successor opens, loads
// and commits the run. The run is there once, whichever of the two was first.
func TestAZombieAtEveryStatement(t *testing.T) {
	w := startWarehouse(t)
	for _, statement := range []string{"^BEGIN", "^UPDATE .*ledger", "^ASSERT", "^INSERT INTO .*" + eventsTable, "^INSERT INTO .*" + exportLog, "^COMMIT"} {
		for _, at := range []string{"before", "after"} {
			config, c := w.config(), events("one", "2026-06-01")
			old, newer := testRun(sdk.Events, 1, 1), testRun(sdk.Events, 1, 2)
			zombie := w.open(t, config)
			receipt, err := zombie.export(t.Context(), old, c)
			if err != nil {
				t.Fatal(err)
			}
			hold := w.Hold(standin.BigQueryPoint{Job: "_commit_", Statement: statement, At: at})
			var committing sync.WaitGroup
			var zombieErr error
			committing.Go(func() { zombieErr = zombie.Commit(t.Context(), old, receipt) })
			hold.Reached()
			// The successor gives up on conflicts after a few tries, as a host does.
			successor := w.open(t, config)
			var done sync.WaitGroup
			var successorErr error
			done.Go(func() {
				var receipt sdk.Receipt
				if receipt, successorErr = successor.export(t.Context(), newer, c); successorErr == nil && len(receipt.Partitions) > 0 {
					successorErr = successor.Commit(t.Context(), newer, receipt)
				}
			})
			done.Wait()
			hold.Release()
			committing.Wait()
			if successorErr != nil && protocol.ClassOf(successorErr) != protocol.Retryable {
				t.Errorf("%s %s: the successor: %v", at, statement, successorErr)
			}
			if successorErr == nil && zombieErr != nil && protocol.ClassOf(zombieErr) != protocol.Fenced {
				t.Errorf("%s %s: the zombie: class %v of %v", at, statement, protocol.ClassOf(zombieErr), zombieErr)
			}
			if successorErr != nil {
				newer.Fence++
				if _, err := whole(t.Context(), func() *destination { return w.open(t, config) }, newer, c); err != nil {
					t.Errorf("%s %s: the next attempt: %v", at, statement, err)
				}
			}
			w.expect(t, dataset(config), sdk.Events, c.want(), 1)
		}
	}
}

// B9, B10: an attempt's staged rows are its own: a load of an older one that ends
// late, or rows that a killed one has left, change nothing.
func TestAttemptsShareNoStagingTable(t *testing.T) {
	w := startWarehouse(t)
	config, c := w.config(), events("one", "2026-06-01")
	old, newer := testRun(sdk.Events, 1, 1), testRun(sdk.Events, 1, 2)
	if _, err := w.open(t, config).export(t.Context(), old, c); err != nil { // killed before the commit
		t.Fatal(err)
	}
	d := w.open(t, config)
	receipt, err := d.export(t.Context(), newer, c)
	if err == nil {
		err = d.Commit(t.Context(), newer, receipt)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	left := 0
	for _, name := range w.tables(t, dataset(config)) {
		if !strings.HasPrefix(name, stagingPrefix) {
			continue
		}
		left++
		table, err := w.api.Tables.Get(w.Project, dataset(config), name).Context(t.Context()).Do()
		if err != nil || table.ExpirationTime == 0 {
			t.Errorf("%s does not expire: %v", name, err)
		}
	}
	if left != 1 {
		t.Errorf("%d staging tables are left, want that of the killed attempt", left)
	}
}

// B11: rows that the columns cannot hold are repaired and counted, or rejected; the
// others are loaded.
func TestUnusualRowsAmongOthers(t *testing.T) {
	w := startWarehouse(t)
	row := func(i int, properties string, flags batch.Flags) destinationtest.Row {
		return destinationtest.Row{Flags: flags, Line: fmt.Sprintf(
			`{"device_id":null,"distinct_id":"u","event_name":"View","insert_id":"i%d","properties":%s,"time":1780272000,"user_id":null}`, i, properties)}
	}
	c := content{}
	for i := range 1000 {
		c["2026-06-01"] = append(c["2026-06-01"], row(i, fmt.Sprintf(`{"n":%d}`, i), 0))
	}
	for i, properties := range map[int]string{100: `{"s":"\ud83d"}`, 500: `{"s":"\ude00"}`, 900: `{"s":"\ude00\ud83d"}`} {
		c["2026-06-01"][i] = row(i, properties, batch.LoneSurrogate)
	}
	for _, mode := range []string{"repair", "reject"} {
		config := w.config()
		config["unusual"] = mode
		d := w.open(t, config)
		run := testRun(sdk.Events, 1, 1)
		if _, err := d.Open(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		rejected := 0
		p, err := d.Write(t.Context(), run, sdk.Partition{Date: "2026-06-01"}, readerOf(c["2026-06-01"], func(uint64, string, []byte) error { rejected++; return nil }))
		p.Date = "2026-06-01"
		receipt := sdk.Receipt{Partitions: []sdk.PartitionReceipt{p}}
		if err == nil {
			err = errors.Join(d.Prepare(t.Context(), run, receipt), d.Commit(t.Context(), run, receipt))
		}
		if err != nil {
			t.Fatal(err)
		}
		want, changed := 1000, map[string]uint64{"surrogate without partner": 3}
		if mode == "reject" {
			want, changed = 997, nil
		}
		got, err := w.committed(t.Context(), dataset(config), sdk.Events)
		if err != nil || len(got["2026-06-01"]) != want || rejected != 1000-want || !maps.Equal(p.Changed, changed) {
			t.Errorf("%s: %d rows, %d rejected, changed %v, %v", mode, len(got["2026-06-01"]), rejected, p.Changed, err)
		}
	}
}

// A row that BigQuery refuses although it has no flag fails the load as a whole. The
// next attempt of the process looks at every row.
func TestARowWithoutItsFlag(t *testing.T) {
	w := startWarehouse(t)
	config, c := w.config(), events("one", "2026-06-01")
	c["2026-06-01"][2].Line = strings.Replace(c["2026-06-01"][2].Line, `{"n":2}`, `{"n":0.1234567890123456789}`, 1)
	d := w.open(t, config)
	run := testRun(sdk.Events, 1, 1)
	_, err := d.export(t.Context(), run, c)
	if err == nil || protocol.ClassOf(err) != protocol.Retryable {
		t.Fatalf("the first attempt: class %v of %v, want a refusal to retry", protocol.ClassOf(err), err)
	}
	_ = d.Abort(t.Context(), run, false)
	run.Fence++
	receipt, err := d.export(t.Context(), run, c)
	if err == nil {
		err = d.Commit(t.Context(), run, receipt)
	}
	if err != nil || receipt.Partitions[0].Changed["number would be rounded or refused"] != 1 {
		t.Errorf("the second attempt: %v, %+v", err, receipt)
	}
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
}

// B13: policy tags of the target's columns are not copied to the staging table.
func TestPolicyTagsAreNotCopied(t *testing.T) {
	d := &destination{service: newService(config{Project: "acme", Dataset: "d"}, nil)}
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People, sdk.Identity} {
		for _, f := range d.table(columnsOf(stream), "").Schema {
			if f.PolicyTags != nil {
				t.Errorf("%s has policy tags", f.Name)
			}
		}
	}
}

// B18: values of rows and names reach the service as data.
func TestNamesWithQuotes(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	c := content{"2026-06-01": {{Line: `{"device_id":null,"distinct_id":"a'b\"c\\d` + "`" + `-- ","event_name":"x'); DROP TABLE t; --","insert_id":"\\","properties":{"'\"\\":"\u0027 @run"},"time":1780272000,"user_id":null}`}}}
	run := testRun(sdk.Events, 1, 1)
	run.Pipeline = `p'"\); --`
	runOne(t, w, config, run, c)
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	log, err := w.query(t.Context(), dataset(config), "SELECT pipeline_name, rows_exported, status FROM "+exportLog)
	if err != nil || len(log) != 1 || fmt.Sprint(log[0]) != `[p'"\); -- 1 succeeded]` {
		t.Errorf("the export log has %v, %v", log, err)
	}
}

// Each missing role is named by the check, with a command; without billing and with
// the API disabled it says so.
func TestCheckNamesWhatIsMissing(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	runOne(t, w, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01")) // creates the dataset
	config["create_dataset"] = false
	details := func() string {
		var failed []string
		for _, r := range w.open(t, config).Check(t.Context()) {
			if !r.OK {
				failed = append(failed, r.Action+": "+r.Detail)
			}
		}
		return strings.Join(failed, "\n")
	}
	says := func(when string, texts ...string) {
		t.Helper()
		got := details()
		for _, text := range texts {
			if !strings.Contains(got, text) {
				t.Errorf("%s the check does not say %q:\n%s", when, text, got)
			}
		}
	}
	if got := details(); got != "" {
		t.Errorf("with everything: %s", got)
	}
	w.Billing(false)
	says("without billing", "enable billing for project acme")
	w.Billing(true)
	w.API("bigquery.googleapis.com", false)
	says("with the API disabled", "gcloud services enable bigquery.googleapis.com --project=acme")
	w.API("bigquery.googleapis.com", true)
	account := w.Tokens.Account
	w.Grant(account, w.Project+":"+dataset(config), dataRole)
	says("without jobUser", "run a job: ", "bigquery.jobs.create", "gcloud projects add-iam-policy-binding acme --member=serviceAccount:"+account+" --role=roles/bigquery.jobUser")
	w.Grant(account, w.Project, jobRole)
	w.Grant(account, w.Project+":"+dataset(config), "roles/bigquery.metadataViewer")
	says("without dataEditor", "create a table: ", "bigquery.tables.create", "GRANT `roles/bigquery.dataEditor` ON SCHEMA `acme."+dataset(config)+"`")
	w.Grant(account, w.Project+":"+dataset(config), dataRole)
	if got := details(); got != "" {
		t.Errorf("with the documented roles: %s", got)
	}
	runOne(t, w, config, testRun(sdk.Events, 2, 2), events("two", "2026-06-02")) // they are enough for a run
	runOne(t, w, config, testRun(sdk.People, 1, 1), people("one", 3))
	config["region"] = "US"
	says("in another region", "is in europe-west3, and region says US")
}

// Old tables of a set are kept as configured, and dropped beyond that; the view's
// other labels and its grants stay.
func TestGenerationsAreKept(t *testing.T) {
	w := startWarehouse(t)
	w.Quotas(map[string]int{"metadata_updates_per_10s": 1000})
	config := w.config()
	config["keep_generations"] = 1
	for n := int64(1); n <= 4; n++ {
		runOne(t, w, config, testRun(sdk.People, n, n), people(fmt.Sprint("set", n), 3))
		if n == 1 {
			_, err := w.api.Tables.Patch(w.Project, dataset(config), "mp_people_data_view", &bq.Table{Labels: map[string]string{"team": "growth"}, Description: "ours"}).Context(t.Context()).Do()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	var kept []string
	for _, name := range w.tables(t, dataset(config)) {
		if _, run, ok := parseGeneration(peopleTable, name); ok {
			kept = append(kept, fmt.Sprint(run))
			table, err := w.api.Tables.Get(w.Project, dataset(config), name).Context(t.Context()).Do()
			if err != nil || table.ExpirationTime != 0 {
				t.Errorf("%s expires: %v", name, err)
			}
		}
	}
	if fmt.Sprint(kept) != "[3 4]" {
		t.Errorf("the tables of runs %v are kept", kept)
	}
	view, err := w.api.Tables.Get(w.Project, dataset(config), "mp_people_data_view").Context(t.Context()).Do()
	if err != nil || view.Labels["team"] != "growth" || view.Labels[labelRun] != "4" || view.Description != "ours" {
		t.Errorf("%+v, %v", view, err)
	}
}

// Days that statements cannot write are rejected, row by row, and the others arrive.
func TestDaysBeyondStatements(t *testing.T) {
	w := startWarehouse(t)
	config, run := w.config(), testRun(sdk.Events, 1, 1)
	d := w.open(t, config)
	if _, err := d.Open(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	all := events("one", "1969-12-31", "1970-01-01", "2159-12-31", "2160-01-01")
	var receipt sdk.Receipt
	for i, date := range []string{"1969-12-31", "1970-01-01", "2159-12-31", "2160-01-01"} {
		rejected := 0
		p, err := d.Write(t.Context(), run, sdk.Partition{Index: i, Date: date}, readerOf(all[date], func(_ uint64, reason string, _ []byte) error {
			rejected++
			if !strings.Contains(reason, "1970-01-01 to 2159-12-31") {
				t.Errorf("the reason is %q", reason)
			}
			return nil
		}))
		if err != nil || rejected > 0 != (i == 0 || i == 3) || rejected+int(p.Rows) != 5 {
			t.Errorf("%s: %d rows, %d rejected, %v", date, p.Rows, rejected, err)
		}
		p.Date, p.Rejected = date, uint64(rejected)
		receipt.Partitions = append(receipt.Partitions, p)
	}
	if err := errors.Join(d.Prepare(t.Context(), run, receipt), d.Commit(t.Context(), run, receipt)); err != nil {
		t.Fatal(err)
	}
	want := all.want()
	delete(want, "1969-12-31")
	delete(want, "2160-01-01")
	w.expect(t, dataset(config), sdk.Events, want, 1)
}

// A view that somebody else has made is not switched, unless adopt says so; a table of
// its name is refused.
func TestAViewOfSomebodyElse(t *testing.T) {
	w := startWarehouse(t)
	for _, view := range []bool{true, false} {
		config, run, c := w.config(), testRun(sdk.People, 1, 1), people("one", 3)
		runOne(t, w, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01")) // creates the dataset
		theirs := &bq.Table{TableReference: &bq.TableReference{ProjectId: w.Project, DatasetId: dataset(config), TableId: viewName(peopleTable)}}
		if view {
			theirs.View = &bq.ViewDefinition{Query: "SELECT 'theirs' AS distinct_id, JSON '{}' AS properties", ForceSendFields: []string{"UseLegacySql"}}
		} else {
			theirs.Schema = &bq.TableSchema{Fields: []*bq.TableFieldSchema{{Name: "distinct_id", Type: "STRING"}}}
		}
		if _, err := w.api.Tables.Insert(w.Project, dataset(config), theirs).Context(t.Context()).Do(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.open(t, config).Open(t.Context(), run); protocol.ClassOf(err) != protocol.Configuration {
			t.Errorf("view %v: class %v of %v", view, protocol.ClassOf(err), err)
		}
		run.Adopt = true
		if !view {
			if _, err := w.open(t, config).Open(t.Context(), run); protocol.ClassOf(err) != protocol.Configuration {
				t.Errorf("a table, adopting: class %v of %v", protocol.ClassOf(err), err)
			}
			continue
		}
		rows, err := w.query(t.Context(), dataset(config), "SELECT distinct_id FROM "+viewName(peopleTable))
		if err != nil || fmt.Sprint(rows) != "[[theirs]]" {
			t.Errorf("the refused view shows %v, %v", rows, err)
		}
		runOne(t, w, config, run, c)
		w.expect(t, dataset(config), sdk.People, c.want(), 1)
	}
}

// A run of a set whose row of the export log was refused gets it with the next run: all
// its values are those of the run.
func TestTheNextRunCompletesTheLog(t *testing.T) {
	w := startWarehouse(t)
	config, c, first := w.config(), people("one", 3), people("one", 3)
	first[""] = append(first[""], destinationtest.Row{Line: `{"distinct_id":"twice","properties":{"a":1,"a":2}}`, Flags: batch.DuplicateKey})
	want := first.want()
	first[""] = append(first[""], destinationtest.Row{
		Line: `{"distinct_id":"deep","properties":{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}}`, Flags: batch.Deep,
	})
	w.Fail(standin.BigQueryPoint{Job: "_log_people", Statement: "^INSERT", At: "before"}, "invalidQuery", "Division by zero")
	began := time.Now().UnixMilli()
	runOne(t, w, config, testRun(sdk.People, 1, 1), first)
	ended := time.Now().UnixMilli()
	w.expect(t, dataset(config), sdk.People, want, 0)
	for number := int64(2); number <= 3; number++ {
		runOne(t, w, config, testRun(sdk.People, number, number), c)
		w.expect(t, dataset(config), sdk.People, c.want(), int(number))
	}
	for range 2 { // opened again and again
		if _, err := w.open(t, config).Open(t.Context(), testRun(sdk.People, 4, 4)); err != nil {
			t.Fatal(err)
		}
	}
	w.expect(t, dataset(config), sdk.People, c.want(), 3)
	log, err := w.query(t.Context(), dataset(config), fmt.Sprintf(
		"SELECT table_name, rows_exported, rows_rejected, TO_JSON_STRING(rows_changed), UNIX_MILLIS(started_at) BETWEEN %d AND %d FROM %s ORDER BY export_id", began, ended, exportLog))
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range [][]any{
		{generationName(testRun(sdk.People, 1, 1)), "4", "1", `{"equal keys":1}`, "true"},
		{generationName(testRun(sdk.People, 2, 2)), "3", "0", `{}`, "false"},
		{generationName(testRun(sdk.People, 3, 3)), "3", "0", `{}`, "false"},
	} {
		if !slices.Equal(log[i], row) {
			t.Errorf("run %d: the export log has %v, want %v", i+1, log[i], row)
		}
	}
}

// Two copies of a catalog give equal fences to attempts with equal content, which then
// share a table. Neither's abort takes rows from readers.
func TestCopiesWithEqualFences(t *testing.T) {
	w := startWarehouse(t)
	for _, abortFirst := range []bool{false, true} {
		config, run, c := w.config(), testRun(sdk.People, 1, 1), people("one", 3)
		ours, theirs := w.open(t, config), w.open(t, config)
		receipt, err := ours.export(t.Context(), run, c)
		if err != nil {
			t.Fatal(err)
		}
		if abortFirst {
			if err := ours.Abort(t.Context(), run, false); err != nil {
				t.Fatal(err)
			}
			receipt, err = theirs.export(t.Context(), run, c)
			if err == nil {
				err = theirs.Commit(t.Context(), run, receipt)
			}
			if protocol.ClassOf(err) != protocol.Retryable {
				t.Errorf("a set whose table was deleted between: class %v of %v", protocol.ClassOf(err), err)
			}
			runOne(t, w, config, testRun(sdk.People, 1, 2), c)
		} else {
			if _, err := theirs.export(t.Context(), run, c); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(ours.Commit(t.Context(), run, receipt), theirs.Abort(t.Context(), run, false)); err != nil {
				t.Fatal(err)
			}
		}
		w.expect(t, dataset(config), sdk.People, c.want(), 1)
	}
}

// B14: 30 pipelines begin their first runs at once. The dataset and each table is created, and none is changed: the
// service takes five changes of a table's metadata in 10 s.
func TestManyPipelinesStartAtOnce(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	proxy := faultproxy.Start(t, w.URL)
	config["endpoint"] = proxy.URL
	var starting sync.WaitGroup
	for i := range 30 {
		d := w.open(t, config)
		starting.Go(func() {
			for _, ensure := range []func(context.Context) error{d.ensureDataset, d.ensureLog, d.ensureEvents, d.ensureEvents} {
				if err := ensure(t.Context()); err != nil {
					t.Errorf("pipeline %d: class %v of %v", i, protocol.ClassOf(err), err)
				}
			}
		})
	}
	starting.Wait()
	if patches := proxy.Requests(faultproxy.Match{Method: http.MethodPatch}); len(patches) > 0 {
		t.Errorf("%d changes of metadata, want none", len(patches))
	}
	if got, want := w.tables(t, dataset(config)), []string{eventsTable, exportLog}; !slices.Equal(got, want) {
		t.Errorf("the tables are %v, want %v", got, want)
	}
}

// Each job has labels, and an id that tells whose it is. A line of the log has what a run has loaded and was
// billed for.
func TestJobsHaveLabels(t *testing.T) {
	w := startWarehouse(t)
	config, run := w.config(), testRun(sdk.Events, 1, 1)
	var log strings.Builder
	d := w.open(t, config, func(d *destination) { d.log = hclog.New(&hclog.LoggerOptions{Output: &log}) })
	for _, r := range d.Check(t.Context()) {
		if !r.OK {
			t.Errorf("check: %+v", r)
		}
	}
	receipt, err := d.export(t.Context(), run, events("one", "2026-06-01", "2026-06-02"))
	if err == nil {
		err = d.Commit(t.Context(), run, receipt)
	}
	if err != nil {
		t.Fatal(err)
	}
	runOne(t, w, config, testRun(sdk.People, 1, 1), people("one", 3))
	inventoryOf(t, d, sdk.InventoryQuery{Run: testRun(sdk.Events, 1, 0), Deep: true})
	purposes := map[string]bool{}
	list, err := w.api.Jobs.List(w.Project).AllUsers(true).Projection("full").MaxResults(1000).Context(t.Context()).Do()
	if err != nil || list.NextPageToken != "" {
		t.Fatalf("list jobs: next page %q, %v", list.NextPageToken, err)
	}
	for _, j := range list.Jobs {
		if j.Statistics.ParentJobId != "" {
			continue
		}
		purpose := j.Configuration.Labels["penstock"]
		if purposes[purpose] = true; purpose == "" || !strings.HasPrefix(j.JobReference.JobId, "penstock_") {
			t.Errorf("job %s has the labels %v", j.JobReference.JobId, j.Configuration.Labels)
		}
		if p := j.Configuration.Labels["penstock_run"]; (purpose == "load" || purpose == "commit") && p != "1" {
			t.Errorf("job %s has the labels %v", j.JobReference.JobId, j.Configuration.Labels)
		}
	}
	for _, purpose := range []string{"check", "ledger", "claim", "load", "commit", "inventory"} {
		if !purposes[purpose] {
			t.Errorf("no job has the label penstock=%s: %v", purpose, purposes)
		}
	}
	if line := regexp.MustCompile(`run committed: pipeline=\S+ run=1 rows=10 load_jobs=2 bytes_loaded=[1-9]\d* bytes_billed=[1-9]\d*\n`); !line.MatchString(log.String()) {
		t.Errorf("the log is\n%s", log.String())
	}
}
