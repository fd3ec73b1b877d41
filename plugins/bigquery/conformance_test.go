package bigquery

import (
	"context"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

// pluginPackage is the main package of the plugin.
const pluginPackage = "github.com/penstock-io/penstock/cmd/penstock-destination-bigquery"

func TestConformance(t *testing.T) {
	w := startWarehouse(t)
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	destinationtest.Run(t, destinationtest.Harness{
		Package: pluginPackage,
		Record:  "testdata/conformance/bigqueryserver.json",
		Service: destinationtest.Service{Name: "test/standin/bigqueryserver", Kind: destinationtest.Fake},
		Config:  func(destinationtest.T) map[string]any { return w.config() },
		Bad: []destinationtest.BadConfig{
			{Name: "project with a dot", Change: set("gcp_project", "acme.mixpanel"), Attributes: []string{"gcp_project"}},
			{Name: "dataset with its project", Change: set("dataset", "acme:mixpanel"), Attributes: []string{"dataset"}},
			{Name: "dataset with a quote", Change: set("dataset", "a`; DROP TABLE x; --"), Attributes: []string{"dataset"}},
			{Name: "region with a blank", Change: set("region", "US West"), Attributes: []string{"region"}},
			{Name: "a dataset to create nowhere", Change: func(c map[string]any) { delete(c, "region") }, Attributes: []string{"region"}},
			{Name: "endpoint without a scheme", Change: set("endpoint", "127.0.0.1:9050"), Attributes: []string{"endpoint"}},
			{Name: "credentials that are a path", Change: set("credentials", "/etc/key.json"), Attributes: []string{"credentials"}},
			{Name: "credentials from a variable that is not set", Change: set("credentials", ""), Attributes: []string{"credentials"}},
			{Name: "impersonate without an at sign", Change: set("impersonate", "export"), Attributes: []string{"impersonate"}},
			{Name: "a view that is not known", Change: set("views", []string{"funnel"}), Attributes: []string{"views"}},
			{Name: "two mistakes", Change: func(c map[string]any) { c["keep_generations"], c["region"] = -1, "a/b" }, Attributes: []string{"keep_generations", "region"}},
		},
		Read:   w.read,
		Stored: stored,
		Refused: []destinationtest.Row{
			{
				Line:  `{"device_id":null,"distinct_id":"u","event_name":"e","insert_id":"deep","properties":{"a":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `},"time":1780272000,"user_id":null}`,
				Flags: batch.Deep,
			},
		},
		OneProject: true,
	})
}

// read returns the rows that a reader of a place sees.
func (w *warehouse) read(ctx context.Context, at destinationtest.Place) (map[string][]string, error) {
	return w.committed(ctx, at.Config["dataset"].(string), at.Stream)
}

// lawsOfStaging are the laws that another way of the rows to the service could break.
var lawsOfStaging = []string{
	"RowsOfManyDaysArriveEachInItsOwn", "RowsArriveByteForByte", "ACutStreamIsNeverACommit", "ALostReplyIsAnsweredByStatus",
	"ARetryAfterAKillIsAsIfNothingHadHappened", "AZombieCannotCommit", "AReplacedSetOutlivesAKill",
}

// lawsOfLoads are the laws that loads without a transaction could break.
var lawsOfLoads = append([]string{
	"TheSameDateMayComeTwice", "TwoRunsAddUp", "InventoryCountsWhatWasCommitted", "AFrozenPluginLosesNothing",
	"TheContentOfACommittedRunIsKept", "CopiesOfAHostCannotCommitOneNumber", "AnOlderFenceIsRefused",
}, lawsOfStaging...)

// With mode = "load" the laws hold, but readers may see rows before the commit.
func TestConformanceOfLoads(t *testing.T) {
	w := startWarehouse(t)
	destinationtest.Run(t, destinationtest.Harness{
		Package: pluginPackage, Laws: lawsOfLoads, VisibleEarly: true,
		Config: func(destinationtest.T) map[string]any { return w.loadMode() },
		Read:   w.read, Stored: stored, OneProject: true,
	})
}

// Through a staging bucket the laws hold.
func TestConformanceOfTheStagingBucket(t *testing.T) {
	w := startStaged(t)
	destinationtest.Run(t, destinationtest.Harness{
		Package: pluginPackage, Laws: lawsOfStaging,
		Config: func(destinationtest.T) map[string]any { return w.config() },
		Read:   w.read, Stored: stored, OneProject: true,
	})
}
