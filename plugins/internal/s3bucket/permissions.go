package s3bucket

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// resource is the kind of resource that an action is granted on.
type resource int

const (
	onObjects resource = iota // the objects of the projects
	onBucket                  // with a prefix
	onUploads                 // the bucket, without one
	onKey
)

// permission is an IAM action that the plugin needs.
type permission struct {
	action  string
	on      resource
	purpose string
}

// permissions are all that the plugin needs. Errors, setup and the documentation
// take them from here.
var permissions = []permission{
	{"s3:PutObject", onObjects, "objects, their parts, manifests"},
	{"s3:GetObject", onObjects, "manifests, and objects whose upload had no answer"},
	{"s3:DeleteObject", onObjects, "objects that earlier attempts have left"},
	{"s3:AbortMultipartUpload", onObjects, "uploads of earlier attempts: an older writer can finish nothing"},
	{"s3:ListBucket", onBucket, "objects that earlier attempts have left"},
	{"s3:ListBucketMultipartUploads", onUploads, "uploads of earlier attempts"},
	{"kms:GenerateDataKey", onKey, "encryption = \"kms\": objects"},
	{"kms:Decrypt", onKey, "encryption = \"kms\": parts of one object, and manifests"},
}

// actions returns the actions on a kind of resource.
func actions(on resource) []string {
	var names []string
	for _, p := range permissions {
		if p.on == on {
			names = append(names, p.action)
		}
	}
	return names
}

// kindOf returns the kind of resource that an action is granted on.
func kindOf(action string) resource {
	i := slices.IndexFunc(permissions, func(p permission) bool { return p.action == action })
	if i < 0 {
		return onObjects
	}
	return permissions[i].on
}

// Statement returns one statement of an IAM policy. A nil condition is left out.
func Statement(actions []string, resources []string, condition setup.Object) setup.Object {
	s := setup.Object{{Key: "Effect", Value: "Allow"}, {Key: "Action", Value: actions}, {Key: "Resource", Value: resources}}
	if condition != nil {
		s = append(s, setup.Field{Key: "Condition", Value: condition})
	}
	return s
}

// Policy returns an IAM policy.
func Policy(statements ...any) setup.Object {
	return setup.Object{{Key: "Version", Value: "2012-10-17"}, {Key: "Statement", Value: statements}}
}

// Partition returns the partition of AWS that the configuration is for, such as
// "aws" or "aws-cn".
func (c config) Partition() string {
	switch {
	case c.RoleARN != "":
		return strings.Split(c.RoleARN, ":")[1]
	case strings.HasPrefix(c.Region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(c.Region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

func (c config) bucketARN() string { return "arn:" + c.Partition() + ":s3:::" + c.Bucket }

// directories returns the common start of a project's object names, with a slash
// at the end, for each project.
func (c config) directories(projects []sdk.Project) []string {
	root, err := lake.CleanPrefix(c.Prefix)
	if err != nil {
		return nil // check reports the prefix
	}
	var names []string
	for _, p := range projects {
		names = append(names, path.Join(root, strconv.FormatInt(p.ID, 10))+"/")
	}
	return names
}

// policy returns the policy of the identity that writes: exactly the calls of the
// plugin, for the projects' objects.
func (c config) policy(projects []sdk.Project) setup.Object {
	statements := c.bucketStatements(projects)
	if key := c.keyStatement(actions(onKey)...); key != nil {
		statements = append(statements, key)
	}
	return Policy(statements...)
}

func (c config) bucketStatements(projects []sdk.Project) []any {
	var objects, prefixes []string
	for _, dir := range c.directories(projects) {
		objects, prefixes = append(objects, c.bucketARN()+"/"+literal(dir)+"*"), append(prefixes, literal(dir)+"*")
	}
	return []any{
		Statement(actions(onObjects), objects, nil),
		Statement(actions(onBucket), []string{c.bucketARN()}, setup.Object{
			{Key: "StringLike", Value: setup.Object{{Key: "s3:prefix", Value: prefixes}}},
		}),
		// A list of uploads has no s3:prefix in IAM's eyes: the condition would deny it.
		Statement(actions(onUploads), []string{c.bucketARN()}, nil),
	}
}

// literal escapes the wildcards and variables of IAM policies in a name.
var literal = strings.NewReplacer("$", "${$}", "*", "${*}", "?", "${?}").Replace

// keyARN is the ARN of a key.
var keyARN = regexp.MustCompile(`^arn:[^:]+:kms:[^:]+:([0-9]{12}):key/`)

// keyStatement returns the statement for the KMS key; nil: there is no key whose
// policy leaves it to IAM.
func (c config) keyStatement(actions ...string) setup.Object {
	if c.Encryption != encryptKMS || c.KMSKeyID == "" {
		return nil // the account's own key for S3 is open to all who may write
	}
	region, everyKey := c.Region, "arn:"+c.Partition()+":kms:%s:*:key/%s"
	if region == "" {
		region = "*"
	}
	alias := c.KMSKeyID
	if _, name, ok := strings.Cut(c.KMSKeyID, ":alias/"); ok && strings.HasPrefix(c.KMSKeyID, "arn:") {
		alias = "alias/" + name
	}
	switch {
	case strings.HasPrefix(alias, "alias/"):
		return Statement(actions, []string{fmt.Sprintf(everyKey, region, "*")}, setup.Object{
			{Key: "ForAnyValue:StringEquals", Value: setup.Object{{Key: "kms:ResourceAliases", Value: alias}}},
		})
	case keyARN.MatchString(c.KMSKeyID):
		return Statement(actions, []string{c.KMSKeyID}, nil)
	}
	return Statement(actions, []string{fmt.Sprintf(everyKey, region, c.KMSKeyID)}, nil)
}

// role is a role's ARN in parts.
type role struct{ account, path, name string }

var roleParts = regexp.MustCompile(`^arn:[^:]+:iam::([0-9]{12}):role(/(?:.*/)?)([^/]+)$`)

func (c config) role() (role, bool) {
	m := roleParts.FindStringSubmatch(c.RoleARN)
	if m == nil {
		return role{}, false
	}
	return role{m[1], m[2], m[3]}, true
}

// externalIDs returns the external ids that the plugin sends when it assumes the
// role: the configured one, or the projects' tokens.
func (c config) externalIDs(projects []sdk.Project) []string {
	if c.ExternalID != "" {
		return []string{c.ExternalID}
	}
	var ids []string
	for _, p := range projects {
		if p.Token != "" && !slices.Contains(ids, p.Token) {
			ids = append(ids, p.Token)
		}
	}
	return ids
}

// trust returns the role's trust policy: identities of the role's own account may
// assume it, with one of the external ids.
func (c config) trust(r role, externalIDs []string) setup.Object {
	s := setup.Object{
		{Key: "Effect", Value: "Allow"},
		{Key: "Principal", Value: setup.Object{{Key: "AWS", Value: "arn:" + c.Partition() + ":iam::" + r.account + ":root"}}},
		{Key: "Action", Value: "sts:AssumeRole"},
	}
	if len(externalIDs) > 0 {
		s = append(s, setup.Field{Key: "Condition", Value: setup.Object{
			{Key: "StringEquals", Value: setup.Object{{Key: "sts:ExternalId", Value: externalIDs}}},
		}})
	}
	return Policy(s)
}
