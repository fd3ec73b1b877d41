package main

import (
	"github.com/penstock-io/penstock/plugins/gcs"
	"github.com/penstock-io/penstock/sdk"
)

func main() { sdk.Serve(gcs.Plugin()) }
