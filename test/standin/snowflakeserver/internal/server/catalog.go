package server

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// table is a table. Its rows are in the physical table of DuckDB.
type table struct {
	schema   *schema
	name     string
	physical string
	columns  []snowsql.ColumnDefinition
	kind     string
	cluster  string
	comment  string
	owner    string
	created  time.Time

	mu     sync.Mutex
	loaded loads // load metadata: file name, ETag → when
}

func (t *table) out() []snowsql.OutColumn {
	list := make([]snowsql.OutColumn, len(t.columns))
	for n, c := range t.columns {
		list[n] = snowsql.OutColumn{Name: c.Name, Type: c.Type}
	}
	return list
}

func (t *table) markLoaded(key string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loaded[key] = at
}

func (t *table) forgetLoaded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.loaded)
}

// loadedAt returns when a file was loaded; ok is false for never.
func (t *table) loadedAt(key string) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.loaded[key]
	return at, ok
}

// full is the whole name.
func (t *table) full() string { return t.schema.full() + "." + snowsql.QuoteIdentifier(t.name) }

// view is a view; its text is read again for each query.
type view struct {
	schema  *schema
	name    string
	columns []snowsql.OutColumn
	names   []string // given in CREATE VIEW; nil: those of the query
	text    string
	query   *snowsql.Query
	owner   string
	secure  bool
	comment string
	created time.Time
}

// stage is a stage: internal below a prefix of the bucket, or external.
type stage struct {
	schema      *schema
	name        string
	prefix      string // in the bucket, ends in /
	url         string // external; empty: internal
	integration string
	serverSide  bool // drivers do not encrypt the files of an internal one
	options     map[string]snowsql.Option
	owner       string
	created     time.Time
	temporary   bool
}

type schema struct {
	database *database
	name     string
	tables   map[string]*table
	views    map[string]*view
	stages   map[string]*stage
	created  time.Time
	owner    string
}

func (s *schema) full() string {
	return fullName(s.database.name, s.name)
}

type database struct {
	name    string
	schemas map[string]*schema
	created time.Time
	owner   string
}

// catalog is the databases with their objects. mu guards the maps; objects are
// replaced, never changed, except where they have a lock of their own.
type catalog struct {
	mu        sync.Mutex
	databases map[string]*database
	next      int
}

func (c *catalog) physical(prefix string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return prefix + strconv.Itoa(c.next)
}

func newSchema(d *database, name, owner string, now time.Time) *schema {
	return &schema{database: d, name: name, owner: owner, created: now, tables: map[string]*table{}, views: map[string]*view{}, stages: map[string]*stage{}}
}

// findDatabase returns a database that the role may use.
func (x *execution) findDatabase(name string) (*database, error) {
	x.srv.catalog.mu.Lock()
	d := x.srv.catalog.databases[name]
	x.srv.catalog.mu.Unlock()
	if d == nil || !x.may("USAGE", "DATABASE", fullName(name)) {
		return nil, snowsql.DoesNotExist("Database", snowsql.QuoteIdentifier(name))
	}
	return d, nil
}

// findSchema returns a schema that the role may use. Parts may lack the database.
func (x *execution) findSchema(parts snowsql.Name) (*schema, error) {
	st := x.session.state()
	full := slices.Clone(parts)
	if len(full) == 0 {
		if st.schema == "" || st.database == "" {
			return nil, refuse(90105, "22000", "Cannot perform operation. This session does not have a current database. Call 'USE DATABASE', or use a qualified name.")
		}
		full = snowsql.Name{st.database, st.schema}
	}
	if len(full) == 1 {
		if st.database == "" {
			return nil, refuse(90105, "22000", "Cannot perform operation. This session does not have a current database. Call 'USE DATABASE', or use a qualified name.")
		}
		full = snowsql.Name{st.database, full[0]}
	}
	d, err := x.findDatabase(full[0])
	if err != nil {
		return nil, err
	}
	x.srv.catalog.mu.Lock()
	s := d.schemas[full[1]]
	x.srv.catalog.mu.Unlock()
	if s == nil || !x.may("USAGE", "SCHEMA", fullName(full...)) {
		return nil, snowsql.DoesNotExist("Schema", fullName(full...))
	}
	return s, nil
}

// split returns the schema and the last part of a name.
func (x *execution) split(n snowsql.Name) (*schema, string, error) {
	s, err := x.findSchema(n[:len(n)-1])
	return s, n[len(n)-1], err
}

func qualified(s *schema, name string) string { return s.full() + "." + snowsql.QuoteIdentifier(name) }

// lookup finds the table or view of a name. Both are nil when there is none.
func (x *execution) lookup(s *schema, name string) (*table, *view) {
	x.srv.catalog.mu.Lock()
	defer x.srv.catalog.mu.Unlock()
	return s.tables[name], s.views[name]
}

// findTable returns a table that the role has this privilege on.
func (x *execution) findTable(n snowsql.Name, privilege string) (*table, error) {
	s, name, err := x.split(n)
	if err != nil {
		return nil, err
	}
	t, v := x.lookup(s, name)
	full := qualified(s, name)
	if v != nil && t == nil && x.sees("VIEW", full) {
		return nil, refuse(2003, "42601", "SQL compilation error:\nObject found is of type 'VIEW', not appropriate for this operation.")
	}
	if t == nil || !x.sees("TABLE", full) {
		return nil, snowsql.DoesNotExist("Object", shown(n))
	}
	if !x.may(privilege, "TABLE", full) {
		return nil, insufficient("table", snowsql.QuoteIdentifier(name))
	}
	return t, nil
}

func shown(n snowsql.Name) string { return fullName(n...) }

// findStage returns a stage that the role has this privilege on.
func (x *execution) findStage(n snowsql.Name, privilege string) (*stage, error) {
	s, name, err := x.split(n)
	if err != nil {
		return nil, err
	}
	x.srv.catalog.mu.Lock()
	st := s.stages[name]
	x.srv.catalog.mu.Unlock()
	full := qualified(s, name)
	if st == nil || !x.sees("STAGE", full) {
		return nil, snowsql.DoesNotExist("Stage", full)
	}
	if st.url != "" {
		privilege = "USAGE" // of external stages
	}
	if !x.may(privilege, "STAGE", full) {
		return nil, insufficient("stage", snowsql.QuoteIdentifier(name))
	}
	return st, nil
}

func (x *execution) may(privilege, kind, name string) bool {
	return x.srv.account.may(x.role, privilege, kind, name)
}

func (x *execution) sees(kind, name string) bool { return x.srv.account.sees(x.role, kind, name) }

// mayCreate checks a privilege to create in a container: IF NOT EXISTS needs it too.
func (x *execution) mayCreate(kind, container, name string) error {
	if x.srv.account.may(x.role, "CREATE "+kind, container, name) {
		return nil
	}
	last := name
	if at := strings.LastIndexByte(name, '.'); at >= 0 {
		last = name[at+1:]
	}
	return insufficient(container, last)
}

// Relation implements snowsql.Catalog.
func (x *execution) Relation(n snowsql.Name) (snowsql.Relation, error) {
	if len(n) > 1 && n[len(n)-2] == "INFORMATION_SCHEMA" {
		return x.informationSchema(n)
	}
	s, name, err := x.split(n)
	if err != nil {
		return snowsql.Relation{}, err
	}
	t, v := x.lookup(s, name)
	full := qualified(s, name)
	switch {
	case t != nil && x.sees("TABLE", full):
		if !x.may("SELECT", "TABLE", full) {
			return snowsql.Relation{}, insufficient("table", snowsql.QuoteIdentifier(name))
		}
		return x.tableRelation(t), nil
	case v != nil && x.sees("VIEW", full):
		if !x.may("SELECT", "VIEW", full) {
			return snowsql.Relation{}, insufficient("view", snowsql.QuoteIdentifier(name))
		}
		return x.viewRelation(v)
	}
	return snowsql.Relation{}, snowsql.DoesNotExist("Object", shown(n))
}

func (x *execution) tableRelation(t *table) snowsql.Relation {
	list := make([]string, len(t.columns))
	for n := range t.columns {
		list[n] = "t.c" + strconv.Itoa(n)
	}
	return snowsql.Relation{SQL: "(SELECT " + strings.Join(list, ", ") + " FROM " + t.physical + " AS t WHERE " + x.readable("t") + ")", Columns: t.out()}
}

// viewRelation reads a view with the rights of its owner, and its names in its schema.
func (x *execution) viewRelation(v *view) (snowsql.Relation, error) {
	if x.depth > 20 {
		return snowsql.Relation{}, refuse(1003, "42601", "SQL compilation error:\nview definition is recursive")
	}
	inner := *x
	inner.role, inner.depth = v.owner, x.depth+1
	inner.session = &session{srv: x.srv, current: state{database: v.schema.database.name, schema: v.schema.name, role: v.owner, parameters: x.session.state().parameters}}
	translator := snowsql.Translator{Catalog: &inner}
	r, err := translator.Query(v.query)
	if err != nil {
		return r, refuse(2057, "42601", "SQL compilation error:\nFailure during expansion of view '%s': %s", snowsql.QuoteIdentifier(v.name), refusal(err).Message)
	}
	if len(r.Columns) != len(v.columns) {
		return r, refuse(2057, "42601", "SQL compilation error:\nView definition for '%s' declared %d column(s), but view query produces %d column(s).", fullName(v.schema.database.name, v.schema.name, v.name), len(v.columns), len(r.Columns))
	}
	r.Columns = v.columns
	return r, nil
}

// loads are the files that a table has loaded, with the time.
type loads map[string]time.Time
