package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	gluetypes "github.com/aws/aws-sdk-go-v2/service/glue/types"
	"github.com/aws/aws-sdk-go-v2/service/redshiftdata"
	datatypes "github.com/aws/aws-sdk-go-v2/service/redshiftdata/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/penstock-io/penstock/test/objectstore"
)

// statementTime bounds one statement, of a workgroup that has to wake up too.
const statementTime = 3 * time.Minute

// redshiftAccount is a bucket, a catalog and a workgroup or cluster of one account, and
// the names that the comparison creates in them.
type redshiftAccount struct {
	bucket                       *objectstore.Bucket
	prefix, name                 string // name: of databases in Glue and of schemas, with a format after it
	workgroup, cluster, database string
	catalog                      *glue.Client
	data                         *redshiftdata.Client
}

// newRedshift returns the account that the variables name, with names that do not exist.
func newRedshift(ctx context.Context, lookup func(string) (string, bool)) (*redshiftAccount, error) {
	value := func(name string) string { text, _ := lookup(name); return text }
	a := &redshiftAccount{
		prefix: objectstore.NewPrefix(), name: "penstock_smoke_" + strings.ToLower(rand.Text()[:12]),
		workgroup: value("SMOKE_REDSHIFT_WORKGROUP"), cluster: value("SMOKE_REDSHIFT_CLUSTER"), database: value("SMOKE_REDSHIFT_DATABASE"),
	}
	store, err := objectstore.Named("s3")
	if err != nil {
		return nil, err
	}
	if a.bucket, err = store.Account(lookup, a.prefix); err != nil {
		return nil, err
	}
	if (a.workgroup == "") == (a.cluster == "") || a.database == "" {
		return nil, errors.New("the environment needs SMOKE_REDSHIFT_DATABASE, a database in Redshift, and one of SMOKE_REDSHIFT_WORKGROUP, a workgroup's name or ARN, and SMOKE_REDSHIFT_CLUSTER, a cluster; " +
			"optional are SMOKE_REDSHIFT_SPECTRUM_ROLE, the role with which Redshift reads the bucket, and SMOKE_REDSHIFT_ROLE_ARN with SMOKE_REDSHIFT_EXTERNAL_ID, a role to assume for Glue and the Data API")
	}
	conf, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	if role := value("SMOKE_REDSHIFT_ROLE_ARN"); role != "" {
		conf.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(conf), role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "penstock-smoke"
			if id := value("SMOKE_REDSHIFT_EXTERNAL_ID"); id != "" {
				o.ExternalID = &id
			}
		}))
	}
	a.catalog, a.data = glue.NewFromConfig(conf), redshiftdata.NewFromConfig(conf)
	return a, nil
}

// names are those of the databases and the schemas: one of each format.
func (a *redshiftAccount) names() []string { return []string{a.name + "_parquet", a.name + "_json"} }

// smokeRedshift runs the comparison with Redshift Spectrum and returns the exit status.
func smokeRedshift(ctx context.Context, in *os.File, out io.Writer) int {
	a, err := newRedshift(ctx, os.LookupEnv)
	if err != nil {
		fmt.Fprintln(out, "smoke-redshift: nothing was done:", err)
		return exitUsage
	}
	fmt.Fprintf(out, "smoke-redshift creates the databases %s in Glue, the external schemas of the same names, and schemas with _views after these names, in the database %s in Redshift, and objects of less than 1 MB below %s in the bucket, "+
		"which are removed at the end. It runs about 40 statements in a few minutes, for which a serverless workgroup is billed: less than $1.\n",
		strings.Join(a.names(), " and "), a.database, a.prefix)
	if !agreed(in, out) {
		return exitUsage
	}
	status := 0
	if err := a.compare(ctx); err != nil {
		fmt.Fprintln(out, "smoke-redshift:", err)
		status = exitFailed
	}
	removing, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	for _, name := range a.names() {
		for _, schema := range []string{name + "_views", name} {
			if err := a.dropSchema(removing, schema); err != nil {
				fmt.Fprintf(out, "The schema %s is left: %v\n", schema, err)
				status = exitFailed
			}
		}
		if err := a.dropDatabase(removing, name); err != nil {
			fmt.Fprintf(out, "The database %s of Glue is left: %v\n", name, err)
			status = exitFailed
		}
	}
	if status == 0 {
		fmt.Fprintln(out, "The databases and schemas are removed.")
	}
	return max(status, remove(ctx, a.bucket, out))
}

// compare runs the comparison, which the plugin's tests hold.
func (a *redshiftAccount) compare(ctx context.Context) error {
	return goTest(ctx, "", "TestAccount", "./plugins/redshift", "SMOKE_REDSHIFT_NAME="+a.name, "SMOKE_REDSHIFT_PREFIX="+a.prefix)
}

// dropDatabase deletes the tables of a database in Glue, and the database.
func (a *redshiftAccount) dropDatabase(ctx context.Context, name string) error {
	var missing *gluetypes.EntityNotFoundException
	for _, table := range []string{"mp_master_event", "mp_people_data", "mp_identity_mappings_data"} {
		if _, err := a.catalog.DeleteTable(ctx, &glue.DeleteTableInput{DatabaseName: &name, Name: &table}); err != nil && !errors.As(err, &missing) {
			return err
		}
	}
	if _, err := a.catalog.DeleteDatabase(ctx, &glue.DeleteDatabaseInput{Name: &name}); err != nil && !errors.As(err, &missing) {
		return err
	}
	return nil
}

// dropSchema drops a schema with its views; the catalog's database stays.
func (a *redshiftAccount) dropSchema(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, statementTime)
	defer cancel()
	in := &redshiftdata.ExecuteStatementInput{Database: &a.database, Sql: aws.String(`DROP SCHEMA IF EXISTS "` + name + `" CASCADE`)}
	if in.WorkgroupName = &a.workgroup; a.workgroup == "" {
		in.WorkgroupName, in.ClusterIdentifier = nil, &a.cluster
		if user := os.Getenv("SMOKE_REDSHIFT_DB_USER"); user != "" {
			in.DbUser = &user
		}
	}
	started, err := a.data.ExecuteStatement(ctx, in)
	if err != nil {
		return err
	}
	pause := time.NewTicker(500 * time.Millisecond)
	defer pause.Stop()
	for {
		out, err := a.data.DescribeStatement(ctx, &redshiftdata.DescribeStatementInput{Id: started.Id})
		if err != nil {
			return err
		}
		switch out.Status {
		case datatypes.StatusStringFinished:
			return nil
		case datatypes.StatusStringFailed, datatypes.StatusStringAborted:
			return errors.New(aws.ToString(out.Error))
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
