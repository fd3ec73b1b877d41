package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// engine is the DuckDB that holds all rows. Each table has a physical one, whose
// name is never used again.
type engine struct {
	db *sql.DB
}

// conn is one connection to DuckDB. It is not safe for concurrent use.
type conn struct{ *sql.Conn }

func openEngine(temp string) (*engine, error) {
	connector, err := duckdb.NewConnector("", func(execer driver.ExecerContext) error {
		for _, text := range []string{"SET TimeZone = 'UTC'", "SET memory_limit = '2GB'", "SET temp_directory = " + googlesql.QuoteString(temp), "SET threads = 2"} {
			if _, err := execer.ExecContext(context.Background(), text, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	e := &engine{db: sql.OpenDB(connector)}
	if err := e.register(); err != nil {
		return nil, errors.Join(err, e.db.Close())
	}
	for _, macro := range macros {
		if _, err := e.db.Exec(macro); err != nil {
			return nil, errors.Join(fmt.Errorf("define %s: %w", macro, err), e.db.Close())
		}
	}
	return e, nil
}

// macros are functions of GoogleSQL that DuckDB has not.
var macros = []string{
	// A table that a transaction reads first, so that its snapshot begins.
	"CREATE TABLE snapshot (n INTEGER)",
	"CREATE MACRO bq_divide(a, b) AS CASE WHEN b = 0 THEN error('division by zero: ' || a || ' / ' || b) ELSE a / b END",
	"CREATE MACRO bq_safe_divide(a, b) AS CASE WHEN b = 0 THEN NULL ELSE a / b END",
	"CREATE MACRO bq_greatest(l) AS CASE WHEN len(list_filter(l, lambda x: x IS NULL)) > 0 THEN NULL ELSE list_max(l) END",
	"CREATE MACRO bq_least(l) AS CASE WHEN len(list_filter(l, lambda x: x IS NULL)) > 0 THEN NULL ELSE list_min(l) END",
	"CREATE MACRO bq_float_text(f) AS CASE WHEN f = trunc(f) AND abs(f) < 1e15 THEN CAST(CAST(f AS BIGINT) AS VARCHAR) ELSE CAST(f AS VARCHAR) END",
	"CREATE MACRO bq_json_value(j, p) AS CASE WHEN json_type(j, p) IN ('OBJECT', 'ARRAY', 'NULL') THEN NULL ELSE json_extract_string(j, p) END",
	`CREATE MACRO bq_json_member(j, k) AS json_extract(j, '$."' || replace(replace(k, '\', '\\'), '"', '\"') || '"')`,
	"CREATE MACRO bq_json_element(j, n) AS json_extract(j, '$[' || n || ']')",
	"CREATE MACRO bq_json_array(j) AS CASE WHEN json_type(j) = 'ARRAY' THEN CAST(j AS JSON[]) END",
	"CREATE MACRO bq_json_value_array(j) AS CASE WHEN json_type(j) = 'ARRAY' THEN list_transform(CAST(j AS JSON[]), lambda x: json_extract_string(x, '$')) END",
	"CREATE MACRO bq_json_type(j) AS CASE json_type(j) WHEN 'VARCHAR' THEN 'string' WHEN 'BOOLEAN' THEN 'boolean' WHEN 'OBJECT' THEN 'object' WHEN 'ARRAY' THEN 'array' WHEN 'NULL' THEN 'null' WHEN NULL THEN NULL ELSE 'number' END",
	"CREATE MACRO bq_json_string(j) AS CASE WHEN j IS NULL THEN NULL WHEN json_type(j) = 'VARCHAR' THEN json_extract_string(j, '$') ELSE error('The provided JSON input is not a string') END",
	"CREATE MACRO bq_json_int64(j) AS CASE WHEN j IS NULL THEN NULL WHEN json_type(j) IN ('UBIGINT', 'BIGINT') OR json_type(j) = 'DOUBLE' AND CAST(j AS DOUBLE) = trunc(CAST(j AS DOUBLE)) THEN CAST(CAST(j AS DOUBLE) AS BIGINT) ELSE error('The provided JSON input is not an integer') END",
	"CREATE MACRO bq_json_float64(j) AS CASE WHEN j IS NULL THEN NULL WHEN json_type(j) IN ('UBIGINT', 'BIGINT', 'DOUBLE') THEN CAST(j AS DOUBLE) ELSE error('The provided JSON input is not a number') END",
	"CREATE MACRO bq_json_bool(j) AS CASE WHEN j IS NULL THEN NULL WHEN json_type(j) = 'BOOLEAN' THEN CAST(j AS BOOLEAN) ELSE error('The provided JSON input is not a boolean') END",
	"CREATE MACRO bq_offset(l, n) AS CASE WHEN l IS NULL OR n IS NULL THEN NULL WHEN n < 0 OR n >= len(l) THEN error('Array index ' || n || ' is out of bounds') ELSE l[n + 1] END",
	"CREATE MACRO bq_ordinal(l, n) AS CASE WHEN l IS NULL OR n IS NULL THEN NULL WHEN n < 1 OR n > len(l) THEN error('Array index ' || n || ' is out of bounds') ELSE l[n] END",
	"CREATE MACRO bq_safe_offset(l, n) AS CASE WHEN n < 0 THEN NULL ELSE l[n + 1] END",
	"CREATE MACRO bq_safe_ordinal(l, n) AS CASE WHEN n < 1 THEN NULL ELSE l[n] END",
	// Days that DML reaches (https://docs.cloud.google.com/bigquery/docs/using-dml-with-partitioned-tables).
	`CREATE MACRO bq_partition(p) AS CASE
		WHEN p IS NULL THEN error('Value NULL is not allowed for the pseudocolumn _PARTITIONTIME')
		WHEN date_trunc('day', p) <> p THEN error('Invalid value for _PARTITIONTIME: ' || p || ' is not a partition boundary')
		WHEN p < TIMESTAMPTZ '1970-01-01 00:00:00+00' OR p >= TIMESTAMPTZ '2160-01-01 00:00:00+00' THEN error('Invalid value for _PARTITIONTIME: ' || p || ' is not between 1970-01-01 and 2159-12-31')
		ELSE p END`,
}

// register defines scalar functions that keep BigQuery's rules of JSON.
func (e *engine) register() error {
	c, err := e.connect(context.Background())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for name, f := range map[string]*jsonFunction{
		"bq_parse_json_exact": {}, "bq_parse_json_round": {round: true},
		"bq_safe_parse_json_exact": {safe: true}, "bq_safe_parse_json_round": {round: true, safe: true},
	} {
		if err := duckdb.RegisterScalarUDF(c.Conn, name+"_text", f); err != nil {
			return fmt.Errorf("register %s: %w", name, err)
		}
		if _, err := c.exec(context.Background(), "CREATE MACRO "+name+"(t) AS CAST("+name+"_text(t) AS JSON)"); err != nil {
			return err
		}
	}
	return nil
}

type jsonFunction struct{ round, safe bool }

func (f *jsonFunction) Config() duckdb.ScalarFuncConfig {
	text, _ := duckdb.NewTypeInfo(duckdb.TYPE_VARCHAR)
	return duckdb.ScalarFuncConfig{InputTypeInfos: []duckdb.TypeInfo{text}, ResultTypeInfo: text}
}

func (f *jsonFunction) Executor() duckdb.ScalarFuncExecutor {
	return duckdb.ScalarFuncExecutor{RowExecutor: func(values []driver.Value) (any, error) {
		text, ok := values[0].(string)
		if !ok {
			return nil, nil
		}
		canonical, err := googlesql.CanonicalJSON([]byte(text), f.round)
		if err != nil && f.safe {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("Invalid input to PARSE_JSON: %w", err)
		}
		return string(canonical), nil
	}}
}

// connect returns a connection, which the caller closes.
func (e *engine) connect(ctx context.Context) (conn, error) {
	c, err := e.db.Conn(ctx)
	if err != nil {
		return conn{}, fmt.Errorf("connect to DuckDB: %w", err)
	}
	return conn{c}, nil
}

func (c conn) exec(ctx context.Context, text string) (rows int64, err error) {
	result, err := c.ExecContext(ctx, text)
	if err != nil {
		return 0, refusal(err)
	}
	return result.RowsAffected()
}

// describe returns the columns of a query.
func (c conn) describe(ctx context.Context, query string) ([]googlesql.Column, error) {
	rows, err := c.QueryContext(ctx, "DESCRIBE "+query)
	if err != nil {
		return nil, refusal(err)
	}
	defer func() { _ = rows.Close() }()
	var columns []googlesql.Column
	for rows.Next() {
		var name, typ string
		var other any
		if err := rows.Scan(&name, &typ, &other, &other, &other, &other); err != nil {
			return nil, err
		}
		columns = append(columns, googlesql.Column{Name: name, Type: fromDuck(typ)})
	}
	return columns, rows.Err()
}

// result is the rows of a query as the REST interface has them.
type result struct {
	schema *bq.TableSchema
	rows   [][]any
}

// query runs a query.
func (c conn) query(ctx context.Context, query string) (*result, error) {
	columns, err := c.describe(ctx, query)
	if err != nil {
		return nil, err
	}
	return c.queryAs(ctx, query, columns)
}

func (c conn) queryAs(ctx context.Context, query string, columns []googlesql.Column) (*result, error) {
	r := &result{schema: &bq.TableSchema{}}
	list := make([]string, len(columns))
	names := make([]string, len(columns))
	for n, column := range columns {
		names[n] = fmt.Sprintf("c%d", n)
		if list[n] = names[n]; column.Type == "JSON" || column.Type == "NUMERIC" || column.Type == "BIGNUMERIC" || column.Type == "INT64" || column.Type == "DATE" || column.Type == "TIME" {
			list[n] = "CAST(" + names[n] + " AS VARCHAR)"
		}
		if column.Type == "" || column.Type == "NULL" {
			column.Type = "INT64"
		}
		r.schema.Fields = append(r.schema.Fields, fieldOf(column.Name, column.Type))
	}
	rows, err := c.QueryContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM ("+query+") AS q("+strings.Join(names, ", ")+")")
	if err != nil {
		return nil, refusal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for n := range values {
			into[n] = &values[n]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, refusal(err)
		}
		for n := range values {
			values[n] = restValue(values[n], r.schema.Fields[n])
		}
		r.rows = append(r.rows, values)
	}
	if err := rows.Err(); err != nil {
		return nil, refusal(err)
	}
	return r, nil
}

// restValue converts a value of the driver. Timestamps stay times, because requests
// choose how they are written.
func restValue(v any, f *bq.TableFieldSchema) any {
	if v == nil {
		if f.Mode == "REPEATED" {
			return []any{}
		}
		return nil
	}
	if f.Mode == "REPEATED" {
		element := *f
		element.Mode = ""
		list, _ := v.([]any)
		out := make([]any, len(list))
		for n, e := range list {
			out[n] = map[string]any{"v": restValue(e, &element)}
		}
		return out
	}
	switch x := v.(type) {
	case map[string]any:
		fields := make([]any, len(f.Fields))
		for n, sub := range f.Fields {
			fields[n] = map[string]any{"v": restValue(x[sub.Name], sub)}
		}
		return map[string]any{"f": fields}
	case string:
		if (f.Type == "NUMERIC" || f.Type == "BIGNUMERIC") && strings.Contains(x, ".") {
			return strings.TrimSuffix(strings.TrimRight(x, "0"), ".")
		}
		return x
	case bool:
		return strconv.FormatBool(x)
	case float64:
		return googlesql.FormatFloat(x)
	case float32:
		return googlesql.FormatFloat(float64(x))
	case []byte:
		return base64.StdEncoding.EncodeToString(x)
	case time.Time:
		switch f.Type {
		case "TIMESTAMP":
			return x.UTC()
		case "DATETIME":
			return strings.TrimSuffix(x.Format("2006-01-02T15:04:05.000000"), ".000000")
		case "TIME":
			return x.Format("15:04:05.999999")
		}
		return x.Format(time.DateOnly)
	case *big.Int:
		return x.String()
	case duckdb.Decimal:
		return strings.TrimSuffix(strings.TrimRight(x.String(), "0"), ".")
	}
	return fmt.Sprint(v)
}

// refusal turns an error of DuckDB into BigQuery's.
func refusal(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return fail("stopped", "Job execution was cancelled: User requested cancellation")
	}
	var d *duckdb.Error
	if !errors.As(err, &d) {
		return err
	}
	_, text, found := strings.Cut(d.Msg, ": ")
	if !found {
		text = d.Msg
	}
	text, _, _ = strings.Cut(text, "\n")
	switch d.Type {
	case duckdb.ErrorTypeTransaction:
		return fail("invalidQuery", "Transaction is aborted due to concurrent update. %s", text)
	case duckdb.ErrorTypeConstraint:
		if column, ok := strings.CutPrefix(text, "NOT NULL constraint failed: "); ok {
			return fail("invalidQuery", "Required field %s cannot be null", column[strings.LastIndexByte(column, '.')+1:])
		}
	case duckdb.ErrorTypeOutOfMemory:
		return fail("resourcesExceeded", "Resources exceeded during query execution: %s", text)
	case duckdb.ErrorTypeParser, duckdb.ErrorTypeInternal, duckdb.ErrorTypeCatalog, duckdb.ErrorTypeNotImplemented:
		return fail("invalidQuery", "the stand-in does not know this statement: DuckDB refuses its translation: %s", text)
	}
	return fail("invalidQuery", "%s", text)
}
