package snowflake

import (
	"context"
	"net/url"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// amazonAttributes are the attributes of a stage at Amazon S3.
type amazonAttributes struct {
	Region              string `json:"stage_region"`
	PathStyle           *bool  `json:"stage_path_style"`
	AccessKeyID         string `json:"stage_access_key_id"`
	SecretAccessKey     string `json:"stage_secret_access_key"`
	SessionToken        string `json:"stage_session_token"`
	RoleARN             string `json:"stage_role_arn"`
	ExternalID          string `json:"stage_external_id"`
	Encryption          string `json:"stage_encryption"`
	KMSKeyID            string `json:"stage_kms_key_id"`
	ExpectedBucketOwner string `json:"stage_expected_bucket_owner"`
	Checksums           string `json:"stage_checksums"`
}

// amazon is Amazon S3. Its schemes are those of the commercial regions, of the
// government's and of China's.
var amazon = cloud{
	name: "Amazon S3", schemes: []string{"s3", "s3gov", "s3china"}, example: "s3://acme-stage/penstock/",
	attributes: s3bucket.Attributes("bucket", "prefix", "format", "endpoint"),
	texts: renamed([]string{
		"access_key_id", "secret_access_key", "session_token", "role_arn", "external_id", "kms_key_id", "path_style", "expected_bucket_owner",
	}, "set region", "set stage_region", "set bucket", "set stage_url", "set checksums", "set stage_checksums",
		"encryption = ", "stage_encryption = ", "region = ", "stage_region = ", "folders belong in prefix", "folders follow it", "when endpoint is", "when stage_endpoint is",
		"since endpoint is", "since stage_endpoint is", "the attribute bucket", "the attribute stage_url", "Folders belong in prefix", "Folders belong in stage_url"),
	open: func(e external, u *url.URL) (bucket, error) {
		return amazonBucket{s3bucket.Config{
			Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), Endpoint: e.Endpoint,
			Region: e.Region, PathStyle: e.PathStyle, AccessKeyID: e.AccessKeyID, SecretAccessKey: e.SecretAccessKey, SessionToken: e.SessionToken,
			RoleARN: e.RoleARN, ExternalID: e.ExternalID, Encryption: e.Encryption, KMSKeyID: e.KMSKeyID, ExpectedBucketOwner: e.ExpectedBucketOwner, Checksums: e.Checksums,
		}.Complete(), u.Scheme}, nil
	},
}

// amazonBucket is a bucket at Amazon S3.
type amazonBucket struct {
	config s3bucket.Config
	scheme string
}

func (b amazonBucket) check(found sdk.Diagnostics) error { return b.config.Check(found) }

func (b amazonBucket) store(ctx context.Context, project sdk.Project, shared *pools) (lake.Store, error) {
	return b.config.Store(ctx, project, shared.amazon)
}

func (b amazonBucket) root() string    { return b.scheme + "://" + b.config.Bucket + "/" }
func (b amazonBucket) folders() string { return b.config.Prefix }

func (b amazonBucket) setup(r sdk.SetupRequest) ([]sdk.SetupStep, error) { return b.config.Setup(r) }

// reader creates the role with which Snowflake reads the bucket. The script has created
// the integration that it trusts. In Terraform the role's ARN is written out, since each
// of the two refers to the other.
func (b amazonBucket) reader(p *preparation) reader {
	name, label := "penstock-"+p.destination+"-snowflake", p.label+"_snowflake"
	policy := b.readPolicy(p.request.Projects)
	encoded := func(policy setup.Object) setup.Call { return setup.Call{Function: "jsonencode", Argument: policy} }
	arn := "arn:" + b.config.Partition() + ":iam::"
	return reader{
		provider: strings.ToUpper(b.scheme),
		options:  " STORAGE_AWS_ROLE_ARN = '" + arn + placeOf("ACCOUNT") + ":role/" + name + "'",
		variable: variable{"ACCOUNT", "the number of the AWS account", setup.Line("aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text")},
		step: sdk.SetupStep{
			Title: "Create the role with which Snowflake reads the bucket. Put the values that DESC INTEGRATION has shown in place of STORAGE_AWS_IAM_USER_ARN and STORAGE_AWS_EXTERNAL_ID.",
			Text: setup.Command("aws", "iam", "create-role", "--role-name", name, "--assume-role-policy-document", setup.JSON(trust("STORAGE_AWS_IAM_USER_ARN", "STORAGE_AWS_EXTERNAL_ID"))) +
				setup.Command("aws", "iam", "put-role-policy", "--role-name", name, "--policy-name", name, "--policy-document", setup.JSON(policy)),
		},
		before: []string{setup.Block{Type: "data", Labels: []string{"aws_caller_identity", p.label}}.String()},
		fields: []any{field("storage_aws_role_arn", setup.Reference(`"`+arn+`${data.aws_caller_identity.`+p.label+`.account_id}:role/`+name+`"`))},
		after: []string{
			setup.Resource("aws_iam_role", label, field("name", name), field("assume_role_policy", encoded(trust(p.integrated("storage_aws_iam_user_arn"), p.integrated("storage_aws_external_id"))))),
			setup.Resource("aws_iam_role_policy", label, field("name", name), field("role", setup.Reference("aws_iam_role."+label+".id")), field("policy", encoded(policy))),
		},
	}
}

// readPolicy lets Snowflake read the files, and no more: the plugin removes them itself.
func (b amazonBucket) readPolicy(projects []sdk.Project) setup.Object {
	c := b.config
	arn := "arn:" + c.Partition() + ":s3:::" + c.Bucket
	statements := append(c.ReadStatements(projects), s3bucket.Statement([]string{"s3:GetBucketLocation"}, []string{arn}, nil))
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
