package gcs

import (
	"github.com/penstock-io/penstock/plugins/internal/gcsbucket"
	"github.com/penstock-io/penstock/sdk"
)

// Plugin describes the destination for sdk.Serve.
func Plugin() sdk.Plugin { return gcsbucket.Plugin() }
