package snowflake

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/test/standin"
)

// warehouse is a running stand-in.
type warehouse struct {
	*standin.Snowflake
	places atomic.Int64
	pool   *sql.DB // of a reader
}

func startWarehouse(t *testing.T) *warehouse {
	t.Helper()
	return newWarehouse(t, standin.SnowflakeOptions{})
}

func newWarehouse(t *testing.T, o standin.SnowflakeOptions) *warehouse {
	t.Helper()
	w := &warehouse{Snowflake: standin.StartSnowflake(t, o)}
	c := w.login()
	w.pool = sql.OpenDB(&connector{config: c, logins: newLogins(), now: time.Now})
	w.pool.SetMaxIdleConns(0) // tests end sessions
	t.Cleanup(func() { _ = w.pool.Close() })
	return w
}

// login is the configuration of a login.
func (w *warehouse) login() config {
	return config{Account: w.Account, User: w.User, PrivateKey: w.PrivateKey, Role: w.Role, Warehouse: w.Warehouse, Database: w.Database, Schema: w.Schema, Endpoint: w.URL}
}

// config returns a configuration for a schema of its own.
func (w *warehouse) config() map[string]any {
	schema := fmt.Sprintf("PLACE_%d", w.places.Add(1))
	full := w.Database + "." + schema
	w.SQL("CREATE SCHEMA "+full, "GRANT "+strings.Join(schemaRights, ", ")+" ON SCHEMA "+full+" TO ROLE "+w.Role)
	return map[string]any{
		"account": w.Account, "user": w.User, "private_key": w.PrivateKey, "role": w.Role, "warehouse": w.Warehouse, "database": w.Database, "schema": schema, "endpoint": w.URL,
	}
}

// query runs a query with a session of its own, and returns its rows in the order of
// the columns; nil is NULL.
func (w *warehouse) query(ctx context.Context, text string) ([][]any, error) {
	rows, err := w.pool.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out [][]any
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		line := make([]any, len(columns))
		for i, v := range values {
			if v.Valid {
				line[i] = v.String
			}
		}
		out = append(out, line)
	}
	return out, rows.Err()
}

// committed returns the rows that a reader sees, by date, in the form of stored.
func (w *warehouse) committed(ctx context.Context, schema string, stream sdk.Stream) (map[string][]string, error) {
	date := "''"
	var columns []string
	for _, c := range columnsOf(stream) {
		switch c.name {
		case "TIME":
			date = "TO_DATE(TIME)::VARCHAR"
			columns = append(columns, "DATE_PART(EPOCH_SECOND, TIME)")
		case "PROPERTIES":
			columns = append(columns, "TO_JSON(PROPERTIES)")
		default:
			columns = append(columns, c.name)
		}
	}
	rows, err := w.query(ctx, "SELECT "+date+", "+strings.Join(columns, ", ")+" FROM "+w.Database+"."+schema+"."+viewOf(stream))
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := make(map[string][]string)
	for _, row := range rows {
		values := map[string]any{}
		for i, c := range columnsOf(stream) {
			text, set := row[i+1].(string)
			name := strings.ToLower(c.name)
			switch {
			case !set:
				values[name] = nil
			case c.name == "PROPERTIES":
				if values[name], err = value(text); err != nil {
					return nil, err
				}
			case c.name == "TIME":
				values[name] = canonicalNumber(text)
			default:
				values[name] = text
			}
		}
		day, _ := row[0].(string)
		found[day] = append(found[day], render(values))
	}
	return found, nil
}

// stored returns the form of a row in the view: the last of equal keys, wide numbers
// as strings, members in order, numbers by value.
func stored(line string) string {
	v, err := value(line)
	if err != nil {
		return line
	}
	return render(v)
}

// value reads a JSON text, with numbers by value.
func value(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%.100q: %w", text, err)
	}
	return normal(v), nil
}

func normal(v any) any {
	switch v := v.(type) {
	case json.Number:
		if !keepsNumber([]byte(v)) {
			return string(v)
		}
		return canonicalNumber(string(v))
	case string:
		return strings.ReplaceAll(v, "\x00", "")
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
	}
	return v
}

// canonicalNumber has one text for each value.
func canonicalNumber(text string) json.Number {
	if text == "-0" {
		return "0"
	}
	if !strings.ContainsAny(text, ".eE") {
		return json.Number(text)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return json.Number(text)
	}
	if f == float64(int64(f)) && f < 1<<53 && f > -1<<53 {
		return json.Number(strconv.FormatInt(int64(f), 10))
	}
	return json.Number(strconv.FormatFloat(f, 'e', -1, 64))
}

// render writes a value with the members of objects in order.
func render(v any) string {
	switch v := v.(type) {
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, render(x))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, fmt.Sprintf("%q:%s", k, render(v[k])))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case string:
		return strconv.Quote(v)
	case nil:
		return "null"
	default:
		return fmt.Sprint(v)
	}
}
