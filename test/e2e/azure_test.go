package e2e

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/test/penstocktest"
	"github.com/penstock-io/penstock/test/standin"
	"github.com/penstock-io/penstock/test/standin/entra"
)

const azureBlock = `
destination "azure" "lake" {
  storage_account = "acmelake"
  container       = "lake"
  endpoint        = %ENDPOINT%
%CREDENTIALS%
}
`

// azureSite is a site that exports to an Azurite which takes tokens, and the
// variables that its plugin gets: those of Entra ID and of certificates.
func azureSite(t *testing.T, credentials string) (s *site, server *standin.Azurite, env []string) {
	t.Helper()
	server = standin.StartAzuriteTLS(t, "lake")
	e := entra.Start(t)
	block := strings.NewReplacer("%ENDPOINT%", `"`+server.Endpoint+`"`, "%CREDENTIALS%", credentials).Replace(azureBlock)
	s = newSiteWith(t, block, "azure.lake")
	s.events("a.ndjson", 0, 3, 100)
	var trusted []byte
	for _, der := range [][]byte{server.Certificate, e.Certificate} {
		trusted = append(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	s.Write("trusted.pem", string(trusted))
	s.Write("token", entra.Assertion)
	return s, server, []string{
		"SSL_CERT_FILE=" + filepath.Join(s.Dir, "trusted.pem"), "AZURE_AUTHORITY_HOST=" + e.URL,
		"AZURE_CLIENT_ID=" + entra.ClientID, "AZURE_TENANT_ID=" + entra.Tenant, "APP_SECRET=" + entra.Secret,
		"AZURE_FEDERATED_TOKEN_FILE=" + filepath.Join(s.Dir, "token"),
		"IDENTITY_ENDPOINT=" + e.IdentityEndpoint, "IDENTITY_HEADER=" + e.IdentityHeader,
	}
}

// Each kind of tokens works through the host and the plugin's own process: values that
// the block leaves out come from the variables that the plugin declares.
func TestAzureTakesTokens(t *testing.T) {
	undisturbed := newSite(t)
	undisturbed.events("a.ndjson", 0, 3, 100)
	undisturbed.Once()
	want := undisturbed.Rows("out")
	for name, credentials := range map[string]string{
		"client secret":     `  client_secret   = env("APP_SECRET")`,
		"workload identity": `  workload_identity = true`,
		"managed identity":  `  managed_identity = true`,
		"the environment":   ``,
	} {
		t.Run(name, func(t *testing.T) {
			s, server, env := azureSite(t, credentials)
			s.Says(s.Penstock(env, "destinations", "check", "azure.lake"), 0)
			s.Once(env...)
			for name, data := range server.Files("lake") {
				path := filepath.Join(s.Dir, "out", filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			penstocktest.SameRows(t, s.Rows("out"), want)
		})
	}
}

// A wrong secret ends the run with what to do, at once, and is shown nowhere.
func TestAzureWithAWrongSecret(t *testing.T) {
	s, server, env := azureSite(t, `  client_secret   = env("WRONG")`)
	env = append(env, "WRONG=wr0ng~secret")
	for _, args := range [][]string{{"destinations", "check", "azure.lake"}, {"run", "--once", "--retry-for", "1m"}} {
		r := s.Penstock(env, args...)
		s.Says(r, 1, "AADSTS7000215", "client_secret is wrong", "az ad app credential reset --id "+entra.ClientID)
		if strings.Contains(r.Out+r.Err, "wr0ng") || strings.Contains(r.Err, "will retry") {
			t.Errorf("%v: the secret is shown, or an error that needs an operator is retried:\n%s%s", args, r.Out, r.Err)
		}
	}
	if n := len(server.Files("lake")); n != 0 {
		t.Errorf("there are %d blobs", n)
	}
}
