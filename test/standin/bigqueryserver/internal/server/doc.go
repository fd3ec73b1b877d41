// Package server plays BigQuery's REST interface: datasets, tables, views, jobs of
// queries, scripts and loads, results, and the refusals that Penstock has to
// handle. GoogleSQL is translated by package googlesql and run on DuckDB.
//
// Any other request or statement is refused with a message that
// says so, never answered by a guess.
//
// Metadata and jobs live in memory, rows in an in-memory DuckDB, as long as the
// process. Paths below /_standin/ change how the server behaves; see admin.go.
package server
