package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"database/sql/driver"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// target is the table that a job writes.
type target struct {
	ref           *bq.TableReference
	create, write string
	schema        *bq.TableSchema
	partitioning  *bq.TimePartitioning
	clustering    *bq.Clustering
	updates       []string
	created       bool
	part          time.Time // of the decorator; zero: none
}

// day returns the partition that rows go to.
func (to *target) day(now time.Time) time.Time {
	if !to.part.IsZero() {
		return to.part
	}
	return now.UTC().Truncate(24 * time.Hour)
}

// decorator reads $YYYYMMDD.
func (to *target) decorator() (string, error) {
	id, text, found := strings.Cut(to.ref.TableId, "$")
	if !found {
		return id, nil
	}
	day, err := time.Parse("20060102", text)
	if err != nil || len(text) != 8 || day.Year() < 1 {
		return "", fail("invalid", "Invalid time partitioning decorator: $%s. Time partitioned tables must have a decorator of the form $YYYYMMDD", text)
	}
	to.part = day
	return id, nil
}

// prepare finds or creates the table of a job that writes, and checks the schema.
// For a job that replaces rows it claims the table for the job.
func (s *Server) prepare(ctx context.Context, j *job, c conn, to *target) (*table, error) {
	if len(to.updates) > 0 && (to.write == "WRITE_EMPTY" || to.write == "WRITE_TRUNCATE" && !strings.Contains(to.ref.TableId, "$")) {
		return nil, fail("invalid", "Schema update options should only be specified with WRITE_APPEND disposition, or with WRITE_TRUNCATE disposition on a table partition.")
	}
	id, err := to.decorator()
	if err != nil {
		return nil, err
	}
	project := to.ref.ProjectId
	if project == "" {
		project = j.project
	}
	s.catalog.mu.Lock()
	ds, err := s.catalog.dataset(project, to.ref.DatasetId)
	var t *table
	if err == nil {
		t, _ = s.catalog.table(project, to.ref.DatasetId, id)
	}
	s.catalog.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if ds.meta.Location != j.location {
		return nil, fail("notFound", "Not found: Dataset %s:%s was not found in location %s", project, to.ref.DatasetId, j.location)
	}
	name := project + ":" + to.ref.DatasetId + "." + id
	if t == nil {
		return s.createTarget(ctx, j, c, to, ds, &bq.TableReference{ProjectId: project, DatasetId: to.ref.DatasetId, TableId: id})
	}
	if err := s.allow(j.user, "bigquery.tables.updateData", ds, name); err != nil {
		return nil, err
	}
	if t.view() {
		return nil, fail("invalid", "Cannot load into a view: %s", name)
	}
	if !to.part.IsZero() && !t.partitioned() {
		return nil, fail("invalid", "Cannot write to partition of a table that is not partitioned: %s$%s", name, to.part.Format("20060102"))
	}
	if to.partitioning != nil && !samePartitioning(to.partitioning, t.meta.TimePartitioning) {
		return nil, fail("invalid", "Incompatible table partitioning specification. Expects partitioning specification %s, but input partitioning specification is %s", describePartitioning(t.meta.TimePartitioning), describePartitioning(to.partitioning))
	}
	if err := s.modification(t, to); err != nil {
		return nil, err
	}
	switch to.write {
	case "WRITE_EMPTY":
		if err := s.catalog.measure(ctx, t); err != nil {
			return nil, err
		}
		if t.rows > 0 {
			return nil, fail("duplicate", "Already Exists: Table %s", name)
		}
	case "WRITE_TRUNCATE":
		if err := s.mutations.wait(ctx, j, t, s.quota(queuedDML)); err != nil {
			return nil, err
		}
	}
	return t, s.fit(ctx, c, t, to)
}

func samePartitioning(a, b *bq.TimePartitioning) bool {
	if b == nil {
		return false
	}
	unit := func(p *bq.TimePartitioning) string { return max(p.Type, "DAY") }
	return a.Field == b.Field && (a.Type == "" || unit(a) == unit(b))
}

func describePartitioning(p *bq.TimePartitioning) string {
	if p == nil {
		return "none"
	}
	if p.Field == "" {
		return "interval(type:day)"
	}
	return "interval(type:day,field:" + p.Field + ")"
}

func (s *Server) createTarget(ctx context.Context, j *job, c conn, to *target, ds *dataset, ref *bq.TableReference) (*table, error) {
	name := ref.ProjectId + ":" + ref.DatasetId + "." + ref.TableId
	if to.create == "CREATE_NEVER" {
		return nil, fail("notFound", "Not found: Table %s", name)
	}
	if err := s.allow(j.user, "bigquery.tables.create", ds, name); err != nil {
		return nil, err
	}
	if to.schema == nil {
		return nil, fail("invalid", "No schema specified on job or table.")
	}
	meta := &bq.Table{TableReference: ref, Schema: clone(to.schema), TimePartitioning: to.partitioning, Clustering: to.clustering}
	if !to.part.IsZero() && meta.TimePartitioning == nil {
		meta.TimePartitioning = &bq.TimePartitioning{Type: "DAY"}
	}
	s.catalog.mu.Lock()
	t, err := s.catalog.newTable(ds, meta)
	s.catalog.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := t.create(ctx, c); err != nil {
		return nil, err
	}
	to.created = true
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	if other := ds.tables[ref.TableId]; other != nil {
		return other, nil
	}
	ds.tables[ref.TableId] = t
	return t, s.countModification(t, to)
}

// fit compares the schema of a job with that of the table, and changes the table's
// where the job allows it.
func (s *Server) fit(ctx context.Context, c conn, t *table, to *target) error {
	if to.schema == nil || to.created {
		return nil
	}
	s.catalog.mu.Lock()
	meta := clone(t.meta)
	s.catalog.mu.Unlock()
	if to.write == "WRITE_TRUNCATE" && to.part.IsZero() {
		if sameSchema(meta.Schema, to.schema) {
			return nil
		}
		return s.rebuild(ctx, c, t, to)
	}
	changed := false
	for _, f := range to.schema.Fields {
		at := slices.IndexFunc(meta.Schema.Fields, func(o *bq.TableFieldSchema) bool { return strings.EqualFold(o.Name, f.Name) })
		if at < 0 {
			if !slices.Contains(to.updates, "ALLOW_FIELD_ADDITION") {
				return fail("invalid", "Invalid schema update. Cannot add fields (field: %s)", f.Name)
			}
			if _, err := c.exec(ctx, "ALTER TABLE "+t.physical+" ADD COLUMN "+googlesql.QuoteName(f.Name)+" "+googlesql.DuckType(sqlType(f))); err != nil {
				return err
			}
			meta.Schema.Fields, changed = append(meta.Schema.Fields, f), true
			continue
		}
		have := meta.Schema.Fields[at]
		if sqlType(have) != sqlType(f) {
			return fail("invalid", "Invalid schema update. Field %s has changed type from %s to %s", f.Name, have.Type, fieldOf("", sqlType(f)).Type)
		}
		if have.Mode == "REQUIRED" && f.Mode != "REQUIRED" && slices.Contains(to.updates, "ALLOW_FIELD_RELAXATION") {
			if _, err := c.exec(ctx, "ALTER TABLE "+t.physical+" ALTER COLUMN "+googlesql.QuoteName(f.Name)+" DROP NOT NULL"); err != nil {
				return err
			}
			have.Mode, changed = "NULLABLE", true
		}
	}
	if changed {
		s.catalog.mu.Lock()
		defer s.catalog.mu.Unlock()
		t.meta = meta
		t.version++
	}
	return nil
}

func sameSchema(a, b *bq.TableSchema) bool {
	return slices.EqualFunc(schemaFields(a), schemaFields(b), func(x, y *bq.TableFieldSchema) bool {
		return strings.EqualFold(x.Name, y.Name) && sqlType(x) == sqlType(y) && (x.Mode == "REQUIRED") == (y.Mode == "REQUIRED")
	})
}

// rebuild gives a table the schema of a job that replaces all of it.
func (s *Server) rebuild(ctx context.Context, c conn, t *table, to *target) error {
	s.catalog.mu.Lock()
	meta := clone(t.meta)
	s.catalog.mu.Unlock()
	meta.Schema = clone(to.schema)
	if err := checkTable(meta); err != nil {
		return err
	}
	fresh := &table{dataset: t.dataset, meta: meta, physical: s.catalog.nextPhysical()}
	if err := fresh.create(ctx, c); err != nil {
		return err
	}
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	t.meta, t.physical = meta, fresh.physical
	t.version++
	return nil
}

// replace runs write in a transaction, after the rows that the job replaces have been
// deleted.
func (to *target) replace(ctx context.Context, c conn, t *table, write func() error) (err error) {
	if _, err := c.exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	defer func() {
		end := "COMMIT"
		if err != nil {
			end = "ROLLBACK"
		}
		_, failed := c.exec(context.WithoutCancel(ctx), end)
		err = errors.Join(err, failed)
	}()
	if to.write == "WRITE_TRUNCATE" {
		text := "DELETE FROM " + t.physical
		if !to.part.IsZero() {
			text += " WHERE " + partitionColumn(t) + " = " + timestampLiteral(to.part)
		}
		if _, err := c.exec(ctx, text); err != nil {
			return err
		}
	}
	return write()
}

// partitionColumn returns the partition of a row as a timestamp.
func partitionColumn(t *table) string {
	if t.ingestionTime() {
		return googlesql.QuoteName(googlesql.Partition)
	}
	return "CAST(CAST(" + googlesql.QuoteName(t.meta.TimePartitioning.Field) + " AS DATE) AS TIMESTAMPTZ)"
}

// load runs a load job. media is the uploaded file; empty: the URIs of the job.
func (s *Server) load(ctx context.Context, j *job, media string) error {
	l := j.config.Load
	if err := s.faults.meet(ctx, j.id, "", "before"); err != nil {
		return err
	}
	files := []string{media}
	if media == "" {
		var err error
		if files, err = s.fetch(ctx, l.SourceUris); err != nil {
			return err
		}
		defer removeAll(files)
	}
	c, err := s.engine.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	to := &target{
		ref: l.DestinationTable, create: l.CreateDisposition, write: l.WriteDisposition, schema: l.Schema,
		partitioning: l.TimePartitioning, clustering: l.Clustering, updates: l.SchemaUpdateOptions,
	}
	if to.write == "" {
		to.write = "WRITE_APPEND"
	}
	if l.Autodetect && to.schema == nil {
		if to.schema, err = detect(files[0], l); err != nil {
			return err
		}
	}
	t, err := s.prepare(ctx, j, c, to)
	if err != nil {
		return err
	}
	done := false
	defer func() { s.mutations.release(j, done) }()
	r := &reader{load: l, fields: schemaFields(t.meta.Schema), max: l.MaxBadRecords}
	err = to.replace(ctx, c, t, func() error { return s.appendRows(ctx, c, t, to, r, files) })
	j.mu.Lock()
	j.warnings = r.errors
	j.stats.Load = &bq.JobStatistics3{
		InputFiles: int64(len(files)), InputFileBytes: r.inputBytes, OutputRows: r.rows, OutputBytes: r.bytes, BadRecords: r.bad,
		ForceSendFields: []string{"InputFiles", "InputFileBytes", "OutputRows", "OutputBytes", "BadRecords"},
	}
	if err != nil {
		j.stats.Load.OutputRows, j.stats.Load.OutputBytes = 0, 0
	}
	j.mu.Unlock()
	if err != nil {
		return err
	}
	done = true
	s.catalog.touch(map[*table]bool{t: true})
	return s.faults.meet(ctx, j.id, "", "after")
}

func removeAll(files []string) {
	for _, f := range files {
		_ = os.Remove(f)
	}
}

// appendRows inserts the rows of files through texts, which DuckDB converts.
func (s *Server) appendRows(ctx context.Context, c conn, t *table, to *target, r *reader, files []string) error {
	text, err := duckdb.NewTypeInfo(duckdb.TYPE_VARCHAR)
	if err != nil {
		return err
	}
	if len(r.fields) == 0 {
		return fail("invalid", "No schema specified on job or table.")
	}
	types, names, columns, values := []duckdb.TypeInfo{}, []string{}, []string{}, []string{}
	for n, f := range r.fields {
		typ := sqlType(f)
		name := "c" + strconv.Itoa(n)
		value := "CAST(" + name + " AS " + googlesql.DuckType(typ) + ")"
		if strings.Contains(typ, "<") {
			value = "CAST(CAST(" + name + " AS JSON) AS " + googlesql.DuckType(typ) + ")"
		}
		if typ == "BYTES" {
			value = "from_base64(" + name + ")"
		}
		types, names = append(types, text), append(names, name)
		columns, values = append(columns, googlesql.QuoteName(f.Name)), append(values, value)
	}
	if t.ingestionTime() {
		columns, values = append(columns, googlesql.QuoteName(googlesql.Partition)), append(values, timestampLiteral(to.day(s.now())))
	}
	query := "INSERT INTO " + t.physical + " (" + strings.Join(columns, ", ") + ") SELECT " + strings.Join(values, ", ") + " FROM rows_of_load"
	return c.Raw(func(driverConn any) error {
		a, err := duckdb.NewQueryAppender(driverConn.(*duckdb.Conn), query, "rows_of_load", types, names)
		if err != nil {
			return fmt.Errorf("append rows: %w", err)
		}
		for _, f := range files {
			if err := r.read(ctx, f, a); err != nil {
				return errors.Join(err, a.Clear(), a.Close())
			}
		}
		if r.bad > r.max {
			err = r.tooMany()
			return errors.Join(err, a.Clear(), a.Close())
		}
		if err := a.Close(); err != nil {
			return refusal(err)
		}
		return nil
	})
}

// reader reads the rows of a load job.
type reader struct {
	load       *bq.JobConfigurationLoad
	fields     []*bq.TableFieldSchema
	max        int64
	inputBytes int64
	rows       int64
	bytes      int64
	bad        int64
	errors     []*bq.ErrorProto
}

// maxErrors is how many rows a job names.
const maxErrors = 5

// maxRow is the largest row of JSON (https://docs.cloud.google.com/bigquery/quotas#load_jobs).
const maxRow = 100 << 20

func (r *reader) tooMany() error {
	format := "JSON"
	if r.load.SourceFormat == "CSV" || r.load.SourceFormat == "" {
		format = "CSV"
	}
	return fail("invalid", "Error while reading data, error message: %s table encountered too many errors, giving up. Rows: %d; errors: %d. Please look into the errors[] collection for more details.", format, r.bad, r.bad)
}

// read appends the rows of a file, which may be compressed.
func (r *reader) read(ctx context.Context, path string, a *duckdb.Appender) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r.inputBytes += info.Size()
	in, err := decompress(f, info.Size())
	if err != nil {
		return err
	}
	if r.load.SourceFormat == "CSV" || r.load.SourceFormat == "" {
		return r.csv(in, a)
	}
	lines := bufio.NewReaderSize(in, 1<<20)
	for n := int64(1); ; n++ {
		if n%10000 == 0 && ctx.Err() != nil {
			return fail("stopped", "Job execution was cancelled: User requested cancellation")
		}
		line, err := readLine(lines)
		if err != nil && err != io.EOF {
			return fail("invalid", "Error while reading data, error message: Failed to decompress file. %v", err)
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			if failed := r.line(text, n, a); failed != nil {
				return failed
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	long := slices.Clone(line)
	for err == bufio.ErrBufferFull {
		line, err = r.ReadSlice('\n')
		if long = append(long, line...); len(long) > maxRow {
			return nil, errors.New("row is larger than 100 MB")
		}
	}
	return long, err
}

// maxGzip is the largest compressed file (https://docs.cloud.google.com/bigquery/quotas#load_jobs).
const maxGzip = 4 << 30

func decompress(f *os.File, size int64) (io.Reader, error) {
	in := bufio.NewReaderSize(f, 1<<20)
	head, _ := in.Peek(2)
	if len(head) < 2 || head[0] != 0x1f || head[1] != 0x8b {
		return in, nil
	}
	if size > maxGzip {
		return nil, fail("invalid", "Error while reading data, error message: Input compressed file exceeds the maximum size of 4 GB")
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fail("invalid", "Error while reading data, error message: Failed to decompress file. %v", err)
	}
	return z, nil
}

func (r *reader) line(text []byte, n int64, a *duckdb.Appender) error {
	values, err := r.object(text)
	if err != nil {
		return r.refuse(n, err)
	}
	return r.append(values, a)
}

func (r *reader) append(values []*string, a *duckdb.Appender) error {
	row := make([]driver.Value, len(values))
	for n, v := range values {
		if v != nil {
			row[n] = *v
			r.bytes += int64(len(*v))
		}
	}
	r.rows++
	if err := a.AppendRow(row...); err != nil {
		return refusal(err)
	}
	return nil
}

// refuse counts a bad row, and ends the job when there are too many.
func (r *reader) refuse(line int64, err error) error {
	r.bad++
	if len(r.errors) < maxErrors {
		r.errors = append(r.errors, &bq.ErrorProto{Reason: "invalid", Message: fmt.Sprintf("Error while reading data, error message: %v; line_number: %d", err, line)})
	}
	if r.bad > r.max {
		return r.tooMany()
	}
	return nil
}

// object converts a line of JSON.
func (r *reader) object(text []byte) ([]*string, error) {
	members, err := googlesql.Members(text)
	if err != nil {
		return nil, fmt.Errorf("JSON parsing error in row: Parser terminated before end of string: %w", err)
	}
	values := make([]*string, len(r.fields))
	for _, m := range members {
		at := slices.IndexFunc(r.fields, func(f *bq.TableFieldSchema) bool { return strings.EqualFold(f.Name, m.Name) })
		if at < 0 {
			if r.load.IgnoreUnknownValues {
				continue
			}
			return nil, fmt.Errorf("JSON parsing error in row: No such field: %s", m.Name)
		}
		v, err := convert(r.fields[at], m.Value)
		if err != nil {
			return nil, fmt.Errorf("JSON parsing error in row: %w. Field: %s; Value: %s", err, r.fields[at].Name, clip(m.Value))
		}
		values[at] = v
	}
	for n, f := range r.fields {
		if f.Mode == "REQUIRED" && values[n] == nil {
			return nil, fmt.Errorf("Missing required field: %s", f.Name)
		}
	}
	return values, nil
}

func clip(v []byte) string {
	if len(v) > 100 {
		v = v[:100]
	}
	return string(v)
}

// convert turns a JSON value into the text of a column; nil: NULL.
func convert(f *bq.TableFieldSchema, value []byte) (*string, error) {
	typ := sqlType(f)
	if typ == "JSON" {
		canonical, err := googlesql.CanonicalJSON(value, false)
		text := string(canonical)
		return &text, err
	}
	if string(value) == "null" {
		return nil, nil
	}
	text := string(value)
	if strings.Contains(typ, "<") {
		canonical, err := googlesql.CanonicalJSON(value, true)
		text = string(canonical)
		return &text, err
	}
	quoted := value[0] == '"'
	if quoted {
		canonical, err := googlesql.CanonicalJSON(value, true) // refuses lone surrogates
		if err == nil {
			err = json.Unmarshal(canonical, &text)
		}
		if err != nil {
			return nil, err
		}
	}
	if value[0] == '{' || value[0] == '[' {
		return nil, fmt.Errorf("Array or object specified for non-repeated field")
	}
	return scalar(typ, text, quoted)
}

func scalar(typ, text string, quoted bool) (*string, error) {
	invalid := fmt.Errorf("Could not convert value to %s", strings.ToLower(typ))
	switch typ {
	case "INT64":
		whole := strings.TrimSuffix(text, ".0")
		if _, err := strconv.ParseInt(whole, 10, 64); err != nil {
			return nil, invalid
		}
		return &whole, nil
	case "FLOAT64":
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return nil, invalid
		}
	case "BOOL":
		switch lower := strings.ToLower(text); lower {
		case "true", "false":
			return &lower, nil
		}
		return nil, invalid
	case "TIMESTAMP":
		return timestampText(text, quoted)
	case "DATE":
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			return nil, invalid
		}
	case "DATETIME":
		if _, err := time.Parse("2006-01-02 15:04:05.999999", strings.Replace(text, "T", " ", 1)); err != nil {
			return nil, invalid
		}
	case "STRING":
		if !quoted && (text == "true" || text == "false") {
			return &text, nil
		}
	}
	return &text, nil
}

// timestamps are the forms of a timestamp, after a slash has become a dash and a T a
// blank.
var timestamps = []string{
	"2006-01-02 15:04:05.999999Z07:00", "2006-01-02 15:04:05.999999 Z07:00", "2006-01-02 15:04:05.999999 MST", "2006-01-02 15:04:05.999999-07",
	"2006-01-02 15:04:05.999999", "2006-01-02 15:04", "2006-01-02",
}

// timestampText reads seconds since 1970, or a date with a time.
func timestampText(text string, _ bool) (*string, error) {
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		us := int64(f * 1e6)
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			us = n * 1e6
			if n > 253402300799 || n < -62135596800 {
				return nil, fmt.Errorf("Timestamp is out of range: %s", text)
			}
		}
		out := time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05.000000") + "+00"
		return &out, nil
	}
	plain := strings.Replace(strings.ReplaceAll(text, "/", "-"), "T", " ", 1)
	for _, form := range timestamps {
		if t, err := time.Parse(form, plain); err == nil {
			out := t.UTC().Format("2006-01-02 15:04:05.000000") + "+00"
			return &out, nil
		}
	}
	return nil, fmt.Errorf("Couldn't convert value to timestamp: Could not parse '%s' as a timestamp. Required format is YYYY-MM-DD HH:MM[:SS[.SSSSSS]] or YYYY/MM/DD HH:MM[:SS[.SSSSSS]]", text)
}

func (r *reader) csv(in io.Reader, a *duckdb.Appender) error {
	c := csv.NewReader(in)
	c.FieldsPerRecord = -1
	if d := r.load.FieldDelimiter; d != "" {
		c.Comma = rune(d[0])
	}
	for n := int64(1); ; n++ {
		record, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err == nil && n <= r.load.SkipLeadingRows {
			continue
		}
		values := make([]*string, len(r.fields))
		if err == nil && len(record) > len(r.fields) && !r.load.IgnoreUnknownValues {
			err = fmt.Errorf("Too many values in row starting at position: 0")
		}
		for i := 0; err == nil && i < min(len(record), len(r.fields)); i++ {
			if record[i] == "" && sqlType(r.fields[i]) != "STRING" {
				continue
			}
			values[i], err = scalar(sqlType(r.fields[i]), record[i], true)
		}
		if err != nil {
			if failed := r.refuse(n, err); failed != nil {
				return failed
			}
			continue
		}
		if err := r.append(values, a); err != nil {
			return err
		}
	}
}

// detect guesses the schema of a file from its first rows: flat JSON or CSV with a
// header.
func detect(path string, l *bq.JobConfigurationLoad) (*bq.TableSchema, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	in, err := decompress(f, 0)
	if err != nil {
		return nil, err
	}
	if l.SourceFormat != "NEWLINE_DELIMITED_JSON" {
		return nil, fail("notImplemented", "the stand-in does not know autodetect of %s", l.SourceFormat)
	}
	line, err := bufio.NewReader(in).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return nil, err
	}
	members, err := googlesql.Members(bytes.TrimSpace(line))
	if err != nil {
		return nil, fail("invalid", "Error while reading data, error message: %v", err)
	}
	s := &bq.TableSchema{}
	for _, m := range members {
		typ := "STRING"
		switch {
		case m.Value[0] == '{' || m.Value[0] == '[':
			return nil, fail("notImplemented", "the stand-in does not know autodetect of nested values")
		case string(m.Value) == "true" || string(m.Value) == "false":
			typ = "BOOLEAN"
		case m.Value[0] != '"' && bytes.ContainsAny(m.Value, ".eE"):
			typ = "FLOAT"
		case m.Value[0] != '"' && string(m.Value) != "null":
			typ = "INTEGER"
		}
		s.Fields = append(s.Fields, &bq.TableFieldSchema{Name: m.Name, Type: typ, Mode: "NULLABLE"})
	}
	return s, nil
}

// fetch downloads objects of Cloud Storage into files, which the caller removes.
func (s *Server) fetch(ctx context.Context, uris []string) (files []string, err error) {
	defer func() {
		if err != nil {
			removeAll(files)
		}
	}()
	if len(uris) > 10000 {
		return nil, fail("invalid", "Too many source URIs: %d; at most 10000 are allowed", len(uris))
	}
	for _, uri := range uris {
		rest, ok := strings.CutPrefix(uri, "gs://")
		bucket, name, slash := strings.Cut(rest, "/")
		if !ok || !slash || bucket == "" || name == "" {
			return files, fail("invalid", "Source URI must be a Google Cloud Storage location: %s", uri)
		}
		if strings.Contains(name, "#") {
			return files, fail("invalid", "Source URI must not contain the '#' character: %s", uri)
		}
		names := []string{name}
		if strings.Contains(name, "*") {
			if names, err = s.listObjects(ctx, bucket, name); err != nil {
				return files, err
			}
		}
		if len(names) == 0 {
			return files, fail("notFound", "Not found: URI %s", uri)
		}
		for _, n := range names {
			file, err := s.object(ctx, bucket, n, uri)
			if err != nil {
				return files, err
			}
			files = append(files, file)
		}
	}
	return files, nil
}

func (s *Server) storageGet(ctx context.Context, path string) (*http.Response, error) {
	if s.options.Storage == "" {
		return nil, fail("notImplemented", "the stand-in was started without a storage server: loads from gs:// are not known")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.options.Storage+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(r)
}

func (s *Server) listObjects(ctx context.Context, bucket, pattern string) ([]string, error) {
	before, after, _ := strings.Cut(pattern, "*")
	answer, err := s.storageGet(ctx, "/storage/v1/b/"+bucket+"/o?prefix="+url.QueryEscape(before))
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	var list struct {
		Items []struct{ Name string }
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fail("notFound", "Not found: URI gs://%s/%s", bucket, pattern)
	}
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		return nil, err
	}
	var names []string
	for _, o := range list.Items {
		if strings.HasSuffix(o.Name, after) {
			names = append(names, o.Name)
		}
	}
	return names, nil
}

func (s *Server) object(ctx context.Context, bucket, name, uri string) (string, error) {
	answer, err := s.storageGet(ctx, "/storage/v1/b/"+bucket+"/o/"+url.PathEscape(name)+"?alt=media")
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", fail("notFound", "Not found: URI %s", uri)
	case http.StatusForbidden, http.StatusUnauthorized:
		return "", fail("accessDenied", "Access Denied: File %s: Access Denied", uri)
	default:
		return "", fail("backendError", "Cloud Storage answered %s for %s", answer.Status, uri)
	}
	f, err := os.CreateTemp(s.options.Temp, "object-")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, answer.Body)
	return f.Name(), errors.Join(err, f.Close())
}
