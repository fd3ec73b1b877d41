package azurecontainer

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/setuptest"
	"github.com/penstock-io/penstock/sdk"
)

func TestSetupText(t *testing.T) {
	for _, name := range []string{"AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	projects := []sdk.Project{{ID: 7, Token: "tok"}}
	with := func(more map[string]any) map[string]any {
		c := map[string]any{"storage_account": "acmelake", "container": "lake"}
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	for _, c := range []setuptest.Case{
		{Name: "secret", Config: with(nil), Unknown: []string{"client_id", "client_secret", "tenant_id"}, Projects: projects},
		{Name: "principal", Config: with(map[string]any{"client_id": "11111111-2222-3333-4444-555555555555", "encryption_scope": "lake"}), Unknown: []string{"client_secret"}, Projects: projects},
		{Name: "workload", Config: with(map[string]any{"workload_identity": true, "prefix": "exports/mixpanel"}), Projects: projects},
		{Name: "managed", Config: with(map[string]any{"managed_identity": true}), Projects: projects},
		{Name: "key", Config: with(nil), Unknown: []string{"account_key"}, Projects: projects},
		{Name: "sas", Config: with(nil), Unknown: []string{"sas_token"}, Projects: projects},
	} {
		t.Run(c.Name, func(t *testing.T) { setuptest.Run(t, Plugin(), c) })
	}
}

// Values of a configuration arrive at the CLI, and at Terraform, as they are.
func TestSetupEscapesValues(t *testing.T) {
	const prefix = "a$(id)'${x}"
	commands, terraform := setuptest.Run(t, Plugin(), setuptest.Case{
		Name: "hostile", Config: map[string]any{"storage_account": "acmelake", "container": "lake", "prefix": prefix, "managed_identity": true}, Projects: []sdk.Project{{ID: 7}},
	})
	if got := setuptest.Argument(t, commands, "--policy", "az", "storage", "account", "management-policy"); !strings.Contains(got, `"lake/`+prefix+`/7/"`) {
		t.Errorf("the policy is %s", got)
	}
	if got := setuptest.Strings(t, terraform); !slices.Contains(got, "lake/"+prefix+"/7/") {
		t.Errorf("Terraform lacks the prefix: %q", got)
	}
}

// The documentation lists exactly the permissions that the plugin needs.
func TestPermissionsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/destinations/azure.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("`…/blobs/([a-z/]+)`").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, blobActions+m[1])
	}
	if want := dataActions(); !slices.Equal(listed, want) {
		t.Errorf("the page lists %q, want %q", listed, want)
	}
	for _, p := range permissions {
		if !strings.Contains(string(page), "`"+p.letter+"`") {
			t.Errorf("the page lacks the letter %s", p.letter)
		}
	}
}
