// Package googlesql translates the part of GoogleSQL that Penstock uses into
// DuckDB's SQL. A statement, clause or function outside of that part is an error,
// never a guess.
//
// Split cuts a script into statements; Translator turns one statement or
// expression into DuckDB's SQL. Names of tables are resolved through a Catalog.
//
// The translator checks names and functions, and leaves types to DuckDB: it accepts
// some statements that BigQuery's analyzer refuses.
package googlesql
