package snowsql

import "strings"

// location reads a place in a stage, quoted or not.
func (p *parser) location() (Location, error) {
	t := p.take()
	if t.kind != stage && t.kind != text {
		return Location{}, unexpected(t)
	}
	if t.kind == text && !strings.HasPrefix(t.text, "@") {
		if strings.Contains(t.text, "://") {
			return Location{URL: t.text}, nil
		}
		return Location{}, unexpected(t)
	}
	rest := t.text[1:]
	switch {
	case strings.HasPrefix(rest, "~"):
		return Location{User: true, Path: strings.TrimPrefix(rest[1:], "/")}, nil
	case strings.HasPrefix(rest, "%"):
		name, path, _ := strings.Cut(rest[1:], "/")
		return Location{Table: stored(name), Path: path}, nil
	}
	name, path := cutStage(rest)
	tokens, err := lex(name)
	if err != nil {
		return Location{}, err
	}
	q := &parser{source: name, tokens: tokens}
	n, err := q.name()
	if err != nil || q.peek().kind != end {
		return Location{}, unexpected(t)
	}
	return Location{Stage: n, Path: path}, nil
}

// cutStage cuts at the first / outside of double quotes.
func cutStage(s string) (name, path string) {
	inQuotes := false
	for n := range len(s) {
		switch {
		case s[n] == '"':
			inQuotes = !inQuotes
		case s[n] == '/' && !inQuotes:
			return s[:n], s[n+1:]
		}
	}
	return s, ""
}

func stored(name string) string {
	if unquoted, ok := strings.CutPrefix(name, `"`); ok {
		return strings.TrimSuffix(unquoted, `"`)
	}
	return strings.ToUpper(name)
}

func (p *parser) put() (Statement, error) {
	p.take()
	t := p.take()
	if t.kind != file && (t.kind != text || !strings.HasPrefix(t.text, "file://")) {
		return nil, unexpected(t)
	}
	s := &Put{File: strings.TrimPrefix(t.text, "file://")}
	var err error
	if s.To, err = p.location(); err != nil {
		return nil, err
	}
	s.Options, err = p.options()
	return s, err
}

func (p *parser) get() (Statement, error) {
	p.take()
	from, err := p.location()
	if err != nil {
		return nil, err
	}
	t := p.take()
	if t.kind != file && (t.kind != text || !strings.HasPrefix(t.text, "file://")) {
		return nil, unexpected(t)
	}
	return &Get{from, strings.TrimPrefix(t.text, "file://")}, nil
}

func (p *parser) list() (Statement, error) {
	p.take()
	s := &List{}
	var err error
	if s.From, err = p.location(); err != nil {
		return nil, err
	}
	s.Pattern, err = p.pattern()
	return s, err
}

func (p *parser) remove() (Statement, error) {
	p.take()
	s := &Remove{}
	var err error
	if s.From, err = p.location(); err != nil {
		return nil, err
	}
	s.Pattern, err = p.pattern()
	return s, err
}

func (p *parser) pattern() (string, error) {
	if !p.accept("PATTERN", "=") {
		return "", nil
	}
	t := p.take()
	if t.kind != text {
		return "", unexpected(t)
	}
	return t.text, nil
}

// copyOptions are those of COPY INTO a table
// (https://docs.snowflake.com/en/sql-reference/sql/copy-into-table).
var copyOptions = words("FILE_FORMAT ON_ERROR SIZE_LIMIT PURGE RETURN_FAILED_ONLY MATCH_BY_COLUMN_NAME ENFORCE_LENGTH TRUNCATECOLUMNS FORCE LOAD_UNCERTAIN_FILES VALIDATION_MODE LOAD_MODE INCLUDE_METADATA FILE_PROCESSOR")

func (p *parser) copyInto() (Statement, error) {
	p.take()
	if err := p.expect("INTO"); err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind == stage || t.kind == text {
		return nil, Unsupported("COPY INTO a location")
	}
	c := &CopyInto{Options: map[string]Option{}}
	var err error
	if c.Table, err = p.name(); err != nil {
		return nil, err
	}
	if p.peek().is("(") {
		if c.Columns, err = p.columnNames(); err != nil {
			return nil, err
		}
	}
	if err := p.expect("FROM"); err != nil {
		return nil, err
	}
	if p.peek().is("(") {
		return nil, Unsupported("COPY INTO with a transformation")
	}
	if c.From, err = p.location(); err != nil {
		return nil, err
	}
	return c, p.copyClauses(c)
}

func (p *parser) copyClauses(c *CopyInto) error {
	for p.peek().kind == word {
		t := p.take()
		if err := p.expect("="); err != nil {
			return err
		}
		o, err := p.option()
		if err != nil {
			return err
		}
		name := strings.ToUpper(t.text)
		switch {
		case name == "FILES" && o.Kind == "list":
			c.Files, c.HasList = o.List, true
		case name == "PATTERN" && o.Kind == "string":
			c.Pattern = o.Text
		case copyOptions[name]:
			c.Options[name] = o
		default:
			return compileError(1006, "42601", "invalid parameter '%s'", t.text)
		}
		p.accept(",")
	}
	return nil
}
