// Package store is a destination for the suite's own tests: rows as plain
// files in a directory and a ledger beside them. It is honest, unless it is
// made with a lie.
package store
