package snowsql

import "strings"

// Parse reads one statement. A semicolon may follow it; a second statement is refused
// as Snowflake refuses it in a request for one.
func Parse(source string) (Statement, error) {
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	if tokens[0].kind == end {
		return nil, Errorf(900, "42601", "SQL compilation error:\nEmpty SQL statement.")
	}
	p := &parser{source: source, tokens: tokens}
	s, err := p.statement()
	if err != nil {
		return nil, err
	}
	for p.accept(";") {
	}
	if t := p.peek(); t.kind != end {
		if p.at > 0 && p.tokens[p.at-1].is(";") {
			return nil, Errorf(8, "0A000", "Actual statement count %d did not match the desired statement count 1.", p.count())
		}
		return nil, unexpected(t)
	}
	return s, nil
}

// ParseQuery reads the query of a view.
func ParseQuery(source string) (*Query, error) {
	s, err := Parse(source)
	if err != nil {
		return nil, err
	}
	q, ok := s.(*QueryStatement)
	if !ok {
		return nil, Unsupported("a view without a query")
	}
	return q.Query, nil
}

// count is the number of statements in the source.
func (p *parser) count() int {
	n, inside := 0, false
	for _, t := range p.tokens {
		if t.is(";") || t.kind == end {
			if inside {
				n++
			}
			inside = false
		} else {
			inside = true
		}
	}
	return n
}

func (p *parser) statement() (Statement, error) {
	t := p.peek()
	if t.is("(") {
		q, err := p.query()
		return &QueryStatement{q}, err
	}
	if t.kind != word {
		return nil, unexpected(t)
	}
	readers := map[string]func() (Statement, error){
		"SELECT": p.select_, "WITH": p.select_, "CREATE": p.create, "ALTER": p.alter, "DROP": p.drop,
		"COPY": p.copyInto, "PUT": p.put, "GET": p.get, "LIST": p.list, "LS": p.list, "REMOVE": p.remove, "RM": p.remove,
		"INSERT": p.insert, "UPDATE": p.update, "DELETE": p.delete, "TRUNCATE": p.truncate, "MERGE": p.merge,
		"BEGIN": p.begin, "START": p.begin, "COMMIT": p.commit, "ROLLBACK": p.rollback,
		"USE": p.use, "SHOW": p.show, "DESCRIBE": p.describe, "DESC": p.describe, "GRANT": p.grant, "REVOKE": p.grant, "COMMENT": p.comment,
	}
	read, known := readers[strings.ToUpper(t.text)]
	if !known {
		return nil, unexpected(t)
	}
	return read()
}

func (p *parser) select_() (Statement, error) {
	q, err := p.query()
	return &QueryStatement{q}, err
}

func (p *parser) begin() (Statement, error) {
	if p.accept("START") {
		return &Begin{}, p.expect("TRANSACTION")
	}
	p.take()
	b := &Begin{}
	if !p.accept("WORK") {
		p.accept("TRANSACTION")
	}
	if p.accept("NAME") {
		name, err := p.identifier()
		b.Name = name
		return b, err
	}
	return b, nil
}

func (p *parser) commit() (Statement, error) {
	p.take()
	p.accept("WORK")
	return &Commit{}, nil
}

func (p *parser) rollback() (Statement, error) {
	p.take()
	p.accept("WORK")
	return &Rollback{}, nil
}

func (p *parser) insert() (Statement, error) {
	p.take()
	i := &Insert{Overwrite: p.accept("OVERWRITE")}
	if err := p.expect("INTO"); err != nil {
		return nil, err
	}
	var err error
	if i.Table, err = p.name(); err != nil {
		return nil, err
	}
	if p.peek().is("(") && !p.peekAt(1).is("SELECT", "WITH") {
		if i.Columns, err = p.columnNames(); err != nil {
			return nil, err
		}
	}
	if p.accept("VALUES") {
		i.Values, err = p.rows()
		return i, err
	}
	i.Query, err = p.query()
	return i, err
}

func (p *parser) assignments() ([]Assignment, error) {
	var list []Assignment
	for {
		x, err := p.column()
		if err != nil {
			return nil, err
		}
		if err := p.expect("="); err != nil {
			return nil, err
		}
		v, err := p.expr()
		if err != nil {
			return nil, err
		}
		if list = append(list, Assignment{*x.(*Column), v}); !p.accept(",") {
			return list, nil
		}
	}
}

func (p *parser) update() (Statement, error) {
	p.take()
	u := &Update{}
	var err error
	if u.Table, err = p.name(); err != nil {
		return nil, err
	}
	if u.Alias, err = p.alias(); err != nil {
		return nil, err
	}
	if err := p.expect("SET"); err != nil {
		return nil, err
	}
	if u.Set, err = p.assignments(); err != nil {
		return nil, err
	}
	if p.accept("FROM") {
		if u.From, err = p.from(); err != nil {
			return nil, err
		}
	}
	if p.accept("WHERE") {
		u.Where, err = p.expr()
	}
	return u, err
}

func (p *parser) delete() (Statement, error) {
	p.take()
	d := &Delete{}
	err := p.expect("FROM")
	if err != nil {
		return nil, err
	}
	if d.Table, err = p.name(); err != nil {
		return nil, err
	}
	if d.Alias, err = p.alias(); err != nil {
		return nil, err
	}
	if p.accept("USING") {
		if d.Using, err = p.from(); err != nil {
			return nil, err
		}
	}
	if p.accept("WHERE") {
		d.Where, err = p.expr()
	}
	return d, err
}

func (p *parser) truncate() (Statement, error) {
	p.take()
	p.accept("TABLE")
	t := &Truncate{IfExists: p.accept("IF", "EXISTS")}
	var err error
	t.Table, err = p.name()
	return t, err
}

func (p *parser) merge() (Statement, error) {
	p.take()
	m := &Merge{}
	err := p.expect("INTO")
	if err != nil {
		return nil, err
	}
	if m.Table, err = p.name(); err != nil {
		return nil, err
	}
	if m.Alias, err = p.alias(); err != nil {
		return nil, err
	}
	if err := p.expect("USING"); err != nil {
		return nil, err
	}
	if m.Source, err = p.table(); err != nil {
		return nil, err
	}
	if err := p.expect("ON"); err != nil {
		return nil, err
	}
	if m.On, err = p.expr(); err != nil {
		return nil, err
	}
	for p.accept("WHEN") {
		c, err := p.mergeClause()
		if err != nil {
			return nil, err
		}
		m.When = append(m.When, c)
	}
	if len(m.When) == 0 {
		return nil, unexpected(p.peek())
	}
	return m, nil
}

func (p *parser) mergeClause() (c MergeClause, err error) {
	c.Matched = !p.accept("NOT")
	if err := p.expect("MATCHED"); err != nil {
		return c, err
	}
	if p.accept("AND") {
		if c.And, err = p.expr(); err != nil {
			return c, err
		}
	}
	if err := p.expect("THEN"); err != nil {
		return c, err
	}
	switch {
	case c.Matched && p.accept("UPDATE", "SET"):
		c.Set, err = p.assignments()
		return c, err
	case c.Matched && p.accept("DELETE"):
		c.Delete = true
		return c, nil
	case !c.Matched && p.accept("INSERT"):
		if p.peek().is("(") {
			if c.Columns, err = p.columnNames(); err != nil {
				return c, err
			}
		}
		if err := p.expect("VALUES", "("); err != nil {
			return c, err
		}
		if c.Values, err = p.exprs(); err != nil {
			return c, err
		}
		return c, p.expect(")")
	}
	return c, unexpected(p.peek())
}

func (p *parser) use() (Statement, error) {
	p.take()
	u := &Use{Kind: "DATABASE"}
	t := p.peek()
	if t.is("SECONDARY") {
		p.take()
		if err := p.expect("ROLES"); err != nil {
			return nil, err
		}
		t := p.take()
		if !t.is("ALL", "NONE") {
			return nil, unexpected(t)
		}
		return &Use{Kind: "SECONDARY ROLES", Name: Name{strings.ToUpper(t.text)}}, nil
	}
	if t.is("DATABASE", "SCHEMA", "WAREHOUSE", "ROLE") && p.peekAt(1).kind != end {
		u.Kind = strings.ToUpper(p.take().text)
	}
	var err error
	u.Name, err = p.name()
	if t.is("DATABASE", "SCHEMA", "WAREHOUSE", "ROLE") || err != nil || len(u.Name) == 1 {
		return u, err
	}
	u.Kind = "SCHEMA"
	return u, nil
}
