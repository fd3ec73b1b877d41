// Package laws renders the table of destinations and of the laws that their
// plugins were held to, out of the files that the conformance runs of the plugins
// write (destinationtest.Harness.Record). The table stands in
// docs/destinations/README.md; go test ./test/laws -update writes it.
package laws
