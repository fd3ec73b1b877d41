package bigquery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

// inventoryOf returns the items of an inventory, one line each with the rows that are
// recorded, the rows that are found, and the problem.
func inventoryOf(t *testing.T, d *destination, q sdk.InventoryQuery) []string {
	t.Helper()
	rows := func(f *sdk.InventoryFacts) string {
		if f == nil {
			return "none"
		}
		return fmt.Sprint(f.Rows)
	}
	var list []string
	err := d.Inventory(t.Context(), q, func(i sdk.InventoryItem) error {
		switch i.Kind {
		case sdk.InventoryRecord:
			list = append(list, fmt.Sprintf("record %s run %d %s", i.Object, i.Run, i.Problem))
		case sdk.InventoryRun:
			list = append(list, fmt.Sprintf("run %d recorded %s %s", i.Run, rows(i.Recorded), i.Problem))
		case sdk.InventoryTotals:
			list = append(list, fmt.Sprintf("day %s recorded %s", i.Date, rows(i.Recorded)))
		case sdk.InventoryObject:
			list = append(list, fmt.Sprintf("%s recorded %s found %s %s", i.Object, rows(i.Recorded), rows(i.Found), i.Problem))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func (w *warehouse) mustQuery(t *testing.T, config map[string]any, text string) {
	t.Helper()
	if _, err := w.query(t.Context(), dataset(config), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// The content of each committed run is known, and that of no other.
func TestStatusOfEarlierRuns(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	for number := range int64(3) {
		runOne(t, w, config, testRun(sdk.Events, number+1, 1), events(fmt.Sprint("run", number), "2026-06-01"))
	}
	d := w.open(t, config)
	check := func(what string, number int64, want string) {
		t.Helper()
		status, err := d.Status(t.Context(), testRun(sdk.Events, number, 0))
		if err != nil || status.Content != want || status.Last != testRun(sdk.Events, 3, 0).Last() {
			t.Errorf("%s, run %d: %+v, %v; want content %q", what, number, status, err, want)
		}
	}
	for number := range int64(2) {
		check("committed", number+1, testRun(sdk.Events, number+1, 0).Content)
	}
	w.mustQuery(t, config, "DELETE FROM "+exportLog+" WHERE export_id = '"+exportID(testRun(sdk.Events, 1, 0))+"'")
	check("without its row", 1, "")
	check("with its row", 2, testRun(sdk.Events, 2, 0).Content)
	w.mustQuery(t, config, "DROP TABLE "+exportLog)
	check("without the log", 2, "")
	if status, err := d.Status(t.Context(), testRun(sdk.Events, 3, 0)); err != nil || status.Last != testRun(sdk.Events, 3, 0).Last() || status.Receipt == nil {
		t.Errorf("the last run without the log: %+v, %v", status, err)
	}
}

// The rows of each day are compared with what the runs have recorded, from the metadata
// of partitions where these agree. Rows that are missing, added or copied are found.
func TestInventoryOfEvents(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	runOne(t, w, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01", "2026-06-02"))
	runOne(t, w, config, testRun(sdk.Events, 2, 1), events("two", "2026-06-02", "2026-06-03"))
	d := w.open(t, config)
	q := sdk.InventoryQuery{Run: testRun(sdk.Events, 1, 0)}
	statements := len(w.Statements())
	whole := []string{
		"record penstock_ledger_mp_master_event run 2", "run 1 recorded 10", "run 2 recorded 10",
		"day 2026-06-01 recorded 5", "day 2026-06-02 recorded 10", "day 2026-06-03 recorded 5",
		"mp_master_event$20260601 run 00000001 recorded 5 found 5", "mp_master_event$20260602 run 00000001 recorded 5 found 5",
		"mp_master_event$20260602 run 00000002 recorded 5 found 5", "mp_master_event$20260603 run 00000002 recorded 5 found 5",
	}
	if got := inventoryOf(t, d, q); !slices.Equal(got, whole) {
		t.Errorf("the inventory is\n%s", strings.Join(got, "\n"))
	}
	for _, s := range w.Statements()[statements:] {
		if !strings.Contains(s.Text, "PARTITIONS") {
			t.Errorf("whole days were read: %s", s.Text)
		}
	}
	deep := q
	deep.Deep = true
	if got := inventoryOf(t, d, deep); !slices.Equal(got, whole) {
		t.Errorf("the deep inventory is\n%s", strings.Join(got, "\n"))
	}

	const partition = "_PARTITIONTIME = TIMESTAMP '2026-06-02'"
	columns := names(columnsOf(sdk.Events))
	w.mustQuery(t, config, "DELETE FROM mp_master_event WHERE insert_id = 'two-2026-06-02-3'")
	w.mustQuery(t, config, "DELETE FROM mp_master_event WHERE _PARTITIONTIME = TIMESTAMP '2026-06-01'")
	w.mustQuery(t, config, "INSERT INTO mp_master_event (_PARTITIONTIME, "+columns+") SELECT TIMESTAMP '2026-06-03', "+columns+" FROM mp_master_event WHERE "+partition+" AND insert_id = 'one-2026-06-02-0'")
	w.mustQuery(t, config, "INSERT INTO mp_master_event (_PARTITIONTIME, event_name) VALUES (TIMESTAMP '2026-06-09', 'View')")
	want := []string{
		"mp_master_event$20260601 run 00000001 recorded 5 found 0 the partition has 0 rows, and all runs together have recorded 5",
		"mp_master_event$20260602 run 00000001 recorded 5 found 5",
		"mp_master_event$20260602 run 00000002 recorded 5 found 4 the partition has 9 rows, and all runs together have recorded 10",
		"mp_master_event$20260603 run 00000002 recorded 5 found 6 the partition has 6 rows, and all runs together have recorded 5",
		"mp_master_event$20260609 recorded none found 1 the partition has 1 rows, and all runs together have recorded 0",
	}
	if got := inventoryOf(t, d, q)[6:]; !slices.Equal(got, want) {
		t.Errorf("the inventory is\n%s", strings.Join(got, "\n"))
	}

	// A copy in the place of a row that was deleted is found by reading.
	w.mustQuery(t, config, "INSERT INTO mp_master_event (_PARTITIONTIME, "+columns+") SELECT _PARTITIONTIME, "+columns+" FROM mp_master_event WHERE "+partition+" AND insert_id = 'one-2026-06-02-0'")
	deep.From, deep.To = "2026-06-02", "2026-06-02"
	want = []string{
		"mp_master_event$20260602 run 00000001 recorded 5 found 5",
		"mp_master_event$20260602 run 00000002 recorded 5 found 4 the partition has 10 rows, of which 1 are copies of others, and all runs together have recorded 10",
	}
	if got := inventoryOf(t, d, deep)[4:]; !slices.Equal(got, want) {
		t.Errorf("the deep inventory is\n%s", strings.Join(got, "\n"))
	}
}

// An inventory reads on condition of maximum_bytes_billed, and one that is not deep reads
// no column.
func TestInventoryIsBounded(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	runOne(t, w, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01"))
	d := w.open(t, config, func(d *destination) { d.config.MaximumBilled = 1 })
	err := d.Inventory(t.Context(), sdk.InventoryQuery{Run: testRun(sdk.Events, 1, 0), Deep: true}, func(sdk.InventoryItem) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "bytes billed") {
		t.Errorf("over the limit: %v", err)
	}
}

// A ledger or a view that is gone is a problem of the record, and not an error.
func TestInventoryWithoutRecord(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	runOne(t, w, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01"))
	runOne(t, w, config, testRun(sdk.People, 1, 1), people("one", 3))
	d := w.open(t, config)
	for stream, table := range map[sdk.Stream]string{sdk.Events: ledgerTable, sdk.People: viewName(peopleTable)} {
		if err := w.api.Tables.Delete(w.Project, dataset(config), table).Do(); err != nil {
			t.Fatal(err)
		}
		if got := inventoryOf(t, d, sdk.InventoryQuery{Run: testRun(stream, 1, 0)}); len(got) != 1 || !strings.Contains(got[0], "does not exist") {
			t.Errorf("%s: %q", stream, got)
		}
	}
}

// A ledger that was changed by hand is a problem of the record, with its reason; a run
// stops.
func TestADamagedLedger(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	runOne(t, w, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01"))
	w.mustQuery(t, config, "INSERT INTO "+ledgerTable+" SELECT * FROM "+ledgerTable)
	d := w.open(t, config)
	got := inventoryOf(t, d, sdk.InventoryQuery{Run: testRun(sdk.Events, 1, 0)})
	if len(got) != 1 || !strings.Contains(got[0], ledgerTable+" is damaged: it has ") {
		t.Errorf("the inventory is %q", got)
	}
	if _, err := d.Open(t.Context(), testRun(sdk.Events, 2, 2)); !errors.Is(err, errDamaged) || protocol.ClassOf(err) != protocol.Permanent {
		t.Errorf("class %v of %v", protocol.ClassOf(err), err)
	}
}

func TestInventoryOfASet(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	runOne(t, w, config, testRun(sdk.People, 1, 1), people("one", 7))
	runOne(t, w, config, testRun(sdk.People, 2, 1), people("two", 3))
	d, run := w.open(t, config), testRun(sdk.People, 2, 1)
	table := generationName(run)
	q := sdk.InventoryQuery{Run: run}
	is := func(deep bool, want ...string) {
		t.Helper()
		q.Deep = deep
		want = append([]string{"record mp_people_data_view run 2"}, want...)
		if got := inventoryOf(t, d, q); !slices.Equal(got, want) {
			t.Errorf("the inventory is\n%s", strings.Join(got, "\n"))
		}
	}
	is(false, "run 2 recorded 3", table+" recorded 3 found 3")
	is(true, "run 2 recorded 3", table+" recorded 3 found 3")
	w.mustQuery(t, config, "INSERT INTO "+table+" (distinct_id) VALUES ('two-0')")
	is(false, "run 2 recorded 3", table+" recorded 3 found 4 the table has 4 rows, recorded are 3")
	w.mustQuery(t, config, "DELETE FROM "+table+" WHERE distinct_id = 'two-1'")
	is(true, "run 2 recorded 3", table+" recorded 3 found 2 the table has 3 rows of 2 ids, recorded are 3")
	if err := w.api.Tables.Delete(w.Project, dataset(config), table).Do(); err != nil {
		t.Fatal(err)
	}
	is(false, "run 2 recorded 3", table+" recorded 3 found none")
}

// A log that an earlier version has made gets the column with its next run. Runs of one
// day need none, others are reported.
func TestALogWithoutRowsByDay(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	runOne(t, w, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01"))
	runOne(t, w, config, testRun(sdk.Events, 2, 1), events("two", "2026-06-01", "2026-06-02"))
	w.mustQuery(t, config, "CREATE OR REPLACE TABLE "+exportLog+" AS SELECT * EXCEPT (rows_by_day) FROM "+exportLog)
	got := inventoryOf(t, w.open(t, config), sdk.InventoryQuery{Run: testRun(sdk.Events, 2, 0)})
	if !slices.Contains(got, "run 1 recorded 5") || !slices.Contains(got, "run 2 recorded 10 its row in the export log has no rows_by_day: an earlier version has written it") {
		t.Errorf("the inventory is\n%s", strings.Join(got, "\n"))
	}
	runOne(t, w, config, testRun(sdk.Events, 3, 1), events("three", "2026-06-01"))
	rows, err := w.query(t.Context(), dataset(config), "SELECT export_id, TO_JSON_STRING(rows_by_day) FROM "+exportLog+" WHERE rows_by_day IS NOT NULL")
	if err != nil || len(rows) != 1 || rows[0][1] != `{"2026-06-01":5}` {
		t.Errorf("the log has %v, %v", rows, err)
	}
	log, err := w.api.Tables.Get(w.Project, dataset(config), exportLog).Do()
	if err != nil || !slices.ContainsFunc(log.Schema.Fields, func(f *bq.TableFieldSchema) bool { return f.Name == "rows_by_day" }) {
		t.Errorf("the log's columns: %v", err)
	}
}
