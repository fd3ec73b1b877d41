package standin

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Snowflake is a running stand-in for Snowflake (test/standin/snowflakeserver), which
// keeps its objects and rows in memory. Its account has the database, schema, warehouse,
// role and service user named here; the user logs in with PrivateKey. The role has the
// privileges that the documentation grants: USAGE of the three, and CREATE TABLE, VIEW and STAGE in the
// schema.
type Snowflake struct {
	// URL of the server, http. Host and Port are those of the driver's configuration,
	// whose Protocol must be http.
	URL, Host string
	Port      int

	Account, Database, Schema, Warehouse, Role, User string
	// PrivateKey of User, PEM of PKCS#8.
	PrivateKey string
	// Key is PrivateKey.
	Key *rsa.PrivateKey
	// Person is a user with a password and the role, as service users may have none.
	Person, Password string
	// Stages holds the files of internal stages, in the bucket "stages".
	Stages *S3
	// Certificate is a file with that of Stages, for SSL_CERT_FILE or a transport.
	Certificate string

	t testing.TB
	p process
}

// SnowflakeStatements names the directory where the servers leave the statements that
// they were given, for the judges of SQL. Empty: they leave none.
const SnowflakeStatements = "PENSTOCK_SNOWFLAKE_STATEMENTS"

// SnowflakeOptions say how the stand-in is started.
type SnowflakeOptions struct {
	// Stages is a storage server over TLS with the bucket "stages"; nil: one of its own.
	Stages *S3
	// StageEndpoint is host:port of the storage server as drivers are told, such as
	// that of a proxy; empty: that of Stages.
	StageEndpoint string
	// Google is the URL of a Cloud Storage server for external stages; empty: none.
	Google string
	// Azure is an Azure Blob server for external stages; nil: none.
	Azure *Azurite
	// Timezone is the account's; empty: America/Los_Angeles, Snowflake's default.
	Timezone string
}

// StartSnowflake starts a server. It is stopped when the test ends.
func StartSnowflake(t testing.TB, o SnowflakeOptions) *Snowflake {
	t.Helper()
	path := Binary(t, "snowflake-standin")
	if o.Stages == nil {
		o.Stages = StartS3TLS(t, "stages")
	}
	port := freePort(t)
	s := &Snowflake{
		Host: "127.0.0.1", Account: "standin", Database: "ANALYTICS", Schema: "PENSTOCK", Warehouse: "PENSTOCK_WH", Role: "PENSTOCK_ROLE", User: "PENSTOCK_USER",
		Person: "JANE", Password: "correct horse battery", Stages: o.Stages, t: t,
	}
	s.URL = "http://" + net.JoinHostPort(s.Host, port)
	s.Port, _ = strconv.Atoi(port)
	s.Certificate = filepath.Join(t.TempDir(), "stages.pem")
	if err := os.WriteFile(s.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Stages.Certificate}), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-listen", net.JoinHostPort(s.Host, port), "-account", s.Account, "-storage", o.Stages.Endpoint, "-advertise", o.StageEndpoint, "-access", o.Stages.AccessKey, "-secret", o.Stages.SecretKey, "-certificate", s.Certificate}
	if o.Google != "" {
		args = append(args, "-google", o.Google)
	}
	if o.Azure != nil {
		args = append(args, "-azure", o.Azure.Endpoint, "-azure-account", o.Azure.Account, "-azure-key", o.Azure.Key)
	}
	if dir := os.Getenv(SnowflakeStatements); dir != "" {
		args = append(args, "-record", filepath.Join(dir, rand.Text()+".ndjson"))
	}
	s.p.env = append(os.Environ(), "TMPDIR="+t.TempDir())
	err := s.p.start(path, args...)
	t.Cleanup(s.p.stop)
	if err == nil {
		err = s.p.await(net.JoinHostPort(s.Host, port))
	}
	if err != nil {
		t.Fatalf("start snowflake-standin: %v", err)
	}
	s.furnish(o)
	return s
}

// furnish makes the objects, users and grants.
func (s *Snowflake) furnish(o SnowflakeOptions) {
	s.t.Helper()
	var err error
	if s.Key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(s.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.PrivateKey = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	public, err := x509.MarshalPKIXPublicKey(&s.Key.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	full := s.Database + "." + s.Schema
	s.SQL(
		"CREATE ROLE "+s.Role, "CREATE WAREHOUSE "+s.Warehouse+" WITH AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE",
		"CREATE DATABASE "+s.Database, "CREATE SCHEMA "+full,
		"CREATE USER "+s.User+" TYPE = SERVICE DEFAULT_ROLE = "+s.Role+" RSA_PUBLIC_KEY = '"+base64.StdEncoding.EncodeToString(public)+"'",
		"CREATE USER "+s.Person+" PASSWORD = '"+s.Password+"' DEFAULT_ROLE = "+s.Role,
		"GRANT ROLE "+s.Role+" TO USER "+s.User, "GRANT ROLE "+s.Role+" TO USER "+s.Person,
		"GRANT USAGE ON WAREHOUSE "+s.Warehouse+" TO ROLE "+s.Role, "GRANT USAGE ON DATABASE "+s.Database+" TO ROLE "+s.Role,
		"GRANT USAGE, CREATE TABLE, CREATE VIEW, CREATE STAGE ON SCHEMA "+full+" TO ROLE "+s.Role,
	)
	if o.Timezone != "" {
		s.SQL("ALTER ACCOUNT SET TIMEZONE = '" + o.Timezone + "'")
	}
}

// Stop kills the server, and with it all tables.
func (s *Snowflake) Stop() { s.p.stop() }

// Signal sends a signal to the server.
func (s *Snowflake) Signal(sig os.Signal) error { return s.p.signal(sig) }

// SQL runs statements one after another as ACCOUNTADMIN.
func (s *Snowflake) SQL(statements ...string) {
	s.t.Helper()
	s.control("sql", map[string]any{"statements": statements})
}

// RequireMFA sets whether a user's password needs a second factor.
func (s *Snowflake) RequireMFA(user string, required bool) {
	s.t.Helper()
	s.control("user", map[string]any{"name": user, "mfa": required})
}

// Lock locks a user for a time, as wrong passwords do.
func (s *Snowflake) Lock(user string, d time.Duration) {
	s.t.Helper()
	s.control("user", map[string]any{"name": user, "locked": d.String()})
}

// AddToken gives a user a programmatic access token of a role, for an hour. It is refused
// while no network policy applies to the user.
func (s *Snowflake) AddToken(user, token, role string, networkPolicy bool) {
	s.t.Helper()
	s.control("user", map[string]any{"name": user, "network_policy": networkPolicy, "pats": map[string]any{token: map[string]string{"role": role}}})
}

// AddOAuth gives a user an OAuth token of a role until a time.
func (s *Snowflake) AddOAuth(user, token, role string, expires time.Time) {
	s.t.Helper()
	s.control("user", map[string]any{"name": user, "oauth": map[string]any{token: map[string]any{"role": role, "expires": expires}}})
}

// AddAWSKey makes an access key of AWS known, for users whose WORKLOAD_IDENTITY is the ARN.
func (s *Snowflake) AddAWSKey(id, secret, arn string) {
	s.t.Helper()
	s.control("aws", map[string]string{"id": id, "secret": secret, "arn": arn})
}

// Block lets no login in from the address that is named in the answer; empty ends it.
func (s *Snowflake) Block(address string) {
	s.t.Helper()
	s.control("network", map[string]string{"blocked": address})
}

// SetWarehouse sets the state of a warehouse. With a resource monitor that has reached
// its quota it cannot be resumed.
func (s *Snowflake) SetWarehouse(name string, suspended, autoResume bool, monitor string) {
	s.t.Helper()
	s.control("warehouse", map[string]any{"name": name, "suspended": suspended, "auto_resume": autoResume, "monitor": monitor})
}

// LimitVariant sets the greatest size of a VARIANT, in bytes. The server starts with
// 128 MiB.
func (s *Snowflake) LimitVariant(bytes int64) {
	s.t.Helper()
	s.control("limits", map[string]int64{"max_variant": bytes})
}

// Expire lets a part of all open sessions expire: "token" (390112, which the driver
// renews), "master" (390112, and the renewal is refused) or "session" (390111; their
// transactions are rolled back).
func (s *Snowflake) Expire(part string) {
	s.t.Helper()
	s.control("expire", map[string]string{"part": part})
}

// Lag sets whether commits stay unseen by the queries of other sessions that take no
// lock, as they can for a while where the account's READ_CONSISTENCY_MODE is SESSION. At
// its end all are seen.
func (s *Snowflake) Lag(on bool) {
	s.t.Helper()
	s.control("lag", map[string]bool{"on": on})
}

// Advance moves the server's clock forward.
func (s *Snowflake) Advance(d time.Duration) {
	s.t.Helper()
	s.control("clock", map[string]string{"advance": d.String()})
}

// SnowflakePoint is a place in the work of the server.
type SnowflakePoint struct {
	// Statement is a regular expression that a statement's text matches.
	Statement string `json:"statement"`
	// Nth is the first match that counts, from 1; 0: 1.
	Nth int `json:"nth,omitempty"`
	// Times is the number of matches that count; 0: 1, -1: all.
	Times int `json:"times,omitempty"`
	// At is before the work (default) or after it.
	At string `json:"at,omitempty"`
}

// Fail ends a statement with an error. After its work, the changes of a
// statement stay.
func (s *Snowflake) Fail(p SnowflakePoint, code int, sqlState, message string) {
	s.t.Helper()
	s.control("fail", struct {
		SnowflakePoint
		Code     int    `json:"code"`
		SQLState string `json:"sqlstate"`
		Message  string `json:"message"`
	}{p, code, sqlState, message})
}

// SnowflakeHold keeps a statement at a point.
type SnowflakeHold struct {
	s  *Snowflake
	id string
}

// Hold makes the statement that comes to a point wait there.
func (s *Snowflake) Hold(p SnowflakePoint) *SnowflakeHold {
	s.t.Helper()
	var answer struct{ ID string }
	if err := json.Unmarshal(s.control("hold", p), &answer); err != nil {
		s.t.Fatal(err)
	}
	return &SnowflakeHold{s, answer.ID}
}

// Reached returns when a statement waits.
func (h *SnowflakeHold) Reached() {
	h.s.t.Helper()
	h.s.request(http.MethodGet, "hold/"+h.id+"/reached", nil)
}

// Release lets the statement go on.
func (h *SnowflakeHold) Release() { h.s.t.Helper(); h.s.control("hold/"+h.id+"/release", nil) }

// SnowflakeStatement is one statement that the server has run. Request is the id of its
// request, which repetitions share; Code is empty when it succeeded.
type SnowflakeStatement struct {
	Query, Request, Text, Tag, Code, Error string
	Session                                int64
	Rows                                   int
}

// SnowflakeLogin is one request for a login.
type SnowflakeLogin struct{ User, Authenticator string }

// Statements returns the statements so far, and the logins.
func (s *Snowflake) Statements() (statements []SnowflakeStatement, logins []SnowflakeLogin) {
	s.t.Helper()
	var answer struct {
		Statements []SnowflakeStatement
		Logins     []SnowflakeLogin
	}
	if err := json.Unmarshal(s.request(http.MethodGet, "statements", nil), &answer); err != nil {
		s.t.Fatal(err)
	}
	return answer.Statements, answer.Logins
}

func (s *Snowflake) control(path string, v any) []byte {
	s.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.request(http.MethodPost, path, body)
}

func (s *Snowflake) request(method, path string, body []byte) []byte {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+"/_standin/"+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		s.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s: %s", method, path, answer.Status, strings.TrimSpace(string(text)))
	}
	return text
}
