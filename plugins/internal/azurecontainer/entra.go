package azurecontainer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/penstock-io/penstock/sdk"
)

// entraText returns the first sentence of an answer of Entra ID, or the client's own
// text, in one line. The rest of the answer repeats ids and the time.
func entraText(e *azidentity.AuthenticationFailedError) string {
	if e.RawResponse == nil {
		text, _, _ := strings.Cut(e.Error(), " To troubleshoot")
		return firstLine(text)
	}
	text := fmt.Sprintf("%d %s", e.RawResponse.StatusCode, http.StatusText(e.RawResponse.StatusCode))
	if description := entraDescription(e); description != "" {
		text += ": " + description
	}
	return text
}

func entraDescription(e *azidentity.AuthenticationFailedError) string {
	if e.RawResponse == nil {
		return ""
	}
	data, err := runtime.Payload(e.RawResponse)
	if err != nil {
		return ""
	}
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return ""
	}
	if answer.Description == "" {
		return answer.Error
	}
	text, _, _ := strings.Cut(answer.Description, " Trace ID:")
	return firstLine(text)
}

// entraCode finds the number of an error of Entra ID in its description.
var entraCode = regexp.MustCompile(`AADSTS(\d+)`)

// classifyToken classifies an error of getting a token. A refusal has the class
// configuration; an outage of Entra ID or of the machine's identity service is
// retryable.
func (s *store) classifyToken(e *azidentity.AuthenticationFailedError, err error) error {
	if hint := s.config.entraHint(e, err); hint != "" {
		return sdk.Configuration(err, hint)
	}
	if s.config.method() == byManaged {
		err = fmt.Errorf("%w; if this continues: the machine has no managed identity (`az vm identity assign --resource-group GROUP --name MACHINE`), or cannot reach its identity service", err)
	}
	return sdk.Retryable(err, 0)
}

// entraHint returns the next step for a person after a refusal; empty for an outage.
func (c config) entraHint(e *azidentity.AuthenticationFailedError, err error) string {
	if e.RawResponse == nil {
		return c.tokenFileHint(err)
	}
	status := e.RawResponse.StatusCode
	if found := entraCode.FindStringSubmatch(entraDescription(e)); found != nil {
		if hint := c.codeHint(found[1]); hint != "" {
			return hint
		}
	}
	if status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout {
		return ""
	}
	if c.method() == byManaged {
		return c.identityHint()
	}
	return "look the number up at https://login.microsoftonline.com/error"
}

// tokenFileHint is for a service account token that cannot be read. The client gives
// no more than a text.
func (c config) tokenFileHint(err error) string {
	if c.method() == byWorkload && (strings.Contains(err.Error(), "no such file") || strings.Contains(err.Error(), "permission denied")) {
		return "the file of AZURE_FEDERATED_TOKEN_FILE must be readable for the host's user"
	}
	return ""
}

// identityHint is for an identity service that knows no such identity.
func (c config) identityHint() string {
	if c.ClientID != "" {
		return "the user-assigned identity of client_id is not attached to this machine: `az vm identity assign --resource-group GROUP --name MACHINE --identities ID`"
	}
	return "the machine has no system-assigned identity: `az vm identity assign --resource-group GROUP --name MACHINE`, or set client_id to that of a user-assigned one"
}

// codeHint returns the hint for an error number of Entra ID.
func (c config) codeHint(code string) string {
	client := c.clientName()
	newSecret := fmt.Sprintf("`az ad app credential reset --id %s --append --query password --output tsv` makes a new one", client)
	switch code {
	case "7000215":
		return "client_secret is wrong: it must be the secret's value, not its id; " + newSecret
	case "7000222":
		return "client_secret has expired: " + newSecret
	case "700016":
		return fmt.Sprintf("there is no application %s in the tenant %s: set client_id to the \"Application (client) ID\", and tenant_id to the tenant that it is in", client, c.TenantID)
	case "7000229":
		return fmt.Sprintf("the application has no service principal in the tenant: `az ad sp create --id %s`", client)
	case "90002", "900023", "50059":
		return "there is no such tenant: set tenant_id to what `az account show --query tenantId --output tsv` prints; for another cloud, set endpoint to the account's there"
	case "700024":
		return "the service account token is not valid now: set this machine's clock, and see that Kubernetes renews the file of AZURE_FEDERATED_TOKEN_FILE"
	case "70021", "700211", "700212", "700213":
		return fmt.Sprintf("no federated credential of the application matches the service account's token: `az ad app federated-credential list --id %s` must have its issuer, subject and audience (api://AzureADTokenExchange)", client)
	case "500011", "65001":
		return "the tenant does not know Azure Storage (https://storage.azure.com): tenant_id must be that of the account's subscription"
	case "53003", "530003":
		return "a conditional access policy forbids this sign-in: exclude the service principal, or allow this machine's address"
	case "7000112":
		return "the application is disabled: enable it in Entra ID"
	}
	return ""
}
