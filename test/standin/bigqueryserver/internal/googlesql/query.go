package googlesql

import (
	"fmt"
	"slices"
	"strings"
)

// Query translates a query.
func (t *Translator) Query(tokens []Token) (string, error) {
	t.use(tokens)
	sql, err := t.query()
	if err == nil && t.peek().Kind != End {
		err = t.unexpected("Expected end of input but got")
	}
	return sql, err
}

func (t *Translator) query() (string, error) {
	depth := len(t.tables)
	defer func() { t.tables = t.tables[:depth] }()
	if t.accept("WITH") {
		if t.is("RECURSIVE") {
			return "", t.unknown("WITH RECURSIVE")
		}
		for {
			if err := t.commonTable(); err != nil {
				return "", err
			}
			if !t.accept(",") {
				break
			}
		}
	}
	body, scope, err := t.setOperations()
	if err != nil {
		return "", err
	}
	defer t.enter(scope)()
	tail, err := t.orderAndLimit()
	return withClause(t.tables[depth:]) + body + tail, err
}

func withClause(tables []cte) string {
	if len(tables) == 0 {
		return ""
	}
	parts := make([]string, len(tables))
	for n, c := range tables {
		parts[n] = QuoteName(c.name) + " AS (" + c.sql + ")"
	}
	return "WITH " + strings.Join(parts, ", ") + " "
}

func (t *Translator) commonTable() error {
	name, err := t.name()
	if err == nil {
		err = t.expect("AS")
	}
	if err == nil {
		err = t.expect("(")
	}
	if err != nil {
		return err
	}
	sql, err := t.query()
	if err == nil {
		err = t.expect(")")
	}
	if err != nil {
		return err
	}
	columns, err := t.describe(sql)
	if err != nil {
		return err
	}
	t.tables = append(t.tables, cte{name.Text, sql, &Table{SQL: QuoteName(name.Text), Columns: columns}})
	return nil
}

func (t *Translator) describe(sql string) ([]Column, error) {
	return t.Catalog.Describe(withClause(t.tables) + "SELECT * FROM (" + sql + ")")
}

// enter makes a scope the innermost one until the returned function is called.
func (t *Translator) enter(s *scope) (leave func()) {
	if s == nil {
		s = &scope{}
	}
	t.scopes = append(t.scopes, s)
	return func() { t.scopes = t.scopes[:len(t.scopes)-1] }
}

func (t *Translator) setOperations() (string, *scope, error) {
	sql, scope, err := t.operand()
	for err == nil {
		var op string
		switch {
		case t.accept("UNION ALL"):
			op = " UNION ALL "
		case t.accept("UNION DISTINCT"):
			op = " UNION "
		case t.accept("INTERSECT DISTINCT"):
			op = " INTERSECT "
		case t.accept("EXCEPT DISTINCT"):
			op = " EXCEPT "
		default:
			return sql, scope, nil
		}
		var right string
		right, _, err = t.operand()
		if scope == nil {
			scope = newScope()
		}
		scope.items = nil // only the names of the first list remain
		sql += op + right
	}
	return sql, scope, err
}

func (t *Translator) operand() (string, *scope, error) {
	if t.accept("(") {
		sql, err := t.query()
		if err == nil {
			err = t.expect(")")
		}
		return "(" + sql + ")", nil, err
	}
	return t.selectQuery()
}

func newScope() *scope { return &scope{aliases: map[string]string{}} }

func (t *Translator) selectQuery() (string, *scope, error) {
	if err := t.expect("SELECT"); err != nil {
		return "", nil, err
	}
	s := newScope()
	defer t.enter(s)()
	list := t.at
	from, end := "", -1
	if at := t.findFrom(); at >= 0 {
		t.at = at + 1
		var err error
		if from, err = t.from(s); err != nil {
			return "", nil, err
		}
		end, t.at = t.at, list
		from = " FROM " + from
	}
	columns, err := t.selectList(s)
	if err != nil {
		return "", nil, err
	}
	if end >= 0 {
		if !t.is("FROM") {
			return "", nil, t.unexpected("Unexpected")
		}
		t.at = end
	}
	rest, err := t.selectClauses(s)
	return "SELECT " + columns + from + rest, s, err
}

func (t *Translator) selectClauses(s *scope) (string, error) {
	var sql strings.Builder
	clause := func(word string) error {
		if !t.accept(word) {
			return nil
		}
		e, err := t.expr()
		sql.WriteString(" " + word + " " + e.SQL)
		return err
	}
	if err := clause("WHERE"); err != nil {
		return "", err
	}
	s.late = true
	if t.accept("GROUP BY") {
		if t.is("ROLLUP") || t.is("CUBE") || t.is("GROUPING SETS") {
			return "", t.unknown("GROUP BY " + t.peek().Text)
		}
		if t.accept("ALL") {
			sql.WriteString(" GROUP BY ALL")
		} else {
			list, err := t.exprs(t.ordinalOrExpr)
			if err != nil {
				return "", err
			}
			sql.WriteString(" GROUP BY " + list)
		}
	}
	if err := clause("HAVING"); err != nil {
		return "", err
	}
	if err := clause("QUALIFY"); err != nil {
		return "", err
	}
	if t.is("WINDOW") {
		return "", t.unknown("WINDOW")
	}
	return sql.String(), nil
}

// ordinalOrExpr reads an expression, in which a literal is the number of a column.
func (t *Translator) ordinalOrExpr() (string, error) {
	if token := t.peek(); token.Kind == Int {
		next := t.peekAt(1)
		if next.Kind == End || next.Is(",") || next.Is(")") || next.Is(";") || next.Kind == Ident {
			t.take()
			return token.Text, nil
		}
	}
	e, err := t.expr()
	return e.SQL, err
}

func (t *Translator) exprs(read func() (string, error)) (string, error) {
	var list []string
	for {
		sql, err := read()
		if err != nil {
			return "", err
		}
		list = append(list, sql)
		if !t.accept(",") {
			return strings.Join(list, ", "), nil
		}
	}
}

func (t *Translator) orderAndLimit() (string, error) {
	var sql strings.Builder
	if t.is("ORDER BY") {
		t.scopes[len(t.scopes)-1].late = true
		order, err := t.orderBy()
		if err != nil {
			return "", err
		}
		sql.WriteString(order)
	}
	if t.accept("LIMIT") {
		n, err := t.expr()
		if err != nil {
			return "", err
		}
		sql.WriteString(" LIMIT " + n.SQL)
		if t.accept("OFFSET") {
			n, err := t.expr()
			if err != nil {
				return "", err
			}
			sql.WriteString(" OFFSET " + n.SQL)
		}
	}
	return sql.String(), nil
}

// orderBy reads ORDER BY. NULL is the least value, as in BigQuery.
func (t *Translator) orderBy() (string, error) {
	if err := t.expect("ORDER BY"); err != nil {
		return "", err
	}
	list, err := t.exprs(func() (string, error) {
		sql, err := t.ordinalOrExpr()
		nulls := "FIRST"
		if t.accept("DESC") {
			sql, nulls = sql+" DESC", "LAST"
		} else {
			t.accept("ASC")
		}
		if t.accept("NULLS FIRST") {
			nulls = "FIRST"
		} else if t.accept("NULLS LAST") {
			nulls = "LAST"
		}
		return sql + " NULLS " + nulls, err
	})
	return " ORDER BY " + list, err
}

// findFrom returns the token FROM of the select list that begins here; -1: none.
func (t *Translator) findFrom() int {
	depth := 0
	for n := t.at; n < len(t.tokens); n++ {
		token := t.tokens[n]
		switch {
		case token.Is("(") || token.Is("["):
			depth++
		case token.Is(")") || token.Is("]"):
			if depth--; depth < 0 {
				return -1
			}
		case depth > 0:
		case token.Is(";") || token.Is("UNION") || token.Is("INTERSECT") || token.Is("EXCEPT") && t.tokens[n+1].Is("DISTINCT"):
			return -1
		case token.Is("FROM") && !(n > 1 && t.tokens[n-1].Is("DISTINCT") && (t.tokens[n-2].Is("IS") || t.tokens[n-2].Is("NOT"))):
			return n
		}
	}
	return -1
}

func (t *Translator) selectList(s *scope) (string, error) {
	distinct := ""
	if t.accept("DISTINCT") {
		distinct = "DISTINCT "
	} else {
		t.accept("ALL")
	}
	if t.is("AS STRUCT") || t.is("AS VALUE") {
		return "", t.unknown("SELECT AS " + t.peekAt(1).Text)
	}
	var list []string
	unnamed := 0
	for {
		column, err := t.selectColumn(s, &unnamed)
		if err != nil {
			return "", err
		}
		list = append(list, column)
		if !t.accept(",") {
			break
		}
		if t.is("FROM") { // a comma may follow the last column
			break
		}
	}
	return distinct + strings.Join(list, ", "), nil
}

func (t *Translator) selectColumn(s *scope, unnamed *int) (string, error) {
	if t.accept("*") {
		return t.star(s.items, "")
	}
	if (t.peek().Kind == Ident || t.peek().Kind == Quoted) && t.peekAt(1).Is(".") && t.peekAt(2).Is("*") {
		name := t.take()
		t.at += 2
		for _, i := range s.items {
			if strings.EqualFold(i.alias, name.Text) {
				return t.star([]item{i}, QuoteName(i.alias)+".")
			}
		}
		return "", t.unrecognized(name)
	}
	e, err := t.expr()
	if err != nil {
		return "", err
	}
	alias := e.name
	if t.accept("AS") || (t.peek().Kind == Quoted || t.peek().Kind == Ident && !keywords[strings.ToUpper(t.peek().Text)]) {
		name := t.take()
		alias = name.Text
	}
	if alias == "" {
		*unnamed++
		return e.SQL + fmt.Sprintf(" AS f%d_", *unnamed-1), nil
	}
	s.aliases[strings.ToLower(alias)] = e.Type
	return e.SQL + " AS " + QuoteName(alias), nil
}

// star expands an asterisk with its EXCEPT and REPLACE.
func (t *Translator) star(items []item, qualifier string) (string, error) {
	var except []string
	replace := map[string]string{}
	if t.is("EXCEPT (") {
		t.at += 2
		if _, err := t.exprs(func() (string, error) {
			name, err := t.name()
			except = append(except, strings.ToLower(name.Text))
			return "", err
		}); err != nil {
			return "", err
		}
		if err := t.expect(")"); err != nil {
			return "", err
		}
	}
	if t.accept("REPLACE") {
		if err := t.expect("("); err != nil {
			return "", err
		}
		if _, err := t.exprs(func() (string, error) {
			e, err := t.expr()
			if err != nil {
				return "", err
			}
			t.accept("AS")
			name, err := t.name()
			replace[strings.ToLower(name.Text)] = e.SQL
			return "", err
		}); err != nil {
			return "", err
		}
		if err := t.expect(")"); err != nil {
			return "", err
		}
	}
	var list []string
	if len(items) == 0 {
		return "", t.unexpected("SELECT * must have a FROM clause; got")
	}
	for _, i := range items {
		if i.isElem {
			list = append(list, QuoteName(i.alias))
			continue
		}
		for _, c := range i.table.Columns {
			key := strings.ToLower(c.Name)
			if slices.Contains(except, key) {
				continue
			}
			sql := QuoteName(i.alias) + "." + QuoteName(c.Name)
			if r, ok := replace[key]; ok {
				sql = r
			}
			list = append(list, sql+" AS "+QuoteName(c.Name))
		}
	}
	if len(list) == 0 {
		return "", t.unexpected("SELECT * expands to zero columns; got")
	}
	return strings.Join(list, ", "), nil
}

// from reads the items of FROM into the scope.
func (t *Translator) from(s *scope) (string, error) {
	sql, err := t.fromItem(s)
	for err == nil {
		var join string
		switch {
		case t.accept(",") || t.accept("CROSS JOIN"):
			join = " CROSS JOIN "
		case t.accept("JOIN") || t.accept("INNER JOIN"):
			join = " JOIN "
		case t.accept("LEFT JOIN") || t.accept("LEFT OUTER JOIN"):
			join = " LEFT JOIN "
		case t.accept("RIGHT JOIN") || t.accept("RIGHT OUTER JOIN"):
			join = " RIGHT JOIN "
		case t.accept("FULL JOIN") || t.accept("FULL OUTER JOIN"):
			join = " FULL JOIN "
		default:
			return sql, nil
		}
		var right string
		if right, err = t.fromItem(s); err != nil {
			return "", err
		}
		var on string
		if join != " CROSS JOIN " {
			on, err = t.joinCondition(s)
		}
		sql += join + right + on
	}
	return sql, err
}

func (t *Translator) joinCondition(s *scope) (string, error) {
	if t.accept("ON") {
		e, err := t.expr()
		return " ON " + e.SQL, err
	}
	if err := t.expect("USING"); err != nil {
		return "", t.unexpected("Expected keyword ON or keyword USING but got")
	}
	if err := t.expect("("); err != nil {
		return "", err
	}
	var names []string
	list, err := t.exprs(func() (string, error) {
		name, err := t.name()
		names = append(names, name.Text)
		return QuoteName(name.Text), err
	})
	if err != nil {
		return "", err
	}
	// The columns of USING are in the result once: the right table loses them.
	right := &s.items[len(s.items)-1]
	table := *right.table
	table.Columns = slices.DeleteFunc(slices.Clone(table.Columns), func(c Column) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, c.Name) })
	})
	right.table = &table
	return " USING (" + list + ")", t.expect(")")
}

func (t *Translator) fromItem(s *scope) (string, error) {
	switch {
	case t.accept("("):
		sql, err := t.query()
		if err == nil {
			err = t.expect(")")
		}
		if err != nil {
			return "", err
		}
		columns, err := t.describe(sql)
		if err != nil {
			return "", err
		}
		alias, err := t.alias(fmt.Sprintf("_q%d", t.at))
		s.items = append(s.items, item{alias: alias, table: &Table{Columns: columns}})
		return "(" + sql + ") AS " + QuoteName(alias), err
	case t.is("UNNEST ("):
		return t.unnest(s)
	}
	start := t.peek().Start
	path, err := t.path()
	if err != nil {
		return "", err
	}
	if t.is("(") {
		return "", errorAt(start, "Table-valued function not found: %s", strings.Join(path, "."))
	}
	table, err := t.lookup(path, start)
	if err != nil {
		return "", err
	}
	last := path[len(path)-1]
	alias, err := t.alias(last)
	if err != nil {
		return "", err
	}
	if t.is("FOR SYSTEM_TIME") || t.is("TABLESAMPLE") || t.is("PIVOT") || t.is("UNPIVOT") {
		return "", t.unknown(t.peek().Text)
	}
	s.items = append(s.items, item{alias: alias, table: table})
	return table.SQL + " AS " + QuoteName(alias), nil
}

func (t *Translator) lookup(path []string, position int) (*Table, error) {
	if len(path) == 1 {
		for _, c := range slices.Backward(t.tables) {
			if strings.EqualFold(c.name, path[0]) {
				return c.table, nil
			}
		}
	}
	return t.Catalog.Read(path, position)
}

func (t *Translator) alias(fallback string) (string, error) {
	if t.accept("AS") {
		name, err := t.name()
		return name.Text, err
	}
	token := t.peek()
	if token.Kind == Quoted || token.Kind == Ident && !keywords[strings.ToUpper(token.Text)] && !aliasStops[strings.ToUpper(token.Text)] {
		return t.take().Text, nil
	}
	return fallback, nil
}

// aliasStops are words that follow a table without being its alias.
var aliasStops = setOf("OFFSET VALUES PIVOT UNPIVOT TABLESAMPLE WINDOW WHEN SET")

func (t *Translator) unnest(s *scope) (string, error) {
	t.at += 2
	e, err := t.expr()
	if err == nil {
		err = t.expect(")")
	}
	if err != nil {
		return "", err
	}
	unnamed := fmt.Sprintf("_u%d", t.at)
	alias, err := t.alias(unnamed)
	if err != nil {
		return "", err
	}
	element := strings.TrimSuffix(strings.TrimPrefix(e.Type, "ARRAY<"), ">")
	if strings.HasPrefix(element, "STRUCT<") && alias == unnamed {
		return "", t.unknown("UNNEST of structs without an alias")
	}
	s.items = append(s.items, item{alias: alias, isElem: true, value: element, table: &Table{Columns: []Column{{alias, element}}}})
	name := QuoteName("_t" + alias)
	if !t.accept("WITH OFFSET") {
		return "(SELECT UNNEST(" + e.SQL + ") AS " + QuoteName(alias) + ") AS " + name, nil
	}
	offset, err := t.alias("offset")
	s.items = append(s.items, item{alias: offset, isElem: true, value: "INT64", table: &Table{Columns: []Column{{offset, "INT64"}}}})
	return "(SELECT UNNEST(" + e.SQL + ") AS " + QuoteName(alias) + ", UNNEST(range(len(" + e.SQL + "))) AS " + QuoteName(offset) + ") AS " + name, err
}
