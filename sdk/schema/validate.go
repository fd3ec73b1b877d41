package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Validate returns the author's mistakes, all of them: a name that no
// configuration can hold, a required attribute with a default, a default of
// another type. A plugin with such a schema does not start.
func (s Schema) Validate() error {
	var errs []error
	seen := make(map[string]bool)
	for i, a := range s.Attributes {
		if !ValidName(a.Name) {
			errs = append(errs, fmt.Errorf("attribute %d: name %q is not [a-z][a-z0-9_]*", i, a.Name))
			continue
		}
		if seen[a.Name] {
			errs = append(errs, fmt.Errorf("attribute %q is declared twice", a.Name))
		}
		seen[a.Name] = true
		for _, err := range a.mistakes() {
			errs = append(errs, fmt.Errorf("attribute %q: %w", a.Name, err))
		}
	}
	return errors.Join(errs...)
}

// ValidName reports whether name can be the name of an attribute or of a
// destination type: [a-z][a-z0-9_]*.
func ValidName(name string) bool {
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

func (a Attribute) mistakes() (errs []error) {
	if _, ok := typeNames[a.Type]; !ok {
		return []error{errors.New("it has no type")}
	}
	if a.Required && a.Default != nil {
		errs = append(errs, errors.New("it is required and has a default"))
	}
	if a.Sensitive && a.Default != nil {
		errs = append(errs, errors.New("it is sensitive and has a default"))
	}
	if len(a.Allowed) > 0 && a.Type != String {
		errs = append(errs, fmt.Errorf("allowed values are for strings, this is a %s", a.Type))
	}
	if strings.TrimSpace(a.Description) == "" {
		errs = append(errs, errors.New("it has no description"))
	}
	if a.Default == nil {
		return errs
	}
	if !a.Type.takes(a.Default) {
		return append(errs, fmt.Errorf("its default %v is not of type %s", a.Default, a.Type))
	}
	if s, ok := a.Default.(string); ok && len(a.Allowed) > 0 && !slices.Contains(a.Allowed, s) {
		errs = append(errs, fmt.Errorf("its default %q is not an allowed value", s))
	}
	return errs
}

// takes reports whether a Go value can be the default of an attribute of this
// type.
func (t Type) takes(v any) bool {
	switch v := v.(type) {
	case string:
		switch t {
		case Size:
			_, err := ParseSize(v)
			return err == nil
		case Duration:
			_, err := ParseDuration(v)
			return err == nil
		default:
			return t == String || t == Path
		}
	case bool:
		return t == Bool
	case int, int64:
		return t == Integer || t == Number
	case float64:
		return t == Number
	case []string:
		return t == ListOfString
	case map[string]string:
		return t == MapOfString
	default:
		return false
	}
}
