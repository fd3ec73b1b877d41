package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// catalog holds the metadata of all projects.
type catalog struct {
	engine *engine
	now    func() time.Time
	serial atomic.Int64

	mu       sync.Mutex // guards the fields below and those of datasets and tables
	datasets map[string]*dataset
}

type dataset struct {
	meta     *bq.Dataset
	version  int64
	tables   map[string]*table
	modified time.Time
}

// table is a table or view. Its fields are read and written under the catalog's
// lock, except those that never change.
type table struct {
	dataset *dataset
	meta    *bq.Table // without the fields that resource adds
	// physical is the table in DuckDB; empty: a view.
	physical string
	version  int64 // of the metadata
	modified time.Time
	// expires ends the table; zero: never.
	expires time.Time
	// changes counts changes of rows. rows and bytes are the size after change sizedAt.
	changes   int64
	sizedAt   int64
	rows      int64
	bytes     int64
	metaTimes []time.Time // of counted updates of the metadata, for the quota
	daily     map[string]int64
}

func key(parts ...string) string { return strings.Join(parts, ".") }

func millis(t time.Time) int64 { return t.UnixMilli() }

func (c *catalog) nextPhysical() string { return "t" + strconv.FormatInt(c.serial.Add(1), 10) }

// dataset returns a dataset. The lock is held.
func (c *catalog) dataset(project, id string) (*dataset, error) {
	d := c.datasets[key(project, id)]
	if d == nil {
		return nil, fail("notFound", "Not found: Dataset %s:%s", project, id)
	}
	return d, nil
}

// table returns a table that has not expired. The lock is held.
func (c *catalog) table(project, datasetID, id string) (*table, error) {
	d, err := c.dataset(project, datasetID)
	if err != nil {
		return nil, err
	}
	base, _, _ := strings.Cut(id, "$")
	t := d.tables[base]
	if t != nil && !t.expires.IsZero() && !c.now().Before(t.expires) {
		delete(d.tables, base)
		t = nil
	}
	if t == nil {
		return nil, fail("notFound", "Not found: Table %s:%s.%s", project, datasetID, id)
	}
	return t, nil
}

func (t *table) reference() string {
	r := t.meta.TableReference
	return r.ProjectId + ":" + r.DatasetId + "." + r.TableId
}

func (t *table) view() bool { return t.physical == "" }

func (t *table) ingestionTime() bool {
	return t.meta.TimePartitioning != nil && t.meta.TimePartitioning.Field == ""
}

func (t *table) partitioned() bool {
	return t.meta.TimePartitioning != nil || t.meta.RangePartitioning != nil
}

// etag returns the entity tag of a table.
func (t *table) etag() string {
	return etagOf(t.reference(), t.meta.CreationTime, t.version, t.changes)
}

func etagOf(parts ...any) string {
	sum := sha256.Sum256(fmt.Append(nil, parts...))
	return hex.EncodeToString(sum[:12])
}

// resource returns the table as tables.get has it.
func (t *table) resource(self string) *bq.Table {
	r := clone(t.meta)
	r.Kind, r.Etag = "bigquery#table", t.etag()
	r.Id, r.SelfLink = t.reference(), self+"/projects/"+r.TableReference.ProjectId+"/datasets/"+r.TableReference.DatasetId+"/tables/"+r.TableReference.TableId
	r.LastModifiedTime = uint64(millis(t.modified))
	r.Location = t.dataset.meta.Location
	r.Type = "TABLE"
	r.ForceSendFields = append(r.ForceSendFields, "NumBytes", "NumLongTermBytes", "NumRows", "NumTotalLogicalBytes", "NumActiveLogicalBytes", "NumLongTermLogicalBytes")
	r.NumRows, r.NumBytes = uint64(t.rows), t.bytes
	r.NumTotalLogicalBytes, r.NumActiveLogicalBytes = t.bytes, t.bytes
	if !t.expires.IsZero() {
		r.ExpirationTime = millis(t.expires)
	}
	if t.view() {
		r.Type = "VIEW"
	}
	return r
}

// clone copies a value of the interface.
func clone[T any](v *T) *T {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the values are plain data
	}
	out := new(T)
	if err := json.Unmarshal(text, out); err != nil {
		panic(err)
	}
	return out
}

// newTable creates a table from its resource. The lock is held; create makes the
// table in DuckDB.
func (c *catalog) newTable(d *dataset, meta *bq.Table) (*table, error) {
	if err := checkTable(meta); err != nil {
		return nil, err
	}
	now := c.now()
	t := &table{dataset: d, meta: meta, version: 1, modified: now, daily: map[string]int64{}}
	meta.CreationTime = millis(now)
	if meta.View != nil {
		meta.View.UseLegacySql = false
		meta.View.ForceSendFields = []string{"UseLegacySql"}
	} else {
		t.physical = c.nextPhysical()
	}
	if meta.ExpirationTime > 0 {
		t.expires = time.UnixMilli(meta.ExpirationTime)
	} else if ms := d.meta.DefaultTableExpirationMs; ms > 0 && meta.View == nil && meta.TimePartitioning == nil {
		t.expires = now.Add(time.Duration(ms) * time.Millisecond)
	}
	if p := meta.TimePartitioning; p != nil && p.ExpirationMs == 0 && !slices.Contains(p.ForceSendFields, "ExpirationMs") && !slices.Contains(p.NullFields, "ExpirationMs") {
		p.ExpirationMs = d.meta.DefaultPartitionExpirationMs
	}
	return t, nil
}

// create makes the table in DuckDB, through a connection that may be in a
// transaction.
func (t *table) create(ctx context.Context, c conn) error {
	if t.view() {
		return nil
	}
	var columns []string
	for _, f := range schemaFields(t.meta.Schema) {
		column := googlesql.QuoteName(f.Name) + " " + googlesql.DuckType(sqlType(f))
		if f.Mode == "REQUIRED" {
			column += " NOT NULL"
		}
		columns = append(columns, column)
	}
	if t.ingestionTime() {
		columns = append(columns, googlesql.QuoteName(googlesql.Partition)+" TIMESTAMPTZ")
	}
	if len(columns) == 0 {
		columns = []string{"_empty BOOLEAN"}
	}
	_, err := c.exec(ctx, "CREATE TABLE "+t.physical+" ("+strings.Join(columns, ", ")+")")
	return err
}

func schemaFields(s *bq.TableSchema) []*bq.TableFieldSchema {
	if s == nil {
		return nil
	}
	return s.Fields
}

// checkTable refuses resources that BigQuery refuses.
func checkTable(meta *bq.Table) error {
	id := meta.TableReference.TableId
	if !validTableID(id) {
		return fail("invalid", "Invalid table ID %q. Table IDs must be alphanumeric (plus underscores, dashes and spaces) and must be at most 1024 characters long.", id)
	}
	if err := checkLabels(meta.Labels); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, f := range schemaFields(meta.Schema) {
		name := strings.ToLower(f.Name)
		switch {
		case !validColumn(f.Name):
			return fail("invalid", "Invalid field name %q. Fields must contain only letters, numbers, and underscores, start with a letter or underscore, and be at most 300 characters long.", f.Name)
		case seen[name]:
			return fail("invalid", "Duplicate field name: %s", f.Name)
		case sqlType(f) == "" || strings.Contains(sqlType(f), "<>"):
			return fail("invalid", "Invalid value for type: %s is not a valid value", f.Type)
		}
		if f.Mode == "" {
			f.Mode = "NULLABLE"
		}
		seen[name] = true
	}
	if p := meta.TimePartitioning; p != nil {
		if p.Type == "" {
			p.Type = "DAY"
		}
		if p.Field != "" && !seen[strings.ToLower(p.Field)] {
			return fail("invalid", "The field specified for partitioning cannot be found in the schema.")
		}
		if p.Field == "" && p.Type != "DAY" {
			return fail("notImplemented", "the stand-in does not know ingestion-time partitions by %s", p.Type)
		}
	}
	if meta.Clustering != nil {
		for _, f := range meta.Clustering.Fields {
			if !seen[strings.ToLower(f)] {
				return fail("invalid", "The field specified for clustering cannot be found in the schema. Invalid field: %s", f)
			}
		}
		if len(meta.Clustering.Fields) > 4 {
			return fail("invalid", "Too many fields specified for clustering; at most 4 are allowed")
		}
	}
	return nil
}

func validTableID(id string) bool {
	if id == "" || len(id) > 1024 {
		return false
	}
	return !strings.ContainsAny(id, "$.`'\"\\/:@*?<>|;,\n\t") || false
}

func validColumn(name string) bool {
	if name == "" || len(name) > 300 {
		return false
	}
	for n, r := range name {
		letter := r == '_' || r|0x20 >= 'a' && r|0x20 <= 'z' || r > 127
		if !letter && !(n > 0 && (r >= '0' && r <= '9' || r == '-' || r == ' ')) {
			return false
		}
	}
	upper := strings.ToUpper(name)
	for _, prefix := range []string{"_TABLE_", "_FILE_", "_PARTITION", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER"} {
		if strings.HasPrefix(upper, prefix) {
			return false
		}
	}
	return true
}

// checkLabels refuses labels outside of the alphabet
// (https://docs.cloud.google.com/bigquery/docs/labels-intro).
func checkLabels(labels map[string]string) error {
	if len(labels) > 64 {
		return fail("invalid", "Too many labels: %d; at most 64 are allowed", len(labels))
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if !validLabel(k) || k == "" || !isLower(rune(k[0])) {
			return fail("invalid", "Label key %q has invalid characters.", k)
		}
		if !validLabel(labels[k]) {
			return fail("invalid", "Label value %q has invalid characters.", labels[k])
		}
	}
	return nil
}

func isLower(r rune) bool { return r >= 'a' && r <= 'z' || r > 127 }

func validLabel(s string) bool {
	if len([]rune(s)) > 63 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !isLower(r) && !(r >= '0' && r <= '9') && r != '_' && r != '-'
	})
}

// measure counts the rows and bytes of a table that has changed.
func (c *catalog) measure(ctx context.Context, t *table) error {
	c.mu.Lock()
	changes, physical := t.changes, t.physical
	current := t.sizedAt == changes || physical == ""
	fields := schemaFields(t.meta.Schema)
	c.mu.Unlock()
	if current {
		return nil
	}
	list := []string{"0"}
	for _, f := range fields {
		list = append(list, sizeOf(googlesql.QuoteName(f.Name), sqlType(f)))
	}
	var rows, bytes int64
	text := "SELECT count(*), CAST(coalesce(sum(" + strings.Join(list, " + ") + "), 0) AS BIGINT) FROM " + physical
	if err := c.engine.db.QueryRowContext(ctx, text).Scan(&rows, &bytes); err != nil {
		return refusal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.rows, t.bytes, t.sizedAt = rows, bytes, changes
	return nil
}

// sizeOf returns the bytes of a column in a row
// (https://docs.cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_sizes).
func sizeOf(column, typ string) string {
	switch typ {
	case "STRING":
		return "coalesce(strlen(" + column + ") + 2, 0)"
	case "JSON":
		return "coalesce(strlen(CAST(" + column + " AS VARCHAR)), 0)"
	case "BOOL":
		return "CASE WHEN " + column + " IS NULL THEN 0 ELSE 1 END"
	case "NUMERIC":
		return "CASE WHEN " + column + " IS NULL THEN 0 ELSE 16 END"
	case "INT64", "FLOAT64", "DATE", "DATETIME", "TIME", "TIMESTAMP":
		return "CASE WHEN " + column + " IS NULL THEN 0 ELSE 8 END"
	}
	return "coalesce(strlen(CAST(" + column + " AS VARCHAR)), 0)"
}
