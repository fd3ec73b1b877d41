//go:build !cgo

package queries

import (
	"os"
	"testing"
)

// Without cgo there is no DuckDB.
func TestDocumentedQueries(t *testing.T) {
	const message = "DuckDB needs cgo: install a C compiler and set CGO_ENABLED=1"
	if os.Getenv("CI") != "" {
		t.Fatal(message)
	}
	t.Skip("SKIPPED: " + message)
}
