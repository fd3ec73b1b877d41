package server

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// loginFailure is a refusal of a login.
type loginFailure struct{ code, message string }

func (f *loginFailure) Error() string { return f.code + ": " + f.message }

func denied(code, format string, args ...any) error {
	return &loginFailure{code, fmt.Sprintf(format, args...)}
}

// loginRequest is the body of login-request.
type loginRequest struct {
	Data struct {
		AccountName       string         `json:"ACCOUNT_NAME"`
		LoginName         string         `json:"LOGIN_NAME"`
		Password          string         `json:"PASSWORD"`
		Passcode          string         `json:"PASSCODE"`
		Authenticator     string         `json:"AUTHENTICATOR"`
		Token             string         `json:"TOKEN"`
		Provider          string         `json:"PROVIDER"`
		SessionParameters map[string]any `json:"SESSION_PARAMETERS"`
		ClientAppID       string         `json:"CLIENT_APP_ID"`
	} `json:"data"`
}

// The limits of wrong passwords and of the age of a JWT
// (https://docs.snowflake.com/en/user-guide/admin-user-management,
// https://docs.snowflake.com/en/user-guide/key-pair-auth-troubleshooting).
const (
	wrongPasswords = 5
	lockedFor      = 15 * time.Minute
	jwtAge         = 60 * time.Second
)

// authenticate checks the credentials and returns the user.
func (srv *Server) authenticate(r *loginRequest) (*user, string, error) {
	a := srv.account
	a.mu.Lock()
	defer a.mu.Unlock()
	if !strings.EqualFold(r.Data.AccountName, a.name) {
		return nil, "", denied("390100", "Incorrect username or password was specified.")
	}
	if a.blocked != "" {
		return nil, "", denied("390422", "Incoming request with IP/Token %s is not allowed to access Snowflake. Contact your account administrator. For more information about this error, go to https://community.snowflake.com/s/ip-xxxxxxxxxxxx-is-not-allowed-to-access.", a.blocked)
	}
	switch strings.ToUpper(r.Data.Authenticator) {
	case "", "SNOWFLAKE", "USERNAME_PASSWORD_MFA":
		u, err := srv.byPassword(r)
		return u, "", err
	case "SNOWFLAKE_JWT":
		u, err := srv.byKey(r.Data.Token)
		return u, "", err
	case "PROGRAMMATIC_ACCESS_TOKEN":
		return srv.byToken(r)
	case "OAUTH":
		return srv.byOAuth(r)
	case "WORKLOAD_IDENTITY":
		u, err := srv.byWorkload(r)
		return u, "", err
	}
	return nil, "", denied("390144", "the stand-in does not know the authenticator %s", r.Data.Authenticator)
}

// byPassword is the login with a password. The account's lock is held.
func (srv *Server) byPassword(r *loginRequest) (*user, error) {
	u := srv.account.byLogin(r.Data.LoginName)
	if u == nil || u.disabled {
		return nil, denied("390100", "Incorrect username or password was specified.")
	}
	if srv.now().Before(u.lockedUntil) {
		return nil, denied("390102", "User temporarily locked. Try again later, or contact your local system administrator.")
	}
	if u.kind == "SERVICE" || u.password == "" || u.password != r.Data.Password {
		if u.wrong++; u.wrong >= wrongPasswords {
			u.wrong, u.lockedUntil = 0, srv.now().Add(lockedFor)
		}
		return nil, denied("390100", "Incorrect username or password was specified.")
	}
	u.wrong = 0
	if u.mfa && r.Data.Passcode == "" {
		return nil, denied("394508", "Failed to authenticate: MFA with TOTP is required. To authenticate, provide both your password and a current TOTP passcode.")
	}
	return u, nil
}

// jwtRefused is 390144 with the id whose details SYSTEM$GET_LOGIN_FAILURE_DETAILS
// gives.
func (srv *Server) jwtRefused(code, text string, u *user) error {
	id := newUUID()
	name := ""
	if u != nil {
		name = u.name
	}
	details, err := json.Marshal(map[string]any{"clientIP": "127.0.0.1", "clientType": "GO", "errorCode": code, "errorMessage": text, "username": name, "timestamp": srv.now().Unix()})
	if err != nil {
		return err
	}
	srv.failuresMu.Lock()
	srv.failures[id] = string(details)
	srv.failuresMu.Unlock()
	return denied("390144", "JWT token is invalid. [%s]", id)
}

// byKey verifies a JWT. The account's lock is held.
func (srv *Server) byKey(token string) (*user, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, srv.jwtRefused("394309", "JWT_TOKEN_INVALID", nil)
	}
	var header struct{ Alg string }
	var claims struct {
		Iss, Sub string
		Iat, Exp int64
	}
	raw := [3][]byte{}
	for n, p := range parts {
		var err error
		if raw[n], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			return nil, srv.jwtRefused("394309", "JWT_TOKEN_INVALID", nil)
		}
	}
	if json.Unmarshal(raw[0], &header) != nil || json.Unmarshal(raw[1], &claims) != nil || header.Alg != "RS256" {
		return nil, srv.jwtRefused("394309", "JWT_TOKEN_INVALID", nil)
	}
	accountName, login, found := strings.Cut(claims.Sub, ".")
	if !found || accountName != strings.ToUpper(srv.account.name) {
		return nil, srv.jwtRefused("394307", "JWT_TOKEN_INVALID_ACCOUNT_IN_ISSUER", nil)
	}
	u := srv.account.byLogin(login)
	if u == nil || u.disabled || login != strings.ToUpper(login) {
		return nil, srv.jwtRefused("394300", "JWT_TOKEN_INVALID_USER_IN_ISSUER", nil)
	}
	issuer, print, _ := strings.Cut(claims.Iss, ".SHA256:")
	if issuer != claims.Sub {
		return nil, srv.jwtRefused("394300", "JWT_TOKEN_INVALID_USER_IN_ISSUER", u)
	}
	var key *rsa.PublicKey
	for _, k := range u.keys {
		if fingerprint(k) == "SHA256:"+print {
			key = k
		}
	}
	if key == nil {
		return nil, srv.jwtRefused("394304", "JWT_TOKEN_INVALID_PUBLIC_KEY_FINGERPRINT_MISMATCH", u)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], raw[2]) != nil {
		return nil, srv.jwtRefused("394305", "JWT_TOKEN_INVALID_SIGNATURE", u)
	}
	now, issued := srv.now(), time.Unix(claims.Iat, 0)
	switch {
	case now.Sub(issued) > jwtAge || issued.Sub(now) > jwtAge:
		return nil, srv.jwtRefused("394302", "JWT_TOKEN_INVALID_ISSUE_TIME", u)
	case !now.Before(time.Unix(claims.Exp, 0)):
		return nil, srv.jwtRefused("394303", "JWT_TOKEN_EXPIRED", u)
	}
	return u, nil
}

// byToken is the login with a programmatic access token
// (https://docs.snowflake.com/en/user-guide/programmatic-access-tokens).
func (srv *Server) byToken(r *loginRequest) (*user, string, error) {
	for _, u := range srv.account.users {
		t := u.tokens[r.Data.Token]
		if t == nil || r.Data.LoginName != "" && !strings.EqualFold(u.loginName, r.Data.LoginName) {
			continue
		}
		if !srv.now().Before(t.expires) {
			return nil, "", denied("394400", "Programmatic access token is invalid.")
		}
		if !u.networkPolicy {
			return nil, "", denied("394404", "Network policy is required.")
		}
		return u, t.role, nil
	}
	return nil, "", denied("394400", "Programmatic access token is invalid.")
}

func (srv *Server) byOAuth(r *loginRequest) (*user, string, error) {
	for _, u := range srv.account.users {
		t := u.oauth[r.Data.Token]
		if t == nil {
			continue
		}
		if !srv.now().Before(t.expires) {
			return nil, "", denied("390318", "OAuth access token expired. [%s]", newUUID())
		}
		if r.Data.LoginName != "" && !strings.EqualFold(u.loginName, r.Data.LoginName) {
			return nil, "", denied("390309", "The user you were trying to authenticate as differs from the user tied to the access token.")
		}
		return u, t.role, nil
	}
	return nil, "", denied("390303", "Invalid OAuth access token. [%s]", newUUID())
}

// login authenticates and opens a session.
func (srv *Server) login(r *loginRequest, wanted state) (*session, error) {
	u, tokenRole, err := srv.authenticate(r)
	if err != nil {
		return nil, err
	}
	st, err := srv.firstState(u, tokenRole, wanted, r.Data.SessionParameters)
	if err != nil {
		return nil, err
	}
	s := &session{srv: srv, busy: make(chan struct{}, 1), token: rand.Text() + rand.Text(), master: rand.Text() + rand.Text(), current: st, used: srv.now()}
	srv.sessions.add(s)
	return s, nil
}

// firstState is the state of a new session
// (https://docs.snowflake.com/en/user-guide/security-access-control-overview).
func (srv *Server) firstState(u *user, tokenRole string, wanted state, given map[string]any) (state, error) {
	st := state{user: u.name, role: wanted.role, warehouse: wanted.warehouse, database: wanted.database, schema: wanted.schema, parameters: map[string]string{}}
	validate := false
	for name, v := range given {
		text := fmt.Sprint(v)
		if name == "CLIENT_VALIDATE_DEFAULT_PARAMETERS" {
			validate = text == "true"
			continue
		}
		if p, known := parameters[name]; known && !p.account {
			value, err := checkParameter(name, text)
			if err != nil {
				return st, denied("390201", "%s", refusal(err).Message)
			}
			st.parameters[name] = value
		}
	}
	srv.account.mu.Lock()
	defaultRole, defaultWarehouse := u.defaultRole, u.warehouse
	granted := u.roles[st.role] || st.role == "PUBLIC"
	srv.account.mu.Unlock()
	switch {
	case st.role == "" && tokenRole != "":
		st.role = tokenRole
	case st.role == "":
		st.role = defaultRole
	case !granted || tokenRole != "" && tokenRole != st.role:
		return st, denied("390189", "Role '%s' specified in the connect string does not exist or not authorized. Contact your local system administrator, or attempt to login with another role, e.g. PUBLIC.", st.role)
	}
	if st.role == "" {
		st.role = "PUBLIC"
	}
	if st.warehouse == "" {
		st.warehouse = defaultWarehouse
	}
	return st, srv.validate(&st, validate)
}

// validate drops defaults that the role cannot use, or refuses them when the client asks
// for that.
func (srv *Server) validate(st *state, refuseThem bool) error {
	srv.catalog.mu.Lock()
	d := srv.catalog.databases[st.database]
	var s *schema
	if d != nil {
		s = d.schemas[st.schema]
	}
	srv.catalog.mu.Unlock()
	srv.account.mu.Lock()
	w := srv.account.warehouses[st.warehouse]
	srv.account.mu.Unlock()
	for _, c := range []struct {
		kind  string
		value *string
		ok    bool
	}{
		{"database", &st.database, d != nil && srv.account.may(st.role, "USAGE", "DATABASE", fullName(st.database))},
		{"schema", &st.schema, s != nil && srv.account.may(st.role, "USAGE", "SCHEMA", fullName(st.database, st.schema))},
		{"warehouse", &st.warehouse, w != nil && srv.account.may(st.role, "USAGE", "WAREHOUSE", fullName(st.warehouse))},
	} {
		if *c.value == "" || c.ok {
			continue
		}
		if refuseThem {
			return denied("390201", "The requested %s does not exist or not authorized.", c.kind)
		}
		*c.value = ""
	}
	return nil
}
