package gcsbucket

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/setuptest"
	"github.com/penstock-io/penstock/sdk"
)

const setupKey = "projects/acme/locations/us/keyRings/lake/cryptoKeys/objects"

func TestSetupText(t *testing.T) {
	projects := []sdk.Project{{ID: 7, Token: "tok"}}
	for _, c := range []setuptest.Case{
		{Name: "plain", Config: map[string]any{"bucket": "acme-lake"}, Projects: projects},
		{Name: "key", Config: map[string]any{"bucket": "acme-lake", "region": "us", "kms_key": setupKey}, Unknown: []string{"credentials"}, Projects: projects},
		{Name: "impersonate", Config: map[string]any{"bucket": "acme-lake", "region": "europe-west3", "impersonate": "export@acme.iam.gserviceaccount.com"}, Projects: projects},
		{Name: "emulator", Config: map[string]any{"bucket": "lake", "endpoint": "http://127.0.0.1:4443"}, Projects: projects},
	} {
		t.Run(c.Name, func(t *testing.T) { setuptest.Run(t, Plugin(), c) })
	}
}

// Values of a configuration arrive at the CLI, and at Terraform, as they are.
func TestSetupEscapesValues(t *testing.T) {
	const prefix = "a$(id)'${x}"
	commands, terraform := setuptest.Run(t, Plugin(), setuptest.Case{
		Name:     "hostile",
		Config:   map[string]any{"bucket": "acme-lake", "prefix": prefix, "impersonate": "x;y'$(id)@acme.iam.gserviceaccount.com", "kms_key": "projects/a$(id)/locations/us/keyRings/`r`/cryptoKeys/k'"},
		Projects: []sdk.Project{{ID: 7}},
	})
	if got := setuptest.Argument(t, commands, "--authorize-cmek", "gcloud", "storage", "service-agent"); got != "projects/a$(id)/locations/us/keyRings/`r`/cryptoKeys/k'" {
		t.Errorf("the key is %q", got)
	}
	if got := setuptest.Argument(t, commands, "--member", "gcloud", "storage", "buckets", "add-iam-policy-binding"); got != "serviceAccount:x;y'$(id)@acme.iam.gserviceaccount.com" {
		t.Errorf("the member is %q", got)
	}
	if !slices.ContainsFunc(setuptest.Strings(t, terraform), func(s string) bool { return strings.HasPrefix(s, prefix+"/7/_penstock/mp_people_data/aside/") }) {
		t.Errorf("Terraform lacks the prefix: %q", setuptest.Strings(t, terraform))
	}
}

// The documentation lists every permission that the plugin needs.
func TestPermissionsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/destinations/gcs.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range permissions {
		if !strings.Contains(string(page), "`"+p.name+"`") {
			t.Errorf("the page lacks %s", p.name)
		}
	}
}
