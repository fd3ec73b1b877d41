// Package setuptest tests the setup text of plugins: it compares the text with
// golden files, parses Terraform, and runs the commands in a shell in which the
// vendor's CLI only records its arguments.
//
// go test -update writes the golden files.
package setuptest
