package s3bucket

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/plugins/internal/setuptest"
	"github.com/penstock-io/penstock/sdk"
)

const (
	roleOfTest = "arn:aws:iam::123456789012:role/teams/data/export"
	keyOfTest  = "arn:aws:kms:us-west-2:210987654321:key/11111111-2222-4333-8444-555555555555"
	// hostile has what a shell or Terraform would act on.
	hostile = `tok'"; $(touch x) ` + "`y`" + ` ${path.module} %{if true} \n`
)

func shops(tokens ...string) []sdk.Project {
	var projects []sdk.Project
	for i, token := range tokens {
		projects = append(projects, sdk.Project{ID: int64(7 + i), Name: fmt.Sprint("shop", i), Token: token})
	}
	return projects
}

func TestSetupText(t *testing.T) {
	for _, c := range []setuptest.Case{
		{Name: "plain", Config: map[string]any{"bucket": "acme-lake", "region": "us-east-1"}, Projects: shops("tok")},
		{Name: "keys", Config: map[string]any{"bucket": "acme-lake", "region": "eu-west-3", "prefix": "exports/mixpanel"}, Unknown: []string{"access_key_id", "secret_access_key"}, Projects: shops("tok", "tok2")},
		{Name: "role", Config: map[string]any{
			"bucket": "acme-lake", "region": "us-west-2", "role_arn": roleOfTest, "encryption": "kms", "kms_key_id": keyOfTest,
			"expected_bucket_owner": "210987654321",
		}, Projects: shops("tok", "tok2")},
		{Name: "alias", Config: map[string]any{"bucket": "acme-lake", "region": "us-west-2", "role_arn": roleOfTest, "external_id": "xyz", "encryption": "kms", "kms_key_id": "alias/penstock"}, Projects: shops("tok")},
		{Name: "china", Config: map[string]any{"bucket": "acme-lake", "region": "cn-north-1"}, Projects: shops("tok")},
		{Name: "minio", Config: map[string]any{"bucket": "lake", "endpoint": "https://minio.acme.example:9000", "access_key_id": "AKIA"}, Unknown: []string{"secret_access_key"}, Projects: shops("tok")},
		{Name: "hostile", Config: map[string]any{"bucket": "acme-lake", "region": "us-west-2", "role_arn": roleOfTest, "prefix": "a$(id)'${x}"}, Projects: shops(hostile)},
	} {
		t.Run(c.Name, func(t *testing.T) {
			t.Setenv("AWS_ENDPOINT_URL", "")
			t.Setenv("AWS_ENDPOINT_URL_S3", "")
			setuptest.Run(t, Plugin(), c)
		})
	}
}

// Values of a configuration arrive at the CLI, and at Terraform, as they are.
func TestSetupEscapesValues(t *testing.T) {
	c := setuptest.Case{Name: "hostile", Config: map[string]any{"bucket": "acme-lake", "region": "us-west-2", "role_arn": roleOfTest, "prefix": "a$(id)'${x}"}, Projects: shops(hostile)}
	commands, terraform := setuptest.Run(t, Plugin(), c)
	var trust struct {
		Statement []struct {
			Condition map[string]map[string][]string
		}
	}
	if err := json.Unmarshal([]byte(setuptest.Argument(t, commands, "--assume-role-policy-document", "aws", "iam", "create-role")), &trust); err != nil {
		t.Fatal(err)
	}
	if got := trust.Statement[0].Condition["StringEquals"]["sts:ExternalId"]; !slices.Equal(got, []string{hostile}) {
		t.Errorf("the external id is %q", got)
	}
	policy := setuptest.Argument(t, commands, "--policy-document", "aws", "iam", "put-role-policy")
	if !strings.Contains(policy, `"arn:aws:s3:::acme-lake/a${$}(id)'${$}{x}/7/*"`) {
		t.Errorf("the policy is %s", policy)
	}
	found := setuptest.Strings(t, terraform)
	for _, want := range []string{hostile, "arn:aws:s3:::acme-lake/a${$}(id)'${$}{x}/7/*", "a$(id)'${x}/"} {
		if !slices.Contains(found, want) {
			t.Errorf("Terraform lacks %q: %q", want, found)
		}
	}
}

// Errors in the form of a value are found before anything exists.
func TestSetupRefusesMistakes(t *testing.T) {
	_, err := Plugin().Setup(sdk.SetupRequest{Destination: "s3.lake", Format: sdk.SetupCommands, Projects: shops("t"), JSON: []byte(`{"bucket":"a/b","role_arn":"x"}`)})
	if found, ok := err.(sdk.Diagnostics); !ok || len(found) != 2 {
		t.Errorf("%v", err)
	}
}

// The documentation lists every permission that the plugin needs.
func TestPermissionsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/destinations/s3.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range permissions {
		if !strings.Contains(string(page), "`"+p.action+"`") {
			t.Errorf("the page lacks %s", p.action)
		}
	}
}
