package s3bucket

import (
	"fmt"
	"os"
	"strings"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// abortAfter is the number of days after which a lifecycle rule aborts an
// incomplete upload: longer than any run.
const abortAfter = 7

// preparation makes the steps of one setup.
type preparation struct {
	config
	request    sdk.SetupRequest
	label      string // of Terraform resources
	policyName string // also of the user
	steps      []sdk.SetupStep
}

// prepare implements sdk.Plugin's Setup.
func prepare(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	var c config
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	c = c.withEnvironment(os.LookupEnv)
	return c.Setup(r)
}

func newPreparation(c config, r sdk.SetupRequest) *preparation {
	_, name, _ := strings.Cut(r.Destination, ".")
	return &preparation{config: c, request: r, label: setup.Label(name), policyName: "penstock-" + name}
}

// hasUser reports whether the identity that writes is a user.
func (p *preparation) hasUser() bool {
	return p.AccessKeyID != "" || p.request.Sets("access_key_id") || p.request.Sets("secret_access_key")
}

// add adds a step, in the language that is asked for.
func (p *preparation) add(title, commands, terraform string) {
	text := commands
	if p.request.Format == sdk.SetupTerraform {
		text = terraform
	}
	p.steps = append(p.steps, sdk.SetupStep{Title: title, Text: text})
}

// aws returns a command of Amazon's CLI.
func (p *preparation) aws(words ...string) string {
	command := []string{"aws"}
	if p.Endpoint != "" {
		command = append(command, "--endpoint-url", p.Endpoint)
	}
	return setup.Command(append(command, words...)...)
}

func (p *preparation) bucket() {
	create := []string{"s3api", "create-bucket", "--bucket", p.Bucket}
	if p.Region != "" {
		create = append(create, "--region", p.Region)
	}
	if p.Region != "" && p.Region != "us-east-1" && p.Endpoint == "" {
		create = append(create, "--create-bucket-configuration", "LocationConstraint="+p.Region)
	}
	commands := p.aws(create...)
	terraform := setup.Resource("aws_s3_bucket", p.label, setup.Field{Key: "bucket", Value: p.Bucket})
	if p.Endpoint == "" {
		commands += p.aws("s3api", "put-public-access-block", "--bucket", p.Bucket, "--public-access-block-configuration",
			"BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true")
		terraform += "\n" + setup.Resource("aws_s3_bucket_public_access_block", p.label,
			setup.Field{Key: "bucket", Value: p.reference("aws_s3_bucket", "id")},
			setup.Field{Key: "block_public_acls", Value: true}, setup.Field{Key: "ignore_public_acls", Value: true},
			setup.Field{Key: "block_public_policy", Value: true}, setup.Field{Key: "restrict_public_buckets", Value: true})
	}
	p.add("Create the bucket"+within(p.Region)+", closed to the public.", commands, terraform)
}

func within(region string) string {
	if region == "" {
		return " (in the region of your CLI's configuration)"
	}
	return " in " + region
}

func (p *preparation) reference(resource, attribute string) setup.Reference {
	return setup.Reference(resource + "." + p.label + "." + attribute)
}

// lifecycle aborts uploads that no further run ends.
func (p *preparation) lifecycle() {
	prefix := ""
	if root := strings.Trim(p.Prefix, "/"); root != "" {
		prefix = root + "/"
	}
	rule := setup.Object{{Key: "Rules", Value: []any{setup.Object{
		{Key: "ID", Value: "penstock-abort-uploads"}, {Key: "Status", Value: "Enabled"},
		{Key: "Filter", Value: setup.Object{{Key: "Prefix", Value: prefix}}},
		{Key: "AbortIncompleteMultipartUpload", Value: setup.Object{{Key: "DaysAfterInitiation", Value: abortAfter}}},
	}}}}
	p.add(fmt.Sprintf("Abort uploads that are incomplete after %d days. If the bucket has lifecycle rules already, add this one to them: it replaces them.", abortAfter),
		p.aws("s3api", "put-bucket-lifecycle-configuration", "--bucket", p.Bucket, "--lifecycle-configuration", setup.JSON(rule)),
		setup.Resource("aws_s3_bucket_lifecycle_configuration", p.label,
			setup.Field{Key: "bucket", Value: p.reference("aws_s3_bucket", "id")},
			setup.Block{Type: "rule", Body: []any{
				setup.Field{Key: "id", Value: "penstock-abort-uploads"}, setup.Field{Key: "status", Value: "Enabled"},
				setup.Block{Type: "filter", Body: []any{setup.Field{Key: "prefix", Value: prefix}}},
				setup.Block{Type: "abort_incomplete_multipart_upload", Body: []any{setup.Field{Key: "days_after_initiation", Value: abortAfter}}},
			}}))
}

// otherServer lists the permissions for a server whose policies are its own.
func (p *preparation) otherServer() {
	text := "# The keys of access_key_id need these actions, in the language of the server's own policies:\n"
	for line := range strings.SplitSeq(setup.JSON(Policy(p.bucketStatements(p.request.Projects)...)), "\n") {
		text += "# " + line + "\n"
	}
	p.add("Let the access key write to the bucket: "+p.Endpoint+" is not Amazon's, and has its own way.", text, text)
}

// key creates an alias's key. A key that is named by id exists already.
func (p *preparation) key() {
	if p.Encryption != encryptKMS || !strings.HasPrefix(p.KMSKeyID, "alias/") {
		return
	}
	region := []string{}
	if p.Region != "" {
		region = []string{"--region", p.Region}
	}
	alias := p.aws(append([]string{"kms", "create-alias", "--alias-name", p.KMSKeyID}, region...)...)
	p.add("Create the key "+p.KMSKeyID+" that encrypts the objects.",
		"KEY=$("+strings.TrimSuffix(p.aws(append([]string{"kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"}, region...)...), "\n")+")\n"+
			strings.TrimSuffix(alias, "\n")+" --target-key-id \"$KEY\"\n",
		setup.Resource("aws_kms_key", p.label, setup.Field{Key: "description", Value: "objects of penstock"}, setup.Field{Key: "enable_key_rotation", Value: true})+"\n"+
			setup.Resource("aws_kms_alias", p.label,
				setup.Field{Key: "name", Value: p.KMSKeyID}, setup.Field{Key: "target_key_id", Value: p.reference("aws_kms_key", "key_id")}))
}

// identity creates the identity that writes, with its policy.
func (p *preparation) identity() {
	policy := p.policy(p.request.Projects)
	switch r, ok := p.role(); {
	case ok:
		p.createRole(r, policy)
	case p.hasUser():
		p.createUser(policy)
	default:
		p.createPolicy(policy)
	}
	if p.Encryption == encryptKMS {
		p.grantKey()
	}
}

func (p *preparation) createRole(r role, policy setup.Object) {
	ids := p.externalIDs(p.request.Projects)
	note := ""
	if len(ids) == 0 && p.request.Sets("external_id") {
		ids = []string{"EXTERNAL_ID"}
		note = " Put the value of external_id in place of EXTERNAL_ID."
	}
	trust := p.trust(r, ids)
	p.add("Create the role that penstock assumes. In place of the account's root, the trust policy may name the identity that the host runs with."+note,
		p.aws("iam", "create-role", "--path", r.path, "--role-name", r.name, "--assume-role-policy-document", setup.JSON(trust))+
			p.aws("iam", "put-role-policy", "--role-name", r.name, "--policy-name", p.policyName, "--policy-document", setup.JSON(policy)),
		setup.Resource("aws_iam_role", p.label,
			setup.Field{Key: "name", Value: r.name}, setup.Field{Key: "path", Value: r.path}, setup.Field{Key: "assume_role_policy", Value: encoded(trust)})+"\n"+
			setup.Resource("aws_iam_role_policy", p.label, setup.Field{Key: "name", Value: p.policyName},
				setup.Field{Key: "role", Value: p.reference("aws_iam_role", "id")}, setup.Field{Key: "policy", Value: encoded(policy)}))
	p.add("Let the identity that the host runs with assume the role: attach this policy to it.",
		p.aws("iam", "create-policy", "--policy-name", p.policyName+"-assume", "--policy-document",
			setup.JSON(Policy(Statement([]string{"sts:AssumeRole"}, []string{p.RoleARN}, nil)))),
		setup.Resource("aws_iam_policy", p.label+"_assume", setup.Field{Key: "name", Value: p.policyName + "-assume"},
			setup.Field{Key: "policy", Value: encoded(Policy(Statement([]string{"sts:AssumeRole"}, []string{p.RoleARN}, nil)))}))
}

func encoded(policy setup.Object) setup.Call {
	return setup.Call{Function: "jsonencode", Argument: policy}
}

func (p *preparation) createUser(policy setup.Object) {
	p.add("Create the user that writes. The last command prints access_key_id and secret_access_key.",
		p.aws("iam", "create-user", "--user-name", p.policyName)+
			p.aws("iam", "put-user-policy", "--user-name", p.policyName, "--policy-name", p.policyName, "--policy-document", setup.JSON(policy))+
			p.aws("iam", "create-access-key", "--user-name", p.policyName),
		setup.Resource("aws_iam_user", p.label, setup.Field{Key: "name", Value: p.policyName})+"\n"+
			setup.Resource("aws_iam_user_policy", p.label, setup.Field{Key: "name", Value: p.policyName},
				setup.Field{Key: "user", Value: p.reference("aws_iam_user", "name")}, setup.Field{Key: "policy", Value: encoded(policy)})+"\n"+
			setup.Resource("aws_iam_access_key", p.label, setup.Field{Key: "user", Value: p.reference("aws_iam_user", "name")}))
}

func (p *preparation) createPolicy(policy setup.Object) {
	p.add("Create the policy, and attach it to the identity that the host runs with: neither a key nor a role is configured.",
		p.aws("iam", "create-policy", "--policy-name", p.policyName, "--policy-document", setup.JSON(policy)),
		setup.Resource("aws_iam_policy", p.label, setup.Field{Key: "name", Value: p.policyName}, setup.Field{Key: "policy", Value: encoded(policy)}))
}

// grantKey lets the role use a key whose policy does not leave that to IAM.
func (p *preparation) grantKey() {
	key := keyARN.FindStringSubmatch(p.KMSKeyID)
	if _, ok := p.role(); !ok || key == nil {
		return
	}
	operations := []string{}
	for _, a := range actions(onKey) {
		operations = append(operations, strings.TrimPrefix(a, "kms:"))
	}
	p.add("Let the role use the key, as an administrator of the key in account "+key[1]+".",
		p.aws(append([]string{"kms", "create-grant", "--key-id", p.KMSKeyID, "--grantee-principal", p.RoleARN, "--operations"}, operations...)...),
		setup.Resource("aws_kms_grant", p.label, setup.Field{Key: "name", Value: p.policyName}, setup.Field{Key: "key_id", Value: p.KMSKeyID},
			setup.Field{Key: "grantee_principal", Value: p.reference("aws_iam_role", "arn")}, setup.Field{Key: "operations", Value: operations}))
}

// bucketPolicy opens the bucket of another account to the role.
func (p *preparation) bucketPolicy() {
	r, ok := p.role()
	if !ok || p.ExpectedBucketOwner == "" || p.ExpectedBucketOwner == r.account {
		return
	}
	var statements []any
	for _, s := range p.bucketStatements(p.request.Projects) {
		s := s.(setup.Object)
		statements = append(statements, append(s[:1:1], append(setup.Object{
			{Key: "Principal", Value: setup.Object{{Key: "AWS", Value: p.RoleARN}}},
		}, s[1:]...)...))
	}
	policy := Policy(statements...)
	p.add("Open the bucket to the role, as its owner, account "+p.ExpectedBucketOwner+". If the bucket has a policy already, add the statements to it.",
		p.aws("s3api", "put-bucket-policy", "--bucket", p.Bucket, "--policy", setup.JSON(policy)),
		setup.Resource("aws_s3_bucket_policy", p.label,
			setup.Field{Key: "bucket", Value: p.reference("aws_s3_bucket", "id")}, setup.Field{Key: "policy", Value: encoded(policy)}))
}
