package googlesql

import (
	"strconv"
	"strings"
)

// function says how a call is translated. $1 is the first argument, $* all.
type function struct {
	min, max int // arguments; max -1: any number
	sql      string
	// typ is the result's; "$1": that of the first argument.
	typ string
	// aggregate functions may have DISTINCT, ORDER BY and the like, and OVER.
	aggregate bool
	// window functions need OVER.
	window bool
	// path reports whether the second argument is a JSONPath.
	path bool
	// convert is the type that a literal argument becomes.
	convert string
}

var functions = map[string]function{
	// aggregates
	"COUNT":                 {0, 1, "count($*)", "INT64", true, false, false, ""},
	"COUNTIF":               {1, 1, "count_if($1)", "INT64", true, false, false, ""},
	"SUM":                   {1, 1, "sum($1)", "$1", true, false, false, ""},
	"AVG":                   {1, 1, "avg($1)", "FLOAT64", true, false, false, ""},
	"MIN":                   {1, 1, "min($1)", "$1", true, false, false, ""},
	"MAX":                   {1, 1, "max($1)", "$1", true, false, false, ""},
	"ANY_VALUE":             {1, 1, "any_value($1)", "$1", true, false, false, ""},
	"LOGICAL_AND":           {1, 1, "bool_and($1)", "BOOL", true, false, false, ""},
	"LOGICAL_OR":            {1, 1, "bool_or($1)", "BOOL", true, false, false, ""},
	"BIT_XOR":               {1, 1, "bit_xor($1)", "INT64", true, false, false, ""},
	"ARRAY_AGG":             {1, 1, "list($1)", "ARRAY<$1>", true, false, false, ""},
	"STRING_AGG":            {1, 2, "string_agg($1, $2|',')", "STRING", true, false, false, ""},
	"APPROX_COUNT_DISTINCT": {1, 1, "count(DISTINCT $1)", "INT64", true, false, false, ""},
	// window
	"ROW_NUMBER":  {0, 0, "row_number()", "INT64", true, true, false, ""},
	"RANK":        {0, 0, "rank()", "INT64", true, true, false, ""},
	"DENSE_RANK":  {0, 0, "dense_rank()", "INT64", true, true, false, ""},
	"LAG":         {1, 3, "lag($*)", "$1", true, true, false, ""},
	"LEAD":        {1, 3, "lead($*)", "$1", true, true, false, ""},
	"FIRST_VALUE": {1, 1, "first_value($1)", "$1", true, true, false, ""},
	"LAST_VALUE":  {1, 1, "last_value($1)", "$1", true, true, false, ""},
	// conditions
	"COALESCE": {1, -1, "coalesce($*)", "$1", false, false, false, ""},
	"IFNULL":   {2, 2, "coalesce($1, $2)", "$1", false, false, false, ""},
	"NULLIF":   {2, 2, "nullif($1, $2)", "$1", false, false, false, ""},
	"IF":       {3, 3, "(CASE WHEN $1 THEN $2 ELSE $3 END)", "$2", false, false, false, ""},
	"GREATEST": {1, -1, "bq_greatest([$*])", "$1", false, false, false, ""},
	"LEAST":    {1, -1, "bq_least([$*])", "$1", false, false, false, ""},
	"ERROR":    {1, 1, "error($1)", "", false, false, false, ""},
	// texts
	"CONCAT":           {1, -1, "($+||)", "STRING", false, false, false, ""},
	"LOWER":            {1, 1, "lower($1)", "STRING", false, false, false, ""},
	"UPPER":            {1, 1, "upper($1)", "STRING", false, false, false, ""},
	"TRIM":             {1, 1, "trim($1)", "STRING", false, false, false, ""},
	"LENGTH":           {1, 1, "length($1)", "INT64", false, false, false, ""},
	"CHAR_LENGTH":      {1, 1, "length($1)", "INT64", false, false, false, ""},
	"BYTE_LENGTH":      {1, 1, "strlen($1)", "INT64", false, false, false, ""},
	"OCTET_LENGTH":     {1, 1, "strlen($1)", "INT64", false, false, false, ""},
	"SUBSTR":           {2, 3, "substr($*)", "STRING", false, false, false, ""},
	"SUBSTRING":        {2, 3, "substr($*)", "STRING", false, false, false, ""},
	"REPLACE":          {3, 3, "replace($*)", "STRING", false, false, false, ""},
	"STARTS_WITH":      {2, 2, "starts_with($*)", "BOOL", false, false, false, ""},
	"ENDS_WITH":        {2, 2, "ends_with($*)", "BOOL", false, false, false, ""},
	"STRPOS":           {2, 2, "strpos($*)", "INT64", false, false, false, ""},
	"REVERSE":          {1, 1, "reverse($1)", "STRING", false, false, false, ""},
	"REPEAT":           {2, 2, "repeat($*)", "STRING", false, false, false, ""},
	"SPLIT":            {1, 2, "string_split($1, $2|',')", "ARRAY<STRING>", false, false, false, ""},
	"REGEXP_CONTAINS":  {2, 2, "regexp_matches($*)", "BOOL", false, false, false, ""},
	"REGEXP_REPLACE":   {3, 3, "regexp_replace($1, $2, $3, 'g')", "STRING", false, false, false, ""},
	"TO_HEX":           {1, 1, "lower(hex($1))", "STRING", false, false, false, ""},
	"TO_BASE64":        {1, 1, "to_base64($1)", "STRING", false, false, false, ""},
	"FARM_FINGERPRINT": {1, 1, "CAST(hash($1) >> 1 AS BIGINT)", "INT64", false, false, false, ""},
	"GENERATE_UUID":    {0, 0, "CAST(uuid() AS VARCHAR)", "STRING", false, false, false, ""},
	// numbers
	"ABS":         {1, 1, "abs($1)", "$1", false, false, false, ""},
	"MOD":         {2, 2, "($1 % $2)", "$1", false, false, false, ""},
	"DIV":         {2, 2, "($1 // $2)", "INT64", false, false, false, ""},
	"POW":         {2, 2, "pow($1, $2)", "FLOAT64", false, false, false, ""},
	"POWER":       {2, 2, "pow($1, $2)", "FLOAT64", false, false, false, ""},
	"ROUND":       {1, 2, "round($*)", "FLOAT64", false, false, false, ""},
	"FLOOR":       {1, 1, "floor($1)", "FLOAT64", false, false, false, ""},
	"CEIL":        {1, 1, "ceil($1)", "FLOAT64", false, false, false, ""},
	"SQRT":        {1, 1, "sqrt($1)", "FLOAT64", false, false, false, ""},
	"SIGN":        {1, 1, "sign($1)", "$1", false, false, false, ""},
	"SAFE_DIVIDE": {2, 2, "bq_safe_divide($1, $2)", "FLOAT64", false, false, false, ""},
	"BIT_COUNT":   {1, 1, "bit_count($1)", "INT64", false, false, false, ""},
	// arrays
	"ARRAY_LENGTH":    {1, 1, "len($1)", "INT64", false, false, false, ""},
	"ARRAY_CONCAT":    {1, -1, "list_concat($*)", "$1", false, false, false, ""},
	"ARRAY_TO_STRING": {2, 2, "array_to_string($*)", "STRING", false, false, false, ""},
	"ARRAY_REVERSE":   {1, 1, "list_reverse($1)", "$1", false, false, false, ""},
	"GENERATE_ARRAY":  {2, 3, "generate_series($*)", "ARRAY<$1>", false, false, false, ""},
	// JSON
	"JSON_VALUE":          {1, 2, "bq_json_value($1, $2|'$')", "STRING", false, false, true, ""},
	"JSON_EXTRACT_SCALAR": {1, 2, "bq_json_value($1, $2|'$')", "STRING", false, false, true, ""},
	"JSON_QUERY":          {1, 2, "json_extract($1, $2|'$')", "$1", false, false, true, ""},
	"JSON_EXTRACT":        {1, 2, "json_extract($1, $2|'$')", "$1", false, false, true, ""},
	"JSON_QUERY_ARRAY":    {1, 2, "bq_json_array(json_extract($1, $2|'$'))", "ARRAY<$1>", false, false, true, ""},
	"JSON_VALUE_ARRAY":    {1, 2, "bq_json_value_array(json_extract($1, $2|'$'))", "ARRAY<STRING>", false, false, true, ""},
	"JSON_TYPE":           {1, 1, "bq_json_type($1)", "STRING", false, false, false, ""},
	"TO_JSON_STRING":      {1, 1, "CAST(to_json($1) AS VARCHAR)", "STRING", false, false, false, ""},
	"TO_JSON":             {1, 1, "to_json($1)", "JSON", false, false, false, ""},
	"STRING":              {1, 1, "bq_json_string($1)", "STRING", false, false, false, ""},
	"INT64":               {1, 1, "bq_json_int64($1)", "INT64", false, false, false, ""},
	"FLOAT64":             {1, 1, "bq_json_float64($1)", "FLOAT64", false, false, false, ""},
	"BOOL":                {1, 1, "bq_json_bool($1)", "BOOL", false, false, false, ""},
	"LAX_STRING":          {1, 1, "bq_json_value($1, '$')", "STRING", false, false, false, ""},
	"LAX_INT64":           {1, 1, "TRY_CAST(bq_json_value($1, '$') AS BIGINT)", "INT64", false, false, false, ""},
	"LAX_FLOAT64":         {1, 1, "TRY_CAST(bq_json_value($1, '$') AS DOUBLE)", "FLOAT64", false, false, false, ""},
	"LAX_BOOL":            {1, 1, "TRY_CAST(bq_json_value($1, '$') AS BOOLEAN)", "BOOL", false, false, false, ""},
	// times
	"TIMESTAMP_SECONDS":   {1, 1, "make_timestamptz($1 * 1000000)", "TIMESTAMP", false, false, false, ""},
	"TIMESTAMP_MILLIS":    {1, 1, "make_timestamptz($1 * 1000)", "TIMESTAMP", false, false, false, ""},
	"TIMESTAMP_MICROS":    {1, 1, "make_timestamptz($1)", "TIMESTAMP", false, false, false, ""},
	"UNIX_SECONDS":        {1, 1, "(epoch_us($1) // 1000000)", "INT64", false, false, false, "TIMESTAMP"},
	"UNIX_MILLIS":         {1, 1, "(epoch_us($1) // 1000)", "INT64", false, false, false, "TIMESTAMP"},
	"UNIX_MICROS":         {1, 1, "epoch_us($1)", "INT64", false, false, false, "TIMESTAMP"},
	"UNIX_DATE":           {1, 1, "CAST($1 - DATE '1970-01-01' AS BIGINT)", "INT64", false, false, false, "DATE"},
	"DATE_FROM_UNIX_DATE": {1, 1, "(DATE '1970-01-01' + CAST($1 AS INTEGER))", "DATE", false, false, false, ""},
	"FORMAT_DATE":         {2, 2, "strftime($2, $1)", "STRING", false, false, false, ""},
	"PARSE_DATE":          {2, 2, "CAST(strptime($2, $1) AS DATE)", "DATE", false, false, false, ""},
	"LAST_DAY":            {1, 1, "last_day($1)", "DATE", false, false, false, ""},
	"SESSION_USER":        {0, 0, "'session-user'", "STRING", false, false, false, ""},
}

// call translates the call of a function, whose opening bracket is next.
func (t *Translator) call(path []Token) (Expr, error) {
	name := strings.ToUpper(path[len(path)-1].Text)
	safe := len(path) == 2 && path[0].Is("SAFE")
	if len(path) == 2 && !safe {
		return Expr{}, errorAt(path[0].Start, "Function not found: %s", t.Script[path[0].Start:path[1].End])
	}
	t.take()
	if special, ok := specialFunctions[name]; ok {
		e, err := special(t, path[len(path)-1], safe)
		return e, err
	}
	f, ok := functions[name]
	if !ok {
		return Expr{}, errorAt(path[0].Start, "Function not found: %s", t.Script[path[0].Start:path[len(path)-1].End])
	}
	if safe {
		return Expr{}, t.unknown("SAFE." + name)
	}
	args, modifiers, err := t.arguments(f, name)
	if err != nil {
		return Expr{}, err
	}
	return t.finishCall(f, name, path[0], args, modifiers)
}

// modifiers are what an aggregate function may have in its brackets.
type modifiers struct {
	distinct bool
	order    string
	nulls    string // " IGNORE NULLS"
	limit    string
	star     bool
}

func (t *Translator) arguments(f function, name string) (args []Expr, m modifiers, err error) {
	if f.aggregate && t.accept("DISTINCT") {
		m.distinct = true
	}
	if name == "COUNT" && t.is("* )") {
		t.at += 2
		m.star = true
		return nil, m, nil
	}
	for !t.is(")") && !t.is("ORDER BY") && !t.is("LIMIT") && !t.is("IGNORE NULLS") && !t.is("RESPECT NULLS") {
		e, err := t.expr()
		if err != nil {
			return nil, m, err
		}
		args = append(args, e)
		if !t.accept(",") {
			break
		}
	}
	if f.aggregate {
		if t.accept("IGNORE NULLS") {
			m.nulls = " IGNORE NULLS"
		} else {
			t.accept("RESPECT NULLS")
		}
		if t.is("ORDER BY") {
			if m.order, err = t.orderBy(); err != nil {
				return nil, m, err
			}
		}
		if t.accept("LIMIT") {
			n, err := t.expr()
			if err != nil {
				return nil, m, err
			}
			m.limit = n.SQL
		}
	}
	return args, m, t.expect(")")
}

func (t *Translator) finishCall(f function, name string, at Token, args []Expr, m modifiers) (Expr, error) {
	if len(args) < f.min && !m.star || f.max >= 0 && len(args) > f.max {
		var types []string
		for _, a := range args {
			types = append(types, a.Type)
		}
		return Expr{}, errorAt(at.Start, "No matching signature for function %s for argument types: %s", name, strings.Join(types, ", "))
	}
	if name == "COUNT" && !m.star && len(args) != 1 {
		return Expr{}, errorAt(at.Start, "No matching signature for function COUNT with no arguments")
	}
	for n := range args {
		if f.convert != "" {
			args[n] = coerce(args[n], f.convert)
		}
	}
	if f.path && len(args) == 2 {
		path, err := jsonPath(args[1])
		if err != nil {
			return Expr{}, errorAt(at.Start, "%v", err)
		}
		args[1].SQL = QuoteString(path)
	}
	sql, typ := expand(f, args, m)
	if name == "AVG" && (args[0].Type == "NUMERIC" || args[0].Type == "BIGNUMERIC") {
		f.sql, f.typ = "CAST(avg($1) AS "+duckTypes[args[0].Type]+")", "$1"
		sql, typ = expand(f, args, m)
	}
	if f.aggregate {
		over, err := t.over()
		if err != nil {
			return Expr{}, err
		}
		if f.window && over == "" {
			return Expr{}, errorAt(at.Start, "Window function %s requires an OVER clause", name)
		}
		if over != "" && f.window && m.nulls != "" {
			sql = strings.TrimSuffix(sql, ")") + m.nulls + ")"
		}
		sql += over
	}
	if m.limit != "" {
		sql = "(" + sql + ")[1:" + m.limit + "]"
	}
	return Expr{SQL: sql, Type: typ}, nil
}

// expand puts the arguments into the template of a function.
func expand(f function, args []Expr, m modifiers) (sql, typ string) {
	list := make([]string, len(args))
	for n, a := range args {
		list[n] = a.SQL
	}
	sql = f.sql
	if f.aggregate && !f.window {
		tail := m.order
		if m.star {
			list = []string{"*"}
		}
		if m.distinct && len(list) > 0 {
			list[0] = "DISTINCT " + list[0]
		}
		if tail != "" {
			sql = strings.TrimSuffix(sql, ")") + tail + ")"
		}
		if m.nulls != "" && strings.HasPrefix(sql, "list(") {
			sql += " FILTER (WHERE " + args[0].SQL + " IS NOT NULL)"
		}
	}
	typ = f.typ
	for n := 3; n >= 1; n-- {
		key := "$" + strconv.Itoa(n)
		for {
			at := strings.Index(sql, key)
			if at < 0 {
				break
			}
			end, fallback := at+len(key), ""
			if strings.HasPrefix(sql[end:], "|") {
				close := end + strings.IndexByte(sql[end:], ')')
				fallback, end = sql[end+1:close], close
			}
			value := fallback
			if n <= len(list) {
				value = list[n-1]
			}
			sql = sql[:at] + strings.ReplaceAll(value, "$", "\x01") + sql[end:]
		}
		if n <= len(args) {
			typ = strings.ReplaceAll(typ, key, args[n-1].Type)
		}
	}
	joined := func(sep string) string { return strings.ReplaceAll(strings.Join(list, sep), "$", "\x01") }
	sql = strings.Replace(sql, "$*", joined(", "), 1)
	sql = strings.Replace(sql, "$+||", joined(" || "), 1)
	return strings.ReplaceAll(sql, "\x01", "$"), typ
}

func (t *Translator) over() (string, error) {
	if !t.accept("OVER") {
		return "", nil
	}
	if !t.is("(") {
		return "", t.unknown("a named window")
	}
	t.take()
	sql := ""
	if t.accept("PARTITION BY") {
		list, err := t.exprs(func() (string, error) { e, err := t.expr(); return e.SQL, err })
		if err != nil {
			return "", err
		}
		sql = "PARTITION BY " + list
	}
	if t.is("ORDER BY") {
		order, err := t.orderBy()
		if err != nil {
			return "", err
		}
		sql += order
	}
	for !t.is(")") { // a frame, which DuckDB writes alike
		token := t.take()
		switch {
		case token.Kind == Int:
			sql += " " + token.Text
		case token.Kind == Ident && frameWords[strings.ToUpper(token.Text)]:
			sql += " " + strings.ToUpper(token.Text)
		default:
			t.at--
			return "", t.unexpected("Unexpected")
		}
	}
	t.take()
	return " OVER (" + sql + ")", nil
}

var frameWords = setOf("ROWS RANGE BETWEEN UNBOUNDED PRECEDING FOLLOWING CURRENT ROW AND")

// jsonPath converts a JSONPath literal for DuckDB.
func jsonPath(e Expr) (string, error) {
	text := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(e.SQL, "'"), "'"), "''", "'")
	if !e.Literal || e.Type != "STRING" {
		return "", errorAt(0, "JSONPath must be a string literal or query parameter")
	}
	invalid := errorAt(0, "Invalid JSONPath: %s", text)
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return "", errorAt(0, "JSONPath must start with '$'")
	}
	path := "$"
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, `."`):
			end := strings.IndexByte(rest[2:], '"')
			if end <= 0 {
				return "", invalid
			}
			path, rest = path+"."+quoteMember(rest[2:2+end]), rest[3+end:]
		case rest[0] == '.':
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			if end == 1 {
				return "", invalid
			}
			path, rest = path+"."+quoteMember(rest[1:end]), rest[end:]
		case strings.HasPrefix(rest, "['"):
			end := strings.Index(rest, "']")
			if end < 0 {
				return "", invalid
			}
			path, rest = path+"."+quoteMember(rest[2:end]), rest[end+2:]
		case rest[0] == '[':
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return "", invalid
			}
			if _, err := strconv.ParseUint(rest[1:end], 10, 31); err != nil {
				return "", invalid
			}
			path, rest = path+rest[:end+1], rest[end+1:]
		default:
			return "", invalid
		}
	}
	return path, nil
}

type specialFunction func(t *Translator, name Token, safe bool) (Expr, error)

// specialFunctions read their arguments themselves. It is filled in init, because
// they call the table's readers.
var specialFunctions map[string]specialFunction

func init() {
	specialFunctions = map[string]specialFunction{
		"PARSE_JSON": parseJSON,
		"TIMESTAMP":  timestampOf, "DATE": dateOf, "DATETIME": datetimeOf,
		"TIMESTAMP_TRUNC": truncate, "DATE_TRUNC": truncate, "DATETIME_TRUNC": truncate,
		"TIMESTAMP_ADD": shiftBy("+"), "DATE_ADD": shiftBy("+"), "DATETIME_ADD": shiftBy("+"),
		"TIMESTAMP_SUB": shiftBy("-"), "DATE_SUB": shiftBy("-"), "DATETIME_SUB": shiftBy("-"),
		"TIMESTAMP_DIFF": difference, "DATE_DIFF": difference, "DATETIME_DIFF": difference,
		"FORMAT_TIMESTAMP":    formatTimestamp,
		"GENERATE_DATE_ARRAY": generateDates,
	}
}

// listed reads arguments up to the closing bracket.
func (t *Translator) listed() ([]Expr, error) {
	args, _, err := t.arguments(function{}, "")
	return args, err
}

func parseJSON(t *Translator, name Token, safe bool) (Expr, error) {
	e, err := t.expr()
	if err != nil {
		return e, err
	}
	mode := "exact"
	if t.accept(",") {
		if err := t.expect("wide_number_mode"); err != nil {
			return e, err
		}
		if err := t.expect("=>"); err != nil {
			return e, err
		}
		if mode = t.take().Text; mode != "exact" && mode != "round" {
			return e, errorAt(name.Start, "Invalid `wide_number_mode` specified: %s", mode)
		}
	}
	macro := "bq_parse_json_" + mode
	if safe {
		macro = "bq_safe_parse_json_" + mode
	}
	return Expr{SQL: macro + "(" + e.SQL + ")", Type: "JSON"}, t.expect(")")
}

func zoneOf(args []Expr) string {
	if len(args) > 1 {
		return args[1].SQL
	}
	return "'UTC'"
}

func timestampOf(t *Translator, name Token, _ bool) (Expr, error) {
	args, err := t.listed()
	if err != nil || len(args) == 0 || len(args) > 2 {
		return Expr{}, orSignature(err, name)
	}
	sql := "CAST(" + args[0].SQL + " AS TIMESTAMPTZ)"
	if len(args) == 2 || args[0].Type == "DATE" || args[0].Type == "DATETIME" {
		sql = "(CAST(" + args[0].SQL + " AS TIMESTAMP) AT TIME ZONE " + zoneOf(args) + ")"
	}
	return Expr{SQL: sql, Type: "TIMESTAMP"}, nil
}

func orSignature(err error, name Token) error {
	if err != nil {
		return err
	}
	return errorAt(name.Start, "No matching signature for function %s", strings.ToUpper(name.Text))
}

func dateOf(t *Translator, name Token, _ bool) (Expr, error) {
	args, err := t.listed()
	if err != nil || len(args) == 0 || len(args) > 3 {
		return Expr{}, orSignature(err, name)
	}
	if len(args) == 3 {
		return Expr{SQL: "make_date(" + args[0].SQL + ", " + args[1].SQL + ", " + args[2].SQL + ")", Type: "DATE"}, nil
	}
	sql := args[0].SQL
	if args[0].Type == "TIMESTAMP" || len(args) == 2 {
		sql = "(" + sql + " AT TIME ZONE " + zoneOf(args) + ")"
	}
	return Expr{SQL: "CAST(" + sql + " AS DATE)", Type: "DATE"}, nil
}

func datetimeOf(t *Translator, name Token, _ bool) (Expr, error) {
	args, err := t.listed()
	if err != nil || len(args) == 0 || len(args) > 2 {
		return Expr{}, orSignature(err, name)
	}
	sql := args[0].SQL
	if args[0].Type == "TIMESTAMP" {
		sql = "(" + sql + " AT TIME ZONE " + zoneOf(args) + ")"
	}
	return Expr{SQL: "CAST(" + sql + " AS TIMESTAMP)", Type: "DATETIME"}, nil
}

// part reads the part of a date.
func (t *Translator) part() (string, error) {
	token := t.take()
	part := strings.ToUpper(token.Text)
	if _, ok := intervals[part]; !ok && part != "ISOWEEK" || t.is("(") {
		return "", t.unknown("the part " + part)
	}
	return part, nil
}

func truncate(t *Translator, name Token, _ bool) (Expr, error) {
	e, err := t.expr()
	if err == nil {
		err = t.expect(",")
	}
	if err != nil {
		return e, err
	}
	part, err := t.part()
	if err != nil {
		return e, err
	}
	zone := "'UTC'"
	if t.accept(",") {
		z, err := t.expr()
		if err != nil {
			return e, err
		}
		zone = z.SQL
	}
	typ := map[string]string{"TIMESTAMP_TRUNC": "TIMESTAMP", "DATE_TRUNC": "DATE", "DATETIME_TRUNC": "DATETIME"}[strings.ToUpper(name.Text)]
	if part == "WEEK" {
		return e, t.unknown("truncation to WEEK, which begins on Sunday: use ISOWEEK")
	}
	part = strings.TrimPrefix(part, "ISO")
	e = coerce(e, typ)
	if e.Type == "TIMESTAMP" {
		return Expr{SQL: "(date_trunc('" + part + "', " + e.SQL + " AT TIME ZONE " + zone + ") AT TIME ZONE " + zone + ")", Type: "TIMESTAMP"}, t.expect(")")
	}
	return Expr{SQL: "CAST(date_trunc('" + part + "', " + e.SQL + ") AS " + duckTypes[typ] + ")", Type: typ}, t.expect(")")
}

func shiftBy(op string) specialFunction {
	return func(t *Translator, name Token, _ bool) (Expr, error) {
		typ, _, _ := strings.Cut(strings.ToUpper(name.Text), "_")
		e, err := t.expr()
		if err == nil {
			err = t.expect(",")
		}
		if err == nil && !t.is("INTERVAL") {
			err = t.unexpected("Expected keyword INTERVAL but got")
		}
		if err != nil {
			return e, err
		}
		by, err := t.interval()
		if err == nil {
			err = t.expect(")")
		}
		e = coerce(e, typ)
		return Expr{SQL: "CAST(" + e.SQL + " " + op + " " + by.SQL + " AS " + duckTypes[typ] + ")", Type: typ}, err
	}
}

func difference(t *Translator, name Token, _ bool) (Expr, error) {
	typ, _, _ := strings.Cut(strings.ToUpper(name.Text), "_")
	a, err := t.expr()
	if err == nil {
		err = t.expect(",")
	}
	if err != nil {
		return a, err
	}
	b, err := t.expr()
	if err == nil {
		err = t.expect(",")
	}
	if err != nil {
		return a, err
	}
	part, err := t.part()
	if err == nil {
		err = t.expect(")")
	}
	a, b = coerce(a, typ), coerce(b, typ)
	if typ == "TIMESTAMP" { // whole units, not boundaries
		return Expr{SQL: "date_sub('" + part + "', " + b.SQL + ", " + a.SQL + ")", Type: "INT64"}, err
	}
	if part == "WEEK" {
		return a, t.unknown("differences in WEEK")
	}
	return Expr{SQL: "date_diff('" + strings.TrimPrefix(part, "ISO") + "', " + b.SQL + ", " + a.SQL + ")", Type: "INT64"}, err
}

func formatTimestamp(t *Translator, name Token, _ bool) (Expr, error) {
	args, err := t.listed()
	if err != nil || len(args) < 2 {
		return Expr{}, orSignature(err, name)
	}
	zone := "'UTC'"
	if len(args) > 2 {
		zone = args[2].SQL
	}
	return Expr{SQL: "strftime(" + args[1].SQL + " AT TIME ZONE " + zone + ", " + args[0].SQL + ")", Type: "STRING"}, nil
}

func generateDates(t *Translator, name Token, _ bool) (Expr, error) {
	args, err := t.listed()
	if err != nil || len(args) != 2 {
		return Expr{}, orSignature(err, name)
	}
	a, b := coerce(args[0], "DATE"), coerce(args[1], "DATE")
	return Expr{SQL: "CAST(generate_series(CAST(" + a.SQL + " AS TIMESTAMP), CAST(" + b.SQL + " AS TIMESTAMP), INTERVAL 1 DAY) AS DATE[])", Type: "ARRAY<DATE>"}, nil
}
