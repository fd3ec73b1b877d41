package bigquery

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/destinationtest"
)

// removeCopies is the script of the guide that changes rows. It has a test of its own.
var removeCopies = regexp.MustCompile("(?s)```sql\n-- remove_copies\n(.*?)```")

var documentedQuery = regexp.MustCompile("(?s)```sql bigquery\n-- ([a-z_]+)\n(.*?)```")

// guide returns the text of the guide.
func guide(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/destinations/bigquery.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// The script of the guide removes copies of a day's rows, and no other row: afterwards the inventory
// finds no difference.
func TestTheGuideRemovesCopies(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	config["dataset"] = "mixpanel"
	c := events("one", "2026-06-01", "2026-06-02")
	runOne(t, w, config, testRun(sdk.Events, 1, 1), c)
	deep := sdk.InventoryQuery{Run: testRun(sdk.Events, 1, 0), Deep: true}
	whole := inventoryOf(t, w.open(t, config), deep)
	columns := names(columnsOf(sdk.Events))
	for range 2 {
		w.mustQuery(t, config, "INSERT INTO "+eventsTable+" (_PARTITIONTIME, "+columns+") SELECT _PARTITIONTIME, "+columns+" FROM "+eventsTable+
			" WHERE DATE(_PARTITIONTIME) = '2026-06-01' AND distinct_id = 'u2'")
	}
	if got := inventoryOf(t, w.open(t, config), deep); slices.Equal(got, whole) {
		t.Errorf("the inventory does not find the copies:\n%s", strings.Join(got, "\n"))
	}
	script := removeCopies.FindStringSubmatch(guide(t))
	if script == nil {
		t.Fatal("the guide has no script that removes copies")
	}
	w.mustQuery(t, config, script[1])
	w.expect(t, "mixpanel", sdk.Events, c.want(), 1)
	if got := inventoryOf(t, w.open(t, config), deep); !slices.Equal(got, whole) {
		t.Errorf("after the script the inventory is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(whole, "\n"))
	}
}

// The queries of the guide run on tables that the plugin has written, and count an
// event that is there twice once, and a user with two ids once.
func TestQueriesOfTheGuide(t *testing.T) {
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
	for _, q := range documentedQuery.FindAllStringSubmatch(guide(t), -1) {
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
