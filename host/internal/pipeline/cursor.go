package pipeline

import (
	"cmp"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Cursor is how far a pipeline has exported. It is stored as JSON; fields are
// only ever added.
type Cursor struct {
	// Cut is the journal's sequence when the pipeline was registered: what was
	// journaled up to it is the backfill, the rest is live.
	Cut int64 `json:"cut"`
	// BackfillDone says that the backfill is over. Backfill is then of no
	// meaning.
	BackfillDone bool `json:"backfill_done"`
	// Backfill is the last extent exported by the backfill; nil: none.
	Backfill *Position `json:"backfill,omitempty"`
	// Live is the last extent considered by the live phase; everything up to
	// it is exported or out of range. Its Day is of no meaning.
	Live Position `json:"live"`
}

// NewCursor is the cursor of a pipeline registered when the journal stood at
// seq.
func NewCursor(seq int64) Cursor {
	return Cursor{Cut: seq, BackfillDone: seq == 0, Live: Position{Seq: seq, Index: EndOfSegment}}
}

// Reached says that nothing that was journaled up to seq is left to export.
func (c Cursor) Reached(seq int64) bool {
	return c.BackfillDone && !c.Live.before(Position{Seq: seq, Index: EndOfSegment})
}

// EndOfSegment is the Index of a position behind a segment's last extent.
const EndOfSegment = 1<<31 - 1

// Position is an extent's place in the order of a phase.
type Position struct {
	Day   journal.Day `json:"day,omitempty"`
	Seq   int64       `json:"seq"`
	Index int         `json:"index"`
}

// compare orders positions by sequence.
func (p Position) compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Seq, q.Seq), cmp.Compare(p.Index, q.Index))
}

func (p Position) before(q Position) bool { return p.compare(q) < 0 }

// beforeByDay orders positions by day, then by sequence.
func (p Position) beforeByDay(q Position, order Order) bool {
	if p.Day != q.Day {
		return (p.Day < q.Day) == (order != Newest)
	}
	return p.before(q)
}
