package server

import (
	"strings"

	bq "google.golang.org/api/bigquery/v2"

	"github.com/penstock-io/penstock/test/standin/bigqueryserver/internal/googlesql"
)

// apiTypes are the names of types in schemas of the REST interface.
var apiTypes = map[string]string{"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}

// sqlNames are GoogleSQL's names of types in schemas.
var sqlNames = map[string]string{
	"INTEGER": "INT64", "INT64": "INT64", "FLOAT": "FLOAT64", "FLOAT64": "FLOAT64", "BOOLEAN": "BOOL", "BOOL": "BOOL", "RECORD": "STRUCT", "STRUCT": "STRUCT",
	"STRING": "STRING", "BYTES": "BYTES", "NUMERIC": "NUMERIC", "BIGNUMERIC": "BIGNUMERIC", "DATE": "DATE", "DATETIME": "DATETIME", "TIME": "TIME",
	"TIMESTAMP": "TIMESTAMP", "JSON": "JSON",
}

// sqlType returns GoogleSQL's type of a field; empty: unknown.
func sqlType(f *bq.TableFieldSchema) string {
	typ := sqlNames[strings.ToUpper(f.Type)]
	if typ == "STRUCT" {
		var fields []string
		for _, sub := range f.Fields {
			fields = append(fields, sub.Name+" "+sqlType(sub))
		}
		typ = "STRUCT<" + strings.Join(fields, ", ") + ">"
	}
	if strings.EqualFold(f.Mode, "REPEATED") {
		typ = "ARRAY<" + typ + ">"
	}
	return typ
}

// fieldOf returns the field of a column.
func fieldOf(name, typ string) *bq.TableFieldSchema {
	f := &bq.TableFieldSchema{Name: name, Mode: "NULLABLE"}
	if element, ok := strings.CutPrefix(typ, "ARRAY<"); ok {
		f.Mode, typ = "REPEATED", strings.TrimSuffix(element, ">")
	}
	if fields, ok := strings.CutPrefix(typ, "STRUCT<"); ok {
		f.Type = "RECORD"
		for _, field := range googlesql.SplitTypes(strings.TrimSuffix(fields, ">")) {
			n, t, _ := strings.Cut(field, " ")
			f.Fields = append(f.Fields, fieldOf(n, t))
		}
		return f
	}
	if f.Type = apiTypes[typ]; f.Type == "" {
		f.Type = typ
	}
	return f
}

// columnsOf returns the columns of a schema.
func columnsOf(s *bq.TableSchema) []googlesql.Column {
	if s == nil {
		return nil
	}
	columns := make([]googlesql.Column, len(s.Fields))
	for n, f := range s.Fields {
		columns[n] = googlesql.Column{Name: f.Name, Type: sqlType(f)}
	}
	return columns
}

// fromDuck returns GoogleSQL's type of a type of DuckDB, such as
// STRUCT(a BIGINT, b VARCHAR)[].
func fromDuck(typ string) string {
	if element, ok := strings.CutSuffix(typ, "[]"); ok {
		return "ARRAY<" + fromDuck(element) + ">"
	}
	if fields, ok := strings.CutPrefix(typ, "STRUCT("); ok {
		var list []string
		for _, field := range googlesql.SplitTypes(strings.TrimSuffix(fields, ")")) {
			name, t := cutName(field)
			list = append(list, name+" "+fromDuck(t))
		}
		return "STRUCT<" + strings.Join(list, ", ") + ">"
	}
	if typ == "DECIMAL(38,18)" {
		return "BIGNUMERIC"
	}
	if strings.HasPrefix(typ, "DECIMAL") {
		return "NUMERIC"
	}
	switch typ {
	case "VARCHAR":
		return "STRING"
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT":
		return "INT64"
	case "FLOAT", "DOUBLE":
		return "FLOAT64"
	case "BOOLEAN":
		return "BOOL"
	case "BLOB":
		return "BYTES"
	case "DATE", "TIME", "JSON":
		return typ
	case "TIMESTAMP":
		return "DATETIME"
	case "TIMESTAMP WITH TIME ZONE":
		return "TIMESTAMP"
	case `"NULL"`:
		return "NULL"
	}
	return ""
}

// cutName splits a field of a struct into name and type.
func cutName(field string) (name, typ string) {
	if !strings.HasPrefix(field, `"`) {
		name, typ, _ = strings.Cut(field, " ")
		return name, typ
	}
	end := strings.Index(field[1:], `" `) + 1
	return strings.ReplaceAll(field[1:end], `""`, `"`), field[end+2:]
}
