package snowflake

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/azurecontainer"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// azureAttributes are the attributes of a stage at Azure Blob Storage.
type azureAttributes struct {
	ClientID         string `json:"stage_client_id"`
	ClientSecret     string `json:"stage_client_secret"`
	TenantID         string `json:"stage_tenant_id"`
	WorkloadIdentity bool   `json:"stage_workload_identity"`
	ManagedIdentity  bool   `json:"stage_managed_identity"`
	AccountKey       string `json:"stage_account_key"`
	SASToken         string `json:"stage_sas_token"`
	EncryptionScope  string `json:"stage_encryption_scope"`
}

// azureExample is a stage's URL at Azure.
const azureExample = "azure://acmestage.blob.core.windows.net/stage/penstock/"

// azure is Azure Blob Storage.
var azure = cloud{
	name: "Azure", schemes: []string{"azure"}, example: azureExample,
	attributes: azurecontainer.Attributes("storage_account", "container", "prefix", "format", "endpoint"),
	texts: renamed([]string{
		"client_id", "client_secret", "tenant_id", "workload_identity", "managed_identity", "account_key", "sas_token", "encryption_scope",
	}, "storage_account", "stage_url", "or set container to one", "or set stage_url to one", "set another prefix", "set another stage_url",
		"folders belong in prefix", "folders follow it", "a URL belongs in endpoint", "it is the first part of the host in stage_url", "endpoint must name", "stage_endpoint must name",
		"change the endpoint", "change stage_endpoint", "belongs in container, folders in prefix", "and folders belong in stage_url",
		"manifests and replaced sets need", "a stage needs", "versions of replaced manifests and sets", "versions of files that were removed", "exclude blobs below _penstock/ and sets from it", "exclude the container from it"),
	open: func(e external, u *url.URL) (bucket, error) {
		host := azureHost.FindStringSubmatch(u.Host)
		name, folders, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
		switch {
		case strings.Contains(u.Host, ".dfs."):
			return nil, fmt.Errorf("Snowflake takes the host with .blob. for accounts of Data Lake Storage, too: %q", strings.Replace(e.URL, ".dfs.", ".blob.", 1))
		case host == nil:
			return nil, fmt.Errorf("the host is the account's blob service, as in %q; the address of another server belongs in stage_endpoint", azureExample)
		case name == "":
			return nil, fmt.Errorf("the container follows the host, as in %q", azureExample)
		}
		endpoint := e.Endpoint
		if endpoint == "" && host[2] != "windows.net" {
			endpoint = "https://" + u.Host
		}
		return azureContainer{azurecontainer.Config{
			StorageAccount: host[1], Container: name, Prefix: folders, Endpoint: endpoint,
			ClientID: e.ClientID, ClientSecret: e.ClientSecret, TenantID: e.TenantID, WorkloadIdentity: e.WorkloadIdentity, ManagedIdentity: e.ManagedIdentity,
			AccountKey: e.AccountKey, SASToken: e.SASToken, EncryptionScope: e.EncryptionScope,
		}.Complete(), u.Host}, nil
	},
}

// azureHost is the form of the host in a URL: the account, and the cloud's name.
var azureHost = regexp.MustCompile(`^([a-z0-9]{3,24})\.blob\.core\.(windows\.net|usgovcloudapi\.net)$`)

// azureContainer is a container at Azure Blob Storage.
type azureContainer struct {
	config azurecontainer.Config
	host   string // in the URL
}

func (b azureContainer) check(found sdk.Diagnostics) error { return b.config.Check(found) }

func (b azureContainer) store(_ context.Context, _ sdk.Project, shared *pools) (lake.Store, error) {
	return b.config.Store(shared.azure)
}

func (b azureContainer) root() string    { return "azure://" + b.host + "/" + b.config.Container + "/" }
func (b azureContainer) folders() string { return b.config.Prefix }

func (b azureContainer) setup(r sdk.SetupRequest) ([]sdk.SetupStep, error) { return b.config.Setup(r) }

// readRole is the predefined role with which Snowflake loads files
// (https://docs.snowflake.com/en/user-guide/data-load-azure-config).
const readRole = "Storage Blob Data Reader"

// reader gives Snowflake's service principal a role on the container. The principal is in
// the tenant when an administrator has followed the link that the integration shows.
func (b azureContainer) reader(p *preparation) reader {
	label := p.label + "_snowflake"
	return reader{
		provider: "AZURE",
		options:  " AZURE_TENANT_ID = '" + placeOf("TENANT") + "'",
		variable: variable{"TENANT", "the id of the storage account's tenant", setup.Line("az", "account", "show", "--query", "tenantId", "--output", "tsv")},
		step: sdk.SetupStep{
			Title: "Let Snowflake read the container. Open the AZURE_CONSENT_URL that DESC INTEGRATION has shown, as an administrator of the tenant, and accept; put the part of AZURE_MULTI_TENANT_APP_NAME before the underscore in place of APP_NAME. The principal can take an hour to appear, and its role 10 minutes to hold.",
			Text: "READER=$(" + setup.Line("az", "ad", "sp", "list", "--display-name", "APP_NAME", "--query", "[0].id", "--output", "tsv") + ")\n" +
				"az role assignment create --assignee-object-id \"$READER\" --assignee-principal-type ServicePrincipal \\\n    --role " + setup.Word(readRole) + " --scope " + b.config.Scope() + "\n",
		},
		before: []string{setup.Block{Type: "data", Labels: []string{"azurerm_client_config", p.label}}.String()},
		fields: []any{field("azure_tenant_id", setup.Reference("data.azurerm_client_config."+p.label+".tenant_id"))},
		after: []string{
			"# Apply the resources above first, and open the link of this output as an administrator of the tenant: the principal exists when it is accepted.\n" +
				setup.Block{Type: "output", Labels: []string{"snowflake_consent_url"}, Body: []any{field("value", p.integrated("azure_consent_url"))}}.String(),
			setup.Block{Type: "data", Labels: []string{"azuread_service_principal", label}, Body: []any{field("display_name", setup.Reference(`split("_", `+string(p.integrated("azure_multi_tenant_app_name"))+`)[0]`))}}.String(),
			setup.Resource("azurerm_role_assignment", label, field("scope", setup.Reference("azurerm_storage_container."+p.label+".id")),
				field("role_definition_name", readRole), field("principal_id", setup.Reference("data.azuread_service_principal."+label+".object_id"))),
		},
	}
}
