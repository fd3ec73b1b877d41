package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
)

const snowflakeBlock = `
destination "snowflake" "warehouse" {
  account     = %q
  user        = %q
  private_key = file("key.p8")
  role        = %q
  warehouse   = %q
  database    = %q
  schema      = %q
  views       = ["resolved"]
  endpoint    = %q
}
`

// snowflakeSite exports all three streams to a stand-in for Snowflake.
type snowflakeSite struct {
	*site
	server *standin.Snowflake
	pool   *sql.DB
}

func newSnowflakeSite(t *testing.T) *snowflakeSite {
	t.Helper()
	server := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	t.Setenv("SSL_CERT_FILE", server.Certificate)
	s := newPeopleSite(t, fmt.Sprintf(snowflakeBlock, server.Account, server.User, server.Role, server.Warehouse, server.Database, server.Schema, server.URL), "snowflake.warehouse")
	s.Append("penstock.hcl", identityPipeline("snowflake.warehouse"))
	s.inZone()
	s.Write("key.p8", server.PrivateKey)
	pool := sql.OpenDB(gosnowflake.NewConnector(gosnowflake.SnowflakeDriver{}, gosnowflake.Config{
		Protocol: "http", Host: server.Host, Port: server.Port, Account: server.Account, User: server.User, Authenticator: gosnowflake.AuthTypeJwt, PrivateKey: server.Key,
		Role: server.Role, Warehouse: server.Warehouse, Database: server.Database, Schema: server.Schema, DisableOCSPChecks: true,
	}))
	t.Cleanup(func() { _ = pool.Close() })
	return &snowflakeSite{s, server, pool}
}

// snowflakeColumns are those of each view, by the names that rows have.
var snowflakeColumns = map[string][]string{
	"mp_master_event":           {"device_id", "distinct_id", "event_name", "insert_id", "properties", "time", "user_id"},
	"mp_people_data":            {"distinct_id", "properties"},
	"mp_identity_mappings_data": {"distinct_id", "resolved_distinct_id"},
}

// rows returns the rows of a view, each as a JSON object.
func (w *snowflakeSite) rows(view string) []string {
	w.t.Helper()
	columns := snowflakeColumns[view]
	text := strings.NewReplacer("time", "DATE_PART(EPOCH_SECOND, time)", "properties", "TO_JSON(properties)").Replace(strings.Join(columns, ", "))
	found, err := w.pool.QueryContext(w.t.Context(), "SELECT "+text+" FROM "+view)
	if err != nil {
		w.t.Fatal(err)
	}
	defer found.Close()
	var list []string
	for found.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			w.t.Fatal(err)
		}
		row := map[string]any{}
		for i, name := range columns {
			switch {
			case !values[i].Valid:
				row[name] = nil
			case name == "properties", name == "time":
				row[name] = json.RawMessage(values[i].String)
			default:
				row[name] = values[i].String
			}
		}
		data, err := json.Marshal(row)
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, canonical(w.t, string(data)))
	}
	if err := found.Err(); err != nil {
		w.t.Fatal(err)
	}
	return list
}

// same compares the rows of all views with those of an undisturbed export of the same
// records to a directory.
func (w *snowflakeSite) same(undisturbed *site) {
	w.t.Helper()
	for view := range snowflakeColumns {
		var want []string
		for object := range undisturbed.Objects("out") {
			if !strings.Contains(object, "/"+view+"/") || !strings.HasSuffix(object, ".json.gz") {
				continue
			}
			for _, line := range penstocktest.ReadObject(w.t, filepath.Join(undisturbed.Dir, "out", object)) {
				want = append(want, canonical(w.t, line))
			}
		}
		got := w.rows(view)
		if len(want) == 0 {
			w.t.Errorf("%s: the undisturbed export has no row", view)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			w.t.Errorf("%s: %d rows, want %d", view, len(got), len(want))
			penstocktest.SameRows(w.t, got, want)
		}
	}
}

// count returns the number that a query answers.
func (w *snowflakeSite) count(query string) int {
	w.t.Helper()
	var text string
	if err := w.pool.QueryRowContext(w.t.Context(), query).Scan(&text); err != nil {
		w.t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// All three streams arrive row by row, with late events and replaced sets, through
// processes that are killed and frozen around the commit.
func TestSnowflakeThroughKills(t *testing.T) {
	disturbances := []penstocktest.Disturbance{
		{}, {At: "plugin.write:2"}, {At: "plugin.commit.before"}, {At: "plugin.commit.after"}, {At: "export.committed"}, {At: "plugin.commit.after", Freezes: true},
	}
	w := newSnowflakeSite(t)
	undisturbed := newPeopleSite(t, localDestination, "localfs.out")
	undisturbed.Append("penstock.hcl", identityPipeline("localfs.out"))
	undisturbed.inZone()
	w.Says(w.Penstock(nil, "destinations", "check", "snowflake.warehouse"), 0)
	people, signedIn := profiles{}, 0
	for n, disturbance := range disturbances {
		before := people.clone()
		w.round(n, people)
		undisturbed.round(n, before)
		if n%4 == 0 {
			w.signIns(n)
			undisturbed.signIns(n)
			signedIn += 5
		}
		if disturbance.At != "" {
			w.Disturbed(disturbance)
		}
		w.Once()
		if n%3 == 2 {
			undisturbed.Once()
			w.same(undisturbed)
		}
	}
	if n := w.count("SELECT COUNT(*) FROM MP_MASTER_EVENT_RESOLVED WHERE EVENT_NAME = 'Sign in'"); n != signedIn {
		t.Errorf("MP_MASTER_EVENT_RESOLVED has %d of the events, want %d", n, signedIn)
	}
	if n := w.count("SELECT COUNT(*) FROM PENSTOCK_LEDGER_MP_MASTER_EVENT"); n != 2 {
		t.Errorf("the ledger has %d rows", n)
	}
}
