package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// define runs DDL and statements about the account. The open transaction was committed.
func (x *execution) define(ctx context.Context, parsed snowsql.Statement) (*result, error) {
	switch s := parsed.(type) {
	case *snowsql.CreateTable:
		return x.createTable(ctx, s)
	case *snowsql.CreateView:
		return x.createView(s)
	case *snowsql.CreateStage:
		return x.createStage(s)
	case *snowsql.Create:
		return x.create(s)
	case *snowsql.AlterTable:
		return x.alterTable(ctx, s)
	case *snowsql.Alter:
		return x.alter(s)
	case *snowsql.Drop:
		return x.drop(ctx, s)
	case *snowsql.Grant:
		return x.grant(s)
	case *snowsql.Comment:
		return x.comment(s)
	}
	return nil, snowsql.Unsupported("the statement")
}

// place finds the schema of a new object and checks that the role may create it there.
// IF NOT EXISTS needs the privilege too.
func (x *execution) place(n snowsql.Name, kind string) (*schema, string, error) {
	s, name, err := x.split(n)
	if err != nil {
		return nil, "", err
	}
	return s, name, x.mayCreate(kind, "SCHEMA", s.full())
}

// taken returns the kind of the object that has a name already; tables and views share
// their names.
func (x *execution) taken(s *schema, name, kind string) string {
	x.srv.catalog.mu.Lock()
	defer x.srv.catalog.mu.Unlock()
	if kind == "STAGE" {
		if s.stages[name] != nil {
			return "STAGE"
		}
		return ""
	}
	if s.tables[name] != nil {
		return "TABLE"
	}
	if s.views[name] != nil {
		return "VIEW"
	}
	return ""
}

func existing(name string) (*result, error) {
	return status("%s already exists, statement succeeded.", name), nil
}

func (x *execution) createTable(ctx context.Context, c *snowsql.CreateTable) (*result, error) {
	find := x.place
	if c.Kind == "TEMPORARY" {
		// CREATE TABLE, Access control requirements: a temporary table does not require the
		// CREATE TABLE privilege.
		find = func(n snowsql.Name, _ string) (*schema, string, error) { return x.split(n) }
	}
	s, name, err := find(c.Name, "TABLE")
	if err != nil {
		return nil, err
	}
	if c.OrReplace && c.IfNotExists {
		return nil, refuse(2251, "42601", "SQL compilation error:\noptions IF NOT EXISTS and OR REPLACE are incompatible.")
	}
	old := x.taken(s, name, "TABLE")
	switch {
	case old != "" && c.IfNotExists:
		return existing(snowsql.QuoteIdentifier(name))
	case old == "VIEW" && c.OrReplace:
		return nil, refuse(2003, "42601", "SQL compilation error:\nObject '%s' already exists as VIEW", snowsql.QuoteIdentifier(name))
	case old != "" && !c.OrReplace:
		return nil, snowsql.AlreadyExists(qualified(s, name))
	}
	t := &table{schema: s, name: name, physical: x.srv.catalog.physical("t"), columns: c.Columns, kind: c.Kind, comment: c.Comment, owner: x.role, created: x.srv.now(), loaded: loads{}}
	source, err := x.tableSource(c, t)
	if err != nil {
		return nil, err
	}
	if err := x.setCluster(t, c.Cluster, c.ClusterText); err != nil {
		return nil, err
	}
	if err := x.makePhysical(ctx, t, source); err != nil {
		return nil, err
	}
	x.srv.catalog.mu.Lock()
	s.tables[name] = t
	x.srv.catalog.mu.Unlock()
	x.srv.account.dropped("TABLE", t.full())
	x.srv.account.created(x.role, "TABLE", t.full(), s.full(), fullName(s.database.name))
	return status("Table %s successfully created.", name), nil
}

// tableSource fills the columns of LIKE and AS, and returns the query of AS.
func (x *execution) tableSource(c *snowsql.CreateTable, t *table) (string, error) {
	if c.Like != nil {
		from, err := x.findTable(c.Like, "SELECT")
		if err != nil {
			return "", err
		}
		t.columns, t.cluster = from.columns, from.cluster
	}
	translator := snowsql.Translator{Catalog: x}
	if c.As != nil {
		if len(c.Columns) > 0 {
			return translator.Store(c.As, t.out())
		}
		r, err := translator.Query(c.As)
		if err != nil {
			return "", err
		}
		for _, column := range r.Columns {
			t.columns = append(t.columns, snowsql.ColumnDefinition{Name: column.Name, Type: column.Type})
		}
		if source, err := (&snowsql.Translator{Catalog: x}).Store(c.As, t.out()); err == nil {
			return source, uniqueNames(t.columns)
		}
		return "", snowsql.Unsupported("CREATE TABLE AS of this query")
	}
	for _, column := range t.columns {
		if column.Default != nil {
			if _, err := translator.Constant(column.Default, column.Type); err != nil {
				return "", err
			}
		}
	}
	return "", uniqueNames(t.columns)
}

func uniqueNames(columns []snowsql.ColumnDefinition) error {
	seen := map[string]bool{}
	for _, c := range columns {
		if seen[c.Name] {
			return refuse(2025, "42S21", "SQL compilation error:\nduplicate column name '%s'", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

func (x *execution) makePhysical(ctx context.Context, t *table, source string) error {
	list := make([]string, len(t.columns))
	for n, c := range t.columns {
		list[n] = "c" + strconv.Itoa(n) + " " + c.Type.Duck()
		if c.NotNull {
			list[n] += " NOT NULL"
		}
	}
	if _, err := x.srv.engine.db.ExecContext(ctx, "CREATE TABLE "+t.physical+" ("+strings.Join(list, ", ")+", x_min BIGINT NOT NULL, x_max BIGINT NOT NULL)"); err != nil {
		return err
	}
	if source == "" {
		return nil
	}
	_, err := x.srv.engine.db.ExecContext(ctx, "INSERT INTO "+t.physical+" SELECT *, 0, 0 FROM ("+source+")")
	return err
}

func (x *execution) setCluster(t *table, keys []snowsql.Expr, text string) error {
	if len(keys) == 0 {
		return nil
	}
	translator := snowsql.Translator{Catalog: x}
	for _, k := range keys {
		if err := translator.Key(k, t.out()); err != nil {
			return err
		}
	}
	t.cluster = text
	return nil
}

func (x *execution) createView(c *snowsql.CreateView) (*result, error) {
	s, name, err := x.place(c.Name, "VIEW")
	if err != nil {
		return nil, err
	}
	if c.OrReplace && c.IfNotExists {
		return nil, refuse(2251, "42601", "SQL compilation error:\noptions IF NOT EXISTS and OR REPLACE are incompatible.")
	}
	old := x.taken(s, name, "VIEW")
	switch {
	case old != "" && c.IfNotExists:
		return existing(snowsql.QuoteIdentifier(name))
	case old == "TABLE" && c.OrReplace:
		return nil, refuse(2003, "42601", "SQL compilation error:\nObject '%s' already exists as TABLE", snowsql.QuoteIdentifier(name))
	case old != "" && !c.OrReplace:
		return nil, snowsql.AlreadyExists(qualified(s, name))
	}
	translator := snowsql.Translator{Catalog: x}
	r, err := translator.Query(c.Query)
	if err != nil {
		return nil, err
	}
	v := &view{schema: s, name: name, columns: slices.Clone(r.Columns), names: c.Columns, text: c.Text, query: c.Query, owner: x.role, secure: c.Secure, comment: c.Comment, created: x.srv.now()}
	if c.Columns != nil {
		if len(c.Columns) != len(r.Columns) {
			return nil, refuse(2026, "42601", "SQL compilation error:\nInvalid column definition list")
		}
		for n := range c.Columns {
			v.columns[n].Name = c.Columns[n]
		}
	}
	definitions := make([]snowsql.ColumnDefinition, len(v.columns))
	for n, column := range v.columns {
		definitions[n].Name = column.Name
	}
	if err := uniqueNames(definitions); err != nil {
		return nil, err
	}
	x.storeView(s, v, c.CopyGrants)
	return status("View %s successfully created.", name), nil
}

// storeView replaces a view. Its grants go with the old one, unless they are copied
// (https://docs.snowflake.com/en/sql-reference/sql/create-view).
func (x *execution) storeView(s *schema, v *view, copyGrants bool) {
	full := qualified(s, v.name)
	kept := x.srv.account.grantsOn("VIEW", full)
	x.srv.catalog.mu.Lock()
	s.views[v.name] = v
	x.srv.catalog.mu.Unlock()
	x.srv.account.dropped("VIEW", full)
	x.srv.account.created(x.role, "VIEW", full, s.full(), fullName(s.database.name))
	if copyGrants {
		for role, list := range kept {
			for _, g := range list {
				if g.privilege != "OWNERSHIP" {
					x.srv.account.grantTo(role, g, x.role)
				}
			}
		}
	}
}

var stageOptions = []string{"URL", "STORAGE_INTEGRATION", "FILE_FORMAT", "ENCRYPTION", "DIRECTORY", "COMMENT", "COPY_OPTIONS"}

func (x *execution) createStage(c *snowsql.CreateStage) (*result, error) {
	s, name, err := x.place(c.Name, "STAGE")
	if err != nil {
		return nil, err
	}
	if old := x.taken(s, name, "STAGE"); old != "" {
		if c.IfNotExists {
			return existing(snowsql.QuoteIdentifier(name))
		}
		if !c.OrReplace {
			return nil, snowsql.AlreadyExists(qualified(s, name))
		}
	}
	for option := range c.Options {
		if !slices.Contains(stageOptions, option) {
			return nil, refuse(1006, "42601", "SQL compilation error:\ninvalid parameter '%s'", option)
		}
	}
	st := &stage{schema: s, name: name, prefix: "stages/" + x.srv.catalog.physical("s") + "/", options: c.Options, owner: x.role, created: x.srv.now(), temporary: c.Temporary}
	if err := x.externalStage(st); err != nil {
		return nil, err
	}
	x.srv.catalog.mu.Lock()
	s.stages[name] = st
	x.srv.catalog.mu.Unlock()
	x.srv.account.dropped("STAGE", qualified(s, name))
	x.srv.account.created(x.role, "STAGE", qualified(s, name), s.full(), fullName(s.database.name))
	return status("Stage area %s successfully created.", name), nil
}

func (x *execution) externalStage(st *stage) error {
	url, external := st.options["URL"]
	integration, named := st.options["STORAGE_INTEGRATION"]
	if !external {
		if named {
			return refuse(1506, "22023", "SQL compilation error:\nmissing URL of an external stage")
		}
		return st.setEncryption()
	}
	st.url = strings.TrimSuffix(url.Text, "/") + "/"
	if !named {
		return snowsql.Unsupported("an external stage without a storage integration")
	}
	if err := checkLocation(st.url); err != nil {
		return err
	}
	st.integration = strings.ToUpper(integration.Text)
	return x.allowedBy(st.integration, st.url)
}

// setEncryption reads ENCRYPTION of an internal stage: SNOWFLAKE_FULL lets drivers encrypt
// its files, SNOWFLAKE_SSE does not
// (https://docs.snowflake.com/en/sql-reference/sql/create-stage).
func (st *stage) setEncryption() error {
	o, set := st.options["ENCRYPTION"]
	if !set {
		return nil
	}
	kind := strings.ToUpper(o.Options["TYPE"].Text)
	if kind != "SNOWFLAKE_FULL" && kind != "SNOWFLAKE_SSE" {
		return refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter 'TYPE'", o.Options["TYPE"].Text)
	}
	st.serverSide = kind == "SNOWFLAKE_SSE"
	return nil
}

// allowedBy checks that an integration allows a location.
func (x *execution) allowedBy(integration, url string) error {
	full := fullName(integration)
	x.srv.account.mu.Lock()
	known := x.srv.account.objects["INTEGRATION "+full]
	allowed := x.srv.storage.integration(full).allowed
	x.srv.account.mu.Unlock()
	if !known || !x.sees("INTEGRATION", full) {
		return snowsql.DoesNotExist("Integration", full)
	}
	if !x.may("USAGE", "INTEGRATION", full) {
		return insufficient("integration", full)
	}
	for _, prefix := range allowed {
		if prefix == "*" || strings.HasPrefix(url, prefix) {
			return nil
		}
	}
	return refuse(3167, "42601", "Location '%s' is not allowed by integration '%s'. Please use DESC INTEGRATION to check out allowed and blocked locations.", strings.TrimSuffix(url, "/"), full)
}

// create is CREATE of an object with options only.
func (x *execution) create(c *snowsql.Create) (*result, error) {
	switch c.Kind {
	case "DATABASE":
		return x.createDatabase(c)
	case "SCHEMA":
		return x.createSchema(c)
	case "ROLE", "USER", "WAREHOUSE", "STORAGE INTEGRATION", "NETWORK POLICY", "NETWORK RULE", "AUTHENTICATION POLICY", "RESOURCE MONITOR":
		return x.createAccountObject(c)
	}
	return nil, snowsql.Unsupported("CREATE %s", c.Kind)
}

func title(kind string) string {
	return kind[:1] + strings.ToLower(kind[1:])
}

func (x *execution) createDatabase(c *snowsql.Create) (*result, error) {
	name := c.Name[0]
	if !x.srv.account.may(x.role, "CREATE DATABASE", "ACCOUNT", "") {
		return nil, insufficient("account", strings.ToUpper(x.srv.account.name))
	}
	x.srv.catalog.mu.Lock()
	old := x.srv.catalog.databases[name]
	x.srv.catalog.mu.Unlock()
	if old != nil && c.IfNotExists {
		return existing(snowsql.QuoteIdentifier(name))
	}
	if old != nil {
		return nil, snowsql.AlreadyExists(snowsql.QuoteIdentifier(name))
	}
	d := &database{name: name, schemas: map[string]*schema{}, created: x.srv.now(), owner: x.role}
	d.schemas["PUBLIC"] = newSchema(d, "PUBLIC", x.role, x.srv.now())
	x.srv.catalog.mu.Lock()
	x.srv.catalog.databases[name] = d
	x.srv.catalog.mu.Unlock()
	x.srv.account.created(x.role, "DATABASE", fullName(name), "", "")
	x.srv.account.created(x.role, "SCHEMA", d.schemas["PUBLIC"].full(), "", fullName(name))
	x.session.change(func(st *state) { st.database, st.schema = name, "PUBLIC" })
	return status("Database %s successfully created.", name), nil
}

func (x *execution) createSchema(c *snowsql.Create) (*result, error) {
	st := x.session.state()
	name := c.Name[len(c.Name)-1]
	databaseName := st.database
	if len(c.Name) > 1 {
		databaseName = c.Name[0]
	}
	d, err := x.findDatabase(databaseName)
	if err != nil {
		return nil, err
	}
	if err := x.mayCreate("SCHEMA", "DATABASE", fullName(d.name)); err != nil {
		return nil, err
	}
	x.srv.catalog.mu.Lock()
	old := d.schemas[name]
	x.srv.catalog.mu.Unlock()
	if old != nil && c.IfNotExists {
		return existing(snowsql.QuoteIdentifier(name))
	}
	if old != nil {
		return nil, snowsql.AlreadyExists(fullName(d.name, name))
	}
	s := newSchema(d, name, x.role, x.srv.now())
	x.srv.catalog.mu.Lock()
	d.schemas[name] = s
	x.srv.catalog.mu.Unlock()
	x.srv.account.created(x.role, "SCHEMA", s.full(), "", fullName(d.name))
	x.session.change(func(st *state) { st.database, st.schema = d.name, name })
	return status("Schema %s successfully created.", name), nil
}

func (x *execution) alterTable(ctx context.Context, a *snowsql.AlterTable) (*result, error) {
	t, err := x.findTable(a.Name, "OWNERSHIP")
	if err != nil {
		if a.IfExists && refusal(err).Code == 2003 {
			return status("Statement executed successfully."), nil
		}
		return nil, err
	}
	done := status("Statement executed successfully.")
	switch a.Action {
	case "CLUSTER BY":
		changed := t.clone()
		if err := x.setCluster(changed, a.Cluster, a.ClusterText); err != nil {
			return nil, err
		}
		x.replaceTable(t, changed)
		return done, nil
	case "DROP CLUSTERING KEY":
		changed := t.clone()
		changed.cluster = ""
		x.replaceTable(t, changed)
		return done, nil
	case "SUSPEND RECLUSTER", "RESUME RECLUSTER":
		if t.cluster == "" {
			return nil, refuse(2228, "22000", "SQL compilation error:\nInvalid clustering keys or table %s is not clustered", t.name)
		}
		return done, nil
	case "SET":
		for name, o := range a.Options {
			if name != "COMMENT" && name != "DATA_RETENTION_TIME_IN_DAYS" {
				return nil, snowsql.Unsupported("ALTER TABLE SET %s", name)
			}
			if name == "COMMENT" {
				changed := t.clone()
				changed.comment = o.Text
				x.replaceTable(t, changed)
			}
		}
		return done, nil
	case "ADD COLUMN":
		return done, x.addColumn(ctx, t, a.Columns[0])
	}
	return nil, snowsql.Unsupported("ALTER TABLE %s", a.Action)
}

// clone is a table of the same rows that is known by the same locks only after
// replaceTable.
func (t *table) clone() *table {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &table{schema: t.schema, name: t.name, physical: t.physical, columns: t.columns, kind: t.kind, cluster: t.cluster, comment: t.comment, owner: t.owner, created: t.created, loaded: maps.Clone(t.loaded)}
}

func (x *execution) replaceTable(old, changed *table) {
	x.srv.catalog.mu.Lock()
	defer x.srv.catalog.mu.Unlock()
	if old.schema.tables[old.name] == old {
		old.schema.tables[old.name] = changed
	}
}

func (x *execution) addColumn(ctx context.Context, t *table, d snowsql.ColumnDefinition) error {
	changed := t.clone()
	changed.columns = append(slices.Clone(t.columns), d)
	if err := uniqueNames(changed.columns); err != nil {
		return err
	}
	if d.NotNull || d.Default != nil {
		return snowsql.Unsupported("ADD COLUMN with NOT NULL or DEFAULT")
	}
	if _, err := x.srv.engine.db.ExecContext(ctx, fmt.Sprintf("CREATE TABLE %s AS SELECT * EXCLUDE (x_min, x_max), CAST(NULL AS %s) AS c%d, x_min, x_max FROM %s", x.renewed(changed), d.Type.Duck(), len(t.columns), t.physical)); err != nil {
		return err
	}
	x.replaceTable(t, changed)
	return nil
}

// renewed gives a changed table a physical one of its own.
func (x *execution) renewed(t *table) string {
	t.physical = x.srv.catalog.physical("t")
	return t.physical
}

func (x *execution) drop(ctx context.Context, d *snowsql.Drop) (*result, error) {
	name := d.Name[len(d.Name)-1]
	done := status("%s successfully dropped.", name)
	missing := func(err error) (*result, error) {
		if d.IfExists && (refusal(err).Code == 2003) {
			return status("Drop statement executed successfully (%s already dropped).", name), nil
		}
		return nil, err
	}
	switch d.Kind {
	case "TABLE":
		t, err := x.findTable(d.Name, "OWNERSHIP")
		if err != nil {
			return missing(err)
		}
		x.srv.catalog.mu.Lock()
		delete(t.schema.tables, name)
		x.srv.catalog.mu.Unlock()
		x.srv.account.dropped("TABLE", t.full())
		_, err = x.srv.engine.db.ExecContext(ctx, "DROP TABLE "+t.physical)
		return done, err
	case "VIEW", "STAGE":
		return x.dropIn(d, missing, done)
	case "SCHEMA":
		s, err := x.findSchema(d.Name)
		if err != nil {
			return missing(err)
		}
		if !x.may("OWNERSHIP", "SCHEMA", s.full()) {
			return nil, insufficient("schema", name)
		}
		x.srv.catalog.mu.Lock()
		delete(s.database.schemas, name)
		x.srv.catalog.mu.Unlock()
		return done, nil
	case "DATABASE":
		if _, err := x.findDatabase(name); err != nil {
			return missing(err)
		}
		if !x.may("OWNERSHIP", "DATABASE", fullName(name)) {
			return nil, insufficient("database", name)
		}
		x.srv.catalog.mu.Lock()
		delete(x.srv.catalog.databases, name)
		x.srv.catalog.mu.Unlock()
		return done, nil
	}
	return x.dropAccountObject(d, missing, done)
}

func (x *execution) dropIn(d *snowsql.Drop, missing func(error) (*result, error), done *result) (*result, error) {
	s, name, err := x.split(d.Name)
	if err != nil {
		return missing(err)
	}
	full := qualified(s, name)
	x.srv.catalog.mu.Lock()
	known := d.Kind == "VIEW" && s.views[name] != nil || d.Kind == "STAGE" && s.stages[name] != nil
	x.srv.catalog.mu.Unlock()
	if !known || !x.sees(d.Kind, full) {
		return missing(snowsql.DoesNotExist(title(d.Kind), full))
	}
	if !x.may("OWNERSHIP", d.Kind, full) {
		return nil, insufficient(d.Kind, snowsql.QuoteIdentifier(name))
	}
	x.srv.catalog.mu.Lock()
	if d.Kind == "VIEW" {
		delete(s.views, name)
	} else {
		delete(s.stages, name)
	}
	x.srv.catalog.mu.Unlock()
	x.srv.account.dropped(d.Kind, full)
	return done, nil
}

func (x *execution) comment(c *snowsql.Comment) (*result, error) {
	switch c.Kind {
	case "TABLE":
		t, err := x.findTable(c.Name, "OWNERSHIP")
		if err != nil {
			return nil, err
		}
		changed := t.clone()
		changed.comment = c.Text
		x.replaceTable(t, changed)
	case "VIEW":
		if _, err := x.Relation(c.Name); err != nil {
			return nil, err
		}
	default:
		return nil, snowsql.Unsupported("COMMENT ON %s", c.Kind)
	}
	return status("Statement executed successfully."), nil
}
