package main

import (
	"github.com/penstock-io/penstock/plugins/localfs"
	"github.com/penstock-io/penstock/sdk"
)

func main() { sdk.Serve(localfs.Plugin()) }
