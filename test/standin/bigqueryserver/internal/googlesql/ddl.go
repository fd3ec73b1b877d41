package googlesql

import (
	"strings"
)

// Definition is a parsed statement of DDL.
type Definition struct {
	Path        []string
	Position    int
	Replace     bool // OR REPLACE
	IfNotExists bool
	IfExists    bool
	Temporary   bool
	Cascade     bool

	// Columns are those of CREATE TABLE or ADD COLUMN.
	Columns []ColumnDefinition
	// Dropped are the columns of DROP COLUMN.
	Dropped []DroppedColumn
	// PartitionBy is the expression of PARTITION BY in upper case without blanks.
	PartitionBy string
	ClusterBy   []string
	// Options are those of OPTIONS or SET OPTIONS, by their names in lower case.
	Options map[string][]Token
	// Query holds the tokens after AS.
	Query []Token
	// QueryText is the source of the query.
	QueryText string
}

// ColumnDefinition is a column that a statement of DDL defines.
type ColumnDefinition struct {
	Column
	Required    bool
	IfNotExists bool
	Options     map[string][]Token
}

// DroppedColumn is a column that a statement drops.
type DroppedColumn struct {
	Name     string
	IfExists bool
}

// Define parses a statement of DDL.
func (t *Translator) Define(tokens []Token) (Definition, error) {
	t.use(tokens)
	d := Definition{}
	var err error
	switch {
	case t.accept("CREATE"):
		err = t.create(&d)
	case t.accept("DROP"):
		t.take()
		d.IfExists = t.accept("IF EXISTS")
		d.Position = t.peek().Start
		if d.Path, err = t.path(); err == nil && t.accept("CASCADE") {
			d.Cascade = true
		} else {
			t.accept("RESTRICT")
		}
	case t.accept("ALTER TABLE"):
		err = t.alter(&d)
	}
	if err == nil && t.peek().Kind != End {
		err = t.unexpected("Unexpected")
	}
	return d, err
}

func (t *Translator) create(d *Definition) (err error) {
	d.Replace = t.accept("OR REPLACE")
	d.Temporary = t.accept("TEMP") || t.accept("TEMPORARY")
	t.take() // TABLE, VIEW or SCHEMA
	d.IfNotExists = t.accept("IF NOT EXISTS")
	d.Position = t.peek().Start
	if d.Path, err = t.path(); err != nil {
		return err
	}
	if t.is("LIKE") || t.is("COPY") || t.is("CLONE") {
		return t.unknown("CREATE TABLE … " + t.peek().Text)
	}
	if t.accept("(") {
		if _, err := t.exprs(func() (string, error) {
			c, err := t.columnDefinition()
			d.Columns = append(d.Columns, c)
			return "", err
		}); err != nil {
			return err
		}
		if err := t.expect(")"); err != nil {
			return err
		}
	}
	if t.accept("PARTITION BY") {
		for t.peek().Kind != End && !t.is("CLUSTER BY") && !t.is("OPTIONS") && !t.is("AS") {
			d.PartitionBy += strings.ToUpper(t.take().Text)
		}
	}
	if t.accept("CLUSTER BY") {
		if _, err := t.exprs(func() (string, error) {
			name, err := t.name()
			d.ClusterBy = append(d.ClusterBy, name.Text)
			return "", err
		}); err != nil {
			return err
		}
	}
	if t.accept("OPTIONS") {
		if d.Options, err = t.options(); err != nil {
			return err
		}
	}
	if t.accept("AS") {
		d.Query = t.tokens[t.at : len(t.tokens)-1]
		if len(d.Query) > 0 {
			d.QueryText = t.Script[d.Query[0].Start:d.Query[len(d.Query)-1].End]
		}
		t.at = len(t.tokens) - 1
	}
	return nil
}

func (t *Translator) columnDefinition() (c ColumnDefinition, err error) {
	c.IfNotExists = t.accept("IF NOT EXISTS")
	name, err := t.name()
	if err != nil {
		return c, err
	}
	c.Name = name.Text
	if c.Type, err = t.typeName(); err != nil {
		return c, err
	}
	c.Required = t.accept("NOT NULL")
	if t.accept("OPTIONS") {
		c.Options, err = t.options()
	}
	if err == nil && !t.is(",") && !t.is(")") && t.peek().Kind != End {
		err = t.unknown("a column with " + t.peek().Text)
	}
	return c, err
}

// options reads (name = value, …).
func (t *Translator) options() (map[string][]Token, error) {
	options := map[string][]Token{}
	if err := t.expect("("); err != nil {
		return nil, err
	}
	if t.accept(")") {
		return options, nil
	}
	for {
		name := t.take()
		if err := t.expect("="); err != nil {
			return nil, err
		}
		start, depth := t.at, 0
		for ; t.peek().Kind != End; t.at++ {
			if depth == 0 && (t.is(",") || t.is(")")) {
				break
			}
			if t.is("(") || t.is("[") {
				depth++
			}
			if t.is(")") || t.is("]") {
				depth--
			}
		}
		options[strings.ToLower(name.Text)] = t.tokens[start:t.at]
		if !t.accept(",") {
			return options, t.expect(")")
		}
	}
}

func (t *Translator) alter(d *Definition) (err error) {
	d.IfExists = t.accept("IF EXISTS")
	d.Position = t.peek().Start
	if d.Path, err = t.path(); err != nil {
		return err
	}
	_, err = t.exprs(func() (string, error) {
		switch {
		case t.accept("ADD COLUMN"):
			c, err := t.columnDefinition()
			d.Columns = append(d.Columns, c)
			return "", err
		case t.accept("DROP COLUMN"):
			exists := t.accept("IF EXISTS")
			name, err := t.name()
			d.Dropped = append(d.Dropped, DroppedColumn{name.Text, exists})
			return "", err
		case t.accept("SET OPTIONS"):
			d.Options, err = t.options()
			return "", err
		}
		return "", t.unknown("ALTER TABLE … " + t.peek().Text + " " + t.peekAt(1).Text)
	})
	return err
}
