package snowsql

import (
	"fmt"
	"strconv"
	"strings"
)

// Type is a type of a column or value.
type Type struct {
	// Name is NUMBER, FLOAT, VARCHAR, BOOLEAN, DATE, TIME, TIMESTAMP_NTZ, TIMESTAMP_LTZ,
	// TIMESTAMP_TZ, VARIANT, OBJECT, ARRAY, BINARY or NULL.
	Name string
	// Precision and Scale are of NUMBER; Scale of times too.
	Precision, Scale int
	// Length is of VARCHAR and BINARY.
	Length int
}

// The lengths that a column has without one
// (https://docs.snowflake.com/en/sql-reference/data-types-text).
const (
	defaultVarchar = 16777216
	defaultBinary  = 8388608
)

var typeNames = map[string]Type{
	"NUMBER": {Name: "NUMBER", Precision: 38}, "NUMERIC": {Name: "NUMBER", Precision: 38}, "DECIMAL": {Name: "NUMBER", Precision: 38}, "DEC": {Name: "NUMBER", Precision: 38},
	"INT": {Name: "NUMBER", Precision: 38}, "INTEGER": {Name: "NUMBER", Precision: 38}, "BIGINT": {Name: "NUMBER", Precision: 38}, "SMALLINT": {Name: "NUMBER", Precision: 38}, "TINYINT": {Name: "NUMBER", Precision: 38}, "BYTEINT": {Name: "NUMBER", Precision: 38},
	"FLOAT": {Name: "FLOAT"}, "FLOAT4": {Name: "FLOAT"}, "FLOAT8": {Name: "FLOAT"}, "DOUBLE": {Name: "FLOAT"}, "REAL": {Name: "FLOAT"},
	"VARCHAR": {Name: "VARCHAR", Length: defaultVarchar}, "STRING": {Name: "VARCHAR", Length: defaultVarchar}, "TEXT": {Name: "VARCHAR", Length: defaultVarchar},
	"CHAR": {Name: "VARCHAR", Length: 1}, "CHARACTER": {Name: "VARCHAR", Length: 1},
	"BOOLEAN": {Name: "BOOLEAN"}, "DATE": {Name: "DATE"}, "TIME": {Name: "TIME", Scale: 9},
	"DATETIME": {Name: "TIMESTAMP_NTZ", Scale: 9}, "TIMESTAMP": {Name: "TIMESTAMP_NTZ", Scale: 9}, "TIMESTAMP_NTZ": {Name: "TIMESTAMP_NTZ", Scale: 9}, "TIMESTAMPNTZ": {Name: "TIMESTAMP_NTZ", Scale: 9},
	"TIMESTAMP_LTZ": {Name: "TIMESTAMP_LTZ", Scale: 9}, "TIMESTAMPLTZ": {Name: "TIMESTAMP_LTZ", Scale: 9}, "TIMESTAMP_TZ": {Name: "TIMESTAMP_TZ", Scale: 9}, "TIMESTAMPTZ": {Name: "TIMESTAMP_TZ", Scale: 9},
	"VARIANT": {Name: "VARIANT"}, "OBJECT": {Name: "OBJECT"}, "ARRAY": {Name: "ARRAY"},
	"BINARY": {Name: "BINARY", Length: defaultBinary}, "VARBINARY": {Name: "BINARY", Length: defaultBinary},
}

// Semi reports whether values are semi-structured.
func (t Type) Semi() bool { return t.Name == "VARIANT" || t.Name == "OBJECT" || t.Name == "ARRAY" }

// Duck is DuckDB's type for it. Semi-structured values are canonical JSON text.
func (t Type) Duck() string {
	switch t.Name {
	case "NUMBER":
		if t.Scale == 0 {
			return "HUGEINT"
		}
		return fmt.Sprintf("DECIMAL(38,%d)", t.Scale)
	case "FLOAT":
		return "DOUBLE"
	case "BOOLEAN", "DATE", "TIME":
		return t.Name
	case "TIMESTAMP_NTZ":
		return "TIMESTAMP"
	case "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
		return "TIMESTAMPTZ"
	case "BINARY":
		return "BLOB"
	}
	return "VARCHAR"
}

// String is the type as DESCRIBE writes it.
func (t Type) String() string {
	switch t.Name {
	case "NUMBER":
		return fmt.Sprintf("NUMBER(%d,%d)", t.Precision, t.Scale)
	case "VARCHAR", "BINARY":
		return fmt.Sprintf("%s(%d)", t.Name, t.Length)
	case "TIME", "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
		return fmt.Sprintf("%s(%d)", t.Name, t.Scale)
	}
	return t.Name
}

// typeName reads a type.
func (p *parser) typeName() (Type, error) {
	first := p.peek()
	if first.kind != word {
		return Type{}, unexpected(first)
	}
	name := strings.ToUpper(p.take().text)
	if name == "DOUBLE" && p.accept("PRECISION") || name == "CHAR" && p.accept("VARYING") {
		if name == "CHAR" {
			name = "VARCHAR"
		}
	}
	t, known := typeNames[name]
	if !known {
		return Type{}, compileError(2040, "42601", "Unsupported data type '%s'.", name)
	}
	if !p.accept("(") {
		return t, nil
	}
	var sizes []int
	for {
		n := p.take()
		size, err := strconv.Atoi(n.text)
		if n.kind != number || err != nil {
			return Type{}, unexpected(n)
		}
		sizes = append(sizes, size)
		if !p.accept(",") {
			break
		}
	}
	if err := p.expect(")"); err != nil {
		return Type{}, err
	}
	return t, t.sized(first, sizes)
}

// sized sets the arguments of a type.
func (t *Type) sized(at token, sizes []int) error {
	switch {
	case t.Name == "NUMBER" && len(sizes) <= 2 && sizes[0] >= 1 && sizes[0] <= 38:
		if t.Precision = sizes[0]; len(sizes) == 2 {
			if t.Scale = sizes[1]; t.Scale > t.Precision || t.Scale > 37 {
				return unexpected(at)
			}
		}
	case t.Name == "VARCHAR" && len(sizes) == 1 && sizes[0] >= 1 && sizes[0] <= 134217728, t.Name == "BINARY" && len(sizes) == 1:
		t.Length = sizes[0]
	case (t.Name == "TIME" || strings.HasPrefix(t.Name, "TIMESTAMP")) && len(sizes) == 1 && sizes[0] <= 9:
		t.Scale = sizes[0]
	default:
		return unexpected(at)
	}
	return nil
}
