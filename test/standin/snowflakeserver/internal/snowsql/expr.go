package snowsql

import (
	"strings"
)

// parser reads one statement.
type parser struct {
	source string
	tokens []token
	at     int
	binds  int
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) peekAt(n int) token {
	if p.at+n >= len(p.tokens) {
		return p.tokens[len(p.tokens)-1]
	}
	return p.tokens[p.at+n]
}

func (p *parser) take() token {
	t := p.tokens[p.at]
	if t.kind != end {
		p.at++
	}
	return t
}

// accept takes the next tokens when they are these words.
func (p *parser) accept(words ...string) bool {
	for n, w := range words {
		if !p.peekAt(n).is(w) {
			return false
		}
	}
	p.at += len(words)
	return true
}

func (p *parser) expect(words ...string) error {
	for _, w := range words {
		if t := p.take(); !t.is(w) {
			return unexpected(t)
		}
	}
	return nil
}

func (t token) at() Place { return Place{t.line, t.column} }

// reserved are words that are no identifiers
// (https://docs.snowflake.com/en/sql-reference/reserved-keywords).
var reserved = words("ALL ALTER AND ANY AS BETWEEN BY CASE CAST CHECK COLUMN CONNECT CONSTRAINT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER DELETE DISTINCT DROP ELSE EXISTS FALSE FOLLOWING FOR FROM FULL GRANT GROUP HAVING ILIKE IN INCREMENT INNER INSERT INTERSECT INTO IS JOIN LATERAL LEFT LIKE LOCALTIME LOCALTIMESTAMP MINUS NATURAL NOT NULL OF ON OR ORDER QUALIFY REGEXP REVOKE RIGHT RLIKE ROW ROWS SAMPLE SELECT SET SOME START TABLE TABLESAMPLE THEN TO TRIGGER TRUE TRY_CAST UNION UNIQUE UPDATE USING VALUES WHEN WHENEVER WHERE WITH")

// notAliases are words that end an expression or a table where an alias could be.
var notAliases = words("LIMIT OFFSET FETCH WINDOW EXCEPT ASC DESC NULLS SWAP OVERWRITE")

func words(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

// identifier takes a name as it is stored.
func (p *parser) identifier() (string, error) {
	t := p.peek()
	switch {
	case t.kind == quoted && t.text != "":
		p.take()
		return t.text, nil
	case t.kind == word && !reserved[strings.ToUpper(t.text)]:
		p.take()
		return strings.ToUpper(t.text), nil
	}
	return "", unexpected(t)
}

// name takes a name of up to three parts. IDENTIFIER('x') is a name too.
func (p *parser) name() (Name, error) {
	if p.peek().is("IDENTIFIER") && p.peekAt(1).is("(") && p.peekAt(2).kind == text {
		inner := p.peekAt(2)
		p.at += 3
		if err := p.expect(")"); err != nil {
			return nil, err
		}
		tokens, err := lex(inner.text)
		if err != nil {
			return nil, err
		}
		q := &parser{source: inner.text, tokens: tokens}
		n, err := q.name()
		if err == nil && q.peek().kind != end {
			err = unexpected(q.peek())
		}
		return n, err
	}
	var n Name
	for {
		part, err := p.identifier()
		if err != nil {
			return nil, err
		}
		n = append(n, part)
		if !p.peek().is(".") {
			break
		}
		p.take()
	}
	if len(n) > 3 {
		return nil, unexpected(p.peek())
	}
	return n, nil
}

func (p *parser) expr() (Expr, error) { return p.or() }

func (p *parser) or() (Expr, error) { return p.binary(p.and, "OR") }

func (p *parser) and() (Expr, error) { return p.binary(p.not, "AND") }

func (p *parser) binary(operand func() (Expr, error), ops ...string) (Expr, error) {
	l, err := operand()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		if !t.is(ops...) {
			return l, nil
		}
		p.take()
		r, err := operand()
		if err != nil {
			return nil, err
		}
		l = &Binary{t.at(), strings.ToUpper(t.text), l, r}
	}
}

func (p *parser) not() (Expr, error) {
	if t := p.peek(); t.is("NOT") {
		p.take()
		x, err := p.not()
		return &Unary{t.at(), "NOT", x}, err
	}
	return p.comparison()
}

func (p *parser) comparison() (Expr, error) {
	x, err := p.concat()
	if err != nil {
		return nil, err
	}
	for {
		t := p.peek()
		not := t.is("NOT") && p.peekAt(1).is("IN", "BETWEEN", "LIKE", "ILIKE")
		if not {
			p.take()
		}
		switch next := p.peek(); {
		case next.is("=", "<>", "!=", "<", "<=", ">", ">="):
			p.take()
			r, err := p.concat()
			if err != nil {
				return nil, err
			}
			x = &Binary{t.at(), next.text, x, r}
		case next.is("LIKE", "ILIKE"):
			p.take()
			r, err := p.concat()
			if err != nil {
				return nil, err
			}
			x = &Binary{t.at(), strings.ToUpper(next.text), x, r}
			if not {
				x = &Unary{t.at(), "NOT", x}
			}
		case next.is("BETWEEN"):
			p.take()
			low, err := p.concat()
			if err != nil {
				return nil, err
			}
			if err := p.expect("AND"); err != nil {
				return nil, err
			}
			high, err := p.concat()
			if err != nil {
				return nil, err
			}
			x = &Between{t.at(), x, low, high, not}
		case next.is("IN"):
			p.take()
			in, err := p.in(t, x, not)
			if err != nil {
				return nil, err
			}
			x = in
		case next.is("IS"):
			p.take()
			is, err := p.is(t, x)
			if err != nil {
				return nil, err
			}
			x = is
		default:
			return x, nil
		}
	}
}

func (p *parser) is(at token, x Expr) (Expr, error) {
	not := p.accept("NOT")
	if p.accept("NULL") {
		return &IsNull{at.at(), x, not}, nil
	}
	if p.accept("DISTINCT", "FROM") {
		r, err := p.concat()
		op := "IS DISTINCT FROM"
		if not {
			op = "IS NOT DISTINCT FROM"
		}
		return &Binary{at.at(), op, x, r}, err
	}
	return nil, unexpected(p.peek())
}

func (p *parser) in(at token, x Expr, not bool) (Expr, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	in := &In{Place: at.at(), X: x, Not: not}
	var err error
	if p.peek().is("SELECT", "WITH") {
		in.Query, err = p.query()
	} else {
		in.List, err = p.exprs()
	}
	if err != nil {
		return nil, err
	}
	return in, p.expect(")")
}

func (p *parser) exprs() ([]Expr, error) {
	var list []Expr
	for {
		x, err := p.expr()
		if err != nil {
			return nil, err
		}
		if list = append(list, x); !p.accept(",") {
			return list, nil
		}
	}
}

func (p *parser) concat() (Expr, error) { return p.binary(p.sum, "||") }

func (p *parser) sum() (Expr, error) { return p.binary(p.product, "+", "-") }

func (p *parser) product() (Expr, error) { return p.binary(p.unary, "*", "/", "%") }

func (p *parser) unary() (Expr, error) {
	if t := p.peek(); t.is("-", "+") {
		p.take()
		x, err := p.unary()
		return &Unary{t.at(), t.text, x}, err
	}
	return p.postfix()
}

// postfix reads a value with its paths and casts.
func (p *parser) postfix() (Expr, error) {
	x, err := p.primary()
	if err != nil {
		return nil, err
	}
	for {
		switch t := p.peek(); {
		case t.is("::"):
			p.take()
			to, err := p.typeName()
			if err != nil {
				return nil, err
			}
			x = &Cast{Place: t.at(), X: x, To: to}
		case t.is(":"):
			p.take()
			key, err := p.key()
			if err != nil {
				return nil, err
			}
			path := &Path{t.at(), x, []any{key}}
			if x, err = p.path(path); err != nil {
				return nil, err
			}
		case t.is("["):
			if x, err = p.path(&Path{Place: t.at(), X: x}); err != nil {
				return nil, err
			}
		default:
			return x, nil
		}
	}
}

// path reads .key, ['key'] and [0] after the first key.
func (p *parser) path(x *Path) (Expr, error) {
	for {
		switch {
		case p.accept("."):
			key, err := p.key()
			if err != nil {
				return nil, err
			}
			x.Keys = append(x.Keys, key)
		case p.accept("["):
			t := p.take()
			switch t.kind {
			case text:
				x.Keys = append(x.Keys, t.text)
			case number:
				index := 0
				for _, d := range t.text {
					if d < '0' || d > '9' {
						return nil, unexpected(t)
					}
					index = index*10 + int(d-'0')
				}
				x.Keys = append(x.Keys, index)
			default:
				return nil, unexpected(t)
			}
			if err := p.expect("]"); err != nil {
				return nil, err
			}
		default:
			return x, nil
		}
	}
}

// key reads a key of a path: case matters.
func (p *parser) key() (string, error) {
	t := p.take()
	if t.kind != word && t.kind != quoted {
		return "", unexpected(t)
	}
	return t.text, nil
}

func (p *parser) primary() (Expr, error) {
	t := p.peek()
	switch t.kind {
	case text:
		p.take()
		return &Literal{t.at(), "string", t.text}, nil
	case number:
		p.take()
		return &Literal{t.at(), "number", t.text}, nil
	case binding:
		p.take()
		p.binds++
		return &Bind{t.at(), p.binds}, nil
	case special:
		p.take()
		return &Column{t.at(), []string{t.text}}, nil
	case quoted:
		return p.column()
	case symbol:
		if t.is("(") {
			return p.parenthesis()
		}
		return nil, unexpected(t)
	case word:
		return p.wordExpr()
	}
	return nil, unexpected(t)
}

func (p *parser) parenthesis() (Expr, error) {
	t := p.take()
	if p.peek().is("SELECT", "WITH") {
		q, err := p.query()
		if err != nil {
			return nil, err
		}
		return &Scalar{t.at(), q}, p.expect(")")
	}
	x, err := p.expr()
	if err != nil {
		return nil, err
	}
	return x, p.expect(")")
}

// bare are functions that need no parentheses.
var bare = words("CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER LOCALTIME LOCALTIMESTAMP")

func (p *parser) wordExpr() (Expr, error) {
	t := p.peek()
	upper := strings.ToUpper(t.text)
	switch upper {
	case "TRUE", "FALSE":
		p.take()
		return &Literal{t.at(), "boolean", upper}, nil
	case "NULL":
		p.take()
		return &Literal{t.at(), "null", ""}, nil
	case "CASE":
		return p.caseExpr()
	case "CAST", "TRY_CAST":
		return p.cast()
	case "EXISTS":
		p.take()
		if err := p.expect("("); err != nil {
			return nil, err
		}
		q, err := p.query()
		if err != nil {
			return nil, err
		}
		return &Exists{t.at(), q}, p.expect(")")
	case "DATE", "TIMESTAMP", "TIME":
		if p.peekAt(1).kind == text {
			p.take()
			s := p.take()
			return &Cast{Place: t.at(), X: &Literal{s.at(), "string", s.text}, To: typeNames[upper]}, nil
		}
	}
	if bare[upper] && !p.peekAt(1).is("(") {
		p.take()
		return &Call{Place: t.at(), Name: upper}, nil
	}
	if p.peekAt(1).is("(") || p.peekAt(1).is("$") {
		return p.call()
	}
	return p.column()
}

func (p *parser) column() (Expr, error) {
	t := p.peek()
	c := &Column{Place: t.at()}
	for {
		part, err := p.identifier()
		if err != nil {
			return nil, err
		}
		c.Parts = append(c.Parts, part)
		if !p.peek().is(".") || p.peekAt(1).is("*") {
			return c, nil
		}
		p.take()
	}
}

func (p *parser) cast() (Expr, error) {
	t := p.take()
	if err := p.expect("("); err != nil {
		return nil, err
	}
	x, err := p.expr()
	if err != nil {
		return nil, err
	}
	if err := p.expect("AS"); err != nil {
		return nil, err
	}
	to, err := p.typeName()
	if err != nil {
		return nil, err
	}
	return &Cast{t.at(), x, to, t.is("TRY_CAST")}, p.expect(")")
}

func (p *parser) caseExpr() (Expr, error) {
	c := &Case{Place: p.take().at()}
	var err error
	if !p.peek().is("WHEN") {
		if c.X, err = p.expr(); err != nil {
			return nil, err
		}
	}
	for p.accept("WHEN") {
		when, err := p.expr()
		if err != nil {
			return nil, err
		}
		if err := p.expect("THEN"); err != nil {
			return nil, err
		}
		then, err := p.expr()
		if err != nil {
			return nil, err
		}
		c.When, c.Then = append(c.When, when), append(c.Then, then)
	}
	if len(c.When) == 0 {
		return nil, unexpected(p.peek())
	}
	if p.accept("ELSE") {
		if c.Else, err = p.expr(); err != nil {
			return nil, err
		}
	}
	return c, p.expect("END")
}

func (p *parser) call() (Expr, error) {
	t := p.take()
	c := &Call{Place: t.at(), Name: strings.ToUpper(t.text)}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	switch {
	case p.accept("*"):
		c.Star = true
	case p.peek().is(")"):
	case p.peek().kind == word && p.peekAt(1).is("=>"):
		if err := p.namedArguments(c); err != nil {
			return nil, err
		}
	default:
		c.Distinct = p.accept("DISTINCT")
		var err error
		if c.Args, err = p.exprs(); err != nil {
			return nil, err
		}
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	if p.accept("WITHIN", "GROUP") {
		if err := p.expect("("); err != nil {
			return nil, err
		}
		var err error
		if c.Order, err = p.order(); err != nil {
			return nil, err
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
	}
	if p.peek().is("OVER") {
		return c, p.over(c)
	}
	return c, nil
}

func (p *parser) namedArguments(c *Call) error {
	c.Named = map[string]Expr{}
	for {
		t := p.take()
		if t.kind != word {
			return unexpected(t)
		}
		if err := p.expect("=>"); err != nil {
			return err
		}
		x, err := p.expr()
		if err != nil {
			return err
		}
		if c.Named[strings.ToUpper(t.text)] = x; !p.accept(",") {
			return nil
		}
	}
}

func (p *parser) over(c *Call) error {
	if err := p.expect("OVER", "("); err != nil {
		return err
	}
	c.Over = &Window{}
	var err error
	if p.accept("PARTITION", "BY") {
		if c.Over.Partition, err = p.exprs(); err != nil {
			return err
		}
	}
	if p.peek().is("ORDER") {
		if c.Over.Order, err = p.order(); err != nil {
			return err
		}
	}
	return p.expect(")")
}

func (p *parser) order() ([]Order, error) {
	if err := p.expect("ORDER", "BY"); err != nil {
		return nil, err
	}
	var list []Order
	for {
		x, err := p.expr()
		if err != nil {
			return nil, err
		}
		o := Order{X: x}
		if p.accept("DESC") {
			o.Descending = true
		} else {
			p.accept("ASC")
		}
		if p.accept("NULLS") {
			t := p.take()
			if !t.is("FIRST", "LAST") {
				return nil, unexpected(t)
			}
			o.Nulls = strings.ToUpper(t.text)
		}
		if list = append(list, o); !p.accept(",") {
			return list, nil
		}
	}
}
