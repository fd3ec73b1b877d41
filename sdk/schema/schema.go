package schema

import "fmt"

// Schema is a destination block's attributes.
type Schema struct {
	Attributes []Attribute
}

// Attribute is one attribute of the block.
type Attribute struct {
	// Name is [a-z][a-z0-9_]*.
	Name string
	Type Type
	// Required makes a configuration without the attribute a mistake. A required
	// attribute has no default.
	Required bool
	// Sensitive marks a secret: its value is never printed, and a literal value
	// in a configuration causes a warning.
	Sensitive bool
	// Default is the value when the attribute is not set, as a person would
	// write it: string, bool, int, int64, float64, []string or
	// map[string]string; for Size and Duration a string such as "64MiB" or
	// "90s". nil: the attribute is then absent.
	Default any
	// Allowed are the only values that a String may have. Empty: any.
	Allowed []string
	// Description explains the attribute in a sentence or two to the person who
	// writes the configuration. It must not be empty.
	Description string
	// Deprecated names the replacement, for a warning. Empty: the attribute is
	// not deprecated.
	Deprecated string
}

// Type is the type of an attribute's value.
type Type int

// The types. The comment of each names the Go type that Config.Decode fills.
const (
	String       Type = iota + 1 // string
	Bool                         // bool
	Integer                      // int64
	Number                       // float64
	ListOfString                 // []string
	MapOfString                  // map[string]string
	Path                         // string; a relative path is made absolute by the host, from the file it stands in
	Size                         // int64, bytes; written as "64MiB"
	Duration                     // time.Duration; written as "90s" or "10d"
)

var typeNames = map[Type]string{
	String: "string", Bool: "bool", Integer: "integer", Number: "number", ListOfString: "list of strings",
	MapOfString: "map of strings", Path: "path", Size: "size", Duration: "duration",
}

// String names the type for people.
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("unknown type %d", int(t))
}

// Attribute returns the attribute with the given name, and reports whether the
// schema has it.
func (s Schema) Attribute(name string) (Attribute, bool) {
	for _, a := range s.Attributes {
		if a.Name == name {
			return a, true
		}
	}
	return Attribute{}, false
}
