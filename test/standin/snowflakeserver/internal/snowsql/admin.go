package snowsql

import "strings"

func (p *parser) describe() (Statement, error) {
	p.take()
	first := p.peek()
	kind, ok := p.objectKind()
	if !ok {
		return nil, unexpected(first)
	}
	n, err := p.name()
	return &Describe{kind, n}, err
}

func (p *parser) show() (Statement, error) {
	p.take()
	s := &Show{Terse: p.accept("TERSE")}
	first := p.peek()
	for _, k := range []string{"STORAGE INTEGRATIONS", "NETWORK POLICIES", "RESOURCE MONITORS", "FUTURE GRANTS", "PARAMETERS", "GRANTS", "TABLES", "VIEWS", "STAGES", "SCHEMAS", "DATABASES", "WAREHOUSES", "ROLES", "USERS", "LOCKS", "TRANSACTIONS", "COLUMNS", "INTEGRATIONS", "OBJECTS"} {
		if p.accept(strings.Fields(k)...) {
			s.Kind = k
			break
		}
	}
	if s.Kind == "" {
		return nil, unexpected(first)
	}
	if s.Kind == "GRANTS" || s.Kind == "FUTURE GRANTS" {
		return s, p.showGrants(s)
	}
	return s, p.showClauses(s)
}

func (p *parser) showClauses(s *Show) (err error) {
	if p.accept("LIKE") {
		t := p.take()
		if t.kind != text {
			return unexpected(t)
		}
		s.Like, s.HasLike = t.text, true
	}
	if p.accept("IN") || s.Kind == "PARAMETERS" && p.accept("FOR") {
		if s.In, err = p.scope(); err != nil {
			return err
		}
		if t := p.peek(); s.In != "ACCOUNT" && s.In != "SESSION" && (t.kind == word || t.kind == quoted) && !t.is("STARTS", "LIMIT") {
			if s.Scope, err = p.name(); err != nil {
				return err
			}
		}
	}
	if p.accept("STARTS", "WITH") {
		t := p.take()
		if t.kind != text {
			return unexpected(t)
		}
		s.Starts = t.text
	}
	if p.accept("LIMIT") {
		s.Limit, err = p.primary()
	}
	return err
}

func (p *parser) scope() (string, error) {
	if kind, ok := p.objectKind(); ok {
		return kind, nil
	}
	if t := p.peek(); t.kind == word || t.kind == quoted {
		return "", nil
	}
	return "", unexpected(p.peek())
}

func (p *parser) showGrants(s *Show) (err error) {
	switch {
	case p.accept("ON"):
		var ok bool
		if s.On, ok = p.objectKind(); !ok {
			return unexpected(p.peek())
		}
		if s.On != "ACCOUNT" {
			s.Scope, err = p.name()
		}
	case p.accept("TO"), p.accept("OF"):
		s.To = strings.ToUpper(p.tokens[p.at-1].text)
		t := p.take()
		if !t.is("ROLE", "USER") {
			return unexpected(t)
		}
		s.To += " " + strings.ToUpper(t.text)
		s.Scope, err = p.name()
	case p.accept("IN"):
		var ok bool
		if s.In, ok = p.objectKind(); !ok {
			return unexpected(p.peek())
		}
		s.Scope, err = p.name()
	}
	return err
}

// privileges are those that GRANT names
// (https://docs.snowflake.com/en/user-guide/security-access-control-privileges).
var privilegeWords = []string{
	"ALL PRIVILEGES", "CREATE DATABASE", "CREATE SCHEMA", "CREATE TABLE", "CREATE VIEW", "CREATE STAGE", "CREATE ROLE", "CREATE USER", "CREATE WAREHOUSE", "CREATE INTEGRATION", "CREATE FILE FORMAT",
	"USAGE", "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "OWNERSHIP", "OPERATE", "MONITOR", "MODIFY", "READ", "WRITE", "APPLYBUDGET", "EVOLVE SCHEMA", "REBUILD", "ALL",
}

func (p *parser) grant() (Statement, error) {
	g := &Grant{Revoke: p.take().is("REVOKE")}
	if g.Revoke && p.accept("GRANT", "OPTION", "FOR") {
		return nil, Unsupported("REVOKE GRANT OPTION")
	}
	if p.accept("ROLE") {
		name, err := p.identifier()
		if err != nil {
			return nil, err
		}
		g.Role = name
		return g, p.grantee(g)
	}
	for {
		found := ""
		for _, w := range privilegeWords {
			if p.accept(strings.Fields(w)...) {
				found = w
				break
			}
		}
		if found == "" {
			return nil, unexpected(p.peek())
		}
		if found == "ALL PRIVILEGES" {
			found = "ALL"
		}
		if g.Privileges = append(g.Privileges, found); !p.accept(",") {
			break
		}
	}
	if err := p.expect("ON"); err != nil {
		return nil, err
	}
	if err := p.grantObject(g); err != nil {
		return nil, err
	}
	return g, p.grantee(g)
}

// grantObject reads the object, or FUTURE and ALL with their scope.
func (p *parser) grantObject(g *Grant) (err error) {
	g.Future, g.All = p.accept("FUTURE"), p.accept("ALL")
	first := p.peek()
	if g.Future || g.All {
		t := p.take()
		if t.kind != word || !strings.HasSuffix(strings.ToUpper(t.text), "S") {
			return unexpected(t)
		}
		if g.On = strings.TrimSuffix(strings.ToUpper(t.text), "S"); g.On != "TABLE" && g.On != "VIEW" && g.On != "STAGE" && g.On != "SCHEMA" {
			return unexpected(t)
		}
		if err := p.expect("IN"); err != nil {
			return err
		}
		var ok bool
		if g.InKind, ok = p.objectKind(); !ok || g.InKind != "SCHEMA" && g.InKind != "DATABASE" {
			return unexpected(p.tokens[p.at-1])
		}
		g.Name, err = p.name()
		return err
	}
	var ok bool
	if g.On, ok = p.objectKind(); !ok {
		return unexpected(first)
	}
	if g.On == "STORAGE INTEGRATION" || g.On == "SECURITY INTEGRATION" {
		return unexpected(first)
	}
	if g.On != "ACCOUNT" {
		g.Name, err = p.name()
	}
	return err
}

func (p *parser) grantee(g *Grant) (err error) {
	preposition := "TO"
	if g.Revoke {
		preposition = "FROM"
	}
	if err := p.expect(preposition); err != nil {
		return err
	}
	g.To = "ROLE"
	switch {
	case p.accept("USER"):
		g.To = "USER"
	case p.accept("ROLE"):
	}
	if g.To == "USER" && g.Role == "" {
		return unexpected(p.tokens[p.at-1])
	}
	if g.Grantee, err = p.identifier(); err != nil {
		return err
	}
	g.Option = p.accept("WITH", "GRANT", "OPTION")
	return nil
}
