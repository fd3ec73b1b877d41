package googlesql

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Expression translates an expression outside of a query.
func (t *Translator) Expression(tokens []Token) (Expr, error) {
	t.use(tokens)
	e, err := t.expr()
	if err == nil && t.peek().Kind != End {
		err = t.unexpected("Expected end of input but got")
	}
	return e, err
}

func (t *Translator) expr() (Expr, error) { return t.or() }

func (t *Translator) or() (Expr, error) {
	return t.binary(t.and, map[string]string{"OR": "OR"}, "BOOL")
}

func (t *Translator) and() (Expr, error) {
	return t.binary(t.not, map[string]string{"AND": "AND"}, "BOOL")
}

// binary reads operands with operators between them.
func (t *Translator) binary(operand func() (Expr, error), operators map[string]string, typ string) (Expr, error) {
	left, err := operand()
	for err == nil {
		op := ""
		for word, sql := range operators {
			if t.is(word) {
				op = sql
			}
		}
		if op == "" {
			return left, nil
		}
		t.take()
		var right Expr
		right, err = operand()
		left = combine(op, left, right, typ)
	}
	return left, err
}

func combine(op string, left, right Expr, typ string) Expr {
	if typ == "" {
		typ = left.Type
		if left.Type != right.Type && (left.Type == "FLOAT64" || right.Type == "FLOAT64" || left.Type == "") {
			typ = right.Type
			if left.Type == "FLOAT64" {
				typ = "FLOAT64"
			}
		}
	}
	if op == "/" {
		return Expr{SQL: "bq_divide(" + left.SQL + ", " + right.SQL + ")", Type: "FLOAT64"}
	}
	return Expr{SQL: "(" + left.SQL + " " + op + " " + right.SQL + ")", Type: typ}
}

func (t *Translator) not() (Expr, error) {
	if t.accept("NOT") {
		e, err := t.not()
		return Expr{SQL: "(NOT " + e.SQL + ")", Type: "BOOL"}, err
	}
	return t.comparison()
}

func (t *Translator) comparison() (Expr, error) {
	left, err := t.bitOr()
	if err != nil {
		return left, err
	}
	for {
		switch token := t.peek(); {
		case token.Is("=") || token.Is("<>") || token.Is("!=") || token.Is("<") || token.Is("<=") || token.Is(">") || token.Is(">="):
			t.take()
			right, err := t.bitOr()
			if err != nil {
				return left, err
			}
			if left, right, err = t.comparable(left, right, token); err != nil {
				return left, err
			}
			left = Expr{SQL: "(" + left.SQL + " " + strings.Replace(token.Text, "!=", "<>", 1) + " " + right.SQL + ")", Type: "BOOL"}
		case token.Is("IS"):
			if left, err = t.isTest(left); err != nil {
				return left, err
			}
		case token.Is("IN") || token.Is("LIKE") || token.Is("BETWEEN") || token.Is("NOT"):
			if left, err = t.membership(left); err != nil {
				return left, err
			}
		default:
			return left, nil
		}
	}
}

// comparable converts literals, and refuses types that have no common one.
func (t *Translator) comparable(left, right Expr, op Token) (Expr, Expr, error) {
	left, right = coerce(left, right.Type), coerce(right, left.Type)
	l, r := left.Type, right.Type
	if l == "JSON" || r == "JSON" {
		return left, right, errorAt(op.Start, "%s is not defined for arguments of type JSON", map[bool]string{true: "Equality", false: "Less than"}[op.Is("=")])
	}
	if l == "" || r == "" || l == r || l == "NULL" || r == "NULL" || isNumber(l) && isNumber(r) || l[0] == 'A' || r[0] == 'A' || l[0] == 'S' && strings.HasPrefix(l, "STRUCT") {
		return left, right, nil
	}
	return left, right, errorAt(op.Start, "No matching signature for operator %s for argument types: %s, %s", op.Text, l, r)
}

func isNumber(typ string) bool {
	return typ == "INT64" || typ == "FLOAT64" || typ == "NUMERIC" || typ == "BIGNUMERIC"
}

// coerce converts a literal to the type of the other operand.
func coerce(e Expr, typ string) Expr {
	if !e.Literal || e.Type != "STRING" {
		return e
	}
	switch typ {
	case "DATE", "TIMESTAMP", "DATETIME", "TIME":
		return Expr{SQL: "CAST(" + e.SQL + " AS " + duckTypes[typ] + ")", Type: typ, Literal: true}
	}
	return e
}

func (t *Translator) isTest(left Expr) (Expr, error) {
	t.take()
	not := ""
	if t.accept("NOT") {
		not = "NOT "
	}
	if t.accept("DISTINCT FROM") {
		right, err := t.bitOr()
		return Expr{SQL: "(" + left.SQL + " IS " + not + "DISTINCT FROM " + right.SQL + ")", Type: "BOOL"}, err
	}
	for _, word := range []string{"NULL", "TRUE", "FALSE"} {
		if t.accept(word) {
			return Expr{SQL: "(" + left.SQL + " IS " + not + word + ")", Type: "BOOL"}, nil
		}
	}
	return left, t.unexpected("Unexpected")
}

func (t *Translator) membership(left Expr) (Expr, error) {
	not := ""
	if t.accept("NOT") {
		not = "NOT "
	}
	boolean := func(sql string, err error) (Expr, error) {
		return Expr{SQL: "(" + left.SQL + " " + not + sql + ")", Type: "BOOL"}, err
	}
	op := t.peek()
	switch {
	case t.accept("LIKE"):
		if t.is("ANY") || t.is("ALL") || t.is("SOME") {
			return left, t.unknown("LIKE " + t.peek().Text)
		}
		right, err := t.bitOr()
		return boolean("LIKE "+right.SQL+` ESCAPE '\'`, err)
	case t.accept("BETWEEN"):
		low, err := t.bitOr()
		if err == nil {
			err = t.expect("AND")
		}
		if err != nil {
			return left, err
		}
		high, err := t.bitOr()
		if err == nil {
			_, low, err = t.comparable(left, low, op)
		}
		if err == nil {
			_, high, err = t.comparable(left, high, op)
		}
		return boolean("BETWEEN "+low.SQL+" AND "+high.SQL, err)
	case t.accept("IN"):
		if t.accept("UNNEST (") {
			e, err := t.expr()
			if err == nil {
				err = t.expect(")")
			}
			return Expr{SQL: "(" + not + "coalesce(list_contains(" + e.SQL + ", " + left.SQL + "), false))", Type: "BOOL"}, err
		}
		if err := t.expect("("); err != nil {
			return left, err
		}
		if t.is("SELECT") || t.is("WITH") {
			sql, err := t.query()
			if err == nil {
				err = t.expect(")")
			}
			return boolean("IN ("+sql+")", err)
		}
		list, err := t.exprs(func() (string, error) {
			e, err := t.expr()
			if err == nil {
				_, e, err = t.comparable(left, e, op)
			}
			return e.SQL, err
		})
		if err == nil {
			err = t.expect(")")
		}
		return boolean("IN ("+list+")", err)
	}
	return left, t.unexpected("Unexpected")
}

func (t *Translator) bitOr() (Expr, error) {
	return t.binary(t.bitAnd, map[string]string{"|": "|"}, "")
}
func (t *Translator) bitAnd() (Expr, error) {
	return t.binary(t.shift, map[string]string{"&": "&"}, "")
}
func (t *Translator) shift() (Expr, error) {
	return t.binary(t.sum, map[string]string{"<<": "<<", ">>": ">>"}, "")
}
func (t *Translator) sum() (Expr, error) {
	return t.binary(t.product, map[string]string{"+": "+", "-": "-"}, "")
}
func (t *Translator) product() (Expr, error) {
	return t.binary(t.concat, map[string]string{"*": "*", "/": "/"}, "")
}
func (t *Translator) concat() (Expr, error) {
	return t.binary(t.unary, map[string]string{"||": "||"}, "")
}

func (t *Translator) unary() (Expr, error) {
	if t.accept("-") {
		e, err := t.unary()
		return Expr{SQL: "(-" + e.SQL + ")", Type: e.Type, Literal: e.Literal}, err
	}
	if t.accept("+") {
		return t.unary()
	}
	return t.postfix()
}

// postfix reads an expression with its fields and subscripts.
func (t *Translator) postfix() (Expr, error) {
	e, err := t.primary()
	for err == nil {
		switch {
		case t.is("."):
			t.take()
			field := t.take()
			if field.Kind != Ident && field.Kind != Quoted {
				t.at--
				return e, t.unexpected("Unexpected")
			}
			e, err = t.field(e, field)
		case t.accept("["):
			e, err = t.subscript(e)
		default:
			return e, nil
		}
	}
	return e, err
}

func (t *Translator) field(e Expr, name Token) (Expr, error) {
	switch {
	case e.Type == "JSON":
		return Expr{SQL: "json_extract(" + e.SQL + ", " + QuoteString("$."+quoteMember(name.Text)) + ")", Type: "JSON", name: name.Text}, nil
	case e.Type == "" || strings.HasPrefix(e.Type, "STRUCT"):
		return Expr{SQL: "(" + e.SQL + ")." + QuoteName(name.Text), Type: structField(e.Type, name.Text), name: name.Text}, nil
	}
	return e, errorAt(name.Start, "Cannot access field %s on a value with type %s", name.Text, e.Type)
}

// structField returns the type of a field of STRUCT<a INT64, b STRING>.
func structField(typ, name string) string {
	inner, ok := strings.CutPrefix(strings.TrimSuffix(typ, ">"), "STRUCT<")
	if !ok {
		return ""
	}
	for _, part := range SplitTypes(inner) {
		if n, t, ok := strings.Cut(part, " "); ok && strings.EqualFold(n, name) {
			return t
		}
	}
	return ""
}

// SplitTypes splits a list at the commas that are not within brackets.
func SplitTypes(list string) (parts []string) {
	depth, start := 0, 0
	for n, r := range list {
		switch r {
		case '<', '(':
			depth++
		case '>', ')':
			depth--
		case ',':
			if depth == 0 {
				parts, start = append(parts, strings.TrimSpace(list[start:n])), n+1
			}
		}
	}
	return append(parts, strings.TrimSpace(list[start:]))
}

func quoteMember(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

func (t *Translator) subscript(e Expr) (Expr, error) {
	if e.Type == "JSON" {
		at, err := t.expr()
		if err == nil {
			err = t.expect("]")
		}
		if at.Type == "STRING" {
			return Expr{SQL: "bq_json_member(" + e.SQL + ", " + at.SQL + ")", Type: "JSON"}, err
		}
		return Expr{SQL: "bq_json_element(" + e.SQL + ", " + at.SQL + ")", Type: "JSON"}, err
	}
	element := strings.TrimSuffix(strings.TrimPrefix(e.Type, "ARRAY<"), ">")
	if !strings.HasPrefix(e.Type, "ARRAY<") {
		element = ""
	}
	macro := "bq_offset"
	for word, name := range map[string]string{"OFFSET": "bq_offset", "ORDINAL": "bq_ordinal", "SAFE_OFFSET": "bq_safe_offset", "SAFE_ORDINAL": "bq_safe_ordinal"} {
		if t.is(word + " (") {
			t.at += 2
			at, err := t.expr()
			if err == nil {
				err = t.expect(")")
			}
			if err == nil {
				err = t.expect("]")
			}
			return Expr{SQL: name + "(" + e.SQL + ", " + at.SQL + ")", Type: element}, err
		}
	}
	at, err := t.expr()
	if err == nil {
		err = t.expect("]")
	}
	return Expr{SQL: macro + "(" + e.SQL + ", " + at.SQL + ")", Type: element}, err
}

func (t *Translator) primary() (Expr, error) {
	token := t.peek()
	switch token.Kind {
	case String:
		return t.stringLiteral()
	case Bytes:
		t.take()
		return Expr{SQL: "from_hex('" + hex.EncodeToString([]byte(token.Text)) + "')", Type: "BYTES", Literal: true}, nil
	case Int:
		t.take()
		n, err := strconv.ParseUint(token.Text, 0, 64)
		if err != nil || n > 1<<63 {
			return Expr{}, errorAt(token.Start, "Invalid integer literal: %s", token.Text)
		}
		return Expr{SQL: fmt.Sprintf("CAST(%d AS %s)", n, map[bool]string{true: "HUGEINT", false: "BIGINT"}[n == 1<<63]), Type: "INT64", Literal: true}, nil
	case Float:
		t.take()
		return Expr{SQL: "CAST('" + token.Text + "' AS DOUBLE)", Type: "FLOAT64", Literal: true}, nil
	case Param:
		t.take()
		v, ok := t.Parameters[strings.ToLower(token.Text)]
		if !ok {
			return Expr{}, errorAt(token.Start, "Query parameter '%s' not found", strings.ToLower(token.Text))
		}
		return Expr{SQL: v.SQL, Type: v.Type, Literal: v.Type == "STRING"}, nil
	case SysVar:
		t.take()
		v, ok := t.System[token.Text]
		if !ok {
			return Expr{}, errorAt(token.Start, "Unrecognized system variable: @@%s", token.Text)
		}
		return Expr{SQL: v.SQL, Type: v.Type}, nil
	case Symbol:
		return t.bracketed(token)
	case Quoted:
		return t.pathOrCall()
	case Ident:
		if e, known, err := t.special(strings.ToUpper(token.Text)); known {
			return e, err
		}
		if keywords[strings.ToUpper(token.Text)] && !t.peekAt(1).Is("(") {
			return Expr{}, t.unexpected("Unexpected")
		}
		return t.pathOrCall()
	}
	return Expr{}, t.unexpected("Unexpected")
}

func (t *Translator) stringLiteral() (Expr, error) {
	token := t.take()
	return Expr{SQL: QuoteString(token.Text), Type: "STRING", Literal: true}, nil
}

func (t *Translator) bracketed(token Token) (Expr, error) {
	switch token.Text {
	case "?":
		t.take()
		t.question++
		v, ok := t.Parameters[strconv.Itoa(t.question)]
		if !ok {
			return Expr{}, errorAt(token.Start, "Query parameter number %d is not defined", t.question)
		}
		return Expr{SQL: v.SQL, Type: v.Type, Literal: v.Type == "STRING"}, nil
	case "[":
		return t.array()
	case "(":
		t.take()
		if t.is("SELECT") || t.is("WITH") {
			sql, err := t.query()
			if err == nil {
				err = t.expect(")")
			}
			e := Expr{SQL: "(" + sql + ")"}
			if err == nil {
				if columns, failed := t.describe(sql); failed == nil && len(columns) == 1 {
					e.Type = columns[0].Type // unknown when the query is correlated
				}
			}
			return e, err
		}
		e, err := t.expr()
		if err == nil && t.is(",") {
			return Expr{}, t.unknown("a tuple")
		}
		if err == nil {
			err = t.expect(")")
		}
		return Expr{SQL: "(" + e.SQL + ")", Type: e.Type, Literal: e.Literal}, err
	}
	return Expr{}, t.unexpected("Unexpected")
}

func (t *Translator) array() (Expr, error) {
	if err := t.expect("["); err != nil {
		return Expr{}, err
	}
	if t.accept("]") {
		return Expr{SQL: "[]"}, nil
	}
	element := ""
	list, err := t.exprs(func() (string, error) {
		e, err := t.expr()
		if element == "" || element == "NULL" {
			element = e.Type
		}
		return e.SQL, err
	})
	if err == nil {
		err = t.expect("]")
	}
	e := Expr{SQL: "[" + list + "]"}
	if element != "" {
		e.Type = "ARRAY<" + element + ">"
	}
	return e, err
}

// special reads expressions that begin with a keyword of their own.
func (t *Translator) special(word string) (e Expr, known bool, err error) {
	next := t.peekAt(1)
	switch {
	case word == "NULL":
		t.take()
		return Expr{SQL: "NULL", Type: "NULL", Literal: true}, true, nil
	case word == "TRUE" || word == "FALSE":
		t.take()
		return Expr{SQL: strings.ToLower(word), Type: "BOOL", Literal: true}, true, nil
	case word == "CASE":
		e, err = t.caseOf()
	case word == "CAST" || word == "SAFE_CAST":
		e, err = t.cast(word == "SAFE_CAST")
	case word == "EXTRACT" && next.Is("("):
		e, err = t.extract()
	case word == "EXISTS":
		t.take()
		if err = t.expect("("); err != nil {
			return e, true, err
		}
		var sql string
		if sql, err = t.query(); err == nil {
			err = t.expect(")")
		}
		e = Expr{SQL: "EXISTS (" + sql + ")", Type: "BOOL"}
	case word == "ARRAY" && (next.Is("(") || next.Is("<")):
		e, err = t.arrayOf()
	case word == "STRUCT" && (next.Is("(") || next.Is("<")):
		e, err = t.structOf()
	case word == "INTERVAL":
		e, err = t.interval()
	case (word == "DATE" || word == "TIMESTAMP" || word == "DATETIME" || word == "TIME" || word == "NUMERIC" || word == "BIGNUMERIC" || word == "JSON") && next.Kind == String:
		e, err = t.typedLiteral(word)
	case strings.HasPrefix(word, "CURRENT_") && currentTypes[word] != "":
		t.take()
		if t.accept("(") {
			if t.peek().Kind == String {
				return e, true, t.unknown(word + " with a time zone")
			}
			err = t.expect(")")
		}
		e = Expr{SQL: t.System["current_timestamp"].SQL, Type: currentTypes[word]}
		if word != "CURRENT_TIMESTAMP" {
			e.SQL = "CAST(" + e.SQL + " AT TIME ZONE 'UTC' AS " + duckTypes[e.Type] + ")"
		}
	default:
		return e, false, nil
	}
	return e, true, err
}

var currentTypes = map[string]string{"CURRENT_TIMESTAMP": "TIMESTAMP", "CURRENT_DATE": "DATE", "CURRENT_DATETIME": "DATETIME", "CURRENT_TIME": "TIME"}

func (t *Translator) typedLiteral(typ string) (Expr, error) {
	t.take()
	text := t.take()
	if typ == "JSON" {
		canonical, err := CanonicalJSON([]byte(text.Text), false)
		if err != nil {
			return Expr{}, errorAt(text.Start, "Invalid JSON literal: %v", err)
		}
		return Expr{SQL: "CAST(" + QuoteString(string(canonical)) + " AS JSON)", Type: "JSON"}, nil
	}
	return Expr{SQL: "CAST(" + QuoteString(text.Text) + " AS " + duckTypes[typ] + ")", Type: typ, Literal: true}, nil
}

func (t *Translator) caseOf() (Expr, error) {
	t.take()
	sql := "CASE"
	if !t.is("WHEN") {
		e, err := t.expr()
		if err != nil {
			return e, err
		}
		sql += " " + e.SQL
	}
	typ := ""
	part := func(word string) error {
		e, err := t.expr()
		sql += " " + word + " " + e.SQL
		if word != "WHEN" && (typ == "" || typ == "NULL") {
			typ = e.Type
		}
		return err
	}
	for t.accept("WHEN") {
		if err := part("WHEN"); err != nil {
			return Expr{}, err
		}
		if err := t.expect("THEN"); err != nil {
			return Expr{}, err
		}
		if err := part("THEN"); err != nil {
			return Expr{}, err
		}
	}
	if t.accept("ELSE") {
		if err := part("ELSE"); err != nil {
			return Expr{}, err
		}
	}
	return Expr{SQL: sql + " END", Type: typ}, t.expect("END")
}

func (t *Translator) cast(safe bool) (Expr, error) {
	t.take()
	if err := t.expect("("); err != nil {
		return Expr{}, err
	}
	e, err := t.expr()
	if err == nil {
		err = t.expect("AS")
	}
	if err != nil {
		return e, err
	}
	at := t.peek().Start
	typ, err := t.typeName()
	if err == nil && t.is("FORMAT") {
		err = t.unknown("CAST with FORMAT")
	}
	if err == nil {
		err = t.expect(")")
	}
	if err != nil {
		return e, err
	}
	if e.Type == "JSON" || typ == "JSON" && e.Type != "NULL" {
		return e, errorAt(at, "Invalid cast from %s to %s", e.Type, typ)
	}
	word := "CAST"
	if safe {
		word = "TRY_CAST"
	}
	if typ == "STRING" && e.Type == "FLOAT64" {
		return Expr{SQL: "bq_float_text(" + e.SQL + ")", Type: typ}, nil
	}
	return Expr{SQL: word + "(" + e.SQL + " AS " + DuckType(typ) + ")", Type: typ}, nil
}

// typeName reads a type.
func (t *Translator) typeName() (string, error) {
	token := t.take()
	name := strings.ToUpper(token.Text)
	if synonym, ok := typeSynonyms[name]; ok {
		name = synonym
	}
	if duckTypes[name] != "" && token.Kind == Ident {
		if t.accept("(") { // a maximum length or precision
			for !t.accept(")") {
				if t.take().Kind == End {
					return "", t.unexpected("Unexpected")
				}
			}
		}
		return name, nil
	}
	if name == "ARRAY" && t.accept("<") {
		element, err := t.typeName()
		if err == nil {
			err = t.closeType()
		}
		return "ARRAY<" + element + ">", err
	}
	if name == "STRUCT" && t.accept("<") {
		fields, err := t.exprs(func() (string, error) {
			name, err := t.name()
			if err != nil {
				return "", err
			}
			typ, err := t.typeName()
			return name.Text + " " + typ, err
		})
		if err == nil {
			err = t.closeType()
		}
		return "STRUCT<" + fields + ">", err
	}
	return "", errorAt(token.Start, "Type not found: %s", token.Text)
}

// closeType takes a closing bracket, two of which are one token.
func (t *Translator) closeType() error {
	if t.is(">>") {
		t.tokens = slices.Clone(t.tokens)
		t.tokens[t.at].Text = ">"
		return nil
	}
	return t.expect(">")
}

var typeSynonyms = map[string]string{
	"INTEGER": "INT64", "INT": "INT64", "BIGINT": "INT64", "SMALLINT": "INT64", "TINYINT": "INT64", "BYTEINT": "INT64",
	"BOOLEAN": "BOOL", "DECIMAL": "NUMERIC", "BIGDECIMAL": "BIGNUMERIC", "FLOAT": "FLOAT64",
}

var duckTypes = map[string]string{
	"STRING": "VARCHAR", "BYTES": "BLOB", "INT64": "BIGINT", "FLOAT64": "DOUBLE", "NUMERIC": "DECIMAL(38,9)", "BIGNUMERIC": "DECIMAL(38,18)",
	"BOOL": "BOOLEAN", "DATE": "DATE", "DATETIME": "TIMESTAMP", "TIME": "TIME", "TIMESTAMP": "TIMESTAMPTZ", "JSON": "JSON",
}

// DuckType returns DuckDB's name of a type.
func DuckType(typ string) string {
	if element, ok := strings.CutPrefix(typ, "ARRAY<"); ok {
		return DuckType(strings.TrimSuffix(element, ">")) + "[]"
	}
	if fields, ok := strings.CutPrefix(typ, "STRUCT<"); ok {
		var list []string
		for _, field := range SplitTypes(strings.TrimSuffix(fields, ">")) {
			name, typ, _ := strings.Cut(field, " ")
			list = append(list, QuoteName(name)+" "+DuckType(typ))
		}
		return "STRUCT(" + strings.Join(list, ", ") + ")"
	}
	return duckTypes[typ]
}

func (t *Translator) extract() (Expr, error) {
	t.at += 2
	part := strings.ToUpper(t.take().Text)
	if t.accept("(") { // WEEK(MONDAY)
		return Expr{}, t.unknown("EXTRACT(" + part + "(…))")
	}
	if err := t.expect("FROM"); err != nil {
		return Expr{}, err
	}
	e, err := t.expr()
	zone := "'UTC'"
	if err == nil && t.accept("AT TIME ZONE") {
		var z Expr
		z, err = t.expr()
		zone = z.SQL
	}
	if err == nil {
		err = t.expect(")")
	}
	if e.Type == "TIMESTAMP" {
		e.SQL = "(" + e.SQL + " AT TIME ZONE " + zone + ")"
	}
	switch part {
	case "DATE":
		return Expr{SQL: "CAST(" + e.SQL + " AS DATE)", Type: "DATE"}, err
	case "DAYOFWEEK":
		return Expr{SQL: "(date_part('dow', " + e.SQL + ") + 1)", Type: "INT64"}, err
	case "YEAR", "QUARTER", "MONTH", "DAY", "HOUR", "MINUTE", "DAYOFYEAR", "ISOYEAR":
		return Expr{SQL: "date_part('" + part + "', " + e.SQL + ")", Type: "INT64"}, err
	case "SECOND":
		return Expr{SQL: "CAST(floor(date_part('second', " + e.SQL + ")) AS BIGINT)", Type: "INT64"}, err
	case "ISOWEEK":
		return Expr{SQL: "date_part('week', " + e.SQL + ")", Type: "INT64"}, err
	}
	return e, t.unknown("EXTRACT(" + part + ")")
}

func (t *Translator) arrayOf() (Expr, error) {
	t.take()
	if t.accept("<") {
		element, err := t.typeName()
		if err == nil {
			err = t.closeType()
		}
		if err != nil {
			return Expr{}, err
		}
		e, err := t.array()
		return Expr{SQL: "CAST(" + e.SQL + " AS " + DuckType(element) + "[])", Type: "ARRAY<" + element + ">"}, err
	}
	if err := t.expect("("); err != nil {
		return Expr{}, err
	}
	sql, err := t.query()
	if err == nil {
		err = t.expect(")")
	}
	e := Expr{SQL: "ARRAY(" + sql + ")"}
	if columns, failed := t.describe(sql); err == nil && failed == nil && len(columns) == 1 {
		e.Type = "ARRAY<" + columns[0].Type + ">"
	}
	return e, err
}

func (t *Translator) structOf() (Expr, error) {
	t.take()
	var types []string
	if t.accept("<") {
		if _, err := t.exprs(func() (string, error) {
			name, err := t.name()
			if err != nil {
				return "", err
			}
			typ, err := t.typeName()
			types = append(types, name.Text+" "+typ)
			return "", err
		}); err != nil {
			return Expr{}, err
		}
		if err := t.closeType(); err != nil {
			return Expr{}, err
		}
	}
	if err := t.expect("("); err != nil {
		return Expr{}, err
	}
	n := 0
	var fields []string
	list, err := t.exprs(func() (string, error) {
		e, err := t.expr()
		name := e.name
		if t.accept("AS") {
			var token Token
			if token, err = t.name(); err != nil {
				return "", err
			}
			name = token.Text
		}
		if n < len(types) {
			var typ string
			name, typ, _ = strings.Cut(types[n], " ")
			e.SQL, e.Type = "CAST("+e.SQL+" AS "+DuckType(typ)+")", typ
		}
		if n++; name == "" {
			name = fmt.Sprintf("_field_%d", n)
		}
		fields = append(fields, name+" "+e.Type)
		return QuoteName(name) + " := " + e.SQL, err
	})
	if err == nil {
		err = t.expect(")")
	}
	return Expr{SQL: "struct_pack(" + list + ")", Type: "STRUCT<" + strings.Join(fields, ", ") + ">"}, err
}

func (t *Translator) interval() (Expr, error) {
	t.take()
	n, err := t.unary()
	if err != nil {
		return n, err
	}
	part := strings.ToUpper(t.take().Text)
	sql, ok := intervals[part]
	if !ok {
		return n, t.unknown("INTERVAL " + part)
	}
	return Expr{SQL: sql + "(CAST(" + n.SQL + " AS BIGINT))", Type: "INTERVAL"}, nil
}

var intervals = map[string]string{
	"MICROSECOND": "to_microseconds", "MILLISECOND": "to_milliseconds", "SECOND": "to_seconds", "MINUTE": "to_minutes", "HOUR": "to_hours",
	"DAY": "to_days", "WEEK": "to_weeks", "MONTH": "to_months", "QUARTER": "to_quarters", "YEAR": "to_years",
}

// pathOrCall reads a name, or the call of a function.
func (t *Translator) pathOrCall() (Expr, error) {
	first := t.take()
	if t.is("(") {
		return t.call([]Token{first})
	}
	if t.is(".") && t.peekAt(2).Is("(") && (t.peekAt(1).Kind == Ident) {
		// SAFE.f, NET.f and functions of a dataset
		t.take()
		return t.call([]Token{first, t.take()})
	}
	return t.resolve(first)
}

// resolve finds the column, alias or variable that a name begins with.
func (t *Translator) resolve(first Token) (Expr, error) {
	key := strings.ToLower(first.Text)
	for _, s := range slices.Backward(t.scopes) {
		if typ, ok := s.aliases[key]; ok && s.late {
			return Expr{SQL: QuoteName(first.Text), Type: typ, name: first.Text}, nil
		}
		for _, i := range s.items {
			if strings.EqualFold(i.alias, first.Text) {
				return t.ofItem(i, first)
			}
		}
		var found []Expr
		for _, i := range s.items {
			if c, ok := i.table.column(first.Text); ok {
				found = append(found, columnOf(i, c))
			}
		}
		if len(found) > 1 {
			return Expr{}, errorAt(first.Start, "Column name %s is ambiguous", first.Text)
		}
		if len(found) == 1 {
			found[0].name = first.Text
			return found[0], nil
		}
	}
	if v, ok := t.Variables[key]; ok {
		return Expr{SQL: v.SQL, Type: v.Type, name: first.Text}, nil
	}
	return Expr{}, t.unrecognized(first)
}

func (t *Translator) unrecognized(name Token) error {
	return errorAt(name.Start, "Unrecognized name: %s", name.Text)
}

// ofItem reads the column after the alias of a table.
func (t *Translator) ofItem(i item, alias Token) (Expr, error) {
	if i.isElem {
		return Expr{SQL: QuoteName(i.alias), Type: i.value, name: i.alias}, nil
	}
	if c, ok := i.table.column(alias.Text); ok && !t.is(".") {
		e := columnOf(i, c)
		e.name = alias.Text
		return e, nil
	}
	if !t.accept(".") {
		return Expr{SQL: QuoteName(i.alias), name: i.alias}, nil // the whole row
	}
	name := t.take()
	c, ok := i.table.column(name.Text)
	if !ok {
		return Expr{}, errorAt(name.Start, "Name %s not found inside %s", name.Text, alias.Text)
	}
	e := columnOf(i, c)
	e.name = name.Text
	return e, nil
}

func columnOf(i item, c Column) Expr {
	prefix := QuoteName(i.alias) + "."
	if i.isElem {
		prefix = ""
	}
	if i.table.IngestionTime && c.Name == "_PARTITIONDATE" {
		return Expr{SQL: "CAST(" + prefix + `"_PARTITIONTIME" AT TIME ZONE 'UTC' AS DATE)`, Type: "DATE"}
	}
	return Expr{SQL: prefix + QuoteName(c.Name), Type: c.Type}
}
