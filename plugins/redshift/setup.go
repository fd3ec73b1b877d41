package redshift

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// preparation makes the steps of one setup.
type preparation struct {
	config
	request sdk.SetupRequest
	label   string // of Terraform resources
	name    string // of policies
	steps   []sdk.SetupStep
}

// prepare implements sdk.Plugin's Setup.
func prepare(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	var c config
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	c.Config = c.Complete()
	if err := c.checkForms(nil); err != nil {
		return nil, err
	}
	_, name, _ := strings.Cut(r.Destination, ".")
	p := &preparation{config: c, request: r, label: setup.Label(name), name: "penstock-" + name}
	steps, err := c.Setup(r)
	if err != nil {
		return nil, err
	}
	p.steps = steps
	p.database()
	p.grants()
	p.spectrum()
	p.user()
	p.lakeFormation()
	return p.steps, nil
}

// add adds a step, in the language that is asked for.
func (p *preparation) add(title, commands, terraform string) {
	text := commands
	if p.request.Format == sdk.SetupTerraform {
		text = terraform
	}
	p.steps = append(p.steps, sdk.SetupStep{Title: title, Text: text})
}

func field(key string, value any) setup.Field { return setup.Field{Key: key, Value: value} }

// inRegion ends the words of a command of Amazon's CLI.
func inRegion(region string, words ...string) string {
	if region != "" {
		words = append(words, "--region", region)
	}
	return setup.Command(append([]string{"aws"}, words...)...)
}

// account returns the account of a role; "*" in ARNs if there is none.
func account(role string) string {
	if parts := strings.Split(role, ":"); len(parts) > 4 && parts[4] != "" {
		return parts[4]
	}
	return "*"
}

// anyRegion is a region in ARNs.
func anyRegion(region string) string {
	if region == "" {
		return "*"
	}
	return region
}

// database creates the database of the catalog, unless the first run does.
func (p *preparation) database() {
	if p.CreateDatabase {
		return
	}
	p.add("Create the database of Glue's catalog.",
		inRegion(p.glueRegion(), "glue", "create-database", "--database-input", "Name="+p.GlueDatabase),
		setup.Resource("aws_glue_catalog_database", p.label, field("name", p.GlueDatabase)))
}

// catalogARNs are the ARNs of the catalog, the database and tables of it: each call
// about a table is decided for all of them.
func (c config) catalogARNs(names ...string) []string {
	base := "arn:" + c.Partition() + ":glue:" + anyRegion(c.glueRegion()) + ":" + account(c.glueRole()) + ":"
	arns := []string{base + "catalog", base + "database/" + c.GlueDatabase}
	for _, name := range names {
		arns = append(arns, base+"table/"+c.GlueDatabase+"/"+name)
	}
	return arns
}

// glueStatements allow the calls of Glue.
func (c config) glueStatements() []any {
	onTables := []string{"glue:GetDatabase", "glue:GetTable", "glue:CreateTable", "glue:UpdateTable"}
	if c.CreateDatabase {
		onTables = append(onTables, "glue:CreateDatabase")
	}
	return []any{
		s3bucket.Statement(onTables, c.catalogARNs(tables[sdk.Events], tables[sdk.People], tables[sdk.Identity]), nil),
		s3bucket.Statement([]string{"glue:BatchCreatePartition", "glue:BatchGetPartition", "glue:BatchUpdatePartition"}, c.catalogARNs(tables[sdk.Events]), nil),
	}
}

// dataStatements allow the calls of the Data API, and the credentials that it gets in
// the caller's name.
func (c config) dataStatements() []any {
	base := ":" + anyRegion(c.redshiftRegion()) + ":" + account(c.redshiftRole()) + ":"
	serverless, cluster := "arn:"+c.Partition()+":redshift-serverless"+base, "arn:"+c.Partition()+":redshift"+base
	execute := []string{"redshift-data:ExecuteStatement"}
	var statements []any
	switch {
	case strings.HasPrefix(c.WorkgroupARN, "arn:"):
		statements = append(statements, s3bucket.Statement(append(execute, "redshift-serverless:GetCredentials"), []string{c.WorkgroupARN}, nil))
	case c.WorkgroupARN != "": // the ARN has an id instead of the name
		statements = append(statements, s3bucket.Statement(append(execute, "redshift-serverless:GetCredentials"), []string{serverless + "workgroup/*"}, nil))
	case c.DBUser != "":
		statements = append(statements, s3bucket.Statement(execute, []string{cluster + "cluster:" + c.ClusterIdentifier}, nil),
			s3bucket.Statement([]string{"redshift:GetClusterCredentials"}, []string{
				cluster + "dbuser:" + c.ClusterIdentifier + "/" + c.DBUser, cluster + "dbname:" + c.ClusterIdentifier + "/" + c.Database,
			}, nil))
	default:
		statements = append(statements, s3bucket.Statement(execute, []string{cluster + "cluster:" + c.ClusterIdentifier}, nil),
			s3bucket.Statement([]string{"redshift:GetClusterCredentialsWithIAM"}, []string{cluster + "dbname:" + c.ClusterIdentifier + "/" + c.Database}, nil))
	}
	// These three have no resource: the owner of the statement is the limit.
	return append(statements, s3bucket.Statement(
		[]string{"redshift-data:DescribeStatement", "redshift-data:GetStatementResult", "redshift-data:CancelStatement"}, []string{"*"},
		setup.Object{field("StringEquals", setup.Object{field("redshift-data:statement-owner-iam-userid", "${aws:userid}")})}))
}

// grants gives the policies to the identities that call Glue and the Data API.
func (p *preparation) grants() {
	if p.glueRole() == p.redshiftRole() {
		p.steps = append(p.steps, p.SetupGrant(p.request, p.glueRole(), "catalog", "for Glue and Redshift",
			s3bucket.Policy(slices.Concat(p.glueStatements(), p.dataStatements())...))...)
		return
	}
	p.steps = append(p.steps, p.SetupGrant(p.request, p.glueRole(), "glue", "for Glue", s3bucket.Policy(p.glueStatements()...))...)
	p.steps = append(p.steps, p.SetupGrant(p.request, p.redshiftRole(), "redshift", "for Redshift", s3bucket.Policy(p.dataStatements()...))...)
}

// spectrumPolicy lets Redshift itself read the catalog and the files.
func (c config) spectrumPolicy(projects []sdk.Project) setup.Object {
	return s3bucket.Policy(append(c.ReadStatements(projects), s3bucket.Statement(
		[]string{"glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartition", "glue:GetPartitions"},
		c.catalogARNs(tables[sdk.Events], tables[sdk.People], tables[sdk.Identity]), nil))...)
}

var roleParts = regexp.MustCompile(`^arn:[^:]+:iam::[0-9]{12}:role(/(?:.*/)?)([^/]+)$`)

// spectrum creates the role with which Redshift reads, or the policy for its default
// role.
func (p *preparation) spectrum() {
	policy := p.spectrumPolicy(p.request.Projects)
	name := p.name + "-read"
	encoded := setup.Call{Function: "jsonencode", Argument: policy}
	m := roleParts.FindStringSubmatch(p.SpectrumRoleARN)
	if m == nil {
		p.add("Create the policy with which Redshift itself reads, and attach it to the default role of the workgroup or cluster.",
			inRegion("", "iam", "create-policy", "--policy-name", name, "--policy-document", setup.JSON(policy)),
			setup.Resource("aws_iam_policy", p.label+"_read", field("name", name), field("policy", encoded)))
		return
	}
	services := []string{"redshift.amazonaws.com"}
	attach := setup.Command("aws", "redshift", "modify-cluster-iam-roles", "--cluster-identifier", p.ClusterIdentifier, "--add-iam-roles", p.SpectrumRoleARN)
	if p.WorkgroupARN != "" {
		services = append(services, "redshift-serverless.amazonaws.com")
		attach = "# Add the role to the namespace of the workgroup; update-namespace replaces the list of its roles:\n" +
			commented("aws", "redshift-serverless", "update-namespace", "--namespace-name", "NAMESPACE", "--iam-roles", p.SpectrumRoleARN)
	}
	trust := s3bucket.Policy(setup.Object{
		field("Effect", "Allow"), field("Principal", setup.Object{field("Service", services)}), field("Action", "sts:AssumeRole"),
	})
	p.add("Create the role with which Redshift itself reads, and attach it to the workgroup or cluster.",
		inRegion("", "iam", "create-role", "--path", m[1], "--role-name", m[2], "--assume-role-policy-document", setup.JSON(trust))+
			inRegion("", "iam", "put-role-policy", "--role-name", m[2], "--policy-name", name, "--policy-document", setup.JSON(policy))+attach,
		setup.Resource("aws_iam_role", p.label+"_read", field("name", m[2]), field("path", m[1]),
			field("assume_role_policy", setup.Call{Function: "jsonencode", Argument: trust}))+"\n"+
			setup.Resource("aws_iam_role_policy", p.label+"_read", field("name", name), field("role", setup.Reference("aws_iam_role."+p.label+"_read.id")), field("policy", encoded))+
			"\n# Add the role to iam_roles of the cluster or of the workgroup's namespace.\n")
}

// anyRole stands for the database user of a role that the configuration does not name.
const anyRole = "IAMR:ROLE"

// databaseUser is the name of the database user of the Data API.
func (c config) databaseUser() string {
	if c.DBUser != "" {
		return c.DBUser
	}
	if m := roleParts.FindStringSubmatch(c.redshiftRole()); m != nil {
		return "IAMR:" + m[2]
	}
	return anyRole
}

// grantCreate is the statement that lets the database user create schemas.
func (c config) grantCreate() string {
	return "GRANT CREATE ON DATABASE " + identifier(c.Database) + " TO " + identifier(c.databaseUser())
}

// user makes the database user of the Data API, and lets it create the schema.
func (p *preparation) user() {
	name, statements := p.databaseUser(), []string{}
	if p.DBUser == "" {
		statements = append(statements, "CREATE USER "+identifier(name)+" PASSWORD DISABLE")
	}
	statements = append(statements, p.grantCreate())
	target := []string{"--cluster-identifier", p.ClusterIdentifier}
	place := field("cluster_identifier", p.ClusterIdentifier)
	if p.WorkgroupARN != "" {
		target, place = []string{"--workgroup-name", p.WorkgroupARN}, field("workgroup_name", p.WorkgroupARN)
	}
	commands, terraform := "", ""
	for i, sql := range statements {
		commands += inRegion(p.redshiftRegion(), append([]string{"redshift-data", "execute-statement"}, append(target, "--database", p.Database, "--sql", sql)...)...)
		if i > 0 {
			terraform += "\n"
		}
		terraform += setup.Resource("aws_redshiftdata_statement", fmt.Sprintf("%s_%d", p.label, i+1), place, field("database", p.Database), field("sql", sql))
	}
	title := "As an administrator of the database, let the user of the Data API create the external schema."
	if p.DBUser == "" {
		title += " The user may exist already: the first statement then fails, and changes nothing."
	}
	if name == anyRole {
		title += " Put the role or, as IAM:NAME, the user that the host runs with in place of " + anyRole + "."
	}
	p.add(title, commands, terraform)
}

// commented returns a command that a script does not run.
func commented(words ...string) string {
	return "# " + strings.ReplaceAll(strings.TrimSuffix(setup.Command(words...), "\n"), "\n", "\n# ") + "\n"
}

// lakeFormation tells of the grants that a catalog under Lake Formation needs.
func (p *preparation) lakeFormation() {
	role := p.glueRole()
	if role == "" {
		role = "ROLE"
	}
	grant := func(permissions, resource string) string {
		return commented(append(append([]string{"aws", "lakeformation", "grant-permissions",
			"--principal", "DataLakePrincipalIdentifier=" + role, "--permissions"}, strings.Fields(permissions)...), "--resource", resource)...)
	}
	text := grant("CREATE_TABLE ALTER DESCRIBE", `{"Database":{"Name":"`+p.GlueDatabase+`"}}`) +
		grant("ALTER DESCRIBE INSERT DELETE", `{"Table":{"DatabaseName":"`+p.GlueDatabase+`","TableWildcard":{}}}`) +
		grant("DATA_LOCATION_ACCESS", `{"DataLocation":{"ResourceArn":"arn:`+p.Partition()+`:s3:::`+p.Bucket+`"}}`)
	p.add("Only where Lake Formation governs the catalog: an administrator of the data lake grants this too, since IAM alone is not enough.", text, text)
}
