package sdk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/sdk/schema"
)

// complete checks a configuration against the schema and applies defaults. The
// Penstock host has done both and has reported mistakes with file and line;
// complete makes New independent of the host.
func complete(s schema.Schema, config []byte) ([]byte, Diagnostics) {
	if len(bytes.TrimSpace(config)) == 0 {
		config = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber()
	var values map[string]any
	if err := d.Decode(&values); err != nil {
		return nil, Diagnostics{mistake("", "Configuration is not a JSON object", err.Error())}
	}
	var found Diagnostics
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, ok := s.Attribute(name); !ok {
			found = append(found, mistake(name, "Unknown attribute", "This destination has "+attributeNames(s)+"."))
		}
	}
	for _, a := range s.Attributes {
		v, set := values[a.Name]
		if !set || v == nil {
			delete(values, a.Name)
			found = append(found, absent(a, values)...)
			continue
		}
		found = append(found, present(a, v)...)
	}
	if found.HasErrors() {
		return nil, found
	}
	out, err := json.Marshal(values)
	if err != nil {
		panic("sdk: a decoded configuration does not encode: " + err.Error())
	}
	return out, found
}

func mistake(attribute, summary, detail string) Diagnostic {
	return Diagnostic{Severity: SeverityError, Attribute: attribute, Summary: summary, Detail: detail}
}

func attributeNames(s schema.Schema) string {
	if len(s.Attributes) == 0 {
		return "no attributes"
	}
	names := make([]string, len(s.Attributes))
	for i, a := range s.Attributes {
		names[i] = a.Name
	}
	return strings.Join(names, ", ")
}

// absent reports a missing attribute or puts its default into values.
func absent(a schema.Attribute, values map[string]any) Diagnostics {
	if a.Required {
		return Diagnostics{mistake(a.Name, "Missing required attribute", "Set "+a.Name+": "+a.Description)}
	}
	text, isText := a.Default.(string)
	switch {
	case a.Default == nil:
	case isText && a.Type == schema.Size:
		values[a.Name], _ = schema.ParseSize(text) // Validate has parsed it before
	case isText && a.Type == schema.Duration:
		values[a.Name], _ = schema.ParseDuration(text)
	default:
		values[a.Name] = a.Default
	}
	return nil
}

// present checks the type of a value that is set.
func present(a schema.Attribute, v any) Diagnostics {
	if !hasType(a.Type, v) {
		return Diagnostics{mistake(a.Name, "Wrong type", fmt.Sprintf("%s is a %s.", a.Name, a.Type))}
	}
	if s, ok := v.(string); ok && len(a.Allowed) > 0 && !slices.Contains(a.Allowed, s) {
		return Diagnostics{mistake(a.Name, "Value is not allowed", fmt.Sprintf("%s is one of %q.", a.Name, a.Allowed))}
	}
	return nil
}

func hasType(t schema.Type, v any) bool {
	switch v := v.(type) {
	case string:
		return t == schema.String || t == schema.Path
	case bool:
		return t == schema.Bool
	case json.Number:
		if t == schema.Number {
			return true
		}
		n, err := v.Int64()
		switch t {
		case schema.Integer:
			return err == nil
		case schema.Size, schema.Duration:
			return err == nil && n >= 0
		}
		return false
	case []any:
		return t == schema.ListOfString && !slices.ContainsFunc(v, notString)
	case map[string]any:
		return t == schema.MapOfString && !slices.ContainsFunc(slices.Collect(maps.Values(v)), notString)
	default:
		return false
	}
}

func notString(v any) bool { _, ok := v.(string); return !ok }
