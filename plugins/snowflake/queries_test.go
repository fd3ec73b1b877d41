package snowflake

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

var documentedQuery = regexp.MustCompile("(?s)```sql snowflake\n-- ([a-z_]+)\n(.*?);?\n```")

// The queries of the guide and of docs/queries.md run on views that the plugin has
// created, and count an event that is there twice once where they say so, and a user with
// two ids once.
func TestDocumentedQueries(t *testing.T) {
	w := startWarehouse(t)
	config := w.config()
	config["schema"], config["views"] = w.Schema, []string{"resolved"} // the readers' schema
	row := func(user, name, id string, at int, properties string) destinationtest.Row {
		return destinationtest.Row{Line: fmt.Sprintf(`{"device_id":null,"distinct_id":%q,"event_name":%q,"insert_id":%q,"properties":%s,"time":%d,"user_id":null}`, user, name, id, properties, 1780272000+at)}
	}
	chrome := `{"$browser":"Chrome","mp_processing_time_ms":1}`
	runOne(t, config, testRun(sdk.Identity, 1, 1), content{"": {{Line: `{"distinct_id":"device-1","resolved_distinct_id":"ada"}`}}})
	runOne(t, config, testRun(sdk.People, 1, 1), content{"": {
		{Line: `{"distinct_id":"ada","properties":{"$email":"ada@example.com","$last_seen":"2026-06-01"}}`},
		{Line: `{"distinct_id":"device-1","properties":{"$email":"old@example.com","$last_seen":"2026-06-02"}}`},
	}})
	runOne(t, config, testRun(sdk.Events, 1, 1), content{
		"2026-06-01": {
			row("device-1", "Signup", "1", 0, chrome), row("device-1", "Signup", "1", 0, `{"$browser":"Chrome","mp_processing_time_ms":2}`),
			row("ada", "View", "2", 1, chrome), row("bob", "Signup", "3", 2, `{"$browser":"Safari"}`),
		},
		"2026-06-02": {row("ada", "Purchase", "4", 86400, chrome)},
	})
	const first, second = "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"
	users := []string{first + " 2", second + " 1"}
	browser := `{ "$browser": "Chrome", "mp_processing_time_ms": `
	for page, want := range map[string]map[string][]string{
		"destinations/snowflake.md": {"unique_users": users, "unique_users_resolved": users, "property": {"Chrome 2", "Safari 1"}},
		"queries.md": {
			"unique_users": users, "events_per_user": {"ada 4 " + first + " " + second, "bob 1 2026-06-01T00:00:02Z 2026-06-01T00:00:02Z"},
			"events_with_profile": {
				"Purchase " + second + " ada ada@example.com", "Signup " + first + " ada ada@example.com", "Signup " + first + " ada ada@example.com",
				"Signup 2026-06-01T00:00:02Z bob <nil>", "View 2026-06-01T00:00:01Z ada ada@example.com",
			},
			"dedup": {
				"<nil> ada Purchase 4 " + browser + "1 } " + second + " <nil>", "<nil> ada View 2 " + browser + "1 } 2026-06-01T00:00:01Z <nil>",
				`<nil> bob Signup 3 { "$browser": "Safari" } 2026-06-01T00:00:02Z <nil>`, "<nil> device-1 Signup 1 " + browser + "2 } " + first + " <nil>",
			},
		},
	} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range documentedQuery.FindAllStringSubmatch(string(text), -1) {
			expected, known := want[q[1]]
			delete(want, q[1])
			rows, err := w.query(t.Context(), q[2])
			var got []string
			for _, row := range rows {
				got = append(got, strings.Join(strings.Fields(strings.Trim(fmt.Sprint(row), "[]")), " "))
			}
			slices.Sort(got)
			if err != nil || !known || !slices.Equal(got, expected) {
				t.Errorf("%s, %s: %q, %v; want %q", page, q[1], got, err, expected)
			}
		}
		for name := range want {
			t.Errorf("%s has no query %s", page, name)
		}
	}
}
