package server

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// user is a user of the account.
type user struct {
	name, loginName string
	password        string // empty: none
	kind            string // PERSON, SERVICE or LEGACY_SERVICE
	keys            []*rsa.PublicKey
	defaultRole     string
	warehouse       string
	namespace       string
	roles           map[string]bool
	disabled        bool
	mfa             bool
	networkPolicy   bool
	tokens          map[string]*accessToken // PATs
	oauth           map[string]*accessToken
	workload        map[string]workload // by provider
	wrong           int                 // wrong passwords in a row
	lockedUntil     time.Time
}

// accessToken is a programmatic access token or an OAuth token.
type accessToken struct {
	role    string
	expires time.Time
}

// grant is a privilege on an object.
type grant struct {
	privilege, kind, name string // name is the whole one, in capitals where unquoted
}

// role is a role with its privileges and the roles that it has.
type role struct {
	name    string
	grants  map[grant]string // by whom
	future  map[grant]bool   // name is that of the schema or database
	roles   map[string]bool
	created time.Time
}

// warehouse is a warehouse.
type warehouse struct {
	name       string
	suspended  bool
	autoResume bool
	monitor    string // of a resource monitor that has reached its quota; empty: none
}

// account is the users, roles, grants and warehouses. The objects with rows are in
// catalog. mu guards all.
type account struct {
	name string

	mu         sync.Mutex
	users      map[string]*user
	roles      map[string]*role
	warehouses map[string]*warehouse
	objects    map[string]bool   // integrations, policies and others: "KIND NAME"
	parameters map[string]string // set for the account
	blocked    string            // an IP address that no policy allows; empty: none
	awsKeys    map[string]awsKey // by id
}

func newAccount(name string) *account {
	a := &account{name: name, users: map[string]*user{}, roles: map[string]*role{}, warehouses: map[string]*warehouse{}, objects: map[string]bool{}, parameters: map[string]string{}, awsKeys: map[string]awsKey{}}
	for _, r := range []string{"ACCOUNTADMIN", "SECURITYADMIN", "USERADMIN", "SYSADMIN", "PUBLIC"} {
		a.roles[r] = newRole(r)
	}
	for parent, child := range map[string]string{"ACCOUNTADMIN": "SYSADMIN", "SECURITYADMIN": "USERADMIN"} {
		a.roles[parent].roles[child] = true
	}
	a.roles["ACCOUNTADMIN"].roles["SECURITYADMIN"] = true
	return a
}

func newRole(name string) *role {
	return &role{name: name, grants: map[grant]string{}, future: map[grant]bool{}, roles: map[string]bool{}}
}

func newUser(name string) *user {
	return &user{name: name, loginName: name, kind: "PERSON", roles: map[string]bool{}, tokens: map[string]*accessToken{}, oauth: map[string]*accessToken{}, workload: map[string]workload{}}
}

// byLogin finds a user by its login name. a.mu is held.
func (a *account) byLogin(name string) *user {
	for _, u := range a.users {
		if strings.EqualFold(u.loginName, name) {
			return u
		}
	}
	return nil
}

// parseKey reads RSA_PUBLIC_KEY: PEM without its lines, or with them.
func parseKey(text string) (*rsa.PublicKey, error) {
	text = strings.TrimSpace(text)
	var der []byte
	if block, _ := pem.Decode([]byte(text)); block != nil {
		der = block.Bytes
	} else {
		var err error
		if der, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), "")); err != nil {
			return nil, refuse(1422, "22023", "SQL compilation error:\nNew public key rejected by current policy. Reason: 'Invalid public key'")
		}
	}
	key, err := x509.ParsePKIXPublicKey(der)
	rsaKey, ok := key.(*rsa.PublicKey)
	if err != nil || !ok {
		return nil, refuse(1422, "22023", "SQL compilation error:\nNew public key rejected by current policy. Reason: 'Invalid public key'")
	}
	return rsaKey, nil
}

func fingerprint(key *rsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + base64.StdEncoding.EncodeToString(sum[:])
}

// rolesOf are a role and all that it has, PUBLIC among them. a.mu is held.
func (a *account) rolesOf(name string) map[string]bool {
	all := map[string]bool{"PUBLIC": true}
	var add func(string)
	add = func(name string) {
		r := a.roles[name]
		if r == nil || all[name] {
			return
		}
		all[name] = true
		for child := range r.roles {
			add(child)
		}
	}
	add(name)
	return all
}

// may reports whether a role has a privilege on an object, its ownership included.
func (a *account) may(roleName, privilege, kind, name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.has(roleName, func(g grant) bool {
		return g.kind == kind && g.name == name && (g.privilege == privilege || g.privilege == "OWNERSHIP")
	})
}

// sees reports whether a role has any privilege on an object.
func (a *account) sees(roleName, kind, name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.has(roleName, func(g grant) bool { return g.kind == kind && g.name == name })
}

func (a *account) has(roleName string, match func(grant) bool) bool {
	roles := a.rolesOf(roleName)
	if roles["ACCOUNTADMIN"] {
		return true
	}
	for name := range roles {
		for g := range a.roles[name].grants {
			if match(g) {
				return true
			}
		}
	}
	return false
}

// grantTo gives a privilege.
func (a *account) grantTo(roleName string, g grant, by string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.roles[roleName]; r != nil {
		r.grants[g] = by
	}
}

// created gives the owner and the future grants of a new object.
func (a *account) created(owner, kind, name, schema, database string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.roles[owner]; r != nil {
		r.grants[grant{"OWNERSHIP", kind, name}] = owner
	}
	for _, r := range a.roles {
		for f := range r.future {
			if f.kind == kind && (f.name == schema || f.name == database) {
				r.grants[grant{f.privilege, kind, name}] = owner
			}
		}
	}
}

// dropped forgets the grants on an object.
func (a *account) dropped(kind, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.roles {
		maps.DeleteFunc(r.grants, func(g grant, _ string) bool { return g.kind == kind && g.name == name })
	}
}

// copied gives the grants of one object, except its ownership, to another.
func (a *account) grantsOn(kind, name string) map[string][]grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[string][]grant{}
	for _, r := range a.roles {
		for g := range r.grants {
			if g.kind == kind && g.name == name {
				all[r.name] = append(all[r.name], g)
			}
		}
	}
	return all
}

// fullName writes the whole name of an object.
func fullName(parts ...string) string {
	quoted := slices.Clone(parts)
	for n, p := range quoted {
		quoted[n] = snowsql.QuoteIdentifier(p)
	}
	return strings.Join(quoted, ".")
}
