package server

import (
	"maps"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// objectKind is the kind of an object in grants.
func objectKind(kind string) string {
	if kind == "STORAGE INTEGRATION" || kind == "SECURITY INTEGRATION" {
		return "INTEGRATION"
	}
	return kind
}

// createAccountObject creates an object of the account. It needs CREATE of the kind,
// which the system roles have.
func (x *execution) createAccountObject(c *snowsql.Create) (*result, error) {
	kind, name := objectKind(c.Kind), c.Name[len(c.Name)-1]
	if !x.mayAccount("CREATE " + kind) {
		return nil, insufficient("account", strings.ToUpper(x.srv.account.name))
	}
	if x.exists(kind, name) {
		if c.IfNotExists {
			return existing(snowsql.QuoteIdentifier(name))
		}
		if !c.OrReplace {
			return nil, snowsql.AlreadyExists(snowsql.QuoteIdentifier(name))
		}
	}
	a := x.srv.account
	switch kind {
	case "USER":
		u := newUser(name)
		if err := x.setUser(u, c.Options); err != nil {
			return nil, err
		}
		a.mu.Lock()
		a.users[name] = u
		a.mu.Unlock()
	case "ROLE":
		r := newRole(name)
		r.created = x.srv.now()
		a.mu.Lock()
		a.roles[name] = r
		a.mu.Unlock()
	case "WAREHOUSE":
		w := &warehouse{name: name, autoResume: true}
		if err := w.set(c.Options); err != nil {
			return nil, err
		}
		a.mu.Lock()
		a.warehouses[name] = w
		a.mu.Unlock()
		x.session.change(func(st *state) { st.warehouse = name })
	case "INTEGRATION":
		if err := x.srv.storage.integrate(fullName(name), c.Options); err != nil {
			return nil, err
		}
		fallthrough
	default:
		a.mu.Lock()
		a.objects[kind+" "+fullName(name)] = true
		a.mu.Unlock()
	}
	a.created(x.role, kind, fullName(name), "", "")
	return status("%s %s successfully created.", title(c.Kind), name), nil
}

func (x *execution) mayAccount(privilege string) bool {
	a := x.srv.account
	a.mu.Lock()
	roles := a.rolesOf(x.role)
	a.mu.Unlock()
	switch privilege {
	case "CREATE USER", "CREATE ROLE":
		if roles["USERADMIN"] {
			return true
		}
	case "CREATE WAREHOUSE", "CREATE DATABASE":
		if roles["SYSADMIN"] {
			return true
		}
	case "CREATE NETWORK POLICY":
		if roles["SECURITYADMIN"] {
			return true
		}
	}
	return a.may(x.role, privilege, "ACCOUNT", "")
}

func (x *execution) exists(kind, name string) bool {
	a := x.srv.account
	a.mu.Lock()
	defer a.mu.Unlock()
	switch kind {
	case "USER":
		return a.users[name] != nil
	case "ROLE":
		return a.roles[name] != nil
	case "WAREHOUSE":
		return a.warehouses[name] != nil
	}
	return a.objects[kind+" "+fullName(name)]
}

// setUser sets properties of a user
// (https://docs.snowflake.com/en/sql-reference/sql/create-user).
func (x *execution) setUser(u *user, options map[string]snowsql.Option) error {
	for name, o := range options {
		switch name {
		case "PASSWORD":
			u.password = o.Text
		case "LOGIN_NAME":
			u.loginName = strings.ToUpper(o.Text)
		case "TYPE":
			kind := strings.ToUpper(o.Text)
			if kind != "PERSON" && kind != "SERVICE" && kind != "LEGACY_SERVICE" {
				return refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter 'TYPE'", o.Text)
			}
			u.kind = kind
		case "RSA_PUBLIC_KEY", "RSA_PUBLIC_KEY_2":
			key, err := parseKey(o.Text)
			if err != nil {
				return err
			}
			u.keys = append(u.keys, key)
		case "DEFAULT_ROLE":
			u.defaultRole = strings.ToUpper(o.Text)
		case "DEFAULT_WAREHOUSE":
			u.warehouse = strings.ToUpper(o.Text)
		case "DEFAULT_NAMESPACE":
			u.namespace = o.Text
		case "DISABLED":
			u.disabled = strings.EqualFold(o.Text, "true")
		case "NETWORK_POLICY":
			if !x.exists("NETWORK POLICY", strings.ToUpper(o.Text)) {
				return snowsql.DoesNotExist("Network policy", strings.ToUpper(o.Text))
			}
			u.networkPolicy = true
		case "WORKLOAD_IDENTITY":
			if err := u.setWorkload(o.Options); err != nil {
				return err
			}
		case "COMMENT", "DISPLAY_NAME", "EMAIL", "FIRST_NAME", "LAST_NAME", "MUST_CHANGE_PASSWORD", "DEFAULT_SECONDARY_ROLES", "DAYS_TO_EXPIRY":
		default:
			if _, err := checkSessionParameter(name, o.Text); err != nil {
				return err
			}
		}
	}
	if u.kind == "SERVICE" && u.password != "" {
		return refuse(2228, "22023", "SQL compilation error:\nCannot set PASSWORD for a user of type SERVICE.")
	}
	return nil
}

func (w *warehouse) set(options map[string]snowsql.Option) error {
	for name, o := range options {
		switch name {
		case "AUTO_RESUME":
			w.autoResume = strings.EqualFold(o.Text, "true")
		case "INITIALLY_SUSPENDED":
			w.suspended = strings.EqualFold(o.Text, "true")
		case "WAREHOUSE_SIZE", "AUTO_SUSPEND", "COMMENT", "WAREHOUSE_TYPE", "MIN_CLUSTER_COUNT", "MAX_CLUSTER_COUNT", "RESOURCE_MONITOR", "STATEMENT_TIMEOUT_IN_SECONDS", "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS":
		default:
			return refuse(1006, "42601", "SQL compilation error:\ninvalid property '%s' for 'WAREHOUSE'", name)
		}
	}
	return nil
}

// alter is ALTER of users, warehouses and the account.
func (x *execution) alter(a *snowsql.Alter) (*result, error) {
	done := status("Statement executed successfully.")
	switch a.Kind {
	case "ACCOUNT":
		return done, x.alterAccount(a)
	case "WAREHOUSE":
		return done, x.alterWarehouse(a)
	case "USER":
		name := a.Name[0]
		if !x.exists("USER", name) {
			return nil, snowsql.DoesNotExist("User", snowsql.QuoteIdentifier(name))
		}
		if a.Action != "SET" {
			return nil, snowsql.Unsupported("ALTER USER UNSET")
		}
		if !x.may("OWNERSHIP", "USER", fullName(name)) && !(x.session.state().user == name && len(a.Options) == 1) {
			return nil, insufficient("user", name)
		}
		x.srv.account.mu.Lock()
		u := *x.srv.account.users[name]
		x.srv.account.mu.Unlock()
		if _, replaced := a.Options["RSA_PUBLIC_KEY"]; replaced {
			u.keys = nil
		}
		u.keys, u.workload = slices.Clone(u.keys), maps.Clone(u.workload)
		if err := x.setUser(&u, a.Options); err != nil {
			return nil, err
		}
		x.srv.account.mu.Lock()
		x.srv.account.users[name] = &u
		x.srv.account.mu.Unlock()
		return done, nil
	}
	return nil, snowsql.Unsupported("ALTER %s", a.Kind)
}

func (x *execution) alterAccount(a *snowsql.Alter) error {
	if x.role != "ACCOUNTADMIN" {
		return insufficient("account", strings.ToUpper(x.srv.account.name))
	}
	for name, o := range a.Options {
		v, err := checkParameter(name, o.Text)
		if err != nil {
			return err
		}
		x.srv.account.mu.Lock()
		x.srv.account.parameters[name] = v
		x.srv.account.mu.Unlock()
	}
	x.srv.account.mu.Lock()
	defer x.srv.account.mu.Unlock()
	for _, name := range a.Unset {
		delete(x.srv.account.parameters, name)
	}
	return nil
}

func (x *execution) alterWarehouse(a *snowsql.Alter) error {
	name := a.Name[0]
	if !x.exists("WAREHOUSE", name) || !x.sees("WAREHOUSE", fullName(name)) {
		return snowsql.DoesNotExist("Warehouse", snowsql.QuoteIdentifier(name))
	}
	privilege := "OPERATE"
	if a.Action == "SET" {
		privilege = "MODIFY"
	}
	if !x.may(privilege, "WAREHOUSE", fullName(name)) {
		return insufficient("warehouse", snowsql.QuoteIdentifier(name))
	}
	x.srv.account.mu.Lock()
	defer x.srv.account.mu.Unlock()
	w := x.srv.account.warehouses[name]
	switch a.Action {
	case "RESUME":
		if w.monitor != "" {
			return refuse(90073, "22000", "Warehouse '%s' cannot be resumed because resource monitor '%s' has exceeded its quota.", name, w.monitor)
		}
		if !w.suspended {
			return refuse(90063, "22000", "Invalid state. Warehouse '%s' cannot be resumed.", name)
		}
		w.suspended = false
	case "SUSPEND":
		if w.suspended {
			return refuse(90064, "22000", "Invalid state. Warehouse '%s' cannot be suspended.", name)
		}
		w.suspended = true
	case "SET":
		return w.set(a.Options)
	}
	return nil
}

func (x *execution) dropAccountObject(d *snowsql.Drop, missing func(error) (*result, error), done *result) (*result, error) {
	kind, name := objectKind(d.Kind), d.Name[0]
	if !x.exists(kind, name) {
		return missing(snowsql.DoesNotExist(title(d.Kind), snowsql.QuoteIdentifier(name)))
	}
	if !x.may("OWNERSHIP", kind, fullName(name)) {
		return nil, insufficient(kind, snowsql.QuoteIdentifier(name))
	}
	a := x.srv.account
	a.mu.Lock()
	delete(a.objects, kind+" "+fullName(name))
	switch kind {
	case "USER":
		delete(a.users, name)
	case "ROLE":
		delete(a.roles, name)
		for _, r := range a.roles {
			delete(r.roles, name)
		}
		for _, u := range a.users {
			delete(u.roles, name)
		}
	case "WAREHOUSE":
		delete(a.warehouses, name)
	}
	a.mu.Unlock()
	a.dropped(kind, fullName(name))
	return done, nil
}

// privilegesOf are the privileges that a kind of object has
// (https://docs.snowflake.com/en/user-guide/security-access-control-privileges).
var privilegesOf = map[string]string{
	"ACCOUNT":          "CREATE DATABASE,CREATE ROLE,CREATE USER,CREATE WAREHOUSE,CREATE INTEGRATION,MONITOR",
	"DATABASE":         "USAGE,CREATE SCHEMA,MODIFY,MONITOR,OWNERSHIP,APPLYBUDGET",
	"SCHEMA":           "USAGE,CREATE TABLE,CREATE VIEW,CREATE STAGE,CREATE FILE FORMAT,MODIFY,MONITOR,OWNERSHIP,APPLYBUDGET",
	"TABLE":            "SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,REBUILD,EVOLVE SCHEMA,OWNERSHIP,APPLYBUDGET",
	"VIEW":             "SELECT,REFERENCES,OWNERSHIP",
	"STAGE":            "USAGE,READ,WRITE,OWNERSHIP",
	"WAREHOUSE":        "USAGE,OPERATE,MODIFY,MONITOR,OWNERSHIP,APPLYBUDGET",
	"INTEGRATION":      "USAGE,OWNERSHIP",
	"USER":             "OWNERSHIP,MONITOR",
	"ROLE":             "OWNERSHIP",
	"NETWORK POLICY":   "OWNERSHIP,USAGE",
	"RESOURCE MONITOR": "MONITOR,MODIFY",
}

func (x *execution) grant(g *snowsql.Grant) (*result, error) {
	a := x.srv.account
	if g.To == "ROLE" && !x.exists("ROLE", g.Grantee) {
		return nil, snowsql.DoesNotExist("Role", snowsql.QuoteIdentifier(g.Grantee))
	}
	if g.To == "USER" && !x.exists("USER", g.Grantee) {
		return nil, snowsql.DoesNotExist("User", snowsql.QuoteIdentifier(g.Grantee))
	}
	if g.Role != "" {
		return x.grantRole(g)
	}
	all, known := privilegesOf[g.On]
	if !known {
		return nil, snowsql.Unsupported("GRANT ON %s", g.On)
	}
	privileges := g.Privileges
	if slices.Equal(privileges, []string{"ALL"}) {
		privileges = slices.DeleteFunc(strings.Split(all, ","), func(p string) bool { return p == "OWNERSHIP" })
	}
	for _, p := range privileges {
		if !slices.Contains(strings.Split(all, ","), p) {
			return nil, refuse(1003, "42601", "SQL compilation error:\nInvalid object type '%s' for privilege '%s'", g.On, p)
		}
	}
	names, kind, err := x.granted(g)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.roles[g.Grantee]
	for _, name := range names {
		for _, p := range privileges {
			one := grant{p, kind, name}
			switch {
			case g.Future && g.Revoke:
				delete(r.future, one)
			case g.Future:
				r.future[one] = true
			case g.Revoke:
				delete(r.grants, one)
			default:
				if p == "OWNERSHIP" {
					for _, other := range a.roles {
						delete(other.grants, one)
					}
				}
				r.grants[one] = x.role
			}
		}
	}
	return status("Statement executed successfully."), nil
}

func (x *execution) grantRole(g *snowsql.Grant) (*result, error) {
	if !x.exists("ROLE", g.Role) {
		return nil, snowsql.DoesNotExist("Role", snowsql.QuoteIdentifier(g.Role))
	}
	if !x.may("OWNERSHIP", "ROLE", fullName(g.Role)) && !x.mayAccount("CREATE NETWORK POLICY") {
		return nil, insufficient("role", g.Role)
	}
	a := x.srv.account
	a.mu.Lock()
	defer a.mu.Unlock()
	set := a.roles[g.Grantee].rolesOrNil()
	if g.To == "USER" {
		set = a.users[g.Grantee].roles
	}
	if g.Revoke {
		delete(set, g.Role)
	} else {
		set[g.Role] = true
	}
	return status("Statement executed successfully."), nil
}

func (r *role) rolesOrNil() map[string]bool {
	if r == nil {
		return nil
	}
	return r.roles
}

// granted finds the objects of a grant, and checks that the role may give it: by
// ownership, or MANAGE GRANTS, which SECURITYADMIN has.
func (x *execution) granted(g *snowsql.Grant) (names []string, kind string, err error) {
	manages := x.mayAccount("CREATE NETWORK POLICY")
	check := func(kind, name string) error {
		if manages || x.may("OWNERSHIP", kind, name) {
			return nil
		}
		return insufficient(kind, name)
	}
	if g.Future || g.All {
		return x.grantedIn(g, manages)
	}
	switch g.On {
	case "ACCOUNT":
		if !manages && x.role != "ACCOUNTADMIN" {
			return nil, "", insufficient("account", strings.ToUpper(x.srv.account.name))
		}
		return []string{""}, "ACCOUNT", nil
	case "DATABASE":
		d, err := x.asOwner(manages).findDatabase(g.Name[0])
		if err != nil {
			return nil, "", err
		}
		return []string{fullName(d.name)}, "DATABASE", check("DATABASE", fullName(d.name))
	case "SCHEMA":
		s, err := x.asOwner(manages).findSchema(g.Name)
		if err != nil {
			return nil, "", err
		}
		return []string{s.full()}, "SCHEMA", check("SCHEMA", s.full())
	case "TABLE", "VIEW", "STAGE":
		s, name, err := x.asOwner(manages).split(g.Name)
		if err != nil {
			return nil, "", err
		}
		if taken := x.taken(s, name, g.On); taken != g.On {
			return nil, "", snowsql.DoesNotExist(title(g.On), qualified(s, name))
		}
		return []string{qualified(s, name)}, g.On, check(g.On, qualified(s, name))
	}
	name := g.Name[len(g.Name)-1]
	if !x.exists(g.On, name) {
		return nil, "", snowsql.DoesNotExist(title(g.On), fullName(name))
	}
	return []string{fullName(name)}, g.On, check(g.On, fullName(name))
}

// asOwner is the execution with the rights to see everything, for MANAGE GRANTS.
func (x *execution) asOwner(manages bool) *execution {
	if !manages {
		return x
	}
	all := *x
	all.role = "ACCOUNTADMIN"
	return &all
}

// grantedIn finds the objects of ALL, or the container of FUTURE.
func (x *execution) grantedIn(g *snowsql.Grant, manages bool) ([]string, string, error) {
	var schemas []*schema
	container := ""
	if g.InKind == "SCHEMA" {
		s, err := x.asOwner(manages).findSchema(g.Name)
		if err != nil {
			return nil, "", err
		}
		schemas, container = []*schema{s}, s.full()
	} else {
		d, err := x.asOwner(manages).findDatabase(g.Name[0])
		if err != nil {
			return nil, "", err
		}
		container = fullName(d.name)
		x.srv.catalog.mu.Lock()
		for _, name := range sortedKeys(d.schemas) {
			schemas = append(schemas, d.schemas[name])
		}
		x.srv.catalog.mu.Unlock()
	}
	if !manages && !x.may("OWNERSHIP", g.InKind, container) {
		return nil, "", insufficient(g.InKind, container)
	}
	if g.Future {
		return []string{container}, g.On, nil
	}
	var names []string
	x.srv.catalog.mu.Lock()
	defer x.srv.catalog.mu.Unlock()
	for _, s := range schemas {
		switch g.On {
		case "SCHEMA":
			names = append(names, s.full())
		case "TABLE":
			for name := range s.tables {
				names = append(names, qualified(s, name))
			}
		case "VIEW":
			for name := range s.views {
				names = append(names, qualified(s, name))
			}
		case "STAGE":
			for name := range s.stages {
				names = append(names, qualified(s, name))
			}
		}
	}
	return names, g.On, nil
}
