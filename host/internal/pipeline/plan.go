package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Limits bound the size of a run.
type Limits struct {
	Bytes   int64 // of blocks as stored; one extent is always taken
	Days    int   // 0: no limit
	Extents int   // 0: DefaultMaxExtents
	// Zone counts days in the project's zone: those are the destination's
	// partitions.
	Zone bool
}

// day returns the date of an extent by which the limit of days counts.
func (l Limits) day(e *Extent) journal.Day {
	if l.Zone {
		return e.ZoneDate
	}
	return e.UTCDate
}

// DefaultMaxExtents is the largest number of extents in a run, so that its list
// in the catalog stays small.
const DefaultMaxExtents = 65536

// Segments visits the extents of a project's segments with afterSeq < seq ≤
// toSeq and of one kind, in order of sequence and index, segment by segment:
// fn is called once per segment and may stop the visit with ErrStop.
type Segments func(ctx context.Context, afterSeq, toSeq int64, fn func(seq int64, extents []Extent) error) error

// ErrStop is returned by the function of a Segments visit to end it early. It is
// not a failure.
var ErrStop = errors.New("stop")

// Next picks the extents of the pipeline's next run from the journal up to the
// sequence seq, and returns them with the cursor after the run. It returns no
// extents if all are exported; the cursor may still have moved, past extents
// that are out of range.
func Next(ctx context.Context, p *Pipeline, limits Limits, seq int64, segments Segments) ([]Extent, Cursor, error) {
	if limits.Extents == 0 {
		limits.Extents = DefaultMaxExtents
	}
	ahead := *p
	ahead.Cursor = p.Cursor.within(p.From, p.To, seq)
	if !ahead.Cursor.BackfillDone {
		extents, cursor, err := backfill(ctx, &ahead, limits, segments)
		if err != nil || len(extents) > 0 {
			return extents, cursor, err
		}
		ahead.Cursor = cursor
	}
	return live(ctx, &ahead, limits, seq, segments)
}

// dayExtents are the extents of one day that a backfill has yet to export.
type dayExtents struct {
	day     journal.Day
	bytes   int64
	extents []Extent
}

// backlog holds the days that can still be in a backfill's next run, in the
// order of the backfill. If earlier days fill the run, later ones are dropped;
// the first dropped day is the horizon: no day from there on can be in the run.
//
// With a limit of 100 MB and days of 60 MB each, oldest first: the 1st and the
// 2nd are kept, and take ends the run within the 2nd. The 3rd is dropped, since
// the first two exceed the limit already, and becomes the horizon; extents of
// the 4th are not even collected.
type backlog struct {
	order   Order
	limits  Limits
	days    []*dayExtents
	bytes   int64
	count   int
	dropped bool
	horizon journal.Day
}

// backfill takes the first days, in order, that fit the limits. Its memory is
// bounded by the run and not by the journal.
func backfill(ctx context.Context, p *Pipeline, limits Limits, segments Segments) ([]Extent, Cursor, error) {
	cursor := p.Cursor
	order := cursor.order(p.Order)
	b := backlog{order: order, limits: limits}
	err := segments(ctx, 0, p.Cursor.Cut, func(_ int64, extents []Extent) error {
		for i := range extents {
			e := &extents[i]
			if p.exports(e) && (cursor.Backfill == nil || cursor.Backfill.beforeByDay(positionOf(e), order)) {
				b.add(e)
			}
		}
		b.trim()
		return nil
	})
	if err != nil {
		return nil, cursor, fmt.Errorf("plan backfill of pipeline %s: %w", p.Name, err)
	}
	taken, whole := b.take()
	if len(taken) == 0 {
		cursor.BackfillDone, cursor.Backfill, cursor.Order = true, nil, ""
		return nil, cursor, nil
	}
	last := positionOf(&taken[len(taken)-1])
	cursor.Backfill, cursor.Order = &last, order
	if whole && !b.dropped {
		cursor.BackfillDone, cursor.Backfill, cursor.Order = true, nil, ""
	}
	return taken, cursor, nil
}

// compare orders days in the order of the backfill.
func (b *backlog) compare(x, y journal.Day) int {
	if b.order == Newest {
		x, y = y, x
	}
	return cmp.Compare(x, y)
}

func (b *backlog) add(e *Extent) {
	if b.dropped && b.compare(e.UTCDate, b.horizon) >= 0 {
		return
	}
	at, found := slices.BinarySearchFunc(b.days, e.UTCDate, func(d *dayExtents, day journal.Day) int { return b.compare(d.day, day) })
	if !found {
		b.days = slices.Insert(b.days, at, &dayExtents{day: e.UTCDate})
	}
	d := b.days[at]
	d.extents = append(d.extents, *e)
	d.bytes += e.Bytes
	b.bytes += e.Bytes
	b.count++
}

// trim drops the last day while the days before it fill the run.
func (b *backlog) trim() {
	for len(b.days) > 1 {
		last := b.days[len(b.days)-1]
		bytes, count, days := b.bytes-last.bytes, b.count-len(last.extents), len(b.days)-1
		if bytes < b.limits.Bytes && count < b.limits.Extents && (b.limits.Days == 0 || days < b.limits.Days) {
			return
		}
		b.bytes, b.count, b.days = bytes, count, b.days[:days]
		b.dropped, b.horizon = true, last.day
	}
}

// take returns the extents of the days, in order, up to the limits of a run.
// whole reports whether all of them fit.
func (b *backlog) take() (taken []Extent, whole bool) {
	run := bound{limits: b.limits}
	for _, d := range b.days {
		for i := range d.extents {
			if !run.take(&d.extents[i]) {
				return taken, false
			}
			taken = append(taken, d.extents[i])
		}
	}
	return taken, true
}

// live returns the extents that follow the cursor in the order of the
// sequence, up to the limits of a run, and the cursor after them.
func live(ctx context.Context, p *Pipeline, limits Limits, seq int64, segments Segments) ([]Extent, Cursor, error) {
	cursor := p.Cursor
	b := bound{limits: limits}
	var taken []Extent
	windows := newWindows(p.Schedule.Zone)
	after := cursor.Live.Seq
	if cursor.Live.Index != EndOfSegment {
		after--
	}
	full := false
	err := segments(ctx, after, seq, func(s int64, extents []Extent) error {
		for i := range extents {
			e := &extents[i]
			if !cursor.Live.before(positionOf(e)) {
				continue
			}
			switch {
			case !p.exports(e):
			case p.LeaveLate && windows.late(e):
				cursor.LeftOut.Rows += e.Rows
				cursor.LeftOut.Bytes += e.Bytes
			default:
				if !b.take(e) {
					full = true
					return ErrStop
				}
				taken = append(taken, *e)
			}
			cursor.Live = Position{Seq: s, Index: e.Ref.Index}
		}
		cursor.Live = Position{Seq: s, Index: EndOfSegment}
		return nil
	})
	if err != nil && !errors.Is(err, ErrStop) {
		return nil, p.Cursor, fmt.Errorf("plan run of pipeline %s: %w", p.Name, err)
	}
	if !full && seq > cursor.Live.Seq {
		cursor.Live = Position{Seq: seq, Index: EndOfSegment}
	}
	return taken, cursor, nil
}

// bound counts the bytes, extents and days of a run while it is planned, and
// holds them to the limits.
type bound struct {
	limits Limits
	bytes  int64
	count  int
	days   map[journal.Day]struct{}
}

// take reports whether e still fits in the run, and counts it if it does. The
// first extent always fits.
func (b *bound) take(e *Extent) bool {
	day := b.limits.day(e)
	_, known := b.days[day]
	switch {
	case b.count == 0:
		b.days = map[journal.Day]struct{}{}
	case b.bytes+e.Bytes > b.limits.Bytes, b.count >= b.limits.Extents:
		return false
	case b.limits.Days > 0 && !known && len(b.days) >= b.limits.Days:
		return false
	}
	b.bytes += e.Bytes
	b.count++
	b.days[day] = struct{}{}
	return true
}

// InRange reports whether the pipeline exports the date of an extent.
func (p *Pipeline) InRange(e *Extent) bool { return p.inRange(e) }

func (p *Pipeline) inRange(e *Extent) bool { return e.UTCDate >= p.From && e.UTCDate <= p.To }

// exports reports whether an extent is one of the pipeline's: its date is, and it was
// not exported earlier. Whether the cursor has passed it does not matter.
func (p *Pipeline) exports(e *Extent) bool { return p.inRange(e) && !p.Cursor.exportedEarlier(e) }

func positionOf(e *Extent) Position {
	return Position{Day: e.UTCDate, Seq: e.Ref.Seq, Index: e.Ref.Index}
}
