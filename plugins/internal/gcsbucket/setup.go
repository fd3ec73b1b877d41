package gcsbucket

import (
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// asideDays is the age in days at which a lifecycle rule deletes an object that a
// replacement has put aside: longer than any run.
const asideDays = 7

// preparation makes the steps of one setup.
type preparation struct {
	config
	request sdk.SetupRequest
	label   string // of Terraform resources
	roleID  string
	// accountID is the account's name before the at sign.
	accountID string
	// project of the account and of the role; empty: that of gcloud's
	// configuration.
	project string
	steps   []sdk.SetupStep
}

// prepare implements sdk.Plugin's Setup.
func prepare(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	var c config
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	return c.setup(r)
}

func (c config) setup(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	if err := c.check(nil); err != nil {
		return nil, err
	}
	_, name, _ := strings.Cut(r.Destination, ".")
	p := &preparation{config: c, request: r, label: setup.Label(name), roleID: "penstock_" + setup.Label(name), accountID: accountID(name)}
	if local, domain, ok := strings.Cut(c.Impersonate, "@"); ok {
		p.accountID, p.project = local, strings.TrimSuffix(domain, ".iam.gserviceaccount.com")
	}
	if !c.account().IsGoogle() {
		p.otherServer()
		return p.steps, nil
	}
	p.key()
	p.bucket()
	p.account()
	p.grant()
	p.impersonation()
	return p.steps, nil
}

// accountID returns the name of a new service account: 6 to 30 characters.
func accountID(name string) string {
	id := "penstock-" + strings.ReplaceAll(name, "_", "-")
	return strings.TrimRight(id[:min(len(id), 30)], "-")
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

func (p *preparation) reference(resource, attribute string) setup.Reference {
	return setup.Reference(resource + "." + p.label + "." + attribute)
}

// otherServer lists the permissions for a server whose policies are its own.
func (p *preparation) otherServer() {
	text := "# " + strings.Join(p.permissions(), "\n# ") + "\n"
	p.add("Create the bucket, and let the credentials use it with these permissions: the server of attribute endpoint is not Google's, and has its own way.", text, text)
}

// projectID returns the project as a word of a command. Without a known one the
// script reads gcloud's configuration.
func (p *preparation) projectID() string {
	if p.project == "" {
		return `"$PROJECT"`
	}
	return setup.Word(p.project)
}

// email returns the service account's address as a word of a command.
func (p *preparation) email() string {
	if p.Impersonate != "" {
		return setup.Word(p.Impersonate)
	}
	return p.accountID + `@"$PROJECT".iam.gserviceaccount.com`
}

// asidePrefixes returns the prefixes of objects that a replacement has put aside:
// of a set, or of an object of any stream in a repair.
func (p *preparation) asidePrefixes() []string {
	root, err := lake.CleanPrefix(p.Prefix)
	if err != nil {
		return nil // check reports the prefix
	}
	var prefixes []string
	for _, project := range p.request.Projects {
		for _, stream := range lake.Capabilities().Streams {
			if dir, err := lake.StreamDir(root, project.ID, stream); err == nil {
				prefixes = append(prefixes, strings.TrimSuffix(lake.AsideDir(dir+"x"), "x/"))
			}
		}
	}
	return prefixes
}

// bucket creates the bucket, with its lifecycle rule.
func (p *preparation) bucket() {
	create := []string{"gcloud", "storage", "buckets", "create", "gs://" + p.Bucket}
	location := "US"
	if p.Region != "" {
		create, location = append(create, "--location="+p.Region), p.Region
	}
	create = append(create, "--uniform-bucket-level-access", "--public-access-prevention")
	if p.KMSKey != "" {
		create = append(create, "--default-encryption-key="+p.KMSKey)
	}
	body := []any{field("name", p.Bucket), field("location", location), field("uniform_bucket_level_access", true), field("public_access_prevention", "enforced")}
	title, commands := "Create the bucket in "+location+", closed to the public. Unfinished uploads end by themselves after a week.", setup.Command(create...)
	if !p.files {
		commandsOfRule, block := p.lifecycle()
		title = "Create the bucket in " + location + ", closed to the public. Its rule deletes what interrupted replacements have put aside; unfinished uploads end by themselves after a week."
		commands, body = commands+commandsOfRule, append(body, block)
	}
	if p.KMSKey != "" {
		body = append(body, setup.Block{Type: "encryption", Body: []any{field("default_kms_key_name", p.KMSKey)}},
			field("depends_on", []any{setup.Reference("google_kms_crypto_key_iam_member." + p.label)}))
	}
	p.add(title, commands, setup.Resource("google_storage_bucket", p.label, body...))
}

// lifecycle returns the commands and the block of the rule that deletes what interrupted
// replacements have put aside.
func (p *preparation) lifecycle() (commands string, block setup.Block) {
	rule := setup.Object{field("rule", []any{setup.Object{
		field("action", setup.Object{field("type", "Delete")}),
		field("condition", setup.Object{field("age", asideDays), field("matchesPrefix", p.asidePrefixes())}),
	}})}
	commands = "LIFECYCLE=$(mktemp)\n" +
		strings.TrimSuffix(setup.Command("printf", `%s\n`, setup.JSON(rule)), "\n") + " > \"$LIFECYCLE\"\n" +
		strings.TrimSuffix(setup.Command("gcloud", "storage", "buckets", "update", "gs://"+p.Bucket), "\n") + " --lifecycle-file=\"$LIFECYCLE\"\n"
	return commands, setup.Block{Type: "lifecycle_rule", Body: []any{
		setup.Block{Type: "action", Body: []any{field("type", "Delete")}},
		setup.Block{Type: "condition", Body: []any{field("age", asideDays), field("matches_prefix", p.asidePrefixes())}},
	}}
}

// account creates the service account, and its key if the configuration has one.
func (p *preparation) account() {
	commands, arguments := "", []any{field("account_id", p.accountID)}
	if p.project == "" {
		commands = "PROJECT=$(gcloud config get-value project)\n"
	} else {
		arguments = append(arguments, field("project", p.project))
	}
	commands += "gcloud iam service-accounts create " + setup.Word(p.accountID) + " --project=" + p.projectID() + "\n"
	terraform := setup.Resource("google_service_account", p.label, arguments...)
	title := "Create the service account that writes."
	if p.request.Sets("credentials") && p.Impersonate == "" {
		title += " Its key is the value of credentials."
		commands += "gcloud iam service-accounts keys create key.json --iam-account=" + p.email() + "\n"
		terraform += "\n" + setup.Resource("google_service_account_key", p.label, field("service_account_id", p.reference("google_service_account", "name")))
	}
	p.add(title, commands, terraform)
}

// grant gives the account a role with exactly the permissions that it uses.
func (p *preparation) grant() {
	arguments := []any{field("role_id", p.roleID), field("title", "Penstock's destination"), field("permissions", p.permissions())}
	if p.project != "" {
		arguments = append(arguments, field("project", p.project))
	}
	p.add("Let the account use the bucket, with exactly the permissions that it needs.",
		"gcloud iam roles create "+p.roleID+" --project="+p.projectID()+" --title="+setup.Word("Penstock's destination")+" \\\n    --permissions="+strings.Join(p.permissions(), ",")+"\n"+
			"gcloud storage buckets add-iam-policy-binding "+setup.Word("gs://"+p.Bucket)+" \\\n    --member=serviceAccount:"+p.email()+" --role=projects/"+p.projectID()+"/roles/"+p.roleID+"\n",
		setup.Resource("google_project_iam_custom_role", p.label, arguments...)+"\n"+
			setup.Resource("google_storage_bucket_iam_member", p.label,
				field("bucket", p.reference("google_storage_bucket", "name")), field("role", p.reference("google_project_iam_custom_role", "id")),
				field("member", p.reference("google_service_account", "member"))))
}

// impersonation lets the host's own account act as the configured one.
func (p *preparation) impersonation() {
	if p.Impersonate == "" {
		return
	}
	p.add("Let the account that the host's own credentials belong to act as it: set CALLER to its address.",
		"CALLER=${CALLER:?the address of the service account that the host runs with}\n"+
			"gcloud iam service-accounts add-iam-policy-binding "+p.email()+" \\\n    --member=serviceAccount:\"$CALLER\" --role="+gcp.ActorRole+"\n",
		setup.Block{Type: "variable", Labels: []string{"caller"}, Body: []any{field("description", "The address of the service account that the host runs with")}}.String()+"\n"+
			setup.Resource("google_service_account_iam_member", p.label,
				field("service_account_id", p.reference("google_service_account", "name")), field("role", gcp.ActorRole),
				field("member", setup.Reference(`"serviceAccount:${var.caller}"`))))
}

// key creates the key, unless it exists, and lets Cloud Storage use it.
func (p *preparation) key() {
	if p.KMSKey == "" {
		return
	}
	parts := strings.Split(p.KMSKey, "/") // check has matched it
	project, location, ring, name := parts[1], parts[3], parts[5], parts[7]
	exists := func(create string, describe ...string) string {
		return strings.TrimSuffix(setup.Command(describe...), "\n") + " > /dev/null 2>&1 || " + create
	}
	at := []string{"--project=" + project, "--location=" + location}
	p.add("Create the key in "+location+", which must be the bucket's location, and let Cloud Storage's service agent use it.",
		exists(setup.Command(append([]string{"gcloud", "kms", "keyrings", "create", ring}, at...)...), append([]string{"gcloud", "kms", "keyrings", "describe", ring}, at...)...)+
			exists(setup.Command(append([]string{"gcloud", "kms", "keys", "create", name, "--keyring=" + ring, "--purpose=encryption"}, at...)...), "gcloud", "kms", "keys", "describe", p.KMSKey)+
			setup.Command("gcloud", "storage", "service-agent", "--authorize-cmek="+p.KMSKey),
		fmt.Sprintf("data \"google_storage_project_service_account\" %q {}\n\n", p.label)+
			setup.Resource("google_kms_key_ring", p.label, field("name", ring), field("project", project), field("location", location))+"\n"+
			setup.Resource("google_kms_crypto_key", p.label, field("name", name), field("key_ring", p.reference("google_kms_key_ring", "id")))+"\n"+
			setup.Resource("google_kms_crypto_key_iam_member", p.label, field("crypto_key_id", p.reference("google_kms_crypto_key", "id")),
				field("role", keyRole), field("member", setup.Reference("data.google_storage_project_service_account."+p.label+".member"))))
}
