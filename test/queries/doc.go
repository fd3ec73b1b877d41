// Package queries reads exports as a query engine does, in DuckDB.
//
// It executes the queries of docs/queries.md over files that the host has
// exported, and compares the results with the events and profiles that were sent.
// It exports three streams to each object store and to a directory, through
// processes that die and freeze, and compares the two row by row.
//
// It holds only tests, and is a module of its own: DuckDB needs cgo, which the
// product does not. make test-queries runs it, and names a missing module.
package queries
