package s3bucket

import (
	"strings"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// Setup returns the steps that make the bucket and the identity that writes to it.
func (c config) Setup(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	if err := c.checkForms(mistakes{}).err(); err != nil {
		return nil, err
	}
	p := newPreparation(c, r)
	p.bucket()
	p.lifecycle()
	if !c.isAmazon() {
		p.otherServer()
		return p.steps, nil
	}
	p.key()
	p.identity()
	p.bucketPolicy()
	return p.steps, nil
}

// SetupGrant returns the steps that give a further policy to an identity: to a role of
// its own, which is created, or to the identity that writes to the bucket if role is
// the bucket's. name tells the policy from others, purpose ends the step's title.
func (c config) SetupGrant(r sdk.SetupRequest, role, name, purpose string, policy setup.Object) []sdk.SetupStep {
	own := role != "" && role != c.RoleARN
	isAmazon := c.isAmazon()
	c.Endpoint = ""
	if own {
		c.RoleARN = role
	}
	p := newPreparation(c, r)
	p.policyName += "-" + name
	parts, hasRole := p.role()
	switch {
	case own:
		p.label += "_" + name
		p.createRole(parts, policy)
		p.steps[0].Title = "Create the role " + purpose + ". " + p.steps[0].Title
	case hasRole && isAmazon:
		p.attach("role", parts.name, p.reference("aws_iam_role", "id"), purpose, name, policy)
	case p.hasUser() && isAmazon:
		user := strings.TrimSuffix(p.policyName, "-"+name)
		p.attach("user", user, p.reference("aws_iam_user", "name"), purpose, name, policy)
	default:
		p.label += "_" + name
		p.createPolicy(policy)
		p.steps[0].Title = "Create the policy " + purpose + ", and attach it to the identity that the host uses."
	}
	return p.steps
}

// attach gives a policy to the role or user that an earlier step has created.
func (p *preparation) attach(kind, name string, reference setup.Reference, purpose, label string, policy setup.Object) {
	p.add("Let the same "+kind+" do more: the policy "+purpose+".",
		p.aws("iam", "put-"+kind+"-policy", "--"+kind+"-name", name, "--policy-name", p.policyName, "--policy-document", setup.JSON(policy)),
		setup.Resource("aws_iam_"+kind+"_policy", p.label+"_"+label, setup.Field{Key: "name", Value: p.policyName},
			setup.Field{Key: kind, Value: reference}, setup.Field{Key: "policy", Value: encoded(policy)}))
}

// ReadStatements are those of an identity that reads the objects of projects.
func (c config) ReadStatements(projects []sdk.Project) []any {
	var objects, prefixes []string
	for _, dir := range c.directories(projects) {
		objects, prefixes = append(objects, c.bucketARN()+"/"+literal(dir)+"*"), append(prefixes, literal(dir)+"*")
	}
	statements := []any{
		Statement([]string{"s3:GetObject"}, objects, nil),
		Statement([]string{"s3:ListBucket"}, []string{c.bucketARN()}, setup.Object{
			{Key: "StringLike", Value: setup.Object{{Key: "s3:prefix", Value: prefixes}}},
		}),
	}
	if key := c.keyStatement("kms:Decrypt"); key != nil {
		statements = append(statements, key)
	}
	return statements
}
