package redshift

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

	"github.com/penstock-io/penstock/plugins/internal/columns"
	"github.com/penstock-io/penstock/sdk"
)

const (
	// callTimeout bounds one call of Glue or the Data API with all its retries.
	callTimeout = 2 * time.Minute
	// partitionsPerCall is the largest number of partitions of one call.
	partitionsPerCall = 100
	// conflictTries is how often a table is read and written again when another
	// writer was faster, and failed partitions are sent again.
	conflictTries = 5
	partitionKey  = "mp_date"
	externalTable = "EXTERNAL_TABLE"
)

// tables are the names of the tables, which are those of the directories too.
var tables = map[sdk.Stream]string{sdk.Events: "mp_master_event", sdk.People: "mp_people_data", sdk.Identity: "mp_identity_mappings_data"}

// catalog is the database in Glue's catalog. It keeps no state, and is safe for
// concurrent use.
type catalog struct {
	client   *glue.Client
	database string
	create   bool   // the database
	base     string // URI of the bucket, with a slash at its end
	parquet  bool
}

// storage describes the files at a location, and the SerDe that reads them.
func (c *catalog) storage(stream sdk.Stream, location string) *types.StorageDescriptor {
	s := &types.StorageDescriptor{
		Location:     &location,
		Columns:      tableColumns(stream),
		InputFormat:  aws.String("org.apache.hadoop.mapred.TextInputFormat"),
		OutputFormat: aws.String("org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"),
		SerdeInfo:    &types.SerDeInfo{SerializationLibrary: aws.String("org.openx.data.jsonserde.JsonSerDe")},
		Compressed:   true,
	}
	if c.parquet {
		s.InputFormat = aws.String("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat")
		s.OutputFormat = aws.String("org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat")
		s.SerdeInfo.SerializationLibrary = aws.String("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe")
		s.Compressed = false
	}
	return s
}

// tableColumns are the columns of a table with their types in Glue.
func tableColumns(stream sdk.Stream) []types.Column {
	var found []types.Column
	for _, c := range columns.Of(stream) {
		kind := "varchar(65535)"
		if c.Kind == columns.Integer {
			kind = "bigint"
		}
		found = append(found, types.Column{Name: aws.String(c.Name), Type: aws.String(kind)})
	}
	return found
}

// location is the URI of a stream's directory.
func (c *catalog) location(dir string) string { return c.base + dir }

func partitionKeys(stream sdk.Stream) []types.Column {
	if stream != sdk.Events {
		return nil
	}
	return []types.Column{{Name: aws.String(partitionKey), Type: aws.String("string")}}
}

// ready creates the database and the table of events if they do not exist, and
// brings the table in line if its columns or location are others.
func (c *catalog) ready(ctx context.Context, stream sdk.Stream, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.hasDatabase(ctx); err != nil {
		return err
	}
	for range conflictTries {
		found, err := c.table(ctx, stream)
		if err != nil {
			return err
		}
		if found == nil {
			err = c.createTable(ctx, stream, dir)
		} else if !c.isOurs(found, stream, dir) {
			err = c.correct(ctx, found, stream, dir)
		} else {
			return nil
		}
		// The next turn reads the table again, whichever writer was first: a retry of
		// the client turns its own success into such an error.
		if err != nil && !isConflict(err) {
			return classify(err)
		}
	}
	return c.keepsChanging(stream)
}

// check reads the database and its tables. A database that Open is going to create
// may be missing.
func (c *catalog) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := c.client.GetDatabase(ctx, &glue.GetDatabaseInput{Name: &c.database})
	if isCode(err, "EntityNotFoundException") && c.create {
		return nil
	}
	if isCode(err, "EntityNotFoundException") {
		return c.noDatabase(err)
	}
	if err != nil {
		return classify(err)
	}
	for stream := range tables {
		if _, err := c.table(ctx, stream); err != nil {
			return err
		}
	}
	return nil
}

// hasDatabase finds the database, or creates it.
func (c *catalog) hasDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := c.client.GetDatabase(ctx, &glue.GetDatabaseInput{Name: &c.database})
	if !isCode(err, "EntityNotFoundException") {
		return classify(err)
	}
	if !c.create {
		return c.noDatabase(err)
	}
	_, err = c.client.CreateDatabase(ctx, &glue.CreateDatabaseInput{DatabaseInput: &types.DatabaseInput{
		Name: &c.database, Description: aws.String("Exports of Penstock"),
	}})
	if isCode(err, "AlreadyExistsException") {
		return nil
	}
	return classify(err)
}

func (c *catalog) noDatabase(err error) error {
	return sdk.Configuration(fmt.Errorf("Glue has no database %q in this region: %w", c.database, err),
		"create it, as with 'aws glue create-database --database-input Name="+c.database+"', or set create_database = true or glue_region")
}

// table returns the table of a stream; nil: it does not exist.
func (c *catalog) table(ctx context.Context, stream sdk.Stream) (*types.Table, error) {
	out, err := c.client.GetTable(ctx, &glue.GetTableInput{DatabaseName: &c.database, Name: aws.String(tables[stream])})
	if isCode(err, "EntityNotFoundException") {
		return nil, nil
	}
	if err != nil {
		return nil, classify(err)
	}
	return out.Table, nil
}

func (c *catalog) createTable(ctx context.Context, stream sdk.Stream, dir string) error {
	_, err := c.client.CreateTable(ctx, &glue.CreateTableInput{DatabaseName: &c.database, TableInput: c.tableInput(nil, stream, dir)})
	return err
}

func (c *catalog) classification() string {
	if c.parquet {
		return "parquet"
	}
	return "json"
}

// sameColumns compares names and types; comments are the user's.
func sameColumns(a, b []types.Column) bool {
	return slices.EqualFunc(a, b, func(a, b types.Column) bool {
		return aws.ToString(a.Name) == aws.ToString(b.Name) && aws.ToString(a.Type) == aws.ToString(b.Type)
	})
}

func (c *catalog) isOurs(t *types.Table, stream sdk.Stream, dir string) bool {
	return aws.ToString(t.TableType) == externalTable && sameColumns(t.PartitionKeys, partitionKeys(stream)) &&
		c.isOurStorage(t.StorageDescriptor, stream, c.location(dir))
}

// isOurStorage reports whether a table or partition has the location, columns and
// SerDe that the plugin writes.
func (c *catalog) isOurStorage(s *types.StorageDescriptor, stream sdk.Stream, location string) bool {
	want := c.storage(stream, location)
	return s != nil && aws.ToString(s.Location) == location && sameColumns(s.Columns, want.Columns) &&
		s.SerdeInfo != nil && aws.ToString(s.SerdeInfo.SerializationLibrary) == aws.ToString(want.SerdeInfo.SerializationLibrary)
}

// correct updates a table under its version. Parameters, descriptions and comments
// that users have set stay.
func (c *catalog) correct(ctx context.Context, t *types.Table, stream sdk.Stream, dir string) error {
	if err := c.samePartitions(t, stream); err != nil {
		return err
	}
	if was := location(t.StorageDescriptor); was != "" && was != c.location(dir) {
		return c.elsewhere(stream, was, dir)
	}
	return c.update(ctx, t, c.tableInput(t, stream, dir))
}

func location(s *types.StorageDescriptor) string {
	if s == nil {
		return ""
	}
	return aws.ToString(s.Location)
}

// keepComments copies the comments of columns, and the parameters of the storage and
// of a SerDe that stays.
func keepComments(to, from *types.StorageDescriptor) {
	if from == nil {
		return
	}
	to.Parameters = from.Parameters
	if s := from.SerdeInfo; s != nil && aws.ToString(s.SerializationLibrary) == aws.ToString(to.SerdeInfo.SerializationLibrary) {
		to.SerdeInfo.Name, to.SerdeInfo.Parameters = s.Name, s.Parameters
	}
	for i := range to.Columns {
		for _, c := range from.Columns {
			if aws.ToString(c.Name) == aws.ToString(to.Columns[i].Name) {
				to.Columns[i].Comment = c.Comment
			}
		}
	}
}

// addDays registers the partitions of dates. dirs are their directories, by date.
func (c *catalog) addDays(ctx context.Context, dirs map[string]string) error {
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(dirs)), partitionsPerCall) {
		if err := c.addChunk(ctx, chunk, dirs); err != nil {
			return fmt.Errorf("register partitions in Glue: %w", err)
		}
	}
	return nil
}

// addChunk registers partitions of one call. Those that exist are compared, and
// corrected if they are others'; those that failed for a reason that passes are
// sent again.
func (c *catalog) addChunk(ctx context.Context, dates []string, dirs map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var last error
	for range conflictTries {
		failed, err := c.createPartitions(ctx, dates, dirs)
		if err != nil {
			return classify(err)
		}
		var exist, again []string
		for _, e := range failed {
			if len(e.PartitionValues) != 1 || e.ErrorDetail == nil {
				return sdk.Permanent(fmt.Errorf("an entry failed that cannot be told: %v", e.PartitionValues))
			}
			date, code := e.PartitionValues[0], aws.ToString(e.ErrorDetail.ErrorCode)
			if code == "AlreadyExistsException" {
				exist = append(exist, date)
				continue
			}
			again = append(again, date)
			last = fmt.Errorf("partition %s: %s: %s", date, code, aws.ToString(e.ErrorDetail.ErrorMessage))
		}
		if len(exist) > 0 {
			gone, err := c.compareDays(ctx, exist, dirs)
			if err != nil {
				return err
			}
			again = append(again, gone...)
			if len(gone) > 0 {
				last = fmt.Errorf("partitions %v are refused as existing, and cannot be found", gone)
			}
		}
		if dates = again; len(dates) == 0 {
			return nil
		}
	}
	return sdk.Retryable(last, 0)
}

func (c *catalog) createPartitions(ctx context.Context, dates []string, dirs map[string]string) ([]types.PartitionError, error) {
	in := &glue.BatchCreatePartitionInput{DatabaseName: &c.database, TableName: aws.String(tables[sdk.Events])}
	for _, date := range dates {
		in.PartitionInputList = append(in.PartitionInputList, c.partition(date, dirs))
	}
	out, err := c.client.BatchCreatePartition(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Errors, nil
}

func (c *catalog) partition(date string, dirs map[string]string) types.PartitionInput {
	return types.PartitionInput{Values: []string{date}, StorageDescriptor: c.storage(sdk.Events, c.location(dirs[date]))}
}

// days reads the registered partitions of at most partitionsPerCall dates.
func (c *catalog) days(ctx context.Context, dates []string) (map[string]types.Partition, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	get := &glue.BatchGetPartitionInput{DatabaseName: &c.database, TableName: aws.String(tables[sdk.Events])}
	for _, date := range dates {
		get.PartitionsToGet = append(get.PartitionsToGet, types.PartitionValueList{Values: []string{date}})
	}
	out, err := c.client.BatchGetPartition(ctx, get)
	if err != nil {
		return nil, classify(err)
	}
	if len(out.UnprocessedKeys) > 0 {
		return nil, sdk.Retryable(fmt.Errorf("Glue left %d partitions out of an answer", len(out.UnprocessedKeys)), 0)
	}
	found := make(map[string]types.Partition)
	for _, p := range out.Partitions {
		if len(p.Values) == 1 {
			found[p.Values[0]] = p
		}
	}
	return found, nil
}

// compareDays corrects registered partitions that have another location or other
// columns; parameters and comments stay. It returns the dates whose partitions do not
// exist: another user has dropped them since.
func (c *catalog) compareDays(ctx context.Context, dates []string, dirs map[string]string) (gone []string, err error) {
	found, err := c.days(ctx, dates)
	if err != nil {
		return nil, err
	}
	update := &glue.BatchUpdatePartitionInput{DatabaseName: &c.database, TableName: aws.String(tables[sdk.Events])}
	for _, date := range dates {
		p, ok := found[date]
		if !ok {
			gone = append(gone, date)
			continue
		}
		if c.isOurStorage(p.StorageDescriptor, sdk.Events, c.location(dirs[date])) {
			continue
		}
		in := c.partition(date, dirs)
		in.Parameters = p.Parameters
		keepComments(in.StorageDescriptor, p.StorageDescriptor)
		update.Entries = append(update.Entries, types.BatchUpdatePartitionRequestEntry{PartitionValueList: p.Values, PartitionInput: &in})
	}
	if len(update.Entries) == 0 {
		return gone, nil
	}
	out, err := c.client.BatchUpdatePartition(ctx, update)
	if err != nil {
		return nil, classify(err)
	}
	var errs []error
	for _, e := range out.Errors {
		detail := cmp.Or(e.ErrorDetail, &types.ErrorDetail{ErrorCode: aws.String("no reason is given")})
		errs = append(errs, fmt.Errorf("partition %v: %s: %s", e.PartitionValueList, aws.ToString(detail.ErrorCode), aws.ToString(detail.ErrorMessage)))
	}
	return gone, sdk.Retryable(errors.Join(errs...), 0)
}
