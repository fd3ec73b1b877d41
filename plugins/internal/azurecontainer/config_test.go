package azurecontainer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock-io/penstock/plugins/internal/parts"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/protocol"
)

const (
	clientID = "11111111-2222-3333-4444-555555555555"
	goodSAS  = "sv=2026-06-06&sr=c&sp=racwdl&st=2026-11-01T00%3A00%3A00Z&se=2030-01-01T00%3A00%3A00Z&sig=s3cr%2Bt%3D"
)

// published is a configuration with a client secret, as the pipelines that this
// one replaces were set up.
func published() config {
	return config{
		StorageAccount: "acmelake", Container: "acme-lake", EncryptionScope: "scope1",
		ClientID: clientID, ClientSecret: "s3cret~value", TenantID: "acme.onmicrosoft.com",
	}
}

func without(c config) config {
	c.ClientID, c.ClientSecret, c.TenantID = "", "", ""
	return c
}

// find returns the mistakes of a configuration.
func find(t *testing.T, c config) sdk.Diagnostics {
	t.Helper()
	var found sdk.Diagnostics
	if err := c.check(nil); err != nil && !errors.As(err, &found) {
		t.Fatalf("%v is not a list of mistakes", err)
	}
	return found
}

func TestEveryMistakeAtOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config)
		want   []string
	}{
		{"nothing", func(*config) {}, nil},
		{"account in capitals", func(c *config) { c.StorageAccount = "AcmeLake" }, []string{"storage_account"}},
		{"account that is a URL", func(c *config) { c.StorageAccount = "https://acmelake.blob.core.windows.net/" }, []string{"storage_account"}},
		{"no account", func(c *config) { c.StorageAccount = "" }, []string{"storage_account"}},
		{"container with a folder", func(c *config) { c.Container = "acme-lake/a" }, []string{"container"}},
		{"container with two hyphens", func(c *config) { c.Container = "acme--lake" }, []string{"container"}},
		{"container that is too long", func(c *config) { c.Container = strings.Repeat("a-", 40) + "a" }, []string{"container"}},
		{"the web container", func(c *config) { c.Container = "$web" }, []string{"container"}},
		{"prefix", func(c *config) { c.Prefix = "a//b" }, []string{"prefix"}},
		{"prefix with a dot at its end", func(c *config) { c.Prefix = "a/b./c" }, []string{"prefix"}},
		{"scope", func(c *config) { c.EncryptionScope = "my scope" }, []string{"encryption_scope"}},
		{"client's name", func(c *config) { c.ClientID = "penstock" }, []string{"client_id"}},
		{"tenant with spaces", func(c *config) { c.TenantID = "Acme Inc" }, []string{"tenant_id"}},
		{"half a principal", func(c *config) { c.TenantID = "" }, []string{"tenant_id"}},
		{"a third of a principal", func(c *config) { c.TenantID, c.ClientID = "", "" }, []string{"client_id", "tenant_id"}},
		{"the secret's id", func(c *config) { c.ClientSecret = clientID }, []string{"client_secret"}},
		{"no credentials", func(c *config) { *c = without(*c) }, []string{"client_secret"}},
		{"two kinds", func(c *config) { c.AccountKey = "a2V5" }, []string{"account_key"}},
		{"three kinds", func(c *config) { c.AccountKey, c.ManagedIdentity = "a2V5", true }, []string{"managed_identity"}},
		{"key", func(c *config) { *c = without(*c); c.AccountKey = "not base64!" }, []string{"account_key"}},
		{"workload without its file", func(c *config) { c.ClientSecret, c.WorkloadIdentity = "", true }, []string{"workload_identity"}},
		{"endpoint without a scheme", func(c *config) { c.Endpoint = "acmelake.blob.core.windows.net" }, []string{"endpoint"}},
		{"secret in the endpoint", func(c *config) { c.Endpoint = "https://a:b@c" }, []string{"endpoint"}},
		{"endpoint with the container", func(c *config) { c.Endpoint = "https://acmelake.blob.core.windows.net/acme-lake" }, []string{"endpoint"}},
		{"endpoint with a signature", func(c *config) { c.Endpoint = "https://acmelake.blob.core.windows.net/?" + goodSAS }, []string{"endpoint"}},
		{"another account", func(c *config) { c.Endpoint = "https://other.blob.core.windows.net" }, []string{"endpoint"}},
		{"the data lake's endpoint", func(c *config) { c.Endpoint = "https://acmelake.dfs.core.windows.net" }, []string{"endpoint"}},
		{"a cloud without the account", func(c *config) { c.Endpoint = "https://blob.core.usgovcloudapi.net" }, []string{"endpoint"}},
		{"tokens over plain http", func(c *config) { c.Endpoint = "http://127.0.0.1:10000" }, []string{"endpoint"}},
		{"a signature over plain http", func(c *config) { *c = without(*c); c.SASToken, c.Endpoint = goodSAS, "http://azurite:10000" }, []string{"endpoint"}},
		{"many", func(c *config) { c.StorageAccount, c.Container, c.Prefix, c.ClientID = "", "", "a//b", "x" }, []string{"client_id", "container", "prefix", "storage_account"}},
	} {
		conf := published()
		c.change(&conf)
		var got []string
		for _, d := range find(t, conf) {
			got = append(got, d.Attribute)
			if d.Summary == "" || d.Detail == "" {
				t.Errorf("%s: %+v says too little", c.name, d)
			}
			if strings.Contains(d.Detail, "s3cr") {
				t.Errorf("%s: a secret stands in %q", c.name, d.Detail)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// A signature is taken with and without its question mark, and one that cannot work
// is refused before the first request (rudderlabs/rudder-server#2358).
func TestSharedAccessSignatures(t *testing.T) {
	for token, mistake := range map[string]string{
		goodSAS:       "",
		"?" + goodSAS: "",
		"sv=2022-11-02&ss=b&srt=co&sp=rwdlac&se=2030-01-01T00:00:00Z&sig=s3cret": "",
		"sv=2026-06-06&sr=c&si=policy&sig=s3cret":                                "",
		"sv=2026-06-06&sr=d&sdd=2&sp=racwdl&se=2030-01-01&sig=s3cret":            "",
		"sv=2026-06-06&sr=c&sp=racwdl&se=2030-01-01":                             "looks like",
		"https://acmelake.blob.core.windows.net/acme-lake?" + goodSAS:            "URL",
		"sv=2026-06-06&sr=b&sp=racwdl&se=2030-01-01&sig=s3cret":                  "single blob",
		"sv=2026-06-06&sr=c&sp=racwl&se=2030-01-01&sig=s3cret":                   "delete",
		"sv=2026-06-06&sr=c&sp=rwd&se=2030-01-01&sig=s3cret":                     "list",
		"sv=2022-11-02&ss=fq&srt=co&sp=rwdl&se=2030-01-01&sig=s3cret":            "blob service",
		"sv=2022-11-02&ss=b&srt=o&sp=rwdl&se=2030-01-01&sig=s3cret":              "containers and objects",
	} {
		c := without(published())
		c.SASToken = token
		found := find(t, c)
		if mistake == "" && len(found) > 0 || mistake != "" && (len(found) != 1 || !strings.Contains(found[0].Detail, mistake)) {
			t.Errorf("%s: %v, want %q", token, found, mistake)
		}
		if mistake == "" && strings.Contains(c.sas(), "?") {
			t.Errorf("%s: the question mark is still there", token)
		}
	}
}

// The account's address: at Azure, in sovereign clouds, and at other servers, which
// have the account in the path. Two spellings of one place are one target.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ endpoint, service, target, authority string }{
		{"", "https://acmelake.blob.core.windows.net", "azblob://acmelake.blob.core.windows.net/acme-lake/", "https://login.microsoftonline.com/"},
		{"https://AcmeLake.blob.core.windows.net/", "https://acmelake.blob.core.windows.net", "azblob://acmelake.blob.core.windows.net/acme-lake/", "https://login.microsoftonline.com/"},
		{"https://acmelake.z01.blob.storage.azure.net", "https://acmelake.z01.blob.storage.azure.net", "azblob://acmelake.z01.blob.storage.azure.net/acme-lake/", "https://login.microsoftonline.com/"},
		{"https://acmelake.blob.core.usgovcloudapi.net", "https://acmelake.blob.core.usgovcloudapi.net", "azblob://acmelake.blob.core.usgovcloudapi.net/acme-lake/", "https://login.microsoftonline.us/"},
		{"https://acmelake.blob.core.chinacloudapi.cn/", "https://acmelake.blob.core.chinacloudapi.cn", "azblob://acmelake.blob.core.chinacloudapi.cn/acme-lake/", "https://login.chinacloudapi.cn/"},
		{"https://data.acme.com", "https://data.acme.com", "azblob://data.acme.com/acme-lake/", "https://login.microsoftonline.com/"},
		{"http://127.0.0.1:10000", "http://127.0.0.1:10000/acmelake", "azblob://127.0.0.1:10000/acmelake/acme-lake/", "https://login.microsoftonline.com/"},
		{"http://127.0.0.1:10000/acmelake/", "http://127.0.0.1:10000/acmelake", "azblob://127.0.0.1:10000/acmelake/acme-lake/", "https://login.microsoftonline.com/"},
		{"http://[::1]:10000", "http://[::1]:10000/acmelake", "azblob://[::1]:10000/acmelake/acme-lake/", "https://login.microsoftonline.com/"},
		{"http://azurite:10000", "http://azurite:10000/acmelake", "azblob://azurite:10000/acmelake/acme-lake/", "https://login.microsoftonline.com/"},
	} {
		conf := without(published())
		conf.AccountKey, conf.Endpoint = "a2V5", c.endpoint
		if found := find(t, conf); len(found) > 0 {
			t.Errorf("%s: %v", c.endpoint, found)
		}
		if got := conf.service(); got != c.service {
			t.Errorf("%s: the service is at %s, want %s", c.endpoint, got, c.service)
		}
		if got := conf.targetBase(); got != c.target {
			t.Errorf("%s: the target is %s, want %s", c.endpoint, got, c.target)
		}
		if got := conf.cloud().ActiveDirectoryAuthorityHost; got != c.authority || conf.private() {
			t.Errorf("%s: tokens come from %s, private %v, want %s", c.endpoint, got, conf.private(), c.authority)
		}
	}
	own := published()
	own.authority = "https://login.acme.internal"
	if !own.private() || own.cloud().ActiveDirectoryAuthorityHost != own.authority {
		t.Errorf("AZURE_AUTHORITY_HOST is not used: %v", own.cloud())
	}
}

// Credentials that the block leaves out come from the variables of Azure's tools;
// the block wins.
func TestEnvironmentOfCredentials(t *testing.T) {
	const file = "/var/run/secrets/token"
	all := map[string]string{"AZURE_CLIENT_ID": clientID, "AZURE_TENANT_ID": "t", "AZURE_CLIENT_SECRET": "e", "AZURE_FEDERATED_TOKEN_FILE": file}
	for _, c := range []struct {
		name        string
		environment []string
		block       config
		method      method
		client      string
		secret      string
	}{
		{"nothing", nil, config{}, noMethod, "", ""},
		{"a secret", []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"}, config{}, bySecret, clientID, "e"},
		{"a pod", []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"}, config{}, byWorkload, clientID, ""},
		{"a pod, and the block", []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"}, config{WorkloadIdentity: true, ClientID: "mine"}, byWorkload, "mine", ""},
		{"the block's secret", []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"}, config{ClientSecret: "b"}, bySecret, clientID, "b"},
		{"a key", []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"}, config{AccountKey: "k"}, byKey, "", ""},
		{"the system's identity in a pod", []string{"AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"}, config{ManagedIdentity: true}, byManaged, "", ""},
	} {
		got := c.block.withEnvironment(func(name string) (string, bool) {
			if slices.Contains(c.environment, name) {
				return all[name], true
			}
			return "", false
		})
		if got.method() != c.method || got.ClientID != c.client || got.ClientSecret != c.secret {
			t.Errorf("%s: method %d, client %q, secret %q", c.name, got.method(), got.ClientID, got.ClientSecret)
		}
	}
}

// The host passes no variable that the plugin does not declare.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{
		"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST",
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT",
	} {
		if !slices.ContainsFunc(Plugin().Environment, func(entry string) bool { return protocol.MatchesEnvironment(entry, name) }) {
			t.Errorf("%s is not declared", name)
		}
	}
}

// An attribute that is set to an empty string, as env() of an empty variable is, is
// refused once and replaced by nothing.
func TestEmptyAttributesAreRefused(t *testing.T) {
	for attribute, refused := range map[string]bool{
		"prefix": false, "client_secret": true, "account_key": true, "sas_token": true, "encryption_scope": true, "endpoint": true,
	} {
		_, err := open(sdk.Config{
			JSON: fmt.Appendf(nil, `{"storage_account":"acmelake","container":"lake","managed_identity":true,%q:""}`, attribute),
		}, parts.NewPool(1, blockSize))
		var found sdk.Diagnostics
		if errors.As(err, &found); refused != (len(found) == 1 && found[0].Attribute == attribute) {
			t.Errorf("%s = \"\": %v", attribute, err)
		}
	}
}

func TestTargets(t *testing.T) {
	d, err := open(sdk.Config{
		JSON:    []byte(`{"storage_account":"acmelake","container":"lake","managed_identity":true,"prefix":"a/b"}`),
		Project: sdk.Project{ID: 7},
	}, parts.NewPool(1, blockSize))
	if err != nil {
		t.Fatal(err)
	}
	want := []sdk.Target{
		{Stream: sdk.Events, URI: "azblob://acmelake.blob.core.windows.net/lake/a/b/7/mp_master_event/"},
		{Stream: sdk.People, URI: "azblob://acmelake.blob.core.windows.net/lake/a/b/7/mp_people_data/"},
		{Stream: sdk.Identity, URI: "azblob://acmelake.blob.core.windows.net/lake/a/b/7/mp_identity_mappings_data/"},
	}
	if diff := cmp.Diff(want, d.Targets()); diff != "" {
		t.Error(diff)
	}
}
