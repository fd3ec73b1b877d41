package snowsql

import "strings"

// objectKinds are the kinds with their words, longest first.
var objectKinds = []string{
	"STORAGE INTEGRATION", "SECURITY INTEGRATION", "NETWORK POLICY", "NETWORK RULE", "AUTHENTICATION POLICY", "RESOURCE MONITOR", "FILE FORMAT", "MATERIALIZED VIEW",
	"DATABASE", "SCHEMA", "WAREHOUSE", "ROLE", "USER", "TABLE", "VIEW", "STAGE", "SEQUENCE", "INTEGRATION", "ACCOUNT", "SESSION",
}

// objectKind takes the words of a kind.
func (p *parser) objectKind() (string, bool) {
	for _, k := range objectKinds {
		if p.accept(strings.Fields(k)...) {
			return k, true
		}
	}
	return "", false
}

func (p *parser) create() (Statement, error) {
	p.take()
	orReplace := p.accept("OR", "REPLACE")
	modifier := ""
	if t := p.peek(); t.is("TRANSIENT", "TEMPORARY", "TEMP", "VOLATILE", "SECURE") {
		modifier = strings.ToUpper(p.take().text)
	}
	if modifier == "TEMP" || modifier == "VOLATILE" {
		modifier = "TEMPORARY"
	}
	first := p.peek()
	kind, ok := p.objectKind()
	if !ok || modifier == "SECURE" && kind != "VIEW" || modifier != "" && kind != "TABLE" && kind != "VIEW" && kind != "STAGE" && kind != "SCHEMA" && kind != "DATABASE" {
		return nil, unexpected(first)
	}
	ifNotExists := p.accept("IF", "NOT", "EXISTS")
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "TABLE":
		t := &CreateTable{Name: name, OrReplace: orReplace, IfNotExists: ifNotExists, Kind: modifier}
		return t, p.createTable(t)
	case "VIEW":
		v := &CreateView{Name: name, OrReplace: orReplace, IfNotExists: ifNotExists, Secure: modifier == "SECURE"}
		return v, p.createView(v)
	case "ACCOUNT", "SESSION", "INTEGRATION":
		return nil, unexpected(first)
	}
	if kind == "WAREHOUSE" {
		p.accept("WITH")
	}
	options, err := p.options()
	if err != nil {
		return nil, err
	}
	if kind == "STAGE" {
		return &CreateStage{name, orReplace, ifNotExists, modifier == "TEMPORARY", options}, nil
	}
	return &Create{kind, name, orReplace, ifNotExists, options}, nil
}

func (p *parser) createTable(t *CreateTable) (err error) {
	if p.accept("LIKE") {
		t.Like, err = p.name()
		return err
	}
	if p.peek().is("(") {
		if t.Columns, err = p.columnDefinitions(); err != nil {
			return err
		}
	}
	for {
		switch {
		case p.accept("CLUSTER", "BY"):
			if t.Cluster, t.ClusterText, err = p.cluster(); err != nil {
				return err
			}
		case p.accept("COMMENT", "="):
			c := p.take()
			if c.kind != text {
				return unexpected(c)
			}
			t.Comment = c.text
		case p.accept("DATA_RETENTION_TIME_IN_DAYS", "="), p.accept("MAX_DATA_EXTENSION_TIME_IN_DAYS", "="):
			if n := p.take(); n.kind != number {
				return unexpected(n)
			}
		case p.accept("CHANGE_TRACKING", "="), p.accept("ENABLE_SCHEMA_EVOLUTION", "="):
			if n := p.take(); !n.is("TRUE", "FALSE") {
				return unexpected(n)
			}
		case p.accept("COPY", "GRANTS"):
		case p.accept("AS"):
			t.As, err = p.query()
			return err
		default:
			if t.Columns == nil {
				return unexpected(p.peek())
			}
			return nil
		}
	}
}

// cluster reads the keys of CLUSTER BY, with their text.
func (p *parser) cluster() ([]Expr, string, error) {
	if p.accept("LINEAR") && !p.peek().is("(") {
		return nil, "", unexpected(p.peek())
	}
	open := p.peek()
	if err := p.expect("("); err != nil {
		return nil, "", err
	}
	keys, err := p.exprs()
	if err != nil {
		return nil, "", err
	}
	end := p.peek()
	return keys, "LINEAR" + p.source[open.start:end.end], p.expect(")")
}

func (p *parser) columnDefinitions() ([]ColumnDefinition, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	var list []ColumnDefinition
	for {
		if p.peek().is("PRIMARY", "UNIQUE", "FOREIGN", "CONSTRAINT") {
			return nil, Unsupported("a constraint of a table")
		}
		d, err := p.columnDefinition()
		if err != nil {
			return nil, err
		}
		if list = append(list, d); !p.accept(",") {
			return list, p.expect(")")
		}
	}
}

func (p *parser) columnDefinition() (d ColumnDefinition, err error) {
	if d.Name, err = p.identifier(); err != nil {
		return d, err
	}
	if d.Type, err = p.typeName(); err != nil {
		return d, err
	}
	for {
		switch {
		case p.accept("NOT", "NULL"):
			d.NotNull = true
		case p.accept("NULL"):
		case p.accept("PRIMARY", "KEY"), p.accept("UNIQUE"): // not enforced
			if p.tokens[p.at-1].is("KEY") {
				d.NotNull = true
			}
		case p.accept("DEFAULT"):
			if d.Default, err = p.concat(); err != nil {
				return d, err
			}
		case p.accept("COMMENT"):
			c := p.take()
			if c.kind != text {
				return d, unexpected(c)
			}
			d.Comment = c.text
		default:
			return d, nil
		}
	}
}

func (p *parser) createView(v *CreateView) (err error) {
	if p.peek().is("(") {
		if v.Columns, err = p.columnNames(); err != nil {
			return err
		}
	}
	for !p.accept("AS") {
		switch {
		case p.accept("COPY", "GRANTS"):
			v.CopyGrants = true
		case p.accept("COMMENT", "="):
			c := p.take()
			if c.kind != text {
				return unexpected(c)
			}
			v.Comment = c.text
		default:
			return unexpected(p.peek())
		}
	}
	start := p.peek().start
	if v.Query, err = p.query(); err != nil {
		return err
	}
	v.Text = p.source[start:p.tokens[p.at-1].end]
	return nil
}

// options reads NAME = value pairs, with or without commas.
func (p *parser) options() (map[string]Option, error) {
	options := map[string]Option{}
	for p.peek().kind == word && p.peekAt(1).is("=") {
		name := strings.ToUpper(p.take().text)
		p.take()
		o, err := p.option()
		if err != nil {
			return nil, err
		}
		options[name] = o
		p.accept(",")
	}
	return options, nil
}

func (p *parser) option() (Option, error) {
	t := p.take()
	o := Option{Place: t.at(), Text: t.text}
	switch {
	case t.kind == text:
		o.Kind = "string"
	case t.kind == number:
		o.Kind = "number"
	case t.is("-") && p.peek().kind == number:
		o.Kind, o.Text = "number", "-"+p.take().text
	case t.kind == word || t.kind == quoted:
		o.Kind = "word"
		for p.accept(".") {
			part, err := p.identifier()
			if err != nil {
				return o, err
			}
			o.Text += "." + part
		}
	case t.is("("):
		return p.optionList(o)
	default:
		return o, unexpected(t)
	}
	return o, nil
}

func (p *parser) optionList(o Option) (Option, error) {
	var err error
	if p.peek().kind == word && p.peekAt(1).is("=") {
		o.Kind = "options"
		if o.Options, err = p.options(); err != nil {
			return o, err
		}
		return o, p.expect(")")
	}
	o.Kind = "list"
	for !p.accept(")") {
		t := p.take()
		if t.kind != text && t.kind != word && t.kind != number && t.kind != quoted {
			return o, unexpected(t)
		}
		o.List = append(o.List, t.text)
		if !p.accept(",") {
			return o, p.expect(")")
		}
	}
	return o, nil
}

func (p *parser) alter() (Statement, error) {
	p.take()
	first := p.peek()
	kind, ok := p.objectKind()
	if !ok {
		return nil, unexpected(first)
	}
	if kind == "TABLE" {
		return p.alterTable()
	}
	a := &Alter{Kind: kind}
	var err error
	if kind != "SESSION" && kind != "ACCOUNT" {
		a.IfExists = p.accept("IF", "EXISTS")
		if a.Name, err = p.name(); err != nil {
			return nil, err
		}
	}
	switch {
	case p.accept("SET"):
		a.Action = "SET"
		if a.Options, err = p.options(); err == nil && len(a.Options) == 0 {
			err = unexpected(p.peek())
		}
	case p.accept("UNSET"):
		a.Action = "UNSET"
		for {
			name, err := p.identifier()
			if err != nil {
				return nil, err
			}
			if a.Unset = append(a.Unset, name); !p.accept(",") {
				break
			}
		}
	case kind == "WAREHOUSE" && p.accept("RESUME"):
		a.Action = "RESUME"
		p.accept("IF", "SUSPENDED")
	case kind == "WAREHOUSE" && p.accept("SUSPEND"):
		a.Action = "SUSPEND"
	default:
		err = unexpected(p.peek())
	}
	return a, err
}

func (p *parser) alterTable() (Statement, error) {
	a := &AlterTable{IfExists: p.accept("IF", "EXISTS")}
	var err error
	if a.Name, err = p.name(); err != nil {
		return nil, err
	}
	switch {
	case p.accept("CLUSTER", "BY"):
		a.Action = "CLUSTER BY"
		a.Cluster, a.ClusterText, err = p.cluster()
	case p.accept("DROP", "CLUSTERING", "KEY"):
		a.Action = "DROP CLUSTERING KEY"
	case p.accept("SUSPEND", "RECLUSTER"):
		a.Action = "SUSPEND RECLUSTER"
	case p.accept("RESUME", "RECLUSTER"):
		a.Action = "RESUME RECLUSTER"
	case p.accept("RENAME", "TO"):
		a.Action = "RENAME"
		a.To, err = p.name()
	case p.accept("SWAP", "WITH"):
		a.Action = "SWAP"
		a.To, err = p.name()
	case p.accept("ADD"):
		p.accept("COLUMN")
		a.Action = "ADD COLUMN"
		if p.peek().is("IF") {
			return nil, Unsupported("ADD COLUMN IF NOT EXISTS")
		}
		var d ColumnDefinition
		d, err = p.columnDefinition()
		a.Columns = append(a.Columns, d)
	case p.accept("SET"):
		a.Action = "SET"
		a.Options, err = p.options()
	default:
		err = unexpected(p.peek())
	}
	return a, err
}

func (p *parser) drop() (Statement, error) {
	p.take()
	first := p.peek()
	kind, ok := p.objectKind()
	if !ok {
		return nil, unexpected(first)
	}
	d := &Drop{Kind: kind, IfExists: p.accept("IF", "EXISTS")}
	var err error
	if d.Name, err = p.name(); err != nil {
		return nil, err
	}
	if d.Cascade = !p.accept("RESTRICT"); d.Cascade {
		p.accept("CASCADE")
	}
	return d, nil
}

func (p *parser) comment() (Statement, error) {
	p.take()
	if err := p.expect("ON"); err != nil {
		return nil, err
	}
	first := p.peek()
	kind, ok := p.objectKind()
	if !ok {
		return nil, unexpected(first)
	}
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	if err := p.expect("IS"); err != nil {
		return nil, err
	}
	t := p.take()
	if t.kind != text {
		return nil, unexpected(t)
	}
	return &Comment{kind, name, t.text}, nil
}
