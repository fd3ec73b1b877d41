package datadir_test

import (
	"fmt"

	"github.com/penstock-io/penstock/host/internal/datadir"
)

// Blobs may lie on a disk of their own, which is then locked, too.
func ExampleDir() {
	for _, d := range []datadir.Dir{
		{Data: "/var/lib/penstock", Blobs: "/var/lib/penstock/blobs"},
		{Data: "/var/lib/penstock", Blobs: "/mnt/penstock"},
	} {
		fmt.Println(d.Path(datadir.CatalogFile), d.Apart())
	}
	// Output:
	// /var/lib/penstock/catalog.db false
	// /var/lib/penstock/catalog.db true
}
