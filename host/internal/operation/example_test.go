package operation_test

import (
	"fmt"

	"github.com/penstock-io/penstock/host/internal/operation"
)

// Dates are checked before anything is started.
func ExampleVerifyRequest_ValidDates() {
	for _, r := range []operation.VerifyRequest{
		{From: "2026-06-01", To: "2026-06-30"},
		{From: "1 June"},
		{From: "2026-06-02", To: "2026-06-01"},
	} {
		fmt.Println(r.ValidDates())
	}
	// Output:
	// <nil>
	// "1 June" is not a date of the form YYYY-MM-DD
	// no date is between 2026-06-02 and 2026-06-01
}
