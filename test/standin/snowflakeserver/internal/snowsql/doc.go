// Package snowsql parses the part of Snowflake's SQL that Penstock uses, and
// translates its expressions and queries into DuckDB's SQL. A statement, clause or
// function outside of that part is an error, never a guess.
//
// Parse returns a Statement. A Translator turns the queries and expressions in it into
// DuckDB's SQL; names of tables are resolved through a Catalog. The package executes
// nothing.
//
// The translator knows the type of each expression and refuses mixtures that Snowflake
// refuses; it accepts some that Snowflake's compiler does not.
package snowsql
