package redshift

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// config is the body of a destination block.
type config struct {
	s3bucket.Config

	GlueDatabase   string `json:"glue_database"`
	CreateDatabase bool   `json:"create_database"`
	GlueRegion     string `json:"glue_region"`
	GlueRoleARN    string `json:"glue_role_arn"`
	GlueEndpoint   string `json:"glue_endpoint"`

	WorkgroupARN      string   `json:"workgroup_arn"`
	ClusterIdentifier string   `json:"cluster_identifier"`
	DBUser            string   `json:"db_user"`
	Database          string   `json:"database"`
	RedshiftRegion    string   `json:"redshift_region"`
	RedshiftRoleARN   string   `json:"redshift_role_arn"`
	RedshiftEndpoint  string   `json:"redshift_endpoint"`
	SpectrumRoleARN   string   `json:"spectrum_role_arn"`
	ExternalSchema    string   `json:"external_schema"`
	GrantUsageTo      []string `json:"grant_usage_to"`

	Oversize string `json:"oversize"`
	Unusual  string `json:"unusual"`

	Views       []string `json:"views"`
	ViewsSchema string   `json:"views_schema"`

	maxWait    time.Duration // for a statement; 0: the default
	maxCall    time.Duration // for a call of the Data API with its retries; 0: the default
	firstPause time.Duration // between two questions for its state; 0: the default
}

func attributes() schema.Schema {
	text := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Description: description}
	}
	own := []schema.Attribute{
		{
			Name: "format", Type: schema.String, Default: "parquet", Allowed: []string{"parquet", "json"},
			Description: "The format of the files: parquet, or json: gzip-compressed JSON lines. Both hold properties as a string.",
		},
		{Name: "glue_database", Type: schema.String, Required: true, Description: "The database of Glue's catalog for the tables."},
		{Name: "create_database", Type: schema.Bool, Default: false, Description: "Create the database if it does not exist."},
		text("glue_region", "The catalog's region. Without it the bucket's."),
		text("glue_role_arn", "A role to assume for calls of Glue. Without it role_arn."),
		text("glue_endpoint", "The URL of a server that speaks Glue's protocol. Without it AWS_ENDPOINT_URL_GLUE or AWS_ENDPOINT_URL, else Amazon's of the region."),
		text("workgroup_arn", "The ARN of a serverless workgroup, or its name."),
		text("cluster_identifier", "A provisioned cluster, instead of workgroup_arn."),
		text("db_user", "The database user of a cluster. Without it the one of the IAM identity."),
		{Name: "database", Type: schema.String, Required: true, Description: "The database in Redshift that gets the external schema."},
		text("redshift_region", "Redshift's region. Without it the bucket's."),
		text("redshift_role_arn", "A role to assume for calls of the Data API. Without it role_arn."),
		text("redshift_endpoint", "The URL of a server that speaks the Data API's protocol. Without it AWS_ENDPOINT_URL_REDSHIFT_DATA or AWS_ENDPOINT_URL, else Amazon's of the region."),
		text("spectrum_role_arn", "The role with which Redshift itself reads the catalog and the files. Without it the default role of the workgroup or cluster."),
		{Name: "external_schema", Type: schema.String, Default: "mp_json_export", Description: "The external schema in Redshift."},
		{Name: "grant_usage_to", Type: schema.ListOfString, Description: "Users that may use the schema; a role is written \"role NAME\", a group \"group NAME\"."},
		{
			Name: "oversize", Type: schema.String, Default: "quarantine", Allowed: []string{"quarantine", "truncate"},
			Description: "The treatment of strings of more than 65,535 bytes: quarantine rejects the row; truncate drops whole properties, the largest first, and names them in $penstock_dropped.",
		},
		unusual.Attribute(),
		{Name: "views", Type: schema.ListOfString, Description: "Views for queries to create in Redshift: resolved is mp_master_event_resolved."},
		text("views_schema", "The schema of the views in Redshift. Without it the name of external_schema with _views after it."),
	}
	return schema.Schema{Attributes: append(s3bucket.Attributes("format"), own...)}
}

var (
	glueName = regexp.MustCompile(`^[a-z0-9_][a-z0-9_-]{0,254}$`)
	sqlName  = regexp.MustCompile(`^[a-z_][a-z0-9_$]{0,126}$`)
	roleARN  = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`)
	grantee  = regexp.MustCompile(`^(role |group )?[^"\x00-\x1f]{1,127}$`)
	region   = regexp.MustCompile(`^[a-z0-9-]+$`)
)

// check finds the mistakes that the schema cannot find, and returns them together
// with those found before.
func (c config) check(found sdk.Diagnostics) error {
	bucket := c.Config
	bucket.ExternalID = "" // it may be for the other roles
	return bucket.Check(c.ownMistakes(found))
}

// checkForms checks the form of each value of Redshift and Glue by itself.
func (c config) checkForms(found sdk.Diagnostics) error {
	if found = c.ownMistakes(found); len(found) > 0 {
		return found
	}
	return nil
}

// ownMistakes finds mistakes in all attributes but those of the bucket.
func (c config) ownMistakes(found sdk.Diagnostics) sdk.Diagnostics {
	add := func(attribute, summary, detail string, values ...any) {
		found = append(found, sdk.Diagnostic{Severity: sdk.SeverityError, Attribute: attribute, Summary: summary, Detail: fmt.Sprintf(detail, values...)})
	}
	if !glueName.MatchString(c.GlueDatabase) {
		add("glue_database", "Database is not a name of Glue's", "%q: a name has lower-case letters, digits, underscores and hyphens, as in \"mixpanel\".", c.GlueDatabase)
	}
	if !sqlName.MatchString(c.ExternalSchema) {
		add("external_schema", "Schema is not a name", "%q: a name has lower-case letters, digits and underscores, as in \"mp_json_export\".", c.ExternalSchema)
	}
	for _, v := range c.Views {
		if v != resolvedView {
			add("views", "View is not known", "%q: the view that can be created is \"resolved\".", v)
		}
	}
	switch {
	case c.wantsResolved() && !sqlName.MatchString(c.viewsSchema()):
		add("views_schema", "Schema is not a name", "%q: a name has lower-case letters, digits and underscores, as in \"mp_json_export_views\".", c.viewsSchema())
	case c.wantsResolved() && c.viewsSchema() == c.ExternalSchema:
		add("views_schema", "An external schema holds no views", "Set views_schema to another name than external_schema.")
	}
	switch {
	case c.WorkgroupARN == "" && c.ClusterIdentifier == "":
		add("workgroup_arn", "Neither a workgroup nor a cluster", "Set workgroup_arn for Redshift Serverless, or cluster_identifier for a provisioned cluster.")
	case c.WorkgroupARN != "" && c.ClusterIdentifier != "":
		add("cluster_identifier", "A workgroup and a cluster", "Set one of workgroup_arn and cluster_identifier.")
	case c.WorkgroupARN != "" && c.DBUser != "":
		add("db_user", "A user of a workgroup", "A workgroup takes the user from the IAM identity: remove db_user.")
	}
	for _, a := range []struct{ name, value string }{
		{"glue_role_arn", c.GlueRoleARN}, {"redshift_role_arn", c.RedshiftRoleARN}, {"spectrum_role_arn", c.SpectrumRoleARN},
	} {
		if a.value != "" && !roleARN.MatchString(a.value) {
			add(a.name, "Role is not a role's ARN", "%q: an ARN looks like \"arn:aws:iam::123456789012:role/export\".", a.value)
		}
	}
	for _, a := range []struct{ name, value string }{{"glue_region", c.GlueRegion}, {"redshift_region", c.RedshiftRegion}} {
		if a.value != "" && !region.MatchString(a.value) {
			add(a.name, "Region is not a region's name", "%q: a name looks like \"us-west-2\".", a.value)
		}
	}
	for _, a := range []struct{ name, value string }{{"glue_endpoint", c.GlueEndpoint}, {"redshift_endpoint", c.RedshiftEndpoint}} {
		if a.value != "" && !isEndpoint(a.value) {
			// The value may hold a password.
			add(a.name, "Endpoint is not a URL", "An endpoint is http:// or https:// with a host, no user and no query, as in \"https://glue.us-west-2.amazonaws.com\".")
		}
	}
	for _, g := range c.GrantUsageTo {
		if !grantee.MatchString(g) {
			add("grant_usage_to", "Not a user, role or group", "%q: a user is a name, a role is written \"role NAME\", a group \"group NAME\".", g)
		}
	}
	return found
}

func isEndpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func (c config) glueRegion() string     { return cmp.Or(c.GlueRegion, c.Region) }
func (c config) redshiftRegion() string { return cmp.Or(c.RedshiftRegion, c.Region) }
func (c config) glueRole() string       { return cmp.Or(c.GlueRoleARN, c.RoleARN) }
func (c config) redshiftRole() string   { return cmp.Or(c.RedshiftRoleARN, c.RoleARN) }
