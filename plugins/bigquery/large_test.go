package bigquery

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// noise returns rows whose compressed size is about that of their text.
func noise(rows, size int) []destinationtest.Row {
	random := rand.NewChaCha8([32]byte{7})
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var out []destinationtest.Row
	for i := range rows {
		text := make([]byte, size)
		for j := range text {
			text[j] = letters[random.Uint64()&63]
		}
		out = append(out, destinationtest.Row{Line: fmt.Sprintf(
			`{"device_id":null,"distinct_id":"u","event_name":"View","insert_id":"%d","properties":{"noise":%q},"time":1780272000,"user_id":null}`, i, text)})
	}
	return out
}

// A part that is larger than the memory in which parts are held is uploaded while it
// is written, also when requests of the upload are refused on the way; every block
// comes back.
func TestALargePart(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	proxy := faultproxy.Start(t, w.URL)
	config["endpoint"] = proxy.URL
	proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Path: "/upload/", Query: "upload_id"}, Nth: 2, Fault: faultproxy.Answer(503, nil, "busy")})
	d := w.open(t, config)
	run := testRun(sdk.Events, 1, 1)
	c := content{"2026-06-01": noise(140, 100<<10)}
	receipt, err := d.export(t.Context(), run, c)
	if err == nil {
		err = d.Commit(t.Context(), run, receipt)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := len(proxy.Requests(faultproxy.Match{Path: "/upload/", Query: "upload_id"})); n < 3 {
		t.Errorf("the part was uploaded in %d chunks", n)
	}
	rows, err := w.query(t.Context(), dataset(config), "SELECT COUNT(*), COUNT(DISTINCT insert_id), SUM(LENGTH(JSON_VALUE(properties, '$.noise'))) FROM mp_master_event")
	if err != nil || fmt.Sprint(rows[0]) != fmt.Sprintf("[140 140 %d]", 140*100<<10) {
		t.Errorf("%v, %v", rows, err)
	}
	if n := d.blocks.lent(); n != 0 {
		t.Errorf("%d blocks did not come back", n)
	}
}

// A service that has lost an upload's session refuses its chunks. The next attempt
// loads the rows, once.
func TestAnUploadThatWasLost(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	proxy := faultproxy.Start(t, w.URL)
	config["endpoint"] = proxy.URL
	proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Path: "/upload/", Query: "upload_id"}, Nth: 2, Fault: faultproxy.Answer(404, nil, "Not Found")})
	c := content{"2026-06-01": noise(140, 100<<10)}
	n, err := whole(t.Context(), func() *destination { return w.open(t, config) }, testRun(sdk.Events, 1, 1), c)
	if err != nil || n != 2 {
		t.Errorf("%d attempts, %v", n, err)
	}
	rows, err := w.query(t.Context(), dataset(config), "SELECT COUNT(*), COUNT(DISTINCT insert_id) FROM mp_master_event")
	if err != nil || fmt.Sprint(rows[0]) != "[140 140]" {
		t.Errorf("%v, %v", rows, err)
	}
}

// A run of 400 days is one transaction.
func TestFourHundredDays(t *testing.T) {
	w := startWarehouse(t)
	w.Quotas(map[string]int{"partitioned_metadata_updates_per_10s": 1000}) // the test does not pause
	config, run := w.config(), testRun(sdk.Events, 1, 1)
	d := w.open(t, config)
	if _, err := d.Open(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	first := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	var receipt sdk.Receipt
	want := map[string][]string{}
	for i := range 400 {
		date := first.AddDate(0, 0, i).Format(time.DateOnly)
		c := events("day", date)
		p, err := d.Write(t.Context(), run, sdk.Partition{Index: i, Date: date}, readerOf(c[date], nil))
		if err != nil {
			t.Fatal(err)
		}
		p.Index, p.Date = i, date
		receipt.Partitions = append(receipt.Partitions, p)
		want[date] = c.want()[date]
	}
	if err := d.Prepare(t.Context(), run, receipt); err != nil {
		t.Fatal(err)
	}
	before := len(w.Statements())
	if err := d.Commit(t.Context(), run, receipt); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, s := range w.Statements()[before:] {
		kinds = append(kinds, s.Type)
	}
	if got := strings.Join(kinds, " "); strings.Count(got, "COMMIT_TRANSACTION") != 1 || strings.Count(got, "INSERT") != 2 {
		t.Errorf("the commit is %s: want one transaction that inserts events, and the row of the log", got)
	}
	w.expect(t, dataset(config), sdk.Events, want, 1)
}

// A dataset's default expirations end no day before its run is committed: neither of
// the table of events nor of the staging table. check has a table of its own.
func TestDefaultExpirations(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	const month = 30 * 24 * 3600 * 1000
	_, err := w.api.Datasets.Insert(w.Project, &bq.Dataset{
		DatasetReference: &bq.DatasetReference{ProjectId: w.Project, DatasetId: dataset(config)}, Location: region,
		DefaultPartitionExpirationMs: month, DefaultTableExpirationMs: month,
	}).Context(t.Context()).Do()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range w.open(t, config).Check(t.Context()) {
		if !r.OK {
			t.Errorf("check: %+v", r)
		}
	}
	c := events("one", "1999-12-31", "2020-02-29")
	runOne(t, w, config, testRun(sdk.Events, 1, 1), c)
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	set := people("one", 3)
	runOne(t, w, config, testRun(sdk.People, 1, 1), set)
	w.expect(t, dataset(config), sdk.People, set.want(), 1)
	for _, name := range w.tables(t, dataset(config)) {
		table, err := w.api.Tables.Get(w.Project, dataset(config), name).Context(t.Context()).Do()
		if err != nil || table.ExpirationTime != 0 || table.TimePartitioning != nil && table.TimePartitioning.ExpirationMs != 0 {
			t.Errorf("%s expires: %v", name, err)
		}
	}
}
