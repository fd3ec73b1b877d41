//go:build cgo

package queries

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/awsserver"
)

const redshiftBlock = `
destination "redshift" "warehouse" {
  bucket            = "lake"
  region            = "us-east-1"
  endpoint          = %q
  access_key_id     = %q
  secret_access_key = %q
  format            = %q
  glue_database     = "mixpanel"
  create_database   = true
  glue_role_arn     = "arn:aws:iam::123456789012:role/export"
  glue_region       = "eu-west-1"
  glue_endpoint     = %q
  workgroup_arn     = "wg"
  database          = "dev"
  redshift_role_arn = "arn:aws:iam::123456789012:role/export"
  redshift_region   = "us-west-2"
  redshift_endpoint = %q
}
`

// The catalog that the redshift plugin has written points at the rows that a
// directory has: DuckDB reads each table at its location, and events by partition.
func TestRedshiftCatalog(t *testing.T) {
	for _, format := range []string{"parquet", "json"} {
		t.Run(format, func(t *testing.T) { compareCatalog(t, format) })
	}
}

func compareCatalog(t *testing.T, format string) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	files, sts := standin.StartS3(t, "lake"), awsserver.StartSTS(t, time.Now)
	sts.Caller = aws.Credentials{AccessKeyID: files.AccessKey, SecretAccessKey: files.SecretKey}
	sts.Trust("arn:aws:iam::123456789012:role/export", token)
	catalog := awsserver.StartGlue(t, sts, "eu-west-1")
	redshift := awsserver.StartRedshift(t, sts, "us-west-2", time.Now)
	c := &comparison{
		Site: penstocktest.NewSite(t), t: t, db: db,
		base: fmt.Sprintf(storeConfiguration, filepath.Join(penstocktest.Binaries, "plugins"), projectID, token),
	}
	c.collect(newSample())
	c.Write("penstock.hcl", c.base+
		fmt.Sprintf(redshiftBlock, files.Endpoint, files.AccessKey, files.SecretKey, format, catalog.URL, redshift.URL)+pipelinesTo("redshift.warehouse", "warehouse")+
		"\ndestination \"localfs\" \"out\" {\n  path = \"./local\"\n}\n"+pipelinesTo("localfs.out", "local"))
	c.Once("AWS_ENDPOINT_URL_STS=" + sts.URL)
	if got := redshift.Schemas()["mp_json_export"]; got.Database != "mixpanel" {
		t.Errorf("the external schema is %+v", got)
	}
	// source is DuckDB's table function over the files at a location, as the
	// table's SerDe reads them.
	source := func(stream, location string) string {
		dir := filepath.Join(files.Dir, strings.TrimPrefix(location, "s3://"))
		if format == "parquet" {
			return fmt.Sprintf("read_parquet('%s')", filepath.Join(dir, "*.parquet"))
		}
		return fmt.Sprintf("read_json('%s', format='newline_delimited', columns=%s)", filepath.Join(dir, "*.json.gz"),
			strings.ReplaceAll(streams[stream], "'JSON'", "'VARCHAR'"))
	}
	for stream, declared := range streams {
		table, _, _ := catalog.Table("mixpanel", stream)
		storage, _ := table["StorageDescriptor"].(map[string]any)
		location, _ := storage["Location"].(string)
		shown := map[string]string{"": location}
		if stream == "mp_master_event" {
			shown = catalog.Partitions("mixpanel", stream)
		}
		if len(shown) == 0 || location == "" {
			t.Fatalf("the catalog does not show %s", stream)
		}
		var parts []string
		for date, at := range shown {
			parts = append(parts, fmt.Sprintf("SELECT %s, '%s' AS mp_date FROM %s", casts(declared), date, source(stream, at)))
		}
		date := "''"
		if stream == "mp_master_event" {
			date = "strftime(to_timestamp(time) AT TIME ZONE 'UTC', '%Y-%m-%d')"
		}
		theirs := strings.Join(parts, " UNION ALL ")
		ours := fmt.Sprintf("SELECT %s, %s AS mp_date FROM %s", casts(declared), date, c.objects("local", stream))
		for _, pair := range [][2]string{{theirs, ours}, {ours, theirs}} {
			if more := rows(t, db, fmt.Sprintf("SELECT * FROM (%s) EXCEPT ALL SELECT * FROM (%s) LIMIT 3", pair[0], pair[1])); len(more) > 0 {
				t.Errorf("%s: rows of one place only: %q", stream, more)
			}
		}
	}
}
