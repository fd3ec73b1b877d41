package bigquery

import (
	"os"
	"slices"
	"testing"

	"github.com/googleapis/gax-go/v2"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

// The variables with which make smoke-bigquery names a project and a dataset that does
// not exist yet.
const (
	accountProject  = "SMOKE_BIGQUERY_PROJECT"
	accountLocation = "SMOKE_BIGQUERY_LOCATION"
	accountEndpoint = "SMOKE_BIGQUERY_ENDPOINT" // empty: Google's
	accountDataset  = "SMOKE_BIGQUERY_DATASET"  // empty: the stand-in takes the account's place
	accountKeyFile  = "GOOGLE_APPLICATION_CREDENTIALS"
)

// account returns a configuration for a dataset of the account that the variables name,
// or of the stand-in.
func account(t *testing.T) (reader, map[string]any) {
	t.Helper()
	dataset := os.Getenv(accountDataset)
	if dataset == "" {
		w := startWarehouse(t)
		return w.reader, w.config()
	}
	key, err := os.ReadFile(os.Getenv(accountKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	c := config{
		Project: os.Getenv(accountProject), Region: os.Getenv(accountLocation), Endpoint: os.Getenv(accountEndpoint), Credentials: string(key), Dataset: dataset,
	}
	return newReader(t, c), map[string]any{
		"gcp_project": c.Project, "dataset": c.Dataset, "region": c.Region, "create_dataset": true, "endpoint": c.Endpoint, "credentials": c.Credentials,
	}
}

// All three streams are exported to an account in several runs, and compared row by row.
// The check comes first: its "commit in a transaction" reports whether a transaction can
// insert rows by _PARTITIONTIME, which no document of Google's promises.
func TestAccount(t *testing.T) {
	r, config := account(t)
	d := r.open(t, config, func(d *destination) { d.sleep = gax.Sleep })
	for _, c := range d.Check(t.Context()) {
		t.Logf("%s: ok %v %s", c.Action, c.OK, c.Detail)
		if !c.OK {
			t.Errorf("check: %s: %s", c.Action, c.Detail)
		}
	}
	if t.Failed() {
		t.Fatal("nothing was exported")
	}
	export := func(stream sdk.Stream, number int64, c content) {
		t.Helper()
		run := testRun(stream, number, number)
		run.PipelineID = stream.String()
		if n, err := whole(t.Context(), func() *destination { return d }, run, c); err != nil {
			t.Fatalf("run %d of %s: %d attempts, %v", number, stream, n, err)
		}
	}
	first, late := events("first", "2026-06-01", "2026-06-02"), events("late", "2026-06-01")
	first["2026-06-02"] = append(first["2026-06-02"], destinationtest.Row{
		Line:  `{"device_id":"d","distinct_id":"\u00e9","event_name":"a'b\"c","insert_id":"x","properties":{"a":1,"a":2,"n":123456789012345678901234567890},"time":1780358400,"user_id":null}`,
		Flags: batch.DuplicateKey | batch.WideNumber,
	})
	export(sdk.Events, 1, first)
	r.expect(t, dataset(config), sdk.Events, first.want(), 1)
	export(sdk.Events, 2, late)
	all := first.want()
	all["2026-06-01"] = slices.Concat(all["2026-06-01"], late.want()["2026-06-01"])
	r.expect(t, dataset(config), sdk.Events, all, 2)

	identity := content{"": {
		{Line: `{"distinct_id":"a","resolved_distinct_id":"z"}`}, {Line: `{"distinct_id":"b","resolved_distinct_id":"z"}`},
	}}
	export(sdk.Identity, 1, identity)
	r.expect(t, dataset(config), sdk.Identity, identity.want(), 1)
	for number, set := range []content{people("old", 5), people("new", 3)} {
		export(sdk.People, int64(number+1), set)
		r.expect(t, dataset(config), sdk.People, set.want(), number+1)
	}
}
