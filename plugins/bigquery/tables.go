package bigquery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	err := s.call(ctx, func(ctx context.Context, api *clients) error {
		out = nil
		for rows := s.named(api, name).Read(ctx); ; {
			var row []cloud.Value
			err := rows.Next(&row)
			if errors.Is(err, iterator.Done) {
				return nil
			}
			if err != nil {
				return err
			}
			out = append(out, row)
		}
	})
	return out, err
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
