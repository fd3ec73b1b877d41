// Package queries executes the queries of docs/queries.md over files that the
// host has exported, in DuckDB, and compares what they say with what was sent.
//
// It holds only tests, and is a module of its own: DuckDB needs cgo, which the
// product does without. make test-queries says how to get what is missing.
package queries
