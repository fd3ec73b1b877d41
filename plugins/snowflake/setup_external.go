package snowflake

import (
	"strings"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// reader holds the parts of a setup that let the service read the bucket of an external
// stage.
type reader struct {
	provider string // STORAGE_PROVIDER
	options  string // of CREATE STORAGE INTEGRATION, beyond the provider
	variable variable
	step     sdk.SetupStep // after the script
	// fields are of Terraform's integration; before and after are the resources next to it.
	fields        []any
	before, after []string
}

// variable is a value of the script that a command finds out. Its name is empty if there
// is none.
type variable struct {
	name    string
	meaning string
	command string
}

// bucketSteps make the bucket of an external stage, and the identity that uploads to it.
func (p *preparation) bucketSteps(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	if p.bucket == nil {
		return nil, nil
	}
	r.Unknown = nil
	for _, name := range p.request.Unknown {
		if attribute, found := strings.CutPrefix(name, bucketPrefix); found {
			r.Unknown = append(r.Unknown, attribute)
		}
	}
	steps, err := p.bucket.setup(r)
	for i := range steps {
		steps[i].Title = p.cloud().texts(steps[i].Title)
	}
	return steps, err
}

// allowed is the location that the integration allows: the stage's of each project is
// below it.
func (p *preparation) allowed() string { return strings.TrimSuffix(p.URL, "/") + "/" }

// integration is the part of script that makes the storage integration.
func (p *preparation) integration() []string {
	if p.bucket == nil {
		return nil
	}
	name := identifier(p.Integration)
	return []string{
		"USE ROLE ACCOUNTADMIN;",
		"CREATE STORAGE INTEGRATION IF NOT EXISTS " + name + " TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = '" + p.reader.provider + "' ENABLED = TRUE" + p.reader.options +
			" STORAGE_ALLOWED_LOCATIONS = (" + literal(p.allowed()) + ");",
		"GRANT USAGE ON INTEGRATION " + name + " TO ROLE " + p.role + ";",
		"DESC INTEGRATION " + name + ";",
	}
}

// integrated refers to an attribute of Terraform's integration.
func (p *preparation) integrated(attribute string) setup.Reference {
	return setup.Reference("snowflake_storage_integration." + p.label + "." + attribute)
}

// externalTerraform is the integration, and what lets it read, for Terraform.
func (p *preparation) externalTerraform() []string {
	fields := []any{field("name", bare(identifier(p.Integration))), field("type", "EXTERNAL_STAGE"), field("storage_provider", p.reader.provider), field("enabled", true)}
	fields = append(append(fields, p.reader.fields...), field("storage_allowed_locations", []string{p.allowed()}))
	text := append(p.reader.before,
		setup.Resource("snowflake_storage_integration", p.label, fields...),
		setup.Resource("snowflake_grant_privileges_to_account_role", p.label+"_integration",
			field("account_role_name", setup.Reference("snowflake_account_role."+p.label+".name")), field("privileges", []string{"USAGE"}),
			setup.Block{Type: "on_account_object", Body: []any{field("object_type", "INTEGRATION"), field("object_name", p.integrated("name"))}}))
	return append(text, p.reader.after...)
}
