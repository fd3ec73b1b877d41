package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/snowflakedb/gosnowflake/v2"
)

// snowflakeVariables name an account, and a user who may create a schema in a database of
// it. SMOKE_SNOWFLAKE_STAGE_URL, SMOKE_SNOWFLAKE_INTEGRATION and SMOKE_SNOWFLAKE_STAGE_REGION
// may be set as well: the files then wait in this external stage.
var snowflakeVariables = []struct{ name, meaning string }{
	{"SMOKE_SNOWFLAKE_ACCOUNT", "the account's identifier"}, {"SMOKE_SNOWFLAKE_USER", "a user's login name"},
	{"SMOKE_SNOWFLAKE_KEY_FILE", "the path of its private key, PKCS#8 without a passphrase"}, {"SMOKE_SNOWFLAKE_ROLE", "a role with CREATE SCHEMA on the database"},
	{"SMOKE_SNOWFLAKE_WAREHOUSE", "a warehouse that the role may use"}, {"SMOKE_SNOWFLAKE_DATABASE", "a database, in capitals"},
}

// snowflakeAccount is an account of Snowflake and the schema that the comparison creates in
// it.
type snowflakeAccount struct {
	pool             *sql.DB
	database, schema string
}

// newSnowflake returns the account that the variables name, with the name of a schema that
// does not exist.
func newSnowflake(lookup func(string) string) (*snowflakeAccount, error) {
	var missing []string
	for _, v := range snowflakeVariables {
		if lookup(v.name) == "" {
			missing = append(missing, v.name+", "+v.meaning)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the environment needs %s", strings.Join(missing, "; "))
	}
	key, err := snowflakeKey(lookup("SMOKE_SNOWFLAKE_KEY_FILE"))
	if err != nil {
		return nil, err
	}
	return &snowflakeAccount{
		pool: sql.OpenDB(gosnowflake.NewConnector(gosnowflake.SnowflakeDriver{}, gosnowflake.Config{
			Account: lookup("SMOKE_SNOWFLAKE_ACCOUNT"), User: lookup("SMOKE_SNOWFLAKE_USER"), Authenticator: gosnowflake.AuthTypeJwt, PrivateKey: key,
			Role: lookup("SMOKE_SNOWFLAKE_ROLE"), Warehouse: lookup("SMOKE_SNOWFLAKE_WAREHOUSE"), Database: lookup("SMOKE_SNOWFLAKE_DATABASE"),
		})),
		database: lookup("SMOKE_SNOWFLAKE_DATABASE"), schema: "PENSTOCK_SMOKE_" + rand.Text()[:12],
	}, nil
}

// snowflakeKey reads a private key.
func snowflakeKey(path string) (*rsa.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s is not a PKCS#8 key without a passphrase", path)
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an RSA key", path)
	}
	return private, nil
}

func (a *snowflakeAccount) name() string {
	return `"` + strings.ReplaceAll(a.database, `"`, `""`) + `"."` + a.schema + `"`
}

// smokeSnowflake runs the comparison with Snowflake and returns the exit status.
func smokeSnowflake(ctx context.Context, in *os.File, out io.Writer) int {
	a, err := newSnowflake(os.Getenv)
	if err != nil {
		fmt.Fprintln(out, "smoke-snowflake: nothing was done:", err)
		return exitUsage
	}
	defer func() { _ = a.pool.Close() }()
	fmt.Fprintf(out, "smoke-snowflake creates the schema %s with less than 1 MB, which is dropped at the end. It keeps the warehouse busy for about two minutes, which is billed.\n", a.name())
	if url := os.Getenv("SMOKE_SNOWFLAKE_STAGE_URL"); url != "" {
		fmt.Fprintf(out, "It uploads files of a few KB to %s and removes them.\n", url)
	}
	if !agreed(in, out) {
		return exitUsage
	}
	status := 0
	if err := a.compare(ctx); err != nil {
		fmt.Fprintln(out, "smoke-snowflake:", err)
		status = exitFailed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	if _, err := a.pool.ExecContext(ctx, "DROP SCHEMA IF EXISTS "+a.name()); err != nil {
		fmt.Fprintf(out, "The schema %s is left: %v\n", a.name(), err)
		return exitFailed
	}
	fmt.Fprintf(out, "The schema %s is dropped.\n", a.name())
	return status
}

// compare creates the schema and runs the comparison, which the plugin's tests hold.
func (a *snowflakeAccount) compare(ctx context.Context) error {
	if _, err := a.pool.ExecContext(ctx, "CREATE SCHEMA "+a.name()); err != nil {
		return errors.Join(errors.New("create the schema"), err)
	}
	return goTest(ctx, "", "TestAccount", "./plugins/snowflake", "SMOKE_SNOWFLAKE_SCHEMA="+a.schema)
}
