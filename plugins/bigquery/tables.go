package bigquery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	cloud "cloud.google.com/go/bigquery"
	"google.golang.org/api/iterator"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/sdk"
)

func column(name string, kind cloud.FieldType, description string) *cloud.FieldSchema {
	return &cloud.FieldSchema{Name: name, Type: kind, Description: description}
}

// columnsOf returns the columns of a stream's rows.
func columnsOf(stream sdk.Stream) cloud.Schema {
	switch stream {
	case sdk.People:
		return cloud.Schema{column("distinct_id", cloud.StringFieldType, ""), column("properties", cloud.JSONFieldType, "")}
	case sdk.Identity:
		return cloud.Schema{column("distinct_id", cloud.StringFieldType, ""), column("resolved_distinct_id", cloud.StringFieldType, "")}
	}
	return cloud.Schema{
		column("device_id", cloud.StringFieldType, ""), column("distinct_id", cloud.StringFieldType, ""), column("event_name", cloud.StringFieldType, ""),
		column("insert_id", cloud.StringFieldType, ""), column("properties", cloud.JSONFieldType, ""), column("time", cloud.TimestampFieldType, ""),
		column("user_id", cloud.StringFieldType, ""),
	}
}

// names lists the columns of a schema for a statement.
func names(schema cloud.Schema) string {
	var list []string
	for _, f := range schema {
		list = append(list, f.Name)
	}
	return strings.Join(list, ", ")
}

// logColumns are those of mp_nessie_export_log. The first ten are Mixpanel's.
var logColumns = cloud.Schema{
	column("export_id", "STRING", "pipeline, its id, and the run"),
	column("pipeline_name", "STRING", ""),
	column("data_source", "STRING", "events, people or identity"),
	column("table_name", "STRING", "the table that has the rows"),
	column("from_date", cloud.DateFieldType, "first day of events in the run"),
	column("to_date", "DATE", "last day"),
	column("started_at", "TIMESTAMP", "of the attempt that committed"),
	column("exported_at", "TIMESTAMP", ""),
	column("rows_exported", "INTEGER", ""),
	column("status", "STRING", "succeeded"),
	column("rows_rejected", "INTEGER", "in the host's quarantine"),
	column("rows_changed", "JSON", "rows that were changed to fit the columns, by reason"),
	column("content", "STRING", "digest of the run's rows"),
	column("rows_by_day", "JSON", "rows of each day of a run of events"),
	column("load_jobs", "INTEGER", "load jobs of the attempt that committed"),
}

// table returns a table to create. Its expiration is removed afterwards where the
// dataset has a default: see settle.
func (s *service) table(schema cloud.Schema, description string) *cloud.TableMetadata {
	return &cloud.TableMetadata{Schema: schema, Description: description}
}

// dayPartitions partitions a table by the day that a load or a statement names, not
// by a column.
func dayPartitions() *cloud.TimePartitioning {
	return &cloud.TimePartitioning{Type: cloud.DayPartitioningType}
}

func (s *service) named(api *clients, name string) *cloud.Table {
	return api.Dataset(s.config.Dataset).Table(name)
}

// getTable reads the metadata of a table or view; nil if it does not exist.
func (s *service) getTable(ctx context.Context, name string) (*cloud.TableMetadata, error) {
	var t *cloud.TableMetadata
	err := s.call(ctx, func(ctx context.Context, api *clients) (err error) {
		t, err = s.named(api, name).Metadata(ctx)
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
	e := gcp.Answer(err)
	return e != nil && strings.Contains(strings.ToLower(e.Message), "not found: dataset")
}

func isMissingProject(err error) bool {
	e := gcp.Answer(err)
	return e != nil && strings.Contains(strings.ToLower(e.Message), "not found: project")
}

// createTable creates a table or view, and returns its metadata. If it exists already
// they are those of the existing one.
func (s *service) createTable(ctx context.Context, name string, t *cloud.TableMetadata) (*cloud.TableMetadata, error) {
	err := s.call(ctx, func(ctx context.Context, api *clients) error { return s.named(api, name).Create(ctx, t) })
	if err != nil && !hasCode(err, http.StatusConflict) {
		return nil, s.classify("create table "+name, err)
	}
	created, err := s.getTable(ctx, name)
	if err == nil && created == nil {
		err = sdk.Retryable(fmt.Errorf("create table %s: it was deleted at once", name), 0)
	}
	return created, err
}

// ensureTable returns a table, and creates it first if it does not exist.
func (s *service) ensureTable(ctx context.Context, name string, t *cloud.TableMetadata) (*cloud.TableMetadata, error) {
	found, err := s.getTable(ctx, name)
	if err != nil || found != nil {
		return found, err
	}
	created, err := s.createTable(ctx, name, t)
	if err != nil {
		return nil, err
	}
	return s.settle(ctx, name, created, true)
}

// ensureLog creates the export log, and adds columns that an earlier version did not
// have.
func (s *service) ensureLog(ctx context.Context) error {
	t, err := s.ensureTable(ctx, exportLog, s.table(logColumns, "One row for each run that was committed."))
	if err != nil {
		return err
	}
	has := make(map[string]bool)
	for _, f := range t.Schema {
		has[strings.ToLower(f.Name)] = true
	}
	complete := slices.Clone(t.Schema)
	for _, f := range logColumns {
		if !has[f.Name] {
			complete = append(complete, f)
		}
	}
	if len(complete) == len(t.Schema) {
		return nil
	}
	_, err = s.patch(ctx, exportLog, cloud.TableMetadataToUpdate{Schema: complete}, t.ETag)
	if hasCode(err, http.StatusPreconditionFailed) {
		return sdk.Retryable(fmt.Errorf("add columns to %s: another writer has changed it", exportLog), 0)
	}
	return s.classify("add columns to "+exportLog, err)
}

// createBrief creates a table that is of use to one attempt only, and ends by itself
// after life. Its days stay until then.
func (s *service) createBrief(ctx context.Context, name string, t *cloud.TableMetadata, life time.Duration) error {
	t.ExpirationTime = s.now().Add(life)
	created, err := s.createTable(ctx, name, t)
	if err == nil {
		_, err = s.settle(ctx, name, created, false)
	}
	return err
}

// settle removes the expirations that the dataset's defaults have given to the days of
// a table, and to the table if it must stay. A table without them is not patched.
func (s *service) settle(ctx context.Context, name string, t *cloud.TableMetadata, stays bool) (*cloud.TableMetadata, error) {
	change, needed := cloud.TableMetadataToUpdate{}, false
	if stays && !t.ExpirationTime.IsZero() {
		change.ExpirationTime, needed = cloud.NeverExpire, true
	}
	if p := t.TimePartitioning; p != nil && p.Expiration != 0 {
		change.TimePartitioning, needed = &cloud.TimePartitioning{Type: p.Type, Field: p.Field}, true
	}
	if !needed {
		return t, nil
	}
	patched, err := s.patch(ctx, name, change, "")
	if err != nil {
		return nil, s.classify("remove the expiration of table "+name, err)
	}
	return patched, nil
}

// patch changes a table's metadata, if etag is not empty only while it has this
// version.
func (s *service) patch(ctx context.Context, name string, change cloud.TableMetadataToUpdate, etag string) (*cloud.TableMetadata, error) {
	var patched *cloud.TableMetadata
	err := s.call(ctx, func(ctx context.Context, api *clients) (err error) {
		patched, err = s.named(api, name).Update(ctx, change, etag)
		return err
	})
	return patched, err
}

// deleteTable deletes a table; one that does not exist is deleted.
func (s *service) deleteTable(ctx context.Context, name string) error {
	err := s.call(ctx, func(ctx context.Context, api *clients) error { return s.named(api, name).Delete(ctx) })
	if err != nil && !isNotFound(err) {
		return s.classify("delete table "+name, err)
	}
	return nil
}

// rows reads a small table. It costs nothing, and sees every statement that has
// committed.
func (s *service) rows(ctx context.Context, name string) ([][]cloud.Value, error) {
	var out [][]cloud.Value
	err := s.call(ctx, func(ctx context.Context, api *clients) (err error) {
		out, err = allRows(s.named(api, name).Read(ctx))
		return err
	})
	return out, err
}

// allRows reads an iterator to its end.
func allRows(rows *cloud.RowIterator) ([][]cloud.Value, error) {
	var out [][]cloud.Value
	for {
		var row []cloud.Value
		err := rows.Next(&row)
		if errors.Is(err, iterator.Done) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
}

// logPage is the number of rows of the export log that one request reads.
const logPage = 5000

// eachRow reads a table page by page, each row as its values by column. It costs nothing.
func (s *service) eachRow(ctx context.Context, name string, f func(map[string]cloud.Value) error) error {
	for token := ""; ; {
		var page []map[string]cloud.Value
		err := s.call(ctx, func(ctx context.Context, api *clients) (err error) {
			page, err = s.page(ctx, api, name, &token)
			return err
		})
		if err != nil {
			return s.classify("read "+name, err)
		}
		for _, row := range page {
			if err := f(row); err != nil {
				return err
			}
		}
		if token == "" {
			return nil
		}
	}
}

// page reads the rows of a table from a page token, and sets the token to that of the
// next page; empty: there is none.
func (s *service) page(ctx context.Context, api *clients, name string, token *string) ([]map[string]cloud.Value, error) {
	rows := s.named(api, name).Read(ctx)
	rows.PageInfo().Token, rows.PageInfo().MaxSize = *token, logPage
	var page []map[string]cloud.Value
	for {
		row := make(map[string]cloud.Value)
		err := rows.Next(&row)
		if errors.Is(err, iterator.Done) {
			*token = ""
			return page, nil
		}
		if err != nil {
			return nil, err
		}
		page = append(page, row)
		if rows.PageInfo().Remaining() == 0 {
			*token = rows.PageInfo().Token
			return page, nil
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

func (s *service) createDataset(ctx context.Context) (*cloud.DatasetMetadata, error) {
	wanted := &cloud.DatasetMetadata{Location: s.config.Region, Description: "Exports of Mixpanel data by Penstock"}
	err := s.call(ctx, func(ctx context.Context, api *clients) error {
		return api.Dataset(s.config.Dataset).Create(ctx, wanted)
	})
	if err != nil && !hasCode(err, http.StatusConflict) {
		return nil, err
	}
	return s.dataset(ctx)
}

// ensureEvents returns nil if the table of events exists in the form that it must
// have.
func (s *service) ensureEvents(ctx context.Context) error {
	wanted := s.table(columnsOf(sdk.Events), "Events. The partition is the event's day in the project's time zone.")
	wanted.TimePartitioning = dayPartitions()
	t, err := s.ensureTable(ctx, eventsTable, wanted)
	if err != nil {
		return err
	}
	return checkEvents(t)
}

// checkEvents refuses a table that exists with other columns or partitions.
func checkEvents(t *cloud.TableMetadata) error {
	refuse := func(format string, args ...any) error {
		return sdk.Configuration(fmt.Errorf("table "+eventsTable+" "+format, args...), "move the table away, or use another dataset: Penstock creates the table")
	}
	if t.TimePartitioning == nil || t.TimePartitioning.Type != cloud.DayPartitioningType || t.TimePartitioning.Field != "" {
		return refuse("is not partitioned by the day of ingestion")
	}
	kinds := make(map[string]cloud.FieldType)
	for _, f := range t.Schema {
		kinds[strings.ToLower(f.Name)] = f.Type
	}
	for _, f := range columnsOf(sdk.Events) {
		if kinds[f.Name] != f.Type {
			return refuse("has no column %s of type %s", f.Name, f.Type)
		}
	}
	return nil
}
