package lake

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/penstock-io/penstock/sdk"
)

// EmptyAttributes returns a mistake for each attribute that is set to an empty
// string, except those listed in may. An env() of an empty variable would
// otherwise act as an absent attribute: a static key would fall through to the
// instance's role, an encryption key to the default.
func EmptyAttributes(c sdk.Config, may ...string) sdk.Diagnostics {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(c.JSON, &values); err != nil {
		return nil // Decode reports the error
	}
	var found sdk.Diagnostics
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if string(values[name]) != `""` || slices.Contains(may, name) {
			continue
		}
		found = append(found, sdk.Diagnostic{
			Severity: sdk.SeverityError, Attribute: name, Summary: "Attribute is empty",
			Detail: fmt.Sprintf("%s is set to an empty string. If it comes from env() or file(), the variable or file has no content; "+
				"leave the attribute out to go without it.", name),
		})
	}
	return found
}
