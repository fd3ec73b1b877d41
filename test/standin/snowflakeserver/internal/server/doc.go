// Package server plays Snowflake as its Go driver meets it: logins, sessions, statements
// and their results over HTTP, and stages on a storage server that speaks S3's protocol.
// SQL is read by package snowsql and run on DuckDB.
//
// It refuses each statement and login that Snowflake's documentation says to be refused,
// with its codes and texts. It answers no statement by a guess: one that it does not
// know is an error. refusals_test.go lists the refusals with their sources.
//
// Statements of a session run one after another. A statement reads the state that was
// committed when it began, and the changes of its own transaction (READ COMMITTED). UPDATE, DELETE,
// MERGE, TRUNCATE and INSERT OVERWRITE lock their table until the transaction ends.
//
// Objects and accounts live in memory, rows in an in-memory DuckDB, as long as the
// process. Paths below /_standin/ change how the server behaves; see admin.go.
package server
