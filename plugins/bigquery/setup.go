package bigquery

import (
	"slices"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// preparation makes the steps of one setup.
type preparation struct {
	config
	request sdk.SetupRequest
	label   string // of Terraform resources
	// accountID is the account's name before the at sign, accountProject its project.
	accountID, accountProject string
	steps                     []sdk.SetupStep
}

// prepare implements sdk.Plugin's Setup.
func prepare(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	var c config
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	if err := c.check(nil); err != nil {
		return nil, err
	}
	_, name, _ := strings.Cut(r.Destination, ".")
	p := &preparation{config: c, request: r, label: setup.Label(name), accountID: accountID(name), accountProject: c.Project}
	if local, domain, ok := strings.Cut(c.Impersonate, "@"); ok {
		p.accountID, p.accountProject = local, strings.TrimSuffix(domain, ".iam.gserviceaccount.com")
	}
	if !c.account().IsGoogle() {
		p.otherServer()
		return p.steps, nil
	}
	p.enable()
	p.dataset()
	p.createAccount()
	p.grantProject()
	p.grantDataset()
	p.bucket()
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

func (p *preparation) email() string {
	return p.accountID + "@" + p.accountProject + ".iam.gserviceaccount.com"
}

// otherServer lists the permissions for a server whose policies are its own.
func (p *preparation) otherServer() {
	text := "# " + strings.Join(slices.Concat(p.permissions(onProject), p.permissions(onDataset), p.permissions(onBucket)), "\n# ") + "\n"
	p.add("Create the dataset, and let the credentials use it with these permissions: the server of attribute endpoint is not Google's, and has its own way.", text, text)
}

func (p *preparation) enable() {
	p.add("Enable BigQuery's API.",
		setup.Command("gcloud", "services", "enable", "bigquery.googleapis.com", "--project="+p.Project),
		setup.Resource("google_project_service", p.label, field("project", p.Project), field("service", "bigquery.googleapis.com"), field("disable_on_destroy", false)))
}

// dataset creates the dataset, without default expirations: they would delete days
// of a backfill.
func (p *preparation) dataset() {
	location := p.location()
	p.add("Create the dataset in "+location+", without default expirations. It cannot be moved later.",
		setup.Command("bq", "--location="+location, "mk", "--dataset", p.Project+":"+p.Dataset),
		setup.Resource("google_bigquery_dataset", p.label, field("project", p.Project), field("dataset_id", p.Dataset), field("location", location),
			field("depends_on", []any{setup.Reference("google_project_service." + p.label)})))
}

// location is that of the dataset, and of the staging bucket.
func (p *preparation) location() string {
	if p.Region != "" {
		return p.Region
	}
	return "EU"
}

func (p *preparation) createAccount() {
	commands := setup.Command("gcloud", "iam", "service-accounts", "create", p.accountID, "--project="+p.accountProject)
	terraform := setup.Resource("google_service_account", p.label, field("project", p.accountProject), field("account_id", p.accountID))
	title := "Create the service account that writes."
	if p.request.Sets("credentials") && p.Impersonate == "" {
		title += " Its key is the value of credentials."
		commands += setup.Command("gcloud", "iam", "service-accounts", "keys", "create", "key.json", "--iam-account="+p.email())
		terraform += "\n" + setup.Resource("google_service_account_key", p.label, field("service_account_id", p.reference("google_service_account", "name")))
	}
	p.add(title, commands, terraform)
}

func (p *preparation) grantProject() {
	role := jobRole
	if p.CreateDataset {
		role = userRole
	}
	p.add("Let the account run jobs in the project.",
		setup.Command("gcloud", "projects", "add-iam-policy-binding", p.Project, "--member=serviceAccount:"+p.email(), "--role="+role, "--condition=None"),
		setup.Resource("google_project_iam_member", p.label, field("project", p.Project), field("role", role), field("member", p.reference("google_service_account", "member"))))
}

func (p *preparation) grantDataset() {
	p.add("Let the account use the dataset, and no other.",
		setup.Command(p.config.grantDataset("serviceAccount:"+p.email())...),
		setup.Resource("google_bigquery_dataset_iam_member", p.label, field("project", p.Project), field("dataset_id", p.reference("google_bigquery_dataset", "dataset_id")),
			field("role", dataRole), field("member", p.reference("google_service_account", "member"))))
}

// stagedDays is the age at which a rule of the bucket deletes objects that a pipeline has
// left which does not run any more. It is longer than any attempt.
const stagedDays = 2

// bucket creates the staging bucket with its rule, and lets the account use it.
func (p *preparation) bucket() {
	if !p.stages() {
		return
	}
	location := p.location()
	condition := []setup.Field{field("age", stagedDays), field("matchesPrefix", []any{"penstock_staging/"})}
	rule := setup.Object{field("rule", []any{setup.Object{field("action", setup.Object{field("type", "Delete")}), field("condition", setup.Object(condition))}})}
	p.add("Create the staging bucket in "+location+", the dataset's location. Its rule deletes what interrupted runs have left.",
		setup.Command("gcloud", "storage", "buckets", "create", "gs://"+p.StagingBucket, "--project="+p.Project, "--location="+location, "--uniform-bucket-level-access", "--public-access-prevention")+
			"LIFECYCLE=$(mktemp)\n"+
			strings.TrimSuffix(setup.Command("printf", `%s\n`, setup.JSON(rule)), "\n")+" > \"$LIFECYCLE\"\n"+
			strings.TrimSuffix(setup.Command("gcloud", "storage", "buckets", "update", "gs://"+p.StagingBucket), "\n")+" --lifecycle-file=\"$LIFECYCLE\"\n",
		setup.Resource("google_storage_bucket", p.label,
			field("project", p.Project), field("name", p.StagingBucket), field("location", location), field("uniform_bucket_level_access", true), field("public_access_prevention", "enforced"),
			setup.Block{Type: "lifecycle_rule", Body: []any{
				setup.Block{Type: "action", Body: []any{field("type", "Delete")}},
				setup.Block{Type: "condition", Body: []any{field("age", stagedDays), field("matches_prefix", []any{"penstock_staging/"})}},
			}}))
	member := "serviceAccount:" + p.email()
	p.add("Let the account use the staging bucket.",
		setup.Command(p.grantBucket(member, objectRole)...)+setup.Command(p.grantBucket(member, bucketRole)...),
		p.bucketMember("objects", objectRole)+"\n"+p.bucketMember("bucket", bucketRole))
}

func (p *preparation) bucketMember(of, role string) string {
	return setup.Resource("google_storage_bucket_iam_member", p.label+"_"+of,
		field("bucket", p.reference("google_storage_bucket", "name")), field("role", role), field("member", p.reference("google_service_account", "member")))
}

// impersonation lets the host's own account act as the configured one.
func (p *preparation) impersonation() {
	if p.Impersonate == "" {
		return
	}
	p.add("Let the account that the host's own credentials belong to act as it: set CALLER to its address.",
		"CALLER=${CALLER:?the address of the service account that the host runs with}\n"+
			"gcloud iam service-accounts add-iam-policy-binding "+setup.Word(p.email())+" \\\n    --member=serviceAccount:\"$CALLER\" --role="+gcp.ActorRole+"\n",
		setup.Block{Type: "variable", Labels: []string{"caller"}, Body: []any{field("description", "The address of the service account that the host runs with")}}.String()+"\n"+
			setup.Resource("google_service_account_iam_member", p.label,
				field("service_account_id", p.reference("google_service_account", "name")), field("role", gcp.ActorRole),
				field("member", setup.Reference(`"serviceAccount:${var.caller}"`))))
}
