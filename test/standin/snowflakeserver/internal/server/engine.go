package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/variant"
)

// engine is the DuckDB that holds all rows. Each table has a physical one, whose name is
// never used again.
//
// A row has the transaction that wrote it, x_min, and the one that removed it, x_max
// (0: none). The table open_tx holds the transactions that are open, so that one
// snapshot of DuckDB answers which rows a statement sees.
type engine struct{ db *sql.DB }

func openEngine(temp string) (*engine, error) {
	connector, err := duckdb.NewConnector("?memory_limit=2GB&temp_directory="+url.QueryEscape(temp), func(execer driver.ExecerContext) error {
		for _, text := range []string{
			"SET TimeZone = 'UTC'", "SET threads = 2",
			// A condition on a column of a view with QUALIFY is an internal error otherwise.
			"SET disabled_optimizers = 'filter_pushdown'",
		} {
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
	if err := e.define(); err != nil {
		return nil, errors.Join(err, e.db.Close())
	}
	return e, nil
}

func (e *engine) define() error {
	c, err := e.db.Conn(context.Background())
	if err != nil {
		return fmt.Errorf("connect to DuckDB: %w", err)
	}
	defer func() { _ = c.Close() }()
	for name, f := range scalars {
		if err := duckdb.RegisterScalarUDF(c, name, f); err != nil {
			return fmt.Errorf("register %s: %w", name, err)
		}
	}
	for _, text := range definitions {
		if _, err := c.ExecContext(context.Background(), text); err != nil {
			return fmt.Errorf("define %s: %w", text, err)
		}
	}
	return nil
}

var definitions = []string{
	"CREATE TABLE open_tx (id BIGINT)",
	"CREATE MACRO sf_divisor(d) AS CASE WHEN d = 0 THEN error('" + marker + "100051:22012:Division by zero') ELSE d END",
	"CREATE MACRO sf_fit(s, n) AS CASE WHEN length(s) > n THEN error('" + marker + "100078:22000:String ''' || s || ''' is too long and would be truncated') ELSE s END",
	"CREATE MACRO sf_range(v, n) AS CASE WHEN abs(v) >= power(10::DOUBLE, n) THEN error('" + marker + "100132:22003:Number out of representable range: type FIXED, value ' || v) ELSE v END",
	"CREATE MACRO sf_greatest(l) AS CASE WHEN len(list_filter(l, lambda x: x IS NULL)) > 0 THEN NULL ELSE list_max(l) END",
	"CREATE MACRO sf_least(l) AS CASE WHEN len(list_filter(l, lambda x: x IS NULL)) > 0 THEN NULL ELSE list_min(l) END",
	"CREATE MACRO sf_check_zone(z, t) AS CASE WHEN timezone(z, t) IS NULL THEN NULL ELSE t END",
}

// scalar is a function of DuckDB that is written in Go. NULL arguments give NULL.
type scalar struct {
	params []duckdb.Type
	result duckdb.Type
	list   bool // the one argument is a list of texts
	f      func(args []driver.Value) (any, error)
	nulls  bool // f takes NULLs itself
}

func (s scalar) Config() duckdb.ScalarFuncConfig {
	var c duckdb.ScalarFuncConfig
	text, _ := duckdb.NewTypeInfo(duckdb.TYPE_VARCHAR)
	if s.list {
		l, _ := duckdb.NewListInfo(text)
		c.InputTypeInfos = []duckdb.TypeInfo{l}
	}
	for _, p := range s.params {
		t, _ := duckdb.NewTypeInfo(p)
		c.InputTypeInfos = append(c.InputTypeInfos, t)
	}
	if s.result == duckdb.TYPE_LIST {
		inner, _ := duckdb.NewListInfo(text)
		c.ResultTypeInfo, _ = duckdb.NewListInfo(inner)
	} else {
		c.ResultTypeInfo, _ = duckdb.NewTypeInfo(s.result)
	}
	c.SpecialNullHandling = s.nulls
	return c
}

func (s scalar) Executor() duckdb.ScalarFuncExecutor {
	return duckdb.ScalarFuncExecutor{RowExecutor: func(args []driver.Value) (any, error) {
		if !s.nulls {
			for _, a := range args {
				if a == nil {
					return nil, nil
				}
			}
		}
		return s.f(args)
	}}
}

// texts is a function of texts that returns a text or NULL.
func texts(n int, f func(args []string) (*string, error)) scalar {
	params := make([]duckdb.Type, n)
	for i := range params {
		params[i] = duckdb.TYPE_VARCHAR
	}
	return scalar{params: params, result: duckdb.TYPE_VARCHAR, f: func(args []driver.Value) (any, error) {
		list := make([]string, n)
		for i, a := range args {
			list[i], _ = a.(string)
		}
		v, err := f(list)
		if v == nil || err != nil {
			return nil, err
		}
		return *v, nil
	}}
}

func some(s string) (*string, error) { return &s, nil }

var scalars = map[string]duckdb.ScalarFunc{
	"sf_get":            texts(2, func(a []string) (*string, error) { return getPath(a[0], a[1]) }),
	"sf_quote":          texts(1, func(a []string) (*string, error) { return some(string(variant.Quote(a[0]))) }),
	"sf_typeof":         texts(1, func(a []string) (*string, error) { return some(variant.Kind(a[0])) }),
	"sf_parse_json":     texts(1, func(a []string) (*string, error) { return parseJSON(a[0], false) }),
	"sf_try_parse_json": texts(1, func(a []string) (*string, error) { return parseJSON(a[0], true) }),
	"sf_number_variant": texts(1, func(a []string) (*string, error) {
		n, err := variant.Number(a[0])
		return &n, err
	}),
	"sf_object_keys": texts(1, objectKeys),
	"sf_v_text": texts(1, func(a []string) (*string, error) {
		if s, ok := variant.Text(a[0]); ok {
			return &s, nil
		}
		return nil, nil
	}),
	"sf_v_object":         texts(1, func(a []string) (*string, error) { return ofKind(a[0], '{', "OBJECT") }),
	"sf_v_array":          texts(1, func(a []string) (*string, error) { return ofKind(a[0], '[', "ARRAY") }),
	"sf_v_boolean":        texts(1, func(a []string) (*string, error) { return variantBoolean(a[0]) }),
	"sf_v_double":         texts(1, func(a []string) (*string, error) { return variantDouble(a[0]) }),
	"sf_v_time":           texts(3, variantTime),
	"sf_text_boolean":     texts(1, func(a []string) (*string, error) { return textBoolean(a[0], false) }),
	"sf_text_double":      texts(1, func(a []string) (*string, error) { return textDouble(a[0], false) }),
	"sf_text_time":        texts(3, func(a []string) (*string, error) { return textTime(a[0], a[1], a[2], false) }),
	"sf_try_text_boolean": texts(1, func(a []string) (*string, error) { return textBoolean(a[0], true) }),
	"sf_try_text_double":  texts(1, func(a []string) (*string, error) { return textDouble(a[0], true) }),
	"sf_try_text_time":    texts(3, func(a []string) (*string, error) { return textTime(a[0], a[1], a[2], true) }),
	"sf_zone":             texts(1, zone),
	"sf_v_number":         scaled(variantNumber),
	"sf_text_number":      scaled(func(s string, scale int) (*string, error) { return textNumber(s, scale, false) }),
	"sf_try_text_number":  scaled(func(s string, scale int) (*string, error) { return textNumber(s, scale, true) }),
	"sf_double_variant":   doubles(variant.Double),
	"sf_double_text":      doubles(func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }),
	"sf_array_size": scalar{params: []duckdb.Type{duckdb.TYPE_VARCHAR}, result: duckdb.TYPE_BIGINT, f: func(a []driver.Value) (any, error) {
		v, n := a[0].(string), int64(0)
		if v[0] != '[' {
			return nil, nil
		}
		variant.Elements(v, func(string, string) { n++ })
		return n, nil
	}},
	"sf_zoned_text": scalar{params: []duckdb.Type{duckdb.TYPE_BIGINT, duckdb.TYPE_VARCHAR}, result: duckdb.TYPE_VARCHAR, f: func(a []driver.Value) (any, error) {
		at, err := time.LoadLocation(a[1].(string))
		if err != nil {
			return nil, err
		}
		return time.UnixMicro(a[0].(int64)).In(at).Format("2006-01-02 15:04:05.000 -0700"), nil
	}},
	"sf_array_of":  scalar{list: true, result: duckdb.TYPE_VARCHAR, f: arrayOf},
	"sf_object_of": scalar{list: true, result: duckdb.TYPE_VARCHAR, f: objectOf},
	"sf_flatten":   scalar{params: []duckdb.Type{duckdb.TYPE_VARCHAR}, result: duckdb.TYPE_LIST, f: flatten},
}

func scaled(f func(s string, scale int) (*string, error)) scalar {
	return scalar{params: []duckdb.Type{duckdb.TYPE_VARCHAR, duckdb.TYPE_INTEGER}, result: duckdb.TYPE_VARCHAR, f: func(a []driver.Value) (any, error) {
		v, err := f(a[0].(string), int(a[1].(int32)))
		if v == nil || err != nil {
			return nil, err
		}
		return *v, nil
	}}
}

func doubles(f func(float64) string) scalar {
	return scalar{params: []duckdb.Type{duckdb.TYPE_DOUBLE}, result: duckdb.TYPE_VARCHAR, f: func(a []driver.Value) (any, error) { return f(a[0].(float64)), nil }}
}

// getPath follows a path, which is a JSON array of names and indices.
func getPath(v, path string) (*string, error) {
	found := true
	variant.Elements(path, func(_, key string) {
		if !found {
			return
		}
		if key[0] == '"' {
			v, found = variant.Member(v, variant.Unquote(key))
			return
		}
		n, err := strconv.Atoi(key)
		if v, found = variant.Element(v, n); err != nil {
			found = false
		}
	})
	if !found {
		return nil, nil
	}
	return &v, nil
}

func parseJSON(s string, try bool) (*string, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	v, err := variant.Parse([]byte(s), variant.Options{})
	if err != nil && try {
		return nil, nil
	}
	if err != nil {
		return nil, raise(100069, "22P02", "Error parsing JSON: %v", err)
	}
	return &v, nil
}

func objectKeys(a []string) (*string, error) {
	if a[0][0] != '{' {
		return nil, nil
	}
	var keys []string
	variant.Elements(a[0], func(key, _ string) { keys = append(keys, string(variant.Quote(key))) })
	return some("[" + strings.Join(keys, ",") + "]")
}

func ofKind(v string, first byte, kind string) (*string, error) {
	if v == "null" {
		return nil, nil
	}
	if v[0] != first {
		return nil, cannotCast(v, kind)
	}
	return &v, nil
}

// cannotCast is the error of a cast of a VARIANT
// (https://docs.snowflake.com/en/sql-reference/data-type-conversion).
func cannotCast(v, kind string) error {
	return raise(100071, "22000", "Failed to cast variant value %s to %s", v, kind)
}

func variantBoolean(v string) (*string, error) {
	s, ok := variant.Text(v)
	if !ok {
		return nil, nil
	}
	if v[0] != '{' && v[0] != '[' {
		if b, err := textBoolean(s, true); b != nil && err == nil {
			return b, nil
		}
		if n, ok := variant.Decimal(s, 9); ok && v[0] != '"' {
			return some(strconv.FormatBool(strings.Trim(n, "0.-") != ""))
		}
	}
	return nil, cannotCast(v, "BOOLEAN")
}

func variantNumber(v string, scale int) (*string, error) {
	s, ok := variant.Text(v)
	if !ok {
		return nil, nil
	}
	if v[0] == 't' || v[0] == 'f' {
		return some(map[string]string{"true": "1", "false": "0"}[v])
	}
	if v[0] == '{' || v[0] == '[' {
		return nil, cannotCast(v, "FIXED")
	}
	n, ok := variant.Decimal(s, scale)
	if !ok {
		return nil, cannotCast(v, "FIXED")
	}
	return &n, nil
}

func variantDouble(v string) (*string, error) {
	s, ok := variant.Text(v)
	if !ok {
		return nil, nil
	}
	if v[0] == 't' || v[0] == 'f' {
		return some(map[string]string{"true": "1", "false": "0"}[v])
	}
	if d, err := textDouble(s, true); d != nil && err == nil {
		return d, nil
	}
	return nil, cannotCast(v, "REAL")
}

func variantTime(a []string) (*string, error) {
	s, ok := variant.Text(a[0])
	if !ok {
		return nil, nil
	}
	switch variant.Kind(a[0]) {
	case "VARCHAR":
		if t, err := textTime(s, a[1], a[2], true); t != nil && err == nil {
			return t, nil
		}
	case "INTEGER", "DECIMAL":
		if t, ok := seconds(s, a[1]); ok {
			return &t, nil
		}
	}
	return nil, cannotCast(a[0], map[string]string{"date": "DATE", "ntz": "TIMESTAMP_NTZ", "ltz": "TIMESTAMP_LTZ", "tz": "TIMESTAMP_TZ"}[a[1]])
}

// seconds reads a number of seconds since 1970.
func seconds(s, kind string) (string, bool) {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return "", false
	}
	micros := new(big.Int).Quo(new(big.Int).Mul(r.Num(), big.NewInt(1e6)), r.Denom())
	if !micros.IsInt64() || micros.Int64() > math.MaxInt64/2 || micros.Int64() < math.MinInt64/2 {
		return "", false
	}
	return stamp(time.UnixMicro(micros.Int64()).UTC(), kind), true
}

func stamp(t time.Time, kind string) string {
	switch kind {
	case "date":
		return t.Format(time.DateOnly)
	case "ntz":
		return t.Format("2006-01-02 15:04:05.000000")
	}
	return t.Format("2006-01-02 15:04:05.000000-07:00")
}

func textBoolean(s string, try bool) (*string, error) {
	switch strings.ToLower(s) {
	case "true", "t", "yes", "y", "on", "1":
		return some("true")
	case "false", "f", "no", "n", "off", "0":
		return some("false")
	}
	if try {
		return nil, nil
	}
	return nil, raise(100037, "22018", "Boolean value '%s' is not recognized", s)
}

func textNumber(s string, scale int, try bool) (*string, error) {
	if n, ok := variant.Decimal(s, scale); ok {
		return &n, nil
	}
	if try {
		return nil, nil
	}
	return nil, raise(100038, "22018", "Numeric value '%s' is not recognized", s)
}

func textDouble(s string, try bool) (*string, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err == nil && !strings.ContainsAny(s, "xXpP_") {
		return some(strconv.FormatFloat(f, 'g', -1, 64))
	}
	if try {
		return nil, nil
	}
	return nil, raise(100038, "22018", "Numeric value '%s' is not recognized", s)
}

var timeFormats = []string{
	time.DateOnly, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 -07:00",
	"2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05-0700",
}

// textTime reads a date or time of the automatic formats
// (https://docs.snowflake.com/en/sql-reference/date-time-input-output): among them an
// integer in a string, whose magnitude tells seconds from milliseconds and smaller.
func textTime(s, kind, zone string, try bool) (*string, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		for _, limit := range []int64{31536000000, 31536000000000, 31536000000000000} {
			if n < limit {
				per := limit / 31536000000 // units in a second
				t := time.Unix(n/per, 0).Add(time.Duration(n%per) * (time.Second / time.Duration(per)))
				return some(stamp(t.UTC(), kind))
			}
		}
	}
	local, err := time.LoadLocation(zone)
	if err != nil {
		return nil, err
	}
	if kind == "ntz" || kind == "date" {
		local = time.UTC
	}
	for _, f := range timeFormats {
		t, err := time.ParseInLocation(f, s, local)
		if err != nil {
			continue
		}
		if kind == "ltz" || kind == "tz" {
			t = t.UTC()
		}
		return some(stamp(t, kind))
	}
	if try {
		return nil, nil
	}
	if kind == "date" {
		return nil, raise(100040, "22007", "Date '%s' is not recognized", s)
	}
	return nil, raise(100035, "22007", "Timestamp '%s' is not recognized", s)
}

// zone checks the name of a time zone
// (https://docs.snowflake.com/en/sql-reference/functions/convert_timezone).
func zone(a []string) (*string, error) {
	if at, err := time.LoadLocation(a[0]); err == nil && a[0] != "" && a[0] != "Local" {
		return some(at.String())
	}
	return nil, raise(1007, "22023", "SQL compilation error:\ninvalid value ['%s'] for parameter 'Target timezone'", a[0])
}

func elements(v driver.Value) []*string {
	list, _ := v.([]any)
	out := make([]*string, len(list))
	for n, e := range list {
		if s, ok := e.(string); ok {
			out[n] = &s
		}
	}
	return out
}

func arrayOf(a []driver.Value) (any, error) {
	var list []string
	for _, e := range elements(a[0]) {
		if e != nil {
			list = append(list, *e)
		}
	}
	return "[" + strings.Join(list, ",") + "]", nil
}

// objectOf makes an object of names and values; those that are NULL are left out.
func objectOf(a []driver.Value) (any, error) {
	list := elements(a[0])
	var members []string
	for n := 0; n+1 < len(list); n += 2 {
		if list[n] != nil && list[n+1] != nil {
			members = append(members, string(variant.Quote(*list[n]))+":"+*list[n+1])
		}
	}
	v, err := variant.Parse([]byte("{"+strings.Join(members, ",")+"}"), variant.Options{})
	if err != nil {
		return nil, raise(100069, "22000", "Duplicate field key in OBJECT_CONSTRUCT: %v", err)
	}
	return v, nil
}

// flatten returns key, index, path and value of each element.
func flatten(a []driver.Value) (any, error) {
	v := a[0].(string)
	out := [][]string{}
	variant.Elements(v, func(key, value string) {
		if v[0] == '{' {
			out = append(out, []string{key, "", key, value})
			return
		}
		n := strconv.Itoa(len(out))
		out = append(out, []string{"", n, "[" + n + "]", value})
	})
	return out, nil
}
