package s3

import (
	"github.com/penstock-io/penstock/plugins/internal/s3bucket"
	"github.com/penstock-io/penstock/sdk"
)

// Plugin describes the destination for sdk.Serve.
func Plugin() sdk.Plugin { return s3bucket.Plugin() }
