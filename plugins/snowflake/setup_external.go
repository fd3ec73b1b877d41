package snowflake

import (
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// accountPlace stands for the number of the AWS account in a script: no name can hold it.
const accountPlace = "\x01"

// bucketSteps make the bucket of an external stage, and the identity that uploads to it.
func (p *preparation) bucketSteps(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	if !p.isSet() {
		return nil, nil
	}
	r.Unknown = nil
	for _, name := range p.request.Unknown {
		if attribute, found := strings.CutPrefix(name, bucketPrefix); found {
			r.Unknown = append(r.Unknown, attribute)
		}
	}
	steps, err := p.bucket().Setup(r)
	for i := range steps {
		steps[i].Title = stageNames.Replace(steps[i].Title)
	}
	return steps, err
}

// reader is the name of the role with which Snowflake reads the bucket.
func (p *preparation) reader() string { return "penstock-" + p.destination + "-snowflake" }

// provider is the STORAGE_PROVIDER of the stage's URL.
func (p *preparation) provider() string {
	scheme, _, _ := strings.Cut(p.URL, "://")
	return strings.ToUpper(scheme)
}

// allowed is the location that the integration allows: the stage's of each project is
// below it.
func (p *preparation) allowed() string { return strings.TrimSuffix(p.URL, "/") + "/" }

// integration is the part of script that makes the storage integration.
func (p *preparation) integration() []string {
	if !p.isSet() {
		return nil
	}
	name := identifier(p.Integration)
	return []string{
		"USE ROLE ACCOUNTADMIN;",
		"CREATE STORAGE INTEGRATION IF NOT EXISTS " + name + " TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = '" + p.provider() + "' ENABLED = TRUE STORAGE_AWS_ROLE_ARN = 'arn:" + p.bucket().Partition() +
			":iam::" + accountPlace + ":role/" + p.reader() + "' STORAGE_ALLOWED_LOCATIONS = (" + literal(p.allowed()) + ");",
		"GRANT USAGE ON INTEGRATION " + name + " TO ROLE " + p.role + ";",
		"DESC INTEGRATION " + name + ";",
	}
}

// readPolicy lets Snowflake read the files, and no more: the plugin removes them itself.
func (p *preparation) readPolicy() setup.Object {
	c := p.bucket()
	arn := "arn:" + c.Partition() + ":s3:::" + c.Bucket
	statements := append(c.ReadStatements(p.request.Projects), s3bucket.Statement([]string{"s3:GetBucketLocation"}, []string{arn}, nil))
	for _, s := range statements {
		for i, f := range s.(setup.Object) {
			if actions, ok := f.Value.([]string); ok && f.Key == "Action" && actions[0] == "s3:GetObject" {
				s.(setup.Object)[i].Value = append(actions, "s3:GetObjectVersion")
			}
		}
	}
	return s3bucket.Policy(statements...)
}

// trust is the trust policy of the role with which Snowflake reads.
func trust(user, externalID any) setup.Object {
	return s3bucket.Policy(setup.Object{
		field("Effect", "Allow"), field("Principal", setup.Object{field("AWS", user)}), field("Action", "sts:AssumeRole"),
		field("Condition", setup.Object{field("StringEquals", setup.Object{field("sts:ExternalId", externalID)})}),
	})
}

// readerStep creates the role with which Snowflake reads the bucket. The script has
// created the integration that it trusts.
func (p *preparation) readerStep() sdk.SetupStep {
	return sdk.SetupStep{
		Title: "Create the role with which Snowflake reads the bucket. Put the values that DESC INTEGRATION has shown in place of STORAGE_AWS_IAM_USER_ARN and STORAGE_AWS_EXTERNAL_ID.",
		Text: setup.Command("aws", "iam", "create-role", "--role-name", p.reader(), "--assume-role-policy-document", setup.JSON(trust("STORAGE_AWS_IAM_USER_ARN", "STORAGE_AWS_EXTERNAL_ID"))) +
			setup.Command("aws", "iam", "put-role-policy", "--role-name", p.reader(), "--policy-name", p.reader(), "--policy-document", setup.JSON(p.readPolicy())),
	}
}

// externalTerraform is the integration and its role for Terraform. The role's ARN is
// written out, since each of the two refers to the other.
func (p *preparation) externalTerraform() []string {
	label := p.label + "_snowflake"
	integration := func(attribute string) setup.Reference {
		return setup.Reference("snowflake_storage_integration." + p.label + "." + attribute)
	}
	encoded := func(policy setup.Object) setup.Call { return setup.Call{Function: "jsonencode", Argument: policy} }
	return []string{
		setup.Block{Type: "data", Labels: []string{"aws_caller_identity", p.label}}.String(),
		setup.Resource("snowflake_storage_integration", p.label, field("name", bare(identifier(p.Integration))), field("type", "EXTERNAL_STAGE"), field("storage_provider", p.provider()), field("enabled", true),
			field("storage_aws_role_arn", setup.Reference(`"arn:`+p.bucket().Partition()+`:iam::${data.aws_caller_identity.`+p.label+`.account_id}:role/`+p.reader()+`"`)),
			field("storage_allowed_locations", []string{p.allowed()})),
		setup.Resource("snowflake_grant_privileges_to_account_role", p.label+"_integration",
			field("account_role_name", setup.Reference("snowflake_account_role."+p.label+".name")), field("privileges", []string{"USAGE"}),
			setup.Block{Type: "on_account_object", Body: []any{field("object_type", "INTEGRATION"), field("object_name", integration("name"))}}),
		setup.Resource("aws_iam_role", label, field("name", p.reader()), field("assume_role_policy", encoded(trust(integration("storage_aws_iam_user_arn"), integration("storage_aws_external_id"))))),
		setup.Resource("aws_iam_role_policy", label, field("name", p.reader()), field("role", setup.Reference("aws_iam_role."+label+".id")), field("policy", encoded(p.readPolicy()))),
	}
}
