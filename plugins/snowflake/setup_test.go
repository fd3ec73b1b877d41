package snowflake

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/setuptest"
	"github.com/penstock-io/penstock/sdk"
)

func TestSetupText(t *testing.T) {
	projects := []sdk.Project{{ID: 7, Token: "tok"}}
	base := func(more map[string]any) map[string]any {
		c := map[string]any{"account": "acme-analytics", "warehouse": "PENSTOCK", "database": "analytics", "schema": "MIXPANEL"}
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	for _, c := range []setuptest.Case{
		{Name: "key", Config: base(map[string]any{"user": "loader", "role": "LOADER"}), Unknown: []string{"private_key"}, Projects: projects},
		{Name: "external", Config: base(map[string]any{
			"storage_integration": "lake", "stage_url": "s3://acme-stage/penstock", "stage_region": "eu-west-1", "stage_access_key_id": "AKIA",
		}), Unknown: []string{"private_key", "stage_secret_access_key"}, Projects: projects},
		{Name: "external-gcs", Config: base(map[string]any{
			"storage_integration": "lake", "stage_url": "gcs://acme-stage/penstock", "stage_kms_key": "projects/acme/locations/us/keyRings/r/cryptoKeys/k",
		}), Unknown: []string{"private_key", "stage_credentials"}, Projects: projects},
		{Name: "external-azure", Config: base(map[string]any{
			"storage_integration": "lake", "stage_url": "azure://acmestage.blob.core.windows.net/stage/penstock",
		}), Unknown: []string{"private_key", "stage_client_secret"}, Projects: projects},
		{Name: "workload", Config: base(map[string]any{"workload_identity": "aws"}), Projects: projects},
	} {
		t.Run(c.Name, func(t *testing.T) { setuptest.Run(t, Plugin(), c) })
	}
}

// Names arrive in the SQL as they are, and only the key is put into it.
func TestSetupEscapesValues(t *testing.T) {
	commands, file := setuptest.Run(t, Plugin(), setuptest.Case{
		Name: "hostile",
		Config: map[string]any{
			"account": "acme-analytics", "user": "a$(id)`id`", "warehouse": "W$KEY", "database": `"a ""b"" \ $(id)"`, "schema": "S",
		},
		Unknown: []string{"private_key"}, Projects: []sdk.Project{{ID: 7}},
	})
	at := slices.IndexFunc(commands, func(words []string) bool { return words[0] == "snow" })
	if at < 0 {
		t.Fatalf("no script: %q", commands)
	}
	script := commands[at][len(commands[at])-1]
	for _, want := range []string{`CREATE SCHEMA IF NOT EXISTS "a ""b"" \ $(id)"."S";`, `WAREHOUSE IF NOT EXISTS "W$KEY" `, "USER IF NOT EXISTS \"A$(ID)`ID`\" TYPE = SERVICE RSA_PUBLIC_KEY = 'made'"} {
		if !strings.Contains(script, want) {
			t.Errorf("%s is not in\n%s", want, script)
		}
	}
	if texts := setuptest.Strings(t, file); !slices.Contains(texts, `a "b" \ $(id)`) {
		t.Errorf("the database is not among %q", texts)
	}
}

// The page lists the rights that setup grants.
func TestRightsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/destinations/snowflake.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, right := range schemaRights {
		if !strings.Contains(string(page), right) {
			t.Errorf("the page lacks %s", right)
		}
	}
	for _, a := range attributes().Attributes {
		if !strings.Contains(string(page), "`"+a.Name+"`") {
			t.Errorf("the page lacks %s", a.Name)
		}
	}
}
