package azurecontainer

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

// hint returns the next step for a person who can correct a refusal of the service.
// It is empty for errors that need no person.
func (s *store) hint(name string, e *azcore.ResponseError, err error) string {
	c := s.config
	code := bloberror.Code(e.ErrorCode)
	switch code {
	case bloberror.ContainerNotFound, bloberror.ContainerBeingDeleted, bloberror.ContainerDisabled:
		return fmt.Sprintf("create the container, `az storage container create --account-name %s --name %s --auth-mode login`, or set container to one that exists", c.StorageAccount, c.Container)
	case bloberror.AuthorizationPermissionMismatch:
		return c.permissionHint()
	case bloberror.AuthorizationFailure:
		return c.networkHint()
	case bloberror.AuthenticationFailed, bloberror.InvalidAuthenticationInfo, bloberror.NoAuthenticationInformation:
		return c.authenticationHint()
	case "KeyBasedAuthenticationNotPermitted":
		return fmt.Sprintf("the account forbids access keys, and signatures made with them: use client_secret, workload_identity or managed_identity, or allow them with `az storage account update --name %s --allow-shared-key-access true`", c.StorageAccount)
	case bloberror.InsufficientAccountPermissions, bloberror.AuthorizationServiceMismatch, bloberror.AuthorizationResourceTypeMismatch,
		bloberror.AuthorizationProtocolMismatch, bloberror.AuthorizationSourceIPMismatch, bloberror.UnauthorizedBlobOverwrite:
		return "sas_token does not allow this request (" + string(code) + "): " + c.newSAS()
	case bloberror.AccountIsDisabled:
		return fmt.Sprintf("the storage account %s is disabled: look at its subscription", c.StorageAccount)
	case "BlobImmutableDueToPolicy", bloberror.ImmutabilityPolicyDeleteOnLockedPolicy:
		return fmt.Sprintf("an immutability policy or legal hold forbids to overwrite and delete blobs, which manifests and replaced sets need: use a container without one, or remove it (`az storage container immutability-policy show --account-name %s --container-name %s`)", c.StorageAccount, c.Container)
	case bloberror.LeaseIDMissing, bloberror.LeaseIDMismatchWithBlobOperation, bloberror.LeaseLost:
		return fmt.Sprintf("another program holds a lease on the blob: `az storage blob lease break --account-name %s --container-name %s --blob-name '%s' --auth-mode login`", c.StorageAccount, c.Container, name)
	case bloberror.BlobArchived, bloberror.BlobBeingRehydrated:
		return fmt.Sprintf("a lifecycle rule has moved the blob to the archive tier: exclude blobs below _penstock/ and sets from it, and bring this one back with `az storage blob set-tier --account-name %s --container-name %s --name '%s' --tier Hot --auth-mode login`", c.StorageAccount, c.Container, name)
	case bloberror.SnapshotsPresent:
		return "the blob has snapshots, which the plugin does not delete: delete them, or exclude the container from the program that makes them"
	case bloberror.InvalidBlobType:
		return "a blob of another type has this name: delete it, or set another prefix"
	}
	return c.hintByText(e, err)
}

// hintByText returns the hint of errors that have no code of their own.
func (c config) hintByText(e *azcore.ResponseError, err error) string {
	text := strings.ToLower(e.ErrorCode + " " + err.Error())
	switch {
	case strings.Contains(text, "encryption") || strings.Contains(text, "keyvault"):
		return fmt.Sprintf("encryption_scope must name an enabled scope of the account, and the container must allow it: `az storage account encryption-scope list --account-name %s --query [].name`; its key must be readable in the key vault", c.StorageAccount)
	case strings.Contains(text, "directory") || strings.Contains(text, "current state of the entity") || strings.Contains(text, "pathconflict"):
		return "in an account with a hierarchical namespace, a directory has the blob's name, or a blob has its directory's: remove it, or set another prefix"
	case strings.Contains(text, "x-ms-version") || strings.Contains(text, "unsupported version"):
		return "the server does not speak the version of the protocol that the client sends: upgrade it"
	case e.StatusCode == http.StatusUnauthorized:
		return c.authenticationHint()
	case e.StatusCode == http.StatusForbidden:
		return c.permissionHint()
	}
	return ""
}

// permissionHint names the grant that lets the credentials use the container.
func (c config) permissionHint() string {
	if c.method() == bySAS {
		return "sas_token does not allow this request: " + c.newSAS()
	}
	return fmt.Sprintf("roles for managing, such as Owner and Contributor, give no access to data: "+
		"`az role assignment create --assignee %s --role %q --scope \"%s\"`, and wait up to 10 minutes until it holds; `penstock destinations setup` prints a role with exactly the permissions that are used",
		c.assignee(), dataRole, c.scopeCommand())
}

// assignee names the identity in commands.
func (c config) assignee() string {
	if c.ClientID != "" {
		return c.ClientID
	}
	return "PRINCIPAL_ID"
}

// scopeCommand is the resource id of the container, for a shell.
func (c config) scopeCommand() string {
	return fmt.Sprintf("$(az storage account show --name %s --query id --output tsv)/blobServices/default/containers/%s", c.StorageAccount, c.Container)
}

func (c config) networkHint() string {
	hint := fmt.Sprintf("the account's network rules do not let this machine in: `az storage account network-rule add --account-name %s --ip-address ADDRESS`, or a private endpoint", c.StorageAccount)
	if c.method() == bySAS {
		hint += "; or sas_token does not allow the request: " + c.newSAS()
	}
	return hint
}

// authenticationHint tells why the service does not believe the credentials.
func (c config) authenticationHint() string {
	switch c.method() {
	case byKey:
		return fmt.Sprintf("the credentials are not accepted: account_key is not a key of %s any more: `az storage account keys list --account-name %s --query [0].value --output tsv`; or this machine's clock is wrong", c.StorageAccount, c.StorageAccount)
	case bySAS:
		return "the credentials are not accepted: sas_token " + c.validity() + "does not hold now, or its key or policy was changed; " + c.newSAS() + "; or this machine's clock is wrong"
	default:
		return fmt.Sprintf("the credentials are not accepted: the token is of another tenant than the storage account's: set tenant_id to that of its subscription (`az account show --query tenantId --output tsv`); or %s is an account of another cloud", c.StorageAccount)
	}
}

// validity shows from when to when a signature holds.
func (c config) validity() string {
	token, err := url.ParseQuery(c.sas())
	if err != nil || token.Get("se") == "" {
		return ""
	}
	text := "(until " + token.Get("se")
	if start := token.Get("st"); start != "" {
		text = "(from " + start + " until " + token.Get("se")
	}
	return text + ") "
}

// newSAS asks for a signature.
func (c config) newSAS() string { return "make a new one with " + c.sasCommand() }
