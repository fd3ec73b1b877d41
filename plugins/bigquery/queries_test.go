package bigquery

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

var documentedQuery = regexp.MustCompile("(?s)```sql bigquery\n-- ([a-z_]+)\n(.*?)```")

// The queries of the guide run on tables that the plugin has written, and count an
// event that is there twice once, and a user with two ids once.
func TestQueriesOfTheGuide(t *testing.T) {
	page, err := os.ReadFile("../../docs/destinations/bigquery.md")
	if err != nil {
		t.Fatal(err)
	}
	w := startWarehouse(t)
	config := w.config()
	config["dataset"], config["views"] = "mixpanel", []string{"resolved"}
	row := func(user, name, id string, at int, properties string) destinationtest.Row {
		return destinationtest.Row{Line: fmt.Sprintf(`{"device_id":null,"distinct_id":%q,"event_name":%q,"insert_id":%q,"properties":%s,"time":%d,"user_id":null}`, user, name, id, properties, 1780272000+at)}
	}
	chrome := `{"$browser":"Chrome","price":3}`
	mappings := testRun(sdk.Identity, 1, 1)
	mappings.Pipeline = "identity"
	runOne(t, w, config, mappings, content{"": {{Line: `{"distinct_id":"device-1","resolved_distinct_id":"ada"}`}}})
	runOne(t, w, config, testRun(sdk.Events, 1, 1), content{
		"2026-06-01": {
			row("device-1", "Signup", "1", 0, chrome), row("device-1", "Signup", "1", 0, chrome), row("ada", "View", "2", 1, chrome),
			row("bob", "Signup", "3", 2, chrome), row("eve", "Signup", "4", 3, `{"$browser":"Safari"}`),
		},
		"2026-06-02": {row("ada", "Purchase", "5", 86400, chrome), row("eve", "Purchase", "6", 86400, chrome)},
		"2026-06-30": {row("bob", "Purchase", "7", 29*86400, chrome)},
	})
	want := map[string]string{
		"unique_users": "[[2026-06-01 3] [2026-06-02 2] [2026-06-30 1]]", "unique_users_resolved": "[[2026-06-01 3] [2026-06-02 2] [2026-06-30 1]]",
		"funnel": "[[2 1]]", "clustered": "[]", "billed": "",
	}
	for _, q := range documentedQuery.FindAllStringSubmatch(string(page), -1) {
		expected, known := want[q[1]]
		delete(want, q[1])
		text := strings.Replace(q[2], "region-eu", "region-"+region, 1)
		rows, err := w.query(t.Context(), "mixpanel", text)
		if got := fmt.Sprint(rows); err != nil || !known || expected != "" && got != expected {
			t.Errorf("%s: %s, %v; want %s", q[1], got, err, expected)
		}
		if q[1] == "billed" && (len(rows) != 1 || rows[0][1] == "0" || rows[0][2] == "0") {
			t.Errorf("%s: %v", q[1], rows)
		}
	}
	for name := range want {
		t.Errorf("the guide has no query %s", name)
	}
	rows, err := w.query(t.Context(), "mixpanel", "SELECT event_date, browser FROM events_by_name WHERE event_name = 'Signup' ORDER BY time")
	if err != nil || len(rows) != 4 || fmt.Sprint(rows[3]) != "[2026-06-01 Safari]" {
		t.Errorf("the clustered table has %v, %v", rows, err)
	}
}
