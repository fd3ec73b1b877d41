package server

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// informationSchema returns a view of INFORMATION_SCHEMA with the columns that are
// known here. at is the place of the word in the path.
func (x *execution) informationSchema(path []string, at, position int) (*googlesql.Table, error) {
	if at == 0 || at+2 != len(path) {
		return nil, &googlesql.Error{Message: "INFORMATION_SCHEMA must be qualified with a dataset or region", Position: position}
	}
	view := strings.ToUpper(path[at+1])
	project, scope := x.job.project, path[at-1]
	if at == 2 {
		project = path[0]
	}
	region := strings.HasPrefix(strings.ToLower(scope), "region-")
	c := x.s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	var datasets []*dataset
	switch {
	case region || view == "SCHEMATA":
		for _, id := range slices.Sorted(maps.Keys(c.datasets)) {
			if strings.HasPrefix(id, project+".") {
				datasets = append(datasets, c.datasets[id])
			}
		}
	default:
		d, err := c.dataset(project, scope)
		if err != nil || d.meta.Location != x.job.location {
			return nil, fail("notFound", "Not found: Dataset %s:%s was not found in location %s", project, scope, x.job.location)
		}
		datasets = []*dataset{d}
	}
	build, ok := informationViews[view]
	if !ok {
		return nil, &googlesql.Error{Message: "the stand-in does not know this statement: INFORMATION_SCHEMA." + view, Position: position}
	}
	return build(x, datasets)
}

type informationView func(x *execution, datasets []*dataset) (*googlesql.Table, error)

var informationViews = map[string]informationView{
	"SCHEMATA": func(_ *execution, datasets []*dataset) (*googlesql.Table, error) {
		rows := newRows("catalog_name STRING", "schema_name STRING", "location STRING", "creation_time TIMESTAMP")
		for _, d := range datasets {
			rows.add(d.meta.DatasetReference.ProjectId, d.meta.DatasetReference.DatasetId, d.meta.Location, d.meta.CreationTime)
		}
		return rows.table(), nil
	},
	"TABLES": func(_ *execution, datasets []*dataset) (*googlesql.Table, error) {
		rows := newRows("table_catalog STRING", "table_schema STRING", "table_name STRING", "table_type STRING", "is_insertable_into STRING", "is_typed STRING", "creation_time TIMESTAMP")
		each(datasets, func(t *table) {
			r := t.meta.TableReference
			kind, insertable := "BASE TABLE", "YES"
			if t.view() {
				kind, insertable = "VIEW", "NO"
			}
			rows.add(r.ProjectId, r.DatasetId, r.TableId, kind, insertable, "NO", t.meta.CreationTime)
		})
		return rows.table(), nil
	},
	"VIEWS": func(_ *execution, datasets []*dataset) (*googlesql.Table, error) {
		rows := newRows("table_catalog STRING", "table_schema STRING", "table_name STRING", "view_definition STRING", "use_standard_sql STRING")
		each(datasets, func(t *table) {
			if r := t.meta.TableReference; t.view() {
				rows.add(r.ProjectId, r.DatasetId, r.TableId, t.meta.View.Query, "YES")
			}
		})
		return rows.table(), nil
	},
	"COLUMNS": func(_ *execution, datasets []*dataset) (*googlesql.Table, error) {
		rows := newRows("table_catalog STRING", "table_schema STRING", "table_name STRING", "column_name STRING", "ordinal_position INT64", "is_nullable STRING", "data_type STRING", "is_partitioning_column STRING", "clustering_ordinal_position INT64")
		each(datasets, func(t *table) {
			r := t.meta.TableReference
			for n, f := range schemaFields(t.meta.Schema) {
				nullable, partitioning := "YES", "NO"
				if f.Mode == "REQUIRED" || f.Mode == "REPEATED" {
					nullable = "NO"
				}
				if p := t.meta.TimePartitioning; p != nil && strings.EqualFold(p.Field, f.Name) {
					partitioning = "YES"
				}
				var clustering any
				if t.meta.Clustering != nil {
					if at := slices.IndexFunc(t.meta.Clustering.Fields, func(c string) bool { return strings.EqualFold(c, f.Name) }); at >= 0 {
						clustering = at + 1
					}
				}
				rows.add(r.ProjectId, r.DatasetId, r.TableId, f.Name, n+1, nullable, sqlType(f), partitioning, clustering)
			}
		})
		return rows.table(), nil
	},
	"TABLE_OPTIONS": func(_ *execution, datasets []*dataset) (*googlesql.Table, error) {
		rows := newRows("table_catalog STRING", "table_schema STRING", "table_name STRING", "option_name STRING", "option_type STRING", "option_value STRING")
		each(datasets, func(t *table) {
			r := t.meta.TableReference
			if t.meta.Description != "" {
				rows.add(r.ProjectId, r.DatasetId, r.TableId, "description", "STRING", fmt.Sprintf("%q", t.meta.Description))
			}
			if t.meta.RequirePartitionFilter {
				rows.add(r.ProjectId, r.DatasetId, r.TableId, "require_partition_filter", "BOOL", "true")
			}
			if len(t.meta.Labels) > 0 {
				var list []string
				for _, k := range slices.Sorted(maps.Keys(t.meta.Labels)) {
					list = append(list, fmt.Sprintf("STRUCT(%q, %q)", k, t.meta.Labels[k]))
				}
				rows.add(r.ProjectId, r.DatasetId, r.TableId, "labels", "ARRAY<STRUCT<STRING, STRING>>", "["+strings.Join(list, ", ")+"]")
			}
		})
		return rows.table(), nil
	},
	"PARTITIONS": func(_ *execution, datasets []*dataset) (*googlesql.Table, error) {
		columns := []googlesql.Column{{Name: "table_catalog", Type: "STRING"}, {Name: "table_schema", Type: "STRING"}, {Name: "table_name", Type: "STRING"}, {Name: "partition_id", Type: "STRING"}, {Name: "total_rows", Type: "INT64"}, {Name: "storage_tier", Type: "STRING"}}
		var parts []string
		each(datasets, func(t *table) {
			if t.view() {
				return
			}
			r := t.meta.TableReference
			id := "CAST(NULL AS VARCHAR)"
			if t.meta.TimePartitioning != nil && t.meta.TimePartitioning.Type == "DAY" {
				id = "coalesce(strftime(" + partitionColumn(t) + ", '%Y%m%d'), '__NULL__')"
			}
			parts = append(parts, fmt.Sprintf("SELECT %s AS table_catalog, %s AS table_schema, %s AS table_name, %s AS partition_id, count(*) AS total_rows, 'ACTIVE' AS storage_tier FROM %s GROUP BY 4 HAVING count(*) > 0",
				googlesql.QuoteString(r.ProjectId), googlesql.QuoteString(r.DatasetId), googlesql.QuoteString(r.TableId), id, t.physical))
		})
		if len(parts) == 0 {
			rows := &informationRows{columns: columns}
			return rows.table(), nil
		}
		return &googlesql.Table{SQL: "(" + strings.Join(parts, " UNION ALL ") + ")", Columns: columns}, nil
	},
	"JOBS_BY_PROJECT": jobsView, "JOBS": jobsView, "JOBS_BY_USER": jobsView,
}

func jobsView(x *execution, _ []*dataset) (*googlesql.Table, error) {
	rows := newRows("project_id STRING", "job_id STRING", "parent_job_id STRING", "job_type STRING", "statement_type STRING", "state STRING", "user_email STRING", "query STRING", "transaction_id STRING", "creation_time TIMESTAMP", "total_bytes_processed INT64", "total_bytes_billed INT64", "error_reason STRING")
	for _, j := range x.s.jobs.list() {
		r := j.resource("")
		if j.location != x.job.location {
			continue
		}
		var parent, statement, query, tx, reason any
		if r.Statistics.ParentJobId != "" {
			parent = r.Statistics.ParentJobId
		}
		var processed, billed int64
		if q := r.Statistics.Query; q != nil {
			statement, query, processed, billed = q.StatementType, r.Configuration.Query.Query, q.TotalBytesProcessed, q.TotalBytesBilled
		}
		if r.Statistics.TransactionInfo != nil {
			tx = r.Statistics.TransactionInfo.TransactionId
		}
		if r.Status.ErrorResult != nil {
			reason = r.Status.ErrorResult.Reason
		}
		rows.add(j.project, j.id, parent, r.Configuration.JobType, statement, r.Status.State, j.user, query, tx, r.Statistics.CreationTime, processed, billed, reason)
	}
	return rows.table(), nil
}

func each(datasets []*dataset, f func(t *table)) {
	for _, d := range datasets {
		for _, id := range slices.Sorted(maps.Keys(d.tables)) {
			f(d.tables[id])
		}
	}
}

// informationRows builds a table of literals.
type informationRows struct {
	columns []googlesql.Column
	rows    []string
}

func newRows(columns ...string) *informationRows {
	r := &informationRows{}
	for _, c := range columns {
		name, typ, _ := strings.Cut(c, " ")
		r.columns = append(r.columns, googlesql.Column{Name: name, Type: typ})
	}
	return r
}

func (r *informationRows) add(values ...any) {
	list := make([]string, len(values))
	for n, v := range values {
		list[n] = "NULL"
		switch typ := r.columns[n].Type; {
		case v == nil:
		case typ == "TIMESTAMP":
			list[n] = fmt.Sprintf("make_timestamptz(%d * 1000)", v)
		case typ == "STRING":
			list[n] = googlesql.QuoteString(fmt.Sprint(v))
		default:
			list[n] = fmt.Sprint(v)
		}
	}
	r.rows = append(r.rows, "("+strings.Join(list, ", ")+")")
}

func (r *informationRows) table() *googlesql.Table {
	casts, names, nulls := []string{}, []string{}, []string{}
	for n, c := range r.columns {
		name := fmt.Sprintf("c%d", n)
		casts = append(casts, "CAST("+name+" AS "+googlesql.DuckType(c.Type)+") AS "+googlesql.QuoteName(c.Name))
		names, nulls = append(names, name), append(nulls, "NULL")
	}
	where := ""
	if len(r.rows) == 0 {
		r.rows, where = []string{"(" + strings.Join(nulls, ", ") + ")"}, " WHERE false"
	}
	return &googlesql.Table{
		SQL:     "(SELECT " + strings.Join(casts, ", ") + " FROM (VALUES " + strings.Join(r.rows, ", ") + ") AS v(" + strings.Join(names, ", ") + ")" + where + ")",
		Columns: r.columns,
	}
}
