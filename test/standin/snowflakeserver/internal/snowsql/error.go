package snowsql

import (
	"fmt"
	"strings"
)

// Error is a refusal as Snowflake words it.
type Error struct {
	Code     int
	SQLState string
	Message  string
}

func (e *Error) Error() string { return fmt.Sprintf("%06d (%s): %s", e.Code, e.SQLState, e.Message) }

// Errorf makes a refusal.
func Errorf(code int, state, format string, args ...any) *Error {
	return &Error{Code: code, SQLState: state, Message: fmt.Sprintf(format, args...)}
}

// compileError is an error that the compiler finds; its message has a line of its own.
func compileError(code int, state, format string, args ...any) *Error {
	label := "SQL compilation error:"
	if !strings.Contains(format, "\n") && code != 1003 {
		return Errorf(code, state, label+"\n"+format, args...)
	}
	return Errorf(code, state, label+"\n"+format, args...)
}

// unexpected is the syntax error of a token
// (https://docs.snowflake.com/en/sql-reference/sql/begin: 001003).
func unexpected(t token) *Error {
	found := t.text
	return compileError(1003, "42000", "syntax error line %d at position %d unexpected '%s'.", t.line, t.column, found)
}

// DoesNotExist is the answer for an object that is missing or that the role may not
// see (002003).
func DoesNotExist(object, name string) *Error {
	state := "02000"
	if object == "Object" { // a table or view
		state = "42S02"
	}
	return Errorf(2003, state, "SQL compilation error:\n%s '%s' does not exist or not authorized.", object, name)
}

// AlreadyExists is the answer of CREATE for a name that is taken (002002).
func AlreadyExists(name string) *Error {
	return Errorf(2002, "42710", "SQL compilation error:\nObject '%s' already exists.", name)
}

// InvalidIdentifier is the answer for a column that no table has (000904).
func InvalidIdentifier(line, column int, name string) *Error {
	return Errorf(904, "42000", "SQL compilation error: error line %d at position %d\ninvalid identifier '%s'", line, column, name)
}

// UnknownFunction is the answer for a function that does not exist (002140).
func UnknownFunction(name string) *Error {
	return Errorf(2140, "42601", "SQL compilation error:\nUnknown function %s", name)
}

// Unsupported says that the stand-in does not know a feature that Snowflake may have.
func Unsupported(format string, args ...any) *Error {
	return Errorf(2, "0A000", "Unsupported feature '%s' (the stand-in does not know it).", fmt.Sprintf(format, args...))
}
