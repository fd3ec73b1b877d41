package operation

import (
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/verify"
)

// Verification compares a pipeline's journal, catalog and destination.
type Verification = verify.Report

// The parts of a Verification.
type (
	// VerifiedDay holds the four sides of one date.
	VerifiedDay = verify.Day
	// Difference is one difference, with its object.
	Difference = verify.Difference
	// RepairPlan is the repair of the differences.
	RepairPlan = verify.Plan
	// Repaired counts the work of a repair.
	Repaired = verify.Repaired
)

// VerifyRequest selects the dates that VerifyPipeline compares, and a repair.
type VerifyRequest struct {
	Pipeline string `json:"pipeline"`
	From     string `json:"from,omitempty"` // first date, YYYY-MM-DD; empty: no limit
	To       string `json:"to,omitempty"`
	// Deep reads every object and counts its rows.
	Deep bool `json:"deep,omitempty"`
	// Repair carries out the plan of the comparison, and compares again.
	Repair bool `json:"repair,omitempty"`
	// Only are the objects that a repair may restore, write or remove: those of a
	// plan that was shown. nil: all.
	Only []string `json:"only,omitempty"`
}

// ValidDates returns an error if From or To is not a date, or no date is between
// them.
func (r VerifyRequest) ValidDates() error {
	for _, date := range []string{r.From, r.To} {
		if _, err := time.Parse(time.DateOnly, date); date != "" && err != nil {
			return fmt.Errorf("%q is not a date of the form YYYY-MM-DD", date)
		}
	}
	if r.From != "" && r.To != "" && r.From > r.To {
		return fmt.Errorf("no date is between %s and %s", r.From, r.To)
	}
	return nil
}
