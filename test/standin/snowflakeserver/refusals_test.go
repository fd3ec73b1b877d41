package main

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/test/standin"
)

// docs begins the address of each page of Snowflake's documentation.
const docs = "https://docs.snowflake.com/en/"

// refusal is a statement that Snowflake refuses, with the page that says so. Where a page
// names no code or text, they are those that users have reported.
type refusal struct {
	name, page string
	before     []string // run first, by the same session
	statement  string
	code       int
	state      string
	text       string // is in the message
}

var refusals = []refusal{
	{"second statement in one request", "developer-guide/sql-api/submitting-multiple-statements", nil, "SELECT 1; SELECT 2", 8, "0A000", "Actual statement count 2 did not match the desired statement count 1."},
	{"syntax", "sql-reference/sql/create-table", nil, "CREATE TABLE X (A NUMBER", 1003, "42000", "syntax error line 1 at position 24 unexpected '<EOF>'."},
	{"reserved word as a name", "sql-reference/reserved-keywords", nil, "CREATE TABLE ORDER (A NUMBER)", 1003, "42000", "unexpected 'ORDER'"},
	{"unknown table", "sql-reference/sql/select", nil, "SELECT * FROM NOWHERE", 2003, "42S02", "Object 'NOWHERE' does not exist or not authorized."},
	{"unknown column", "sql-reference/sql/select", nil, "SELECT MISSING FROM LEDGER", 904, "42000", "invalid identifier 'MISSING'"},
	{"case of quoted names", "sql-reference/identifiers-syntax", nil, `SELECT "id" FROM LEDGER`, 904, "42000", `invalid identifier '"id"'`},
	{"unknown function", "sql-reference/functions-all", nil, "SELECT JSON_EXTRACT(DATA, 'a') FROM RAW", 2140, "42601", "Unknown function JSON_EXTRACT"},
	{"unknown type", "sql-reference/intro-summary-data-types", nil, "CREATE TABLE X (A JSON)", 2040, "42601", "Unsupported data type 'JSON'."},
	{"name that is taken", "sql-reference/sql/create-table", nil, "CREATE TABLE LEDGER (A NUMBER)", 2002, "42710", "Object 'ANALYTICS.PENSTOCK.LEDGER' already exists."},
	{"OR REPLACE with IF NOT EXISTS", "sql-reference/sql/create-table", nil, "CREATE OR REPLACE TABLE IF NOT EXISTS LEDGER (A NUMBER)", 2251, "42601", "options IF NOT EXISTS and OR REPLACE are incompatible."},
	{"clustering key of type VARIANT", "user-guide/tables-clustering-keys", nil, "ALTER TABLE RAW CLUSTER BY (DATA:time)", 2296, "42601", "Unsupported type 'VARIANT' for clustering keys"},
	{"clustering key that changes", "user-guide/tables-clustering-keys", nil, "ALTER TABLE RAW CLUSTER BY (TO_DATE(CURRENT_TIMESTAMP()))", 2296, "42601", "non-deterministic"},
	{"text that is not a number", "sql-reference/functions/to_decimal", nil, "SELECT 'twelve'::NUMBER", 100038, "22018", "Numeric value 'twelve' is not recognized"},
	{"variant that is not a number", "sql-reference/data-type-conversion", nil, `SELECT PARSE_JSON('{"a":{}}'):a::NUMBER`, 100071, "22000", "Failed to cast variant value {} to FIXED"},
	{"division by zero", "sql-reference/functions/div0", nil, "SELECT 1/0", 100051, "22012", "Division by zero"},
	{"text that is not JSON", "sql-reference/functions/parse_json", nil, "SELECT PARSE_JSON('{')", 100069, "22P02", "Error parsing JSON"},
	{"duplicate names in PARSE_JSON", "sql-reference/functions/parse_json", nil, `SELECT PARSE_JSON('{"a":1,"a":2}')`, 100069, "22P02", `duplicate object attribute "a"`},
	{"PARSE_JSON in VALUES", "sql-reference/sql/insert", nil, "INSERT INTO RAW VALUES (PARSE_JSON('{}'))", 2014, "22000", "Invalid expression [PARSE_JSON('{}')] in VALUES clause"},
	{"wrong number of values", "sql-reference/sql/insert", nil, "INSERT INTO LEDGER VALUES (1)", 2020, "21S01", "expecting 2 but got 1"},
	{"NULL in NOT NULL", "sql-reference/constraints-overview", nil, "INSERT INTO LEDGER VALUES (NULL, 1)", 100072, "22000", "NULL result in a non-nullable column"},
	{"text that is too long", "sql-reference/data-types-text", []string{"CREATE TABLE SHORT (A VARCHAR(2))"}, "INSERT INTO SHORT VALUES ('abc')", 100078, "22000", "is too long and would be truncated"},
	{"unknown parameter", "sql-reference/sql/alter-session", nil, "ALTER SESSION SET NO_SUCH = 1", 1420, "22023", "invalid parameter 'NO_SUCH'"},
	{"value of a parameter", "sql-reference/parameters", nil, "ALTER SESSION SET TRANSACTION_ABORT_ON_ERROR = 'maybe'", 1008, "22023", "invalid value [maybe] for parameter 'TRANSACTION_ABORT_ON_ERROR'"},
	{"parameter of an account", "release-notes/2025/other/2025-09-19-read-consistency-mode", nil, "ALTER SESSION SET READ_CONSISTENCY_MODE = 'global'", 1420, "22023", "invalid parameter 'READ_CONSISTENCY_MODE'"},
	{"unknown time zone", "sql-reference/functions/convert_timezone", nil, "SELECT CONVERT_TIMEZONE('UTC', 'Mars/Olympus', TO_TIMESTAMP_NTZ(0))", 1007, "22023", "invalid value ['Mars/Olympus']"},
	{"unknown stage", "sql-reference/sql/list", nil, "LIST @NOSTAGE", 2003, "02000", "Stage 'ANALYTICS.PENSTOCK.NOSTAGE' does not exist or not authorized."},
	{"option of PUT", "sql-reference/sql/put", nil, "PUT file:///tmp/none @STAGE FORCE = TRUE", 1006, "42601", "invalid parameter 'FORCE'"},
	{"option of COPY", "sql-reference/sql/copy-into-table", nil, "COPY INTO RAW FROM @STAGE FILE_FORMAT = (TYPE = JSON) OVERWRITE = TRUE", 1006, "42601", "invalid parameter 'OVERWRITE'"},
	{"option of a file format", "sql-reference/sql/create-file-format", nil, "COPY INTO RAW FROM @STAGE FILE_FORMAT = (TYPE = JSON FIELD_DELIMITER = ',')", 1006, "42601", "invalid parameter 'FIELD_DELIMITER'"},
	{"file that is missing", "sql-reference/sql/copy-into-table", nil, "COPY INTO RAW FROM @STAGE/run-1/ FILES = ('none.json.gz') " + jsonFormat, 91016, "22000", "Remote file 'stage/run-1/none.json.gz' was not found."},
	{"more than 1,000 files", "sql-reference/sql/copy-into-table", nil, "COPY INTO RAW FROM @STAGE/ FILES = (" + strings.TrimSuffix(strings.Repeat("'f',", 1001), ",") + ") " + jsonFormat, 1013, "22000", "exceeds the maximum of 1000"},
	{"JSON into several columns", "sql-reference/sql/copy-into-table", nil, "COPY INTO LEDGER FROM @STAGE/ " + jsonFormat, 2019, "0A000", "one and only one column of variant, object, or array type"},
	{"INSERT into a view", "sql-reference/sql/copy-into-table", []string{"CREATE VIEW V AS SELECT 1 AS A"}, "INSERT INTO V VALUES (1)", 2003, "42601", "Object found is of type 'VIEW'"},
	{"view of an unknown column", "sql-reference/sql/create-view", nil, "CREATE VIEW W AS SELECT NOTHING FROM RAW", 904, "42000", "invalid identifier 'NOTHING'"},
	{"view with a name twice", "sql-reference/sql/create-view", nil, "CREATE VIEW W AS SELECT 1 AS A, 2 AS A", 2025, "42S21", "duplicate column name 'A'"},
	{"path of a number", "user-guide/querying-semistructured", nil, "SELECT ID:a FROM LEDGER", 1044, "42P13", "Invalid argument types for function 'GET'"},
	{"USE of a missing schema", "sql-reference/sql/use-schema", nil, "USE SCHEMA NOWHERE", 2043, "02000", "Object does not exist, or operation cannot be performed."},
	{"role that the user lacks", "sql-reference/sql/use-role", nil, "USE ROLE SYSADMIN", 3001, "42501", "Requested role 'SYSADMIN' is not assigned to the executing user."},
	{"schema without the privilege", "sql-reference/sql/create-schema", nil, "CREATE SCHEMA ANALYTICS.OTHER", 3001, "42501", "Insufficient privileges to operate on database 'ANALYTICS'"},
	{"schema that exists, without the privilege", "sql-reference/sql/create-schema", nil, "CREATE SCHEMA IF NOT EXISTS ANALYTICS.PENSTOCK", 3001, "42501", "Insufficient privileges to operate on database 'ANALYTICS'"},
	{"role without the privilege", "sql-reference/sql/create-role", nil, "CREATE ROLE R", 3001, "42501", "Insufficient privileges to operate on account 'STANDIN'"},
	{"grant without ownership", "sql-reference/sql/grant-privilege", nil, "GRANT USAGE ON DATABASE ANALYTICS TO ROLE PUBLIC", 3001, "42501", "Insufficient privileges"},
	{"privilege of another kind", "sql-reference/sql/grant-privilege", nil, "GRANT READ ON TABLE RAW TO ROLE PUBLIC", 1003, "42601", "Invalid object type 'TABLE' for privilege 'READ'"},
	{"ALTER of a foreign table", "sql-reference/sql/alter-table", nil, "ALTER TABLE FOREIGN_RAW CLUSTER BY (ID)", 3001, "42501", "Insufficient privileges to operate on table 'FOREIGN_RAW'"},
	{"insert without the privilege", "user-guide/security-access-control-privileges", nil, "INSERT INTO FOREIGN_RAW VALUES (1)", 3001, "42501", "Insufficient privileges to operate on table 'FOREIGN_RAW'"},
	{"table without any privilege", "user-guide/security-access-control-privileges", nil, "SELECT * FROM HIDDEN", 2003, "42S02", "Object 'HIDDEN' does not exist or not authorized."},
	{"INSERT OVERWRITE without DELETE", "sql-reference/sql/insert", []string{"USE SCHEMA PENSTOCK"}, "INSERT OVERWRITE INTO APPENDED VALUES (1)", 3001, "42501", "Insufficient privileges to operate on table 'APPENDED'"},
	{"location that an integration forbids", "sql-reference/sql/create-stage", nil, "CREATE STAGE E URL = 's3://elsewhere/x/' STORAGE_INTEGRATION = LAKE", 3167, "42601", "is not allowed by integration 'LAKE'"},
	{"URL of another form", "sql-reference/sql/create-stage", nil, "CREATE STAGE E URL = 'gs://lake/x/' STORAGE_INTEGRATION = LAKE", 1008, "22023", "invalid URL prefix found in: 'gs://lake/x/'"},
	{"URL of Azure without the service", "sql-reference/sql/create-stage", nil, "CREATE STAGE E URL = 'azure://acme/lake/x/' STORAGE_INTEGRATION = LAKE", 1008, "22023", "invalid URL prefix"},
	{"location of another cloud than the integration's", "sql-reference/sql/create-stage", nil, "CREATE STAGE E URL = 'gcs://lake/x/' STORAGE_INTEGRATION = LAKE", 3167, "42601", "is not allowed by integration 'LAKE'"},
	{"integration that is missing", "sql-reference/sql/create-stage", nil, "CREATE STAGE E URL = 's3://lake/x/' STORAGE_INTEGRATION = NOLAKE", 2003, "02000", "Integration 'NOLAKE' does not exist or not authorized."},
	{"PUT to an external stage", "sql-reference/sql/put", nil, "PUT file:///tmp/none @LAKE_STAGE", 91003, "0A000", "external stage"},
}

// furnish makes the objects that the refusals name.
func furnish(t *testing.T, s *standin.Snowflake) *sql.Conn {
	t.Helper()
	s.SQL("CREATE TABLE ANALYTICS.PENSTOCK.FOREIGN_RAW (ID NUMBER)", "GRANT SELECT ON TABLE ANALYTICS.PENSTOCK.FOREIGN_RAW TO ROLE "+s.Role, "CREATE TABLE ANALYTICS.PENSTOCK.HIDDEN (ID NUMBER)",
		"CREATE TABLE ANALYTICS.PENSTOCK.APPENDED (ID NUMBER)", "GRANT INSERT, SELECT ON TABLE ANALYTICS.PENSTOCK.APPENDED TO ROLE "+s.Role,
		"CREATE STORAGE INTEGRATION LAKE TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::1:role/x' STORAGE_ALLOWED_LOCATIONS = ('s3://lake/')",
		"GRANT USAGE ON INTEGRATION LAKE TO ROLE "+s.Role)
	c := session(t, s)
	exec_(t, c, "CREATE TABLE RAW (DATA VARIANT)", "CREATE TABLE LEDGER (ID NUMBER NOT NULL, FENCE NUMBER)", "CREATE STAGE STAGE", "CREATE STAGE LAKE_STAGE URL = 's3://lake/exports/' STORAGE_INTEGRATION = LAKE")
	return c
}

func TestRefusals(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	for _, r := range refusals {
		t.Run(r.name, func(t *testing.T) {
			exec_(t, c, r.before...)
			result, err := c.QueryContext(t.Context(), r.statement)
			if err == nil {
				_ = result.Close()
				t.Fatalf("%s is not refused; %s%s says that it is", r.statement, docs, r.page)
			}
			f := failure(t, err)
			if f.Number != r.code || f.SQLState != r.state || !strings.Contains(f.Message, r.text) {
				t.Errorf("refused with %06d (%s) %q, want %06d (%s) with %q (%s%s)", f.Number, f.SQLState, f.Message, r.code, r.state, r.text, docs, r.page)
			}
		})
	}
}

// Without AUTOCOMMIT a change begins a transaction that stays open
// (sql-reference/transactions).
func TestWithoutAutocommit(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	other := session(t, s)
	count := func() string { return single(t, other, "SELECT COUNT(*) FROM LEDGER") }
	exec_(t, c, "ALTER SESSION SET AUTOCOMMIT = FALSE", "INSERT INTO LEDGER VALUES (1, 1)")
	if got := single(t, c, "SELECT CURRENT_TRANSACTION() IS NULL"); got != "0" || count() != "0" {
		t.Errorf("no transaction: %s; rows before COMMIT: %s", got, count())
	}
	exec_(t, c, "INSERT INTO LEDGER VALUES (2, 1)", "ROLLBACK")
	if got := single(t, c, "SELECT COUNT(*) FROM LEDGER"); got != "0" {
		t.Errorf("%s rows after ROLLBACK, want 0", got)
	}
	exec_(t, c, "INSERT INTO LEDGER VALUES (3, 1)", "COMMIT", "ALTER SESSION SET AUTOCOMMIT = TRUE", "INSERT INTO LEDGER VALUES (4, 1)")
	if got := count(); got != "2" {
		t.Errorf("%s rows after COMMIT and AUTOCOMMIT, want 2", got)
	}
}

// A refused statement leaves an explicit transaction open, and DDL commits it
// (sql-reference/transactions).
func TestFailedStatementsLeaveTransactionsOpen(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	other := session(t, s)
	count := func() string { return single(t, other, "SELECT COUNT(*) FROM LEDGER") }
	fail := func() {
		if _, err := c.ExecContext(t.Context(), "INSERT INTO LEDGER VALUES (NULL, 1)"); err == nil {
			t.Fatal("the failing statement succeeded")
		}
	}
	exec_(t, c, "BEGIN", "INSERT INTO LEDGER VALUES (1, 1)")
	fail()
	if got := count(); got != "0" {
		t.Errorf("%s rows before COMMIT, want 0", got)
	}
	exec_(t, c, "COMMIT")
	if got := count(); got != "1" {
		t.Errorf("%s rows after COMMIT, want 1", got)
	}
	exec_(t, c, "BEGIN", "INSERT INTO LEDGER VALUES (2, 1)", "CREATE TABLE DDL_COMMITS (A NUMBER)", "ROLLBACK")
	if got := count(); got != "2" {
		t.Errorf("%s rows after DDL and ROLLBACK, want 2: DDL commits", got)
	}
	exec_(t, c, "ALTER SESSION SET TRANSACTION_ABORT_ON_ERROR = TRUE", "BEGIN", "INSERT INTO LEDGER VALUES (3, 1)")
	fail()
	_, err := c.ExecContext(t.Context(), "INSERT INTO LEDGER VALUES (4, 1)")
	if f := failure(t, err); f.Number != 90244 {
		t.Errorf("a statement of an aborted transaction: %v", f)
	}
	exec_(t, c, "COMMIT")
	if got := count(); got != "2" {
		t.Errorf("%s rows after COMMIT of an aborted transaction, want 2", got)
	}
}

// UPDATE locks its table until COMMIT; another one waits, and sees what was committed
// (sql-reference/transactions: READ COMMITTED).
func TestUpdatesLockTheTable(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c, other := furnish(t, s), session(t, s)
	exec_(t, c, "INSERT INTO LEDGER VALUES (1, 7)", "BEGIN", "UPDATE LEDGER SET FENCE = 8 WHERE ID = 1 AND FENCE = 7")
	exec_(t, other, "ALTER SESSION SET LOCK_TIMEOUT = 1", "BEGIN", "INSERT INTO LEDGER VALUES (2, 1)")
	_, err := other.ExecContext(t.Context(), "UPDATE LEDGER SET FENCE = 9 WHERE ID = 1 AND FENCE = 7")
	if f := failure(t, err); f.Number != 625 || !strings.Contains(f.Message, "has locked table 'LEDGER'") {
		t.Errorf("UPDATE of a locked table: %v", f)
	}
	exec_(t, other, "ALTER SESSION SET LOCK_TIMEOUT = 600")
	changed := make(chan string)
	go func() {
		r, err := other.ExecContext(t.Context(), "UPDATE LEDGER SET FENCE = 9 WHERE ID = 1 AND FENCE = 7")
		if err != nil {
			changed <- err.Error()
			return
		}
		n, err := r.RowsAffected()
		changed <- fmt.Sprint(n, err)
	}()
	exec_(t, c, "COMMIT")
	if got := <-changed; got != "0 <nil>" {
		t.Errorf("the second UPDATE changed %s rows, want 0: the fence has moved", got)
	}
	exec_(t, other, "ROLLBACK")
	if got := strings.Join(rows(t, c, "SELECT ID, FENCE FROM LEDGER"), " "); got != "1|8" {
		t.Errorf("the ledger is %s, want 1|8", got)
	}
}

// A session that holds a lock and does nothing for five minutes loses its transaction
// when another one waits (sql-reference/transactions).
func TestIdleTransactionsAreAborted(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c, other := furnish(t, s), session(t, s)
	exec_(t, c, "INSERT INTO LEDGER VALUES (1, 7)", "BEGIN", "UPDATE LEDGER SET FENCE = 8")
	s.Advance(6 * 60e9)
	exec_(t, other, "UPDATE LEDGER SET FENCE = FENCE + 10")
	exec_(t, c, "COMMIT")
	if got := single(t, other, "SELECT FENCE FROM LEDGER"); got != "17" {
		t.Errorf("fence %s, want 17", got)
	}
}

// Of two transactions that wait for each other one statement is the victim; its
// transaction stays open (sql-reference/transactions).
func TestDeadlocks(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	sessions := []*sql.Conn{furnish(t, s), session(t, s)}
	tables := []string{"LEDGER", "LEDGER_2"}
	exec_(t, sessions[0], "CREATE TABLE LEDGER_2 (ID NUMBER, FENCE NUMBER)", "INSERT INTO LEDGER VALUES (1, 0)", "INSERT INTO LEDGER_2 VALUES (1, 0)")
	for n, c := range sessions {
		exec_(t, c, "BEGIN", "UPDATE "+tables[n]+" SET FENCE = FENCE + 1")
	}
	outcomes := make(chan error, len(sessions))
	for n, c := range sessions {
		go func() {
			_, err := c.ExecContext(t.Context(), "UPDATE "+tables[1-n]+" SET FENCE = FENCE + 1")
			end := "COMMIT"
			if err != nil {
				end = "ROLLBACK"
			}
			if _, failed := c.ExecContext(t.Context(), end); failed != nil {
				err = failed
			}
			outcomes <- err
		}()
	}
	victims := 0
	for range sessions {
		if err := <-outcomes; err != nil {
			if f := failure(t, err); f.Number != 625 || !strings.Contains(f.Message, "deadlock") {
				t.Errorf("a statement that waits: %v", f)
			}
			victims++
		}
	}
	if got := single(t, sessions[0], "SELECT L.FENCE, M.FENCE FROM LEDGER L JOIN LEDGER_2 M ON L.ID = M.ID"); victims != 1 || got != "1|1" {
		t.Errorf("%d victims and the fences %s, want 1 and 1|1", victims, got)
	}
}

// STATEMENT_TIMEOUT_IN_SECONDS ends a statement that waits (sql-reference/parameters).
func TestStatementTimeout(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c, other := furnish(t, s), session(t, s)
	exec_(t, c, "INSERT INTO LEDGER VALUES (1, 0)", "BEGIN", "UPDATE LEDGER SET FENCE = 1")
	exec_(t, other, "ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = 1")
	_, err := other.ExecContext(t.Context(), "UPDATE LEDGER SET FENCE = 2")
	if f := failure(t, err); f.Number != 630 || f.SQLState != "57014" {
		t.Errorf("a statement beyond its time: %v", f)
	}
	exec_(t, c, "COMMIT")
}
