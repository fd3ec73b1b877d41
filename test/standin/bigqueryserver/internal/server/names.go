package server

import (
	"context"
	"strings"
	"time"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// Describe is googlesql.Catalog's.
func (x *execution) Describe(query string) ([]googlesql.Column, error) {
	return x.conn.describe(context.Background(), query)
}

// split returns the project, dataset and table of a path.
func (x *execution) split(path []string, position int) (project, dataset, id string, err error) {
	switch len(path) {
	case 1:
		d := x.job.config.Query.DefaultDataset
		if d == nil || d.DatasetId == "" {
			return "", "", "", &googlesql.Error{Message: "Table \"" + path[0] + "\" must be qualified with a dataset (e.g. dataset.table).", Reason: "invalid", Position: position}
		}
		project = d.ProjectId
		if project == "" {
			project = x.job.project
		}
		return project, d.DatasetId, path[0], nil
	case 2:
		return x.job.project, path[0], path[1], nil
	case 3:
		return path[0], path[1], path[2], nil
	}
	return "", "", "", &googlesql.Error{Message: "Invalid table name: `" + strings.Join(path, ".") + "`", Position: position}
}

// find returns the table that a path names.
func (x *execution) find(path []string, position int) (*table, error) {
	if len(path) == 1 {
		if t := x.temp[path[0]]; t != nil {
			return t, nil
		}
	}
	project, datasetID, id, err := x.split(path, position)
	if err != nil {
		return nil, err
	}
	if project != x.job.project && !x.s.hasProject(project) {
		name := project + ":" + datasetID + "." + id
		return nil, fail("accessDenied", "Access Denied: Table %s: User does not have permission to query table %s, or perhaps it does not exist.", name, name)
	}
	c := x.s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := c.dataset(project, datasetID)
	if err != nil || d.meta.Location != x.job.location {
		return nil, fail("notFound", "Not found: Dataset %s:%s was not found in location %s", project, datasetID, x.job.location)
	}
	if strings.Contains(id, "*") {
		return nil, &googlesql.Error{Message: "the stand-in does not know this statement: a wildcard table", Position: position}
	}
	if strings.Contains(id, "$") {
		return nil, &googlesql.Error{Message: "Table name \"" + id + "\" cannot include a decorator", Position: position, Reason: "invalid"}
	}
	t, err := c.table(project, datasetID, id)
	if err != nil {
		return nil, fail("notFound", "Not found: Table %s:%s.%s was not found in location %s", project, datasetID, id, x.job.location)
	}
	return t, nil
}

// Read is googlesql.Catalog's.
func (x *execution) Read(path []string, position int) (*googlesql.Table, error) {
	for n, part := range path {
		if strings.EqualFold(part, "INFORMATION_SCHEMA") {
			return x.informationSchema(path, n, position)
		}
	}
	t, err := x.find(path, position)
	if err != nil {
		return nil, err
	}
	temporary := x.temp[path[len(path)-1]] == t
	if !temporary {
		if err := x.s.allow(x.job.user, "bigquery.tables.getData", t.dataset, t.reference()); err != nil {
			return nil, err
		}
	}
	if t.view() {
		return x.readView(t)
	}
	if err := x.s.catalog.expirePartitions(t); err != nil {
		return nil, err
	}
	if !temporary {
		x.reads[t] = true
	}
	c := x.s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	found := &googlesql.Table{Name: t.reference(), SQL: t.physical, Columns: columnsOf(t.meta.Schema), IngestionTime: t.ingestionTime()}
	x.name(t, temporary, found)
	return found, nil
}

func (x *execution) readView(t *table) (*googlesql.Table, error) {
	x.s.catalog.mu.Lock()
	text := t.meta.View.Query
	x.s.catalog.mu.Unlock()
	statements, err := googlesql.Split(text)
	if err != nil {
		return nil, err
	}
	inner := &googlesql.Translator{Catalog: viewCatalog{x}, Script: text, System: x.tr.System}
	query, err := inner.Query(statements[0].Tokens)
	if err != nil {
		f := x.s.refusalOf(err)
		if f.reason == "invalidQuery" {
			return nil, fail("invalidQuery", "Invalid view %s: %s", t.reference(), f.message)
		}
		return nil, err
	}
	columns, err := x.conn.describe(context.Background(), query)
	if err != nil {
		return nil, err
	}
	found := &googlesql.Table{Name: t.reference(), SQL: "(" + query + ")", Columns: columns}
	x.name(t, false, found)
	return found, nil
}

// name notes a table that the current statement names.
func (x *execution) name(t *table, temporary bool, found *googlesql.Table) {
	ref := t.meta.TableReference
	name := ref.ProjectId + "." + ref.DatasetId + "." + ref.TableId
	if temporary {
		name = ref.TableId
	}
	x.named[name] = found
}

// viewCatalog resolves the names of a view, which must be qualified.
type viewCatalog struct{ *execution }

func (v viewCatalog) Read(path []string, position int) (*googlesql.Table, error) {
	if len(path) == 1 {
		return nil, &googlesql.Error{Message: "Table \"" + path[0] + "\" must be qualified with a dataset (e.g. dataset.table).", Reason: "invalid", Position: position}
	}
	return v.execution.Read(path, position)
}

// expirePartitions drops partitions that are older than their expiration.
func (c *catalog) expirePartitions(t *table) error {
	c.mu.Lock()
	p, physical := t.meta.TimePartitioning, t.physical
	c.mu.Unlock()
	if p == nil || p.ExpirationMs == 0 || p.Field != "" {
		return nil
	}
	end := c.now().Add(-time.Duration(p.ExpirationMs) * time.Millisecond)
	result, err := c.engine.db.Exec("DELETE FROM " + physical + " WHERE " + googlesql.QuoteName(googlesql.Partition) + " < " + timestampLiteral(end))
	if err != nil {
		return refusal(err)
	}
	if n, _ := result.RowsAffected(); n > 0 {
		c.touch(map[*table]bool{t: true})
	}
	return nil
}
