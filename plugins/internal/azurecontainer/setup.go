package azurecontainer

import (
	"fmt"
	"os"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// preparation makes the steps of one setup.
type preparation struct {
	config
	request sdk.SetupRequest
	label   string // of Terraform resources
	name    string // of the application and the role
	steps   []sdk.SetupStep
}

// prepare implements sdk.Plugin's Setup.
func prepare(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	var c config
	if err := r.Decode(&c); err != nil {
		return nil, err
	}
	return c.withEnvironment(os.LookupEnv).setup(r)
}

func (c config) setup(r sdk.SetupRequest) ([]sdk.SetupStep, error) {
	m := &mistakes{}
	c.checkNames(m)
	c.checkEndpoint(m)
	if len(m.found) > 0 {
		return nil, m.found
	}
	_, name, _ := strings.Cut(r.Destination, ".")
	p := &preparation{config: c, request: r, label: setup.Label(name), name: "penstock-" + name}
	p.account()
	p.lifecycle()
	p.scope()
	p.credentials()
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

func (p *preparation) reference(resource, attribute string) setup.Reference {
	return setup.Reference(resource + "." + p.label + "." + attribute)
}

// account creates the storage account and the container.
func (p *preparation) account() {
	p.add("Create the storage account and the container, closed to the public. Set RESOURCE_GROUP, and LOCATION such as westeurope.",
		"RESOURCE_GROUP=${RESOURCE_GROUP:?the resource group of the storage account}\n"+
			"LOCATION=${LOCATION:?the region of the storage account}\n"+
			strings.TrimSuffix(setup.Command("az", "storage", "account", "create", "--name", p.StorageAccount, "--sku", "Standard_ZRS", "--kind", "StorageV2",
				"--min-tls-version", "TLS1_2", "--allow-blob-public-access", "false"), "\n")+
			" \\\n    --resource-group \"$RESOURCE_GROUP\" --location \"$LOCATION\"\n"+
			setup.Command("az", "storage", "container", "create", "--account-name", p.StorageAccount, "--name", p.Container, "--auth-mode", "login"),
		setup.Block{Type: "variable", Labels: []string{"resource_group"}, Body: []any{field("description", "The resource group of the storage account")}}.String()+"\n"+
			setup.Block{Type: "variable", Labels: []string{"location"}, Body: []any{field("description", "The region of the storage account")}}.String()+"\n"+
			setup.Resource("azurerm_storage_account", p.label, field("name", p.StorageAccount),
				field("resource_group_name", setup.Reference("var.resource_group")), field("location", setup.Reference("var.location")),
				field("account_tier", "Standard"), field("account_replication_type", "ZRS"), field("min_tls_version", "TLS1_2"), field("allow_nested_items_to_be_public", false))+"\n"+
			setup.Resource("azurerm_storage_container", p.label, field("name", p.Container), field("storage_account_id", p.reference("azurerm_storage_account", "id"))))
}

// directories returns the common start of the blobs of each project, with the
// container, as rules of the account name them.
func (p *preparation) directories() []string {
	root, err := lake.CleanPrefix(p.Prefix)
	if err != nil {
		return nil // checkNames reports the prefix
	}
	var prefixes []string
	for _, project := range p.request.Projects {
		if root == "" {
			prefixes = append(prefixes, fmt.Sprintf("%s/%d/", p.Container, project.ID))
		} else {
			prefixes = append(prefixes, fmt.Sprintf("%s/%s/%d/", p.Container, root, project.ID))
		}
	}
	return prefixes
}

// oldVersions is the age in days at which a rule deletes versions and snapshots
// that replaced manifests and sets have left.
const oldVersions = 30

// lifecycle limits the cost of versions: uncommitted blocks end by themselves.
func (p *preparation) lifecycle() {
	deletion := setup.Object{field("delete", setup.Object{field("daysAfterCreationGreaterThan", oldVersions)})}
	policy := setup.Object{field("rules", []any{setup.Object{
		field("enabled", true), field("name", p.name), field("type", "Lifecycle"),
		field("definition", setup.Object{
			field("filters", setup.Object{field("blobTypes", []string{"blockBlob"}), field("prefixMatch", p.directories())}),
			field("actions", setup.Object{field("version", deletion), field("snapshot", deletion)}),
		}),
	}})}
	p.add(fmt.Sprintf("Delete versions of replaced manifests and sets after %d days, where the account keeps versions. The service drops blocks that no attempt commits after a week. If the account has a policy already, add the rule to it: this replaces it.", oldVersions),
		strings.TrimSuffix(setup.Command("az", "storage", "account", "management-policy", "create", "--account-name", p.StorageAccount, "--policy", setup.JSON(policy)), "\n")+
			" \\\n    --resource-group \"$RESOURCE_GROUP\"\n",
		setup.Resource("azurerm_storage_management_policy", p.label, field("storage_account_id", p.reference("azurerm_storage_account", "id")),
			setup.Block{Type: "rule", Body: []any{
				field("name", p.name), field("enabled", true),
				setup.Block{Type: "filters", Body: []any{field("blob_types", []string{"blockBlob"}), field("prefix_match", p.directories())}},
				setup.Block{Type: "actions", Body: []any{
					setup.Block{Type: "version", Body: []any{field("delete_after_days_since_creation", oldVersions)}},
					setup.Block{Type: "snapshot", Body: []any{field("delete_after_days_since_creation_greater_than", oldVersions)}},
				}},
			}}))
}

// scope creates the encryption scope, with a key of the service.
func (p *preparation) scope() {
	if p.EncryptionScope == "" {
		return
	}
	p.add("Create the encryption scope "+p.EncryptionScope+" with a key of the service. For a key of your own add --key-source Microsoft.KeyVault and --key-uri.",
		strings.TrimSuffix(setup.Command("az", "storage", "account", "encryption-scope", "create", "--account-name", p.StorageAccount, "--name", p.EncryptionScope,
			"--key-source", "Microsoft.Storage"), "\n")+" \\\n    --resource-group \"$RESOURCE_GROUP\"\n",
		setup.Resource("azurerm_storage_encryption_scope", p.label, field("name", p.EncryptionScope),
			field("storage_account_id", p.reference("azurerm_storage_account", "id")), field("source", "Microsoft.Storage")))
}

// credentials creates the identity that writes, or prints its key.
func (p *preparation) credentials() {
	switch {
	case p.AccountKey != "" || p.request.Sets("account_key"):
		p.add("The account's key is the value of account_key. It opens the whole account: a service principal can be limited to the container.",
			setup.Command("az", "storage", "account", "keys", "list", "--account-name", p.StorageAccount, "--query", "[0].value", "--output", "tsv"),
			"# azurerm_storage_account."+p.label+".primary_access_key\n")
	case p.SASToken != "" || p.request.Sets("sas_token"):
		p.add("Make the signature that is the value of sas_token: for the container, with exactly the permissions that are used.",
			"EXPIRY=${EXPIRY:?the day on which it expires, such as 2030-01-01}\n"+
				strings.TrimSuffix(setup.Command(p.generateSAS()...), "\n")+" --expiry \"$EXPIRY\"\n",
			"# az storage container generate-sas makes the signature; Terraform would keep it in its state.\n")
	default:
		p.principal()
	}
}

// principal creates the identity, and gives it a role on the container with
// exactly the permissions that are used.
func (p *preparation) principal() {
	assignee, member := p.identity()
	actions := dataActions()
	p.add("Let the identity use the container, with exactly the permissions that it needs; \""+dataRole+"\" has them, too. A new assignment holds after up to 10 minutes.",
		"SCOPE=$("+strings.TrimSuffix(setup.Command("az", "storage", "account", "show", "--name", p.StorageAccount, "--query", "id", "--output", "tsv"), "\n")+")"+
			setup.Word("/blobServices/default/containers/"+p.Container)+"\n"+
			"az role definition create --role-definition \"{\\\"Name\\\": \\\""+p.name+"\\\", \\\"Description\\\": \\\"Penstock's destination\\\", \\\"Actions\\\": [],\n"+
			"  \\\"DataActions\\\": [\\\""+strings.Join(actions, `\", \"`)+"\\\"],\n  \\\"AssignableScopes\\\": [\\\"$SCOPE\\\"]}\"\n"+
			"az role assignment create --assignee "+assignee+" --role "+setup.Word(p.name)+" --scope \"$SCOPE\"\n",
		setup.Resource("azurerm_role_definition", p.label, field("name", p.name), field("scope", p.reference("azurerm_storage_account", "id")),
			setup.Block{Type: "permissions", Body: []any{field("data_actions", actions)}})+"\n"+
			setup.Resource("azurerm_role_assignment", p.label, field("scope", p.reference("azurerm_storage_container", "id")),
				field("role_definition_id", p.reference("azurerm_role_definition", "role_definition_resource_id")), field("principal_id", member)))
}

// identity creates the identity unless it exists, and returns it as a word of a
// command and for Terraform.
func (p *preparation) identity() (assignee string, member setup.Reference) {
	variable := setup.Block{Type: "variable", Labels: []string{"principal_id"}, Body: []any{field("description", "The object id of the identity that the host runs with")}}.String()
	if p.ManagedIdentity {
		p.add("The host's machine has the identity. Set PRINCIPAL_ID to its object id.", "PRINCIPAL_ID=${PRINCIPAL_ID:?the object id of the managed identity of the machine}\n", variable)
		return `"$PRINCIPAL_ID"`, "var.principal_id"
	}
	if p.ClientID != "" {
		p.add("The service principal of client_id must exist in the account's tenant.", "az ad sp create --id "+setup.Word(p.ClientID)+" || true\n", variable)
		return setup.Word(p.ClientID), "var.principal_id"
	}
	create := "CLIENT_ID=$(" + setup.Line("az", "ad", "app", "create", "--display-name", p.name, "--query", "appId", "--output", "tsv") + ")\naz ad sp create --id \"$CLIENT_ID\"\n"
	app := setup.Resource("azuread_application", p.label, field("display_name", p.name)) + "\n" +
		setup.Resource("azuread_service_principal", p.label, field("client_id", p.reference("azuread_application", "client_id")))
	if p.WorkloadIdentity {
		p.add("Create the application, and trust the tokens of the cluster's service account. Set ISSUER to the cluster's OIDC issuer and SUBJECT to system:serviceaccount:NAMESPACE:NAME.",
			create+"ISSUER=${ISSUER:?the OIDC issuer of the cluster}\nSUBJECT=${SUBJECT:?system:serviceaccount:NAMESPACE:NAME}\n"+
				"az ad app federated-credential create --id \"$CLIENT_ID\" --parameters \"{\\\"name\\\": \\\""+p.name+"\\\", \\\"issuer\\\": \\\"$ISSUER\\\",\n"+
				"  \\\"subject\\\": \\\"$SUBJECT\\\", \\\"audiences\\\": [\\\"api://AzureADTokenExchange\\\"]}\"\n",
			app+"\n"+setup.Block{Type: "variable", Labels: []string{"issuer"}, Body: []any{field("description", "The cluster's OIDC issuer")}}.String()+"\n"+
				setup.Block{Type: "variable", Labels: []string{"subject"}, Body: []any{field("description", "system:serviceaccount:NAMESPACE:NAME")}}.String()+"\n"+
				setup.Resource("azuread_application_federated_identity_credential", p.label, field("application_id", p.reference("azuread_application", "id")),
					field("display_name", p.name), field("issuer", setup.Reference("var.issuer")), field("subject", setup.Reference("var.subject")),
					field("audiences", []string{"api://AzureADTokenExchange"})))
	} else {
		p.add("Create the application. The last command prints client_id, client_secret and tenant_id.",
			create+"az ad app credential reset --id \"$CLIENT_ID\" --append --query \"{client_id: appId, client_secret: password, tenant_id: tenant}\"\n",
			app+"\n"+setup.Resource("azuread_application_password", p.label, field("application_id", p.reference("azuread_application", "id"))))
	}
	return `"$CLIENT_ID"`, p.reference("azuread_service_principal", "object_id")
}
