//go:build !race

package simulation_test

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/penstock-io/penstock/host/internal/catalog"
	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/segment"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/protocol"
)

func decode(b journal.Block) (ids []string, err error) {
	rows, err := segment.Decode(nil, b)
	for l := range bytes.Lines(rows) {
		ids = append(ids, idOf(l))
	}
	return ids, err
}

// hasFailed is told of an iteration that has failed.
func (w *world) hasFailed(pipeline, text string) {
	w.note(pipeline, "failed")
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.byName[pipeline]; l != nil {
		l.fails = true
	}
	_ = text
}

// begins is told of an iteration that begins, and checks that it may. The caller calls end
// when it has ended.
func (w *world) begins(ctx context.Context, host *life, name string) (end func()) {
	now := w.now()
	w.mu.Lock()
	l := w.byName[name]
	l.began, l.fails = now, false
	l.running++ // more than one, after a reload: the old and the new pipeline take turns
	finished := l.finished
	w.mu.Unlock()
	if finished.IsZero() || w.hasSlot(l, finished, now) {
		w.done.slots.Add(1)
	} else if settled, err := w.settled(ctx, host, name); err == nil && settled {
		w.errorf("an iteration of %s begins at %s, and has no %s slot since %s, when the one before began", name, now.UTC(), l.cfg.Schedule.Cadence, finished.UTC())
	}
	if seq, err := host.catalog.Sequence(ctx, w.shop.ID); err == nil {
		w.mu.Lock()
		l.floor, l.floorAt = seq, now.Truncate(time.Millisecond) // as the catalog keeps times
		w.mu.Unlock()
	}
	w.note(name, "iteration")
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		l.running--
		if ctx.Err() == nil && host.alive() == nil && !l.fails && l.state == "live" {
			l.finished = now
		}
	}
}

// mayWork checks that a pipeline is at work that does something for a run.
func (w *world) mayWork(run protocol.Run, does string) {
	w.mu.Lock()
	l := w.byName[run.Pipeline]
	w.mu.Unlock()
	switch l.state {
	case "paused", "removed", "cancelled", "forgotten":
		w.errorf("%s %s run %d, although it is %s", run.Pipeline, does, run.Number, l.state)
	}
}

// settled reports whether a pipeline is only due by its schedule: its backfill is over,
// it has had a run, and none is open.
func (w *world) settled(ctx context.Context, host *life, name string) (bool, error) {
	stored, err := host.catalog.Pipeline(ctx, name)
	if errors.Is(err, catalog.ErrUnknownPipeline) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	open, err := host.catalog.OpenRun(ctx, stored.ID)
	return open == nil && stored.Cursor.BackfillDone && stored.LastRun > 0 && stored.State == pipeline.Active, err
}

// hasSlot reports whether a slot of a pipeline lies after one time and not after another.
// It looks at the wall clock minute by minute, and knows nothing of how slots are found.
func (w *world) hasSlot(l *line, after, until time.Time) bool {
	s := l.cfg.Schedule
	switch s.Cadence {
	case pipeline.Continuous:
		return !until.Before(after.Truncate(time.Millisecond).Add(s.MinInterval)) // the catalog keeps milliseconds
	case pipeline.Hourly:
		if until.Sub(after) > 2*time.Hour {
			return true
		}
	default:
		if until.Sub(after) > 26*time.Hour {
			return true
		}
	}
	seconds := s.At % time.Minute
	for t := after.Truncate(time.Minute).Add(seconds); !t.After(until); t = t.Add(time.Minute) {
		wall := t.In(s.Zone)
		passed := time.Duration(wall.Hour())*time.Hour + time.Duration(wall.Minute())*time.Minute + time.Duration(wall.Second())*time.Second
		if s.Cadence == pipeline.Hourly {
			passed %= time.Hour
		}
		if t.After(after) && passed == s.At && (s.Cadence == pipeline.Hourly || !isRepeated(t, s.Zone)) {
			return true
		}
	}
	return s.Cadence == pipeline.Daily && skipsSlot(s, after, until)
}

// isRepeated reports whether the wall clock shows a time for the second time: clocks are set
// back by half an hour or an hour.
func isRepeated(t time.Time, zone *time.Location) bool {
	wall := t.In(zone).Format(time.DateTime)
	return t.Add(-time.Hour).In(zone).Format(time.DateTime) == wall || t.Add(-30*time.Minute).In(zone).Format(time.DateTime) == wall
}

// skipsSlot reports whether the clock is set forward past a daily slot between two times:
// the slot is then the time of the change.
func skipsSlot(s pipeline.Schedule, after, until time.Time) bool {
	_, change := after.In(s.Zone).ZoneBounds()
	if change.IsZero() || change.After(until) {
		return false
	}
	_, before := change.Add(-1).In(s.Zone).Zone()
	_, then := change.In(s.Zone).Zone()
	wall := change.UTC().Add(time.Duration(before) * time.Second)
	from := wall.Sub(wall.Truncate(24 * time.Hour))
	return s.At >= from && s.At < from+time.Duration(then-before)*time.Second
}

// forget forgets the iterations of continuous pipelines, or of one: a host does not store
// those that found nothing.
func (w *world) forget(only *line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lines {
		if l.cfg.Schedule.Cadence == pipeline.Continuous && (only == nil || only == l) {
			l.finished = time.Time{}
		}
	}
}

// missed complains about pipelines that had a slot and no iteration.
func (w *world) missed() {
	now := w.now()
	for _, l := range w.lines {
		w.mu.Lock()
		began, waits := l.began, l.running > 0 || l.fails
		w.mu.Unlock()
		if l.state != "live" || waits || began.IsZero() {
			continue
		}
		if settled, err := w.settled(w.ctx, w.life, l.cfg.Name); err != nil || !settled {
			w.must(err)
			continue
		}
		if since := w.upSince(began); w.hasSlot(l, since, now.Add(-10*time.Minute)) {
			w.errorf("%s has had no iteration since %s, and a slot since %s", l.cfg.Name, began.UTC(), since.UTC())
		}
	}
}

// upSince returns a time, or a later one since when the host was up and the clock not set.
func (w *world) upSince(t time.Time) time.Time {
	if w.life.began.After(t) {
		return w.life.began
	}
	return t
}

// kept checks a pass of upkeep: before are the extents that the journal had. Rows that it
// removed are old, and no pipeline needs them.
func (w *world) kept(before map[journal.ExtentRef]bool) {
	after := w.held()
	young := journal.DayOf(w.now().Add(-retention).Unix())
	for _, id := range w.order {
		r := w.rows[id]
		if r.removed || !before[r.ref] || after[r.ref] {
			continue
		}
		r.removed = true
		w.done.removed.Add(1)
		if r.day >= young || journal.DayOf(r.sealedAt.Unix()) >= young {
			w.errorf("retention removed event %s of %s, sealed at %s", id, r.day, r.sealedAt.UTC())
		}
		for _, l := range w.lines {
			if (l.state == "live" || l.state == "paused" || l.state == "removed") && w.needs(l, r) {
				w.errorf("retention removed event %s of %s, which %s has yet to export", id, r.day, l.cfg.Name)
			}
		}
	}
}

// needs reports whether a pipeline has yet to export a row.
func (w *world) needs(l *line, r *row) bool {
	if !l.has(r) || l.gone[r.id] || r.ref == (journal.ExtentRef{}) {
		return false
	}
	for x := l; x != nil; x = x.before {
		if x.has(r) && x.leavesOut(r) {
			return false
		}
	}
	l.place.mu.Lock()
	defer l.place.mu.Unlock()
	return l.place.rows[r.id] == ""
}
