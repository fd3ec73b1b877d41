package server

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

func (x *execution) dml(ctx context.Context, parsed snowsql.Statement) (*result, error) {
	switch s := parsed.(type) {
	case *snowsql.Insert:
		return x.insert(ctx, s)
	case *snowsql.Update:
		return x.update(ctx, s)
	case *snowsql.Delete:
		return x.delete(ctx, s)
	case *snowsql.Truncate:
		return x.truncate(ctx, s)
	case *snowsql.CopyInto:
		return x.copyInto(ctx, s)
	}
	return nil, snowsql.Unsupported("MERGE")
}

// lock takes the lock of a table until the transaction ends.
func (x *execution) lock(ctx context.Context, t *table) error {
	seconds, err := strconv.Atoi(x.parameter("LOCK_TIMEOUT"))
	if err != nil {
		return err
	}
	return x.srv.transactions.lock(ctx, x.tx, t, x.query.id, time.Duration(seconds)*time.Second)
}

// targets returns the columns that are filled, with their places in the table.
func targets(t *table, names []string) ([]snowsql.OutColumn, []int, error) {
	out := t.out()
	if names == nil {
		places := make([]int, len(out))
		for n := range places {
			places[n] = n
		}
		return out, places, nil
	}
	var columns []snowsql.OutColumn
	var places []int
	for _, name := range names {
		n := slices.IndexFunc(out, func(c snowsql.OutColumn) bool { return c.Name == name })
		if n < 0 {
			return nil, nil, snowsql.InvalidIdentifier(1, 0, snowsql.QuoteIdentifier(name))
		}
		if slices.Contains(places, n) {
			return nil, nil, refuse(2017, "42601", "SQL compilation error:\nduplicate column name '%s'", name)
		}
		columns, places = append(columns, out[n]), append(places, n)
	}
	return columns, places, nil
}

func (x *execution) insert(ctx context.Context, s *snowsql.Insert) (*result, error) {
	t, err := x.findTable(s.Table, "INSERT")
	if err != nil {
		return nil, err
	}
	if s.Overwrite && !x.may("DELETE", "TABLE", t.full()) {
		return nil, insufficient("table", snowsql.QuoteIdentifier(t.name))
	}
	columns, places, err := targets(t, s.Columns)
	if err != nil {
		return nil, err
	}
	translator := snowsql.Translator{Catalog: x}
	var source string
	if s.Values != nil {
		source, err = translator.Values(s.Values, columns)
	} else {
		source, err = translator.Store(s.Query, columns)
	}
	if err != nil {
		return nil, err
	}
	list, err := x.rowOf(t, places, translator)
	if err != nil {
		return nil, err
	}
	if s.Overwrite {
		if err := x.lock(ctx, t); err != nil {
			return nil, err
		}
	}
	x.tx.touched[t] = true
	var rows int64
	err = x.srv.transactions.write(ctx, func(c *sql.Conn) error {
		// The query of INSERT OVERWRITE may read the table itself.
		if _, err := c.ExecContext(ctx, "CREATE OR REPLACE TEMP TABLE incoming AS SELECT * FROM ("+source+") AS q("+sourceNames(len(columns))+")"); err != nil {
			return err
		}
		defer func() { _, _ = c.ExecContext(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS incoming") }()
		if s.Overwrite {
			if _, err := c.ExecContext(ctx, "UPDATE "+t.physical+" AS t SET x_max = "+x.tx.sql()+" WHERE "+visible("t", x.tx)); err != nil {
				return err
			}
		}
		r, err := c.ExecContext(ctx, "INSERT INTO "+t.physical+" SELECT "+list+", "+x.tx.sql()+", 0 FROM incoming AS q")
		if err != nil {
			return err
		}
		rows, err = r.RowsAffected()
		return err
	})
	if err != nil {
		return nil, err
	}
	return counted(typeInsert, []string{"number of rows inserted"}, rows), nil
}

func (tx *transaction) sql() string { return strconv.FormatInt(tx.id, 10) }

func sourceNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = "s" + strconv.Itoa(i)
	}
	return strings.Join(names, ", ")
}

// rowOf writes the columns of a row: those that are filled, defaults and NULLs.
func (x *execution) rowOf(t *table, places []int, translator snowsql.Translator) (string, error) {
	list := make([]string, len(t.columns))
	for n, c := range t.columns {
		at := slices.Index(places, n)
		switch {
		case at >= 0:
			list[n] = "q.s" + strconv.Itoa(at)
		case c.Default != nil:
			text, err := translator.Constant(c.Default, c.Type)
			if err != nil {
				return "", err
			}
			list[n] = text
		default:
			list[n] = "CAST(NULL AS " + c.Type.Duck() + ")"
		}
	}
	return strings.Join(list, ", "), nil
}

func (x *execution) update(ctx context.Context, s *snowsql.Update) (*result, error) {
	t, err := x.findTable(s.Table, "UPDATE")
	if err != nil {
		return nil, err
	}
	translator := snowsql.Translator{Catalog: x}
	from, where, values, err := translator.Condition(s.Table, s.Alias, x.tableRelation(t), "t", s.From, s.Where, s.Set)
	if err != nil {
		return nil, err
	}
	if err := x.lock(ctx, t); err != nil {
		return nil, err
	}
	changed := make([]string, len(t.columns))
	for n := range t.columns {
		changed[n] = "any_value(t.c" + strconv.Itoa(n) + ")"
	}
	seen := map[int]bool{}
	for n, a := range s.Set {
		at := slices.IndexFunc(t.columns, func(c snowsql.ColumnDefinition) bool { return c.Name == a.Column.Parts[len(a.Column.Parts)-1] })
		if seen[at] {
			return nil, refuse(2017, "42601", "SQL compilation error:\nduplicate column name '%s'", t.columns[at].Name)
		}
		seen[at] = true
		changed[at] = "first(" + values[n] + ")"
	}
	return x.rewrite(ctx, t, from, where, changed)
}

// rewrite replaces the rows of a table that meet a condition.
func (x *execution) rewrite(ctx context.Context, t *table, from, where string, changed []string) (*result, error) {
	x.tx.touched[t] = true
	var rows, joined int64
	err := x.srv.transactions.write(ctx, func(c *sql.Conn) error {
		list := make([]string, len(changed))
		for n, v := range changed {
			list[n] = v + " AS s" + strconv.Itoa(n)
		}
		text := "CREATE OR REPLACE TEMP TABLE changed AS SELECT t.rowid AS id, count(*) AS matches, " + strings.Join(list, ", ") +
			" FROM " + t.physical + " AS t" + from + " WHERE " + visible("t", x.tx) + " AND " + where + " GROUP BY t.rowid"
		if _, err := c.ExecContext(ctx, text); err != nil {
			return err
		}
		defer func() { _, _ = c.ExecContext(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS changed") }()
		if err := c.QueryRowContext(ctx, "SELECT count(*), count(*) FILTER (matches > 1) FROM changed").Scan(&rows, &joined); err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, "UPDATE "+t.physical+" SET x_max = "+x.tx.sql()+" WHERE rowid IN (SELECT id FROM changed)"); err != nil {
			return err
		}
		_, err := c.ExecContext(ctx, "INSERT INTO "+t.physical+" SELECT "+sourceNames(len(changed))+", "+x.tx.sql()+", 0 FROM changed")
		return err
	})
	if err != nil {
		return nil, err
	}
	return counted(typeUpdate, []string{"number of rows updated", "number of multi-joined rows updated"}, rows, joined), nil
}

func (x *execution) delete(ctx context.Context, s *snowsql.Delete) (*result, error) {
	t, err := x.findTable(s.Table, "DELETE")
	if err != nil {
		return nil, err
	}
	if len(s.Using) > 0 {
		return nil, snowsql.Unsupported("DELETE with USING")
	}
	translator := snowsql.Translator{Catalog: x}
	_, where, _, err := translator.Condition(s.Table, s.Alias, x.tableRelation(t), "t", nil, s.Where, nil)
	if err != nil {
		return nil, err
	}
	if err := x.lock(ctx, t); err != nil {
		return nil, err
	}
	rows, err := x.removeRows(ctx, t, where)
	return counted(typeDelete, []string{"number of rows deleted"}, rows), err
}

func (x *execution) removeRows(ctx context.Context, t *table, where string) (rows int64, err error) {
	x.tx.touched[t] = true
	err = x.srv.transactions.write(ctx, func(c *sql.Conn) error {
		r, err := c.ExecContext(ctx, fmt.Sprintf("UPDATE %s AS t SET x_max = %d WHERE %s AND %s", t.physical, x.tx.id, visible("t", x.tx), where))
		if err != nil {
			return err
		}
		rows, err = r.RowsAffected()
		return err
	})
	return rows, err
}

// truncate removes all rows and forgets the load metadata
// (https://docs.snowflake.com/en/sql-reference/sql/truncate-table).
func (x *execution) truncate(ctx context.Context, s *snowsql.Truncate) (*result, error) {
	t, err := x.findTable(s.Table, "TRUNCATE")
	if err != nil {
		if s.IfExists && refusal(err).Code == 2003 {
			return status("Statement executed successfully."), nil
		}
		return nil, err
	}
	if err := x.lock(ctx, t); err != nil {
		return nil, err
	}
	if _, err := x.removeRows(ctx, t, "TRUE"); err != nil {
		return nil, err
	}
	x.tx.emptied = append(x.tx.emptied, t)
	return status("Statement executed successfully."), nil
}
