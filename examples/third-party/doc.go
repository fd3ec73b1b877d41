// Command penstock-destination-ndjson is a destination plugin as somebody
// outside of the project would write it: events as plain NDJSON files in a
// directory, and a ledger that says which runs are committed.
//
// README.md tells how to build and use it; read store.go first.
package main
