package bigquery

import (
	"os"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/setuptest"
	"github.com/penstock-io/penstock/sdk"
)

func TestSetupText(t *testing.T) {
	projects := []sdk.Project{{ID: 7, Token: "tok"}}
	base := func(more map[string]any) map[string]any {
		c := map[string]any{"gcp_project": "acme-analytics", "dataset": "mixpanel"}
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	for _, c := range []setuptest.Case{
		{Name: "plain", Config: base(nil), Unknown: []string{"credentials"}, Projects: projects},
		{Name: "impersonate", Config: base(map[string]any{"region": "europe-west3", "create_dataset": true, "impersonate": "export@acme.iam.gserviceaccount.com", "staging_bucket": "acme-staging"}), Projects: projects},
		{Name: "emulator", Config: base(map[string]any{"endpoint": "http://127.0.0.1:9050", "staging_bucket": "acme-staging"}), Projects: projects},
	} {
		t.Run(c.Name, func(t *testing.T) { setuptest.Run(t, Plugin(), c) })
	}
}

// Values of a configuration arrive at the CLI as they are.
func TestSetupEscapesValues(t *testing.T) {
	commands, _ := setuptest.Run(t, Plugin(), setuptest.Case{
		Name:     "hostile",
		Config:   map[string]any{"gcp_project": "acme-analytics", "dataset": "mixpanel", "impersonate": "x;y'$(id)@acme.iam.gserviceaccount.com"},
		Projects: []sdk.Project{{ID: 7}},
	})
	if got := setuptest.Argument(t, commands, "--member", "gcloud", "projects", "add-iam-policy-binding"); got != "serviceAccount:x;y'$(id)@acme.iam.gserviceaccount.com" {
		t.Errorf("the member is %q", got)
	}
}

// The documentation lists every permission that the plugin needs.
func TestPermissionsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/destinations/bigquery.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range permissions {
		if !strings.Contains(string(page), "`"+p.name+"`") {
			t.Errorf("the page lacks %s", p.name)
		}
	}
}
