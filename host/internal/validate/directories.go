package validate

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/datadir"
	"github.com/penstock-io/penstock/host/internal/diagnostic"
)

// checkDirectories reports directories of a host that it could not use: data_dir,
// and blobs if that lies elsewhere. It makes none of them.
func checkDirectories(c *config.Config) diagnostic.Diagnostics {
	var found diagnostic.Diagnostics
	check := func(attribute, dir string) {
		if dir == "" {
			return // its value was reported
		}
		if reason := datadir.Unusable(dir); reason != "" {
			at := c.Host.AttributeRange(attribute)
			found = append(found, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Directory cannot be used", Subject: &at,
				Detail: fmt.Sprintf("%s is %s: %s. The host keeps its journal there: name a directory that it may write. One that is missing is made.",
					attribute, dir, reason),
			})
		}
	}
	check("data_dir", c.Host.DataDir)
	if (datadir.Dir{Data: c.Host.DataDir, Blobs: c.Host.Blobs}).Apart() {
		check("blobs", c.Host.Blobs)
	}
	return found
}
