package snowsql

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

func (t *Translator) boolean(x Expr, s *scope) (value, error) {
	v, err := t.expr(x, s)
	if err != nil || v.t.Name == "BOOLEAN" || v.t.Name == "NULL" {
		return v, err
	}
	if v.t.Name == "VARIANT" || v.t.Name == "NUMBER" {
		return t.convert(v, typeNames["BOOLEAN"], false)
	}
	return v, compileError(1044, "42P13", "Invalid data type [%s] for predicate %s", v.t, describe(x))
}

func (t *Translator) expr(x Expr, s *scope) (value, error) {
	switch x := x.(type) {
	case *Literal:
		return literal(x)
	case *Bind:
		text, typ, err := t.Catalog.Bind(x.N)
		if err != nil {
			return value{}, err
		}
		return bound(text, typ), nil
	case *Column:
		return t.column(x, s)
	case *Path:
		return t.path(x, s)
	case *Cast:
		v, err := t.expr(x.X, s)
		if err != nil {
			return v, err
		}
		return t.convert(v, x.To, x.Try)
	case *Call:
		return t.call(x, s)
	case *Unary:
		return t.unary(x, s)
	case *Binary:
		return t.binary(x, s)
	case *IsNull:
		v, err := t.expr(x.X, s)
		if x.Not {
			return value{"(" + v.sql + " IS NOT NULL)", typeNames["BOOLEAN"]}, err
		}
		return value{"(" + v.sql + " IS NULL)", typeNames["BOOLEAN"]}, err
	case *In:
		return t.in(x, s)
	case *Between:
		b := Expr(&Binary{x.Place, "AND", &Binary{x.Place, ">=", x.X, x.Low}, &Binary{x.Place, "<=", x.X, x.High}})
		if x.Not {
			b = &Unary{x.Place, "NOT", b}
		}
		return t.expr(b, s)
	case *Case:
		return t.caseWhen(x, s)
	case *Exists:
		r, err := t.query(x.Query, s)
		return value{"EXISTS " + r.SQL, typeNames["BOOLEAN"]}, err
	case *Scalar:
		r, err := t.query(x.Query, s)
		if err != nil {
			return value{}, err
		}
		if len(r.Columns) != 1 {
			return value{}, compileError(1003, "42601", "Subquery returns %d columns instead of 1", len(r.Columns))
		}
		return value{r.SQL, r.Columns[0].Type}, nil
	}
	return value{}, Unsupported("an expression")
}

func literal(l *Literal) (value, error) {
	switch l.Kind {
	case "string":
		return value{QuoteString(l.Text), Type{Name: "VARCHAR", Length: max(1, len([]rune(l.Text)))}}, nil
	case "boolean":
		return value{l.Text, typeNames["BOOLEAN"]}, nil
	case "null":
		return value{"NULL", Type{Name: "NULL"}}, nil
	}
	if strings.ContainsAny(l.Text, "eE") {
		return value{"CAST(" + l.Text + " AS DOUBLE)", typeNames["FLOAT"]}, nil
	}
	whole, fraction, _ := strings.Cut(l.Text, ".")
	if strings.Contains(fraction, ".") {
		return value{}, unexpected(token{text: l.Text, line: l.Line, column: l.Column})
	}
	n := numberType(max(1, len(whole)+len(fraction)), len(fraction))
	if n.Precision > 38 {
		return value{"CAST(" + l.Text + " AS DOUBLE)", typeNames["FLOAT"]}, nil
	}
	return value{"CAST('" + l.Text + "' AS " + n.Duck() + ")", n}, nil
}

func bound(text *string, t Type) value {
	if text == nil {
		return value{"CAST(NULL AS " + t.Duck() + ")", t}
	}
	return value{"CAST(" + QuoteString(*text) + " AS " + t.Duck() + ")", t}
}

func (t *Translator) column(c *Column, s *scope) (value, error) {
	name, qualifier := c.Parts[len(c.Parts)-1], Name(c.Parts[:len(c.Parts)-1])
	for at := s; at != nil; at = at.outer {
		var found []value
		for _, r := range at.relations {
			if len(qualifier) > 0 && !qualifies(qualifier, r.name) {
				continue
			}
			for n, column := range r.columns {
				if column.Name == name && !(len(qualifier) == 0 && r.hidden[name]) {
					found = append(found, value{columnSQL(r.alias, n), column.Type})
				}
			}
		}
		if len(found) > 1 {
			return value{}, compileError(1003, "42601", "ambiguous column name '%s'", name)
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if x, ok := at.aliases[name]; ok && len(qualifier) == 0 {
			without := *at
			without.aliases = nil
			return t.expr(x, &without)
		}
	}
	parts := make([]string, len(c.Parts))
	for n, p := range c.Parts {
		parts[n] = QuoteIdentifier(p)
	}
	return value{}, InvalidIdentifier(c.Line, c.Column, strings.Join(parts, "."))
}

// QuoteIdentifier writes a stored name as Snowflake's messages do: with quotes only
// where they are needed.
func QuoteIdentifier(name string) string {
	if name != strings.ToUpper(name) || wordLength(name) != len(name) || name == "" {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return name
}

func (t *Translator) path(x *Path, s *scope) (value, error) {
	v, err := t.expr(x.X, s)
	if err != nil {
		return v, err
	}
	if !v.t.Semi() {
		return v, compileError(1044, "42P13", "Invalid argument types for function 'GET': (%s, VARCHAR)", v.t)
	}
	keys, err := json.Marshal(x.Keys)
	if err != nil {
		return v, err
	}
	return value{"sf_get(" + v.sql + ", " + QuoteString(string(keys)) + ")", typeNames["VARIANT"]}, nil
}

func (t *Translator) unary(x *Unary, s *scope) (value, error) {
	if x.Op == "NOT" {
		v, err := t.boolean(x.X, s)
		return value{"(NOT " + v.sql + ")", typeNames["BOOLEAN"]}, err
	}
	v, err := t.expr(x.X, s)
	if err != nil {
		return v, err
	}
	if v, err = t.numeric(v); err != nil {
		return v, err
	}
	return value{"(" + x.Op + v.sql + ")", v.t}, nil
}

// numeric makes a number of a value, as operators do.
func (t *Translator) numeric(v value) (value, error) {
	switch v.t.Name {
	case "NUMBER", "FLOAT":
		return v, nil
	case "NULL":
		return value{"CAST(NULL AS HUGEINT)", numberType(38, 0)}, nil
	case "VARIANT":
		return t.convert(v, typeNames["FLOAT"], false)
	case "VARCHAR":
		return t.convert(v, numberType(38, 5), false)
	}
	return v, compileError(1044, "42P13", "Invalid argument types for function: (%s)", v.t)
}

func (t *Translator) binary(x *Binary, s *scope) (value, error) {
	if x.Op == "AND" || x.Op == "OR" {
		l, err := t.boolean(x.L, s)
		if err != nil {
			return l, err
		}
		r, err := t.boolean(x.R, s)
		return value{"(" + l.sql + " " + x.Op + " " + r.sql + ")", typeNames["BOOLEAN"]}, err
	}
	l, err := t.expr(x.L, s)
	if err != nil {
		return l, err
	}
	r, err := t.expr(x.R, s)
	if err != nil {
		return r, err
	}
	switch x.Op {
	case "+", "-", "*", "/", "%":
		return t.arithmetic(x.Op, l, r)
	case "||", "LIKE", "ILIKE":
		if l, err = t.convert(l, typeNames["VARCHAR"], false); err != nil {
			return l, err
		}
		if r, err = t.convert(r, typeNames["VARCHAR"], false); err != nil {
			return r, err
		}
		to := typeNames["BOOLEAN"]
		if x.Op == "||" {
			to = typeNames["VARCHAR"]
		}
		return value{"(" + l.sql + " " + x.Op + " " + r.sql + ")", to}, nil
	}
	return t.compare(x.Op, l, r)
}

func (t *Translator) compare(op string, l, r value) (value, error) {
	to := common([]Type{l.t, r.t})
	if l.t.Name == "BOOLEAN" && r.t.Name == "NUMBER" || l.t.Name == "NUMBER" && r.t.Name == "BOOLEAN" || l.t.Name == "BINARY" != (r.t.Name == "BINARY") && l.t.Name != "NULL" && r.t.Name != "NULL" {
		return value{}, compileError(1044, "42P13", "Invalid argument types for function '%s': (%s, %s)", op, l.t, r.t)
	}
	var err error
	if l, err = t.coerce(l, to); err != nil {
		return l, err
	}
	if r, err = t.coerce(r, to); err != nil {
		return r, err
	}
	if op == "!=" {
		op = "<>"
	}
	return value{"(" + l.sql + " " + op + " " + r.sql + ")", typeNames["BOOLEAN"]}, nil
}

// common is the type that values are brought to where they meet.
func common(types []Type) Type {
	to := Type{Name: "NULL"}
	for _, t := range types {
		switch {
		case t.Name == "NULL" || t == to:
		case to.Name == "NULL":
			to = t
		case t.Semi() || to.Semi():
			to = typeNames["VARIANT"]
		case t.Name == "FLOAT" || to.Name == "FLOAT":
			to = typeNames["FLOAT"]
		case t.Name == "NUMBER" && to.Name == "NUMBER":
			to = numberType(38, max(t.Scale, to.Scale))
		case t.Name == "VARCHAR" && to.Name == "VARCHAR":
			to = Type{Name: "VARCHAR", Length: max(t.Length, to.Length)}
		case to.Name == "VARCHAR":
			to = t
			if t.Name == "NUMBER" {
				to = numberType(38, max(t.Scale, 5))
			}
		case t.Name == "VARCHAR":
			if to.Name == "NUMBER" {
				to = numberType(38, max(to.Scale, 5))
			}
		case rank(t.Name) > rank(to.Name):
			to = t
		}
	}
	if to.Name == "NULL" {
		return Type{Name: "VARCHAR", Length: defaultVarchar}
	}
	return to
}

func rank(name string) int {
	return strings.Index("DATE TIMESTAMP_NTZ TIMESTAMP_LTZ TIMESTAMP_TZ", name)
}

// coerce converts where values meet: to VARIANT with their type kept.
func (t *Translator) coerce(v value, to Type) (value, error) {
	if v.t.Name == to.Name && v.t.Scale == to.Scale {
		return v, nil
	}
	return t.convert(v, to, false)
}

func (t *Translator) arithmetic(op string, l, r value) (value, error) {
	if isTime(l.t) && r.t.Name == "NUMBER" && l.t.Name == "DATE" && (op == "+" || op == "-") {
		return value{"CAST(" + l.sql + " " + op + " CAST(" + r.sql + " AS INTEGER) AS DATE)", l.t}, nil
	}
	if op == "-" && l.t.Name == "DATE" && r.t.Name == "DATE" {
		return value{"CAST(" + l.sql + " - " + r.sql + " AS HUGEINT)", numberType(38, 0)}, nil
	}
	var err error
	if l, err = t.numeric(l); err != nil {
		return l, err
	}
	if r, err = t.numeric(r); err != nil {
		return r, err
	}
	divisor := r.sql
	if op == "/" || op == "%" {
		divisor = "sf_divisor(" + r.sql + ")"
	}
	if l.t.Name == "FLOAT" || r.t.Name == "FLOAT" || op == "/" {
		sql := fmt.Sprintf("(CAST(%s AS DOUBLE) %s CAST(%s AS DOUBLE))", l.sql, op, divisor)
		if l.t.Name == "FLOAT" || r.t.Name == "FLOAT" {
			return value{sql, typeNames["FLOAT"]}, nil
		}
		n := numberType(38, min(max(l.t.Scale, 6), 12))
		return value{"CAST(" + sql + " AS " + n.Duck() + ")", n}, nil
	}
	scale := max(l.t.Scale, r.t.Scale)
	if op == "*" {
		scale = min(l.t.Scale+r.t.Scale, 12)
	}
	n := numberType(38, scale)
	if scale == 0 {
		return value{"(" + l.sql + " " + op + " " + divisor + ")", n}, nil
	}
	width := func(v value) string { return fmt.Sprintf("CAST(%s AS DECIMAL(%d,%d))", v.sql, 19, v.t.Scale) }
	if op == "*" {
		return value{"CAST(" + width(l) + " * " + width(r) + " AS " + n.Duck() + ")", n}, nil
	}
	wide := func(sql string) string { return fmt.Sprintf("CAST(%s AS DECIMAL(37,%d))", sql, scale) }
	return value{"CAST(" + wide(l.sql) + " " + op + " " + wide(divisor) + " AS " + n.Duck() + ")", n}, nil
}

func isTime(t Type) bool { return t.Name == "DATE" || strings.HasPrefix(t.Name, "TIMESTAMP") }

func (t *Translator) in(x *In, s *scope) (value, error) {
	v, err := t.expr(x.X, s)
	if err != nil {
		return v, err
	}
	not := ""
	if x.Not {
		not = "NOT "
	}
	if x.Query != nil {
		r, err := t.query(x.Query, s)
		if err != nil {
			return v, err
		}
		if len(r.Columns) != 1 {
			return v, compileError(1003, "42601", "Subquery returns %d columns instead of 1", len(r.Columns))
		}
		to := common([]Type{v.t, r.Columns[0].Type})
		if v, err = t.coerce(v, to); err != nil {
			return v, err
		}
		c, err := t.coerce(value{"c0", r.Columns[0].Type}, to)
		return value{"(" + v.sql + " " + not + "IN (SELECT " + c.sql + " FROM " + r.SQL + "))", typeNames["BOOLEAN"]}, err
	}
	values, types := []value{v}, []Type{v.t}
	for _, e := range x.List {
		item, err := t.expr(e, s)
		if err != nil {
			return v, err
		}
		values, types = append(values, item), append(types, item.t)
	}
	to := common(types)
	list := make([]string, len(values))
	for n := range values {
		c, err := t.coerce(values[n], to)
		if err != nil {
			return v, err
		}
		list[n] = c.sql
	}
	return value{"(" + list[0] + " " + not + "IN (" + strings.Join(list[1:], ", ") + "))", typeNames["BOOLEAN"]}, nil
}

func (t *Translator) caseWhen(x *Case, s *scope) (value, error) {
	var results []value
	var types []Type
	conditions := make([]string, len(x.When))
	for n := range x.When {
		when := x.When[n]
		if x.X != nil {
			when = &Binary{x.Place, "=", x.X, when}
		}
		c, err := t.boolean(when, s)
		if err != nil {
			return c, err
		}
		conditions[n] = c.sql
		v, err := t.expr(x.Then[n], s)
		if err != nil {
			return v, err
		}
		results, types = append(results, v), append(types, v.t)
	}
	if x.Else != nil {
		v, err := t.expr(x.Else, s)
		if err != nil {
			return v, err
		}
		results, types = append(results, v), append(types, v.t)
	}
	to := common(types)
	sql := "CASE"
	for n, v := range results {
		c, err := t.coerce(v, to)
		if err != nil {
			return c, err
		}
		if n < len(conditions) {
			sql += " WHEN " + conditions[n] + " THEN " + c.sql
		} else {
			sql += " ELSE " + c.sql
		}
	}
	return value{"(" + sql + " END)", to}, nil
}

// convert casts a value.
func (t *Translator) convert(v value, to Type, try bool) (value, error) {
	if try && v.t.Name != "VARCHAR" && v.t.Name != "NULL" {
		return v, compileError(1065, "22023", "Function TRY_CAST cannot be used with arguments of types %s and %s", v.t, to)
	}
	prefix := "sf_"
	if try {
		prefix = "sf_try_"
	}
	of := func(format string, args ...any) (value, error) { return value{fmt.Sprintf(format, args...), to}, nil }
	from := v.t.Name
	switch {
	case from == "NULL":
		return of("CAST(NULL AS %s)", to.Duck())
	case v.t.Semi():
		return t.convertVariant(v, to)
	case to.Name == "VARIANT":
		return value{toVariant(v), typeNames["VARIANT"]}, nil
	case to.Semi():
		return v, compileError(1044, "42P13", "invalid type [CAST(%s AS %s)]", v.t, to.Name)
	case from == to.Name && from != "NUMBER" && from != "VARCHAR":
		return value{v.sql, to}, nil
	}
	switch to.Name {
	case "NUMBER":
		switch from {
		case "NUMBER":
			if v.t.Scale == to.Scale && v.t.Precision <= to.Precision {
				return value{v.sql, to}, nil
			}
			return of("sf_range(CAST(%s AS %s), %d)", v.sql, to.Duck(), to.Precision-to.Scale)
		case "FLOAT", "BOOLEAN":
			return of("CAST(%s AS %s)", v.sql, to.Duck())
		case "VARCHAR":
			return of("CAST(%stext_number(%s, %d) AS %s)", prefix, v.sql, to.Scale, to.Duck())
		}
	case "FLOAT":
		switch from {
		case "NUMBER", "BOOLEAN":
			return of("CAST(%s AS DOUBLE)", v.sql)
		case "VARCHAR":
			return of("CAST(%stext_double(%s) AS DOUBLE)", prefix, v.sql)
		}
	case "VARCHAR":
		if v, ok := t.asText(v); ok {
			if to.Length < defaultVarchar && to.Length < v.t.Length {
				return of("left(%s, %d)", v.sql, to.Length)
			}
			return of("%s", v.sql)
		}
	case "BOOLEAN":
		switch from {
		case "NUMBER":
			return of("(%s <> 0)", v.sql)
		case "VARCHAR":
			return of("CAST(%stext_boolean(%s) AS BOOLEAN)", prefix, v.sql)
		}
	case "BINARY":
		if from == "VARCHAR" {
			return of("unhex(%s)", v.sql)
		}
	default:
		return t.convertTime(v, to, prefix)
	}
	return v, compileError(1044, "42P13", "invalid type [CAST(%s AS %s)]", v.t, to)
}

// asText writes a value as VARCHAR with the default formats.
func (t *Translator) asText(v value) (value, bool) {
	varchar := typeNames["VARCHAR"]
	switch v.t.Name {
	case "VARCHAR":
		return v, true
	case "NUMBER":
		return value{"CAST(" + v.sql + " AS VARCHAR)", Type{Name: "VARCHAR", Length: 40}}, true
	case "FLOAT":
		return value{"sf_double_text(" + v.sql + ")", varchar}, true
	case "BOOLEAN":
		return value{"CAST(" + v.sql + " AS VARCHAR)", varchar}, true
	case "DATE":
		return value{"strftime(" + v.sql + ", '%Y-%m-%d')", varchar}, true
	case "TIME":
		return value{"CAST(" + v.sql + " AS VARCHAR)", varchar}, true
	case "TIMESTAMP_NTZ":
		return value{"strftime(" + v.sql + ", '%Y-%m-%d %H:%M:%S.%g')", varchar}, true
	case "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
		return value{fmt.Sprintf("sf_zoned_text(epoch_us(%s), %s)", v.sql, QuoteString(t.Catalog.TimeZone())), varchar}, true
	case "BINARY":
		return value{"hex(" + v.sql + ")", varchar}, true
	}
	return v, false
}

func (t *Translator) convertTime(v value, to Type, prefix string) (value, error) {
	of := func(format string, args ...any) (value, error) { return value{fmt.Sprintf(format, args...), to}, nil }
	zone := QuoteString(t.Catalog.TimeZone())
	switch v.t.Name {
	case "VARCHAR":
		kind := strings.ToLower(strings.TrimPrefix(to.Name, "TIMESTAMP_"))
		return of("CAST(%stext_time(%s, '%s', %s) AS %s)", prefix, v.sql, kind, zone, to.Duck())
	case "NUMBER":
		switch to.Name {
		case "TIMESTAMP_NTZ":
			return of("make_timestamp(CAST(%s * 1000000 AS BIGINT))", v.sql)
		case "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
			return of("to_timestamp(CAST(%s AS DOUBLE))", v.sql)
		}
	case "DATE":
		switch to.Name {
		case "TIMESTAMP_NTZ":
			return of("CAST(%s AS TIMESTAMP)", v.sql)
		case "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
			return of("timezone(%s, CAST(%s AS TIMESTAMP))", zone, v.sql)
		}
	case "TIMESTAMP_NTZ":
		switch to.Name {
		case "DATE":
			return of("CAST(%s AS DATE)", v.sql)
		case "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
			return of("timezone(%s, %s)", zone, v.sql)
		}
	case "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
		switch to.Name {
		case "DATE":
			return of("CAST(timezone(%s, %s) AS DATE)", zone, v.sql)
		case "TIMESTAMP_NTZ":
			return of("timezone(%s, %s)", zone, v.sql)
		case "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
			return of("%s", v.sql)
		}
	}
	return v, compileError(1044, "42P13", "invalid type [CAST(%s AS %s)]", v.t, to)
}

// toVariant keeps the type of a value in a VARIANT.
func toVariant(v value) string {
	switch v.t.Name {
	case "VARIANT", "OBJECT", "ARRAY":
		return v.sql
	case "NUMBER":
		return "sf_number_variant(CAST(" + v.sql + " AS VARCHAR))"
	case "FLOAT":
		return "sf_double_variant(" + v.sql + ")"
	case "BOOLEAN":
		return "CAST(" + v.sql + " AS VARCHAR)"
	case "DATE":
		return "sf_quote(strftime(" + v.sql + ", '%Y-%m-%d'))"
	case "TIMESTAMP_NTZ":
		return "sf_quote(strftime(" + v.sql + ", '%Y-%m-%d %H:%M:%S.%g'))"
	case "VARCHAR":
		return "sf_quote(" + v.sql + ")"
	}
	return "sf_quote(CAST(" + v.sql + " AS VARCHAR))"
}

func (t *Translator) convertVariant(v value, to Type) (value, error) {
	of := func(format string, args ...any) (value, error) { return value{fmt.Sprintf(format, args...), to}, nil }
	switch to.Name {
	case "VARIANT":
		return value{v.sql, to}, nil
	case "OBJECT", "ARRAY":
		if v.t.Name == to.Name {
			return v, nil
		}
		return of("sf_v_%s(%s)", strings.ToLower(to.Name), v.sql)
	case "VARCHAR":
		if to.Length < defaultVarchar {
			return of("left(sf_v_text(%s), %d)", v.sql, to.Length)
		}
		return of("sf_v_text(%s)", v.sql)
	case "NUMBER":
		return of("CAST(sf_v_number(%s, %d) AS %s)", v.sql, to.Scale, to.Duck())
	case "FLOAT":
		return of("CAST(sf_v_double(%s) AS DOUBLE)", v.sql)
	case "BOOLEAN":
		return of("CAST(sf_v_boolean(%s) AS BOOLEAN)", v.sql)
	case "BINARY", "TIME":
		return v, compileError(1044, "42P13", "invalid type [CAST(%s AS %s)]", v.t, to)
	}
	kind := strings.ToLower(strings.TrimPrefix(to.Name, "TIMESTAMP_"))
	return of("CAST(sf_v_time(%s, '%s', %s) AS %s)", v.sql, kind, QuoteString(t.Catalog.TimeZone()), to.Duck())
}

// describe writes an expression roughly, for messages and names.
func describe(x Expr) string {
	switch x := x.(type) {
	case *Literal:
		if x.Kind == "string" {
			return "'" + x.Text + "'"
		}
		if x.Kind == "null" {
			return "NULL"
		}
		return x.Text
	case *Column:
		return strings.Join(x.Parts, ".")
	case *Path:
		text := describe(x.X)
		for n, k := range x.Keys {
			switch k := k.(type) {
			case int:
				text += "[" + strconv.Itoa(k) + "]"
			case string:
				if n == 0 {
					text += ":" + k
				} else {
					text += "." + k
				}
			}
		}
		return text
	case *Cast:
		return describe(x.X) + "::" + x.To.Name
	case *Call:
		args := make([]string, len(x.Args))
		for n, a := range x.Args {
			args[n] = describe(a)
		}
		if x.Star {
			args = []string{"*"}
		}
		return x.Name + "(" + strings.Join(args, ", ") + ")"
	case *Binary:
		return describe(x.L) + " " + x.Op + " " + describe(x.R)
	case *Unary:
		return x.Op + " " + describe(x.X)
	case *Case:
		return "CASE"
	case *Bind:
		return "?"
	}
	return "EXPRESSION"
}
