package redshift_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/awsserver"
)

// tables are the tables of the catalog by stream.
var tables = map[sdk.Stream]string{sdk.Events: "mp_master_event", sdk.People: "mp_people_data", sdk.Identity: "mp_identity_mappings_data"}

const (
	glueRole  = "arn:aws:iam::123456789012:role/catalog"
	queryRole = "arn:aws:iam::123456789012:role/query"
)

// account holds the services of the plugin: a bucket, a catalog in another region, and a
// workgroup in a third, each with a role of its own.
type account struct {
	files    *standin.S3
	sts      *awsserver.STS
	glue     *awsserver.Glue
	redshift *awsserver.Redshift
	places   atomic.Int64
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{files: standin.StartS3(t, "lake"), sts: awsserver.StartSTS(t, time.Now)}
	a.sts.Caller = aws.Credentials{AccessKeyID: a.files.AccessKey, SecretAccessKey: a.files.SecretKey}
	a.sts.Trust(glueRole, "project-token")
	a.sts.Trust(queryRole, "project-token")
	a.glue = awsserver.StartGlue(t, a.sts, "eu-west-1")
	a.redshift = awsserver.StartRedshift(t, a.sts, "us-west-2", time.Now)
	t.Setenv("AWS_ENDPOINT_URL_STS", a.sts.URL)
	return a
}

// config returns the configuration of a new place.
func (a *account) config(format string) map[string]any {
	n := a.places.Add(1)
	return map[string]any{
		"bucket": "lake", "region": "us-east-1", "endpoint": a.files.Endpoint, "format": format,
		"access_key_id": a.files.AccessKey, "secret_access_key": a.files.SecretKey, "external_id": "project-token",
		"prefix": fmt.Sprintf("place/%d", n), "glue_database": fmt.Sprintf("mixpanel_%d", n), "create_database": true,
		"glue_region": "eu-west-1", "glue_role_arn": glueRole, "glue_endpoint": a.glue.URL,
		"workgroup_arn": "arn:aws:redshift-serverless:us-west-2:123456789012:workgroup/5e6f", "database": "dev",
		"redshift_region": "us-west-2", "redshift_role_arn": queryRole, "redshift_endpoint": a.redshift.URL,
		"external_schema": fmt.Sprintf("mp_json_export_%d", n), "grant_usage_to": []any{"role analysts"}, "unusual": "reject",
	}
}

func (a *account) target(at destinationtest.Place) (laketest.Target, error) {
	prefix, _ := at.Config["prefix"].(string)
	t := laketest.Target{
		Strings: at.Config["format"] == "json",
		Files:   os.DirFS(filepath.Join(a.files.Dir, "lake", prefix)), ProjectID: at.Project.ID,
		Pipeline: at.Pipeline, PipelineID: at.PipelineID, Stream: at.Stream,
	}
	if at.Stream == sdk.Events {
		return t, nil
	}
	shown, err := a.shown(at, t.Files)
	t.Files = shown
	return t, err
}

// location returns the directory in the bucket that a table shows.
func (a *account) location(at destinationtest.Place) string {
	database, _ := at.Config["glue_database"].(string)
	input, _, _ := a.glue.Table(database, tables[at.Stream])
	storage, _ := input["StorageDescriptor"].(map[string]any)
	location, _ := storage["Location"].(string)
	return strings.TrimPrefix(location, "s3://lake/")
}

// shown returns the files below a prefix of which a reader of the catalog sees: the
// manifests, and the set that the table shows, by the name that the manifest has.
func (a *account) shown(at destinationtest.Place, files fs.FS) (fstest.MapFS, error) {
	dir := fmt.Sprintf("%d/%s/", at.Project.ID, tables[at.Stream])
	current := strings.TrimPrefix(a.location(at), fmt.Sprintf("%s/", at.Config["prefix"]))
	found := make(fstest.MapFS)
	err := fs.WalkDir(files, fmt.Sprint(at.Project.ID), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return nil // nothing is there yet, or it was removed since
		}
		if err != nil {
			return err
		}
		as := name
		if strings.HasPrefix(name, dir) {
			if path.Dir(name)+"/" != current {
				return nil
			}
			as = dir + path.Base(name)
		}
		data, err := fs.ReadFile(files, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		found[as] = &fstest.MapFile{Data: data}
		return err
	})
	return found, err
}

// object returns the object in the bucket that has a name of the plugin's.
func (a *account) object(at destinationtest.Place, name string) string {
	dir := fmt.Sprintf("%s/%d/%s/", at.Config["prefix"], at.Project.ID, tables[at.Stream])
	if at.Stream == sdk.Events || path.Dir(name)+"/" != dir {
		return name
	}
	return a.location(at) + path.Base(name)
}

// read returns the committed rows that the catalog shows: those below the location
// of the table, or of a registered partition. A row in a file that no partition
// shows is missing.
func (a *account) read(at destinationtest.Place) (map[string][]string, error) {
	target, err := a.target(at)
	if err != nil {
		return nil, err
	}
	rows, err := target.Committed()
	if err != nil || len(rows) == 0 || at.Stream != sdk.Events {
		return rows, err
	}
	database, _ := at.Config["glue_database"].(string)
	dir := fmt.Sprintf("%s/%d/%s/", at.Config["prefix"], at.Project.ID, tables[at.Stream])
	if location := a.location(at); location != dir {
		return nil, fmt.Errorf("the table %s.%s shows %q, the files are in %s", database, tables[at.Stream], location, dir)
	}
	partitions := a.glue.Partitions(database, tables[at.Stream])
	for date := range rows {
		if want := "s3://lake/" + dir + strings.ReplaceAll(date, "-", "/") + "/"; len(rows[date]) > 0 && partitions[date] != want {
			return nil, fmt.Errorf("partition %s shows %q, the files are in %s", date, partitions[date], want)
		}
	}
	return rows, nil
}

func TestConformance(t *testing.T) {
	conforms(t, "parquet", "testdata/conformance/standins.json", "versitygw 1.8 and test/standin/awsserver")
}

func TestConformanceJSON(t *testing.T) {
	conforms(t, "json", "testdata/conformance/standins-json.json", "versitygw 1.8 and test/standin/awsserver, format json")
}

func conforms(t *testing.T, format, record, service string) {
	a := newAccount(t)
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	long := `{"device_id":null,"distinct_id":"u","event_name":"View","insert_id":"long","properties":{"pad":"` + strings.Repeat("é", 40_000) + `"},"time":1780272000,"user_id":null}`
	destinationtest.Run(t, destinationtest.Harness{
		Package: "github.com/penstock-io/penstock/cmd/penstock-destination-redshift",
		Record:  record,
		Service: destinationtest.Service{Name: service, Kind: destinationtest.Fake},
		Config:  func(destinationtest.T) map[string]any { return a.config(format) },
		Bad: []destinationtest.BadConfig{
			{Name: "bucket with a folder", Change: set("bucket", "lake/a"), Attributes: []string{"bucket"}},
			{Name: "neither workgroup nor cluster", Change: func(c map[string]any) { delete(c, "workgroup_arn") }, Attributes: []string{"workgroup_arn"}},
			{Name: "workgroup and cluster", Change: set("cluster_identifier", "c"), Attributes: []string{"cluster_identifier"}},
			{Name: "a user of a workgroup", Change: set("db_user", "u"), Attributes: []string{"db_user"}},
			{Name: "roles without an ARN", Change: func(c map[string]any) { c["glue_role_arn"], c["redshift_role_arn"] = "catalog", "query" }, Attributes: []string{"glue_role_arn", "redshift_role_arn"}},
			{Name: "names", Change: func(c map[string]any) {
				c["glue_database"], c["external_schema"], c["grant_usage_to"] = "Mixed", `x";--`, []any{`a"b`}
			}, Attributes: []string{"glue_database", "external_schema", "grant_usage_to"}},
		},
		Read: func(_ context.Context, at destinationtest.Place) (map[string][]string, error) { return a.read(at) },
		Objects: func(_ context.Context, at destinationtest.Place) (map[string]string, error) {
			target, err := a.target(at)
			if err != nil {
				return nil, err
			}
			return target.Objects()
		},
		Harm: func(ctx context.Context, at destinationtest.Place, object string, change func([]byte) []byte) error {
			return a.files.Change(ctx, "lake", a.object(at, object), change)
		},
		Unnamed:    laketest.Unnamed,
		Refused:    []destinationtest.Row{{Line: long}},
		LongestRow: 65_000,
		Env:        []string{"AWS_ENDPOINT_URL_STS=" + a.sts.URL},
		OneProject: true,
	})
}
