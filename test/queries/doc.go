// Package queries executes the queries of docs/queries.md over files that the
// host has exported, in DuckDB, and compares the results with the events and
// profiles that were sent.
//
// It holds only tests, and is a module of its own: DuckDB needs cgo, which the
// product does not. make test-queries runs it, and names a missing module.
package queries
