package main

import (
	"github.com/penstock-io/penstock/plugins/s3"
	"github.com/penstock-io/penstock/sdk"
)

func main() { sdk.Serve(s3.Plugin()) }
