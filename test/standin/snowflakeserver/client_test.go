package main

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	sf "github.com/snowflakedb/gosnowflake/v2"

	"github.com/penstock-io/penstock/test/standin"
)

// TestMain builds the server that the tests start, so that it is this one.
func TestMain(m *testing.M) {
	build := exec.Command("go", "build", "-o", filepath.Join("..", "..", "..", ".cache", "bin", "snowflake-standin"), ".")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		os.Exit(1)
	}
	if err := sf.GetLogger().SetLogLevel("off"); err != nil {
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// config is the driver's configuration of the service user.
func config(s *standin.Snowflake) *sf.Config {
	pool := x509.NewCertPool()
	certificate, err := x509.ParseCertificate(s.Stages.Certificate)
	if err == nil {
		pool.AddCert(certificate)
	}
	return &sf.Config{
		Account: s.Account, Host: s.Host, Port: s.Port, Protocol: "http", User: s.User, Role: s.Role, Warehouse: s.Warehouse, Database: s.Database, Schema: s.Schema,
		Authenticator: sf.AuthTypeJwt, PrivateKey: s.Key, DisableOCSPChecks: true, MaxRetryCount: 1,
		Transporter: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}
}

func open(t *testing.T, c *sf.Config) *sql.DB {
	t.Helper()
	db := sql.OpenDB(sf.NewConnector(sf.SnowflakeDriver{}, *c))
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// session is one session of the service user.
func session(t *testing.T, s *standin.Snowflake) *sql.Conn {
	t.Helper()
	c, err := open(t, config(s)).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func exec_(t *testing.T, c *sql.Conn, statements ...string) {
	t.Helper()
	for _, text := range statements {
		if _, err := c.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// rows runs a query and writes its rows, the columns with | between.
func rows(t *testing.T, c *sql.Conn, text string, args ...any) []string {
	t.Helper()
	r, err := c.QueryContext(t.Context(), text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer func() { _ = r.Close() }()
	columns, err := r.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for r.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for n := range values {
			into[n] = &values[n]
		}
		if err := r.Scan(into...); err != nil {
			t.Fatal(err)
		}
		line := make([]string, len(values))
		for n, v := range values {
			if line[n] = v.String; !v.Valid {
				line[n] = "NULL"
			}
		}
		list = append(list, strings.Join(line, "|"))
	}
	if err := r.Err(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return list
}

func single(t *testing.T, c *sql.Conn, text string, args ...any) string {
	t.Helper()
	list := rows(t, c, text, args...)
	if len(list) != 1 {
		t.Fatalf("%s: %d rows, want 1: %q", text, len(list), list)
	}
	return list[0]
}

func failure(t *testing.T, err error) *sf.SnowflakeError {
	t.Helper()
	var f *sf.SnowflakeError
	if !errors.As(err, &f) {
		t.Fatalf("no error of the service: %v", err)
	}
	return f
}

// part writes a compressed file and returns its path.
func part(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	_, err = z.Write([]byte(strings.Join(lines, "\n") + "\n"))
	if err = errors.Join(err, z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func put(t *testing.T, c *sql.Conn, path, to string) string {
	t.Helper()
	list := rows(t, c, "PUT 'file://"+path+"' '"+to+"' AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = GZIP OVERWRITE = TRUE")
	return strings.Join(list, "\n")
}

const jsonFormat = "FILE_FORMAT = (TYPE = JSON COMPRESSION = GZIP MULTI_LINE = FALSE)"

func TestStatementsOfAnExport(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := session(t, s)
	exec_(t, c,
		"CREATE TABLE MP_MASTER_EVENT_RAW (DATA VARIANT) CLUSTER BY (TO_DATE(CONVERT_TIMEZONE('UTC','Europe/Berlin',TO_TIMESTAMP(DATA:time::NUMBER))))",
		`CREATE VIEW MP_MASTER_EVENT AS SELECT DATA:event_name::VARCHAR AS event_name, DATA:distinct_id::VARCHAR AS distinct_id, TO_TIMESTAMP_NTZ(DATA:time::NUMBER) AS "TIME", DATA:properties AS properties FROM MP_MASTER_EVENT_RAW`,
		"CREATE STAGE PENSTOCK_STAGE",
		"CREATE TABLE LEDGER (PIPELINE VARCHAR, FENCE NUMBER(38,0))",
		"INSERT INTO LEDGER VALUES ('p', 1)",
		"ALTER SESSION SET TRANSACTION_ABORT_ON_ERROR = TRUE, LOCK_TIMEOUT = 600",
	)
	path := part(t, "part-0001.json.gz",
		`{"event_name":"Signup","distinct_id":"U1","time":1717200000,"properties":{"b":[1,2.50],"a":"x"}}`,
		`{"event_name":"Ünïcode","distinct_id":null,"time":1717200001,"properties":{}}`,
	)
	if got := put(t, c, path, "@PENSTOCK_STAGE/run-1/"); !strings.Contains(got, "UPLOADED") {
		t.Fatalf("PUT: %s", got)
	}
	exec_(t, c, "BEGIN")
	got := single(t, c, "COPY INTO MP_MASTER_EVENT_RAW FROM @PENSTOCK_STAGE/run-1/ FILES = ('part-0001.json.gz') "+jsonFormat+" ON_ERROR = ABORT_STATEMENT FORCE = TRUE")
	if want := "penstock_stage/run-1/part-0001.json.gz|LOADED|2|2|1|0|NULL|NULL|NULL|NULL"; got != want {
		t.Errorf("COPY: %s, want %s", got, want)
	}
	r, err := c.ExecContext(t.Context(), "UPDATE LEDGER SET FENCE = 2 WHERE PIPELINE = ? AND FENCE = ?", "p", 1)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.RowsAffected(); n != 1 || err != nil {
		t.Fatalf("UPDATE: %d rows, %v", n, err)
	}
	other := session(t, s)
	if got := single(t, other, "SELECT COUNT(*) FROM MP_MASTER_EVENT"); got != "0" {
		t.Errorf("another session sees %s rows before COMMIT", got)
	}
	exec_(t, c, "COMMIT")
	list := rows(t, other, "SELECT * FROM MP_MASTER_EVENT ORDER BY 3")
	want := []string{
		"Signup|U1|2024-06-01T00:00:00Z|{\n  \"a\": \"x\",\n  \"b\": [\n    1,\n    2.5\n  ]\n}",
		"Ünïcode|NULL|2024-06-01T00:00:01Z|{}",
	}
	if strings.Join(list, "\n") != strings.Join(want, "\n") {
		t.Errorf("rows:\n%s\nwant:\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
	if got := single(t, other, "SELECT FENCE FROM LEDGER"); got != "2" {
		t.Errorf("fence %s, want 2", got)
	}
}

func TestDriverPings(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	db := open(t, config(s))
	if err := db.PingContext(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownStatementsAreRefused(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := session(t, s)
	_, err := c.ExecContext(t.Context(), "EXPORT TABLE X")
	if f := failure(t, err); f.Number != 1003 || f.SQLState != "42000" || !strings.Contains(f.Message, "syntax error line 1 at position 0 unexpected 'EXPORT'.") {
		t.Errorf("refused with %v", f)
	}
}
