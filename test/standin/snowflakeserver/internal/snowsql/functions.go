package snowsql

import (
	"fmt"
	"slices"
	"strings"
)

// function translates a call whose arguments are translated.
type function struct {
	least, most int // arguments; most < 0: any number
	call        func(t *Translator, args []value) (value, error)
}

// simple is a function whose arguments are converted to types, and whose SQL is a
// format with the arguments in their order.
func simple(format string, result Type, params ...Type) function {
	return function{len(params), len(params), func(t *Translator, args []value) (value, error) {
		list := make([]any, len(args))
		for n, a := range args {
			v, err := t.coerce(a, params[n])
			if err != nil {
				return v, err
			}
			list[n] = v.sql
		}
		return value{fmt.Sprintf(format, list...), result}, nil
	}}
}

// conversion is TO_X(value).
func conversion(to Type) function {
	return function{1, 1, func(t *Translator, args []value) (value, error) { return t.convert(args[0], to, false) }}
}

var (
	varchar = typeNames["VARCHAR"]
	variant = typeNames["VARIANT"]
	boolean = typeNames["BOOLEAN"]
	double  = typeNames["FLOAT"]
	integer = numberType(38, 0)
	ntz     = typeNames["TIMESTAMP_NTZ"]
	ltz     = typeNames["TIMESTAMP_LTZ"]
)

var functions map[string]function

func init() {
	functions = map[string]function{
		"UPPER": simple("upper(%s)", varchar, varchar), "LOWER": simple("lower(%s)", varchar, varchar),
		"LENGTH": simple("CAST(length(%s) AS HUGEINT)", integer, varchar), "LEN": simple("CAST(length(%s) AS HUGEINT)", integer, varchar),
		"OCTET_LENGTH": simple("CAST(strlen(%s) AS HUGEINT)", integer, varchar), "TRIM": simple("trim(%s)", varchar, varchar),
		"REPLACE": simple("replace(%s, %s, %s)", varchar, varchar, varchar, varchar), "SPLIT_PART": simple("split_part(%s, %s, CAST(%s AS INTEGER))", varchar, varchar, varchar, integer),
		"STARTSWITH": simple("starts_with(%s, %s)", boolean, varchar, varchar), "ENDSWITH": simple("ends_with(%s, %s)", boolean, varchar, varchar), "CONTAINS": simple("contains(%s, %s)", boolean, varchar, varchar),
		"MD5": simple("md5(%s)", varchar, varchar), "SHA2": simple("sha256(%s)", varchar, varchar), "HEX_ENCODE": simple("upper(hex(%s))", varchar, varchar),
		"LEFT": simple("left(%s, CAST(%s AS BIGINT))", varchar, varchar, integer), "RIGHT": simple("right(%s, CAST(%s AS BIGINT))", varchar, varchar, integer),
		"CONCAT": {1, -1, concat}, "SUBSTR": {2, 3, substr}, "SUBSTRING": {2, 3, substr},
		"COALESCE": {2, -1, same("coalesce(%s)")}, "NVL": {2, 2, same("coalesce(%s)")}, "IFNULL": {2, 2, same("coalesce(%s)")}, "NULLIF": {2, 2, same("nullif(%s)")},
		"GREATEST": {1, -1, same("sf_greatest([%s])")}, "LEAST": {1, -1, same("sf_least([%s])")},
		"IFF": {3, 3, iff}, "ZEROIFNULL": {1, 1, zeroIfNull}, "ABS": {1, 1, keep("abs(%s)")}, "FLOOR": {1, 1, whole("floor(%s)")}, "CEIL": {1, 1, whole("ceil(%s)")}, "ROUND": {1, 2, round}, "MOD": {2, 2, mod},
		"TO_VARCHAR": {1, 2, toText}, "TO_CHAR": {1, 2, toText}, "TO_NUMBER": {1, 3, toNumber}, "TO_DECIMAL": {1, 3, toNumber}, "TO_DOUBLE": conversion(double), "TO_BOOLEAN": conversion(boolean), "TO_DATE": conversion(typeNames["DATE"]), "DATE": conversion(typeNames["DATE"]),
		"TRY_TO_NUMBER": {1, 1, try(integer)}, "TRY_TO_DOUBLE": {1, 1, try(double)}, "TRY_TO_DATE": {1, 1, try(typeNames["DATE"])}, "TRY_TO_TIMESTAMP_NTZ": {1, 1, try(ntz)}, "TRY_TO_TIMESTAMP": {1, 1, try(ntz)},
		"TO_TIMESTAMP": {1, 2, toTimestamp(ntz)}, "TO_TIMESTAMP_NTZ": {1, 2, toTimestamp(ntz)}, "TO_TIMESTAMP_LTZ": {1, 2, toTimestamp(ltz)}, "TO_TIMESTAMP_TZ": {1, 2, toTimestamp(typeNames["TIMESTAMP_TZ"])},
		"CONVERT_TIMEZONE": {2, 3, convertTimezone}, "DATE_TRUNC": {2, 2, dateTrunc}, "DATEADD": {3, 3, dateAdd}, "TIMESTAMPADD": {3, 3, dateAdd}, "DATEDIFF": {3, 3, dateDiff}, "TIMESTAMPDIFF": {3, 3, dateDiff}, "DATE_PART": {2, 2, datePart},
		"YEAR": part("year"), "MONTH": part("month"), "DAY": part("day"), "HOUR": part("hour"),
		"PARSE_JSON": {1, 2, parseJSON("sf_parse_json(%s)")}, "TRY_PARSE_JSON": {1, 2, parseJSON("sf_try_parse_json(%s)")}, "TO_JSON": {1, 1, toJSON}, "TO_VARIANT": {1, 1, func(_ *Translator, args []value) (value, error) { return value{toVariant(args[0]), variant}, nil }},
		"TYPEOF": {1, 1, semi("sf_typeof(%s)", varchar)}, "IS_NULL_VALUE": {1, 1, semi("(%s = 'null')", boolean)}, "ARRAY_SIZE": {1, 1, semi("CAST(sf_array_size(%s) AS HUGEINT)", integer)}, "OBJECT_KEYS": {1, 1, semi("sf_object_keys(%s)", typeNames["ARRAY"])},
		"IS_OBJECT": {1, 1, semi("(left(%s, 1) = '{')", boolean)}, "IS_ARRAY": {1, 1, semi("(left(%s, 1) = '[')", boolean)}, "IS_VARCHAR": {1, 1, semi("(left(%s, 1) = '\"')", boolean)}, "IS_INTEGER": {1, 1, semi("(sf_typeof(%s) = 'INTEGER')", boolean)},
		"AS_INTEGER": {1, 1, as("INTEGER", integer)}, "AS_VARCHAR": {1, 1, as("VARCHAR", varchar)},
		"GET": {2, 2, get}, "GET_PATH": {2, 2, getPath}, "OBJECT_CONSTRUCT": {0, -1, objectConstruct}, "OBJECT_CONSTRUCT_KEEP_NULL": {0, -1, objectConstruct}, "ARRAY_CONSTRUCT": {0, -1, arrayConstruct},
		"CURRENT_TIMESTAMP": {0, 1, now(ltz)}, "LOCALTIMESTAMP": {0, 1, now(ltz)}, "GETDATE": {0, 0, now(ltz)}, "SYSTIMESTAMP": {0, 0, now(ltz)}, "SYSDATE": {0, 0, now(ntz)}, "CURRENT_DATE": {0, 0, now(typeNames["DATE"])},
		"UUID_STRING": {0, 0, func(*Translator, []value) (value, error) { return value{"CAST(uuid() AS VARCHAR)", varchar}, nil }},
	}
}

// aggregates and window functions: true for those that need OVER.
var aggregates = map[string]bool{
	"COUNT": false, "COUNT_IF": false, "SUM": false, "AVG": false, "MIN": false, "MAX": false, "ANY_VALUE": false, "LISTAGG": false, "ARRAY_AGG": false, "APPROX_COUNT_DISTINCT": false, "BOOLOR_AGG": false, "BOOLAND_AGG": false, "MEDIAN": false,
	"ROW_NUMBER": true, "RANK": true, "DENSE_RANK": true, "LAG": true, "LEAD": true, "FIRST_VALUE": true, "LAST_VALUE": true,
}

// contextual are functions whose value the session has.
var contextual = words("CURRENT_ROLE CURRENT_USER CURRENT_ACCOUNT CURRENT_ACCOUNT_NAME CURRENT_ORGANIZATION_NAME CURRENT_DATABASE CURRENT_SCHEMA CURRENT_WAREHOUSE CURRENT_SESSION CURRENT_REGION CURRENT_VERSION CURRENT_AVAILABLE_ROLES CURRENT_TRANSACTION CURRENT_STATEMENT CURRENT_SECONDARY_ROLES LAST_QUERY_ID LAST_TRANSACTION IS_ROLE_IN_SESSION CURRENT_IP_ADDRESS")

func (t *Translator) call(c *Call, s *scope) (value, error) {
	if contextual[c.Name] || strings.HasPrefix(c.Name, "SYSTEM$") {
		return t.contextValue(c)
	}
	needsOver, aggregate := aggregates[c.Name]
	if aggregate {
		if needsOver && c.Over == nil {
			return value{}, compileError(2060, "42601", "Window function [%s] must have OVER clause", describe(c))
		}
		return t.aggregate(c, s)
	}
	f, known := functions[c.Name]
	if !known {
		return value{}, UnknownFunction(c.Name)
	}
	if c.Over != nil || c.Distinct || c.Star || c.Named != nil || len(c.Order) > 0 {
		return value{}, compileError(1003, "42601", "unexpected clause of function %s", c.Name)
	}
	if len(c.Args) < f.least || f.most >= 0 && len(c.Args) > f.most {
		return value{}, compileError(938, "22023", "not enough or too many arguments for function [%s], expected %d, got %d", describe(c), f.least, len(c.Args))
	}
	args := make([]value, len(c.Args))
	for n, a := range c.Args {
		if word, ok := a.(*Column); ok && n == 0 && len(word.Parts) == 1 && takesPart[c.Name] {
			args[n] = value{QuoteString(strings.ToLower(word.Parts[0])), varchar}
			continue
		}
		v, err := t.expr(a, s)
		if err != nil {
			return v, err
		}
		args[n] = v
	}
	return f.call(t, args)
}

// takesPart are functions whose first argument may be a word, such as DAY.
var takesPart = words("DATE_TRUNC DATEADD TIMESTAMPADD DATEDIFF TIMESTAMPDIFF DATE_PART")

func (t *Translator) contextValue(c *Call) (value, error) {
	args := make([]string, len(c.Args))
	for n, a := range c.Args {
		l, ok := a.(*Literal)
		if u, negative := a.(*Unary); negative {
			if inner, isLiteral := u.X.(*Literal); isLiteral {
				l, ok = &Literal{Text: u.Op + inner.Text}, true
			}
		}
		if !ok {
			return value{}, compileError(1015, "22023", "argument %d to function %s needs to be constant, found '%s'", n+1, c.Name, describe(a))
		}
		args[n] = l.Text
	}
	text, typ, err := t.Catalog.Value(c.Name, args)
	if err != nil {
		return value{}, err
	}
	return bound(text, typ), nil
}

func (t *Translator) aggregate(c *Call, s *scope) (value, error) {
	args := make([]value, len(c.Args))
	for n, a := range c.Args {
		v, err := t.expr(a, s)
		if err != nil {
			return v, err
		}
		args[n] = v
	}
	if len(args) == 0 && !c.Star && c.Name != "ROW_NUMBER" && c.Name != "RANK" && c.Name != "DENSE_RANK" {
		return value{}, compileError(938, "22023", "not enough arguments for function [%s], expected 1, got 0", describe(c))
	}
	sql, typ, err := t.aggregateSQL(c, args)
	if err != nil {
		return value{}, err
	}
	if c.Over == nil {
		return value{sql, typ}, nil
	}
	over, err := t.over(c.Over, s)
	if err != nil {
		return value{}, err
	}
	if inner, ok := strings.CutPrefix(sql, "CAST("); ok && strings.HasSuffix(inner, ")") {
		at := strings.LastIndex(inner, " AS ")
		return value{"CAST(" + inner[:at] + over + inner[at:], typ}, nil
	}
	return value{sql + over, typ}, nil
}

// aggregateSQL writes the call; a cast surrounds the whole of it or nothing.
func (t *Translator) aggregateSQL(c *Call, args []value) (string, Type, error) {
	distinct := ""
	if c.Distinct {
		distinct = "DISTINCT "
	}
	sqls := make([]string, len(args))
	for n, a := range args {
		sqls[n] = a.sql
	}
	list := strings.Join(sqls, ", ")
	switch c.Name {
	case "COUNT":
		if c.Star {
			return "CAST(count(*) AS HUGEINT)", integer, nil
		}
		if len(args) > 1 {
			list = "(" + list + ")"
		}
		return "CAST(count(" + distinct + list + ") AS HUGEINT)", integer, nil
	case "COUNT_IF":
		v, err := t.convert(args[0], boolean, false)
		return "CAST(count_if(" + v.sql + ") AS HUGEINT)", integer, err
	case "APPROX_COUNT_DISTINCT":
		return "CAST(approx_count_distinct(" + list + ") AS HUGEINT)", integer, nil
	case "ROW_NUMBER", "RANK", "DENSE_RANK":
		return "CAST(" + strings.ToLower(c.Name) + "() AS HUGEINT)", integer, nil
	case "SUM":
		v, err := t.numeric(args[0])
		if v.t.Name == "FLOAT" {
			return "sum(" + distinct + v.sql + ")", double, err
		}
		n := numberType(38, v.t.Scale)
		return "CAST(sum(" + distinct + v.sql + ") AS " + n.Duck() + ")", n, err
	case "AVG", "MEDIAN":
		v, err := t.numeric(args[0])
		if v.t.Name == "FLOAT" {
			return strings.ToLower(c.Name) + "(" + distinct + v.sql + ")", double, err
		}
		n := numberType(38, min(v.t.Scale+6, 12))
		return "CAST(" + strings.ToLower(c.Name) + "(" + distinct + "CAST(" + v.sql + " AS DOUBLE)) AS " + n.Duck() + ")", n, err
	case "LISTAGG":
		return t.listagg(c, args, distinct)
	case "ARRAY_AGG":
		order, err := t.within(c, nil)
		return "sf_array_of(list(" + distinct + toVariant(args[0]) + order + "))", typeNames["ARRAY"], err
	case "BOOLOR_AGG", "BOOLAND_AGG":
		v, err := t.convert(args[0], boolean, false)
		return map[string]string{"BOOLOR_AGG": "bool_or(", "BOOLAND_AGG": "bool_and("}[c.Name] + v.sql + ")", boolean, err
	}
	return strings.ToLower(c.Name) + "(" + distinct + list + ")", args[0].t, nil
}

func (t *Translator) listagg(c *Call, args []value, distinct string) (string, Type, error) {
	v, err := t.convert(args[0], varchar, false)
	if err != nil {
		return "", varchar, err
	}
	separator := "''"
	if len(args) > 1 {
		separator = args[1].sql
	}
	order, err := t.within(c, nil)
	return "coalesce(string_agg(" + distinct + v.sql + ", " + separator + order + "), '')", varchar, err
}

// within is refused, except where it is empty: the keys would need their scope.
func (t *Translator) within(c *Call, _ *scope) (string, error) {
	if len(c.Order) > 0 {
		return "", Unsupported("WITHIN GROUP")
	}
	return "", nil
}

func (t *Translator) over(w *Window, s *scope) (string, error) {
	var parts []string
	if len(w.Partition) > 0 {
		list := make([]string, len(w.Partition))
		for n, x := range w.Partition {
			v, err := t.expr(x, s)
			if err != nil {
				return "", err
			}
			list[n] = v.sql
		}
		parts = append(parts, "PARTITION BY "+strings.Join(list, ", "))
	}
	if len(w.Order) > 0 {
		list := make([]string, len(w.Order))
		for n, o := range w.Order {
			v, err := t.expr(o.X, s)
			if err != nil {
				return "", err
			}
			list[n] = v.sql + direction(o)
		}
		parts = append(parts, "ORDER BY "+strings.Join(list, ", "))
	}
	return " OVER (" + strings.Join(parts, " ") + ")", nil
}

func same(format string) func(*Translator, []value) (value, error) {
	return func(t *Translator, args []value) (value, error) {
		types := make([]Type, len(args))
		for n, a := range args {
			types[n] = a.t
		}
		to := common(types)
		list := make([]string, len(args))
		for n, a := range args {
			v, err := t.coerce(a, to)
			if err != nil {
				return v, err
			}
			list[n] = v.sql
		}
		return value{fmt.Sprintf(format, strings.Join(list, ", ")), to}, nil
	}
}

func keep(format string) func(*Translator, []value) (value, error) {
	return func(t *Translator, args []value) (value, error) {
		v, err := t.numeric(args[0])
		return value{fmt.Sprintf(format, v.sql), v.t}, err
	}
}

func whole(format string) func(*Translator, []value) (value, error) {
	return func(t *Translator, args []value) (value, error) {
		v, err := t.numeric(args[0])
		if v.t.Name == "FLOAT" || err != nil {
			return value{fmt.Sprintf(format, v.sql), v.t}, err
		}
		if v.t.Scale == 0 {
			return v, nil
		}
		return value{"CAST(" + fmt.Sprintf(format, v.sql) + " AS HUGEINT)", integer}, nil
	}
}

func round(t *Translator, args []value) (value, error) {
	v, err := t.numeric(args[0])
	if err != nil {
		return v, err
	}
	digits := "0"
	if len(args) == 2 {
		digits = "CAST(" + args[1].sql + " AS INTEGER)"
	}
	if v.t.Name == "NUMBER" && v.t.Scale == 0 {
		return v, nil
	}
	return value{"CAST(round(" + v.sql + ", " + digits + ") AS " + v.t.Duck() + ")", v.t}, nil
}

func mod(t *Translator, args []value) (value, error) { return t.arithmetic("%", args[0], args[1]) }

func zeroIfNull(t *Translator, args []value) (value, error) {
	v, err := t.numeric(args[0])
	return value{"coalesce(" + v.sql + ", 0)", v.t}, err
}

func iff(t *Translator, args []value) (value, error) {
	to := common([]Type{args[1].t, args[2].t})
	c, err := t.convert(args[0], boolean, false)
	if err != nil {
		return c, err
	}
	l, err := t.coerce(args[1], to)
	if err != nil {
		return l, err
	}
	r, err := t.coerce(args[2], to)
	return value{"(CASE WHEN " + c.sql + " THEN " + l.sql + " ELSE " + r.sql + " END)", to}, err
}

func concat(t *Translator, args []value) (value, error) {
	list := make([]string, len(args))
	for n, a := range args {
		v, err := t.convert(a, varchar, false)
		if err != nil {
			return v, err
		}
		list[n] = v.sql
	}
	return value{"(" + strings.Join(list, " || ") + ")", varchar}, nil
}

func substr(t *Translator, args []value) (value, error) {
	v, err := t.convert(args[0], varchar, false)
	if err != nil {
		return v, err
	}
	sql := "substr(" + v.sql + ", CAST(" + args[1].sql + " AS BIGINT)"
	if len(args) == 3 {
		sql += ", CAST(" + args[2].sql + " AS BIGINT)"
	}
	return value{sql + ")", varchar}, nil
}

func toText(t *Translator, args []value) (value, error) {
	if len(args) == 1 {
		return t.convert(args[0], varchar, false)
	}
	if !isTime(args[0].t) {
		return value{}, Unsupported("TO_VARCHAR with a format of a number")
	}
	v, err := t.convert(args[0], ntz, false)
	return value{"sf_format_time(" + v.sql + ", " + args[1].sql + ")", varchar}, err
}

func toNumber(t *Translator, args []value) (value, error) {
	to := integer
	for n, a := range args[1:] {
		var size int
		if _, err := fmt.Sscanf(a.sql, "CAST('%d'", &size); err != nil || size > 38 {
			return value{}, Unsupported("TO_NUMBER with a format")
		}
		if n == 0 {
			to.Precision = size
		} else {
			to.Scale = size
		}
	}
	return t.convert(args[0], to, false)
}

func try(to Type) func(*Translator, []value) (value, error) {
	return func(t *Translator, args []value) (value, error) { return t.convert(args[0], to, true) }
}

// toTimestamp converts a number of seconds, or of 10^-scale seconds.
func toTimestamp(to Type) func(*Translator, []value) (value, error) {
	return func(t *Translator, args []value) (value, error) {
		v := args[0]
		if v.t.Name == "FLOAT" {
			return v, compileError(1044, "42P13", "Invalid argument types for function 'TO_TIMESTAMP': (FLOAT)")
		}
		if len(args) == 2 {
			if v.t.Name != "NUMBER" || args[1].t.Name != "NUMBER" {
				return v, Unsupported("TO_TIMESTAMP with a format")
			}
			v = value{fmt.Sprintf("CAST(%s / power(10, %s) AS DECIMAL(38,9))", v.sql, args[1].sql), numberType(38, 9)}
		}
		return t.convert(v, to, false)
	}
}

func convertTimezone(t *Translator, args []value) (value, error) {
	last := len(args) - 1
	v := args[last]
	if v.t.Name == "VARCHAR" || v.t.Name == "DATE" || v.t.Name == "NUMBER" {
		var err error
		if v, err = t.convert(v, ntz, false); err != nil {
			return v, err
		}
	}
	if len(args) == 3 {
		if v.t.Name != "TIMESTAMP_NTZ" {
			return v, compileError(1044, "42P13", "Invalid argument types for function 'CONVERT_TIMEZONE': (VARCHAR, VARCHAR, %s)", v.t)
		}
		return value{fmt.Sprintf("timezone(sf_zone(%s), timezone(sf_zone(%s), %s))", args[1].sql, args[0].sql, v.sql), ntz}, nil
	}
	v, err := t.convert(v, typeNames["TIMESTAMP_TZ"], false)
	return value{fmt.Sprintf("sf_check_zone(sf_zone(%s), %s)", args[0].sql, v.sql), typeNames["TIMESTAMP_TZ"]}, err
}

// partOf returns a unit of time from a constant.
func partOf(v value) (string, error) {
	unit := strings.ToLower(strings.Trim(v.sql, "'"))
	unit = strings.TrimSuffix(unit, "s")
	for _, u := range []string{"year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond", "epoch_second", "epoch_millisecond"} {
		if unit == u {
			return u, nil
		}
	}
	return "", compileError(2115, "22023", "'%s' is not a valid date/time component", unit)
}

func (t *Translator) moment(v value) (value, error) {
	if isTime(v.t) {
		return v, nil
	}
	return t.convert(v, ntz, false)
}

func dateTrunc(t *Translator, args []value) (value, error) {
	unit, err := partOf(args[0])
	if err != nil {
		return value{}, err
	}
	v, err := t.moment(args[1])
	if err != nil {
		return v, err
	}
	return value{fmt.Sprintf("CAST(date_trunc('%s', %s) AS %s)", unit, v.sql, v.t.Duck()), v.t}, nil
}

func dateAdd(t *Translator, args []value) (value, error) {
	unit, err := partOf(args[0])
	if err != nil {
		return value{}, err
	}
	v, err := t.moment(args[2])
	if err != nil {
		return v, err
	}
	n, err := t.convert(args[1], integer, false)
	if err != nil {
		return n, err
	}
	to := v.t
	if to.Name == "DATE" && slices.Contains([]string{"hour", "minute", "second", "millisecond"}, unit) {
		to = ntz
	}
	return value{fmt.Sprintf("CAST(%s + to_%ss(CAST(%s AS %s)) AS %s)", v.sql, unit, n.sql, intervalNumber(unit), to.Duck()), to}, nil
}

// intervalNumber is the type of the argument of DuckDB's to_days and its kind.
func intervalNumber(unit string) string {
	switch unit {
	case "hour", "minute":
		return "BIGINT"
	case "second", "millisecond":
		return "DOUBLE"
	}
	return "INTEGER"
}

func dateDiff(t *Translator, args []value) (value, error) {
	unit, err := partOf(args[0])
	if err != nil {
		return value{}, err
	}
	l, err := t.moment(args[1])
	if err != nil {
		return l, err
	}
	r, err := t.moment(args[2])
	if err != nil {
		return r, err
	}
	return value{fmt.Sprintf("CAST(date_diff('%s', CAST(%s AS TIMESTAMPTZ), CAST(%s AS TIMESTAMPTZ)) AS HUGEINT)", unit, l.sql, r.sql), integer}, nil
}

func datePart(t *Translator, args []value) (value, error) {
	unit, err := partOf(args[0])
	if err != nil {
		return value{}, err
	}
	v, err := t.moment(args[1])
	if err != nil {
		return v, err
	}
	if unit == "epoch_second" {
		return value{"CAST(floor(epoch(" + v.sql + ")) AS HUGEINT)", integer}, nil
	}
	if unit == "epoch_millisecond" {
		return value{"CAST(epoch_ms(" + v.sql + ") AS HUGEINT)", integer}, nil
	}
	return value{"CAST(date_part('" + unit + "', " + v.sql + ") AS HUGEINT)", integer}, nil
}

func part(unit string) function {
	return function{1, 1, func(t *Translator, args []value) (value, error) {
		return datePart(t, []value{{QuoteString(unit), varchar}, args[0]})
	}}
}

func parseJSON(format string) func(*Translator, []value) (value, error) {
	return func(t *Translator, args []value) (value, error) {
		if args[0].t.Name != "VARCHAR" && args[0].t.Name != "NULL" {
			return args[0], compileError(1044, "42P13", "Invalid argument types for function 'PARSE_JSON': (%s)", args[0].t)
		}
		if len(args) == 2 {
			return args[0], Unsupported("PARSE_JSON with a second argument")
		}
		return value{fmt.Sprintf(format, args[0].sql), variant}, nil
	}
}

func semi(format string, result Type) func(*Translator, []value) (value, error) {
	return func(_ *Translator, args []value) (value, error) {
		if !args[0].t.Semi() {
			return args[0], compileError(1044, "42P13", "Invalid argument types for function: (%s)", args[0].t)
		}
		return value{fmt.Sprintf(format, args[0].sql), result}, nil
	}
}

func as(kind string, result Type) func(*Translator, []value) (value, error) {
	return func(t *Translator, args []value) (value, error) {
		if !args[0].t.Semi() {
			return args[0], compileError(1044, "42P13", "Invalid argument types for function 'AS_%s': (%s)", kind, args[0].t)
		}
		v, err := t.convertVariant(value{"(CASE WHEN sf_typeof(" + args[0].sql + ") = '" + kind + "' THEN " + args[0].sql + " END)", variant}, result)
		return v, err
	}
}

func toJSON(t *Translator, args []value) (value, error) {
	if !args[0].t.Semi() {
		return args[0], compileError(1044, "42P13", "Invalid argument types for function 'TO_JSON': (%s)", args[0].t)
	}
	return value{args[0].sql, varchar}, nil
}

func get(t *Translator, args []value) (value, error) {
	if !args[0].t.Semi() {
		return args[0], compileError(1044, "42P13", "Invalid argument types for function 'GET': (%s, %s)", args[0].t, args[1].t)
	}
	key := "'[' || sf_quote(" + args[1].sql + ") || ']'"
	if args[1].t.Name == "NUMBER" {
		key = "'[' || CAST(" + args[1].sql + " AS VARCHAR) || ']'"
	}
	return value{"sf_get(" + args[0].sql + ", " + key + ")", variant}, nil
}

func getPath(t *Translator, args []value) (value, error) {
	return args[0], Unsupported("GET_PATH")
}

func objectConstruct(t *Translator, args []value) (value, error) {
	if len(args)%2 != 0 {
		return value{}, compileError(938, "22023", "not enough arguments for function [OBJECT_CONSTRUCT], expected an even number, got %d", len(args))
	}
	list := make([]string, len(args))
	for n, a := range args {
		if n%2 == 0 {
			v, err := t.convert(a, varchar, false)
			if err != nil {
				return v, err
			}
			list[n] = v.sql
			continue
		}
		list[n] = toVariant(a)
		if a.t.Name == "NULL" {
			list[n] = "CAST(NULL AS VARCHAR)"
		}
	}
	return value{"sf_object_of(CAST([" + strings.Join(list, ", ") + "] AS VARCHAR[]))", typeNames["OBJECT"]}, nil
}

func arrayConstruct(t *Translator, args []value) (value, error) {
	list := make([]string, len(args))
	for n, a := range args {
		if list[n] = toVariant(a); a.t.Name == "NULL" {
			list[n] = "'null'"
		}
	}
	return value{"sf_array_of(CAST([" + strings.Join(list, ", ") + "] AS VARCHAR[]))", typeNames["ARRAY"]}, nil
}

func now(to Type) func(*Translator, []value) (value, error) {
	return func(t *Translator, _ []value) (value, error) {
		text, typ, err := t.Catalog.Value("CURRENT_TIMESTAMP", nil)
		if err != nil {
			return value{}, err
		}
		v := bound(text, typ)
		if to.Name == "TIMESTAMP_NTZ" {
			return value{"timezone('UTC', " + v.sql + ")", to}, nil
		}
		return t.convert(v, to, false)
	}
}
