package snowflake

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// config is a destination block's body.
type config struct {
	external

	Account    string `json:"account"`
	User       string `json:"user"`
	PrivateKey string `json:"private_key"`
	Passphrase string `json:"private_key_passphrase"`
	Token      string `json:"token"`
	OAuthToken string `json:"oauth_token"`
	Workload   string `json:"workload_identity"`
	TokenFile  string `json:"token_file"`
	// Resource and Impersonation complete Workload.
	Resource      string   `json:"workload_identity_resource"`
	Impersonation []string `json:"workload_identity_impersonation"`
	Password      string   `json:"password"`
	Role          string   `json:"role"`
	Warehouse     string   `json:"warehouse"`
	Database      string   `json:"database"`
	Schema        string   `json:"schema"`
	Clustering    bool     `json:"clustering"`
	Encrypt       bool     `json:"client_side_encryption"`
	Unusual       string   `json:"unusual"`
	Views         []string `json:"views"`
	SpoolDir      string   `json:"spool_dir"`
	Endpoint      string   `json:"endpoint"`
}

func attributes() schema.Schema {
	text := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Description: description}
	}
	required := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Required: true, Description: description}
	}
	secret := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Sensitive: true, Description: description}
	}
	return schema.Schema{Attributes: append([]schema.Attribute{
		required("account", "The account's identifier, as in \"acme-analytics\" (organization and account) or \"ab12345.eu-central-1\"."),
		text("user", "The user's login name. Not needed with workload_identity."),
		secret("private_key", "The private key of key-pair authentication, as PEM (PKCS#8, encrypted or not)."),
		secret("private_key_passphrase", "The passphrase of an encrypted private_key."),
		secret("token", "A programmatic access token, instead of a key pair."),
		secret("oauth_token", "An OAuth access token, instead of a key pair. It ends soon: use it for tests."),
		{Name: "workload_identity", Type: schema.String, Allowed: []string{"aws", "gcp", "azure", "oidc"}, Description: "Log in with the identity of the machine or container that the host runs on, instead of a key pair."},
		text("token_file", "The file that holds the identity token of workload_identity = \"oidc\". It is read at each login."),
		text("workload_identity_resource", "The resource of Entra ID that the token of workload_identity = \"azure\" is for. Without it the one that Snowflake has registered."),
		{Name: "workload_identity_impersonation", Type: schema.ListOfString, Description: "The identities to take on one after another before the login, the last of which is the user's: roles' ARNs with workload_identity = \"aws\", service accounts with \"gcp\"."},
		secret("password", "The password of a user that may still log in with one."),
		text("role", "The role to use. Without it the user's default role."),
		required("warehouse", "The warehouse that runs the statements."),
		required("database", "The database that holds the schema."),
		required("schema", "The schema to write to. It holds the tables of one Mixpanel project."),
		{Name: "clustering", Type: schema.Bool, Default: true, Description: "Create MP_MASTER_EVENT_RAW clustered by the event's day in the project's time zone. Automatic clustering costs credits; false saves them."},
		{Name: "client_side_encryption", Type: schema.Bool, Default: true, Description: "Encrypt files on this host before they are uploaded to the internal stage. false creates the stage with Snowflake's own encryption alone, over TLS, and saves this host CPU and disk. It has no effect on a stage that exists."},
		unusual.Attribute(),
		{Name: "views", Type: schema.ListOfString, Description: "Views for queries to create next to the tables: resolved is MP_MASTER_EVENT_RESOLVED."},
		text("spool_dir", "The directory for files that wait for their upload. Without it the plugin's own temporary directory."),
		text("endpoint", "The URL of another server that speaks Snowflake's protocol. Without it the account's."),
	}, externalAttributes()...)}
}

// resolvedView is the value of views that creates MP_MASTER_EVENT_RESOLVED.
const resolvedView = "resolved"

var (
	accountForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9-]+){0,3}$`)
	simpleName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]{0,254}$`)
	roleForm    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
	accountMail = regexp.MustCompile(`^[a-z0-9.-]+@[a-z0-9.-]+\.gserviceaccount\.com$`)
	quotedName  = regexp.MustCompile(`^"([^"\x00-\x1f]|""){1,255}"$`)
	timeZone    = regexp.MustCompile(`^[A-Za-z0-9_+/-]+$`)
)

// mistakes collects diagnostics.
type mistakes struct{ found sdk.Diagnostics }

func (m *mistakes) add(attribute, summary, detail string, values ...any) {
	m.found = append(m.found, sdk.Diagnostic{Severity: sdk.SeverityError, Attribute: attribute, Summary: summary, Detail: fmt.Sprintf(detail, values...)})
}

// addName adds the mistake of a value that is not a name of SQL.
func (m *mistakes) addName(attribute, value string) {
	m.add(attribute, "Not a name", "%q: a name has letters, digits, underscores and dollar signs, in any case, as in \"MIXPANEL\"; another name is written with its quotes, as in \"\\\"my name\\\"\".", value)
}

func isName(value string) bool {
	return simpleName.MatchString(value) || quotedName.MatchString(value)
}

// check returns the mistakes that the schema cannot find, together with those found
// before.
func (c config) check(found sdk.Diagnostics) error {
	m := &mistakes{found}
	if !accountForm.MatchString(c.Account) || strings.Contains(strings.ToLower(c.Account), "snowflakecomputing") {
		m.add("account", "Account is not an identifier", "%q: an identifier looks like \"acme-analytics\"; it is not a URL.", c.Account)
	}
	for _, n := range []struct{ attribute, value string }{
		{"role", c.Role}, {"warehouse", c.Warehouse}, {"database", c.Database}, {"schema", c.Schema},
	} {
		if n.value != "" && !isName(n.value) {
			m.addName(n.attribute, n.value)
		}
	}
	c.checkLogin(m)
	c.external.check(m)
	for _, v := range c.Views {
		if v != resolvedView {
			m.add("views", "View is not known", "%q: the view that can be created is \"resolved\".", v)
		}
	}
	if c.SpoolDir != "" && (!filepath.IsAbs(c.SpoolDir) || strings.ContainsAny(c.SpoolDir, `*?[]\'`)) {
		m.add("spool_dir", "Not an absolute path", "%q: the path begins with / and has no quotes, backslashes or characters that match others (* ? [ ]).", c.SpoolDir)
	}
	if c.Endpoint != "" && !isEndpoint(c.Endpoint) {
		m.add("endpoint", "Endpoint is not a URL", "An endpoint is http:// or https:// with a host, no user and no path, as in \"http://127.0.0.1:8080\".")
	}
	if len(m.found) == 0 {
		return nil
	}
	return m.found
}

// checkWorkload finds mistakes in the attributes that complete workload_identity.
func (c config) checkWorkload(m *mistakes) {
	if c.Resource != "" && c.Workload != "azure" {
		m.add("workload_identity_resource", "Resource is not used", "workload_identity_resource is for workload_identity = \"azure\".")
	}
	form := map[string]*regexp.Regexp{"aws": roleForm, "gcp": accountMail}[c.Workload]
	if len(c.Impersonation) > 0 && form == nil {
		m.add("workload_identity_impersonation", "Identities are not used", "workload_identity_impersonation is for workload_identity = \"aws\" and \"gcp\".")
		return
	}
	for _, identity := range c.Impersonation {
		if !form.MatchString(identity) {
			m.add("workload_identity_impersonation", "Not an identity", "%q: with \"aws\" a role's ARN, as in \"arn:aws:iam::123456789012:role/export\", with \"gcp\" a service account, as in \"export@acme.iam.gserviceaccount.com\".", identity)
		}
	}
}

// checkLogin finds mistakes in the attributes of the login.
func (c config) checkLogin(m *mistakes) {
	var set []string
	for _, a := range []struct{ name, value string }{
		{"private_key", c.PrivateKey}, {"token", c.Token}, {"oauth_token", c.OAuthToken}, {"workload_identity", c.Workload}, {"password", c.Password},
	} {
		if a.value != "" {
			set = append(set, a.name)
		}
	}
	switch {
	case len(set) == 0:
		m.add("private_key", "No credential", "Set private_key, or one of token, oauth_token, workload_identity and password.")
	case len(set) > 1:
		m.add(set[1], "More than one credential", "%s are set: set one of them.", strings.Join(set, " and "))
	}
	if c.Workload == "" && c.OAuthToken == "" && c.User == "" && len(set) > 0 {
		m.add("user", "User is missing", "Set user to the login name of the user that %s belongs to.", set[0])
	}
	if c.PrivateKey != "" {
		if _, err := parseKey(c.PrivateKey, c.Passphrase); err != nil {
			m.add(keyAttribute(err), "Private key cannot be read", "%s.", err)
		}
	} else if c.Passphrase != "" {
		m.add("private_key_passphrase", "Passphrase without a key", "Set private_key, or remove private_key_passphrase.")
	}
	c.checkWorkload(m)
	switch {
	case c.Workload == "oidc" && c.TokenFile == "":
		m.add("token_file", "Token file is missing", "workload_identity = \"oidc\" needs token_file, the file that holds the identity token.")
	case c.Workload != "oidc" && c.TokenFile != "":
		m.add("token_file", "Token file is not used", "token_file is for workload_identity = \"oidc\".")
	case c.TokenFile != "" && !filepath.IsAbs(c.TokenFile):
		m.add("token_file", "Not an absolute path", "%q: the path begins with /.", c.TokenFile)
	}
}

func isEndpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Hostname() != "" && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == ""
}

func (c config) wantsResolved() bool { return slices.Contains(c.Views, resolvedView) }

// rules are those of the VARIANT type. That it keeps U+0000 is documented nowhere, so
// that strings with it are repaired or rejected.
func (c config) rules() (unusual.Rules, error) {
	mode, err := unusual.ParseMode(c.Unusual)
	return unusual.Rules{Mode: mode, KeepsNumber: keepsNumber, RefusesNUL: true}, err
}
