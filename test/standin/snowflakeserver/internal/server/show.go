package server

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// like reports whether a name matches LIKE of SHOW, which ignores case.
func like(s *snowsql.Show, name string) bool {
	if s.Starts != "" && !strings.HasPrefix(name, s.Starts) {
		return false
	}
	if !s.HasLike {
		return true
	}
	pattern := regexp.QuoteMeta(s.Like)
	pattern = strings.NewReplacer("%", ".*", `\\_`, "_", "_", ".").Replace(pattern)
	re, err := regexp.Compile("(?is)^" + pattern + "$")
	return err == nil && re.MatchString(name)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 -0700") }

func (x *execution) show(s *snowsql.Show) (*result, error) {
	switch s.Kind {
	case "PARAMETERS":
		return x.showParameters(s)
	case "GRANTS":
		return x.showGrants(s)
	case "FUTURE GRANTS":
		return x.showFutureGrants(s)
	case "TABLES", "VIEWS", "STAGES", "OBJECTS":
		return x.showObjects(s)
	case "SCHEMAS":
		return x.showSchemas(s)
	case "DATABASES":
		return x.showDatabases(s)
	case "WAREHOUSES":
		return x.showWarehouses(s)
	case "ROLES", "USERS":
		return x.showAccount(s)
	case "LOCKS", "TRANSACTIONS":
		return x.showTransactions(s)
	}
	return nil, snowsql.Unsupported("SHOW %s", s.Kind)
}

func (x *execution) showParameters(s *snowsql.Show) (*result, error) {
	st := x.session.state()
	switch s.In {
	case "", "SESSION":
	case "ACCOUNT", "USER", "WAREHOUSE", "DATABASE", "SCHEMA", "TABLE":
		st.parameters = nil
	default:
		return nil, snowsql.Unsupported("SHOW PARAMETERS IN %s", s.In)
	}
	var rows [][]string
	for _, name := range sortedKeys(parameters) {
		p := parameters[name]
		if !like(s, name) || p.account && s.In != "ACCOUNT" {
			continue
		}
		level := ""
		x.srv.account.mu.Lock()
		if _, ok := x.srv.account.parameters[name]; ok {
			level = "ACCOUNT"
		}
		x.srv.account.mu.Unlock()
		if _, ok := st.parameters[name]; ok {
			level = "SESSION"
		}
		rows = append(rows, []string{name, x.srv.parameter(st, name), p.standard, level, "", p.kind})
	}
	return listing([]string{"key", "value", "default", "level", "description", "type"}, rows...), nil
}

func (x *execution) showGrants(s *snowsql.Show) (*result, error) {
	header := []string{"created_on", "privilege", "granted_on", "name", "granted_to", "grantee_name", "grant_option", "granted_by"}
	a := x.srv.account
	var rows [][]string
	add := func(r *role, g grant) {
		rows = append(rows, []string{date(x.srv.now()), g.privilege, strings.ReplaceAll(g.kind, " ", "_"), g.name, "ROLE", r.name, "false", r.grants[g]})
	}
	st := x.session.state()
	scope := ""
	if s.Scope != nil {
		scope = s.Scope[len(s.Scope)-1]
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case s.To == "" && s.On == "":
		return x.rolesOfUser(a.users[st.user])
	case s.To == "TO USER":
		if a.users[scope] == nil {
			return nil, snowsql.DoesNotExist("User", snowsql.QuoteIdentifier(scope))
		}
		return x.rolesOfUser(a.users[scope])
	case s.To == "TO ROLE":
		r := a.roles[scope]
		if r == nil {
			return nil, snowsql.DoesNotExist("Role", snowsql.QuoteIdentifier(scope))
		}
		for child := range r.roles {
			rows = append(rows, []string{date(x.srv.now()), "USAGE", "ROLE", child, "ROLE", r.name, "false", ""})
		}
		for g := range r.grants {
			add(r, g)
		}
	case s.To == "OF ROLE":
		return x.holdersOf(scope)
	case s.On != "":
		name := fullName(s.Scope...)
		if s.On == "ACCOUNT" {
			name = ""
		}
		if s.On == "TABLE" || s.On == "VIEW" || s.On == "STAGE" || s.On == "SCHEMA" {
			name = fullName(completed(s.Scope, s.On, st)...)
		}
		for _, r := range a.roles {
			for g := range r.grants {
				if g.kind == objectKind(s.On) && g.name == name {
					add(r, g)
				}
			}
		}
		if rows == nil {
			return nil, snowsql.DoesNotExist(title(s.On), name)
		}
	default:
		return nil, snowsql.Unsupported("SHOW GRANTS")
	}
	slices.SortFunc(rows, func(a, b []string) int { return slices.Compare(a[1:6], b[1:6]) })
	return listing(header, rows...), nil
}

// completed adds the current database and schema to a name.
func completed(n snowsql.Name, kind string, st state) snowsql.Name {
	if kind == "SCHEMA" {
		if len(n) == 1 {
			return snowsql.Name{st.database, n[0]}
		}
		return n
	}
	switch len(n) {
	case 1:
		return snowsql.Name{st.database, st.schema, n[0]}
	case 2:
		return snowsql.Name{st.database, n[0], n[1]}
	}
	return n
}

// rolesOfUser lists the roles that a user has. The account's lock is held.
func (x *execution) rolesOfUser(u *user) (*result, error) {
	r := listing([]string{"created_on", "role", "granted_to", "grantee_name", "granted_by"})
	if u == nil {
		return r, nil
	}
	var rows [][]string
	for _, name := range sortedKeys(u.roles) {
		rows = append(rows, []string{date(x.srv.now()), name, "USER", u.name, ""})
	}
	return listing([]string{"created_on", "role", "granted_to", "grantee_name", "granted_by"}, rows...), nil
}

func (x *execution) holdersOf(name string) (*result, error) {
	var rows [][]string
	for _, u := range sortedKeys(x.srv.account.users) {
		if x.srv.account.users[u].roles[name] {
			rows = append(rows, []string{date(x.srv.now()), name, "USER", u, ""})
		}
	}
	for _, r := range sortedKeys(x.srv.account.roles) {
		if x.srv.account.roles[r].roles[name] {
			rows = append(rows, []string{date(x.srv.now()), name, "ROLE", r, ""})
		}
	}
	return listing([]string{"created_on", "role", "granted_to", "grantee_name", "granted_by"}, rows...), nil
}

func (x *execution) showFutureGrants(s *snowsql.Show) (*result, error) {
	if s.Scope == nil {
		return nil, snowsql.Unsupported("SHOW FUTURE GRANTS without a scope")
	}
	name := fullName(s.Scope...)
	if s.In == "SCHEMA" {
		name = fullName(completed(s.Scope, "SCHEMA", x.session.state())...)
	}
	var rows [][]string
	x.srv.account.mu.Lock()
	defer x.srv.account.mu.Unlock()
	for _, r := range sortedKeys(x.srv.account.roles) {
		for g := range x.srv.account.roles[r].future {
			if g.name == name || s.To != "" && r == s.Scope[0] {
				rows = append(rows, []string{date(x.srv.now()), g.privilege, g.kind, g.name + ".<" + g.kind + ">", "ROLE", r, "false"})
			}
		}
	}
	return listing([]string{"created_on", "privilege", "grant_on", "name", "grant_to", "grantee_name", "grant_option"}, rows...), nil
}

// scopeOf returns the schemas that SHOW looks into.
func (x *execution) scopeOf(s *snowsql.Show) ([]*schema, error) {
	st := x.session.state()
	all := func(d *database) []*schema {
		x.srv.catalog.mu.Lock()
		defer x.srv.catalog.mu.Unlock()
		var list []*schema
		for _, name := range sortedKeys(d.schemas) {
			list = append(list, d.schemas[name])
		}
		return list
	}
	switch {
	case s.In == "DATABASE":
		name := st.database
		if s.Scope != nil {
			name = s.Scope[0]
		}
		d, err := x.findDatabase(name)
		if err != nil {
			return nil, err
		}
		return all(d), nil
	case s.In == "ACCOUNT" || s.In == "" && s.Scope == nil && st.database == "":
		var list []*schema
		for _, d := range x.databases() {
			list = append(list, all(d)...)
		}
		return list, nil
	case s.In == "SCHEMA" || s.In == "" && s.Scope != nil || st.schema != "":
		one, err := x.findSchema(s.Scope)
		return []*schema{one}, err
	}
	d, err := x.findDatabase(st.database)
	if err != nil {
		return nil, err
	}
	return all(d), nil
}

func (x *execution) databases() []*database {
	x.srv.catalog.mu.Lock()
	all := maps.Clone(x.srv.catalog.databases)
	x.srv.catalog.mu.Unlock()
	var list []*database
	for _, name := range sortedKeys(all) {
		if x.may("USAGE", "DATABASE", fullName(name)) {
			list = append(list, all[name])
		}
	}
	return list
}

func (x *execution) showObjects(s *snowsql.Show) (*result, error) {
	schemas, err := x.scopeOf(s)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, in := range schemas {
		if !x.may("USAGE", "SCHEMA", in.full()) {
			continue
		}
		x.srv.catalog.mu.Lock()
		tables, views, stages := maps.Clone(in.tables), maps.Clone(in.views), maps.Clone(in.stages)
		x.srv.catalog.mu.Unlock()
		if s.Kind == "TABLES" || s.Kind == "OBJECTS" {
			for _, name := range sortedKeys(tables) {
				if t := tables[name]; like(s, name) && x.sees("TABLE", t.full()) {
					kind := t.kind
					if kind == "" {
						kind = "TABLE"
					}
					rows = append(rows, []string{date(t.created), name, in.database.name, in.name, kind, t.comment, t.cluster, t.owner})
				}
			}
		}
		if s.Kind == "VIEWS" || s.Kind == "OBJECTS" {
			for _, name := range sortedKeys(views) {
				if v := views[name]; like(s, name) && x.sees("VIEW", qualified(in, name)) {
					rows = append(rows, []string{date(v.created), name, in.database.name, in.name, "VIEW", v.comment, "", v.owner})
				}
			}
		}
		if s.Kind == "STAGES" {
			for _, name := range sortedKeys(stages) {
				if st := stages[name]; like(s, name) && x.sees("STAGE", qualified(in, name)) {
					kind := "INTERNAL"
					if st.url != "" {
						kind = "EXTERNAL"
					}
					rows = append(rows, []string{date(st.created), name, in.database.name, in.name, kind, st.options["COMMENT"].Text, st.url, st.owner})
				}
			}
		}
	}
	header := []string{"created_on", "name", "database_name", "schema_name", "kind", "comment", "cluster_by", "owner"}
	if s.Kind == "STAGES" {
		header = []string{"created_on", "name", "database_name", "schema_name", "type", "comment", "url", "owner"}
	}
	return listing(header, rows...), nil
}

func (x *execution) showSchemas(s *snowsql.Show) (*result, error) {
	names := []string{x.session.state().database}
	if s.Scope != nil {
		names = []string{s.Scope[0]}
	}
	if s.In == "ACCOUNT" || names[0] == "" {
		names = nil
		for _, d := range x.databases() {
			names = append(names, d.name)
		}
	}
	var rows [][]string
	for _, name := range names {
		d, err := x.findDatabase(name)
		if err != nil {
			return nil, err
		}
		x.srv.catalog.mu.Lock()
		schemas := maps.Clone(d.schemas)
		x.srv.catalog.mu.Unlock()
		for _, n := range sortedKeys(schemas) {
			if like(s, n) && x.sees("SCHEMA", schemas[n].full()) {
				rows = append(rows, []string{date(schemas[n].created), n, "N", "N", d.name, schemas[n].owner, ""})
			}
		}
	}
	return listing([]string{"created_on", "name", "is_default", "is_current", "database_name", "owner", "comment"}, rows...), nil
}

func (x *execution) showDatabases(s *snowsql.Show) (*result, error) {
	var rows [][]string
	for _, d := range x.databases() {
		if like(s, d.name) {
			rows = append(rows, []string{date(d.created), d.name, "N", "N", "", d.owner, ""})
		}
	}
	return listing([]string{"created_on", "name", "is_default", "is_current", "origin", "owner", "comment"}, rows...), nil
}

func (x *execution) showWarehouses(s *snowsql.Show) (*result, error) {
	x.srv.account.mu.Lock()
	all := maps.Clone(x.srv.account.warehouses)
	x.srv.account.mu.Unlock()
	var rows [][]string
	for _, name := range sortedKeys(all) {
		if !like(s, name) || !x.sees("WAREHOUSE", fullName(name)) {
			continue
		}
		x.srv.account.mu.Lock()
		state, resume := "STARTED", all[name].autoResume
		if all[name].suspended {
			state = "SUSPENDED"
		}
		x.srv.account.mu.Unlock()
		rows = append(rows, []string{name, state, "STANDARD", "X-Small", strconv.FormatBool(resume)})
	}
	return listing([]string{"name", "state", "type", "size", "auto_resume"}, rows...), nil
}

func (x *execution) showAccount(s *snowsql.Show) (*result, error) {
	x.srv.account.mu.Lock()
	defer x.srv.account.mu.Unlock()
	names := sortedKeys(x.srv.account.roles)
	if s.Kind == "USERS" {
		names = sortedKeys(x.srv.account.users)
	}
	var rows [][]string
	for _, name := range names {
		if like(s, name) {
			rows = append(rows, []string{date(x.srv.now()), name, ""})
		}
	}
	return listing([]string{"created_on", "name", "comment"}, rows...), nil
}

// showTransactions lists the open transactions: those of the user's sessions, or all for
// ACCOUNTADMIN.
func (x *execution) showTransactions(s *snowsql.Show) (*result, error) {
	var transactions, locks [][]string
	for _, other := range x.srv.sessions.list() {
		tx := other.transaction()
		if tx == nil || other.state().user != x.session.state().user && !(s.In == "ACCOUNT" && x.role == "ACCOUNTADMIN") {
			continue
		}
		id := strconv.FormatInt(tx.id, 10)
		transactions = append(transactions, []string{id, other.state().user, strconv.FormatInt(other.id, 10), "", date(tx.started), "running", ""})
		x.srv.transactions.mu.Lock()
		for t, holder := range x.srv.transactions.holders {
			if holder == tx {
				locks = append(locks, []string{t, "TABLE", id, date(tx.started), "HOLDING", date(tx.started), "", strconv.FormatInt(other.id, 10)})
			}
		}
		x.srv.transactions.mu.Unlock()
	}
	if s.Kind == "LOCKS" {
		return listing([]string{"resource", "type", "transaction", "transaction_started_on", "status", "acquired_on", "query_id", "session"}, locks...), nil
	}
	return listing([]string{"id", "user", "session", "name", "started_on", "state", "scope"}, transactions...), nil
}

// describe lists the columns of a table or view, or the properties of a stage.
func (x *execution) describe(d *snowsql.Describe) (*result, error) {
	switch d.Kind {
	case "TABLE", "VIEW":
	case "INTEGRATION", "STORAGE INTEGRATION":
		name := fullName(d.Name...)
		if !x.exists("INTEGRATION", d.Name[0]) || !x.sees("INTEGRATION", name) {
			return nil, snowsql.DoesNotExist("Integration", name)
		}
		return describeIntegration(x.srv.storage.integration(name)), nil
	case "STAGE":
		st, err := x.findStage(d.Name, "USAGE")
		if err != nil {
			return nil, err
		}
		return listing([]string{"parent_property", "property", "property_type", "property_value", "property_default"}, []string{"STAGE_LOCATION", "URL", "String", st.url, ""}), nil
	default:
		return nil, snowsql.Unsupported("DESCRIBE %s", d.Kind)
	}
	s, name, err := x.split(d.Name)
	if err != nil {
		return nil, err
	}
	t, v := x.lookup(s, name)
	var rows [][]string
	switch {
	case t != nil && x.sees("TABLE", t.full()):
		for _, c := range t.columns {
			rows = append(rows, []string{c.Name, c.Type.String(), "COLUMN", map[bool]string{true: "N", false: "Y"}[c.NotNull], "", "N", "N", "", "", c.Comment})
		}
	case v != nil && x.sees("VIEW", qualified(s, name)):
		for _, c := range v.columns {
			rows = append(rows, []string{c.Name, c.Type.String(), "COLUMN", "Y", "", "N", "N", "", "", ""})
		}
	default:
		return nil, snowsql.DoesNotExist(title(d.Kind), shown(d.Name))
	}
	return listing([]string{"name", "type", "kind", "null?", "default", "primary key", "unique key", "check", "expression", "comment"}, rows...), nil
}

// informationSchema is the part of INFORMATION_SCHEMA that is known.
func (x *execution) informationSchema(n snowsql.Name) (snowsql.Relation, error) {
	st := x.session.state()
	if len(n) == 3 {
		st.database = n[0]
	}
	d, err := x.findDatabase(st.database)
	if err != nil {
		return snowsql.Relation{}, err
	}
	view := n[len(n)-1]
	headers := map[string][]string{
		"TABLES":   {"TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE", "CLUSTERING_KEY", "COMMENT"},
		"VIEWS":    {"TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "VIEW_DEFINITION", "IS_SECURE", "COMMENT"},
		"COLUMNS":  {"TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME", "ORDINAL_POSITION", "IS_NULLABLE", "DATA_TYPE"},
		"SCHEMATA": {"CATALOG_NAME", "SCHEMA_NAME", "SCHEMA_OWNER"},
		"STAGES":   {"STAGE_CATALOG", "STAGE_SCHEMA", "STAGE_NAME", "STAGE_TYPE"},
	}
	header, known := headers[view]
	if !known {
		return snowsql.Relation{}, snowsql.DoesNotExist("Object", shown(n))
	}
	return rowsRelation(header, x.informationRows(d, view)), nil
}

func (x *execution) informationRows(d *database, view string) (rows [][]string) {
	x.srv.catalog.mu.Lock()
	defer x.srv.catalog.mu.Unlock()
	for _, name := range sortedKeys(d.schemas) {
		s := d.schemas[name]
		if view == "SCHEMATA" && x.sees("SCHEMA", s.full()) {
			rows = append(rows, []string{d.name, name, s.owner})
		}
		for _, t := range sortedKeys(s.tables) {
			table := s.tables[t]
			if !x.sees("TABLE", table.full()) {
				continue
			}
			switch view {
			case "TABLES":
				rows = append(rows, []string{d.name, name, t, "BASE TABLE", table.cluster, table.comment})
			case "COLUMNS":
				for n, c := range table.columns {
					rows = append(rows, []string{d.name, name, t, c.Name, strconv.Itoa(n + 1), map[bool]string{true: "NO", false: "YES"}[c.NotNull], c.Type.Name})
				}
			}
		}
		for _, v := range sortedKeys(s.views) {
			one := s.views[v]
			if !x.sees("VIEW", qualified(s, v)) {
				continue
			}
			switch view {
			case "TABLES":
				rows = append(rows, []string{d.name, name, v, "VIEW", "", one.comment})
			case "VIEWS":
				rows = append(rows, []string{d.name, name, v, one.text, map[bool]string{true: "YES", false: "NO"}[one.secure], one.comment})
			case "COLUMNS":
				for n, c := range one.columns {
					rows = append(rows, []string{d.name, name, v, c.Name, strconv.Itoa(n + 1), "YES", c.Type.Name})
				}
			}
		}
		if view == "STAGES" {
			for _, st := range sortedKeys(s.stages) {
				if x.sees("STAGE", qualified(s, st)) {
					rows = append(rows, []string{d.name, name, st, map[bool]string{true: "Internal Named", false: "External Named"}[s.stages[st].url == ""]})
				}
			}
		}
	}
	return rows
}

// rowsRelation makes a relation of texts.
func rowsRelation(header []string, rows [][]string) snowsql.Relation {
	r := snowsql.Relation{}
	names, nulls := make([]string, len(header)), make([]string, len(header))
	for n, h := range header {
		r.Columns = append(r.Columns, snowsql.OutColumn{Name: h, Type: varchar})
		names[n], nulls[n] = "c"+strconv.Itoa(n), "CAST(NULL AS VARCHAR)"
	}
	lines := []string{"(" + strings.Join(nulls, ", ") + ")"}
	for _, row := range rows {
		quoted := make([]string, len(row))
		for n, v := range row {
			quoted[n] = snowsql.QuoteString(v)
		}
		lines = append(lines, "("+strings.Join(quoted, ", ")+")")
	}
	r.SQL = fmt.Sprintf("(SELECT * FROM (VALUES %s) AS v(%s) WHERE c0 IS NOT NULL)", strings.Join(lines, ", "), strings.Join(names, ", "))
	return r
}

// Table implements snowsql.Catalog: RESULT_SCAN is the one table function.
func (x *execution) Table(function string, args []string) (snowsql.Relation, error) {
	if function != "RESULT_SCAN" || len(args) != 1 {
		return snowsql.Relation{}, snowsql.UnknownFunction(function)
	}
	q := x.srv.queries.find(args[0])
	if q == nil || q.session.state().user != x.session.state().user {
		return snowsql.Relation{}, refuse(709, "02000", "Statement %s not found", args[0])
	}
	select {
	case <-q.done:
	default:
		return snowsql.Relation{}, refuse(710, "02000", "Statement %s is still running", args[0])
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.result == nil || q.result.transfer != nil {
		return snowsql.Relation{}, refuse(709, "02000", "Statement %s has no result", args[0])
	}
	header := make([]string, len(q.result.columns))
	for n, c := range q.result.columns {
		if header[n] = c.Name; c.Type.Name != "VARCHAR" && c.Type.Name != "NUMBER" {
			return snowsql.Relation{}, snowsql.Unsupported("RESULT_SCAN of a %s", c.Type.Name)
		}
	}
	var rows [][]string
	for _, row := range q.result.rows {
		line := make([]string, len(row))
		for n, v := range row {
			if v != nil {
				line[n] = *v
			}
		}
		rows = append(rows, line)
	}
	return rowsRelation(header, rows), nil
}

// describeIntegration lists the properties of a storage integration, among them the
// identity with which the service reads, which the cloud has to trust
// (https://docs.snowflake.com/en/sql-reference/sql/desc-integration).
func describeIntegration(i integration) *result {
	rows := [][]string{{"ENABLED", "Boolean", "true", "false"}, {"STORAGE_PROVIDER", "String", i.provider, ""}, {"STORAGE_ALLOWED_LOCATIONS", "List", strings.Join(i.allowed, ","), "[]"}}
	switch i.provider {
	case "GCS":
		rows = append(rows, []string{"STORAGE_GCP_SERVICE_ACCOUNT", "String", "standin@gcpuscentral1-1dfa.iam.gserviceaccount.com", ""})
	case "AZURE":
		rows = append(rows, []string{"AZURE_TENANT_ID", "String", i.tenant, ""},
			[]string{"AZURE_CONSENT_URL", "String", "https://login.microsoftonline.com/" + i.tenant + "/oauth2/authorize?client_id=standin&response_type=code", ""},
			[]string{"AZURE_MULTI_TENANT_APP_NAME", "String", "standinsnowflakepacint_1700000000000", ""})
	default:
		rows = append(rows, []string{"STORAGE_AWS_IAM_USER_ARN", "String", "arn:aws:iam::123456789001:user/standin", ""}, []string{"STORAGE_AWS_EXTERNAL_ID", "String", "STANDIN_SFCRole=1", ""})
	}
	return listing([]string{"property", "property_type", "property_value", "property_default"}, rows...)
}
