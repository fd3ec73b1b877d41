package pipeline

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Outside counts the rows of a project's journal that a pipeline of events does not
// export because of their dates.
//
// An example: a pipeline exports from 30 May on, and the journal holds 1,000 rows of
// January and 5 rows of June. Before has 1,000 rows, the first and the last date of
// January; After is empty.
type Outside struct {
	Before DatedRows // dates before From
	After  DatedRows // dates after To
}

// DatedRows counts rows. First and Last are the range of their UTC dates, and have no
// meaning without a row.
type DatedRows struct {
	Rows        int64
	First, Last journal.Day
}

func (d *DatedRows) add(e *Extent) {
	if d.Rows == 0 {
		d.First, d.Last = e.UTCDate, e.UTCDate
	}
	d.First, d.Last, d.Rows = min(d.First, e.UTCDate), max(d.Last, e.UTCDate), d.Rows+e.Rows
}

// CountOutside counts the rows up to the sequence seq that lie outside the pipeline's
// dates. Rows that were exported earlier, with another to_date or by a pipeline whose
// target this one has adopted, are not counted.
func CountOutside(ctx context.Context, p *Pipeline, seq int64, segments Segments) (Outside, error) {
	var outside Outside
	cursor := p.Cursor.within(p.From, p.To, seq)
	err := segments(ctx, 0, seq, func(_ int64, extents []Extent) error {
		for i := range extents {
			e := &extents[i]
			switch {
			case p.inRange(e) || cursor.exportedEarlier(e):
			case e.UTCDate < p.From:
				outside.Before.add(e)
			default:
				outside.After.add(e)
			}
		}
		return nil
	})
	if err != nil {
		return outside, fmt.Errorf("count the rows outside the dates of pipeline %s: %w", p.Name, err)
	}
	return outside, nil
}
