package pipeline

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Progress is how far a backfill has come.
type Progress struct {
	Days, DaysDone   int // dates with rows; a date is done when all its rows are exported
	Rows, RowsDone   int64
	Bytes, BytesDone int64 // of blocks as stored
}

// Backfilled returns the progress of the backfill of an events pipeline, out of the
// segments up to its registration. An open run is not done.
func Backfilled(ctx context.Context, p *Pipeline, segments Segments) (Progress, error) {
	var progress Progress
	cursor := p.Cursor.within(p.From, p.To, p.Cursor.Cut)
	order := cursor.order(p.Order)
	left := map[journal.Day]bool{} // by date, whether rows are left to export
	err := segments(ctx, 0, cursor.Cut, func(_ int64, extents []Extent) error {
		for i := range extents {
			e := &extents[i]
			if !p.exports(e) {
				continue
			}
			progress.Rows += e.Rows
			progress.Bytes += e.Bytes
			waits := !cursor.BackfillDone && (cursor.Backfill == nil || cursor.Backfill.beforeByDay(positionOf(e), order))
			left[e.UTCDate] = left[e.UTCDate] || waits
			if !waits {
				progress.RowsDone += e.Rows
				progress.BytesDone += e.Bytes
			}
		}
		return nil
	})
	if err != nil {
		return progress, fmt.Errorf("progress of the backfill of pipeline %s: %w", p.Name, err)
	}
	progress.Days = len(left)
	for _, waits := range left {
		if !waits {
			progress.DaysDone++
		}
	}
	return progress, nil
}
