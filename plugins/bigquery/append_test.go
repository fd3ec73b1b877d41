package bigquery

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

func (w *warehouse) loadMode() map[string]any {
	c := w.config()
	c["mode"] = "load"
	return c
}

// With mode = "load" days are loaded into the table, also those that statements cannot
// write, no statement reads them, and there is no staging table. People are as ever.
func TestLoadMode(t *testing.T) {
	w := startWarehouse(t)
	config := w.loadMode()
	c, set := events("one", "1969-12-31", "2026-06-01", "2026-06-02"), people("one", 3)
	runOne(t, w, config, testRun(sdk.Events, 1, 1), c)
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	for _, s := range w.Statements() {
		if s.Type == "INSERT" && strings.Contains(s.Text, eventsTable+"`") && !strings.Contains(s.Text, ledgerTable) && !strings.Contains(s.Text, exportLog) {
			t.Errorf("events were inserted: %s", s.Text)
		}
	}
	runOne(t, w, config, testRun(sdk.Events, 2, 2), events("two", "2026-06-02"))
	runOne(t, w, config, testRun(sdk.People, 1, 1), set)
	w.expect(t, dataset(config), sdk.People, set.want(), 1)
	for _, name := range w.tables(t, dataset(config)) {
		if strings.HasPrefix(name, stagingPrefix) {
			t.Errorf("there is %s", name)
		}
	}
	if got := inventoryOf(t, w.open(t, config), sdk.InventoryQuery{Run: testRun(sdk.Events, 2, 0)}); !strings.Contains(strings.Join(got, "\n"), "mp_master_event$19691231 run 00000001 recorded 5 found 5") {
		t.Errorf("the inventory is\n%s", strings.Join(got, "\n"))
	}
	deep := inventoryOf(t, w.open(t, config), sdk.InventoryQuery{Run: testRun(sdk.Events, 2, 0), Deep: true})
	if !slices.Contains(deep, "mp_master_event$19691231 run 00000001 recorded 5 found 5") {
		t.Errorf("the deep inventory is\n%s", strings.Join(deep, "\n"))
	}
	log, err := w.query(t.Context(), dataset(config), "SELECT load_jobs FROM "+exportLog+" WHERE data_source = 'events' ORDER BY exported_at")
	if err != nil || fmt.Sprint(log) != "[[3] [1]]" {
		t.Errorf("the log counts the loads %v, %v", log, err)
	}
}

// Each request of a run that loads without a transaction is lost before and after: every row
// is there once.
func TestEveryRequestOfALoadMayBeLost(t *testing.T) {
	w := startWarehouse(t)
	c := events("one", "2026-06-01", "2026-06-02")
	for name, fault := range losses() {
		lost := w.loseEach(t, fault, func(proxy *faultproxy.Proxy, nth int) {
			config := w.loadMode()
			proxied := maps.Clone(config)
			proxied["endpoint"] = proxy.URL
			if _, err := whole(t.Context(), func() *destination { return w.open(t, proxied) }, testRun(sdk.Events, 1, 1), c); err != nil {
				t.Fatalf("request %d, %s: %v", nth, name, err)
			}
			w.expect(t, dataset(config), sdk.Events, c.want(), 1)
			if t.Failed() {
				t.Fatalf("request %d, %s", nth, name)
			}
		})
		t.Logf("%s: each of %d requests", name, lost)
	}
}

// An attempt dies during its loads or before its commit, or goes on while its successor loads the same
// parts: a part is loaded once, large ones too.
func TestAPartIsLoadedOnce(t *testing.T) {
	w := startWarehouse(t)
	config := w.loadMode()
	c := events("one", "2026-06-01", "2026-06-02", "2026-06-03")
	c["2026-06-02"] = noise(140, 100<<10) // uploaded while it is written
	killed := w.open(t, config)
	hold := w.Hold(standin.BigQueryPoint{Job: "_append_.*_d00000_"}) // later parts may be loaded
	ctx, dies := context.WithCancel(t.Context())
	var exporting sync.WaitGroup
	exporting.Go(func() { _, _ = killed.export(ctx, testRun(sdk.Events, 1, 1), c) })
	hold.Reached()
	dies()
	exporting.Wait()
	hold.Release()
	if _, err := w.open(t, config).export(t.Context(), testRun(sdk.Events, 1, 2), c); err != nil { // killed before its commit
		t.Fatal(err)
	}
	zombie, old := w.open(t, config), testRun(sdk.Events, 1, 3)
	receipt, err := zombie.export(t.Context(), old, c)
	if err != nil {
		t.Fatal(err)
	}
	runOne(t, w, config, testRun(sdk.Events, 1, 4), c)
	if err := zombie.Commit(t.Context(), old, receipt); protocol.ClassOf(err) != protocol.Fenced {
		t.Errorf("the older attempt: class %v of %v", protocol.ClassOf(err), err)
	}
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	if n := zombie.blocks.lent(); n != 0 {
		t.Errorf("%d blocks did not come back", n)
	}
}

// The upload of a large part is refused, because another attempt has loaded the part since:
// the rows of the part are counted all the same.
func TestAnotherAttemptLoadsALargePartFirst(t *testing.T) {
	w := startWarehouse(t)
	config := w.loadMode()
	c := content{"2026-06-01": noise(140, 100<<10)}
	proxy := faultproxy.Start(t, w.URL)
	held, release := make(chan struct{}, 1), make(chan struct{})
	proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPost, Path: "/upload/", Body: "_append_"}, Fault: faultproxy.HoldOne(held, release)})
	proxied := maps.Clone(config)
	proxied["endpoint"] = proxy.URL
	first := w.open(t, proxied)
	var exporting sync.WaitGroup
	var err error
	exporting.Go(func() { _, err = first.export(t.Context(), testRun(sdk.Events, 1, 1), c) })
	<-held
	runOne(t, w, config, testRun(sdk.Events, 1, 2), c)
	close(release)
	exporting.Wait()
	if err != nil {
		t.Errorf("the first attempt: class %v of %v", protocol.ClassOf(err), err)
	}
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	if n := first.blocks.lent(); n != 0 {
		t.Errorf("%d blocks did not come back", n)
	}
}

// A request for a load is refused, and loads by the next try. The next attempt finds that
// job: a refused request leaves no gap in the ids of a part.
func TestARefusedRequestLeavesNoGap(t *testing.T) {
	w := startWarehouse(t)
	config := w.loadMode()
	c := events("one", "2026-06-01")
	runOne(t, w, config, testRun(sdk.Events, 1, 1), c)
	proxy := faultproxy.Start(t, w.URL)
	body := `{"error":{"code":400,"message":"Table is unavailable","errors":[{"reason":"tableUnavailable","message":"Table is unavailable"}]}}`
	proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Method: http.MethodPost, Path: "/upload/", Body: "_append_"},
		Fault: faultproxy.Answer(http.StatusBadRequest, http.Header{"Content-Type": {"application/json"}}, body)})
	proxied := maps.Clone(config)
	proxied["endpoint"] = proxy.URL
	more := events("two", "2026-06-02")
	if _, err := w.open(t, proxied).export(t.Context(), testRun(sdk.Events, 2, 2), more); err != nil { // killed before its commit
		t.Fatal(err)
	}
	runOne(t, w, config, testRun(sdk.Events, 2, 3), more)
	maps.Copy(c, more)
	w.expect(t, dataset(config), sdk.Events, c.want(), 2)
}

// Parts are cut in the same places when the first attempt meets a row that BigQuery refuses
// and the second one decodes and rejects it, with all rows of its day.
func TestPartsKeepTheirPlaces(t *testing.T) {
	w := startWarehouse(t)
	config := w.loadMode()
	config["unusual"] = "reject"
	c := events("one", "2026-06-02", "2026-06-03")
	c["2026-06-01"] = []destinationtest.Row{{Line: `{"device_id":null,"distinct_id":"u","event_name":"View","insert_id":"wide","properties":{"n":0.1234567890123456789},"time":1780272000,"user_id":null}`}}
	d := w.open(t, config, func(d *destination) { d.partSize = 300 })
	run := testRun(sdk.Events, 1, 1)
	if _, err := d.export(t.Context(), run, c); protocol.ClassOf(err) != protocol.Retryable {
		t.Fatalf("the first attempt: %v", err)
	}
	_ = d.Abort(t.Context(), run, false)
	run.Fence++
	receipt, err := d.export(t.Context(), run, c)
	if err == nil {
		err = d.Commit(t.Context(), run, receipt)
	}
	if err != nil {
		t.Fatal(err)
	}
	delete(c, "2026-06-01")
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
}

// A run that was begun is not sent with other rows, nor in a transaction: loads
// cannot be undone. A run that is given up says how many loads stay.
func TestALoadThatWasGivenUp(t *testing.T) {
	w := startWarehouse(t)
	config, run, c := w.loadMode(), testRun(sdk.Events, 1, 1), events("one", "2026-06-01")
	d := w.open(t, config)
	if _, err := d.export(t.Context(), run, c); err != nil {
		t.Fatal(err)
	}
	if err := d.Abort(t.Context(), run, true); err == nil || !strings.Contains(err.Error(), "1 loads of run 1 stay") {
		t.Errorf("abort: %v", err)
	}
	other := run
	other.Fence, other.Content = 2, "ffffffffffffffffffffffffffffffff"
	if _, err := w.open(t, config).Open(t.Context(), other); protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(err.Error(), "given up") {
		t.Errorf("with other rows: class %v of %v", protocol.ClassOf(err), err)
	}
	inTransaction := maps.Clone(config)
	inTransaction["mode"] = "transaction"
	same := run
	same.Fence = 2
	if _, err := w.open(t, inTransaction).Open(t.Context(), same); protocol.ClassOf(err) != protocol.Configuration {
		t.Errorf("in a transaction: class %v of %v", protocol.ClassOf(err), err)
	}
	again := run
	again.Number, again.Fence = 2, 2
	if _, err := w.open(t, config).Open(t.Context(), again); protocol.ClassOf(err) != protocol.Configuration {
		t.Errorf("by another number: class %v of %v", protocol.ClassOf(err), err)
	}
	again.Adopt = true // the operator has deleted the rows, or says so
	if _, err := w.open(t, config).Open(t.Context(), again); err != nil {
		t.Errorf("with adopt: %v", err)
	}
	same.Fence = 3
	runOne(t, w, config, same, c) // the same run, in the same mode
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	more := events("two", "2026-06-01")
	runOne(t, w, inTransaction, testRun(sdk.Events, 2, 3), more) // the next run may be in a transaction
	want := c.want()
	want["2026-06-01"] = append(want["2026-06-01"], more.want()["2026-06-01"]...)
	w.expect(t, dataset(config), sdk.Events, want, 2)
}

// A pipeline is cancelled by another process than the one that has loaded rows: they are
// not passed over in silence. A run that has loaded none is given up.
func TestGivingUpTellsOfTheLoadsOfEarlierAttempts(t *testing.T) {
	w := startWarehouse(t)
	config, run := w.loadMode(), testRun(sdk.Events, 1, 1)
	giveUp := func(run sdk.Run) error {
		d := w.open(t, config)
		if _, err := d.Open(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		return d.Abort(t.Context(), run, true)
	}
	if err := giveUp(run); err != nil {
		t.Errorf("a run without loads: %v", err)
	}
	run.Fence = 2
	if _, err := w.open(t, config).export(t.Context(), run, events("one", "2026-06-01")); err != nil { // killed before its commit
		t.Fatal(err)
	}
	listed := strings.Join(inventoryOf(t, w.open(t, config), sdk.InventoryQuery{Run: run}), "\n")
	if !strings.Contains(listed, "found 5 the partition has 5 rows, and all runs together have recorded 0; run 1 is being loaded") {
		t.Errorf("the inventory is\n%s", listed)
	}
	run.Fence = 3
	if err := giveUp(run); protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(err.Error(), "loads of run 1 stay") {
		t.Errorf("class %v of %v", protocol.ClassOf(err), err)
	}
	run.Fence, run.Adopt = 4, true
	if err := giveUp(run); err != nil {
		t.Errorf("with adopt: %v", err)
	}
}

// An attempt goes on after the run was planned again with other rows: it begins no load.
func TestAnOvertakenAttemptBeginsNoLoad(t *testing.T) {
	w := startWarehouse(t)
	config, old, c := w.loadMode(), testRun(sdk.Events, 1, 1), events("one", "2026-06-01")
	zombie := w.open(t, config)
	if _, err := zombie.Open(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	next := old
	next.Fence, next.Content = 2, "ffffffffffffffffffffffffffffffff"
	runOne(t, w, config, next, c)
	_, err := zombie.Write(t.Context(), old, sdk.Partition{Date: "2026-06-01"}, readerOf(c["2026-06-01"], nil))
	if err == nil {
		err = zombie.Prepare(t.Context(), old, sdk.Receipt{})
	}
	if protocol.ClassOf(err) != protocol.Fenced {
		t.Errorf("class %v of %v", protocol.ClassOf(err), err)
	}
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
}

// A part that was loaded with other rows than are sent now is not tried for ever.
func TestAPartThatWasLoadedWithOtherRows(t *testing.T) {
	w := startWarehouse(t)
	config, run := w.loadMode(), testRun(sdk.Events, 1, 1)
	c := events("one", "2026-06-01")
	c["2026-06-01"] = append(c["2026-06-01"], destinationtest.Row{Flags: batch.DuplicateKey,
		Line: `{"device_id":null,"distinct_id":"u","event_name":"View","insert_id":"twice","properties":{"a":1,"a":2},"time":1780272000,"user_id":null}`})
	if _, err := w.open(t, config).export(t.Context(), run, c); err != nil { // killed before its commit
		t.Fatal(err)
	}
	config["unusual"] = "reject"
	run.Fence++
	if _, err := w.open(t, config).export(t.Context(), run, c); protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(err.Error(), "of 5") {
		t.Errorf("class %v of %v", protocol.ClassOf(err), err)
	}
	config["unusual"] = "repair"
	run.Fence++
	runOne(t, w, config, run, c)
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
}

// The changes of partitions of a day are counted over runs; a run that would exceed them
// waits for the next day, and says so.
func TestChangesOfPartitionsAreWatched(t *testing.T) {
	w := startWarehouse(t)
	config := w.loadMode()
	runOne(t, w, config, testRun(sdk.Events, 1, 1), events("one", "2026-06-01", "2026-06-02"))
	w.mustQuery(t, config, fmt.Sprintf("UPDATE %s SET load_jobs = %d WHERE TRUE", exportLog, changesPerDay-1))
	c := events("two", "2026-06-01", "2026-06-02")
	_, err := w.open(t, config).export(t.Context(), testRun(sdk.Events, 2, 2), c)
	if protocol.ClassOf(err) != protocol.Retryable || !strings.Contains(err.Error(), "11000 changes of partitions") {
		t.Errorf("beyond the limit: class %v of %v", protocol.ClassOf(err), err)
	}
	w.mustQuery(t, config, "UPDATE "+exportLog+" SET exported_at = TIMESTAMP_SUB(exported_at, INTERVAL 1 DAY) WHERE TRUE")
	runOne(t, w, config, testRun(sdk.Events, 2, 3), c)
}
