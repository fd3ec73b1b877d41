// Command penstock-destination-picky is a destination for tests. It keeps rows
// as plain lines in a directory, takes no row that has a duplicate key, and
// records committed runs in a ledger file.
package main
