package main

import (
	"github.com/penstock-io/penstock/plugins/snowflake"
	"github.com/penstock-io/penstock/sdk"
)

func main() { sdk.Serve(snowflake.Plugin()) }
