package snowflake

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/penstock-io/penstock/sdk"
)

const (
	// clientTimeout bounds one request, which the service answers within 45 s;
	// loginTimeout bounds the pauses of one login between its requests. A login may take
	// longer than the driver's own limit of ten seconds for key pairs.
	clientTimeout = 75 * time.Second
	loginTimeout  = 2 * time.Minute
	// refusedFor is how long refused credentials are not tried again: five wrong
	// passwords within a quarter of an hour lock a user.
	refusedFor = 15 * time.Minute
	// lockTimeout and statementTimeout are limits of the service, in seconds.
	lockTimeout      = 600
	statementTimeout = 4 * 3600
)

// logins lets one login of each user go on at a time: the service counts refused logins by
// user. A service that does not answer holds up no login of another user. It is safe for
// concurrent use.
type logins struct {
	mu    sync.Mutex
	turns map[string]chan struct{} // by loginKey; full while a login goes on
}

func newLogins() *logins { return &logins{turns: make(map[string]chan struct{})} }

// enter waits for the turn of a user's login. The caller calls leave at its end.
func (l *logins) enter(ctx context.Context, key string) (leave func(), err error) {
	l.mu.Lock()
	turn := l.turns[key]
	if turn == nil {
		turn = make(chan struct{}, 1)
		l.turns[key] = turn
	}
	l.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// loginKey identifies the user that a configuration logs in as. Case does not count in
// its parts.
func (c config) loginKey() string {
	return strings.ToLower(strings.Join([]string{c.Endpoint, c.Account, c.User}, "\x00"))
}

// connector logs in. It implements driver.Connector, so that a pool of sessions uses
// it; it remembers credentials that were refused.
type connector struct {
	config config
	logins *logins
	now    func() time.Time
	// transport makes the requests to the service and to its storage; nil: the driver's
	// own. Set before the first login.
	transport http.RoundTripper
	// temporary returns the directory for the driver's copies of uploaded files; nil: the
	// temporary directory.
	temporary func() (string, error)
	patience  patience

	mu      sync.Mutex
	refused error
	until   time.Time
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return gosnowflake.SnowflakeDriver{} }

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	leave, err := c.logins.enter(ctx, c.config.loginKey())
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := c.remembered(); err != nil {
		return nil, err
	}
	conf, err := c.config.login()
	if err != nil {
		return nil, err
	}
	conf.Transporter = c.transport
	if c.temporary != nil {
		// Without a directory a session is still of use: uploads need the spool first.
		conf.TmpDirPath, _ = c.temporary()
	}
	quiet()
	conn, err := c.patience.connect(ctx, gosnowflake.NewConnector(gosnowflake.SnowflakeDriver{}, conf).Connect)
	if err != nil {
		return nil, c.remember(c.config.loginError(c.config.attestationError(shown(err))))
	}
	return conn, nil
}

// remembered returns the refusal of an earlier login while it holds.
func (c *connector) remembered() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil || !c.now().Before(c.until) {
		return nil
	}
	e := new(sdk.Error)
	errors.As(c.refused, &e)
	return sdk.Configuration(fmt.Errorf("%w (the service was not asked again: another try is made after %s, or when the configuration changes)", e.Err, c.until.UTC().Format(time.RFC3339)), e.Hint)
}

// remember keeps an error that says that the credentials are wrong, and returns it.
func (c *connector) remember(err error) error {
	if !countsTowardLock(err) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused, c.until = err, c.now().Add(refusedFor)
	return err
}

// quiet keeps the driver from asking cloud metadata services for the platform, which
// it would report to the service, from loading a native library for its telemetry, and
// from logging: its errors are returned.
var quiet = sync.OnceFunc(func() {
	_ = os.Setenv("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true")
	_ = os.Setenv("SF_DISABLE_MINICORE", "true")
	_ = gosnowflake.GetLogger().SetLogLevel("off")
})

// login returns the driver's configuration.
func (c config) login() (gosnowflake.Config, error) {
	conf := gosnowflake.Config{
		Account: c.Account, User: c.User, Role: c.Role, Warehouse: c.Warehouse, Database: c.Database, Schema: c.Schema,
		Application: "Penstock",
		// A database that does not exist is then an error of the statement that needs it.
		ValidateDefaultParameters: gosnowflake.ConfigBoolFalse,
		DisableConsoleLogin:       gosnowflake.ConfigBoolTrue,
		DisableQueryContextCache:  true,
		MaxRetryCount:             maxRetries,
		Params:                    c.sessionParameters(),
	}
	//lint:ignore SA1019 the driver announces other settings, and has none yet
	conf.ClientTimeout, conf.JWTClientTimeout, conf.LoginTimeout = clientTimeout, clientTimeout, loginTimeout
	if err := c.place(&conf); err != nil {
		return conf, err
	}
	return conf, c.authenticate(&conf)
}

// place sets the server. Certificates of the service are checked for revocation as
// the driver does by default; those of another server are not the service's.
func (c config) place(conf *gosnowflake.Config) error {
	if c.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return sdk.Configuration(errors.New("endpoint is not a URL"), "")
	}
	conf.Protocol, conf.Host, conf.DisableOCSPChecks = u.Scheme, u.Hostname(), true
	conf.Port = 443
	if u.Scheme == "http" {
		conf.Port = 80
	}
	if p := u.Port(); p != "" {
		if conf.Port, err = strconv.Atoi(p); err != nil {
			return sdk.Configuration(errors.New("endpoint has no valid port"), "")
		}
	}
	return nil
}

// authenticate sets the credential.
func (c config) authenticate(conf *gosnowflake.Config) error {
	switch {
	case c.PrivateKey != "":
		key, err := parseKey(c.PrivateKey, c.Passphrase)
		if err != nil {
			return sdk.Configuration(fmt.Errorf("private_key: %w", err), "")
		}
		conf.Authenticator, conf.PrivateKey = gosnowflake.AuthTypeJwt, key
	case c.Token != "":
		conf.Authenticator, conf.Token = gosnowflake.AuthTypePat, c.Token
	case c.OAuthToken != "":
		conf.Authenticator, conf.Token = gosnowflake.AuthTypeOAuth, c.OAuthToken
	case c.Workload != "":
		conf.Authenticator, conf.WorkloadIdentityProvider = gosnowflake.AuthTypeWorkloadIdentityFederation, strings.ToUpper(c.Workload)
		conf.WorkloadIdentityEntraResource, conf.WorkloadIdentityImpersonationPath = c.Resource, c.Impersonation
		if c.TokenFile != "" {
			token, err := os.ReadFile(c.TokenFile)
			if err != nil {
				return sdk.Configuration(fmt.Errorf("read token_file: %w", err), "let the host's user read the file")
			}
			conf.Token = strings.TrimSpace(string(token))
		}
	default:
		conf.Authenticator, conf.Password = gosnowflake.AuthTypeSnowflake, c.Password
	}
	return nil
}

// sessionParameters are those of every session. A failed statement ends its
// transaction; a session that is gone does not hold locks for long. Where lower-case
// letters of a name count, an account or user may not change that: another schema would
// be written to.
func (c config) sessionParameters() map[string]*string {
	values := map[string]string{
		"QUERY_TAG": "penstock", "TIMEZONE": "UTC", "AUTOCOMMIT": "true", "TRANSACTION_ABORT_ON_ERROR": "true", "ABORT_DETACHED_QUERY": "true",
		"LOCK_TIMEOUT": strconv.Itoa(lockTimeout), "STATEMENT_TIMEOUT_IN_SECONDS": strconv.Itoa(statementTimeout),
		"CLIENT_TELEMETRY_ENABLED": "false",
	}
	if names := c.schemaName() + identifier(c.Warehouse); names != strings.ToUpper(names) {
		values["QUOTED_IDENTIFIERS_IGNORE_CASE"] = "false"
	}
	parameters := make(map[string]*string)
	for name, value := range values {
		parameters[name] = &value
	}
	return parameters
}
