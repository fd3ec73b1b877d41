package azurecontainer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/lake/laketest"
	"github.com/penstock-io/penstock/sdk/protocol"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/entra"
	"github.com/penstock-io/penstock/test/standin/faultproxy"
)

// tokenConfig returns a configuration for tokens of a stand-in of Entra ID.
func tokenConfig(e *entra.Server, endpoint string) config {
	return config{
		StorageAccount: "acmelake", Container: "lake", Endpoint: endpoint, authority: e.URL, maxBackoff: 1,
		ClientID: entra.ClientID, ClientSecret: entra.Secret, TenantID: entra.Tenant,
	}
}

// byIdentity makes a configuration use the machine's identity.
func byIdentity(t *testing.T, e *entra.Server, c config) config {
	t.Helper()
	t.Setenv("IDENTITY_ENDPOINT", e.IdentityEndpoint)
	t.Setenv("IDENTITY_HEADER", e.IdentityHeader)
	c = without(c)
	c.ManagedIdentity = true
	return c
}

// byPod makes a configuration use a service account token.
func byPod(t *testing.T, c config, token string) config {
	t.Helper()
	c.ClientSecret, c.WorkloadIdentity, c.tokenFile = "", true, filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(c.tokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// Each way to get a token is tried against a server that takes nothing else, and one
// token serves many requests.
func TestTokens(t *testing.T) {
	server, e := standin.StartAzuriteTLS(t, "lake"), entra.Start(t)
	good := tokenConfig(e, server.Endpoint)
	for name, c := range map[string]config{
		"client secret":          good,
		"workload identity":      byPod(t, good, entra.Assertion),
		"managed identity":       byIdentity(t, e, good),
		"user-assigned identity": func() config { c := byIdentity(t, e, good); c.ClientID = entra.ClientID; return c }(),
	} {
		before, _ := e.Issued()
		s := storeOver(t, c, trusting(t, server.Certificate, e.Certificate))
		for range 3 {
			if err := laketest.Put(t.Context(), s, "a", laketest.Steps(blockSize+1)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if got := server.Files("lake")["a"]; !bytes.Equal(got, laketest.Steps(blockSize+1)) {
			t.Errorf("%s: %d bytes are there", name, len(got))
		}
		if issued, _ := e.Issued(); issued != before+1 {
			t.Errorf("%s: %d tokens were handed out, want 1", name, issued-before)
		}
	}
}

// A token that expires in the middle of a run is replaced, and the run goes on.
func TestATokenThatExpires(t *testing.T) {
	server, e := standin.StartAzuriteTLS(t, "lake"), entra.Start(t)
	proxy := faultproxy.StartTLS(t, server.Endpoint)
	s := storeOver(t, tokenConfig(e, proxy.URL), trusting(t, proxy.Certificate, e.Certificate))
	proxy.Add(faultproxy.Rule{Match: faultproxy.Match{Query: "comp=block"}, Nth: 2, Fault: faultproxy.Expire(
		http.StatusUnauthorized, http.Header{
			"X-Ms-Error-Code": {"InvalidAuthenticationInfo"},
			"Www-Authenticate": {"Bearer error=\"invalid_token\", error_description=\"expired\", error=\"insufficient_claims\", claims=\"" +
				base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`)) + "\""},
		}, "",
	)})
	if err := laketest.Put(t.Context(), s, "a", laketest.Steps(3*blockSize)); err != nil {
		t.Fatal(err)
	}
	if got := server.Files("lake")["a"]; !bytes.Equal(got, laketest.Steps(3*blockSize)) {
		t.Errorf("%d bytes are there", len(got))
	}
	if issued, _ := e.Issued(); issued < 2 {
		t.Errorf("%d tokens were handed out", issued)
	}
}

// Refusals of Entra ID are matters of configuration, each with its own remedy
// (Azure/AzureAuth#25). Neither text nor hint shows the secret.
func TestRefusalsOfEntra(t *testing.T) {
	for code, want := range map[int]string{
		7000215: "not its id",
		7000222: "expired",
		700016:  "tenant_id to the tenant that it is in",
		90002:   "no such tenant",
		700024:  "clock",
		70021:   "federated credential",
		700211:  "api://AzureADTokenExchange",
		500011:  "https://storage.azure.com",
		7000229: "az ad sp create",
		53003:   "conditional access",
		7000112: "disabled",
		1234567: "login.microsoftonline.com/error",
	} {
		e := entra.Start(t)
		e.Refuse(http.StatusUnauthorized, entra.Refusal(code, "A text with "+entra.Secret+" in it."))
		s := storeOver(t, tokenConfig(e, "https://127.0.0.1:1"), trusting(t, e.Certificate))
		err := laketest.Put(t.Context(), s, "a", laketest.Steps(10))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), want) {
			t.Errorf("%d: class %v of %v, hint %q", code, protocol.ClassOf(err), err, hintOf(err))
		}
		text := fmt.Sprint(err)
		if !strings.Contains(text, fmt.Sprint("AADSTS", code)) || strings.Contains(text, "Trace ID") || strings.Contains(text, "\n") {
			t.Errorf("%d: %q", code, text)
		}
		if strings.Contains(text+hintOf(err), entra.Secret) {
			t.Errorf("%d: the secret is shown: %s", code, text)
		}
		if _, asked := e.Issued(); asked != 1 {
			t.Errorf("%d: %d requests for a token, want 1", code, asked)
		}
	}
}

// The stand-in's own refusals: a wrong secret, client, tenant, service account token
// and identity.
func TestWrongCredentials(t *testing.T) {
	e := entra.Start(t)
	good := tokenConfig(e, "https://127.0.0.1:1")
	with := func(change func(*config)) config { c := good; change(&c); return c }
	for name, c := range map[string]struct {
		config config
		want   string
	}{
		"secret":  {with(func(c *config) { c.ClientSecret = "wr0ng~secret" }), "client_secret is wrong"},
		"client":  {with(func(c *config) { c.ClientID = "99999999-2222-3333-4444-555555555555" }), "no application 99999999"},
		"token":   {byPod(t, good, "another.token"), "federated credential"},
		"no file": {with(func(c *config) { c.ClientSecret, c.WorkloadIdentity, c.tokenFile = "", true, "/nowhere/token" }), "AZURE_FEDERATED_TOKEN_FILE"},
		"identity": {func() config {
			c := byIdentity(t, e, good)
			c.ClientID = "99999999-2222-3333-4444-555555555555"
			return c
		}(), "az vm identity assign"},
	} {
		s := storeOver(t, c.config, trusting(t, e.Certificate))
		err := laketest.Put(t.Context(), s, "a", laketest.Steps(10))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), c.want) {
			t.Errorf("%s: class %v of %v, hint %q", name, protocol.ClassOf(err), err, hintOf(err))
		}
		if text := fmt.Sprint(err); strings.Contains(text, "wr0ng") || strings.Contains(text, "another.token") {
			t.Errorf("%s: the secret is shown: %s", name, text)
		}
	}
}

// An outage of Entra ID, and of the machine's identity service, is waited for.
func TestOutagesOfEntra(t *testing.T) {
	e := entra.Start(t)
	e.Refuse(http.StatusServiceUnavailable, `{"error":"temporarily_unavailable"}`)
	good := tokenConfig(e, "https://127.0.0.1:1")
	for name, c := range map[string]config{"client secret": good, "managed identity": byIdentity(t, e, good)} {
		s := storeOver(t, c, trusting(t, e.Certificate))
		_, before := e.Issued()
		err := laketest.Put(t.Context(), s, "a", laketest.Steps(10))
		if protocol.ClassOf(err) != protocol.Retryable {
			t.Errorf("%s: class %v of %v, hint %q", name, protocol.ClassOf(err), err, hintOf(err))
		}
		if _, asked := e.Issued(); asked-before > 4*(maxRetries+1) {
			t.Errorf("%s: %d requests for a token", name, asked-before)
		}
	}
}

// Refusals of the storage service, for each kind of credentials, with a remedy that
// can be pasted, after one request (MicrosoftDocs/azure-docs#43180,
// Azure/azure-sdk-for-js#23820, Azure/azure-sdk-for-js#13101).
func TestRefusalsOfTheService(t *testing.T) {
	const key, signature = "a2V5", goodSAS
	bySignature := func(c *config) { c.AccountKey, c.SASToken = "", signature }
	none := func(*config) {}
	for _, c := range []struct {
		status int
		code   string
		change func(*config)
		want   string
	}{
		{http.StatusForbidden, "AuthorizationPermissionMismatch", bySignature, "generate-sas"},
		{http.StatusForbidden, "AuthorizationFailure", none, "az storage account network-rule add"},
		{http.StatusForbidden, "AuthorizationFailure", bySignature, "generate-sas"},
		{http.StatusForbidden, "AuthenticationFailed", none, "az storage account keys list --account-name acmelake"},
		{http.StatusForbidden, "AuthenticationFailed", bySignature, "until 2030-01-01"},
		{http.StatusForbidden, "KeyBasedAuthenticationNotPermitted", none, "--allow-shared-key-access true"},
		{http.StatusForbidden, "AuthorizationSourceIPMismatch", bySignature, "generate-sas"},
		{http.StatusForbidden, "AuthorizationResourceTypeMismatch", bySignature, "generate-sas"},
		{http.StatusForbidden, "AccountIsDisabled", none, "subscription"},
		{http.StatusForbidden, "SomethingNew", none, "Storage Blob Data Contributor"},
		{http.StatusNotFound, "ContainerNotFound", none, "az storage container create --account-name acmelake --name lake"},
		{http.StatusConflict, "ContainerBeingDeleted", none, "az storage container create"},
		{http.StatusConflict, "BlobImmutableDueToPolicy", none, "immutability-policy"},
		{http.StatusPreconditionFailed, "LeaseIdMissing", none, "lease break --account-name acmelake --container-name lake --blob-name 'a'"},
		{http.StatusConflict, "BlobArchived", none, "set-tier"},
		{http.StatusConflict, "SnapshotsPresent", none, "snapshots"},
		{http.StatusConflict, "InvalidBlobType", none, "another type"},
		{http.StatusNotFound, "EncryptionScopeNotFound", none, "encryption-scope list"},
		{http.StatusForbidden, "KeyVaultEncryptionKeyNotFound", none, "encryption_scope"},
	} {
		proxy, s := newRefusing(t, refusal(c.status, c.code, "The service's own words."), c.change)
		err := laketest.Put(t.Context(), s, "a", laketest.Steps(10))
		if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), c.want) {
			t.Errorf("%s: class %v of %v, hint %q", c.code, protocol.ClassOf(err), err, hintOf(err))
		}
		if text := fmt.Sprint(err); text != fmt.Sprintf("Put Blob: %d %s: The service's own words (request id 0a0a-0b0b)", c.status, c.code) {
			t.Errorf("%s: the text is %q", c.code, text)
		}
		if text := fmt.Sprint(err, hintOf(err)); strings.Contains(text, "s3cr") || strings.Contains(text, key) {
			t.Errorf("%s: a secret is shown in %q", c.code, text)
		}
		if n := len(proxy.Requests()); n != 1 {
			t.Errorf("%s: %d requests, want 1", c.code, n)
		}
	}
}

// A token of an Owner who has no role for data: the grant is named for the very
// client and container.
func TestAnOwnerHasNoAccessToData(t *testing.T) {
	e := entra.Start(t)
	proxy := faultproxy.StartTLS(t, "http://127.0.0.1:1")
	proxy.Add(faultproxy.Rule{Times: -1, Fault: refusal(http.StatusForbidden, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission.")})
	s := storeOver(t, tokenConfig(e, proxy.URL), trusting(t, proxy.Certificate, e.Certificate))
	err := laketest.Put(t.Context(), s, "a", laketest.Steps(10))
	want := `az role assignment create --assignee ` + entra.ClientID + ` --role "Storage Blob Data Contributor" --scope "$(az storage account show --name acmelake --query id --output tsv)/blobServices/default/containers/lake"`
	if hint := hintOf(err); protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hint, want) || !strings.Contains(hint, "up to 10 minutes") {
		t.Errorf("class %v of %v, hint %q", protocol.ClassOf(err), err, hint)
	}
	if n := len(proxy.Requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// A token of another tenant's client is refused by the service with 401.
func TestATokenOfAnotherTenant(t *testing.T) {
	e := entra.Start(t)
	proxy := faultproxy.StartTLS(t, "http://127.0.0.1:1")
	proxy.Add(faultproxy.Rule{Times: -1, Fault: faultproxy.Answer(http.StatusUnauthorized, http.Header{
		"X-Ms-Error-Code":  {"InvalidAuthenticationInfo"},
		"Www-Authenticate": {"Bearer authorization_uri=https://login.microsoftonline.com/other/oauth2/authorize resource_id=https://storage.azure.com"},
	}, "<Error><Code>InvalidAuthenticationInfo</Code><Message>Server failed to authenticate the request.</Message><AuthenticationErrorDetail>Issuer validation failed. Issuer did not match.</AuthenticationErrorDetail></Error>")})
	s := storeOver(t, tokenConfig(e, proxy.URL), trusting(t, proxy.Certificate, e.Certificate))
	err := laketest.Put(t.Context(), s, "a", laketest.Steps(10))
	if protocol.ClassOf(err) != protocol.Configuration || !strings.Contains(hintOf(err), "tenant_id") {
		t.Errorf("class %v of %v, hint %q", protocol.ClassOf(err), err, hintOf(err))
	}
}
