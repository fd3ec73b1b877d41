package azurecontainer

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/formats"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
)

// config is the body of a destination block, with the environment's variables
// filled in.
type config struct {
	StorageAccount   string `json:"storage_account"`
	Container        string `json:"container"`
	Prefix           string `json:"prefix"`
	Format           string `json:"format"`
	Endpoint         string `json:"endpoint"`
	ClientID         string `json:"client_id"`
	ClientSecret     string `json:"client_secret"`
	TenantID         string `json:"tenant_id"`
	WorkloadIdentity bool   `json:"workload_identity"`
	ManagedIdentity  bool   `json:"managed_identity"`
	AccountKey       string `json:"account_key"`
	SASToken         string `json:"sas_token"`
	EncryptionScope  string `json:"encryption_scope"`

	tokenFile  string        // AZURE_FEDERATED_TOKEN_FILE
	authority  string        // AZURE_AUTHORITY_HOST; empty: that of the endpoint's cloud
	maxBackoff time.Duration // between two attempts at a request; 0: the default
}

func attributes() schema.Schema {
	text := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Description: description}
	}
	secret := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Sensitive: true, Description: description}
	}
	flag := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.Bool, Description: description}
	}
	return schema.Schema{Attributes: []schema.Attribute{
		{Name: "storage_account", Type: schema.String, Required: true, Description: "The name of the storage account."},
		{Name: "container", Type: schema.String, Required: true, Description: "The container to write to. It must exist."},
		text("prefix", "The start of all blob names, before the project's id, as in \"exports/mixpanel\"."),
		{
			Name: "format", Type: schema.String, Default: "json", Allowed: formats.Names(),
			Description: formats.Description("blobs"),
		},
		text("endpoint", "The URL of the account's blob service in another cloud or on another server, as in \"https://acme.blob.core.usgovcloudapi.net\" or \"http://127.0.0.1:10000\". Without it https://<storage_account>.blob.core.windows.net."),
		text("client_id", "The application (client) id of a service principal, or of a user-assigned managed identity. Without it AZURE_CLIENT_ID, but for managed identities."),
		secret("client_secret", "A client secret's value (not its id) of that service principal."),
		text("tenant_id", "The directory (tenant) id of that service principal. Without it AZURE_TENANT_ID."),
		flag("workload_identity", "Use the service account token in the file that AZURE_FEDERATED_TOKEN_FILE names, as Kubernetes provides it."),
		flag("managed_identity", "Use the machine's managed identity: the one of client_id, else the system-assigned one."),
		secret("account_key", "One of the account's two access keys."),
		secret("sas_token", "A shared access signature, with or without its question mark: of the container or the account, with permission to read, write, delete and list."),
		text("encryption_scope", "The encryption scope of every blob. Without it the container's or account's default."),
	}}
}

// method is a way to authorize requests.
type method int

const (
	noMethod method = iota
	bySecret
	byWorkload
	byManaged
	byKey
	bySAS
)

// tokens reports whether requests carry tokens of Entra ID.
func (m method) tokens() bool { return m == bySecret || m == byWorkload || m == byManaged }

// chosen returns the attributes that each select a method, in the schema's order.
func (c config) chosen() (methods []method, names []string) {
	for _, m := range []struct {
		method method
		name   string
		set    bool
	}{
		{bySecret, "client_secret", c.ClientSecret != ""},
		{byWorkload, "workload_identity", c.WorkloadIdentity},
		{byManaged, "managed_identity", c.ManagedIdentity},
		{byKey, "account_key", c.AccountKey != ""},
		{bySAS, "sas_token", c.SASToken != ""},
	} {
		if m.set {
			methods, names = append(methods, m.method), append(names, m.name)
		}
	}
	return methods, names
}

// method returns the selected method. A config that was checked has exactly one.
func (c config) method() method {
	if methods, _ := c.chosen(); len(methods) > 0 {
		return methods[0]
	}
	return noMethod
}

// withEnvironment returns the configuration with the variables of Azure's tools:
// credentials, if the block has none, and the parts of its credentials that the
// block leaves out.
func (c config) withEnvironment(lookup func(string) (string, bool)) config {
	get := func(name string) string {
		value, _ := lookup(name)
		return value
	}
	c.authority, c.tokenFile = get("AZURE_AUTHORITY_HOST"), get("AZURE_FEDERATED_TOKEN_FILE")
	if c.method() == noMethod {
		switch secret := get("AZURE_CLIENT_SECRET"); {
		case secret != "":
			c.ClientSecret = secret
		case c.tokenFile != "":
			c.WorkloadIdentity = true
		}
	}
	if m := c.method(); m == bySecret || m == byWorkload {
		if c.ClientID == "" {
			c.ClientID = get("AZURE_CLIENT_ID")
		}
		if c.TenantID == "" {
			c.TenantID = get("AZURE_TENANT_ID")
		}
	}
	return c
}

var (
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`)
	scopeName     = regexp.MustCompile(`^[a-zA-Z0-9-]{3,63}$`)
	tenantName    = regexp.MustCompile(`^[a-zA-Z0-9.-]+$`)
	uuid          = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// mistakes collects the diagnostics of a configuration.
type mistakes struct{ found sdk.Diagnostics }

func (m *mistakes) add(attribute, summary, format string, args ...any) {
	m.found = append(m.found, sdk.Diagnostic{
		Severity: sdk.SeverityError, Attribute: attribute, Summary: summary, Detail: fmt.Sprintf(format, args...),
	})
}

// check finds the mistakes that the schema cannot find, and returns them together
// with those found before.
func (c config) check(found sdk.Diagnostics) error {
	m := &mistakes{found}
	c.checkNames(m)
	if slices.ContainsFunc(found, func(d sdk.Diagnostic) bool { return d.Attribute == "endpoint" }) {
		c.Endpoint = ""
	}
	c.checkEndpoint(m)
	c.checkMethod(m, found)
	if len(m.found) == 0 {
		return nil
	}
	return m.found
}

func (c config) checkNames(m *mistakes) {
	if !accountName.MatchString(c.StorageAccount) {
		m.add("storage_account", "Storage account is not an account's name",
			"%q: a name has 3 to 24 lower-case letters and digits, as in \"acmelake\"; a URL belongs in endpoint.", c.StorageAccount)
	}
	if len(c.Container) > 63 || !containerName.MatchString(c.Container) {
		m.add("container", "Container is not a container's name",
			"%q: a name has 3 to 63 lower-case letters, digits and single hyphens, as in \"acme-lake\"; folders belong in prefix.", c.Container)
	}
	root, err := lake.CleanPrefix(c.Prefix)
	if err != nil {
		m.add("prefix", "Prefix cannot name blobs", "%v. Elements are separated by single slashes, as in \"exports/mixpanel\".", err)
	}
	for element := range strings.SplitSeq(root, "/") {
		if strings.HasSuffix(element, ".") {
			m.add("prefix", "Prefix cannot name blobs", "%q ends with a dot, which Azure drops from names.", element)
		}
	}
	if c.EncryptionScope != "" && !scopeName.MatchString(c.EncryptionScope) {
		m.add("encryption_scope", "Encryption scope is not a scope's name", "%q: a name has 3 to 63 letters, digits and hyphens.", c.EncryptionScope)
	}
	if c.ClientID != "" && !uuid.MatchString(c.ClientID) {
		m.add("client_id", "Client id is not an application's id",
			"%q: an id looks like \"11111111-2222-3333-4444-555555555555\"; Entra ID shows it as \"Application (client) ID\".", c.ClientID)
	}
	if c.TenantID != "" && !tenantName.MatchString(c.TenantID) {
		m.add("tenant_id", "Tenant id is not a tenant's id", "%q: an id looks like \"11111111-2222-3333-4444-555555555555\" or \"acme.onmicrosoft.com\".", c.TenantID)
	}
}

// checkMethod checks that the credentials are complete, and of one kind.
func (c config) checkMethod(m *mistakes, found sdk.Diagnostics) {
	methods, names := c.chosen()
	if len(methods) > 1 {
		m.add(names[1], "More than one kind of credentials", "%s are set: keep one of them.", strings.Join(names, " and "))
		return
	}
	switch c.method() {
	case noMethod:
		// An attribute that is set to an empty string has been reported.
		if len(found) == 0 {
			m.add("client_secret", "No credentials", "Set client_id, client_secret and tenant_id of a service principal; or workload_identity = true, managed_identity = true, "+
				"account_key or sas_token; or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID in the host's environment.")
		}
	case bySecret:
		c.checkPrincipal(m)
		if uuid.MatchString(c.ClientSecret) {
			m.add("client_secret", "Client secret is the secret's id", "The id of a secret is public, and does not sign in. Entra ID shows the value once, when the secret is made: "+
				"`az ad app credential reset --id %s --append --query password --output tsv` makes a new one.", c.clientName())
		}
	case byWorkload:
		c.checkPrincipal(m)
		if c.tokenFile == "" {
			m.add("workload_identity", "No service account token", "AZURE_FEDERATED_TOKEN_FILE is not set for the host: "+
				"label the pod azure.workload.identity/use: \"true\", and its service account with azure.workload.identity/client-id.")
		}
	case byManaged:
	case byKey:
		if _, err := base64.StdEncoding.DecodeString(c.AccountKey); err != nil {
			m.add("account_key", "Account key is not a key", "A key is base64 text: `az storage account keys list --account-name %s --query [0].value --output tsv` prints it.", c.StorageAccount)
		}
	case bySAS:
		c.checkSAS(m)
	}
}

func (c config) checkPrincipal(m *mistakes) {
	for _, a := range []struct{ name, value, variable string }{
		{"client_id", c.ClientID, "AZURE_CLIENT_ID"}, {"tenant_id", c.TenantID, "AZURE_TENANT_ID"},
	} {
		if a.value == "" {
			m.add(a.name, "Credentials are not complete", "Set %s of the service principal, or %s for the host.", a.name, a.variable)
		}
	}
}

// clientName is the client's id in commands that a person can paste.
func (c config) clientName() string {
	if c.ClientID == "" {
		return "CLIENT_ID"
	}
	return c.ClientID
}

// sas returns the signature without its question mark.
func (c config) sas() string { return strings.TrimPrefix(strings.TrimSpace(c.SASToken), "?") }

// checkSAS checks the parts of a signature that it shows in the clear. The texts
// never hold the signature itself.
func (c config) checkSAS(m *mistakes) {
	wrong := func(format string, args ...any) {
		m.add("sas_token", "SAS token cannot be used", "%s Make it again: %s.", fmt.Sprintf(format, args...), c.sasCommand())
	}
	if strings.Contains(c.sas(), "://") {
		wrong("It is a URL: keep only the part after the question mark.")
		return
	}
	token, err := url.ParseQuery(c.sas())
	if err != nil || token.Get("sig") == "" || token.Get("sv") == "" {
		wrong("A token looks like \"sv=…&sr=c&sp=%s&se=…&sig=…\".", sasPermissions())
		return
	}
	if r := token.Get("sr"); strings.HasPrefix(r, "b") {
		wrong("It is for a single blob (sr=%s); one for a container has sr=c.", r)
	}
	if s := token.Get("ss"); s != "" && !strings.Contains(s, "b") {
		wrong("It is not for the blob service (ss=%s).", s)
	}
	if t := token.Get("srt"); t != "" && (!strings.Contains(t, "c") || !strings.Contains(t, "o")) {
		wrong("It must be for containers and objects (srt=%s).", t)
	}
	if letters := token.Get("sp"); letters != "" {
		for _, p := range permissions {
			if !strings.Contains(letters, p.letter) {
				wrong("It has no permission to %s blobs (sp=%s).", p.verb, letters)
			}
		}
	}
}
