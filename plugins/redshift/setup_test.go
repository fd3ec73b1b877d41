package redshift

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/plugins/internal/setuptest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/awsserver"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

const (
	workgroup = "arn:aws:redshift-serverless:us-west-2:123456789012:workgroup/5e6f"
	reader    = "arn:aws:iam::123456789012:role/teams/read"
)

var shop = []sdk.Project{{ID: 7, Name: "shop", Token: "token"}}

// printed is the configuration that setup prints policies for.
func printed(change func(map[string]any)) map[string]any {
	c := map[string]any{
		"bucket": "lake", "region": "us-east-1", "role_arn": role, "glue_database": "mp", "glue_region": "eu-west-1", "create_database": true,
		"workgroup_arn": workgroup, "database": "dev", "redshift_region": "us-west-2", "external_schema": "mp_json_export",
	}
	change(c)
	return c
}

// onWorkgroup, onCluster and asUser are the three ways to Redshift, with the reader's role
// where it has one.
func onWorkgroup(c map[string]any) { c["spectrum_role_arn"] = reader }

func onCluster(c map[string]any) {
	delete(c, "workgroup_arn")
	c["cluster_identifier"], c["spectrum_role_arn"] = "dwh", reader
}

func asUser(c map[string]any) {
	delete(c, "workgroup_arn")
	c["cluster_identifier"], c["db_user"] = "dwh", "penstock"
}

// cases have each text of setup once: the policies go to roles of their own, to the
// bucket's role, to a user, and to an identity that is not known.
func cases() []setuptest.Case {
	return []setuptest.Case{
		{Name: "roles", Projects: shop, Config: printed(func(c map[string]any) {
			onWorkgroup(c)
			c["glue_role_arn"], c["redshift_role_arn"] = "arn:aws:iam::210987654321:role/catalog", "arn:aws:iam::123456789012:role/query"
			c["encryption"], c["kms_key_id"] = "kms", "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-4333-8444-555555555555"
		})},
		{Name: "cluster", Projects: shop, Config: printed(func(c map[string]any) {
			onCluster(c)
			c["create_database"] = false
		})},
		{Name: "user", Projects: shop, Unknown: []string{"access_key_id", "secret_access_key"}, Config: printed(func(c map[string]any) {
			asUser(c)
			delete(c, "role_arn")
		})},
		{Name: "plain", Projects: shop, Config: printed(func(c map[string]any) {
			delete(c, "role_arn")
			c["workgroup_arn"] = "wg"
		})},
	}
}

func TestSetupText(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	for _, c := range cases() {
		t.Run(c.Name, func(t *testing.T) { setuptest.Run(t, Plugin(), c) })
	}
}

// Errors in the form of a value are found before anything exists.
func TestSetupRefusesMistakes(t *testing.T) {
	_, err := Plugin().Setup(sdk.SetupRequest{
		Destination: "redshift.lake", Format: sdk.SetupCommands, Projects: []sdk.Project{{ID: 7}},
		JSON: []byte(`{"bucket":"lake","glue_database":"Mixed","database":"dev","external_schema":"x","glue_role_arn":"catalog","workgroup_arn":"wg"}`),
	})
	var found sdk.Diagnostics
	if !errors.As(err, &found) || len(found) != 2 {
		t.Errorf("%v", err)
	}
}

// The documentation lists every action that setup grants.
func TestPermissionsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/destinations/redshift.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases() {
		for _, policy := range policiesOf(t, c) {
			var p struct{ Statement []struct{ Action []string } }
			if err := json.Unmarshal(policy, &p); err != nil {
				t.Fatal(err)
			}
			for _, s := range p.Statement {
				for _, action := range s.Action {
					if !strings.HasPrefix(action, "s3:") && !strings.HasPrefix(action, "sts:") && !strings.HasPrefix(action, "kms:") && !strings.Contains(string(page), "`"+action+"`") {
						t.Errorf("the page lacks %s", action)
					}
				}
			}
		}
	}
}

// policiesOf returns the policies that the script of a case gives to the identity
// that writes.
func policiesOf(t *testing.T, c setuptest.Case) []json.RawMessage {
	t.Helper()
	commands, _ := setuptest.Run(t, Plugin(), c)
	var found []json.RawMessage
	for _, words := range commands {
		i := slices.Index(words, "--policy-document")
		if i < 0 || slices.Contains(words, "penstock-lake-read") || slices.Contains(words, "penstock-lake-assume") {
			continue
		}
		found = append(found, json.RawMessage(words[i+1]))
	}
	return found
}

// by completes a request with the principal, and the owner of its statements.
func by(r standin.IAMRequest) standin.IAMRequest {
	r.Principal, r.Account = role, "123456789012"
	return r
}

// glueRequests returns the requests of Glue that IAM decides for a call: one for the
// catalog, the database and the table each.
func glueRequests(t *testing.T, c awsserver.Call) []standin.IAMRequest {
	t.Helper()
	var in struct {
		Name, DatabaseName, TableName string
		DatabaseInput, TableInput     struct{ Name string }
	}
	if err := json.Unmarshal(c.Body, &in); err != nil {
		t.Fatal(err)
	}
	database, table := in.DatabaseName, in.TableName+in.TableInput.Name
	switch c.Operation {
	case "GetDatabase":
		database = in.Name
	case "CreateDatabase":
		database = in.DatabaseInput.Name
	case "GetTable":
		table = in.Name
	}
	const base = "arn:aws:glue:eu-west-1:123456789012:"
	resources := []string{base + "catalog", base + "database/" + database}
	if table != "" {
		resources = append(resources, base+"table/"+database+"/"+table)
	}
	var found []standin.IAMRequest
	for _, resource := range resources {
		found = append(found, by(standin.IAMRequest{Action: "glue:" + c.Operation, Resource: resource}))
	}
	return found
}

// owned is a request about the caller's own statement; owner is that of the statement.
func owned(action, owner string) standin.IAMRequest {
	return by(standin.IAMRequest{
		Action: "redshift-data:" + action, Resource: "*",
		Context: map[string]string{"aws:userid": "AROAEXAMPLE:penstock-7", "redshift-data:statement-owner-iam-userid": owner},
	})
}

// dataRequests returns the requests that IAM decides for a call of the Data API. The
// service gets credentials in the caller's name.
func dataRequests(c config, operation string) []standin.IAMRequest {
	if operation != "ExecuteStatement" {
		return []standin.IAMRequest{owned(operation, "AROAEXAMPLE:penstock-7")}
	}
	request := func(action, resource string) standin.IAMRequest {
		return by(standin.IAMRequest{Action: action, Resource: resource})
	}
	const base = "arn:aws:redshift:us-west-2:123456789012:"
	switch {
	case c.WorkgroupARN != "":
		return []standin.IAMRequest{request("redshift-data:ExecuteStatement", workgroup), request("redshift-serverless:GetCredentials", workgroup)}
	case c.DBUser != "":
		return []standin.IAMRequest{
			request("redshift-data:ExecuteStatement", base+"cluster:dwh"),
			request("redshift:GetClusterCredentials", base+"dbuser:dwh/penstock"), request("redshift:GetClusterCredentials", base+"dbname:dwh/dev"),
		}
	}
	return []standin.IAMRequest{request("redshift-data:ExecuteStatement", base+"cluster:dwh"), request("redshift:GetClusterCredentialsWithIAM", base+"dbname:dwh/dev")}
}

// exercise makes the plugin use all that it needs: it creates, exports, takes an
// abandoned attempt over, corrects a table and a partition, cancels a statement,
// lists, and checks. It returns the requests that IAM decides.
func exercise(t *testing.T, change func(*config)) (needed []standin.IAMRequest) {
	t.Helper()
	s, files := newServices(t), standin.StartS3(t, "lake")
	proxy := faultproxy.Start(t, files.Endpoint)
	s.sts.Caller = aws.Credentials{AccessKeyID: files.AccessKey, SecretAccessKey: files.SecretKey}
	s.config.AccessKeyID, s.config.SecretAccessKey = files.AccessKey, files.SecretKey
	change(&s.config)
	plain := s.config.Config
	plain.RoleARN, plain.Endpoint = "", proxy.URL
	bucket, err := plain.Store(t.Context(), project, s3bucket.NewPool())
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range []sdk.Stream{sdk.Events, sdk.People, sdk.Identity} {
		for n := range int64(2) {
			if err := s.start(t, bucket, time.Now).export(t.Context(), runOf(stream, n+1, 2*n+1)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.start(t, bucket, time.Now).prepare(t.Context(), runOf(stream, 3, 5)); err != nil {
			t.Fatal(err)
		}
		s.glue.Change("mp", tables[stream], func(in awsserver.Object) { delete(in, "TableType") })
		p := s.start(t, bucket, func() time.Time { return time.Now().Add(2 * keepsSets) })
		if err := p.export(t.Context(), runOf(stream, 3, 6)); err != nil {
			t.Fatal(err)
		}
		if err := p.Abort(t.Context(), runOf(stream, 4, 7), true); err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Check(t.Context()) {
			if !r.OK {
				t.Errorf("%s: %s", r.Action, r.Detail)
			}
		}
	}
	p := s.start(t, bucket, time.Now)
	elsewhere := map[string]string{"2026-07-01": "elsewhere/"}
	if err := p.catalog.addDays(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := p.catalog.addDays(t.Context(), map[string]string{"2026-07-01": eventsDir + "2026/07/01/"}); err != nil {
		t.Fatal(err)
	}
	s.redshift.Hang(true)
	ctx, cancel := context.WithCancel(t.Context())
	s.redshift.Lose(func(operation string, _ []byte) bool {
		if operation == "DescribeStatement" {
			cancel()
		}
		return false
	})
	if err := s.start(t, bucket, time.Now).warehouse.ensure(ctx); err == nil {
		t.Fatal("a statement that hangs has ended")
	}
	for _, r := range proxy.Requests() {
		path, err := url.PathUnescape(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		needed = append(needed, by(standin.S3Request(r.Method, path, r.Query)))
	}
	for _, c := range s.glue.Calls() {
		needed = append(needed, glueRequests(t, c)...)
	}
	for _, c := range s.redshift.Calls() {
		needed = append(needed, dataRequests(s.config, c.Operation)...)
	}
	return needed
}

// refusedAlways are requests that no policy of the plugin may allow.
func refusedAlways() []standin.IAMRequest {
	found := []standin.IAMRequest{owned("DescribeStatement", "AROAOTHER:somebody"), owned("CancelStatement", "AROAOTHER:somebody"), owned("ListStatements", "AROAEXAMPLE:penstock-7")}
	add := func(action string, resources ...string) {
		for _, resource := range resources {
			found = append(found, by(standin.IAMRequest{Action: action, Resource: resource}))
		}
	}
	const base = "arn:aws:glue:eu-west-1:123456789012:"
	for _, action := range []string{"DeleteTable", "BatchDeletePartition", "DeletePartition", "GetPartitions", "GetTables"} {
		add("glue:"+action, base+"table/mp/mp_master_event")
	}
	for _, action := range []string{"GetTable", "UpdateTable", "CreateTable"} {
		add("glue:"+action, base+"table/mp/orders", base+"table/other/mp_master_event")
	}
	add("glue:BatchCreatePartition", base+"table/mp/mp_people_data", base+"table/mp/mp_identity_mappings_data")
	add("glue:DeleteDatabase", base+"database/mp")
	add("glue:GetDatabase", base+"database/other")
	add("lakeformation:GrantPermissions", "*")
	add("redshift-data:ExecuteStatement", workgroup+"0", "arn:aws:redshift:us-west-2:123456789012:cluster:other")
	add("redshift:GetClusterCredentials", "arn:aws:redshift:us-west-2:123456789012:dbuser:dwh/admin")
	add("s3:GetObject", "arn:aws:s3:::lake/8/mp_people_data/x")
	add("s3:PutBucketPolicy", "arn:aws:s3:::lake")
	return found
}

// The policies that setup prints for the identity that writes allow exactly the
// requests that the plugin made to the bucket, Glue and the Data API: a simulator that
// is not ours decides.
func TestThePoliciesAllowExactlyTheCalls(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	for name, way := range map[string]struct {
		printed func(map[string]any)
		used    func(*config)
	}{
		"workgroup": {onWorkgroup, func(c *config) { c.WorkgroupARN = workgroup }},
		"cluster":   {onCluster, func(c *config) { c.WorkgroupARN, c.ClusterIdentifier = "", "dwh" }},
		"user":      {asUser, func(c *config) { c.WorkgroupARN, c.ClusterIdentifier, c.DBUser = "", "dwh", "penstock" }},
	} {
		t.Run(name, func(t *testing.T) {
			policies := documents(t, printed(way.printed), "aws iam put-role-policy --role-name export ")
			if len(policies) != 2 {
				t.Fatalf("%d policies: %s", len(policies), policies)
			}
			standin.IAMExact(t, policies, exercise(t, way.used), refusedAlways())
		})
	}
}

// documents returns the JSON documents that setup gives to a command, which is told by its
// first words.
func documents(t *testing.T, c map[string]any, command string) []json.RawMessage {
	t.Helper()
	text := setuptest.Text(t, Plugin(), setuptest.Case{Projects: shop, Config: c}, sdk.SetupCommands)
	var found []json.RawMessage
	for _, words := range strings.Split(text, command)[1:] {
		begin, end := strings.Index(words, "'{"), strings.Index(words, "}'")
		if begin < 0 || end < begin {
			t.Fatalf("no document in %s", words)
		}
		found = append(found, json.RawMessage(words[begin+1:end+1]))
	}
	return found
}

// Redshift's own role may read the project's files and tables, and write nothing; only
// the services of Redshift assume it.
func TestTheRoleOfRedshiftReads(t *testing.T) {
	policies := documents(t, printed(onWorkgroup), "aws iam put-role-policy --role-name read ")
	trusts := documents(t, printed(onWorkgroup), "aws iam create-role --path /teams/ --role-name read ")
	if len(policies) != 1 || len(trusts) != 1 {
		t.Fatalf("policies %s, trust policies %s", policies, trusts)
	}
	if trust := string(trusts[0]); !strings.Contains(trust, `"redshift.amazonaws.com"`) || !strings.Contains(trust, `"redshift-serverless.amazonaws.com"`) || strings.Contains(trust, `"AWS"`) {
		t.Errorf("the trust policy is %s", trust)
	}
	var allowed, refused []standin.IAMRequest
	add := func(to *[]standin.IAMRequest, action, resource string, context map[string]string) {
		*to = append(*to, by(standin.IAMRequest{Action: action, Resource: resource, Context: context}))
	}
	inside := map[string]string{"s3:prefix": "7/mp_people_data/a/"}
	add(&allowed, "s3:GetObject", "arn:aws:s3:::lake/7/mp_people_data/a/x.parquet", nil)
	add(&allowed, "s3:ListBucket", "arn:aws:s3:::lake", inside)
	add(&refused, "s3:ListBucket", "arn:aws:s3:::lake", map[string]string{"s3:prefix": "8/"})
	add(&refused, "s3:PutObject", "arn:aws:s3:::lake/7/mp_people_data/a/x.parquet", nil)
	for _, action := range []string{"GetDatabase", "GetTable", "GetTables", "GetPartition", "GetPartitions"} {
		for _, resource := range []string{"catalog", "database/mp", "table/mp/mp_master_event", "table/mp/mp_people_data", "table/mp/mp_identity_mappings_data"} {
			if action == "GetDatabase" && strings.HasPrefix(resource, "table") {
				continue
			}
			add(&allowed, "glue:"+action, "arn:aws:glue:eu-west-1:123456789012:"+resource, nil)
		}
	}
	add(&refused, "glue:UpdateTable", "arn:aws:glue:eu-west-1:123456789012:table/mp/mp_people_data", nil)
	add(&refused, "glue:GetTable", "arn:aws:glue:eu-west-1:123456789012:table/other/t", nil)
	standin.IAMExact(t, policies, allowed, refused)
}
