package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	sf "github.com/snowflakedb/gosnowflake/v2"

	"github.com/penstock-io/penstock/test/standin"
)

// A request that the client gives up is aborted: its statement changes nothing, and the
// session goes on (user-guide/querying-cancel-statements).
func TestAbortedRequests(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	h := s.Hold(standin.SnowflakePoint{Statement: "^INSERT INTO LEDGER"})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := c.ExecContext(ctx, "INSERT INTO LEDGER VALUES (1, 1)")
		ended <- err
	}()
	h.Reached()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled statement: %v", err)
	}
	if got := single(t, c, "SELECT COUNT(*) FROM LEDGER"); got != "0" {
		t.Errorf("%s rows of a cancelled statement", got)
	}
	statements, _ := s.Statements()
	found := false
	for _, one := range statements {
		found = found || strings.HasPrefix(one.Text, "INSERT") && one.Code == "000604"
	}
	if !found {
		t.Error("no INSERT ended with 000604")
	}
}

// A statement that goes on without its client can be asked for by its id.
func TestAsynchronousStatements(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	h := s.Hold(standin.SnowflakePoint{Statement: "^SELECT 41"})
	ids := make(chan string, 1)
	r, err := c.QueryContext(sf.WithQueryIDChan(sf.WithAsyncMode(t.Context()), ids), "SELECT 41 + 1")
	if err != nil {
		t.Fatal(err)
	}
	id := <-ids
	h.Reached()
	status := func() (found *sf.SnowflakeQueryStatus) {
		t.Helper()
		if err := c.Raw(func(raw any) (err error) {
			found, err = raw.(sf.SnowflakeConnection).GetQueryStatus(t.Context(), id)
			return err
		}); err != nil && failure(t, err).Number != sf.ErrQueryIsRunning {
			t.Fatal(err)
		}
		return found
	}
	status()
	h.Release()
	if !r.Next() {
		t.Fatal(r.Err())
	}
	var got string
	if err := r.Scan(&got); err != nil || got != "42" {
		t.Errorf("the result is %s, %v", got, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if found := status(); found.SQLText != "SELECT 41 + 1" {
		t.Errorf("the status is of %q", found.SQLText)
	}
}

// Statements about objects, parameters and grants: sql-reference/sql/show and its pages.
func TestListings(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{Timezone: "Europe/Berlin"})
	c := furnish(t, s)
	exec_(t, c, "ALTER SESSION SET QUERY_TAG = 'penstock'", "CREATE VIEW V AS SELECT ID FROM LEDGER")
	for statement, want := range map[string]string{
		"SHOW PARAMETERS LIKE 'QUERY_TAG' IN SESSION":                 "QUERY_TAG|penstock||SESSION||STRING",
		"SHOW PARAMETERS LIKE 'timezone' IN SESSION":                  "TIMEZONE|Europe/Berlin|America/Los_Angeles|ACCOUNT||STRING",
		"SHOW PARAMETERS LIKE 'QUOTED%' IN ACCOUNT":                   "QUOTED_IDENTIFIERS_IGNORE_CASE|false|false|||BOOLEAN",
		"DESCRIBE TABLE RAW":                                          "DATA|VARIANT|COLUMN|Y||N|N|||",
		"DESC VIEW V":                                                 "ID|NUMBER(38,0)|COLUMN|Y||N|N|||",
		"SELECT CURRENT_ROLE(), CURRENT_DATABASE(), CURRENT_SCHEMA()": "PENSTOCK_ROLE|ANALYTICS|PENSTOCK",
		"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.VIEWS":             "V",
		"SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES":              "5",
		"SELECT CURRENT_TIMESTAMP() > '2020-01-01'":                   "1",
		"SELECT TO_VARCHAR(TO_TIMESTAMP_NTZ(1717200000))":             "2024-06-01 00:00:00.000",
		"SELECT TO_DATE(CONVERT_TIMEZONE('UTC','Europe/Berlin',TO_TIMESTAMP(1717192800::NUMBER)))::VARCHAR": "2024-06-01",
	} {
		if got := strings.Join(rows(t, c, statement), "\n"); got != want {
			t.Errorf("%s: %q, want %q", statement, got, want)
		}
	}
	rows(t, c, "SHOW PARAMETERS LIKE 'TIMEZONE'")
	if got := single(t, c, `SELECT "key", "value" FROM TABLE(RESULT_SCAN(LAST_QUERY_ID()))`); got != "TIMEZONE|Europe/Berlin" {
		t.Errorf("RESULT_SCAN: %s", got)
	}
	var names []string
	for _, row := range rows(t, c, "SHOW TABLES") {
		names = append(names, strings.Split(row, "|")[1])
	}
	if got := strings.Join(names, " "); got != "APPENDED FOREIGN_RAW LEDGER RAW" {
		t.Errorf("SHOW TABLES: %s: only tables that the role has privileges on", got)
	}
	var grants []string
	for _, row := range rows(t, c, "SHOW GRANTS ON SCHEMA ANALYTICS.PENSTOCK") {
		if f := strings.Split(row, "|"); f[5] == "PENSTOCK_ROLE" {
			grants = append(grants, f[1])
		}
	}
	if got := strings.Join(grants, ","); got != "CREATE STAGE,CREATE TABLE,CREATE VIEW,USAGE" {
		t.Errorf("SHOW GRANTS: %s", got)
	}
}

// Grants on a view stay with CREATE VIEW IF NOT EXISTS and COPY GRANTS, and go with OR
// REPLACE (sql-reference/sql/create-view).
func TestGrantsOfViews(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	s.SQL("CREATE ROLE READER", "CREATE USER READER_USER PASSWORD = 'secret' DEFAULT_ROLE = READER", "GRANT ROLE READER TO USER READER_USER", "GRANT USAGE ON DATABASE ANALYTICS TO ROLE READER", "GRANT USAGE ON SCHEMA ANALYTICS.PENSTOCK TO ROLE READER", "GRANT USAGE ON WAREHOUSE PENSTOCK_WH TO ROLE READER")
	exec_(t, c, "CREATE VIEW V AS SELECT ID FROM LEDGER", "GRANT SELECT ON VIEW V TO ROLE READER")
	config := config(s)
	config.Authenticator, config.User, config.Password, config.Role = sf.AuthTypeSnowflake, "READER_USER", "secret", "READER"
	reader := open(t, config)
	reads := func() bool {
		_, err := reader.ExecContext(t.Context(), "SELECT ID FROM V")
		return err == nil
	}
	for _, x := range []struct {
		statement string
		want      bool
	}{
		{"CREATE VIEW IF NOT EXISTS V AS SELECT ID FROM LEDGER", true},
		{"CREATE OR REPLACE VIEW V COPY GRANTS AS SELECT ID FROM LEDGER", true},
		{"CREATE OR REPLACE VIEW V AS SELECT ID FROM LEDGER", false},
	} {
		exec_(t, c, x.statement)
		if got := reads(); got != x.want {
			t.Errorf("after %s the reader reads: %t, want %t", x.statement, got, x.want)
		}
	}
}

// Another session can see the state before a commit while READ_CONSISTENCY_MODE is
// SESSION. One that takes the table's lock sees it, and so does every session where the
// account says GLOBAL (sql-reference/transactions).
func TestCommitsThatOtherSessionsSeeLate(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c, other := furnish(t, s), session(t, s)
	exec_(t, c, "INSERT INTO LEDGER VALUES (1, 1)")
	s.Lag(true)
	exec_(t, c, "UPDATE LEDGER SET FENCE = 2 WHERE ID = 1")
	count := "SELECT SUM(FENCE) FROM LEDGER"
	if mine, others := single(t, c, count), single(t, other, count); mine != "2" || others != "1" {
		t.Errorf("the session itself sees %s, another one %s", mine, others)
	}
	s.SQL("ALTER ACCOUNT SET READ_CONSISTENCY_MODE = 'GLOBAL'")
	if got := single(t, other, count); got != "2" {
		t.Errorf("with GLOBAL another session sees %s", got)
	}
	s.SQL("ALTER ACCOUNT UNSET READ_CONSISTENCY_MODE")
	exec_(t, other, "UPDATE LEDGER SET FENCE = FENCE WHERE FALSE")
	if got := single(t, other, count); got != "2" {
		t.Errorf("a session with the lock sees %s", got)
	}
	s.Lag(false)
}
