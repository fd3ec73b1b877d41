package server

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// define runs a statement of DDL.
func (x *execution) define(ctx context.Context, st googlesql.Statement) error {
	d, err := x.tr.Define(st.Tokens)
	if err != nil {
		return err
	}
	dropsTemporary := st.Type == "DROP_TABLE" && len(d.Path) == 1 && x.temp[d.Path[0]] != nil
	if x.tx != nil && !d.Temporary && !dropsTemporary {
		return fail("invalidQuery", "DDL statements are not supported in a transaction, except for those creating or dropping temporary tables or temporary functions.")
	}
	if x.job.dryRun {
		if st.Type == "CREATE_TABLE" {
			x.last = &result{schema: &bq.TableSchema{}}
			for _, c := range d.Columns {
				x.last.schema.Fields = append(x.last.schema.Fields, fieldOf(c.Name, c.Type))
			}
		}
		return nil
	}
	operation := "CREATE"
	switch st.Type {
	case "CREATE_TABLE", "CREATE_TABLE_AS_SELECT":
		operation, err = x.createTable(ctx, d)
	case "CREATE_VIEW":
		operation, err = x.createView(ctx, d)
	case "CREATE_SCHEMA":
		operation, err = x.createSchema(d)
	case "DROP_TABLE", "DROP_VIEW":
		operation, err = x.drop(d, st.Type)
	case "DROP_SCHEMA":
		operation, err = x.dropSchema(d)
	case "ALTER_TABLE":
		operation, err = "ALTER", x.alterTable(ctx, d)
	default:
		err = fail("invalidQuery", "the stand-in does not know this statement: %s", st.Type)
	}
	if x.multi || err != nil {
		x.last = nil // only a job of one statement shows the schema of its table
	}
	if err == nil {
		x.child.update(func(*bq.JobStatistics) { x.child.query().DdlOperationPerformed = operation })
	}
	return err
}

// place finds the dataset for a new table. The catalog's lock is held.
func (x *execution) place(d googlesql.Definition) (ds *dataset, ref *bq.TableReference, err error) {
	project, datasetID, id, err := x.split(d.Path, d.Position)
	if err != nil {
		return nil, nil, err
	}
	ds, err = x.s.catalog.dataset(project, datasetID)
	if err != nil || ds.meta.Location != x.job.location {
		return nil, nil, fail("notFound", "Not found: Dataset %s:%s was not found in location %s", project, datasetID, x.job.location)
	}
	return ds, &bq.TableReference{ProjectId: project, DatasetId: datasetID, TableId: id}, nil
}

func (x *execution) createTable(ctx context.Context, d googlesql.Definition) (string, error) {
	meta := &bq.Table{Schema: &bq.TableSchema{}}
	for _, c := range d.Columns {
		f := fieldOf(c.Name, c.Type)
		if c.Required {
			f.Mode = "REQUIRED"
		}
		if text, ok := c.Options["description"]; ok && len(text) == 1 {
			f.Description = text[0].Text
		}
		meta.Schema.Fields = append(meta.Schema.Fields, f)
	}
	query := ""
	if d.Query != nil {
		var err error
		if query, err = x.tr.Query(d.Query); err != nil {
			return "", err
		}
		if len(d.Columns) == 0 {
			columns, err := x.conn.describe(ctx, query)
			if err != nil {
				return "", err
			}
			meta.Schema = schemaOf(columns)
		}
		if err := x.bill(ctx); err != nil {
			return "", err
		}
	}
	if err := partitionBy(meta, d); err != nil {
		return "", err
	}
	if err := x.tableOptions(ctx, meta, d.Options); err != nil {
		return "", err
	}
	if d.Temporary {
		return "CREATE", x.createTemporary(ctx, meta, d, query)
	}
	c := x.s.catalog
	c.mu.Lock()
	ds, ref, err := x.place(d)
	if err != nil {
		c.mu.Unlock()
		return "", err
	}
	old := ds.tables[ref.TableId]
	c.mu.Unlock()
	if err := x.s.allow(x.job.user, "bigquery.tables.create", ds, ref.ProjectId+":"+ref.DatasetId+"."+ref.TableId); err != nil {
		return "", err
	}
	x.last = &result{schema: meta.Schema}
	if old != nil && d.IfNotExists {
		return "SKIP", nil
	}
	if old != nil && !d.Replace {
		return "", fail("duplicate", "Already Exists: Table %s", old.reference())
	}
	meta.TableReference = ref
	if err := x.fill(ctx, ds, meta, query, old); err != nil {
		return "", err
	}
	if old != nil {
		return "REPLACE", nil
	}
	return "CREATE", nil
}

// fill creates a table with the rows of a query, in place of another.
func (x *execution) fill(ctx context.Context, ds *dataset, meta *bq.Table, query string, old *table) error {
	c := x.s.catalog
	c.mu.Lock()
	t, err := c.newTable(ds, meta)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := x.build(ctx, t, query); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ds.tables[meta.TableReference.TableId] != old {
		return fail("duplicate", "Already Exists: Table %s", t.reference())
	}
	ds.tables[meta.TableReference.TableId] = t
	return nil
}

// build makes a table in DuckDB, with the rows of a query.
func (x *execution) build(ctx context.Context, t *table, query string) error {
	if err := t.create(ctx, x.conn); err != nil || query == "" {
		return err
	}
	t.changes++
	insert := "INSERT INTO " + t.physical
	if t.ingestionTime() {
		var columns []string
		for _, f := range schemaFields(t.meta.Schema) {
			columns = append(columns, googlesql.QuoteName(f.Name))
		}
		insert += " (" + strings.Join(columns, ", ") + ", " + googlesql.QuoteName(googlesql.Partition) + ") SELECT *, " + timestampLiteral(x.s.now().UTC().Truncate(24*time.Hour)) + " FROM (" + query + ")"
	} else {
		insert += " " + query
	}
	_, err := x.conn.exec(ctx, insert)
	return err
}

func (x *execution) createTemporary(ctx context.Context, meta *bq.Table, d googlesql.Definition, query string) error {
	if len(d.Path) != 1 {
		return fail("invalidQuery", "CREATE TEMP TABLE statements must not have a dataset")
	}
	if x.temp[d.Path[0]] != nil && !d.Replace {
		return fail("duplicate", "Already Exists: Table %s", d.Path[0])
	}
	meta.TableReference = &bq.TableReference{ProjectId: x.job.project, DatasetId: "_script", TableId: d.Path[0]}
	t := &table{dataset: &dataset{meta: &bq.Dataset{Location: x.job.location}}, meta: meta, physical: x.s.catalog.nextPhysical()}
	if err := x.build(ctx, t, query); err != nil {
		return err
	}
	x.temp[d.Path[0]] = t
	return nil
}

// partitionBy reads PARTITION BY and CLUSTER BY.
func partitionBy(meta *bq.Table, d googlesql.Definition) error {
	switch p := d.PartitionBy; {
	case p == "":
	case p == "_PARTITIONDATE" || p == "DATE(_PARTITIONTIME)" || p == "TIMESTAMP_TRUNC(_PARTITIONTIME,DAY)":
		meta.TimePartitioning = &bq.TimePartitioning{Type: "DAY"}
	case strings.HasPrefix(p, "RANGE_BUCKET(") || strings.Contains(p, "_PARTITION"):
		return fail("invalidQuery", "the stand-in does not know this statement: PARTITION BY %s", p)
	default:
		field, unit := p, "DAY"
		if inner, ok := strings.CutSuffix(p, ")"); ok {
			_, inner, _ = strings.Cut(inner, "(")
			name, part, truncated := strings.Cut(inner, ",")
			if field = name; truncated {
				unit = part
			}
		}
		at := slices.IndexFunc(schemaFields(meta.Schema), func(f *bq.TableFieldSchema) bool { return strings.EqualFold(f.Name, field) })
		if at < 0 {
			return fail("invalidQuery", "Unrecognized name: %s", strings.ToLower(field))
		}
		meta.TimePartitioning = &bq.TimePartitioning{Type: unit, Field: meta.Schema.Fields[at].Name}
	}
	if len(d.ClusterBy) > 0 {
		meta.Clustering = &bq.Clustering{Fields: d.ClusterBy}
	}
	return nil
}

// tableOptions applies OPTIONS.
func (x *execution) tableOptions(ctx context.Context, meta *bq.Table, options map[string][]googlesql.Token) error {
	for name, tokens := range options {
		switch name {
		case "labels":
			labels, err := literalLabels(tokens)
			if err != nil {
				return err
			}
			meta.Labels = labels
		case "description", "friendly_name":
			text, err := x.text(ctx, tokens)
			if err != nil {
				return err
			}
			if name == "description" {
				meta.Description = text
			} else {
				meta.FriendlyName = text
			}
		case "expiration_timestamp":
			v, err := x.evaluate(ctx, tokens, "TIMESTAMP")
			if err != nil {
				return err
			}
			var us *int64
			if err := x.conn.QueryRowContext(ctx, "SELECT epoch_us("+v.SQL+")").Scan(&us); err != nil {
				return refusal(err)
			}
			if meta.ExpirationTime = 0; us != nil {
				meta.ExpirationTime = *us / 1000
			}
		case "partition_expiration_days":
			text, err := x.text(ctx, tokens)
			days, failed := strconv.ParseFloat(text, 64)
			if err != nil || failed != nil || meta.TimePartitioning == nil {
				return fail("invalidQuery", "partition_expiration_days cannot be set for this table")
			}
			meta.TimePartitioning.ExpirationMs = int64(days * 24 * float64(time.Hour/time.Millisecond))
		case "require_partition_filter":
			text, err := x.text(ctx, tokens)
			if err != nil {
				return err
			}
			meta.RequirePartitionFilter = text == "true"
		default:
			return fail("invalidQuery", "the stand-in does not know this statement: OPTIONS(%s)", name)
		}
	}
	return nil
}

// literalLabels reads [("key", "value"), …].
func literalLabels(tokens []googlesql.Token) (map[string]string, error) {
	labels := map[string]string{}
	var texts []string
	for _, t := range tokens {
		if t.Kind == googlesql.String {
			texts = append(texts, t.Text)
		}
	}
	for n := 0; n+1 < len(texts); n += 2 {
		labels[texts[n]] = texts[n+1]
	}
	return labels, checkLabels(labels)
}

func (x *execution) createView(ctx context.Context, d googlesql.Definition) (string, error) {
	c := x.s.catalog
	c.mu.Lock()
	ds, ref, err := x.place(d)
	var old *table
	if err == nil {
		old = ds.tables[ref.TableId]
	}
	c.mu.Unlock()
	if err != nil {
		return "", err
	}
	if err := x.s.allow(x.job.user, "bigquery.tables.create", ds, ref.ProjectId+":"+ref.DatasetId+"."+ref.TableId); err != nil {
		return "", err
	}
	if old != nil && d.IfNotExists {
		return "SKIP", nil
	}
	if old != nil && !d.Replace {
		return "", fail("duplicate", "Already Exists: Table %s", old.reference())
	}
	if old != nil && !old.view() {
		return "", fail("invalidQuery", "%s is not allowed for this operation because it is currently a TABLE.", old.reference())
	}
	meta := &bq.Table{TableReference: ref, View: &bq.ViewDefinition{Query: d.QueryText}}
	if err := x.tableOptions(ctx, meta, d.Options); err != nil {
		return "", err
	}
	if err := x.s.analyzeView(ctx, x.job.user, ds, meta); err != nil {
		return "", err
	}
	x.last = &result{schema: meta.Schema}
	if old != nil {
		if err := x.s.metadataUpdate(old); err != nil {
			return "", err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t, err := c.newTable(ds, meta)
	if err != nil {
		return "", err
	}
	ds.tables[ref.TableId] = t
	if old != nil {
		t.version, t.metaTimes = old.version+1, old.metaTimes
		return "REPLACE", nil
	}
	return "CREATE", nil
}

func (x *execution) drop(d googlesql.Definition, kind string) (string, error) {
	if len(d.Path) == 1 && x.temp[d.Path[0]] != nil {
		t := x.temp[d.Path[0]]
		delete(x.temp, d.Path[0])
		_, err := x.conn.exec(context.Background(), "DROP TABLE "+t.physical)
		return "DROP", err
	}
	project, datasetID, id, err := x.split(d.Path, d.Position)
	if err != nil {
		return "", err
	}
	c := x.s.catalog
	c.mu.Lock()
	t, err := c.table(project, datasetID, id)
	c.mu.Unlock()
	if err != nil {
		if d.IfExists {
			return "SKIP", nil
		}
		return "", err
	}
	if t.view() != (kind == "DROP_VIEW") {
		have := map[bool]string{true: "VIEW", false: "TABLE"}[t.view()]
		return "", fail("invalidQuery", "Cannot drop %s which has type %s. An object of type %s was expected.", t.reference(), have, strings.TrimPrefix(kind, "DROP_"))
	}
	return "DROP", x.s.deleteTable(x.job.user, t)
}

func (x *execution) createSchema(d googlesql.Definition) (string, error) {
	project, id := x.job.project, d.Path[len(d.Path)-1]
	if len(d.Path) == 2 {
		project = d.Path[0]
	}
	err := x.s.createDataset(x.job.user, &bq.Dataset{DatasetReference: &bq.DatasetReference{ProjectId: project, DatasetId: id}, Location: x.job.location})
	if f := (*failure)(nil); err != nil {
		if f = asFailure(err); f.reason == "duplicate" && d.IfNotExists {
			return "SKIP", nil
		}
	}
	return "CREATE", err
}

func (x *execution) dropSchema(d googlesql.Definition) (string, error) {
	project, id := x.job.project, d.Path[len(d.Path)-1]
	if len(d.Path) == 2 {
		project = d.Path[0]
	}
	err := x.s.deleteDataset(x.job.user, project, id, d.Cascade)
	if err != nil && asFailure(err).reason == "notFound" && d.IfExists {
		return "SKIP", nil
	}
	return "DROP", err
}

func (x *execution) alterTable(ctx context.Context, d googlesql.Definition) error {
	t, err := x.find(d.Path, d.Position)
	if err != nil {
		if d.IfExists && asFailure(err).reason == "notFound" {
			return nil
		}
		return err
	}
	if err := x.s.allow(x.job.user, "bigquery.tables.update", t.dataset, t.reference()); err != nil {
		return err
	}
	if err := x.s.metadataUpdate(t); err != nil {
		return err
	}
	c := x.s.catalog
	c.mu.Lock()
	meta := clone(t.meta)
	c.mu.Unlock()
	if meta.Schema == nil {
		meta.Schema = &bq.TableSchema{}
	}
	var changes []string
	for _, column := range d.Columns {
		exists := slices.ContainsFunc(meta.Schema.Fields, func(f *bq.TableFieldSchema) bool { return strings.EqualFold(f.Name, column.Name) })
		if exists && column.IfNotExists {
			continue
		}
		if exists {
			return fail("invalidQuery", "Column already exists: %s", column.Name)
		}
		if column.Required {
			return fail("invalidQuery", "Cannot add required columns to an existing schema")
		}
		meta.Schema.Fields = append(meta.Schema.Fields, fieldOf(column.Name, column.Type))
		changes = append(changes, "ADD COLUMN "+googlesql.QuoteName(column.Name)+" "+googlesql.DuckType(column.Type))
	}
	for _, column := range d.Dropped {
		at := slices.IndexFunc(meta.Schema.Fields, func(f *bq.TableFieldSchema) bool { return strings.EqualFold(f.Name, column.Name) })
		if at < 0 && column.IfExists {
			continue
		}
		if at < 0 {
			return fail("invalidQuery", "Column not found: %s", column.Name)
		}
		meta.Schema.Fields = slices.Delete(meta.Schema.Fields, at, at+1)
		changes = append(changes, "DROP COLUMN "+googlesql.QuoteName(column.Name))
	}
	if err := x.tableOptions(ctx, meta, d.Options); err != nil {
		return err
	}
	for _, change := range changes {
		if _, err := x.conn.exec(ctx, "ALTER TABLE "+t.physical+" "+change); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.meta = meta
	t.version++
	t.modified = c.now()
	if meta.ExpirationTime > 0 {
		t.expires = time.UnixMilli(meta.ExpirationTime)
	}
	return nil
}

// store writes the rows of a query into the job's destination table.
func (x *execution) store(ctx context.Context, query string, columns []googlesql.Column) error {
	q := x.job.config.Query
	schema := schemaOf(columns)
	to := &target{
		ref: q.DestinationTable, create: q.CreateDisposition, write: q.WriteDisposition, schema: schema,
		partitioning: q.TimePartitioning, clustering: q.Clustering, updates: q.SchemaUpdateOptions,
	}
	if to.write == "" {
		to.write = "WRITE_EMPTY"
	}
	t, err := x.s.prepare(ctx, x.job, x.conn, to)
	if err != nil {
		return err
	}
	defer x.s.mutations.release(x.job, true)
	var names, list, values []string
	for n, f := range schema.Fields {
		name := "c" + strconv.Itoa(n)
		names, values, list = append(names, name), append(values, name), append(list, googlesql.QuoteName(f.Name))
	}
	if t.ingestionTime() {
		list, values = append(list, googlesql.QuoteName(googlesql.Partition)), append(values, timestampLiteral(to.day(x.s.now())))
	}
	insert := "INSERT INTO " + t.physical + " (" + strings.Join(list, ", ") + ") SELECT " + strings.Join(values, ", ") + " FROM (" + query + ") AS q(" + strings.Join(names, ", ") + ")"
	if err := to.replace(ctx, x.conn, t, func() error { _, err := x.conn.exec(ctx, insert); return err }); err != nil {
		return err
	}
	x.s.catalog.touch(map[*table]bool{t: true})
	x.last, err = x.conn.queryAs(ctx, "SELECT "+strings.Join(list[:len(schema.Fields)], ", ")+" FROM "+t.physical, columns)
	return err
}
