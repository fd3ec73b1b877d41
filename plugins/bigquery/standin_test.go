package bigquery

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	cloud "cloud.google.com/go/bigquery"
	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/api/option"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/test/standin"
)

// region is that of the tests' datasets: one in which the service finds jobs only by
// their location.
const region = "europe-west3"

// reader reads the tables of a project with a client of its own.
type reader struct {
	api               *bq.Service
	project, location string
}

func newReader(t *testing.T, c config) reader {
	t.Helper()
	r := reader{project: c.Project, location: c.Region}
	client, err := c.account().Client()
	if err != nil {
		t.Fatal(err)
	}
	options := []option.ClientOption{option.WithHTTPClient(client)}
	if c.Endpoint != "" {
		options = append(options, option.WithEndpoint(c.endpoint()))
	}
	if r.api, err = bq.NewService(t.Context(), options...); err != nil {
		t.Fatal(err)
	}
	return r
}

// warehouse is a running stand-in.
type warehouse struct {
	*standin.BigQuery
	reader
	places atomic.Int64
}

func startWarehouse(t *testing.T) *warehouse {
	t.Helper()
	b := standin.StartBigQuery(t, standin.BigQueryOptions{})
	return &warehouse{BigQuery: b, reader: newReader(t, config{Project: b.Project, Region: region, Endpoint: b.URL, Credentials: b.KeyFile()})}
}

// config returns a configuration for a dataset that does not exist yet.
func (w *warehouse) config() map[string]any {
	return map[string]any{
		"gcp_project": w.Project, "dataset": fmt.Sprintf("place_%d", w.places.Add(1)), "region": region, "create_dataset": true,
		"endpoint": w.URL, "credentials": w.KeyFile(),
	}
}

// query runs a query and returns its rows; a NULL is nil.
func (r reader) query(ctx context.Context, dataset, text string) ([][]any, error) {
	standard := false
	answer, err := r.api.Jobs.Query(r.project, &bq.QueryRequest{
		Query: text, UseLegacySql: &standard, Location: r.location, TimeoutMs: 60_000, MaxResults: 100_000,
		DefaultDataset: &bq.DatasetReference{ProjectId: r.project, DatasetId: dataset},
	}).Context(ctx).Do()
	if err != nil {
		return nil, err
	}
	if !answer.JobComplete || answer.PageToken != "" {
		return nil, fmt.Errorf("the answer is not whole: complete %v, page %q", answer.JobComplete, answer.PageToken)
	}
	var rows [][]any
	for _, found := range answer.Rows {
		var row []any
		for _, cell := range found.F {
			row = append(row, cell.V)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// committed returns the rows that a reader sees, by date, in the form of stored.
func (r reader) committed(ctx context.Context, dataset string, stream sdk.Stream) (map[string][]string, error) {
	text := map[sdk.Stream]string{
		sdk.Events:   "SELECT CAST(DATE(_PARTITIONTIME) AS STRING), device_id, distinct_id, event_name, insert_id, TO_JSON_STRING(properties), UNIX_SECONDS(time), user_id FROM " + eventsTable,
		sdk.People:   "SELECT '', distinct_id, TO_JSON_STRING(properties) FROM mp_people_data_view",
		sdk.Identity: "SELECT '', distinct_id, resolved_distinct_id FROM mp_identity_mappings_data_view",
	}[stream]
	rows, err := r.query(ctx, dataset, text)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := make(map[string][]string)
	for _, row := range rows {
		values := map[string]any{}
		for i, f := range columnsOf(stream) {
			text, _ := row[i+1].(string)
			switch {
			case row[i+1] == nil:
				values[f.Name] = nil
			case f.Type == cloud.JSONFieldType:
				v, err := value(text)
				if err != nil {
					return nil, err
				}
				values[f.Name] = v
			case f.Type == cloud.TimestampFieldType:
				values[f.Name] = canonicalNumber(text)
			default:
				values[f.Name] = text
			}
		}
		date, _ := row[0].(string)
		found[date] = append(found[date], render(values))
	}
	return found, nil
}

// stored returns the form of a row in the table: the last of equal keys, wide
// numbers as strings, members in order, numbers by value.
func stored(line string) string {
	v, err := value(line)
	if err != nil {
		return line
	}
	return render(v)
}

// value reads a JSON text, with numbers by value.
func value(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%.100q: %w", text, err)
	}
	return normal(v), nil
}

func normal(v any) any {
	switch v := v.(type) {
	case json.Number:
		if !keepsNumber([]byte(v)) {
			return string(v)
		}
		return canonicalNumber(string(v))
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
	}
	return v
}

// canonicalNumber has one text for each value.
func canonicalNumber(text string) json.Number {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return json.Number(strconv.FormatInt(n, 10))
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return json.Number(strconv.FormatUint(n, 10))
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return json.Number(text)
	}
	if f == float64(int64(f)) && f < 1<<53 && f > -1<<53 {
		return json.Number(strconv.FormatInt(int64(f), 10))
	}
	return json.Number(strconv.FormatFloat(f, 'e', -1, 64))
}

// render writes a value with the members of objects in order.
func render(v any) string {
	switch v := v.(type) {
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, render(x))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, fmt.Sprintf("%q:%s", k, render(v[k])))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case string:
		return strconv.Quote(v)
	case nil:
		return "null"
	default:
		return fmt.Sprint(v)
	}
}

// tables lists the names of a dataset's tables.
func (w *warehouse) tables(t *testing.T, dataset string) []string {
	t.Helper()
	list, err := w.api.Tables.List(w.Project, dataset).MaxResults(1000).Context(t.Context()).Do()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, table := range list.Tables {
		found = append(found, table.TableReference.TableId)
	}
	slices.Sort(found)
	return found
}
