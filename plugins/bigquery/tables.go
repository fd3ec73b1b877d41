package bigquery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/sdk"
)

// day is the partitioning of tables of events: by the day that a load or a
// statement names, not by a column.
const day = "DAY"

func column(name, kind, description string) *bq.TableFieldSchema {
	return &bq.TableFieldSchema{Name: name, Type: kind, Mode: "NULLABLE", Description: description}
}

// columnsOf returns the columns of a stream's rows.
func columnsOf(stream sdk.Stream) *bq.TableSchema {
	switch stream {
	case sdk.People:
		return &bq.TableSchema{Fields: []*bq.TableFieldSchema{column("distinct_id", "STRING", ""), column("properties", "JSON", "")}}
	case sdk.Identity:
		return &bq.TableSchema{Fields: []*bq.TableFieldSchema{column("distinct_id", "STRING", ""), column("resolved_distinct_id", "STRING", "")}}
	}
	return &bq.TableSchema{Fields: []*bq.TableFieldSchema{
		column("device_id", "STRING", ""), column("distinct_id", "STRING", ""), column("event_name", "STRING", ""),
		column("insert_id", "STRING", ""), column("properties", "JSON", ""), column("time", "TIMESTAMP", ""), column("user_id", "STRING", ""),
	}}
}

// names lists the columns of a schema for a statement.
func names(schema *bq.TableSchema) string {
	var list []string
	for _, f := range schema.Fields {
		list = append(list, f.Name)
	}
	return strings.Join(list, ", ")
}

// logColumns are those of mp_nessie_export_log. The first ten are Mixpanel's.
var logColumns = &bq.TableSchema{Fields: []*bq.TableFieldSchema{
	column("export_id", "STRING", "pipeline, its id, and the run"),
	column("pipeline_name", "STRING", ""),
	column("data_source", "STRING", "events, people or identity"),
	column("table_name", "STRING", "the table that has the rows"),
	column("from_date", "DATE", "first day of events in the run"),
	column("to_date", "DATE", "last day"),
	column("started_at", "TIMESTAMP", "of the attempt that committed"),
	column("exported_at", "TIMESTAMP", ""),
	column("rows_exported", "INT64", ""),
	column("status", "STRING", "succeeded"),
	column("rows_rejected", "INT64", "in the host's quarantine"),
	column("rows_changed", "JSON", "rows that were changed to fit the columns, by reason"),
	column("content", "STRING", "digest of the run's rows"),
}}

// table returns a table to create. Its expiration is set afterwards where the
// dataset has a default: see settle.
func (s *service) table(name string, schema *bq.TableSchema, description string) *bq.Table {
	return &bq.Table{TableReference: s.tableReference(name), Schema: schema, Description: description}
}

func (s *service) tableReference(name string) *bq.TableReference {
	return &bq.TableReference{ProjectId: s.config.Project, DatasetId: s.config.Dataset, TableId: name}
}

// getTable reads the metadata of a table or view; nil if it does not exist.
func (s *service) getTable(ctx context.Context, name string) (*bq.Table, error) {
	var t *bq.Table
	err := s.call(ctx, func(ctx context.Context, api *bq.Service) (err error) {
		t, err = api.Tables.Get(s.config.Project, s.config.Dataset, name).Context(ctx).Do()
		return err
	})
	if isNotFound(err) && !isMissingDataset(err) {
		return nil, nil
	}
	if err != nil {
		return nil, s.classify("read table "+name, err)
	}
	return t, nil
}

func isMissingDataset(err error) bool {
	e := answer(err)
	return e != nil && strings.Contains(strings.ToLower(e.Message), "not found: dataset")
}

// createTable creates a table or view. If it exists already that one is returned.
func (s *service) createTable(ctx context.Context, t *bq.Table) (*bq.Table, error) {
	name := t.TableReference.TableId
	var created *bq.Table
	err := s.call(ctx, func(ctx context.Context, api *bq.Service) (err error) {
		created, err = api.Tables.Insert(s.config.Project, s.config.Dataset, t).Context(ctx).Do()
		return err
	})
	if hasCode(err, http.StatusConflict) {
		created, err = s.getTable(ctx, name)
		if err == nil && created == nil {
			err = sdk.Retryable(errors.New("it exists, and was then deleted"), 0)
		}
	}
	if err != nil {
		return nil, s.classify("create table "+name, err)
	}
	return created, nil
}

// ensureTable returns a table, and creates it first if it does not exist.
func (s *service) ensureTable(ctx context.Context, t *bq.Table) (*bq.Table, error) {
	found, err := s.getTable(ctx, t.TableReference.TableId)
	if err != nil || found != nil {
		return found, err
	}
	created, err := s.createTable(ctx, t)
	if err != nil {
		return nil, err
	}
	return s.settle(ctx, created)
}

// settle removes the expirations that the dataset's defaults have given to a table
// that must stay. A table without them is not patched.
func (s *service) settle(ctx context.Context, t *bq.Table) (*bq.Table, error) {
	change := &bq.Table{}
	if t.ExpirationTime != 0 {
		change.NullFields = append(change.NullFields, "ExpirationTime")
	}
	if p := t.TimePartitioning; p != nil && p.ExpirationMs != 0 {
		change.TimePartitioning = &bq.TimePartitioning{Type: p.Type, Field: p.Field, NullFields: []string{"ExpirationMs"}}
	}
	if len(change.NullFields) == 0 && change.TimePartitioning == nil {
		return t, nil
	}
	patched, err := s.patch(ctx, t.TableReference.TableId, change, "")
	if err != nil {
		return nil, s.classify("remove the expiration of table "+t.TableReference.TableId, err)
	}
	return patched, nil
}

// patch changes a table's metadata, if etag is not empty only while it has this
// version.
func (s *service) patch(ctx context.Context, name string, change *bq.Table, etag string) (*bq.Table, error) {
	var patched *bq.Table
	err := s.call(ctx, func(ctx context.Context, api *bq.Service) (err error) {
		call := api.Tables.Patch(s.config.Project, s.config.Dataset, name, change).Context(ctx)
		if etag != "" {
			call.Header().Set("If-Match", etag)
		}
		patched, err = call.Do()
		return err
	})
	return patched, err
}

// deleteTable deletes a table; one that does not exist is deleted.
func (s *service) deleteTable(ctx context.Context, name string) error {
	err := s.call(ctx, func(ctx context.Context, api *bq.Service) error {
		return api.Tables.Delete(s.config.Project, s.config.Dataset, name).Context(ctx).Do()
	})
	if err != nil && !isNotFound(err) {
		return s.classify("delete table "+name, err)
	}
	return nil
}

// rows reads a small table, as texts in the order of its columns; a NULL is empty.
// It costs nothing, and sees every statement that has committed.
func (s *service) rows(ctx context.Context, name string) ([][]string, error) {
	var out [][]string
	for token := ""; ; {
		var page *bq.TableDataList
		err := s.call(ctx, func(ctx context.Context, api *bq.Service) (err error) {
			page, err = api.Tabledata.List(s.config.Project, s.config.Dataset, name).PageToken(token).MaxResults(1000).Context(ctx).Do()
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, r := range page.Rows {
			row := make([]string, len(r.F))
			for i, cell := range r.F {
				row[i], _ = cell.V.(string)
			}
			out = append(out, row)
		}
		if token = page.PageToken; token == "" {
			return out, nil
		}
	}
}

// ensureDataset reads the dataset, creates it if it may, and compares its location.
func (s *service) ensureDataset(ctx context.Context) error {
	d, err := s.dataset(ctx)
	if isNotFound(err) && s.config.CreateDataset {
		d, err = s.createDataset(ctx)
	}
	if err != nil {
		return s.classify("read dataset "+s.config.Dataset, err)
	}
	if s.config.Region != "" && !strings.EqualFold(d.Location, s.config.Region) {
		return sdk.Configuration(fmt.Errorf("dataset %s is in %s, and region says %s", s.config.Dataset, d.Location, s.config.Region),
			"set region to the dataset's location; a dataset cannot be moved")
	}
	return nil
}

func (s *service) createDataset(ctx context.Context) (*bq.Dataset, error) {
	wanted := &bq.Dataset{
		DatasetReference: &bq.DatasetReference{ProjectId: s.config.Project, DatasetId: s.config.Dataset},
		Location:         s.config.Region, Description: "Exports of Mixpanel data by Penstock",
	}
	err := s.call(ctx, func(ctx context.Context, api *bq.Service) error {
		_, err := api.Datasets.Insert(s.config.Project, wanted).Context(ctx).Do()
		return err
	})
	if err != nil && !hasCode(err, http.StatusConflict) {
		return nil, err
	}
	return s.dataset(ctx)
}

// ensureEvents returns nil if the table of events exists in the form that it must
// have.
func (s *service) ensureEvents(ctx context.Context) error {
	wanted := s.table(eventsTable, columnsOf(sdk.Events), "Events. The partition is the event's day in the project's time zone.")
	wanted.TimePartitioning = &bq.TimePartitioning{Type: day}
	t, err := s.ensureTable(ctx, wanted)
	if err != nil {
		return err
	}
	return checkEvents(t)
}

// checkEvents refuses a table that exists with other columns or partitions.
func checkEvents(t *bq.Table) error {
	refuse := func(format string, args ...any) error {
		return sdk.Configuration(fmt.Errorf("table "+eventsTable+" "+format, args...), "move the table away, or use another dataset: Penstock creates the table")
	}
	if t.TimePartitioning == nil || t.TimePartitioning.Type != day || t.TimePartitioning.Field != "" {
		return refuse("is not partitioned by the day of ingestion")
	}
	kinds := make(map[string]string)
	if t.Schema != nil {
		for _, f := range t.Schema.Fields {
			kinds[strings.ToLower(f.Name)] = f.Type
		}
	}
	for _, f := range columnsOf(sdk.Events).Fields {
		if kinds[f.Name] != f.Type {
			return refuse("has no column %s of type %s", f.Name, f.Type)
		}
	}
	return nil
}

// expires sets the time at which a table ends that is of use to one attempt only.
func (s *service) expires(t *bq.Table, after time.Duration) *bq.Table {
	t.ExpirationTime = s.now().Add(after).UnixMilli()
	return t
}
