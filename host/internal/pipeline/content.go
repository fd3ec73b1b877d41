package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/sdk/batch"
)

// Part is the rows of a run that go to one partition of the destination.
type Part struct {
	Date    string   // YYYY-MM-DD; empty for a generation, which has no dates
	Extents []Extent // in the order in which they are sent; nil for a generation
	Rows    int64
}

// Parts divides the run by date, dates ascending; within a date rows keep the
// order in which they were journaled. The dates are UTC, or with zone those of
// the project's time zone. A generation is one part.
func (r *Run) Parts(zone bool) []Part {
	if r.Generation != nil {
		return []Part{{Rows: r.Generation.Rows}}
	}
	groups := map[journal.Day][]Extent{}
	var days []journal.Day
	for _, e := range r.Extents {
		day := e.UTCDate
		if zone {
			day = e.ZoneDate
		}
		if groups[day] == nil {
			days = append(days, day)
		}
		groups[day] = append(groups[day], e)
	}
	slices.Sort(days)
	parts := make([]Part, 0, len(days))
	for _, day := range days {
		extents := groups[day]
		slices.SortFunc(extents, func(a, b Extent) int { return positionOf(&a).compare(positionOf(&b)) })
		parts = append(parts, Part{Date: day.String(), Extents: extents, Rows: Sum(extents).Rows})
	}
	return parts
}

// Content returns the digest that identifies a run together with its number.
// Two runs have equal contents exactly when they send, for one catalog's
// pipeline, the same rows in the same order to the same dates. totals are the
// parts' rows, bytes and checksums. The digest has 32 characters of [0-9a-f].
//
// Blocks and compression have no influence: they may differ between two hosts
// that have read the same file.
func Content(catalog string, p *Pipeline, parts []Part, totals []batch.Totals) string {
	h := sha256.New()
	fmt.Fprintf(h, "penstock run content 1\n%q %q %s\n", catalog, p.ID, p.Stream)
	for i, part := range parts {
		t := totals[i]
		fmt.Fprintf(h, "%s %d %d %08x\n", part.Date, t.Rows, t.RowsBytes, t.RowsCRC32)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
