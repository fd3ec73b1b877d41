package main

import (
	"github.com/penstock-io/penstock/plugins/bigquery"
	"github.com/penstock-io/penstock/sdk"
)

func main() { sdk.Serve(bigquery.Plugin()) }
