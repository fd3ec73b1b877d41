package main

import (
	"github.com/penstock-io/penstock/plugins/redshift"
	"github.com/penstock-io/penstock/sdk"
)

func main() { sdk.Serve(redshift.Plugin()) }
