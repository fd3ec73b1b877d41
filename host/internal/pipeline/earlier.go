package pipeline

import (
	"reflect"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Exported is a part of a project's journal that was exported already: the extents of
// some dates that a cursor has passed.
//
// An example: pipeline b adopts the target of pipeline a, which has exported the dates
// from May on up to seal 40. b's cursor then holds {a, May, ∞, a's cursor}. Of May, b
// exports the seals from 41 on; of April, which a did not export, all of them.
type Exported struct {
	// Pipeline is the id of the pipeline that was adopted; empty: the cursor's own, with
	// the to_date that it had.
	Pipeline string      `json:"pipeline,omitempty"`
	From     journal.Day `json:"from"`
	To       journal.Day `json:"to"`
	Cursor   Cursor      `json:"cursor"`
}

// Exported returns the part of the journal that the pipeline has exported, for one that
// adopts its target.
func (p *Pipeline) Exported() Exported {
	to := p.Cursor.To
	if to == 0 {
		to = p.To
	}
	return Exported{Pipeline: p.ID, From: p.From, To: to, Cursor: p.Cursor}
}

// has reports whether an extent is in the part.
func (x *Exported) has(e *Extent) bool {
	return x.Cursor.exportedEarlier(e) || e.UTCDate >= x.From && e.UTCDate <= x.To && x.Cursor.passed(positionOf(e))
}

// passed reports whether the cursor has passed a position whose date is in range.
func (c *Cursor) passed(at Position) bool {
	if at.Seq > c.Cut {
		return c.BackfillDone && !c.Live.before(at)
	}
	return c.BackfillDone || c.Backfill != nil && !c.Backfill.beforeByDay(at, c.Order)
}

// exportedEarlier reports whether an extent is in one of the parts in Earlier.
func (c *Cursor) exportedEarlier(e *Extent) bool {
	for i := range c.Earlier {
		if c.Earlier[i].has(e) {
			return true
		}
	}
	return false
}

// order returns the order of the backfill: the one that it was begun in, or else the
// configured one.
func (c *Cursor) order(configured Order) Order {
	if c.Backfill != nil && c.Order != "" {
		return c.Order
	}
	return configured
}

// within returns the cursor of a pipeline whose last date is to, in a journal at the
// sequence seq. It is c unless to was changed. With fewer dates the cursor stays in its
// place. With more, extents of new dates lie before it: it begins again as that of a
// new pipeline does, and passes over what was exported.
func (c Cursor) within(from, to journal.Day, seq int64) Cursor {
	switch {
	case c.To == to:
		return c
	case c.To == 0:
		c.To = to
		return c
	}
	next := c
	if to > c.To {
		next = NewCursor(seq)
	}
	next.To, next.LeftOut = to, c.LeftOut
	next.Earlier = []Exported{{From: from, To: c.To, Cursor: c}} // which has c.Earlier
	return next
}

// Adopt adds a part that another pipeline has exported. It reports whether the part is
// new to the cursor.
func (c *Cursor) Adopt(x Exported) bool {
	for _, known := range c.Adopted() {
		if reflect.DeepEqual(known, x) {
			return false
		}
	}
	c.Earlier = append(c.Earlier[:len(c.Earlier):len(c.Earlier)], x)
	return true
}

// Inherit adds the parts that other pipelines have exported and that a later cursor of
// the same pipeline has.
func (c *Cursor) Inherit(later Cursor) {
	for _, x := range later.Adopted() {
		c.Adopt(x)
	}
}

// Adopted returns the parts that other pipelines have exported.
func (c *Cursor) Adopted() []Exported {
	var parts []Exported
	for _, x := range c.Earlier {
		if x.Pipeline != "" {
			parts = append(parts, x)
		} else {
			parts = append(parts, x.Cursor.Adopted()...)
		}
	}
	return parts
}

// Uncertain reports whether the cursor is in a backfill whose order is not known: one
// that an older host has begun, and that had no run since.
func (c *Cursor) Uncertain() bool { return c.Backfill != nil && c.Order == "" }
