package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	sf "github.com/snowflakedb/gosnowflake/v2"

	"github.com/penstock-io/penstock/test/standin"
)

// Refused logins: user-guide/key-pair-auth-troubleshooting,
// user-guide/programmatic-access-tokens, user-guide/admin-user-management,
// user-guide/network-policies, user-guide/security-mfa.
func TestLoginsThatAreRefused(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.AddToken(s.User, "pat", s.Role, false)
	s.AddOAuth(s.User, "expired", s.Role, time.Now().Add(-time.Hour))
	password := func(c *sf.Config) { c.Authenticator, c.User, c.Password = sf.AuthTypeSnowflake, s.Person, s.Password }
	for _, x := range []struct {
		name   string
		change func(*sf.Config)
		code   int
		text   string
	}{
		{"another key", func(c *sf.Config) { c.PrivateKey = stranger }, 390144, "JWT token is invalid. ["},
		{"another user", func(c *sf.Config) { c.User = "NOBODY" }, 390144, "JWT token is invalid. ["},
		{"another account", func(c *sf.Config) { c.Account = "other" }, 390100, "Incorrect username or password"},
		{"wrong password", func(c *sf.Config) { password(c); c.Password = "guess" }, 390100, "Incorrect username or password was specified."},
		{"password of a service", func(c *sf.Config) { password(c); c.User = s.User }, 390100, "Incorrect username or password was specified."},
		{"token without a network policy", func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypePat, "pat" }, 394404, "Network policy is required"},
		{"unknown token", func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypePat, "guess" }, 394400, "Programmatic access token is invalid"},
		{"unknown OAuth token", func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypeOAuth, "guess" }, 390303, "Invalid OAuth access token"},
		{"expired OAuth token", func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypeOAuth, "expired" }, 390318, "OAuth access token expired"},
		{"missing role", func(c *sf.Config) { c.Role = "NO_SUCH" }, 390189, "Role 'NO_SUCH' specified in the connect string does not exist or not authorized."},
		{"missing database", func(c *sf.Config) { c.Database = "NO_SUCH" }, 390201, "The requested database does not exist or not authorized."},
		{"missing warehouse", func(c *sf.Config) { c.Warehouse = "NO_SUCH" }, 390201, "The requested warehouse does not exist or not authorized."},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := config(s)
			x.change(c)
			f := failure(t, open(t, c).PingContext(t.Context()))
			if f.Number != x.code || !strings.Contains(f.Message, x.text) {
				t.Errorf("refused with %d %s, want %d with %s", f.Number, f.Message, x.code, x.text)
			}
		})
	}
	refused := func(code int, text string, change func(*sf.Config)) {
		t.Helper()
		c := config(s)
		change(c)
		if f := failure(t, open(t, c).PingContext(t.Context())); f.Number != code || !strings.Contains(f.Message, text) {
			t.Errorf("refused with %d %s, want %d with %s", f.Number, f.Message, code, text)
		}
	}
	accepted := func(change func(*sf.Config)) {
		t.Helper()
		c := config(s)
		change(c)
		if err := open(t, c).PingContext(t.Context()); err != nil {
			t.Error(err)
		}
	}
	accepted(password)
	s.RequireMFA(s.Person, true)
	refused(394508, "MFA with TOTP is required", password)
	s.RequireMFA(s.Person, false)
	for range 5 {
		refused(390100, "Incorrect", func(c *sf.Config) { password(c); c.Password = "guess" })
	}
	refused(390102, "User temporarily locked", password)
	s.Advance(16 * time.Minute)
	accepted(password)
	s.Advance(-16 * time.Minute)
	s.AddToken(s.User, "pat", s.Role, true)
	accepted(func(c *sf.Config) { c.Authenticator, c.Token = sf.AuthTypePat, "pat" })
	s.Block("203.0.113.9")
	refused(390422, "Incoming request with IP/Token 203.0.113.9 is not allowed to access Snowflake", func(*sf.Config) {})
	s.Block("")
}

// Workload identities (user-guide/workload-identity-federation): the request of AWS must be
// signed with the key of the user's ARN; issuer, subject, audience and end of a token are
// compared.
func TestWorkloadIdentities(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	s.SQL("CREATE USER ROBOT TYPE = SERVICE WORKLOAD_IDENTITY = (TYPE = AWS ARN = 'arn:aws:iam::123456789012:role/host') DEFAULT_ROLE = "+s.Role, "GRANT ROLE "+s.Role+" TO USER ROBOT",
		"CREATE USER POD TYPE = SERVICE WORKLOAD_IDENTITY = (TYPE = OIDC ISSUER = 'https://issuer' SUBJECT = 'pod') DEFAULT_ROLE = "+s.Role, "GRANT ROLE "+s.Role+" TO USER POD")
	s.AddAWSKey("AKIAHOST", "secret", "arn:aws:iam::123456789012:role/host")
	s.AddAWSKey("AKIAOTHER", "secret", "arn:aws:iam::123456789012:role/other")
	t.Setenv("AWS_REGION", "eu-central-1")
	try := func(name, provider, token string) string {
		t.Helper()
		c := config(s)
		c.User, c.PrivateKey, c.Authenticator, c.WorkloadIdentityProvider, c.Token = "", nil, sf.AuthTypeWorkloadIdentityFederation, provider, token
		err := open(t, c).PingContext(t.Context())
		if err == nil {
			return ""
		}
		if f := failure(t, err); f.Number != 394600 {
			t.Errorf("%s: %v", name, f)
		}
		return err.Error()
	}
	for _, x := range []struct{ id, secret, want string }{
		{"AKIAHOST", "secret", ""}, {"AKIAHOST", "guess", "is not valid"}, {"AKIAOTHER", "secret", "no user with a matching"}, {"AKIANOBODY", "secret", "is not valid"},
	} {
		t.Setenv("AWS_ACCESS_KEY_ID", x.id)
		t.Setenv("AWS_SECRET_ACCESS_KEY", x.secret)
		if got := try(x.id, "AWS", ""); !strings.Contains(got, x.want) || (got == "") != (x.want == "") {
			t.Errorf("key %s with %s: %s, want %q", x.id, x.secret, got, x.want)
		}
	}
	later := time.Now().Add(time.Hour).Unix()
	for claims, want := range map[string]string{
		fmt.Sprintf(`{"iss":"https://issuer","sub":"pod","aud":"snowflakecomputing.com","exp":%d}`, later):    "",
		fmt.Sprintf(`{"iss":"https://other","sub":"pod","aud":"snowflakecomputing.com","exp":%d}`, later):     "no user with a matching",
		fmt.Sprintf(`{"iss":"https://issuer","sub":"else","aud":"snowflakecomputing.com","exp":%d}`, later):   "no user with a matching",
		fmt.Sprintf(`{"iss":"https://issuer","sub":"pod","aud":"kubernetes","exp":%d}`, later):                "is not valid",
		fmt.Sprintf(`{"iss":"https://issuer","sub":"pod","aud":"snowflakecomputing.com","exp":%d}`, int64(1)): "is not valid",
	} {
		encode := base64.RawURLEncoding.EncodeToString
		token := encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("x"))
		if got := try(claims, "OIDC", token); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %s, want %q", claims, got, want)
		}
	}
}

// A clock that is more than a minute off makes a JWT invalid; the id in the message leads
// to the reason (user-guide/key-pair-auth-troubleshooting).
func TestClockSkew(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	admin := session(t, s)
	s.SQL("GRANT ROLE ACCOUNTADMIN TO USER " + s.User)
	for skew, want := range map[time.Duration]string{50 * time.Second: "", 90 * time.Second: "394302", -90 * time.Second: "394302"} {
		s.Advance(skew)
		err := open(t, config(s)).PingContext(t.Context())
		s.Advance(-skew)
		if want == "" {
			if err != nil {
				t.Errorf("skew %s: %v", skew, err)
			}
			continue
		}
		f := failure(t, err)
		_, id, _ := strings.Cut(strings.TrimSuffix(f.Message, "]"), "[")
		exec_(t, admin, "USE ROLE ACCOUNTADMIN")
		if got := single(t, admin, "SELECT SYSTEM$GET_LOGIN_FAILURE_DETAILS('"+id+"')"); f.Number != 390144 || !strings.Contains(got, want) {
			t.Errorf("skew %s: %v with the details %s, want 390144 with %s", skew, f, got, want)
		}
	}
}

// An expired token is renewed by the driver in the same session; when the master token
// has expired too, or the session is gone, statements fail and the transaction is rolled
// back.
func TestSessionsThatEnd(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	before := single(t, c, "SELECT CURRENT_SESSION()")
	exec_(t, c, "BEGIN", "INSERT INTO LEDGER VALUES (1, 1)")
	s.Expire("token")
	if got := single(t, c, "SELECT CURRENT_SESSION()"); got != before {
		t.Errorf("session %s after the renewal, want %s", got, before)
	}
	s.Expire("master")
	_, err := c.ExecContext(t.Context(), "COMMIT")
	if f := failure(t, err); f.Number != 390114 {
		t.Errorf("with an expired master token: %v", f)
	}
	other := session(t, s)
	exec_(t, other, "BEGIN", "INSERT INTO LEDGER VALUES (2, 1)")
	s.Expire("session")
	_, err = other.ExecContext(t.Context(), "COMMIT")
	if f := failure(t, err); f.Number != 390111 {
		t.Errorf("in a session that is gone: %v", f)
	}
	if got := single(t, session(t, s), "SELECT COUNT(*) FROM LEDGER"); got != "0" {
		t.Errorf("%s rows of transactions whose sessions ended", got)
	}
}

// Warehouses: sql-reference/sql/alter-warehouse, user-guide/resource-monitors.
func TestWarehouses(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	exec_(t, c, "SELECT COUNT(*) FROM LEDGER")
	refused := func(code int, text string) {
		t.Helper()
		_, err := c.QueryContext(t.Context(), "SELECT COUNT(*) FROM LEDGER")
		if f := failure(t, err); f.Number != code || !strings.Contains(f.Message, text) {
			t.Errorf("refused with %v, want %d with %s", f, code, text)
		}
	}
	s.SetWarehouse(s.Warehouse, true, true, "CREDITS")
	refused(90073, "cannot be resumed because resource monitor 'CREDITS' has exceeded its quota.")
	s.SetWarehouse(s.Warehouse, true, false, "")
	refused(90232, "is suspended")
	s.SetWarehouse(s.Warehouse, true, true, "")
	exec_(t, c, "SELECT COUNT(*) FROM LEDGER")
	s.SQL("REVOKE USAGE ON WAREHOUSE " + s.Warehouse + " FROM ROLE " + s.Role)
	refused(606, "No active warehouse selected in the current session.")
}

// A statement that is cancelled ends, and a repeated request runs once.
func TestHoldsAndFaults(t *testing.T) {
	s := standin.StartSnowflake(t, standin.SnowflakeOptions{})
	c := furnish(t, s)
	s.Fail(standin.SnowflakePoint{Statement: "^INSERT INTO LEDGER"}, 603, "XX000", "SQL execution internal error")
	_, err := c.ExecContext(t.Context(), "INSERT INTO LEDGER VALUES (1, 1)")
	if f := failure(t, err); f.Number != 603 {
		t.Errorf("the fault: %v", f)
	}
	h := s.Hold(standin.SnowflakePoint{Statement: "^INSERT INTO LEDGER"})
	id := sf.NewUUID()
	done := make(chan error, 2)
	run := func() {
		other, err := open(t, config(s)).Conn(t.Context())
		if err == nil {
			_, err = other.ExecContext(sf.WithRequestID(t.Context(), id), "INSERT INTO LEDGER VALUES (2, 1)")
		}
		done <- err
	}
	go run()
	h.Reached()
	h.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExecContext(sf.WithRequestID(t.Context(), sf.NewUUID()), "INSERT INTO LEDGER VALUES (3, 1)"); err != nil {
		t.Fatal(err)
	}
	again := sf.NewUUID()
	for range 2 {
		if _, err := c.ExecContext(sf.WithRequestID(t.Context(), again), "INSERT INTO LEDGER VALUES (4, 1)"); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(rows(t, c, "SELECT ID FROM LEDGER ORDER BY 1"), " "); got != "2 3 4" {
		t.Errorf("the ledger has %s, want 2 3 4: a request is run once", got)
	}
	statements, logins := s.Statements()
	if len(statements) == 0 || len(logins) < 2 || logins[0].Authenticator != "SNOWFLAKE_JWT" {
		t.Errorf("%d statements and the logins %v are recorded", len(statements), logins)
	}
}
