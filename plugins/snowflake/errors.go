package snowflake

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/penstock-io/penstock/sdk"
)

// Numbers of the service's errors.
const (
	syntaxError        = 1003
	missingObject      = 2003 // or the role may not see it
	existingObject     = 2002
	missingOperation   = 2043
	insufficient       = 3001
	noWarehouse        = 606
	lockTimedOut       = 625
	statementTimedOut  = 630
	statementCancelled = 604
	jsonRefused        = 100069
	valueRefused       = 100038
	fileMissing        = 91016 // in a stage

	wrongPassword   = 390100
	roleMissing     = 390189
	objectMissing   = 390201
	invalidJWT      = 390144
	userLocked      = 390102
	oauthInvalid    = 390303
	oauthExpired    = 390318
	addressRefused  = 390420
	addressRefused2 = 390422
)

func hasNumber(err error, numbers ...int) bool {
	e := serviceError(err)
	if e == nil {
		return false
	}
	for _, n := range numbers {
		if e.Number == n {
			return true
		}
	}
	return false
}

// isMissing reports whether an error says that an object does not exist, or that the
// role may not see it.
func isMissing(err error) bool { return hasNumber(err, missingObject, missingOperation) }

// refusedRow reports whether COPY has refused the text of a row.
func refusedRow(err error) bool { return hasNumber(err, jsonRefused, valueRefused) }

// classify gives an error its class, and a hint. grant is the statement that grants
// what the action needs; empty: it needs nothing of its own.
func (s *service) classify(action, grant string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	wrapped := fmt.Errorf("%s: %w", action, err)
	if classified(err) {
		return wrapped
	}
	e := serviceError(err)
	if e == nil {
		return sdk.Retryable(wrapped, 0)
	}
	if hint := s.config.warehouseHint(e); hint != "" {
		return sdk.Configuration(wrapped, hint)
	}
	if hint := s.config.bucketHint(e); hint != "" {
		return sdk.Configuration(wrapped, hint)
	}
	switch e.Number {
	case insufficient, missingObject, missingOperation, objectMissing:
		return sdk.Configuration(wrapped, s.config.grantHint(grant, e))
	case lockTimedOut, statementTimedOut, statementCancelled, fileMissing:
		return sdk.Retryable(wrapped, 0)
	case syntaxError, jsonRefused, valueRefused:
		return sdk.Permanent(wrapped)
	}
	if isSessionLost(err) {
		return sdk.Retryable(wrapped, 0)
	}
	if isLogin(e) {
		return s.config.loginError(wrapped)
	}
	if strings.HasPrefix(e.SQLState, "42") || strings.HasPrefix(e.SQLState, "22") {
		return sdk.Permanent(wrapped)
	}
	return sdk.Retryable(wrapped, 0)
}

// roleName is the role in statements that grant something.
func (c config) roleName() string {
	if c.Role == "" {
		return "<the user's default role>"
	}
	return identifier(c.Role)
}

// grantHint names the grants that a refusal may lack. The service gives the same
// answer for objects that do not exist and for those that the role may not see.
func (c config) grantHint(grant string, e *gosnowflake.SnowflakeError) string {
	usage := fmt.Sprintf("GRANT USAGE ON DATABASE %s TO ROLE %s; GRANT USAGE ON SCHEMA %s TO ROLE %s", identifier(c.Database), c.roleName(), c.schemaName(), c.roleName())
	switch {
	case grant != "" && e.Number == insufficient:
		return "run, as the owner: " + grant
	case grant != "":
		return "run, as the owner: " + usage + "; " + grant + "; or the database or schema does not exist: correct attributes database and schema"
	}
	return "run, as the owner: " + usage + "; or the object does not exist"
}

// grantOn returns the statement that grants privileges on an object of a kind.
func (c config) grantOn(privileges, kind, name string) string {
	return "GRANT " + privileges + " ON " + kind + " " + name + " TO ROLE " + c.roleName()
}

// grantCreate returns the statement that lets the role create objects of a kind: an
// external stage also needs its integration.
func (c config) grantCreate(kind string) string {
	grant := c.grantOn("CREATE "+kind, "SCHEMA", c.schemaName())
	if kind == "STAGE" && c.isSet() {
		grant += "; " + c.grantIntegration()
	}
	return grant
}

func (c config) grantIntegration() string {
	return c.grantOn("USAGE", "INTEGRATION", identifier(c.Integration))
}

// bucketHint returns the next step for errors of the service's access to the bucket of an
// external stage, or "".
func (c config) bucketHint(e *gosnowflake.SnowflakeError) string {
	if !c.isSet() {
		return ""
	}
	text := strings.ToLower(e.Error())
	name := identifier(c.Integration)
	switch {
	case strings.Contains(text, "is not allowed by integration"):
		return "let the integration read the place: ALTER STORAGE INTEGRATION " + name + " SET STORAGE_ALLOWED_LOCATIONS = (<those it has>, " + literal(strings.TrimSuffix(c.URL, "/")+"/") + ")"
	case strings.Contains(text, "assuming aws_role"):
		return "the trust policy of the integration's role must allow sts:AssumeRole to STORAGE_AWS_IAM_USER_ARN with the external id STORAGE_AWS_EXTERNAL_ID, as DESC INTEGRATION " + name + " shows them"
	case strings.Contains(text, "access denied"), strings.Contains(text, "accessdenied"):
		return "the role of the integration " + name + " needs s3:GetObject and s3:GetObjectVersion on the objects, s3:ListBucket and s3:GetBucketLocation on the bucket"
	}
	return ""
}

// warehouseHint returns the next step for errors of the warehouse, or "".
func (c config) warehouseHint(e *gosnowflake.SnowflakeError) string {
	text := strings.ToLower(e.Error())
	name := identifier(c.Warehouse)
	switch {
	case strings.Contains(text, "resource monitor"):
		return "a resource monitor has stopped the warehouse: raise its quota (ALTER RESOURCE MONITOR … SET CREDIT_QUOTA = …), or wait for its next period"
	case strings.Contains(text, "cannot be resumed"), strings.Contains(text, "is suspended"):
		return "let the warehouse resume by itself: ALTER WAREHOUSE " + name + " SET AUTO_RESUME = TRUE; or GRANT OPERATE ON WAREHOUSE " + name + " TO ROLE " + c.roleName()
	case e.Number == noWarehouse, strings.Contains(text, "no active warehouse"):
		return "the warehouse does not exist, or the role may not use it: GRANT USAGE ON WAREHOUSE " + name + " TO ROLE " + c.roleName()
	}
	return ""
}

// isLogin reports whether an error is about credentials.
func isLogin(e *gosnowflake.SnowflakeError) bool {
	return e.Number >= 390100 && e.Number < 391000 || e.Number >= 394300 && e.Number < 395600
}

var uuidForm = regexp.MustCompile(`\[?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\]?`)

// loginRules are the hints for refused logins: by number, or by words of the text in
// lower case. The first that fits is used.
var loginRules = []struct {
	numbers []int
	words   []string
	locks   bool // repeated, it locks the user
	hint    func(c config, text string) string
}{
	{words: []string{"mfa with totp is required", "multi-factor authentication is required", "mfa enrollment"}, locks: true, hint: fixed(
		"this user may not log in with a password alone: passwords of users of services have ended. Use private_key (ALTER USER … SET RSA_PUBLIC_KEY = '…', TYPE = SERVICE), or workload_identity")},
	{words: []string{"network policy is required"}, hint: fixed(
		"a programmatic access token needs a network policy on its user: CREATE NETWORK POLICY … ALLOWED_IP_LIST = ('<the host's address>'); ALTER USER … SET NETWORK_POLICY = …; or use private_key")},
	{numbers: []int{addressRefused, addressRefused2}, words: []string{"is not allowed to access snowflake", "ip address", "incoming request with ip"}, hint: fixed(
		"the network policy of the account or of the user does not allow this host's address: add the address of the message to its ALLOWED_IP_LIST")},
	{numbers: []int{userLocked}, words: []string{"temporarily locked", "user is locked", "account is locked"}, locks: true, hint: func(c config, _ string) string {
		return "the user is locked after failed logins: wait 15 minutes, or ALTER USER " + literalUser(c) + " SET MINS_TO_UNLOCK = 0; then correct the credential"
	}},
	{numbers: []int{invalidJWT, 394300, 394302, 394303, 394304, 394307}, words: []string{"jwt token is invalid"}, hint: jwtHint},
	{numbers: []int{roleMissing}, hint: func(c config, _ string) string {
		return "the role does not exist, or is not granted to the user: GRANT ROLE " + c.roleName() + " TO USER " + literalUser(c)
	}},
	{numbers: []int{oauthExpired}, words: []string{"oauth access token expired"}, hint: fixed("the OAuth token has expired: set oauth_token to a new one, or use private_key, which does not expire")},
	{numbers: []int{oauthInvalid}, words: []string{"invalid oauth access token"}, hint: fixed("the OAuth token is not valid for this account: compare the integration's issuer, audience and user mapping")},
	{words: []string{"programmatic access token"}, hint: fixed("the programmatic access token is wrong, has expired or was removed: ALTER USER … ADD PROGRAMMATIC ACCESS TOKEN; an authentication policy must list PROGRAMMATIC_ACCESS_TOKEN")},
	{words: []string{"workload identity"}, hint: func(c config, _ string) string {
		return "the user's workload identity does not fit this machine's: ALTER USER … SET WORKLOAD_IDENTITY = (TYPE = " + strings.ToUpper(c.Workload) + " …), TYPE = SERVICE"
	}},
	{numbers: []int{wrongPassword}, locks: true, hint: fixed("the user or the credential is wrong. Services log in with private_key: passwords of their users have ended")},
}

func fixed(text string) func(config, string) string {
	return func(config, string) string { return text }
}

// literalUser is the user in statements of a hint.
func literalUser(c config) string {
	if c.User == "" {
		return "<the user>"
	}
	return `"` + strings.ReplaceAll(strings.ToUpper(c.User), `"`, `""`) + `"`
}

// jwtHint explains a refused key. The service tells the reason to administrators only,
// by the id in its text.
func jwtHint(c config, text string) string {
	hint := "the key does not fit the user: compare DESCRIBE USER " + literalUser(c) + " (RSA_PUBLIC_KEY_FP, LOGIN_NAME) with the key, account and user; " +
		"or this host's clock differs from the service's by more than a minute: compare it with a time server"
	if m := uuidForm.FindStringSubmatch(text); m != nil {
		hint += ". An administrator finds the reason with SELECT SYSTEM$GET_LOGIN_FAILURE_DETAILS('" + m[1] + "')"
	}
	return hint
}

// loginRule returns the index of the rule for the error of a login; -1: none.
func loginRule(err error) int {
	e := serviceError(err)
	if e == nil {
		return -1
	}
	text := strings.ToLower(e.Error())
	for i, r := range loginRules {
		for _, n := range r.numbers {
			if e.Number == n {
				return i
			}
		}
		for _, w := range r.words {
			if strings.Contains(text, w) {
				return i
			}
		}
	}
	return -1
}

// countsTowardLock reports whether the service counts a refused login, and locks the
// user after some.
func countsTowardLock(err error) bool {
	i := loginRule(err)
	return i >= 0 && loginRules[i].locks
}

// attestationHints are the ways to give the host an identity, by workload_identity.
var attestationHints = map[string]string{
	"aws":   "give the host an instance role, a web identity or keys in its environment, and AWS_REGION",
	"gcp":   "the host must run with a service account: on a machine, in a pod with Workload Identity or in Cloud Run",
	"azure": "the host must run with a managed identity: IDENTITY_ENDPOINT and IDENTITY_HEADER are set in functions and containers, machines have a metadata service",
	"oidc":  "token_file must hold the identity token, a JWT with iss and sub, as Kubernetes projects it",
}

// attestationError completes an error that has met the login before the service was
// asked: the machine has no identity, or the service that attests it does not answer now.
func (c config) attestationError(err error) error {
	e := new(gosnowflake.SnowflakeError)
	if c.Workload == "" || classified(err) || errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	return sdk.Retryable(fmt.Errorf("get the workload identity of this machine: %w; if this continues: %s", err, attestationHints[c.Workload]), 0)
}

// loginError gives the error of a login its class and hint.
func (c config) loginError(err error) error {
	if classified(err) || errors.Is(err, context.Canceled) {
		return err
	}
	if i := loginRule(err); i >= 0 {
		return sdk.Configuration(err, loginRules[i].hint(c, err.Error()))
	}
	e := new(gosnowflake.SnowflakeError)
	switch {
	case errors.As(err, &e) && (e.Number == gosnowflake.ErrCodeFailedToConnect || e.Number == gosnowflake.ErrFailedToAuth):
		return sdk.Configuration(err, "the account does not exist, or is not reached at this address: correct attribute account (SELECT CURRENT_ORGANIZATION_NAME() || '-' || CURRENT_ACCOUNT_NAME())")
	case serviceError(err) != nil && isLogin(e):
		return sdk.Configuration(err, "the service has refused the login: see the code in its documentation")
	}
	return sdk.Retryable(err, 0)
}
