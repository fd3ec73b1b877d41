package snowflake

import (
	"slices"
	"strings"

	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// preparation makes the steps of one setup.
type preparation struct {
	config
	request     sdk.SetupRequest
	destination string // its name
	label       string // of Terraform resources
	role        string // quoted, as are the others
	user        string
	warehouse   string
	bucket      bucket // of the external stage; nil: an internal one
	reader      reader // of the bucket
}

// prepare implements sdk.Plugin's Setup.
func prepare(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	var c config
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.checkSetup(r); err != nil {
		return nil, err
	}
	_, name, _ := strings.Cut(r.Destination, ".")
	p := &preparation{config: c, request: r, destination: name, label: setup.Label(name), role: identifier("PENSTOCK_" + name), user: identifier("PENSTOCK"), warehouse: identifier(c.Warehouse)}
	if c.Role != "" {
		p.role = identifier(c.Role)
	}
	if c.User != "" {
		p.user = literalUser(c)
	}
	if c.isSet() {
		var err error
		if _, p.bucket, err = c.bucket(); err != nil {
			return nil, err
		}
		p.reader = p.bucket.reader(p)
	}
	steps, err := p.bucketSteps(r)
	if err != nil {
		return nil, err
	}
	if r.Format == sdk.SetupTerraform {
		return append(steps,
			sdk.SetupStep{Title: "Create the key pair of the user; the file is the value of private_key.", Text: comment(p.keyCommands())},
			sdk.SetupStep{Title: "Create database, schema, warehouse, role and user, with the rights that Penstock needs.", Text: p.terraform()},
		), nil
	}
	if p.usesKey() {
		steps = append(steps, sdk.SetupStep{Title: "Create the key pair of the user; the file is the value of private_key.", Text: p.keyCommands()})
	}
	steps = append(steps, p.scriptStep())
	if p.bucket != nil {
		steps = append(steps, p.reader.step)
	}
	return steps, nil
}

// scriptStep is the step that runs the script. Its here-document is quoted, so that its
// lines are SQL as they are; values that commands find out are put into it by sed.
func (p *preparation) scriptStep() sdk.SetupStep {
	variables := []variable{{"KEY", "the key", ""}}
	text := "KEY=" + p.keyValue() + "\n"
	if v := p.reader.variable; v.name != "" {
		variables = append(variables, v)
		text += v.name + "=$(" + v.command + ")\n"
	}
	script := p.script()
	var meanings []string
	text += "sed"
	for _, v := range variables {
		place := unlike(script, "@"+v.name+"@")
		script = strings.ReplaceAll(script, placeOf(v.name), place)
		text += ` -e "s|` + place + `|$` + v.name + `|"`
		meanings = append(meanings, v.meaning+" in place of "+place)
	}
	return sdk.SetupStep{
		Title: "Create database, schema, warehouse, role and user, with the rights that Penstock needs. The lines between SQL and SQL can be run in a worksheet as well, with " + strings.Join(meanings, " and ") + ".",
		Text:  text + " <<'SQL' | snow sql --stdin\n" + script + "SQL\n",
	}
}

// placeOf stands for the value of a variable in a script: no name can hold it.
func placeOf(variable string) string { return "\x00" + variable + "\x00" }

// unlike returns a word that is in no name of a script.
func unlike(script, word string) string {
	for strings.Contains(script, word) {
		word += "@"
	}
	return word
}

// checkSetup is check without the mistakes of values that are not known.
func (c config) checkSetup(r sdk.SetupRequest) error {
	found, ok := c.check(nil).(sdk.Diagnostics)
	if !ok {
		return nil
	}
	secrets := []string{"private_key", "private_key_passphrase", "token", "oauth_token", "password"}
	unknown := slices.ContainsFunc(secrets, r.Sets)
	halfKey := r.Sets("stage_access_key_id") || r.Sets("stage_secret_access_key")
	found = slices.DeleteFunc(found, func(d sdk.Diagnostic) bool {
		switch d.Attribute {
		case "stage_access_key_id", "stage_secret_access_key":
			return halfKey
		case "stage_client_id", "stage_client_secret", "stage_tenant_id", "stage_workload_identity":
			return true // the steps create the identity
		}
		return r.Sets(d.Attribute) || unknown && slices.Contains(append(secrets, "user"), d.Attribute)
	})
	if len(found) == 0 {
		return nil
	}
	return found
}

// usesKey reports whether the user logs in with a key pair: always, if the
// configuration does not choose another credential.
func (p *preparation) usesKey() bool { return p.Workload == "" }

func (p *preparation) keyValue() string {
	if !p.usesKey() {
		return "''"
	}
	return `"$(grep -v PUBLIC penstock.pub | tr -d '\n')"`
}

func (p *preparation) keyCommands() string {
	return "openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out penstock.p8\n" +
		"openssl rsa -in penstock.p8 -pubout -out penstock.pub\n"
}

func comment(text string) string {
	return "# " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n# ") + "\n"
}

// schemaRights are the rights on the schema: temporary tables need none of them.
var schemaRights = []string{"USAGE", "CREATE TABLE", "CREATE VIEW", "CREATE STAGE"}

// script is the SQL of a setup, in an order in which it can be run. It can be run
// again.
func (p *preparation) script() string {
	login := "RSA_PUBLIC_KEY = '" + placeOf("KEY") + "'"
	if p.Workload != "" {
		login = "WORKLOAD_IDENTITY = (" + workloadOptions[p.Workload] + ")"
	}
	database, schema := identifier(p.Database), p.schemaName()
	lines := []string{
		"USE ROLE SYSADMIN;",
		"CREATE DATABASE IF NOT EXISTS " + database + ";",
		"CREATE SCHEMA IF NOT EXISTS " + schema + ";",
		"CREATE WAREHOUSE IF NOT EXISTS " + p.warehouse + " WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;",
		"USE ROLE USERADMIN;",
		"CREATE ROLE IF NOT EXISTS " + p.role + ";",
		"CREATE USER IF NOT EXISTS " + p.user + " TYPE = SERVICE " + login + " DEFAULT_ROLE = " + p.role + " DEFAULT_WAREHOUSE = " + p.warehouse + ";",
		"USE ROLE SECURITYADMIN;",
		"GRANT ROLE " + p.role + " TO USER " + p.user + ";",
		"GRANT USAGE ON WAREHOUSE " + p.warehouse + " TO ROLE " + p.role + ";",
		"GRANT USAGE ON DATABASE " + database + " TO ROLE " + p.role + ";",
		"GRANT " + strings.Join(schemaRights, ", ") + " ON SCHEMA " + schema + " TO ROLE " + p.role + ";",
	}
	return strings.Join(append(lines, p.integration()...), "\n") + "\n"
}

// workloadOptions are the identities of a user, to be completed.
var workloadOptions = map[string]string{
	"aws":   "TYPE = AWS ARN = 'arn:aws:iam::<account>:role/<role of the host>'",
	"gcp":   "TYPE = GCP SUBJECT = '<unique id of the service account>'",
	"azure": "TYPE = AZURE ISSUER = 'https://login.microsoftonline.com/<tenant>/v2.0' SUBJECT = '<object id of the identity>'",
	"oidc":  "TYPE = OIDC ISSUER = '<issuer>' SUBJECT = '<subject>'",
}

func field(key string, value any) setup.Field { return setup.Field{Key: key, Value: value} }

// bare returns a quoted identifier without its quotes, as the provider takes names.
func bare(quoted string) string {
	return strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(quoted, `"`), `"`), `""`, `"`)
}

// terraform is the same as script for Terraform's provider snowflakedb/snowflake.
func (p *preparation) terraform() string {
	name := func(resource string) setup.Reference { return setup.Reference(resource + "." + p.label + ".name") }
	full := func(resource string) setup.Reference {
		return setup.Reference(resource + "." + p.label + ".fully_qualified_name")
	}
	grant := func(label string, privileges []string, on setup.Block) string {
		return setup.Resource("snowflake_grant_privileges_to_account_role", p.label+"_"+label,
			field("account_role_name", name("snowflake_account_role")), field("privileges", privileges), on)
	}
	object := func(kind string, of setup.Reference) setup.Block {
		return setup.Block{Type: "on_account_object", Body: []any{field("object_type", kind), field("object_name", of)}}
	}
	user := []any{
		field("name", bare(p.user)), field("default_role", name("snowflake_account_role")), field("default_warehouse", name("snowflake_warehouse")),
	}
	text := []string{}
	if p.usesKey() {
		user = append(user, field("rsa_public_key", setup.Reference("var.penstock_public_key")))
		text = append(text, setup.Block{Type: "variable", Labels: []string{"penstock_public_key"}, Body: []any{field("description", "The content of penstock.pub without its first and last line and without line breaks")}}.String())
	}
	text = append(text,
		setup.Resource("snowflake_database", p.label, field("name", bare(identifier(p.Database)))),
		setup.Resource("snowflake_schema", p.label, field("database", name("snowflake_database")), field("name", bare(identifier(p.Schema)))),
		setup.Resource("snowflake_warehouse", p.label, field("name", bare(p.warehouse)), field("warehouse_size", "XSMALL"), field("auto_suspend", 60),
			field("auto_resume", "true"), field("initially_suspended", true)),
		setup.Resource("snowflake_account_role", p.label, field("name", bare(p.role))),
		setup.Resource("snowflake_service_user", p.label, user...),
		setup.Resource("snowflake_grant_account_role", p.label, field("role_name", name("snowflake_account_role")), field("user_name", name("snowflake_service_user"))),
		grant("warehouse", []string{"USAGE"}, object("WAREHOUSE", name("snowflake_warehouse"))),
		grant("database", []string{"USAGE"}, object("DATABASE", name("snowflake_database"))),
		grant("schema", schemaRights, setup.Block{Type: "on_schema", Body: []any{field("schema_name", full("snowflake_schema"))}}),
	)
	if p.bucket != nil {
		text = append(text, p.externalTerraform()...)
	}
	return strings.Join(text, "\n")
}
