package bigquery

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// stagedWarehouse is a stand-in with a bucket that it reads.
type stagedWarehouse struct {
	*warehouse
	gcs *standin.GCS
}

func startStaged(t *testing.T) *stagedWarehouse {
	t.Helper()
	g := standin.StartGCS(t, "acme-staging")
	b := standin.StartBigQuery(t, standin.BigQueryOptions{Storage: "http://" + g.Address})
	w := &warehouse{BigQuery: b, reader: newReader(t, config{Project: b.Project, Region: region, Endpoint: b.URL, Credentials: b.KeyFile()})}
	return &stagedWarehouse{w, g}
}

func (w *stagedWarehouse) config() map[string]any {
	c := w.warehouse.config()
	c["staging_bucket"], c["staging_endpoint"] = "acme-staging", "http://"+w.gcs.Address
	return c
}

// objects lists the names in the bucket.
func (w *stagedWarehouse) objects() []string { return w.gcs.Names("acme-staging") }

// All rows arrive through the bucket, and nothing is left in it. check goes the same way.
func TestLoadsFromTheStagingBucket(t *testing.T) {
	w := startStaged(t)
	config := w.config()
	proxy := faultproxy.Start(t, w.URL)
	config["endpoint"] = proxy.URL
	c, set := events("one", "2026-06-01", "2026-06-02"), people("one", 7)
	runOne(t, w.warehouse, config, testRun(sdk.Events, 1, 1), c)
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
	runOne(t, w.warehouse, config, testRun(sdk.People, 1, 1), set)
	w.expect(t, dataset(config), sdk.People, set.want(), 1)
	for _, r := range w.open(t, config).Check(t.Context()) {
		if !r.OK {
			t.Errorf("check: %+v", r)
		}
	}
	if n := len(proxy.Requests(faultproxy.Match{Path: "/upload/"})); n != 1 {
		t.Errorf("%d uploads went to BigQuery, want that of the ledger's row", n)
	}
	if left := w.objects(); len(left) > 0 {
		t.Errorf("objects are left: %v", left)
	}
}

// A part that is larger than the memory of parts goes through the bucket while it is
// written, and its load is tried again when the service fails: the bytes are in the bucket.
func TestALargePartThroughTheBucket(t *testing.T) {
	w := startStaged(t)
	config := w.config()
	w.Fail(standin.BigQueryPoint{Job: "_load_events", At: "before"}, "backendError", "Error encountered during execution. Retrying may solve the problem.")
	d := w.open(t, config)
	run := testRun(sdk.Events, 1, 1)
	receipt, err := d.export(t.Context(), run, content{"2026-06-01": noise(140, 100<<10)})
	if err == nil {
		err = d.Commit(t.Context(), run, receipt)
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, err := w.query(t.Context(), dataset(config), "SELECT COUNT(*), COUNT(DISTINCT insert_id), SUM(LENGTH(JSON_VALUE(properties, '$.noise'))) FROM mp_master_event")
	if err != nil || fmt.Sprint(rows[0]) != fmt.Sprintf("[140 140 %d]", 140*100<<10) {
		t.Errorf("%v, %v", rows, err)
	}
	if n, left := d.blocks.lent(), w.objects(); n != 0 || len(left) > 0 {
		t.Errorf("%d blocks did not come back, objects are left: %v", n, left)
	}
}

// Each request to the bucket meets a connection that is cut before it arrives, and one whose
// answer is lost. The run is there once, and nothing is left in the bucket.
func TestEveryRequestToTheBucketMayBeLost(t *testing.T) {
	w := startStaged(t)
	c := events("one", "2026-06-01", "2026-06-02")
	requests := 0
	for i := 0; i <= requests; i++ { // without a fault first
		for name, fault := range map[string]faultproxy.Fault{"cut before": faultproxy.CutBefore(), "lost answer": faultproxy.LoseAnswer()} {
			config := w.config()
			proxy := faultproxy.Start(t, "http://"+w.gcs.Address)
			config["staging_endpoint"] = proxy.URL
			if i > 0 {
				proxy.Add(faultproxy.Rule{Nth: i, Fault: fault})
			}
			run := testRun(sdk.Events, 1, 1)
			if _, err := whole(t.Context(), func() *destination { return w.open(t, config) }, run, c); err != nil {
				t.Fatalf("request %d, %s: %v", i, name, err)
			}
			w.expect(t, dataset(config), sdk.Events, c.want(), 1)
			if left := w.objects(); len(left) > 0 {
				t.Errorf("request %d, %s: objects are left: %v", i, name, left)
			}
			if i == 0 {
				requests = len(proxy.Requests())
			}
		}
	}
	if requests < 5 {
		t.Errorf("a run makes %d requests to the bucket", requests)
	}
	t.Logf("%d requests, each lost before and after", requests)
}

// An attempt that was killed, or is frozen while the service loads, leaves objects. The next
// attempt deletes them, and none of another pipeline; the older load ends late and
// changes nothing.
func TestObjectsOfKilledAttemptsAreSwept(t *testing.T) {
	w := startStaged(t)
	config, c := w.config(), events("one", "2026-06-01")
	old, newer := testRun(sdk.Events, 1, 1), testRun(sdk.Events, 1, 2)
	zombie := w.open(t, config)
	hold := w.Hold(standin.BigQueryPoint{Job: "_load_events"})
	var exporting sync.WaitGroup
	var zombieErr error
	exporting.Go(func() {
		var receipt sdk.Receipt
		if receipt, zombieErr = zombie.export(t.Context(), old, c); zombieErr == nil {
			zombieErr = zombie.Commit(t.Context(), old, receipt)
		}
	})
	hold.Reached()
	if staged := w.objects(); len(staged) != 1 || !strings.HasPrefix(staged[0], zombie.config.stagedBy(old)) {
		t.Errorf("staged are %v", staged)
	}
	other := testRun(sdk.Events, 1, 1)
	other.PipelineID = "another1"
	theirs := zombie.config.stagedBy(other) + "load_p00001.json.gz"
	w.gcs.Put("acme-staging", theirs, []byte("theirs"))
	runOne(t, w.warehouse, config, newer, c)
	if left := w.objects(); !slices.Equal(left, []string{theirs}) {
		t.Errorf("after the next attempt the bucket has %v", left)
	}
	hold.Release()
	exporting.Wait()
	if zombieErr == nil {
		t.Error("the older attempt has committed")
	}
	w.expect(t, dataset(config), sdk.Events, c.want(), 1)
}

// An attempt that is aborted leaves no object.
func TestAbortEmptiesTheBucket(t *testing.T) {
	w := startStaged(t)
	config, run := w.config(), testRun(sdk.Events, 1, 1)
	w.Fail(standin.BigQueryPoint{Job: "_load_events", Times: -1}, "invalid", "Error while reading data")
	d := w.open(t, config)
	if _, err := d.export(t.Context(), run, events("one", "2026-06-01")); err == nil {
		t.Fatal("the loads succeeded")
	}
	if len(w.objects()) == 0 {
		t.Error("a load that failed has left no object: the test shows nothing")
	}
	if err := d.Abort(t.Context(), run, false); err != nil {
		t.Fatal(err)
	}
	if left := w.objects(); len(left) > 0 {
		t.Errorf("objects are left: %v", left)
	}
}

// hint returns the next step of an error.
func hint(err error) string {
	var e *sdk.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// A bucket that does not exist, or that may not be used, is named with a command.
func TestErrorsOfTheStagingBucket(t *testing.T) {
	w := startStaged(t)
	config := w.config()
	config["staging_bucket"] = "acme-other"
	_, err := whole(t.Context(), func() *destination { return w.open(t, config) }, testRun(sdk.Events, 1, 1), events("one", "2026-06-01"))
	if err == nil || !strings.Contains(hint(err), "staging_bucket does not exist") || protocol.ClassOf(err) != protocol.Configuration {
		t.Errorf("a bucket that does not exist: class %v of %v", protocol.ClassOf(err), err)
	}
	config = w.config()
	proxy := faultproxy.Start(t, "http://"+w.gcs.Address)
	proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Path: "/upload/"}, Times: -1, Fault: faultproxy.Answer(http.StatusForbidden, nil,
		`{"error":{"code":403,"message":"a@b does not have storage.objects.create access to the Google Cloud Storage object.","errors":[{"reason":"forbidden"}]}}`)})
	config["staging_endpoint"] = proxy.URL
	d := w.open(t, config)
	_, err = d.export(t.Context(), testRun(sdk.Events, 1, 1), events("one", "2026-06-01"))
	if err == nil || !strings.Contains(hint(err), "add-iam-policy-binding gs://acme-staging") {
		t.Errorf("without the role: %v", err)
	}
}

// Mistakes in the attributes of the bucket are found without a connection.
func TestMistakesOfTheStagingBucket(t *testing.T) {
	for name, bad := range map[string]config{
		"Staging bucket is not a bucket's name": {StagingBucket: "gs://acme/x"},
		"Endpoint is not a URL":                 {StagingBucket: "acme", StagingEndpoint: "127.0.0.1"},
		"Staging bucket is missing":             {StagingEndpoint: "http://127.0.0.1:1"},
	} {
		bad.Project, bad.Dataset = "acme-analytics", "mixpanel"
		if err := bad.check(nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
