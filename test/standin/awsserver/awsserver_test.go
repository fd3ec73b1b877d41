package awsserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	gluetypes "github.com/aws/aws-sdk-go-v2/service/glue/types"
	"github.com/aws/aws-sdk-go-v2/service/redshiftdata"
	datatypes "github.com/aws/aws-sdk-go-v2/service/redshiftdata/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

const role = "arn:aws:iam::123456789012:role/export"

type account struct {
	t   *testing.T
	sts *STS
}

func newAccount(t *testing.T) *account {
	a := &account{t: t, sts: StartSTS(t, time.Now)}
	a.sts.Trust(role, "project-token")
	return a
}

func (a *account) config(key, secret string) aws.Config {
	return aws.Config{
		Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
		Retryer: func() aws.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), 1) },
	}
}

// session returns a configuration with a session of a role.
func (a *account) session(key, secret, role, externalID string) aws.Config {
	c := a.config(key, secret)
	client := sts.NewFromConfig(c, func(o *sts.Options) { o.BaseEndpoint = &a.sts.URL })
	c.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(client, role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "penstock-7"
		if externalID != "" {
			o.ExternalID = &externalID
		}
	}))
	return c
}

func (a *account) good() aws.Config {
	return a.session(a.sts.Caller.AccessKeyID, a.sts.Caller.SecretAccessKey, role, "project-token")
}

func (a *account) glue(region string) (*Glue, *glue.Client) {
	g := StartGlue(a.t, a.sts, region)
	return g, glue.NewFromConfig(a.good(), func(o *glue.Options) { o.BaseEndpoint = &g.URL })
}

func (a *account) redshift() (*Redshift, *redshiftdata.Client) {
	r := StartRedshift(a.t, a.sts, "eu-west-1", time.Now)
	return r, redshiftdata.NewFromConfig(a.good(), func(o *redshiftdata.Options) { o.BaseEndpoint = &r.URL })
}

func wantRefused(t *testing.T, err error, code, text string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		t.Errorf("%v, want %s with %q", err, code, text)
	}
}

// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html and
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-user_externalid.html
func TestRolesThatAreNotTrusted(t *testing.T) {
	a := newAccount(t)
	key, secret := a.sts.Caller.AccessKeyID, a.sts.Caller.SecretAccessKey
	for name, tt := range map[string]struct{ key, secret, role, externalID, code string }{
		"another external id": {key, secret, role, "guess", "AccessDenied"},
		"no external id":      {key, secret, role, "", "AccessDenied"},
		"another role":        {key, secret, role + "2", "project-token", "AccessDenied"},
		"a wrong secret":      {key, "wrong", role, "project-token", "SignatureDoesNotMatch"},
		"a wrong key":         {"AKIDOTHER", secret, role, "project-token", "InvalidClientTokenId"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.session(tt.key, tt.secret, tt.role, tt.externalID).Credentials.Retrieve(t.Context())
			wantRefused(t, err, tt.code, "")
		})
	}
	if n := len(a.sts.Sessions()); n != 0 {
		t.Errorf("%d sessions were handed out", n)
	}
}

// https://docs.aws.amazon.com/glue/latest/webapi/CommonErrors.html
func TestRequestsWithoutASession(t *testing.T) {
	a := newAccount(t)
	g, good := a.glue("eu-west-1")
	ask := func(c aws.Config) error {
		_, err := glue.NewFromConfig(c, func(o *glue.Options) { o.BaseEndpoint = &g.URL }).GetDatabase(t.Context(), &glue.GetDatabaseInput{Name: aws.String("x")})
		return err
	}
	wantRefused(t, ask(a.config(a.sts.Caller.AccessKeyID, a.sts.Caller.SecretAccessKey)), "UnrecognizedClientException", "invalid")
	elsewhere := a.good()
	elsewhere.Region = "us-west-2"
	wantRefused(t, ask(elsewhere), "InvalidSignatureException", "does not match")
	wantRefused(t, ask(a.good()), "EntityNotFoundException", "Database x not found.")
	if _, err := good.GetDatabase(t.Context(), &glue.GetDatabaseInput{Name: aws.String("x")}); err == nil {
		t.Error("a database that does not exist was found")
	}
	a.sts.Lifetime = -time.Second
	c := a.good()
	held, err := c.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Credentials = credentials.NewStaticCredentialsProvider(held.AccessKeyID, held.SecretAccessKey, held.SessionToken)
	wantRefused(t, ask(c), "ExpiredTokenException", "expired")
}

func newTable(t *testing.T, c *glue.Client, keys ...string) *gluetypes.TableInput {
	t.Helper()
	if _, err := c.CreateDatabase(t.Context(), &glue.CreateDatabaseInput{DatabaseInput: &gluetypes.DatabaseInput{Name: aws.String("mp")}}); err != nil {
		t.Fatal(err)
	}
	in := &gluetypes.TableInput{Name: aws.String("events"), TableType: aws.String("EXTERNAL_TABLE"), Parameters: map[string]string{"fence": "1"}}
	for _, key := range keys {
		in.PartitionKeys = append(in.PartitionKeys, gluetypes.Column{Name: &key, Type: aws.String("string")})
	}
	if _, err := c.CreateTable(t.Context(), &glue.CreateTableInput{DatabaseName: aws.String("mp"), TableInput: in}); err != nil {
		t.Fatal(err)
	}
	return in
}

// Versions count from 0, as observed at the service:
// https://github.com/floci-io/floci/issues/1205. SkipArchive is described at
// https://docs.aws.amazon.com/glue/latest/webapi/API_UpdateTable.html
func TestTablesAreUpdatedUnderTheirVersion(t *testing.T) {
	a := newAccount(t)
	g, c := a.glue("eu-west-1")
	in := newTable(t, c)
	update := func(version *string, archive bool) error {
		_, err := c.UpdateTable(t.Context(), &glue.UpdateTableInput{
			DatabaseName: aws.String("mp"), TableInput: in, VersionId: version, SkipArchive: aws.Bool(!archive),
		})
		return err
	}
	got, err := c.GetTable(t.Context(), &glue.GetTableInput{DatabaseName: aws.String("mp"), Name: aws.String("events")})
	if err != nil || aws.ToString(got.Table.VersionId) != "0" || aws.ToString(got.Table.TableType) != "EXTERNAL_TABLE" || got.Table.Parameters["fence"] != "1" {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := update(aws.String("0"), false); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, update(aws.String("0"), false), "ConcurrentModificationException", "Update table failed due to concurrent modifications.")
	if err := update(nil, true); err != nil { // without a version the last writer wins
		t.Fatal(err)
	}
	if _, version, archived := g.Table("mp", "events"); version != 2 || archived != 1 {
		t.Errorf("version %d, %d archived", version, archived)
	}
	in.Name = aws.String("other")
	wantRefused(t, update(nil, false), "EntityNotFoundException", "Table other not found.")
	in.Name = aws.String("Upper")
	wantRefused(t, update(nil, false), "InvalidInputException", "tableInput.name")
}

// https://docs.aws.amazon.com/glue/latest/webapi/API_CreateTable.html and
// https://docs.aws.amazon.com/glue/latest/webapi/API_CreateDatabase.html
func TestWhatExistsIsNotCreatedAgain(t *testing.T) {
	a := newAccount(t)
	_, c := a.glue("eu-west-1")
	in := newTable(t, c)
	_, err := c.CreateTable(t.Context(), &glue.CreateTableInput{DatabaseName: aws.String("mp"), TableInput: in})
	wantRefused(t, err, "AlreadyExistsException", "Table already exists.")
	_, err = c.CreateDatabase(t.Context(), &glue.CreateDatabaseInput{DatabaseInput: &gluetypes.DatabaseInput{Name: aws.String("mp")}})
	wantRefused(t, err, "AlreadyExistsException", "Database already exists.")
	_, err = c.CreateTable(t.Context(), &glue.CreateTableInput{DatabaseName: aws.String("none"), TableInput: in})
	wantRefused(t, err, "EntityNotFoundException", "Database none not found.")
}

func partitions(from, n int) (list []gluetypes.PartitionInput) {
	for i := range n {
		day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, from+i).Format(time.DateOnly)
		list = append(list, gluetypes.PartitionInput{
			Values: []string{day}, StorageDescriptor: &gluetypes.StorageDescriptor{Location: aws.String("s3://lake/" + day + "/")},
		})
	}
	return list
}

// https://docs.aws.amazon.com/glue/latest/webapi/API_BatchCreatePartition.html: at
// most 100 entries; entries that fail are listed in an answer of status 200.
func TestPartitionsAreCreatedInBatches(t *testing.T) {
	a := newAccount(t)
	g, c := a.glue("eu-west-1")
	newTable(t, c, "mp_date")
	create := func(list []gluetypes.PartitionInput) ([]gluetypes.PartitionError, error) {
		out, err := c.BatchCreatePartition(t.Context(), &glue.BatchCreatePartitionInput{
			DatabaseName: aws.String("mp"), TableName: aws.String("events"), PartitionInputList: list,
		})
		if err != nil {
			return nil, err
		}
		return out.Errors, nil
	}
	_, err := create(partitions(0, 101))
	wantRefused(t, err, "InvalidInputException", "less than or equal to 100")
	if failed, err := create(partitions(0, 100)); err != nil || len(failed) != 0 || len(g.Partitions("mp", "events")) != 100 {
		t.Fatalf("%v, %d entries failed", err, len(failed))
	}
	g.BreakPartition("2026-04-12", "InternalServiceException")
	failed, err := create(partitions(99, 3))
	if err != nil || len(failed) != 2 {
		t.Fatalf("%v, %+v", err, failed)
	}
	for i, code := range []string{"AlreadyExistsException", "InternalServiceException"} {
		if got := aws.ToString(failed[i].ErrorDetail.ErrorCode); got != code || len(failed[i].PartitionValues) != 1 {
			t.Errorf("entry %d failed with %s, want %s", i, got, code)
		}
	}
	if failed, err := create(partitions(101, 1)); err != nil || len(failed) != 0 && aws.ToString(failed[0].ErrorDetail.ErrorCode) != "AlreadyExistsException" {
		t.Errorf("%v, %+v", err, failed)
	}
	wrong := partitions(200, 1)
	wrong[0].Values = append(wrong[0].Values, "more")
	_, err = create(wrong)
	wantRefused(t, err, "InvalidInputException", "number of partition keys")
	updated, err := c.BatchUpdatePartition(t.Context(), &glue.BatchUpdatePartitionInput{
		DatabaseName: aws.String("mp"), TableName: aws.String("events"),
		Entries: []gluetypes.BatchUpdatePartitionRequestEntry{
			{PartitionValueList: []string{"2026-01-01"}, PartitionInput: &partitions(300, 1)[0]},
			{PartitionValueList: []string{"1999-01-01"}, PartitionInput: &partitions(300, 1)[0]},
		},
	})
	if err != nil || len(updated.Errors) != 1 || aws.ToString(updated.Errors[0].ErrorDetail.ErrorCode) != "EntityNotFoundException" {
		t.Errorf("%v, %+v", err, updated)
	}
	got, err := c.BatchGetPartition(t.Context(), &glue.BatchGetPartitionInput{
		DatabaseName: aws.String("mp"), TableName: aws.String("events"),
		PartitionsToGet: []gluetypes.PartitionValueList{{Values: []string{"2026-01-01"}}, {Values: []string{"1999-01-01"}}},
	})
	if err != nil || len(got.Partitions) != 1 || aws.ToString(got.Partitions[0].StorageDescriptor.Location) != "s3://lake/2026-10-28/" {
		t.Errorf("%v, %+v", err, got)
	}
}

// The texts are those of https://github.com/aws-solutions/workload-discovery-on-aws/issues/228
func TestLakeFormationDenies(t *testing.T) {
	a := newAccount(t)
	g, c := a.glue("eu-west-1")
	g.DenyLakeFormation("CreateDatabase", "Required Create Database on Catalog")
	_, err := c.CreateDatabase(t.Context(), &glue.CreateDatabaseInput{DatabaseInput: &gluetypes.DatabaseInput{Name: aws.String("mp")}})
	wantRefused(t, err, "AccessDeniedException", "Insufficient Lake Formation permission(s): Required Create Database on Catalog")
	g.DenyLakeFormation("CreateDatabase", "")
	newTable(t, c)
}

func start(ctx context.Context, c *redshiftdata.Client, text, token string, change func(*redshiftdata.ExecuteStatementInput)) (string, error) {
	in := &redshiftdata.ExecuteStatementInput{Sql: &text, Database: aws.String("dev"), WorkgroupName: aws.String("wg")}
	if token != "" {
		in.ClientToken = &token
	}
	if change != nil {
		change(in)
	}
	out, err := c.ExecuteStatement(ctx, in)
	if err != nil {
		return "", err
	}
	return *out.Id, nil
}

// end describes a statement until it has ended.
func end(t *testing.T, c *redshiftdata.Client, id string) *redshiftdata.DescribeStatementOutput {
	t.Helper()
	for range 10 {
		out, err := c.DescribeStatement(t.Context(), &redshiftdata.DescribeStatementInput{Id: &id})
		if err != nil {
			t.Fatal(err)
		}
		switch out.Status {
		case datatypes.StatusStringFinished, datatypes.StatusStringFailed, datatypes.StatusStringAborted:
			return out
		}
	}
	t.Fatalf("statement %s does not end", id)
	return nil
}

const create = `CREATE EXTERNAL SCHEMA IF NOT EXISTS "mp_json_export" FROM DATA CATALOG DATABASE 'mp' REGION 'eu-west-1' IAM_ROLE 'arn:aws:iam::123456789012:role/spectrum'`

func TestExternalSchemas(t *testing.T) {
	a := newAccount(t)
	r, c := a.redshift()
	for _, text := range []string{create, create, `GRANT USAGE ON SCHEMA "mp_json_export" TO ROLE "analysts"`} {
		id, err := start(t.Context(), c, text, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if out := end(t, c, id); out.Status != datatypes.StatusStringFinished {
			t.Fatalf("%s: %s %s", text, out.Status, aws.ToString(out.Error))
		}
	}
	if got := r.Schemas()["mp_json_export"]; got.Database != "mp" || got.Role == "" || len(got.Usage) != 1 || got.Usage[0] != "role analysts" {
		t.Errorf("%+v", got)
	}
	id, err := start(t.Context(), c, "SELECT databasename, esoptions FROM svv_external_schemas WHERE schemaname = :schema", "", func(in *redshiftdata.ExecuteStatementInput) {
		in.Parameters = []datatypes.SqlParameter{{Name: aws.String("schema"), Value: aws.String("mp_json_export")}}
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.GetStatementResult(t.Context(), &redshiftdata.GetStatementResultInput{Id: &id})
	wantRefused(t, err, "ResourceNotFoundException", "does not have result") // it runs still
	end(t, c, id)
	out, err := c.GetStatementResult(t.Context(), &redshiftdata.GetStatementResultInput{Id: &id})
	if err != nil || len(out.Records) != 1 || out.Records[0][0].(*datatypes.FieldMemberStringValue).Value != "mp" {
		t.Errorf("%+v, %v", out, err)
	}
	for _, text := range []string{"SELEC 1", strings.Replace(create, " IF NOT EXISTS", "", 1), `GRANT USAGE ON SCHEMA "none" TO "x"`} {
		id, err := start(t.Context(), c, text, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if out := end(t, c, id); out.Status != datatypes.StatusStringFailed || !strings.HasPrefix(aws.ToString(out.Error), "ERROR: ") {
			t.Errorf("%s: %s %s", text, out.Status, aws.ToString(out.Error))
		}
	}
}

// https://docs.aws.amazon.com/redshift/latest/dg/r_CREATE_VIEW.html: a view over external
// tables is one WITH NO SCHEMA BINDING; an external schema holds no views.
// https://docs.aws.amazon.com/redshift/latest/dg/r_DROP_SCHEMA.html: RESTRICT is the default.
func TestViewsOverExternalTables(t *testing.T) {
	a := newAccount(t)
	r, c := a.redshift()
	const view = `CREATE VIEW "views"."v" AS SELECT * FROM "mp_json_export"."mp_master_event"`
	for _, tt := range []struct{ text, failure string }{
		{create, ""},
		{view + " WITH NO SCHEMA BINDING", `schema "views" does not exist`},
		{`CREATE SCHEMA IF NOT EXISTS "views"`, ""},
		{`CREATE SCHEMA IF NOT EXISTS "views"`, ""},
		{view, "External tables are not supported in views"},
		{strings.Replace(view, `"views"."v"`, `"mp_json_export"."v"`, 1) + " WITH NO SCHEMA BINDING", "does not exist"},
		{`GRANT SELECT ON "views"."v" TO "bi"`, `relation "v" does not exist`},
		{view + "\nWITH NO SCHEMA BINDING", ""},
		{view + " WITH NO SCHEMA BINDING", `relation "v" already exists`},
		{`GRANT SELECT ON "views"."v" TO ROLE "bi"`, ""},
		{`GRANT USAGE ON SCHEMA "views" TO ROLE "bi"`, ""},
		{`DROP SCHEMA IF EXISTS "mp_json_export"`, ""},
		{`DROP SCHEMA IF EXISTS "views"`, "other objects depend on it"},
	} {
		id, err := start(t.Context(), c, tt.text, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if out := end(t, c, id); !strings.Contains(aws.ToString(out.Error), tt.failure) || (out.Status == datatypes.StatusStringFailed) != (tt.failure != "") {
			t.Errorf("%s: %s %s, want %q", tt.text, out.Status, aws.ToString(out.Error), tt.failure)
		}
	}
	got, _ := r.Local("views")
	if v := got.Views["v"]; fmt.Sprint(got.Usage, v.Select) != "[role bi] [role bi]" || !strings.HasPrefix(v.Text, "SELECT * FROM") {
		t.Errorf("the schema is %+v", got)
	}
	if len(r.Schemas()) != 0 {
		t.Error("the external schema was not dropped")
	}
}

// https://docs.aws.amazon.com/glue/latest/webapi/API_DeleteDatabase.html and
// https://docs.aws.amazon.com/glue/latest/webapi/API_DeleteTable.html
func TestWhatIsDeletedIsMissing(t *testing.T) {
	a := newAccount(t)
	_, c := a.glue("eu-west-1")
	newTable(t, c)
	deleteTable := func() error {
		_, err := c.DeleteTable(t.Context(), &glue.DeleteTableInput{DatabaseName: aws.String("mp"), Name: aws.String("events")})
		return err
	}
	deleteDatabase := func() error {
		_, err := c.DeleteDatabase(t.Context(), &glue.DeleteDatabaseInput{Name: aws.String("mp")})
		return err
	}
	if err := deleteTable(); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, deleteTable(), "EntityNotFoundException", "Table events not found.")
	if err := deleteDatabase(); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, deleteDatabase(), "EntityNotFoundException", "Database mp not found.")
}

// https://docs.aws.amazon.com/redshift/latest/mgmt/data-api.html and
// https://docs.aws.amazon.com/redshift-data/latest/APIReference/API_ExecuteStatement.html
func TestStatementsThatAreRefused(t *testing.T) {
	a := newAccount(t)
	_, c := a.redshift()
	for name, tt := range map[string]struct {
		text   string
		change func(*redshiftdata.ExecuteStatementInput)
		want   string
	}{
		"more than 100 KB":        {strings.Repeat("x", 100<<10+1), nil, "102401"},
		"no workgroup":            {create, func(in *redshiftdata.ExecuteStatementInput) { in.WorkgroupName = nil }, "Exactly one"},
		"a workgroup and cluster": {create, func(in *redshiftdata.ExecuteStatementInput) { in.ClusterIdentifier = aws.String("c") }, "Exactly one"},
		"no database":             {create, func(in *redshiftdata.ExecuteStatementInput) { in.Database = nil }, "Database"},
		"a user of a workgroup":   {create, func(in *redshiftdata.ExecuteStatementInput) { in.DbUser = aws.String("u") }, "DbUser"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := start(t.Context(), c, tt.text, "", tt.change)
			wantRefused(t, err, "ValidationException", tt.want)
		})
	}
	_, err := c.DescribeStatement(t.Context(), &redshiftdata.DescribeStatementInput{Id: aws.String("none")})
	wantRefused(t, err, "ResourceNotFoundException", "does not exist")
}

// ClientToken: "A unique, case-sensitive identifier that you provide to ensure the
// idempotency of the request", as in the page of TestStatementsThatAreRefused.
func TestClientTokens(t *testing.T) {
	a := newAccount(t)
	r, c := a.redshift()
	first, err := start(t.Context(), c, create, "token", nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := start(t.Context(), c, create, "token", nil)
	if err != nil || again != first {
		t.Errorf("%q, %v, want %q", again, err, first)
	}
	_, err = start(t.Context(), c, create+" ", "token", nil)
	wantRefused(t, err, "ValidationException", "other parameters")
	if n := len(r.statements); n != 1 {
		t.Errorf("%d statements were started", n)
	}
}

// https://docs.aws.amazon.com/redshift/latest/dg/r_CREATE_EXTERNAL_SCHEMA.html, and
// https://docs.aws.amazon.com/redshift-data/latest/APIReference/API_BatchExecuteStatement.html:
// the statements of a batch are one transaction.
func TestExternalObjectsAreNotMadeInABatch(t *testing.T) {
	a := newAccount(t)
	r, c := a.redshift()
	out, err := c.BatchExecuteStatement(t.Context(), &redshiftdata.BatchExecuteStatementInput{
		Database: aws.String("dev"), WorkgroupName: aws.String("wg"), Sqls: []string{create},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := end(t, c, *out.Id); got.Status != datatypes.StatusStringFailed || !strings.Contains(aws.ToString(got.Error), "cannot run inside a transaction block") {
		t.Errorf("%s %s", got.Status, aws.ToString(got.Error))
	}
	if len(r.Schemas()) != 0 {
		t.Error("the schema was created")
	}
	_, err = c.BatchExecuteStatement(t.Context(), &redshiftdata.BatchExecuteStatementInput{
		Database: aws.String("dev"), WorkgroupName: aws.String("wg"), Sqls: make([]string, 41),
	})
	wantRefused(t, err, "ValidationException", "40")
}

// https://docs.aws.amazon.com/redshift/latest/mgmt/data-api.html: results are kept
// for 24 hours; https://github.com/pulumi/pulumi-aws/issues/2055 has the text.
func TestStatementsExpireAndAreCancelled(t *testing.T) {
	a := newAccount(t)
	r, c := a.redshift()
	r.Hang(true)
	id, err := start(t.Context(), c, create, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		out, err := c.DescribeStatement(t.Context(), &redshiftdata.DescribeStatementInput{Id: &id})
		if err != nil || out.Status != datatypes.StatusStringStarted {
			t.Fatalf("%v, %v", out, err)
		}
	}
	if _, err := c.CancelStatement(t.Context(), &redshiftdata.CancelStatementInput{Id: &id}); err != nil {
		t.Fatal(err)
	}
	if out := end(t, c, id); out.Status != datatypes.StatusStringAborted {
		t.Errorf("%s after it was cancelled", out.Status)
	}
	_, err = c.CancelStatement(t.Context(), &redshiftdata.CancelStatementInput{Id: &id})
	wantRefused(t, err, "ValidationException", "already in ABORTED state")
	r.statements[id].created = time.Now().Add(-25 * time.Hour)
	_, err = c.DescribeStatement(t.Context(), &redshiftdata.DescribeStatementInput{Id: &id})
	wantRefused(t, err, "ValidationException", "expired")
}

// Faults of tests reach the client as the service's own errors do, and a lost
// answer as a cut connection after the request was carried out.
func TestFaultsAndLostAnswers(t *testing.T) {
	a := newAccount(t)
	g, c := a.glue("eu-west-1")
	g.Fault(func(operation string, _ []byte) error {
		return &Refusal{500, "InternalServiceException", "said by the test of " + operation}
	})
	ask := func() error {
		_, err := c.CreateDatabase(t.Context(), &glue.CreateDatabaseInput{DatabaseInput: &gluetypes.DatabaseInput{Name: aws.String("mp")}})
		return err
	}
	wantRefused(t, ask(), "InternalServiceException", "said by the test of CreateDatabase")
	g.Fault(nil)
	g.Lose(func(string, []byte) bool { return true })
	var api smithy.APIError
	if err := ask(); err == nil || errors.As(err, &api) {
		t.Errorf("%v, want a cut connection", err)
	}
	g.Lose(nil)
	wantRefused(t, ask(), "AlreadyExistsException", "")
	if n := len(g.Calls("CreateDatabase")); n != 3 {
		t.Errorf("%d calls are recorded", n)
	}
	if got := fmt.Sprint(g.Calls()[0].Role); got != role {
		t.Errorf("the caller is %s", got)
	}
}
