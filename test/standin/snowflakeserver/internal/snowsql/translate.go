package snowsql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// OutColumn is a column of a relation. In DuckDB the columns are c0, c1 and so on.
type OutColumn struct {
	Name string
	Type Type
}

// Relation is a table or query in DuckDB's SQL, for FROM.
type Relation struct {
	SQL     string
	Columns []OutColumn
}

// Catalog resolves the names in a statement.
type Catalog interface {
	// Relation returns a table or view for reading.
	Relation(n Name) (Relation, error)
	// Value returns the value of a function that depends on the session, such as
	// CURRENT_ROLE. Its arguments are texts. A nil text is NULL.
	Value(function string, args []string) (value *string, t Type, err error)
	// Table returns the rows of a table function.
	Table(function string, args []string) (Relation, error)
	// Bind returns the text of a parameter, from 1.
	Bind(n int) (value *string, t Type, err error)
	// TimeZone is that of the session.
	TimeZone() string
}

// Translator turns parsed queries and expressions into DuckDB's SQL. It is used by one
// statement.
type Translator struct {
	Catalog Catalog
	aliases int
}

// scope resolves the names at a place of a statement.
type scope struct {
	outer     *scope
	relations []relation
	named     map[string]Relation // of WITH
	aliases   map[string]Expr     // of SELECT
}

type relation struct {
	name    Name // as it can qualify columns
	alias   string
	columns []OutColumn
	hidden  map[string]bool // by USING
}

// value is a translated expression.
type value struct {
	sql string
	t   Type
}

// QuoteString writes a string of DuckDB's SQL.
func QuoteString(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (t *Translator) alias() string {
	t.aliases++
	return "r" + strconv.Itoa(t.aliases)
}

// Query translates a query.
func (t *Translator) Query(q *Query) (Relation, error) { return t.query(q, nil) }

// Relationed returns a scope with one relation, for DML on a table.
func (t *Translator) tableScope(name Name, alias string, r Relation, duck string) *scope {
	visible := name
	if alias != "" {
		visible = Name{alias}
	}
	return &scope{relations: []relation{{name: visible, alias: duck, columns: r.Columns}}}
}

// Condition translates a condition over a table and further tables, whose rows are
// joined to it. The table has the alias duck; from is empty or begins with a comma.
func (t *Translator) Condition(name Name, alias string, r Relation, duck string, further []*Table, where Expr, set []Assignment) (from, condition string, values []string, err error) {
	s := t.tableScope(name, alias, r, duck)
	if len(further) > 0 {
		text, err := t.from(further, s)
		if err != nil {
			return "", "", nil, err
		}
		from = ", " + text
	}
	condition = "TRUE"
	if where != nil {
		v, err := t.boolean(where, s)
		if err != nil {
			return "", "", nil, err
		}
		condition = v.sql
	}
	for _, a := range set {
		column, err := t.column(&a.Column, s)
		if err != nil {
			return "", "", nil, err
		}
		v, err := t.expr(a.Value, s)
		if err != nil {
			return "", "", nil, err
		}
		v, err = t.store(v, column.t)
		if err != nil {
			return "", "", nil, err
		}
		values = append(values, v.sql)
	}
	return from, condition, values, nil
}

// Values translates the rows of INSERT … VALUES for columns of these types. Snowflake
// takes constants and functions of constants only, no VARIANT functions such as
// PARSE_JSON (https://docs.snowflake.com/en/sql-reference/sql/insert).
func (t *Translator) Values(rows [][]Expr, columns []OutColumn) (string, error) {
	list := make([]string, len(rows))
	for n, row := range rows {
		if len(row) != len(columns) {
			return "", compileError(2020, "21S01", "Insert value list does not match column list expecting %d but got %d", len(columns), len(row))
		}
		values := make([]string, len(row))
		for m, x := range row {
			v, err := t.expr(x, &scope{})
			if err != nil {
				return "", err
			}
			if v.t.Semi() {
				return "", compileError(2014, "22000", "Invalid expression [%s] in VALUES clause", describe(x))
			}
			if v, err = t.store(v, columns[m].Type); err != nil {
				return "", err
			}
			values[m] = v.sql
		}
		list[n] = "(" + strings.Join(values, ", ") + ")"
	}
	return "VALUES " + strings.Join(list, ", "), nil
}

// Store translates a query for insertion into columns of these types.
func (t *Translator) Store(q *Query, columns []OutColumn) (string, error) {
	r, err := t.query(q, nil)
	if err != nil {
		return "", err
	}
	if len(r.Columns) != len(columns) {
		return "", compileError(2020, "21S01", "Insert value list does not match column list expecting %d but got %d", len(columns), len(r.Columns))
	}
	list := make([]string, len(columns))
	for n, c := range r.Columns {
		v, err := t.store(value{"q.c" + strconv.Itoa(n), c.Type}, columns[n].Type)
		if err != nil {
			return "", err
		}
		list[n] = v.sql
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + r.SQL + " AS q", nil
}

// Constant translates an expression without columns to a type.
func (t *Translator) Constant(x Expr, to Type) (string, error) {
	v, err := t.expr(x, &scope{})
	if err != nil {
		return "", err
	}
	v, err = t.store(v, to)
	return v.sql, err
}

// Key checks a clustering key: it names columns, is deterministic and has a type that
// can be one (https://docs.snowflake.com/en/user-guide/tables-clustering-keys).
func (t *Translator) Key(x Expr, columns []OutColumn) error {
	v, err := t.expr(x, &scope{relations: []relation{{alias: "t", columns: columns}}})
	if err != nil {
		return err
	}
	if v.t.Semi() {
		return compileError(2296, "42601", "Unsupported type '%s' for clustering keys", v.t.Name)
	}
	if call := volatileCall(x); call != "" {
		return compileError(2296, "42601", "Clustering key expression contains the non-deterministic function '%s'", call)
	}
	return nil
}

func volatileCall(x Expr) string {
	switch x := x.(type) {
	case *Call:
		if strings.HasPrefix(x.Name, "CURRENT_") || x.Name == "SYSDATE" || x.Name == "UUID_STRING" || x.Name == "RANDOM" {
			return x.Name
		}
		for _, a := range x.Args {
			if c := volatileCall(a); c != "" {
				return c
			}
		}
	case *Cast:
		return volatileCall(x.X)
	case *Path:
		return volatileCall(x.X)
	}
	return ""
}

// store converts a value for a column, as INSERT and UPDATE do.
func (t *Translator) store(v value, to Type) (value, error) {
	if v.t.Name == "NULL" {
		return value{"CAST(NULL AS " + to.Duck() + ")", to}, nil
	}
	if v.t.Name == to.Name {
		if to.Name == "VARCHAR" && to.Length < defaultVarchar {
			return value{fmt.Sprintf("sf_fit(%s, %d)", v.sql, to.Length), to}, nil
		}
		if to.Name == "NUMBER" {
			return t.convert(v, to, false)
		}
		return v, nil
	}
	if to.Name == "OBJECT" && v.t.Name == "VARIANT" || to.Name == "ARRAY" && v.t.Name == "VARIANT" {
		return t.convert(v, to, false)
	}
	if to.Semi() && to.Name != "VARIANT" || to.Name == "VARIANT" && v.t.Name == "BINARY" || v.t.Semi() && to.Name == "BINARY" ||
		to.Name == "BOOLEAN" && strings.HasPrefix(v.t.Name, "TIMESTAMP") || to.Name == "NUMBER" && strings.HasPrefix(v.t.Name, "TIMESTAMP") {
		return v, compileError(2023, "22000", "Expression type does not match column data type, expecting %s but got %s for column", to, v.t)
	}
	return t.convert(v, to, false)
}

func (t *Translator) query(q *Query, outer *scope) (Relation, error) {
	s := &scope{outer: outer, named: map[string]Relation{}}
	for _, n := range q.With {
		r, err := t.query(n.Query, s)
		if err != nil {
			return Relation{}, err
		}
		if r, err = rename(r, n.Columns); err != nil {
			return Relation{}, err
		}
		s.named[n.Name] = r
	}
	var body string
	var columns []OutColumn
	var err error
	if q.Select != nil {
		body, columns, err = t.selectFrom(q.Select, s, q.Order)
	} else {
		body, columns, err = t.setOperation(q, s)
	}
	if err != nil {
		return Relation{}, err
	}
	for n, x := range []Expr{q.Limit, q.Offset} {
		if x == nil {
			continue
		}
		v, err := t.expr(x, &scope{})
		if err != nil {
			return Relation{}, err
		}
		body += []string{" LIMIT ", " OFFSET "}[n] + v.sql
	}
	return Relation{"(" + body + ")", columns}, nil
}

func rename(r Relation, names []string) (Relation, error) {
	if names == nil {
		return r, nil
	}
	if len(names) != len(r.Columns) {
		return r, compileError(2026, "42601", "Invalid column definition list")
	}
	r.Columns = slices.Clone(r.Columns)
	for n := range names {
		r.Columns[n].Name = names[n]
	}
	return r, nil
}

func (t *Translator) setOperation(q *Query, s *scope) (string, []OutColumn, error) {
	l, err := t.query(q.Left, s)
	if err != nil {
		return "", nil, err
	}
	r, err := t.query(q.Right, s)
	if err != nil {
		return "", nil, err
	}
	if len(l.Columns) != len(r.Columns) {
		return "", nil, compileError(1789, "42601", "invalid number of result columns for set operator input branches, expected %d, got %d in branch {2}", len(l.Columns), len(r.Columns))
	}
	columns := make([]OutColumn, len(l.Columns))
	sides := [2][]string{}
	for n := range columns {
		c := "c" + strconv.Itoa(n)
		to := common([]Type{l.Columns[n].Type, r.Columns[n].Type})
		columns[n] = OutColumn{l.Columns[n].Name, to}
		for side, from := range []Type{l.Columns[n].Type, r.Columns[n].Type} {
			v, err := t.coerce(value{c, from}, to)
			if err != nil {
				return "", nil, err
			}
			sides[side] = append(sides[side], v.sql+" AS "+c)
		}
	}
	body := "SELECT " + strings.Join(sides[0], ", ") + " FROM " + l.SQL + " " + q.Op + " SELECT " + strings.Join(sides[1], ", ") + " FROM " + r.SQL
	order, err := t.orderOutput(q.Order, columns)
	return body + order, columns, err
}

// orderOutput orders by columns of the output.
func (t *Translator) orderOutput(order []Order, columns []OutColumn) (string, error) {
	if len(order) == 0 {
		return "", nil
	}
	s := &scope{relations: []relation{{alias: "", columns: columns}}}
	list := make([]string, len(order))
	for n, o := range order {
		text := ""
		if l, ok := o.X.(*Literal); ok && l.Kind == "number" {
			position, err := strconv.Atoi(l.Text)
			if err != nil || position < 1 || position > len(columns) {
				return "", compileError(1003, "42601", "Invalid position %s in ORDER BY", l.Text)
			}
			text = "c" + strconv.Itoa(position-1)
		} else {
			v, err := t.expr(o.X, s)
			if err != nil {
				return "", err
			}
			text = v.sql
		}
		list[n] = text + direction(o)
	}
	return " ORDER BY " + strings.Join(list, ", "), nil
}

// direction writes the order; NULLs count as the greatest values
// (https://docs.snowflake.com/en/sql-reference/constructs/order-by).
func direction(o Order) string {
	nulls, text := o.Nulls, " ASC"
	if o.Descending {
		text = " DESC"
	}
	if nulls == "" {
		if nulls = "LAST"; o.Descending {
			nulls = "FIRST"
		}
	}
	return text + " NULLS " + nulls
}

func (t *Translator) selectFrom(sel *Select, s *scope, order []Order) (string, []OutColumn, error) {
	from := ""
	if len(sel.From) > 0 {
		text, err := t.from(sel.From, s)
		if err != nil {
			return "", nil, err
		}
		from = " FROM " + text
	}
	s.aliases = map[string]Expr{}
	for _, i := range sel.Items {
		if i.Alias != "" {
			s.aliases[i.Alias] = i.X
		}
	}
	items, columns, err := t.items(sel, s)
	if err != nil {
		return "", nil, err
	}
	body := "SELECT "
	if sel.Distinct {
		body += "DISTINCT "
	}
	body += strings.Join(items, ", ") + from
	for _, clause := range []struct {
		word string
		x    Expr
	}{{" WHERE ", sel.Where}} {
		if clause.x != nil {
			v, err := t.boolean(clause.x, s)
			if err != nil {
				return "", nil, err
			}
			body += clause.word + v.sql
		}
	}
	group, err := t.group(sel, s)
	if err != nil {
		return "", nil, err
	}
	body += group
	for _, clause := range []struct {
		word string
		x    Expr
	}{{" HAVING ", sel.Having}, {" QUALIFY ", sel.Qualify}} {
		if clause.x != nil {
			v, err := t.boolean(clause.x, s)
			if err != nil {
				return "", nil, err
			}
			body += clause.word + v.sql
		}
	}
	ordered, err := t.orderSelect(order, sel, s, columns)
	return body + ordered, columns, err
}

func (t *Translator) group(sel *Select, s *scope) (string, error) {
	if sel.GroupAll {
		return " GROUP BY ALL", nil
	}
	if len(sel.Group) == 0 {
		return "", nil
	}
	list := make([]string, len(sel.Group))
	for n, x := range sel.Group {
		if l, ok := x.(*Literal); ok && l.Kind == "number" {
			position, err := strconv.Atoi(l.Text)
			if err != nil || position < 1 || position > len(sel.Items) || sel.Items[position-1].Star {
				return "", compileError(1003, "42601", "Invalid position %s in GROUP BY", l.Text)
			}
			x = sel.Items[position-1].X
		}
		v, err := t.expr(x, s)
		if err != nil {
			return "", err
		}
		list[n] = v.sql
	}
	return " GROUP BY " + strings.Join(list, ", "), nil
}

func (t *Translator) orderSelect(order []Order, sel *Select, s *scope, columns []OutColumn) (string, error) {
	if len(order) == 0 {
		return "", nil
	}
	list := make([]string, len(order))
	for n, o := range order {
		text, err := t.orderKey(o, s, columns)
		if err != nil {
			return "", err
		}
		list[n] = text + direction(o)
	}
	return " ORDER BY " + strings.Join(list, ", "), nil
}

func (t *Translator) orderKey(o Order, s *scope, columns []OutColumn) (string, error) {
	if l, ok := o.X.(*Literal); ok && l.Kind == "number" {
		position, err := strconv.Atoi(l.Text)
		if err != nil || position < 1 || position > len(columns) {
			return "", compileError(1003, "42601", "Invalid position %s in ORDER BY", l.Text)
		}
		return strconv.Itoa(position), nil
	}
	if c, ok := o.X.(*Column); ok && len(c.Parts) == 1 {
		for n, column := range columns {
			if column.Name == c.Parts[0] {
				return strconv.Itoa(n + 1), nil
			}
		}
	}
	v, err := t.expr(o.X, s)
	return v.sql, err
}

func (t *Translator) items(sel *Select, s *scope) (items []string, columns []OutColumn, err error) {
	add := func(v value, name string) {
		items = append(items, v.sql+" AS c"+strconv.Itoa(len(items)))
		columns = append(columns, OutColumn{name, v.t})
	}
	for _, i := range sel.Items {
		if !i.Star {
			v, err := t.expr(i.X, s)
			if err != nil {
				return nil, nil, err
			}
			name := i.Alias
			if name == "" {
				name = outputName(i.X)
			}
			add(v, name)
			continue
		}
		found := false
		for _, r := range s.relations {
			if i.Qualifier != nil && !qualifies(i.Qualifier, r.name) {
				continue
			}
			found = true
			for n, c := range r.columns {
				if !r.hidden[c.Name] && !slices.Contains(i.Exclude, c.Name) {
					add(value{columnSQL(r.alias, n), c.Type}, c.Name)
				}
			}
		}
		if !found {
			return nil, nil, compileError(1003, "42601", "SELECT with no columns")
		}
	}
	return items, columns, nil
}

func columnSQL(alias string, n int) string {
	if alias == "" {
		return "c" + strconv.Itoa(n)
	}
	return alias + ".c" + strconv.Itoa(n)
}

// outputName is the name of an output column without an alias.
func outputName(x Expr) string {
	if c, ok := x.(*Column); ok {
		return c.Parts[len(c.Parts)-1]
	}
	return strings.ToUpper(describe(x))
}

// qualifies reports whether a qualifier names a relation of that name.
func qualifies(qualifier, name Name) bool {
	if len(qualifier) > len(name) {
		return false
	}
	return slices.Equal(qualifier, name[len(name)-len(qualifier):])
}

// from translates the tables of FROM and adds them to the scope.
func (t *Translator) from(tables []*Table, s *scope) (string, error) {
	text := ""
	for n, table := range tables {
		r, err := t.table(table, s)
		if err != nil {
			return "", err
		}
		if r, err = rename(r, table.Columns); err != nil {
			return "", err
		}
		alias := t.alias()
		name := table.Name
		if table.Alias != "" {
			name = Name{table.Alias}
		}
		rel := relation{name: name, alias: alias, columns: r.Columns, hidden: map[string]bool{}}
		on := ""
		if len(table.Using) > 0 {
			if on, err = t.using(table.Using, s, rel); err != nil {
				return "", err
			}
			for _, c := range table.Using {
				rel.hidden[c] = true
			}
		}
		s.relations = append(s.relations, rel)
		if table.On != nil {
			v, err := t.boolean(table.On, s)
			if err != nil {
				return "", err
			}
			on = " ON " + v.sql
		}
		if strings.HasSuffix(table.Join, "JOIN") && table.Join != "CROSS JOIN" && on == "" {
			on = " ON TRUE"
		}
		sql := r.SQL + " AS " + alias
		if table.Function != nil {
			sql = "LATERAL " + sql
		}
		switch {
		case n == 0:
			text = sql
		case table.Join == "":
			text += ", " + sql
		default:
			text += " " + table.Join + " " + sql + on
		}
	}
	return text, nil
}

func (t *Translator) using(columns []string, s *scope, r relation) (string, error) {
	var list []string
	for _, name := range columns {
		l, err := t.column(&Column{Parts: []string{name}}, s)
		if err != nil {
			return "", err
		}
		rv, err := t.column(&Column{Parts: []string{name}}, &scope{relations: []relation{r}})
		if err != nil {
			return "", err
		}
		list = append(list, l.sql+" = "+rv.sql)
	}
	return " ON " + strings.Join(list, " AND "), nil
}

func (t *Translator) table(table *Table, s *scope) (Relation, error) {
	switch {
	case table.Query != nil:
		return t.query(table.Query, &scope{outer: s.outer, named: s.allNamed()})
	case table.Values != nil:
		return t.valuesTable(table.Values)
	case table.Function != nil:
		return t.tableFunction(table.Function, s)
	}
	if len(table.Name) == 1 {
		if r, ok := s.allNamed()[table.Name[0]]; ok {
			return r, nil
		}
	}
	return t.Catalog.Relation(table.Name)
}

// allNamed are the queries of WITH that are known.
func (s *scope) allNamed() map[string]Relation {
	all := map[string]Relation{}
	for at := s; at != nil; at = at.outer {
		for name, r := range at.named {
			if _, nearer := all[name]; !nearer {
				all[name] = r
			}
		}
	}
	return all
}

func (t *Translator) valuesTable(rows [][]Expr) (Relation, error) {
	table := make([][]value, len(rows))
	width := len(rows[0])
	types := make([][]Type, width)
	for n, row := range rows {
		if len(row) != width {
			return Relation{}, compileError(1003, "42601", "VALUES clause has rows of different lengths")
		}
		for m, x := range row {
			v, err := t.expr(x, &scope{})
			if err != nil {
				return Relation{}, err
			}
			table[n] = append(table[n], v)
			types[m] = append(types[m], v.t)
		}
	}
	r := Relation{}
	for m := range types {
		r.Columns = append(r.Columns, OutColumn{fmt.Sprintf("COLUMN%d", m+1), common(types[m])})
	}
	lines := make([]string, len(rows))
	for n, row := range table {
		list := make([]string, width)
		for m, v := range row {
			c, err := t.coerce(v, r.Columns[m].Type)
			if err != nil {
				return r, err
			}
			list[m] = c.sql
		}
		lines[n] = "(" + strings.Join(list, ", ") + ")"
	}
	names := make([]string, width)
	for m := range names {
		names[m] = "c" + strconv.Itoa(m)
	}
	r.SQL = "(SELECT * FROM (VALUES " + strings.Join(lines, ", ") + ") AS v(" + strings.Join(names, ", ") + "))"
	return r, nil
}

func (t *Translator) tableFunction(c *Call, s *scope) (Relation, error) {
	if c.Name == "FLATTEN" {
		return t.flatten(c, s)
	}
	args := make([]string, len(c.Args))
	for n, a := range c.Args {
		switch a := a.(type) {
		case *Literal:
			args[n] = a.Text
		case *Call:
			v, _, err := t.Catalog.Value(a.Name, nil)
			if err != nil {
				return Relation{}, err
			}
			if v != nil {
				args[n] = *v
			}
		default:
			return Relation{}, Unsupported("an argument of %s", c.Name)
		}
	}
	return t.Catalog.Table(c.Name, args)
}

// flatten is FLATTEN(input => x), with its columns
// (https://docs.snowflake.com/en/sql-reference/functions/flatten).
func (t *Translator) flatten(c *Call, s *scope) (Relation, error) {
	input := c.Named["INPUT"]
	if input == nil && len(c.Args) == 1 {
		input = c.Args[0]
	}
	if input == nil || len(c.Named) > 1 {
		return Relation{}, Unsupported("FLATTEN with other arguments than input")
	}
	v, err := t.expr(input, s)
	if err != nil {
		return Relation{}, err
	}
	if !v.t.Semi() {
		return Relation{}, compileError(1044, "42P13", "Invalid argument types for function 'FLATTEN': (%s)", v.t)
	}
	columns := []OutColumn{{"SEQ", numberType(38, 0)}, {"KEY", typeNames["VARCHAR"]}, {"PATH", typeNames["VARCHAR"]}, {"INDEX", numberType(38, 0)}, {"VALUE", typeNames["VARIANT"]}, {"THIS", typeNames["VARIANT"]}}
	sql := fmt.Sprintf("(SELECT CAST(1 AS HUGEINT) AS c0, NULLIF(e[1], '') AS c1, e[3] AS c2, TRY_CAST(NULLIF(e[2], '') AS HUGEINT) AS c3, e[4] AS c4, x AS c5 FROM (SELECT x, unnest(sf_flatten(x)) AS e FROM (SELECT %s AS x)))", v.sql)
	return Relation{sql, columns}, nil
}

func numberType(precision, scale int) Type {
	return Type{Name: "NUMBER", Precision: precision, Scale: scale}
}
