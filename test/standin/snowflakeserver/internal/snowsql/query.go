package snowsql

import "strings"

// query reads a SELECT with WITH, set operations, ORDER BY and LIMIT.
func (p *parser) query() (*Query, error) {
	var with []Named
	if p.accept("WITH") {
		for {
			n, err := p.named()
			if err != nil {
				return nil, err
			}
			if with = append(with, n); !p.accept(",") {
				break
			}
		}
	}
	q, err := p.setOperation()
	if err != nil {
		return nil, err
	}
	q.With = with
	if p.peek().is("ORDER") {
		if q.Order, err = p.order(); err != nil {
			return nil, err
		}
	}
	if p.accept("LIMIT") {
		if q.Limit, err = p.expr(); err != nil {
			return nil, err
		}
	}
	if p.accept("OFFSET") {
		if q.Offset, err = p.expr(); err != nil {
			return nil, err
		}
	}
	return q, nil
}

func (p *parser) named() (n Named, err error) {
	if n.Name, err = p.identifier(); err != nil {
		return n, err
	}
	if p.peek().is("(") {
		if n.Columns, err = p.columnNames(); err != nil {
			return n, err
		}
	}
	if err := p.expect("AS", "("); err != nil {
		return n, err
	}
	if n.Query, err = p.query(); err != nil {
		return n, err
	}
	return n, p.expect(")")
}

// columnNames reads (a, b).
func (p *parser) columnNames() ([]string, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var list []string
	for {
		name, err := p.identifier()
		if err != nil {
			return nil, err
		}
		if list = append(list, name); !p.accept(",") {
			return list, p.expect(")")
		}
	}
}

func (p *parser) setOperation() (*Query, error) {
	q, err := p.queryTerm()
	if err != nil {
		return nil, err
	}
	for {
		op := ""
		switch {
		case p.accept("UNION", "ALL"):
			op = "UNION ALL"
		case p.accept("UNION"):
			op = "UNION"
		case p.accept("EXCEPT"), p.accept("MINUS"):
			op = "EXCEPT"
		case p.accept("INTERSECT"):
			op = "INTERSECT"
		default:
			return q, nil
		}
		r, err := p.queryTerm()
		if err != nil {
			return nil, err
		}
		q = &Query{Left: q, Op: op, Right: r}
	}
}

func (p *parser) queryTerm() (*Query, error) {
	if p.accept("(") {
		q, err := p.query()
		if err != nil {
			return nil, err
		}
		return q, p.expect(")")
	}
	if err := p.expect("SELECT"); err != nil {
		return nil, err
	}
	s := &Select{Distinct: p.accept("DISTINCT")}
	for {
		item, err := p.item()
		if err != nil {
			return nil, err
		}
		if s.Items = append(s.Items, item); !p.accept(",") {
			break
		}
	}
	return &Query{Select: s}, p.clauses(s)
}

func (p *parser) clauses(s *Select) (err error) {
	if p.accept("FROM") {
		if s.From, err = p.from(); err != nil {
			return err
		}
	}
	if p.accept("WHERE") {
		if s.Where, err = p.expr(); err != nil {
			return err
		}
	}
	if p.accept("GROUP", "BY") {
		if p.accept("ALL") {
			s.GroupAll = true
		} else if s.Group, err = p.exprs(); err != nil {
			return err
		}
	}
	if p.accept("HAVING") {
		if s.Having, err = p.expr(); err != nil {
			return err
		}
	}
	if p.accept("QUALIFY") {
		s.Qualify, err = p.expr()
	}
	return err
}

func (p *parser) item() (i Item, err error) {
	if p.accept("*") {
		i.Star = true
		return i, p.exclude(&i)
	}
	if i.X, err = p.expr(); err != nil {
		return i, err
	}
	if c, ok := i.X.(*Column); ok && p.peek().is(".") && p.peekAt(1).is("*") {
		p.at += 2
		i.Star, i.X, i.Qualifier = true, nil, c.Parts
		return i, p.exclude(&i)
	}
	i.Alias, err = p.alias()
	return i, err
}

func (p *parser) exclude(i *Item) (err error) {
	if p.accept("EXCLUDE") {
		if p.peek().is("(") {
			i.Exclude, err = p.columnNames()
			return err
		}
		name, err := p.identifier()
		i.Exclude = []string{name}
		return err
	}
	return nil
}

// alias reads an optional alias.
func (p *parser) alias() (string, error) {
	if p.accept("AS") {
		return p.identifier()
	}
	t := p.peek()
	if t.kind == quoted || t.kind == word && !reserved[strings.ToUpper(t.text)] && !notAliases[strings.ToUpper(t.text)] {
		return p.identifier()
	}
	return "", nil
}

// from reads the tables of FROM with their joins.
func (p *parser) from() ([]*Table, error) {
	first, err := p.table()
	if err != nil {
		return nil, err
	}
	list := []*Table{first}
	for {
		join := p.join()
		if join == "" && !p.accept(",") {
			return list, nil
		}
		t, err := p.table()
		if err != nil {
			return nil, err
		}
		t.Join = join
		switch {
		case join == "" || join == "CROSS JOIN":
		case p.accept("ON"):
			if t.On, err = p.expr(); err != nil {
				return nil, err
			}
		case p.accept("USING"):
			if t.Using, err = p.columnNames(); err != nil {
				return nil, err
			}
		}
		list = append(list, t)
	}
}

func (p *parser) join() string {
	switch {
	case p.accept("JOIN"), p.accept("INNER", "JOIN"):
		return "JOIN"
	case p.accept("LEFT", "OUTER", "JOIN"), p.accept("LEFT", "JOIN"):
		return "LEFT JOIN"
	case p.accept("RIGHT", "OUTER", "JOIN"), p.accept("RIGHT", "JOIN"):
		return "RIGHT JOIN"
	case p.accept("FULL", "OUTER", "JOIN"), p.accept("FULL", "JOIN"):
		return "FULL JOIN"
	case p.accept("CROSS", "JOIN"):
		return "CROSS JOIN"
	}
	return ""
}

func (p *parser) table() (*Table, error) {
	t := &Table{Place: p.peek().at()}
	var err error
	switch {
	case p.accept("TABLE", "("):
		if t.Function, err = p.tableFunction(); err == nil {
			err = p.expect(")")
		}
	case p.accept("LATERAL"):
		if p.peek().is("(") {
			return nil, Unsupported("LATERAL of a query")
		}
		t.Function, err = p.tableFunction()
	case p.peek().is("VALUES"):
		p.take()
		t.Values, err = p.rows()
	case p.accept("("):
		if p.peek().is("VALUES") {
			p.take()
			t.Values, err = p.rows()
		} else {
			t.Query, err = p.query()
		}
		if err == nil {
			err = p.expect(")")
		}
	case p.peek().kind == stage:
		return nil, Unsupported("a query of a stage")
	default:
		t.Name, err = p.name()
	}
	if err != nil {
		return nil, err
	}
	if t.Alias, err = p.alias(); err != nil {
		return nil, err
	}
	if t.Alias != "" && p.peek().is("(") {
		t.Columns, err = p.columnNames()
	}
	return t, err
}

func (p *parser) tableFunction() (*Call, error) {
	x, err := p.call()
	if err != nil {
		return nil, err
	}
	c, ok := x.(*Call)
	if !ok {
		return nil, unexpected(p.peek())
	}
	return c, nil
}

// rows reads the rows of VALUES.
func (p *parser) rows() ([][]Expr, error) {
	var list [][]Expr
	for {
		if err := p.expect("("); err != nil {
			return nil, err
		}
		row, err := p.exprs()
		if err != nil {
			return nil, err
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
		if list = append(list, row); !p.accept(",") {
			return list, nil
		}
	}
}
