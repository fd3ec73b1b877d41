package azurecontainer

import (
	"slices"
	"strings"

	"github.com/penstock-io/penstock/sdk/setup"
)

// permission is a permission on blobs that the plugin needs.
type permission struct {
	action  string // of a role: a data action
	letter  string // of a shared access signature
	verb    string // for messages: "read"
	purpose string
}

// blobActions is the start of the names of all data actions on blobs.
const blobActions = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/"

// permissions are all that the plugin needs on the container, in the order in
// which a signature has the letters. Errors, setup and the documentation take them
// from here.
var permissions = []permission{
	{blobActions + "read", "r", "read", "manifests, lists of blocks, blobs whose upload had no answer"},
	{blobActions + "write", "w", "write", "blobs, their blocks, manifests, the fence"},
	{blobActions + "delete", "d", "delete", "blobs that earlier attempts have left"},
	{blobActions + "read", "l", "list", "blobs that earlier attempts have left"},
}

// dataRole is a predefined role that has all permissions on blobs.
const dataRole = "Storage Blob Data Contributor"

// dataActions returns the data actions of a role with exactly the permissions.
func dataActions() []string {
	var names []string
	for _, p := range permissions {
		if !slices.Contains(names, p.action) {
			names = append(names, p.action)
		}
	}
	return names
}

// sasPermissions returns the letters of a signature with exactly the permissions.
func sasPermissions() string {
	var letters strings.Builder
	for _, p := range permissions {
		letters.WriteString(p.letter)
	}
	return letters.String()
}

// generateSAS returns the words of the command that makes a signature with exactly
// the permissions. The expiry is left to add.
func (c config) generateSAS() []string {
	words := []string{
		"az", "storage", "container", "generate-sas", "--account-name", c.StorageAccount, "--name", c.Container,
		"--permissions", sasPermissions(),
	}
	if strings.HasPrefix(c.service(), "https://") {
		words = append(words, "--https-only")
	}
	return append(words, "--auth-mode", "key", "--output", "tsv")
}

// sasCommand returns the command that makes a signature, for messages.
func (c config) sasCommand() string {
	return "`" + setup.Line(append(c.generateSAS(), "--expiry", "2030-01-01")...) + "`"
}
