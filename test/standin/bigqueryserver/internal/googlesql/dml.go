package googlesql

import (
	"fmt"
	"slices"
	"strings"
)

// Mutation is a translated statement that changes rows.
type Mutation struct {
	// Path names the table.
	Path     []string
	Position int
	// SQL is the statement; its check, when there is one, is a query whose rows are a
	// refusal: more than one source row for a row of the target.
	SQL, Check string
	// Columns are those that INSERT names.
	Columns []Column
	// Query is the source of INSERT, in the order of Columns.
	Query string
	// Reads are the columns of the query.
	Reads []Column
}

// Partition is the name of the column of partitions.
const Partition = "_PARTITIONTIME"

// Insert translates INSERT.
func (t *Translator) Insert(tokens []Token) (Mutation, error) {
	t.use(tokens)
	m := Mutation{}
	t.take()
	t.accept("INTO")
	table, err := t.target(&m)
	if err != nil {
		return m, err
	}
	var at []Token
	if t.is("(") && !t.peekAt(1).Is("SELECT") && !t.peekAt(1).Is("WITH") {
		if at, err = t.columnNames(&m, table); err != nil {
			return m, err
		}
	} else {
		m.Columns = slices.Clone(table.Columns)
	}
	source := t.peek().Start
	if t.accept("VALUES") {
		m.Query, err = t.values(&m)
	} else {
		m.Query, err = t.query()
	}
	if err == nil && t.peek().Kind != End {
		err = t.unexpected("Expected end of input but got")
	}
	if err != nil {
		return m, err
	}
	if m.Reads, err = t.Catalog.Describe("SELECT * FROM (" + m.Query + ")"); err != nil {
		return m, err
	}
	if len(m.Reads) != len(m.Columns) {
		return m, errorAt(source, "Inserted row has wrong column count; Has %d, expected %d", len(m.Reads), len(m.Columns))
	}
	for n, c := range m.Columns {
		position := source
		if n < len(at) {
			position = at[n].Start
		}
		if got := m.Reads[n].Type; !assignable(got, c.Type) {
			return m, errorAt(position, "Query column %d has type %s which cannot be inserted into column %s, which has type %s", n+1, got, c.Name, c.Type)
		}
	}
	return m, nil
}

func (t *Translator) columnNames(m *Mutation, table *Table) (at []Token, err error) {
	t.take()
	_, err = t.exprs(func() (string, error) {
		name, err := t.name()
		if err != nil {
			return "", err
		}
		c, ok := table.column(name.Text)
		if !ok {
			return "", errorAt(name.Start, "Column %s is not present in table %s", name.Text, table.Name)
		}
		if slices.ContainsFunc(m.Columns, func(o Column) bool { return strings.EqualFold(o.Name, c.Name) }) {
			return "", errorAt(name.Start, "INSERT has columns with duplicate name: %s", name.Text)
		}
		if c.Name == "_PARTITIONDATE" {
			return "", errorAt(name.Start, "Cannot INSERT value on column _PARTITIONDATE")
		}
		m.Columns, at = append(m.Columns, c), append(at, name)
		return "", nil
	})
	if err == nil {
		err = t.expect(")")
	}
	return at, err
}

func (t *Translator) values(m *Mutation) (string, error) {
	var row int
	rows, err := t.exprs(func() (string, error) {
		row++
		if err := t.expect("("); err != nil {
			return "", err
		}
		n := 0
		list, err := t.exprs(func() (string, error) {
			at := t.peek().Start
			if t.is("DEFAULT") {
				return "", t.unknown("DEFAULT in VALUES")
			}
			e, err := t.expr()
			if err == nil && strings.Contains(e.Type, "_field_") {
				err = t.unknown("a STRUCT with unnamed fields in VALUES")
			}
			if err == nil && n < len(m.Columns) {
				e = coerce(e, m.Columns[n].Type)
				if !assignable(e.Type, m.Columns[n].Type) {
					err = errorAt(at, "Value has type %s which cannot be inserted into column %s, which has type %s", e.Type, m.Columns[n].Name, m.Columns[n].Type)
				}
				e.SQL = "CAST(" + e.SQL + " AS " + DuckType(m.Columns[n].Type) + ")"
			}
			n++
			return e.SQL, err
		})
		if err == nil && n != len(m.Columns) {
			err = errorAt(t.peek().Start, "Inserted row has wrong column count; Has %d, expected %d", n, len(m.Columns))
		}
		if err == nil {
			err = t.expect(")")
		}
		return "(" + list + ")", err
	})
	return "SELECT * FROM (VALUES " + rows + ")", err
}

// assignable reports whether a value may be stored in a column.
func assignable(from, to string) bool {
	switch {
	case from == "" || from == "NULL" || from == to || to == "":
		return true
	case from == "INT64":
		return isNumber(to)
	case from == "NUMERIC":
		return to == "BIGNUMERIC" || to == "FLOAT64"
	case from == "BIGNUMERIC":
		return to == "FLOAT64" || to == "NUMERIC" // the two are one type here
	}
	return strings.HasPrefix(from, "ARRAY<") && strings.HasPrefix(to, "ARRAY<") || strings.HasPrefix(from, "STRUCT<") && strings.HasPrefix(to, "STRUCT<")
}

// target reads the table that a statement changes.
func (t *Translator) target(m *Mutation) (*Table, error) {
	m.Position = t.peek().Start
	path, err := t.path()
	if err != nil {
		return nil, err
	}
	m.Path = path
	table, err := t.Catalog.Read(path, m.Position)
	if err == nil && strings.HasPrefix(table.SQL, "(") {
		return nil, errorAt(m.Position, "%s is not a table that can be changed", strings.Join(path, "."))
	}
	return table, err
}

// Update translates UPDATE.
func (t *Translator) Update(tokens []Token) (Mutation, error) {
	t.use(tokens)
	start := t.take().Start
	m := Mutation{}
	table, err := t.target(&m)
	if err != nil {
		return m, err
	}
	alias, err := t.alias(m.Path[len(m.Path)-1])
	if err != nil {
		return m, err
	}
	if err := t.expect("SET"); err != nil {
		return m, err
	}
	// The list of SET comes before FROM, whose names it may use.
	set := t.at
	s := newScope()
	s.items = []item{{alias: alias, table: table}}
	defer t.enter(s)()
	from, after := "", -1
	if at := t.findFrom(); at >= 0 {
		t.at = at + 1
		if from, err = t.from(s); err != nil {
			return m, err
		}
		after, t.at = t.at, set
	}
	assignments, err := t.assignments(table)
	if err != nil {
		return m, err
	}
	if after >= 0 {
		t.at = after
	}
	if !t.accept("WHERE") {
		if t.peek().Kind != End {
			return m, t.unexpected("Expected end of input but got")
		}
		return m, errorAt(start, "UPDATE must have a WHERE clause")
	}
	where, err := t.expr()
	if err == nil && t.peek().Kind != End {
		err = t.unexpected("Expected end of input but got")
	}
	m.SQL = "UPDATE " + table.SQL + " AS " + QuoteName(alias) + " SET " + assignments
	if from != "" {
		m.SQL += " FROM " + from
		m.Check = fmt.Sprintf("SELECT 1 FROM %s AS %s, %s WHERE %s GROUP BY %s.rowid HAVING count(*) > 1 LIMIT 1", table.SQL, QuoteName(alias), from, where.SQL, QuoteName(alias))
	}
	m.SQL += " WHERE " + where.SQL
	return m, err
}

func (t *Translator) assignments(table *Table) (string, error) {
	return t.exprs(func() (string, error) {
		name, err := t.name()
		if err != nil {
			return "", err
		}
		if t.is(".") {
			return "", t.unknown("SET of a field")
		}
		c, ok := table.column(name.Text)
		if !ok {
			return "", t.unrecognized(name)
		}
		if err := t.expect("="); err != nil {
			return "", err
		}
		if t.accept("DEFAULT") {
			return QuoteName(c.Name) + " = NULL", nil
		}
		at := t.peek().Start
		e, err := t.expr()
		e = coerce(e, c.Type)
		if err == nil && !assignable(e.Type, c.Type) {
			err = errorAt(at, "Value of type %s cannot be assigned to %s, which has type %s", e.Type, c.Name, c.Type)
		}
		if c.Name == Partition && table.IngestionTime {
			e.SQL = "bq_partition(" + e.SQL + ")"
		}
		return QuoteName(c.Name) + " = " + e.SQL, err
	})
}

// Delete translates DELETE.
func (t *Translator) Delete(tokens []Token) (Mutation, error) {
	t.use(tokens)
	start := t.take().Start
	t.accept("FROM")
	m := Mutation{}
	table, err := t.target(&m)
	if err != nil {
		return m, err
	}
	alias, err := t.alias(m.Path[len(m.Path)-1])
	if err != nil {
		return m, err
	}
	if !t.accept("WHERE") {
		if t.peek().Kind != End {
			return m, t.unexpected("Expected end of input but got")
		}
		return m, errorAt(start, "DELETE must have a WHERE clause")
	}
	s := newScope()
	s.items = []item{{alias: alias, table: table}}
	defer t.enter(s)()
	where, err := t.expr()
	if err == nil && t.peek().Kind != End {
		err = t.unexpected("Expected end of input but got")
	}
	m.SQL = "DELETE FROM " + table.SQL + " AS " + QuoteName(alias) + " WHERE " + where.SQL
	return m, err
}

// Truncate translates TRUNCATE TABLE.
func (t *Translator) Truncate(tokens []Token) (Mutation, error) {
	t.use(tokens)
	t.at += 2
	m := Mutation{}
	table, err := t.target(&m)
	if err != nil {
		return m, err
	}
	m.SQL = "DELETE FROM " + table.SQL
	if t.peek().Kind != End {
		err = t.unexpected("Expected end of input but got")
	}
	return m, err
}

// Merge translates MERGE.
func (t *Translator) Merge(tokens []Token) (Mutation, error) {
	t.use(tokens)
	t.take()
	t.accept("INTO")
	m := Mutation{}
	table, err := t.target(&m)
	if err != nil {
		return m, err
	}
	alias, err := t.alias(m.Path[len(m.Path)-1])
	if err == nil {
		err = t.expect("USING")
	}
	if err != nil {
		return m, err
	}
	s := newScope()
	s.items = []item{{alias: alias, table: table}}
	defer t.enter(s)()
	source, err := t.fromItem(s)
	if err == nil {
		err = t.expect("ON")
	}
	if err != nil {
		return m, err
	}
	on, err := t.expr()
	if err != nil {
		return m, err
	}
	m.SQL = "MERGE INTO " + table.SQL + " AS " + QuoteName(alias) + " USING " + source + " ON " + on.SQL
	for t.accept("WHEN") {
		clause, err := t.mergeWhen(table, s)
		if err != nil {
			return m, err
		}
		m.SQL += clause
	}
	if t.peek().Kind != End {
		err = t.unexpected("Unexpected")
	}
	m.Check = fmt.Sprintf("SELECT 1 FROM %s AS %s JOIN %s ON %s GROUP BY %s.rowid HAVING count(*) > 1 LIMIT 1", table.SQL, QuoteName(alias), source, on.SQL, QuoteName(alias))
	return m, err
}

func (t *Translator) mergeWhen(table *Table, s *scope) (string, error) {
	var sql string
	switch {
	case t.accept("MATCHED"):
		sql = " WHEN MATCHED"
	case t.accept("NOT MATCHED BY SOURCE"):
		sql = " WHEN NOT MATCHED BY SOURCE"
	case t.accept("NOT MATCHED BY TARGET"), t.accept("NOT MATCHED"):
		sql = " WHEN NOT MATCHED"
	default:
		return "", t.unexpected("Unexpected")
	}
	if t.accept("AND") {
		e, err := t.expr()
		if err != nil {
			return "", err
		}
		sql += " AND " + e.SQL
	}
	if err := t.expect("THEN"); err != nil {
		return "", err
	}
	switch {
	case t.accept("UPDATE SET"):
		list, err := t.assignments(table)
		return sql + " THEN UPDATE SET " + list, err
	case t.accept("DELETE"):
		return sql + " THEN DELETE", nil
	case t.accept("INSERT ROW"):
		return sql + " THEN INSERT " + insertRow(table, s.items[1]), nil
	case t.accept("INSERT"):
		insert, err := t.mergeInsert(table, s)
		return sql + " THEN INSERT " + insert, err
	}
	return "", t.unexpected("Unexpected")
}

// insertRow returns the columns and values of the clause INSERT ROW: the columns of the
// source, in their order.
func insertRow(table *Table, source item) string {
	var columns, values []string
	for n, c := range table.Columns {
		if n < len(source.table.Columns) {
			columns, values = append(columns, QuoteName(c.Name)), append(values, QuoteName(source.alias)+"."+QuoteName(source.table.Columns[n].Name))
		}
	}
	return "(" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(values, ", ") + ")"
}

// mergeInsert translates the columns and values of INSERT [(columns)] VALUES (expressions).
func (t *Translator) mergeInsert(table *Table, s *scope) (string, error) {
	var m Mutation
	if t.is("(") {
		if _, err := t.columnNames(&m, table); err != nil {
			return "", err
		}
	} else {
		m.Columns = table.Columns
	}
	names := make([]string, len(m.Columns))
	for n, c := range m.Columns {
		names[n] = QuoteName(c.Name)
	}
	if table.IngestionTime {
		return "", t.unknown("MERGE that inserts into an ingestion-time partitioned table")
	}
	if err := t.expect("VALUES"); err != nil {
		return "", err
	}
	// Only the source's names may be used.
	source := newScope()
	source.items = s.items[1:]
	saved := t.scopes
	t.scopes = append(t.scopes[:len(t.scopes)-1:len(t.scopes)-1], source)
	defer func() { t.scopes = saved }()
	if err := t.expect("("); err != nil {
		return "", err
	}
	n := 0
	list, err := t.exprs(func() (string, error) {
		e, err := t.expr()
		if n < len(m.Columns) {
			e = coerce(e, m.Columns[n].Type)
		}
		n++
		return e.SQL, err
	})
	if err == nil {
		err = t.expect(")")
	}
	return "(" + strings.Join(names, ", ") + ") VALUES (" + list + ")", err
}
