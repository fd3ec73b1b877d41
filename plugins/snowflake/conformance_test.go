package snowflake

import (
	"context"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

func TestConformance(t *testing.T) {
	w := startWarehouse(t)
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	destinationtest.Run(t, destinationtest.Harness{
		Package: "github.com/penstock-io/penstock/cmd/penstock-destination-snowflake",
		Record:  "testdata/conformance/snowflakeserver.json",
		Service: destinationtest.Service{Name: "test/standin/snowflakeserver", Kind: destinationtest.Fake},
		Env:     []string{"SSL_CERT_FILE=" + w.Certificate},
		Config: func(destinationtest.T) map[string]any {
			c := w.config()
			c["unusual"] = "reject"
			return c
		},
		Bad: []destinationtest.BadConfig{
			{Name: "account that is a URL", Change: set("account", "https://acme.snowflakecomputing.com"), Attributes: []string{"account"}},
			{Name: "names with quotes", Change: func(c map[string]any) { c["database"], c["schema"] = `a"; DROP TABLE x; --`, `a.b` }, Attributes: []string{"database", "schema"}},
			{Name: "role and warehouse with blanks", Change: func(c map[string]any) { c["role"], c["warehouse"] = "a b", "c d" }, Attributes: []string{"role", "warehouse"}},
			{Name: "a key that is a path", Change: set("private_key", "/etc/key.p8"), Attributes: []string{"private_key"}},
			{Name: "a passphrase for a key without one", Change: set("private_key_passphrase", "secret"), Attributes: []string{"private_key_passphrase"}},
			{Name: "no credential", Change: func(c map[string]any) { delete(c, "private_key") }, Attributes: []string{"private_key"}},
			{Name: "two credentials", Change: set("password", "secret"), Attributes: []string{"password"}},
			{Name: "a key without a user", Change: func(c map[string]any) { delete(c, "user") }, Attributes: []string{"user"}},
			{Name: "a key from a variable that is not set", Change: set("private_key", ""), Attributes: []string{"private_key"}},
			{Name: "oidc without a token", Change: func(c map[string]any) { delete(c, "private_key"); c["workload_identity"] = "oidc" }, Attributes: []string{"token_file"}},
			{Name: "a token file that is not used", Change: set("token_file", "/run/token"), Attributes: []string{"token_file"}},
			{Name: "endpoint without a scheme", Change: set("endpoint", "127.0.0.1:8080"), Attributes: []string{"endpoint"}},
			{Name: "a view that is not known", Change: set("views", []string{"funnel"}), Attributes: []string{"views"}},
			{Name: "a relative spool", Change: set("spool_dir", "spool"), Attributes: []string{"spool_dir"}},
			{Name: "two mistakes", Change: func(c map[string]any) { c["schema"], c["spool_dir"] = "a-b", "x" }, Attributes: []string{"schema", "spool_dir"}},
		},
		Read: func(ctx context.Context, at destinationtest.Place) (map[string][]string, error) {
			return w.committed(ctx, at.Config["schema"].(string), at.Stream)
		},
		Stored: stored,
		Refused: []destinationtest.Row{{
			Line:  `{"device_id":null,"distinct_id":"u","event_name":"e","insert_id":"twice","properties":{"a":1,"a":2},"time":1780272000,"user_id":null}`,
			Flags: batch.DuplicateKey,
		}},
		OneProject: true,
	})
}

// The laws that another way of the rows to the service could break hold over an external
// stage. At Google and Azure those of crashes and lost answers are tried: the rest is the
// same.
func TestConformanceOfAnExternalStage(t *testing.T) {
	eachCloud(t, func(t *testing.T, o *outside) {
		laws := []string{"CheckSucceedsAndLeavesNothing", "RowsArriveByteForByte", "ALostReplyIsAnsweredByStatus", "ARetryAfterAKillIsAsIfNothingHadHappened", "AZombieCannotCommit", "AReplacedSetOutlivesAKill"}
		if strings.HasPrefix(o.root, "s3:") {
			laws = append(laws, "RowsOfManyDaysArriveEachInItsOwn", "TwoRunsAddUp", "ACutStreamIsNeverACommit", "AnOlderFenceIsRefused")
		}
		destinationtest.Run(t, destinationtest.Harness{
			Package: "github.com/penstock-io/penstock/cmd/penstock-destination-snowflake",
			Laws:    laws,
			Config:  func(destinationtest.T) map[string]any { return o.config() },
			Read: func(ctx context.Context, at destinationtest.Place) (map[string][]string, error) {
				return o.committed(ctx, at.Config["schema"].(string), at.Stream)
			},
			Stored: stored, OneProject: true,
		})
	})
}
