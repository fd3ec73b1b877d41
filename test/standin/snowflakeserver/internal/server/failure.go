package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// refuse makes a refusal of a statement.
func refuse(code int, state, format string, args ...any) error {
	return snowsql.Errorf(code, state, format, args...)
}

// insufficient is the answer to a role that sees an object and may not do this with it
// (https://docs.snowflake.com/en/user-guide/security-access-control-overview).
func insufficient(kind, name string) error {
	return refuse(3001, "42501", "SQL access control error:\nInsufficient privileges to operate on %s '%s'", strings.ToLower(kind), name)
}

// marker begins the text of an error that a function raises inside of DuckDB.
const marker = "snowflake:"

// raise writes a refusal for a function inside of DuckDB.
func raise(code int, state, format string, args ...any) error {
	return fmt.Errorf("%s%06d:%s:%s", marker, code, state, fmt.Sprintf(format, args...))
}

// refusal turns any error into Snowflake's.
func refusal(err error) *snowsql.Error {
	var known *snowsql.Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.Canceled) {
		return snowsql.Errorf(604, "57014", "SQL execution canceled")
	}
	text := err.Error()
	if _, raised, found := strings.Cut(text, marker); found {
		parts := strings.SplitN(raised, ":", 3)
		code := 0
		if _, err := fmt.Sscanf(parts[0], "%d", &code); err == nil && len(parts) == 3 {
			message, _, _ := strings.Cut(parts[2], "\n\nLINE")
			return snowsql.Errorf(code, parts[1], "%s", message)
		}
	}
	var d *duckdb.Error
	if errors.As(err, &d) {
		switch d.Type {
		case duckdb.ErrorTypeConstraint:
			if strings.Contains(d.Msg, "NOT NULL") {
				return snowsql.Errorf(100072, "22000", "NULL result in a non-nullable column")
			}
		case duckdb.ErrorTypeOutOfRange, duckdb.ErrorTypeConversion:
			return snowsql.Errorf(100132, "22003", "Numeric value is out of range or not recognized: %s", d.Msg)
		}
		return snowsql.Unsupported("a statement whose translation DuckDB refuses: %s", d.Msg)
	}
	return snowsql.Errorf(603, "XX000", "SQL execution internal error:\nthe stand-in failed: %s", text)
}
