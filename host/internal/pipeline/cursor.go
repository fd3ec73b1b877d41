package pipeline

import (
	"cmp"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Cursor is how far a pipeline has exported. It is stored as JSON; fields are
// only ever added.
type Cursor struct {
	// Cut is the journal's sequence when the pipeline was registered: extents up
	// to it belong to the backfill, later ones to the live phase.
	Cut int64 `json:"cut"`
	// BackfillDone is set when the backfill is over. Backfill then has no
	// meaning.
	BackfillDone bool `json:"backfill_done"`
	// Backfill is the last extent exported by the backfill; nil: none.
	Backfill *Position `json:"backfill,omitempty"`
	// Live is the last extent considered by the live phase; everything up to
	// it is exported or out of range. Its Day has no meaning.
	Live Position `json:"live"`
	// To is the last date that was in the pipeline's range when the cursor was made;
	// 0: no extent was considered with it yet.
	To journal.Day `json:"to,omitempty"`
	// Order is the order that Backfill has a meaning in; empty with no Backfill, and in
	// cursors of older hosts.
	Order Order `json:"order,omitempty"`
	// Earlier are extents that were exported by another pipeline whose target this one
	// has adopted, or by this one before its to_date changed. They are left out of both
	// phases.
	Earlier []Exported `json:"earlier,omitempty"`
	// LeftOut counts the late rows that the live phase has passed and left out.
	LeftOut LeftOut `json:"left_out,omitzero"`
}

// LeftOut counts rows that came too late for their export window.
type LeftOut struct {
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"` // of blocks as stored
}

// NewCursor returns the cursor of a pipeline that is registered when the
// journal's sequence is seq.
func NewCursor(seq int64) Cursor {
	return Cursor{Cut: seq, BackfillDone: seq == 0, Live: Position{Seq: seq, Index: EndOfSegment}}
}

// Reached reports whether all extents up to seq are exported or out of range.
func (c Cursor) Reached(seq int64) bool {
	return c.BackfillDone && !c.Live.before(Position{Seq: seq, Index: EndOfSegment})
}

// Passed reports whether the pipeline needs an extent no longer: it has exported it, or
// another pipeline whose target it has adopted, or the date is not among its own. Of a
// backfill whose order is not known, none of the extents is passed before its end.
func (p *Pipeline) Passed(e *Extent) bool {
	if !p.inRange(e) {
		return true
	}
	c := p.Cursor
	if p.To > c.To && c.To != 0 {
		// The dates reach further than those that the cursor has passed over.
		c = p.Cursor.within(p.From, p.To, e.Ref.Seq)
	}
	return c.exportedEarlier(e) || c.surely(e) && c.passed(positionOf(e))
}

// surely reports whether passed knows the order of the phase of an extent.
func (c *Cursor) surely(e *Extent) bool {
	return e.Ref.Seq > c.Cut || c.BackfillDone || c.Order != ""
}

// EndOfSegment is the Index of a position after a segment's last extent.
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
