package snowflake

import (
	"database/sql"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/test/standin"
)

// The variables with which make smoke-snowflake names an account and a schema that it has
// created.
const (
	accountName      = "SMOKE_SNOWFLAKE_ACCOUNT"
	accountUser      = "SMOKE_SNOWFLAKE_USER"
	accountKeyFile   = "SMOKE_SNOWFLAKE_KEY_FILE"
	accountRole      = "SMOKE_SNOWFLAKE_ROLE"
	accountWarehouse = "SMOKE_SNOWFLAKE_WAREHOUSE"
	accountDatabase  = "SMOKE_SNOWFLAKE_DATABASE"
	accountSchema    = "SMOKE_SNOWFLAKE_SCHEMA" // empty: the stand-in takes the account's place

	// Both set: the files wait in an external stage.
	accountStage       = "SMOKE_SNOWFLAKE_STAGE_URL"
	accountIntegration = "SMOKE_SNOWFLAKE_INTEGRATION"
	accountRegion      = "SMOKE_SNOWFLAKE_STAGE_REGION"
)

// ofAccount returns a configuration for the schema of the account that the variables
// name, or of the stand-in, and a reader of it.
func ofAccount(t *testing.T) (*warehouse, map[string]any, *destination) {
	t.Helper()
	if os.Getenv(accountSchema) == "" {
		w := startWarehouse(t)
		config := w.config()
		return w, config, openAt(t, config)
	}
	key, err := os.ReadFile(os.Getenv(accountKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	c := config{
		Account: os.Getenv(accountName), User: os.Getenv(accountUser), PrivateKey: string(key), Role: os.Getenv(accountRole), Warehouse: os.Getenv(accountWarehouse),
		Database: os.Getenv(accountDatabase), Schema: os.Getenv(accountSchema),
	}
	w := &warehouse{Snowflake: &standin.Snowflake{Database: c.Database}}
	w.pool = sql.OpenDB(&connector{config: c, logins: newLogins(), now: time.Now})
	t.Cleanup(func() { _ = w.pool.Close() })
	config := map[string]any{
		"account": c.Account, "user": c.User, "private_key": c.PrivateKey, "role": c.Role, "warehouse": c.Warehouse, "database": c.Database, "schema": c.Schema,
	}
	if url := os.Getenv(accountStage); url != "" {
		config["stage_url"], config["storage_integration"], config["stage_region"] = url, os.Getenv(accountIntegration), os.Getenv(accountRegion)
		config["stage_encryption"], config["stage_checksums"] = "none", "crc32"
	}
	return w, config, openAt(t, config, func(d *destination) { d.connector.transport = nil })
}

// All three streams are exported to an account in several runs, and compared row by row.
func TestAccount(t *testing.T) {
	w, config, d := ofAccount(t)
	for _, c := range d.Check(t.Context()) {
		t.Logf("%s: ok %v %s", c.Action, c.OK, c.Detail)
		if !c.OK {
			t.Errorf("check: %s: %s", c.Action, c.Detail)
		}
	}
	if t.Failed() {
		t.Fatal("nothing was exported")
	}
	export := func(stream sdk.Stream, number int64, c content, want map[string][]string) {
		t.Helper()
		run := testRun(stream, number, number)
		run.PipelineID = stream.String()
		if n, err := whole(t.Context(), func() *destination { return d }, run, c); err != nil {
			t.Fatalf("run %d of %s: %d attempts, %v", number, stream, n, err)
		}
		w.expect(t, config, stream, want)
	}
	first, late := events("first", "2026-06-01", "2026-06-02"), events("late", "2026-06-01")
	first["2026-06-02"] = append(first["2026-06-02"], destinationtest.Row{
		Line:  `{"device_id":"d","distinct_id":"\u00e9","event_name":"a'b\"c","insert_id":"x","properties":{"a":1,"a":2,"n":1234567890123456789012345678901234567890},"time":1780358400,"user_id":null}`,
		Flags: batch.DuplicateKey | batch.WideNumber,
	})
	export(sdk.Events, 1, first, first.want())
	all := first.want()
	all["2026-06-01"] = slices.Concat(all["2026-06-01"], late.want()["2026-06-01"])
	export(sdk.Events, 2, late, all)
	identity := content{"": {{Line: `{"distinct_id":"a","resolved_distinct_id":"z"}`}, {Line: `{"distinct_id":"b","resolved_distinct_id":"z"}`}}}
	export(sdk.Identity, 1, identity, identity.want())
	for number, set := range []content{people("old", 5), people("new", 3)} {
		export(sdk.People, int64(number+1), set, set.want())
	}
}
