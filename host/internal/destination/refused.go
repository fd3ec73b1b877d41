package destination

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/config"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// Refused turns the catalog's refusal of a pipeline into a mistake in the
// configuration; nil for another error.
func Refused(p *config.Pipeline, err error) *hcl.Diagnostic {
	var changed *pipeline.ChangedError
	var taken *catalog.TargetTakenError
	switch {
	case errors.As(err, &changed):
		at := p.AttributeRange(changed.Attribute)
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Fixed since the pipeline was registered", Subject: &at, Context: p.Range.Ptr(),
			Detail: fmt.Sprintf("Pipeline %q was registered with %s = %s, and the configuration says %s. Project, stream, destination and dates are fixed "+
				"since then: write the registered value again, or give the pipeline another name, which exports from its own beginning.",
				p.Name, changed.Attribute, changed.Was, changed.Is),
		}
	case errors.As(err, &taken):
		at := p.AttributeRange("destination")
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Target belongs to another pipeline", Subject: &at, Context: p.Range.Ptr(),
			Detail: fmt.Sprintf("%s. Pipeline %s is registered in this data directory, whether or not it is still configured, "+
				"and each row would be there twice. Choose another place, or other dates. "+
				"adopt = true also exports these dates to the place, next to the rows that are there.", upperFirst(taken.Error()), taken.Other),
		}
	}
	return nil
}

// upperFirst makes an error the beginning of a sentence.
func upperFirst(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
