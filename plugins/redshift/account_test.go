package redshift

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/redshiftdata/types"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/plugins/internal/jsonlines"
	"github.com/penstock-io/penstock/plugins/internal/parquet"
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/destinationtest"
	"github.com/penstock-io/penstock/test/standin"
)

// accountName is the variable with which make smoke-redshift names the databases and
// schemas that this test creates; empty: the stand-ins take the account's place.
const accountName = "SMOKE_REDSHIFT_NAME"

// ofAccount returns a configuration for the account that the variables name, or for the
// stand-ins. Its tables are read through the Data API in both cases.
func ofAccount(t *testing.T, format string) map[string]any {
	t.Helper()
	name := os.Getenv(accountName)
	if name == "" {
		return ofStandins(t, format)
	}
	c := map[string]any{
		"bucket": os.Getenv("SMOKE_S3_BUCKET"), "prefix": os.Getenv("SMOKE_REDSHIFT_PREFIX") + format, "region": os.Getenv("AWS_REGION"),
		"glue_database": name + "_" + format, "create_database": true, "external_schema": name + "_" + format, "database": os.Getenv("SMOKE_REDSHIFT_DATABASE"),
	}
	for attribute, variable := range map[string]string{
		"workgroup_arn": "SMOKE_REDSHIFT_WORKGROUP", "cluster_identifier": "SMOKE_REDSHIFT_CLUSTER", "db_user": "SMOKE_REDSHIFT_DB_USER",
		"spectrum_role_arn": "SMOKE_REDSHIFT_SPECTRUM_ROLE", "glue_role_arn": "SMOKE_REDSHIFT_ROLE_ARN", "redshift_role_arn": "SMOKE_REDSHIFT_ROLE_ARN",
		"external_id": "SMOKE_REDSHIFT_EXTERNAL_ID",
	} {
		if value := os.Getenv(variable); value != "" {
			c[attribute] = value
		}
	}
	return c
}

// ofStandins starts the services. The Data API reads what the catalog shows.
func ofStandins(t *testing.T, format string) map[string]any {
	t.Helper()
	s, files := newServices(t), standin.StartS3(t, "lake")
	s.sts.Caller = aws.Credentials{AccessKeyID: files.AccessKey, SecretAccessKey: files.SecretKey}
	s.redshift.Answer(func(text string) ([][]any, bool) {
		return s.query(t, filepath.Join(files.Dir, "lake"), "mp", format, text)
	})
	return map[string]any{
		"bucket": "lake", "prefix": "smoke", "region": "us-east-1", "endpoint": files.Endpoint, "access_key_id": files.AccessKey, "secret_access_key": files.SecretKey,
		"external_id": "token", "glue_database": "mp", "create_database": true, "glue_role_arn": role, "glue_region": "eu-west-1", "glue_endpoint": s.glue.URL,
		"workgroup_arn": "wg", "database": "dev", "redshift_role_arn": role, "redshift_region": "us-west-2", "redshift_endpoint": s.redshift.URL, "external_schema": "mp_json_export",
	}
}

var wholeTable = regexp.MustCompile(`^SELECT .+ FROM "[a-z_]+"\."([a-z_]+)"$`)

// query executes a query of all columns of a table over the files that the catalog shows.
func (s *services) query(t *testing.T, bucket, database, format, text string) (rows [][]any, ok bool) {
	m := wholeTable.FindStringSubmatch(text)
	if m == nil {
		return nil, false
	}
	for stream, name := range tables {
		if name != m[1] {
			continue
		}
		// The server is locked: this asks the catalog, another server.
		in, _, _ := s.glue.Table(database, name)
		storage, _ := in["StorageDescriptor"].(map[string]any)
		location, _ := storage["Location"].(string)
		shown := map[string]string{"": location}
		if stream == sdk.Events {
			shown = s.glue.Partitions(database, name)
		}
		for date, at := range shown {
			files, err := filepath.Glob(filepath.Join(bucket, strings.TrimPrefix(at, "s3://lake/"), "*"))
			if err != nil {
				t.Error(err)
			}
			for _, file := range files {
				rows = append(rows, rowsIn(t, file, format, stream, date)...)
			}
		}
	}
	return rows, true
}

func rowsIn(t *testing.T, file, format string, stream sdk.Stream, date string) (rows [][]any) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	}
	take := func(row *columns.Row) error {
		var values []any
		for i, v := range row.Values {
			switch {
			case v.Null:
				values = append(values, nil)
			case columns.Of(stream)[i].Kind == columns.Integer:
				values = append(values, v.Integer)
			case columns.Of(stream)[i].Name == "properties":
				values = append(values, start(string(v.Text)), int64(len(v.Text)))
			default:
				values = append(values, string(v.Text))
			}
		}
		if stream == sdk.Events {
			values = append(values, date)
		}
		rows = append(rows, values)
		return nil
	}
	if format == "json" {
		err = jsonlines.Read(bytes.NewReader(data), stream, take)
	} else {
		err = parquet.Read(bytes.NewReader(data), int64(len(data)), stream, take)
	}
	if err != nil {
		t.Errorf("%s: %v", file, err)
	}
	return rows
}

// inRedshift returns the rows of a table as the Data API has them, sorted.
func (d *destination) inRedshift(t *testing.T, stream sdk.Stream) []string {
	t.Helper()
	var names []string
	for _, c := range columns.Of(stream) {
		if c.Name == "properties" { // a row of an answer has at most 64 KB
			c.Name = "LEFT(properties, 1000), OCTET_LENGTH(properties)"
		}
		names = append(names, c.Name)
	}
	if stream == sdk.Events {
		names = append(names, partitionKey)
	}
	found, err := d.warehouse.run(t.Context(), fmt.Sprintf("SELECT %s FROM %s.%s", strings.Join(names, ", "), identifier(d.warehouse.config.ExternalSchema), identifier(tables[stream])))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, row := range found {
		lines = append(lines, asLine(row))
	}
	slices.Sort(lines)
	return lines
}

func asLine(row []types.Field) string {
	var parts []string
	for _, field := range row {
		switch f := field.(type) {
		case *types.FieldMemberStringValue:
			parts = append(parts, f.Value)
		case *types.FieldMemberLongValue:
			parts = append(parts, fmt.Sprint(f.Value))
		default:
			parts = append(parts, "NULL")
		}
	}
	return strings.Join(parts, " | ")
}

// start is the beginning of a text that Redshift's LEFT(text, 1000) returns.
func start(text string) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), 1000)])
}

// sentRow is a row and its line in Redshift.
type sentRow struct {
	destinationtest.Row
	want string
}

// rowOf returns a row, whose line is a JSON object, and its values as the columns of its
// stream hold them. properties are those that are stored; empty: those of the line.
func rowOf(t *testing.T, stream sdk.Stream, line, date, properties string, flags batch.Flags) sentRow {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, c := range columns.Of(stream) {
		value := string(object[c.Name])
		var text string
		switch {
		case value == "null":
			value = "NULL"
		case c.Name == "properties":
			value = cmp.Or(properties, value)
			value = start(value) + " | " + fmt.Sprint(len(value))
		case json.Unmarshal(object[c.Name], &text) == nil:
			value = text
		}
		parts = append(parts, value)
	}
	if date != "" {
		parts = append(parts, date)
	}
	return sentRow{destinationtest.Row{Line: line, Flags: flags}, strings.Join(parts, " | ")}
}

func eventRow(t *testing.T, id, date, properties, stored string, flags batch.Flags) sentRow {
	t.Helper()
	const line = `{"device_id":null,"distinct_id":%q,"event_name":"a'b\"c é","insert_id":"%[1]s-%[2]s","properties":%[3]s,"time":1780272000,"user_id":null}`
	return rowOf(t, sdk.Events, fmt.Sprintf(line, id, date, properties), date, stored, flags)
}

// oneBatch returns a reader of rows in one batch.
func oneBatch(sent []sentRow) *batch.Reader {
	var rows []destinationtest.Row
	for _, r := range sent {
		rows = append(rows, r.Row)
	}
	done := false
	return batch.NewReader(func() (*batch.Batch, error) {
		if done {
			return nil, io.EOF
		}
		done = true
		return destinationtest.NewBatch(rows...), nil
	}, nil)
}

// send carries out one run. The rows are by date.
func (d *destination) send(t *testing.T, stream sdk.Stream, number int64, rows map[string][]sentRow) {
	t.Helper()
	run := runOf(stream, number, number)
	run.PipelineID = stream.String()
	if _, err := d.Open(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	var receipt sdk.Receipt
	for i, date := range slices.Sorted(maps.Keys(rows)) {
		sent := rows[date]
		part, err := d.Write(t.Context(), run, sdk.Partition{Index: i, Date: date}, oneBatch(sent))
		if err != nil {
			t.Fatal(err)
		}
		receipt.Partitions = append(receipt.Partitions, part)
	}
	if err := d.Prepare(t.Context(), run, receipt); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), run, receipt); err != nil {
		t.Fatal(err)
	}
}

// expectRows compares a table in Redshift with the rows that were sent.
func (d *destination) expectRows(t *testing.T, stream sdk.Stream, sent ...map[string][]sentRow) {
	t.Helper()
	var want []string
	for _, rows := range sent {
		for _, of := range rows {
			for _, r := range of {
				want = append(want, r.want)
			}
		}
	}
	slices.Sort(want)
	if got := d.inRedshift(t, stream); !slices.Equal(got, want) {
		t.Errorf("%s has %s, want %s", tables[stream], abridged(got), abridged(want))
	}
}

// All three streams are exported to an account in several runs and both formats, and
// compared row by row with Redshift's answers. The account executes the documented queries
// and the view; the stand-ins do not.
func TestAccount(t *testing.T) {
	for _, format := range []string{"parquet", "json"} {
		t.Run(format, func(t *testing.T) { exportToAccount(t, format) })
	}
}

func exportToAccount(t *testing.T, format string) {
	c := ofAccount(t, format)
	c["format"], c["views"] = format, []string{"resolved"}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	d, err := open(t.Context(), sdk.Config{Project: project, JSON: data}, s3bucket.NewPool())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range d.Check(t.Context()) {
		t.Logf("%s: ok %v %s", r.Action, r.OK, r.Detail)
		if !r.OK {
			t.Errorf("check: %s: %s", r.Action, r.Detail)
		}
	}
	if t.Failed() {
		t.Fatal("nothing was exported")
	}
	const one, two = "2026-06-01", "2026-06-02"
	events := map[string][]sentRow{
		one: {eventRow(t, "u1", one, `{"$email":"é","n":1.50}`, "", 0), eventRow(t, "longest", one, propertiesOf(longestString), "", 0)},
		two: {eventRow(t, "u2", two, `{"a":1,"b":12345678901234567890123,"a":3}`, `{"b":12345678901234567890123,"a":3}`, batch.DuplicateKey|batch.WideNumber)},
	}
	late := map[string][]sentRow{one: {eventRow(t, "late", one, `{}`, "", 0)}}
	d.send(t, sdk.Events, 1, events)
	d.expectRows(t, sdk.Events, events)
	d.send(t, sdk.Events, 2, late)
	d.expectRows(t, sdk.Events, events, late)
	mappings := map[string][]sentRow{"": {rowOf(t, sdk.Identity, `{"distinct_id":"u1","resolved_distinct_id":"z"}`, "", "", 0)}}
	d.send(t, sdk.Identity, 1, mappings)
	d.expectRows(t, sdk.Identity, mappings)
	for number, name := range []string{"old", "new"} {
		people := map[string][]sentRow{"": {rowOf(t, sdk.People, `{"distinct_id":"u1","properties":{"$email":"`+name+`"}}`, "", "", 0)}}
		d.send(t, sdk.People, int64(number+1), people)
		d.expectRows(t, sdk.People, people)
	}
	if os.Getenv(accountName) == "" {
		t.Log("the documented queries and the view were not executed: the stand-in for Redshift does not know them")
		return
	}
	d.executeDocumented(t)
}

// executeDocumented executes the queries of both pages, and the view through one of them.
func (d *destination) executeDocumented(t *testing.T) {
	names := strings.NewReplacer("mp_json_export_views.", d.warehouse.config.viewsSchema()+".", "mp_json_export.", d.warehouse.config.ExternalSchema+".")
	for _, page := range []string{"queries.md", "destinations/redshift.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, rest := range strings.Split(string(text), "\n```sql redshift\n")[1:] {
			query, _, _ := strings.Cut(rest, "\n```")
			name, _, _ := strings.Cut(query, "\n")
			rows, err := d.warehouse.run(t.Context(), names.Replace(query))
			if err != nil {
				t.Errorf("%s of %s: %v", name, page, err)
			}
			if len(rows) == 0 {
				t.Errorf("%s of %s returns no rows", name, page)
			}
		}
	}
}
