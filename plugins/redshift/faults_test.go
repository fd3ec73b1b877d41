package redshift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin/awsserver"
)

const role = "arn:aws:iam::123456789012:role/export"

// services are a catalog and a workgroup, without a bucket.
type services struct {
	config   config
	sts      *awsserver.STS
	glue     *awsserver.Glue
	redshift *awsserver.Redshift
}

func newServices(t *testing.T) *services {
	t.Helper()
	s := &services{sts: awsserver.StartSTS(t, time.Now)}
	s.sts.Trust(role, "token")
	s.glue = awsserver.StartGlue(t, s.sts, "eu-west-1")
	s.redshift = awsserver.StartRedshift(t, s.sts, "us-west-2", time.Now)
	t.Setenv("AWS_ENDPOINT_URL_STS", s.sts.URL)
	s.config = config{
		Config: s3bucket.Config{
			Bucket: "lake", Region: "us-east-1", RoleARN: role,
			AccessKeyID: s.sts.Caller.AccessKeyID, SecretAccessKey: s.sts.Caller.SecretAccessKey,
		},
		GlueDatabase: "mp", CreateDatabase: true, GlueRegion: "eu-west-1", GlueEndpoint: s.glue.URL,
		WorkgroupARN: "wg", Database: "dev", RedshiftRegion: "us-west-2", RedshiftEndpoint: s.redshift.URL, ExternalSchema: "mp_json_export",
	}
	return s
}

var project = sdk.Project{ID: 7, Token: "token"}

func (s *services) catalog(t *testing.T) *catalog {
	t.Helper()
	c, err := newCatalog(t.Context(), s.config, project)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *services) warehouse(t *testing.T) *warehouse {
	t.Helper()
	w, err := newWarehouse(t.Context(), s.config, project)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

const eventsDir = "7/mp_master_event/"

// days returns the directories of n days.
func days(n int) map[string]string {
	dirs := make(map[string]string)
	for i := range n {
		day := time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, i)
		dirs[day.Format(time.DateOnly)] = path.Join(eventsDir, day.Format("2006/01/02")) + "/"
	}
	return dirs
}

func wantClass(t *testing.T, err error, class protocol.Class, text string) {
	t.Helper()
	if protocol.ClassOf(err) != class || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("%v of class %v, want %v with %q", err, protocol.ClassOf(err), class, text)
	}
}

// 400 days are registered in calls of at most 100; the same days again change
// nothing and are no error.
func TestManyDays(t *testing.T) {
	s := newServices(t)
	c := s.catalog(t)
	if err := c.ready(t.Context(), sdk.Events, eventsDir); err != nil {
		t.Fatal(err)
	}
	dirs := days(400)
	for range 2 {
		if err := c.addDays(t.Context(), dirs); err != nil {
			t.Fatal(err)
		}
		got := s.glue.Partitions("mp", "mp_master_event")
		if len(got) != 400 {
			t.Fatalf("%d partitions", len(got))
		}
		for date, dir := range dirs {
			if got[date] != "s3://lake/"+dir {
				t.Errorf("%s shows %s", date, got[date])
			}
		}
	}
	if n := len(s.glue.Calls("BatchCreatePartition")); n != 8 {
		t.Errorf("%d calls for twice 400 days", n)
	}
	if n := len(s.glue.Calls("BatchUpdatePartition")); n != 0 {
		t.Errorf("%d updates of partitions that are ours", n)
	}
}

// R4 of the public reports: an answer of status 200 lists entries that failed. One
// partition exists with the right location, one with another, one fails once.
func TestEntriesThatFail(t *testing.T) {
	s := newServices(t)
	c := s.catalog(t)
	if err := c.ready(t.Context(), sdk.Events, eventsDir); err != nil {
		t.Fatal(err)
	}
	dirs := days(150)
	if err := c.addDays(t.Context(), map[string]string{"2025-06-03": dirs["2025-06-03"], "2025-06-04": "elsewhere/"}); err != nil {
		t.Fatal(err)
	}
	s.glue.BreakPartition("2025-06-05", "InternalServiceException")
	if err := c.addDays(t.Context(), dirs); err != nil {
		t.Fatal(err)
	}
	got := s.glue.Partitions("mp", "mp_master_event")
	for date, dir := range dirs {
		if got[date] != "s3://lake/"+dir {
			t.Errorf("%s shows %q", date, got[date])
		}
	}
}

// The comments and parameters that users have set in a partition survive a correction.
func TestAPartitionIsCorrected(t *testing.T) {
	s := newServices(t)
	c := s.catalog(t)
	if err := c.ready(t.Context(), sdk.Events, eventsDir); err != nil {
		t.Fatal(err)
	}
	const date = "2025-06-01"
	in := c.partition(date, map[string]string{date: "elsewhere/"})
	in.Parameters = map[string]string{"checked_by": "bi"}
	in.StorageDescriptor.Columns[0].Comment = aws.String("the device")
	_, err := c.client.BatchCreatePartition(t.Context(), &glue.BatchCreatePartitionInput{
		DatabaseName: aws.String("mp"), TableName: aws.String("mp_master_event"), PartitionInputList: []types.PartitionInput{in},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.addDays(t.Context(), days(1)); err != nil {
		t.Fatal(err)
	}
	got, err := c.client.BatchGetPartition(t.Context(), &glue.BatchGetPartitionInput{
		DatabaseName: aws.String("mp"), TableName: aws.String("mp_master_event"), PartitionsToGet: []types.PartitionValueList{{Values: []string{date}}},
	})
	if err != nil || len(got.Partitions) != 1 {
		t.Fatalf("%v, %d partitions", err, len(got.Partitions))
	}
	p := got.Partitions[0]
	if at := aws.ToString(p.StorageDescriptor.Location); at != "s3://lake/"+days(1)[date] {
		t.Errorf("it shows %s", at)
	}
	if p.Parameters["checked_by"] != "bi" || aws.ToString(p.StorageDescriptor.Columns[0].Comment) != "the device" {
		t.Errorf("parameters %v, comment %q", p.Parameters, aws.ToString(p.StorageDescriptor.Columns[0].Comment))
	}
}

// An entry that fails each time fails the run.
func TestAnEntryThatFailsEachTime(t *testing.T) {
	s := newServices(t)
	c := s.catalog(t)
	if err := c.ready(t.Context(), sdk.Events, eventsDir); err != nil {
		t.Fatal(err)
	}
	s.glue.BreakPartitionAlways("2025-06-02", "InternalServiceException")
	wantClass(t, c.addDays(t.Context(), days(3)), protocol.Retryable, "partition 2025-06-02: InternalServiceException")
}

// A run whose day cannot be registered is not committed, and its next attempt commits it.
func TestADayThatIsNotRegisteredIsNotCommitted(t *testing.T) {
	s, bucket := newServices(t), laketest.NewMemory()
	run := runOf(sdk.Events, 1, 1)
	s.glue.BreakPartitionAlways("2026-06-01", "InternalServiceException")
	wantClass(t, s.start(t, bucket, time.Now).export(t.Context(), run), protocol.Retryable, "partition 2026-06-01: InternalServiceException")
	if status, err := s.start(t, bucket, time.Now).Status(t.Context(), run); err != nil || status.State == sdk.Committed {
		t.Errorf("status %v, %v", status.State, err)
	}
	s.glue.BreakPartition("2026-06-01", "")
	run.Fence++
	if err := s.start(t, bucket, time.Now).export(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	s.expectEvents(t, bucket, run)
}

// A partition that is dropped between the refusal of its second creation and the
// comparison is created.
func TestAPartitionThatIsDroppedInBetween(t *testing.T) {
	s := newServices(t)
	c := s.catalog(t)
	if err := c.ready(t.Context(), sdk.Events, eventsDir); err != nil {
		t.Fatal(err)
	}
	s.glue.BreakPartition("2025-06-02", "AlreadyExistsException")
	if err := c.addDays(t.Context(), days(3)); err != nil {
		t.Fatal(err)
	}
	if got := s.glue.Partitions("mp", "mp_master_event"); len(got) != 3 {
		t.Errorf("partitions %v, want 3 days", got)
	}
	s.glue.BreakPartitionAlways("2025-06-04", "AlreadyExistsException")
	wantClass(t, c.addDays(t.Context(), days(4)), protocol.Retryable, "2025-06-04")
}

// The comments and parameters that users have set in a table survive a correction,
// which archives nothing.
func TestATableIsCorrected(t *testing.T) {
	s := newServices(t)
	c := s.catalog(t)
	if err := c.ready(t.Context(), sdk.People, "7/mp_people_data/"); err != nil {
		t.Fatal(err)
	}
	s.glue.Change("mp", "mp_people_data", func(in awsserver.Object) {
		in["Description"] = "profiles"
		in["Parameters"] = map[string]any{"has_encrypted_data": "false", "EXTERNAL": "TRUE"}
		storage, _ := in["StorageDescriptor"].(map[string]any)
		storage["Columns"] = []any{
			map[string]any{"Name": "distinct_id", "Type": "string", "Comment": "the id"},
			map[string]any{"Name": "properties", "Type": "string"},
		}
		if serde, ok := storage["SerdeInfo"].(map[string]any); ok {
			serde["Parameters"] = map[string]any{"serialization.format": "1"}
		}
		delete(in, "TableType")
	})
	if err := c.ready(t.Context(), sdk.People, "7/mp_people_data/"); err != nil {
		t.Fatal(err)
	}
	in, version, archived := s.glue.Table("mp", "mp_people_data")
	text := fmt.Sprint(in)
	for _, want := range []string{"Description:profiles", "has_encrypted_data:false", "Comment:the id", "serialization.format:1", "Type:varchar(65535)", "TableType:EXTERNAL_TABLE", "classification:parquet"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	if version != 2 || archived != 0 {
		t.Errorf("version %d, %d archived", version, archived)
	}
	wantClass(t, c.ready(t.Context(), sdk.People, "8/mp_people_data/"), protocol.Configuration, "has the files at s3://lake/7/mp_people_data/")
}

// A client that loses the answer to its own success repeats the request, and meets
// an error.
func TestLostAnswersOfTheCatalog(t *testing.T) {
	s := newServices(t)
	lost := map[string]bool{}
	s.glue.Lose(func(operation string, _ []byte) bool {
		first := !lost[operation]
		lost[operation] = true
		return first
	})
	c := s.catalog(t)
	if err := c.ready(t.Context(), sdk.Events, eventsDir); err != nil {
		t.Fatal(err)
	}
	s.glue.Change("mp", "mp_master_event", func(in awsserver.Object) { delete(in, "TableType") })
	if err := c.ready(t.Context(), sdk.Events, eventsDir); err != nil {
		t.Fatal(err)
	}
	if err := c.addDays(t.Context(), days(3)); err != nil {
		t.Fatal(err)
	}
	for _, operation := range []string{"CreateDatabase", "CreateTable", "UpdateTable", "BatchCreatePartition"} {
		if n := len(s.glue.Calls(operation)); n != 2 {
			t.Errorf("%d requests of %s, want the lost one and its repetition", n, operation)
		}
	}
}

// Missing grants of Lake Formation are explained with the command that gives them.
func TestLakeFormation(t *testing.T) {
	for _, tt := range []struct{ operation, text, want string }{
		{"CreateDatabase", "Required Create Database on Catalog", "--permissions CREATE_DATABASE --resource '{\"Catalog\":{}}'"},
		{"CreateTable", "Required Create Table on mp", "--permissions CREATE_TABLE ALTER DESCRIBE"},
		{"CreateTable", "Required Create Table on mp_export", "--permissions CREATE_TABLE ALTER DESCRIBE"},
		{"GetTable", "Required Describe on mp_master_event", "\"TableWildcard\""},
	} {
		s := newServices(t)
		s.glue.DenyLakeFormation(tt.operation, tt.text)
		err := s.catalog(t).ready(t.Context(), sdk.Events, eventsDir)
		var e *sdk.Error
		if e, _ = err.(*sdk.Error); e == nil || !strings.Contains(e.Hint, tt.want) || !strings.Contains(e.Hint, "aws lakeformation grant-permissions") {
			t.Errorf("%s: %v with %+v, want %q", tt.operation, err, e, tt.want)
		}
		wantClass(t, err, protocol.Configuration, "Insufficient Lake Formation permission")
	}
}

// A check asks and creates nothing. It accepts a database and a schema that the first
// run creates, and reports those that the first run would refuse.
func TestCheck(t *testing.T) {
	s := newServices(t)
	s.config.GrantUsageTo = []string{"role analysts"}
	if err := errors.Join(s.catalog(t).check(t.Context()), s.warehouse(t).check(t.Context())); err != nil {
		t.Error(err)
	}
	if n := len(s.glue.Calls("CreateDatabase", "CreateTable")); n != 0 {
		t.Errorf("%d calls that create", n)
	}
	if got := s.redshift.Schemas(); len(got) != 0 {
		t.Errorf("it created %v", got)
	}
	if err := s.warehouse(t).ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.config.CreateDatabase, s.config.GlueDatabase = false, "other"
	wantClass(t, s.catalog(t).check(t.Context()), protocol.Configuration, `no database "other"`)
	wantClass(t, s.warehouse(t).check(t.Context()), protocol.Configuration, `external schema mp_json_export: it exists and shows the database "mp", not "other"`)
}

// R14 of the public reports: readers without USAGE on the schema are refused. A check prints
// the grant, unless the configuration grants it.
func TestCheckPrintsTheGrantOfReaders(t *testing.T) {
	for _, to := range [][]string{nil, {"role analysts"}} {
		s := newServices(t)
		s.config.GrantUsageTo = to
		results := s.start(t, laketest.NewMemory(), time.Now).Check(t.Context())
		last := results[len(results)-1]
		if !last.OK || strings.Contains(last.Detail, `GRANT USAGE ON SCHEMA "mp_json_export" TO ROLE "analysts"`) != (to == nil) {
			t.Errorf("granted to %v: %+v", to, last)
		}
	}
}

func TestADatabaseThatIsMissing(t *testing.T) {
	s := newServices(t)
	s.config.CreateDatabase = false
	wantClass(t, s.catalog(t).ready(t.Context(), sdk.Events, eventsDir), protocol.Configuration, "no database \"mp\"")
	if n := len(s.glue.Calls("CreateDatabase")); n != 0 {
		t.Errorf("it was created by %d calls", n)
	}
}

// Endpoints that the client could not use are found before it is asked, and a
// password in one is not repeated.
func TestEndpoints(t *testing.T) {
	for _, bad := range []string{"127.0.0.1:4566", "localhost", "http://a:secret@host", "https://host/?x=secret", "ftp://host"} {
		s := newServices(t)
		s.config.GlueEndpoint, s.config.RedshiftEndpoint = bad, bad
		var found sdk.Diagnostics
		if err := s.config.check(nil); !errors.As(err, &found) || len(found) != 2 ||
			found[0].Attribute != "glue_endpoint" || found[1].Attribute != "redshift_endpoint" || strings.Contains(fmt.Sprint(found[0], found[1]), "secret") {
			t.Errorf("%s: %v %+v", bad, err, found)
		}
	}
}

// Without the attributes the endpoints are those of the environment, as for the bucket and
// for Amazon's own tools.
func TestEndpointsOfTheEnvironment(t *testing.T) {
	s := newServices(t)
	t.Setenv("AWS_ENDPOINT_URL_GLUE", s.config.GlueEndpoint)
	t.Setenv("AWS_ENDPOINT_URL_REDSHIFT_DATA", s.config.RedshiftEndpoint)
	s.config.GlueEndpoint, s.config.RedshiftEndpoint = "", ""
	if err := errors.Join(s.catalog(t).check(t.Context()), s.warehouse(t).check(t.Context())); err != nil {
		t.Error(err)
	}
}

// A table that is dropped during a run is created by the next attempt.
func TestATableThatIsDropped(t *testing.T) {
	wantClass(t, newServices(t).catalog(t).addDays(t.Context(), days(1)), protocol.Retryable, "not found")
}

// A workgroup that does not exist is a mistake in the configuration.
func TestAWorkgroupThatIsMissing(t *testing.T) {
	s := newServices(t)
	for _, refusal := range []*awsserver.Refusal{
		{Status: http.StatusBadRequest, Code: "ValidationException", Message: "Redshift endpoint doesn't exist in this region."},
		{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "workgroup not found"},
	} {
		s.redshift.Fault(func(string, []byte) error { return refusal })
		wantClass(t, s.warehouse(t).ensure(t.Context()), protocol.Configuration, refusal.Message)
	}
}

// R12 of the public reports: the state of a statement is kept for a day. The next
// attempt looks the schema up instead of asking for the statement.
func TestAStatementThatHasExpired(t *testing.T) {
	s := newServices(t)
	s.redshift.Fault(func(operation string, _ []byte) error {
		if operation == "DescribeStatement" {
			return &awsserver.Refusal{Status: http.StatusBadRequest, Code: "ValidationException", Message: "Could not retrieve the query result as it has expired after 1 day."}
		}
		return nil
	})
	w := s.warehouse(t)
	wantClass(t, w.ensure(t.Context()), protocol.Retryable, "has expired")
	s.redshift.Fault(func(operation string, _ []byte) error {
		if operation == "DescribeStatement" {
			return &awsserver.Refusal{Status: http.StatusNotFound, Code: "ResourceNotFoundException", Message: "Query does not exist."}
		}
		return nil
	})
	wantClass(t, w.ensure(t.Context()), protocol.Retryable, "does not exist")
	s.redshift.Fault(nil)
	if err := w.ensure(t.Context()); err != nil {
		t.Error(err)
	}
}

// IF NOT EXISTS accepts a schema of the same name that shows no catalog.
func TestASchemaThatIsNotExternal(t *testing.T) {
	s := newServices(t)
	s.redshift.CreateLocal("mp_json_export")
	wantClass(t, s.warehouse(t).ensure(t.Context()), protocol.Configuration, "it is not external")
}

// The schema is created once, in the region of the catalog, and Redshift is not
// asked again.
func TestTheSchemaIsCreatedOnce(t *testing.T) {
	s := newServices(t)
	s.config.GrantUsageTo = []string{"role analysts", "group bi", `o'brien`}
	w := s.warehouse(t)
	for range 2 {
		if err := w.ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := s.redshift.Schemas()["mp_json_export"]
	if got.Database != "mp" || got.Region != "eu-west-1" || got.Role != "default" || fmt.Sprint(got.Usage) != "[role analysts group bi o'brien]" {
		t.Errorf("%+v", got)
	}
	if n := len(s.redshift.Calls("ExecuteStatement")); n != 6 {
		t.Errorf("%d statements", n)
	}
	s.config.GlueDatabase = "other"
	wantClass(t, s.warehouse(t).ensure(t.Context()), protocol.Configuration, `shows the database "mp", not "other"`)
	if n := len(s.redshift.Calls("BatchExecuteStatement")); n != 0 {
		t.Errorf("%d batches: external objects cannot be made in a transaction", n)
	}
}

// A statement that does not end is cancelled.
func TestAStatementThatHangs(t *testing.T) {
	s := newServices(t)
	s.redshift.Hang(true)
	s.config.maxWait = 10 * time.Millisecond
	wantClass(t, s.warehouse(t).ensure(t.Context()), protocol.Retryable, "was cancelled")
	if n := len(s.redshift.Calls("CancelStatement")); n != 1 {
		t.Errorf("%d calls of CancelStatement", n)
	}
	s.redshift.Hang(false)
	s.config.maxWait = 0
	if err := s.warehouse(t).ensure(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestACallerThatGivesUp(t *testing.T) {
	s := newServices(t)
	s.redshift.Hang(true)
	ctx, cancel := context.WithCancel(t.Context())
	s.redshift.Lose(func(operation string, _ []byte) bool {
		if operation == "DescribeStatement" {
			cancel()
		}
		return false
	})
	if err := s.warehouse(t).ensure(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the caller's cancellation", err)
	}
	if n := len(s.redshift.Calls("CancelStatement")); n != 1 {
		t.Errorf("%d calls of CancelStatement: the statement runs on", n)
	}
}

// A service that accepts connections and answers nothing does not keep a run for
// ever.
func TestADataAPIThatDoesNotAnswer(t *testing.T) {
	s := newServices(t)
	end := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(end) })
	s.config.RedshiftEndpoint, s.config.maxCall = silent.URL, 10*time.Millisecond
	wantClass(t, s.warehouse(t).ensure(t.Context()), protocol.Retryable, "deadline exceeded")
}

func TestStatementsThatFail(t *testing.T) {
	for text, class := range map[string]protocol.Class{
		"ERROR: permission denied for database dev":   protocol.Configuration,
		"ERROR: syntax error at or near \"x\"":        protocol.Permanent,
		"ERROR: Serializable isolation violation":     protocol.Retryable,
		"ERROR: IAM Role is not authorized to assume": protocol.Configuration,
		"ERROR: database \"dev\" does not exist":      protocol.Configuration,
		"ERROR: role \"analysts\" does not exist":     protocol.Configuration,
		"Cluster is being resumed, please retry":      protocol.Retryable,
	} {
		s := newServices(t)
		s.redshift.Fail(text)
		wantClass(t, s.warehouse(t).ensure(t.Context()), class, text)
	}
}

// The hint of a missing permission names the database and the user of the configuration.
func TestTheGrantOfTheConfiguration(t *testing.T) {
	const arn = "arn:aws:iam::123456789012:role/team/pen-stock"
	for want, c := range map[string]config{
		`GRANT CREATE ON DATABASE "wh" TO "IAMR:pen-stock"; with grant_usage_to`: {Database: "wh", RedshiftRoleARN: arn},
		`GRANT CREATE ON DATABASE "wh" TO "loader"; if the schema s_views was`:   {Database: "wh", DBUser: "loader", Views: []string{resolvedView}, ExternalSchema: "s"},
		`(IAMR:ROLE stands for its name`:                                         {Database: "wh"},
	} {
		found := new(sdk.Error)
		if err := c.failure("ERROR: permission denied for database wh"); !errors.As(err, &found) || !strings.Contains(found.Hint, want) {
			t.Errorf("the hint is %q, want %q", found.Hint, want)
		}
	}
}

// Each service has a role and a region of its own.
func TestRolesAndRegions(t *testing.T) {
	s := newServices(t)
	const other = "arn:aws:iam::123456789012:role/query"
	s.sts.Trust(other, "token")
	s.config.RedshiftRoleARN = other
	if err := s.catalog(t).ready(t.Context(), sdk.Events, eventsDir); err != nil {
		t.Fatal(err)
	}
	if err := s.warehouse(t).ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range s.glue.Calls() {
		if c.Role != role {
			t.Errorf("%s as %s", c.Operation, c.Role)
		}
	}
	for _, c := range s.redshift.Calls() {
		if c.Role != other {
			t.Errorf("%s as %s", c.Operation, c.Role)
		}
	}
	s.config.GlueRegion = "us-east-1"
	wantClass(t, s.catalog(t).ready(t.Context(), sdk.Events, eventsDir), protocol.Configuration, "does not match")
	s.config.RedshiftRoleARN, s.config.ExternalID = other, "guess"
	wantClass(t, s.warehouse(t).ensure(t.Context()), protocol.Configuration, "AssumeRole")
}

// Statements name the workgroup, or the cluster with the configured user; without one
// the user of the IAM identity is meant.
func TestWorkgroupsAndClusters(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config)
		want   map[string]any
	}{
		"workgroup": {func(*config) {}, map[string]any{"WorkgroupName": "wg"}},
		"cluster":   {func(c *config) { c.WorkgroupARN, c.ClusterIdentifier = "", "dwh" }, map[string]any{"ClusterIdentifier": "dwh"}},
		"user": {
			func(c *config) { c.WorkgroupARN, c.ClusterIdentifier, c.DBUser = "", "dwh", "penstock" },
			map[string]any{"ClusterIdentifier": "dwh", "DbUser": "penstock"},
		},
	} {
		s := newServices(t)
		c.change(&s.config)
		if err := s.config.check(nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.config.firstPause = time.Millisecond
		if err := s.warehouse(t).ensure(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, ok := s.redshift.Schemas()["mp_json_export"]; !ok {
			t.Errorf("%s: the schema was not created", name)
		}
		statements := s.redshift.Calls("ExecuteStatement")
		if len(statements) == 0 {
			t.Fatalf("%s: no statement", name)
		}
		for _, call := range statements {
			var sent map[string]any
			if err := json.Unmarshal(call.Body, &sent); err != nil {
				t.Fatal(err)
			}
			for _, member := range []string{"WorkgroupName", "ClusterIdentifier", "DbUser", "SecretArn"} {
				if sent[member] != c.want[member] {
					t.Errorf("%s: %s is %v, want %v", name, member, sent[member], c.want[member])
				}
			}
			if sent["Database"] != "dev" || sent["ClientToken"] == nil {
				t.Errorf("%s: %v", name, sent)
			}
		}
	}
	s := newServices(t)
	s.config.ClusterIdentifier, s.config.DBUser = "dwh", "penstock"
	var found sdk.Diagnostics
	if err := s.config.check(nil); !errors.As(err, &found) || len(found) != 1 || found[0].Attribute != "cluster_identifier" {
		t.Errorf("a workgroup and a cluster: %v", err)
	}
}
