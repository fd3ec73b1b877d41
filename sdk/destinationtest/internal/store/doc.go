// Package store is a destination for the suite's own tests: rows as plain
// files in a directory, and a ledger in the same directory. It breaks one of
// the suite's rules if it is made with a lie.
package store
