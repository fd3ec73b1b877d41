package main

import (
	"github.com/penstock-io/penstock/plugins/azure"
	"github.com/penstock-io/penstock/sdk"
)

func main() { sdk.Serve(azure.Plugin()) }
