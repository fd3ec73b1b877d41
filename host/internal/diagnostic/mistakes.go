package diagnostic

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// Mistakes is a list of diagnostics without duplicates: a destination reports
// the same ones for each of its projects.
type Mistakes struct{ List Diagnostics }

// Add adds diagnostics that are not in the list.
func (m *Mistakes) Add(found ...*hcl.Diagnostic) {
	for _, d := range found {
		known := slices.ContainsFunc(m.List, func(k *hcl.Diagnostic) bool {
			return k.Summary == d.Summary && k.Detail == d.Detail && *k.Subject == *d.Subject
		})
		if !known {
			m.List = append(m.List, d)
		}
	}
}
