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
	var adopt *catalog.AdoptError
	switch {
	case errors.As(err, &changed):
		at := p.AttributeRange(changed.Attribute)
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Fixed since the pipeline was registered", Subject: &at, Context: p.Range.Ptr(),
			Detail: fmt.Sprintf("Pipeline %q was registered with %s = %s, and the configuration says %s. Project, stream, destination and from_date are fixed "+
				"since then: write the registered value again, or give the pipeline another name, which exports from its own beginning.",
				p.Name, changed.Attribute, changed.Was, changed.Is),
		}
	case errors.As(err, &taken) && taken.Apart:
		at := p.AttributeRange("destination")
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Target belongs to another pipeline", Subject: &at, Context: p.Range.Ptr(),
			Detail: fmt.Sprintf("%s. Pipeline %s is registered in this data directory, whether or not it is still configured. Choose another place, or set adopt = true: "+
				"pipeline %s is refused there from then on unless it has adopt = true, too.", upperFirst(taken.Error()), taken.Other, taken.Other),
		}
	case errors.As(err, &taken):
		at := p.AttributeRange("destination")
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Target belongs to another pipeline", Subject: &at, Context: p.Range.Ptr(),
			Detail: fmt.Sprintf("%s. Pipeline %s is registered in this data directory, whether or not it is still configured, "+
				"and each row would be there twice. Choose another place, or other dates. "+
				"If pipeline %s is over, adopt = true goes on where it stopped, and exports none of its rows again.",
				upperFirst(taken.Error()), taken.Other, taken.Other),
		}
	case errors.As(err, &adopt):
		at := p.AttributeRange("adopt")
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Target cannot be adopted", Subject: &at, Context: p.Range.Ptr(), Detail: upperFirst(adopt.Error()) + ".",
		}
	}
	return nil
}

// upperFirst makes an error the beginning of a sentence.
func upperFirst(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
