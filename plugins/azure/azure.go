package azure

import (
	"github.com/penstock-io/penstock/plugins/internal/azurecontainer"
	"github.com/penstock-io/penstock/sdk"
)

// Plugin describes the destination for sdk.Serve.
func Plugin() sdk.Plugin { return azurecontainer.Plugin() }
