package pipeline

import (
	"testing"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Retention asks whether a pipeline needs an extent: it does not once the pipeline, or
// the one whose target it has adopted, has exported it.
func TestPassed(t *testing.T) {
	t.Parallel()
	extent := func(day, seq int64) *Extent {
		e := extentAt(seq, 0, journal.Day(day), journal.Day(day))
		return &e
	}
	done := Cursor{Cut: 5, BackfillDone: true, Live: Position{Seq: 8, Index: EndOfSegment}, To: Forever}
	under := Cursor{Cut: 5, Backfill: &Position{Day: 20, Seq: 3}, Live: Position{Seq: 5, Index: EndOfSegment}, To: Forever, Order: Oldest}
	unknown := under
	unknown.Order = ""
	adopted := NewCursor(8)
	adopted.To, adopted.Earlier = Forever, []Exported{{Pipeline: "former", From: 10, To: 30, Cursor: done}}
	narrow := done
	narrow.To = 15
	for name, tt := range map[string]struct {
		cursor Cursor
		e      *Extent
		want   bool
	}{
		"a date before from_date":               {NewCursor(9), extent(9, 3), true},
		"a new pipeline has exported nothing":   {NewCursor(9), extent(12, 3), false},
		"exported by the live phase":            {done, extent(12, 8), true},
		"sealed after the last run":             {done, extent(12, 9), false},
		"exported by the backfill that goes on": {under, extent(12, 3), true},
		"left to the backfill":                  {under, extent(21, 3), false},
		"a backfill of an older host":           {unknown, extent(12, 3), false},
		"exported by the pipeline before":       {adopted, extent(12, 8), true},
		"not exported by the pipeline before":   {adopted, extent(31, 8), false},
		"a date that came with another to_date": {narrow, extent(20, 8), false},
		"a date that was there before":          {narrow, extent(15, 8), true},
	} {
		p := &Pipeline{Definition: Definition{From: 10, To: Forever}, Cursor: tt.cursor}
		if got := p.Passed(tt.e); got != tt.want {
			t.Errorf("%s: passed is %v", name, got)
		}
	}
}
