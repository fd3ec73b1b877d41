package mixpanel

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
)

// Late events of a day that was pulled whole are asked for with a selector on the
// time at which Mixpanel processed them:
//
//	1 June  pulled whole on 2 June at 01:00
//	        again on 3 June: processed since 1 June 23:00 (lateMargin before)
//	        again on 4 June: processed since 2 June 23:00
//	        …
//	        whole on 11 June, when it leaves the lookback
//
// So all days of the lookback share one small query. Whether the selector finds all
// events is not taken for granted: every trialEvery the whole day that leaves the
// lookback is compared with the selector's answer for the same day. Until a trial has
// succeeded, and after one that has not, days are pulled whole.
const (
	// lateMargin is how long before the last pull the selector begins: Mixpanel needs
	// about 45 minutes until everything that arrived is exported.
	lateMargin = 2 * time.Hour
	trialEvery = 7 * 24 * time.Hour
	// trialSpan is the part of a day, at its end, that a trial asks for.
	trialSpan = time.Hour
)

// processed is the property that the selector is about: unix milliseconds.
const processed = "mp_processing_time_ms"

// selector selects events that were processed since an instant.
func selector(since int64) string { return fmt.Sprintf(`properties[%q] >= %d`, processed, since) }

// trialPosition is the position of the cursor of trials.
const trialPosition = "where"

// trial is the result of the last trial of the selector.
type trial struct {
	At     int64  `json:"at"`               // unix milliseconds; 0: there was none
	Whole  int64  `json:"whole"`            // events that the whole day has, as far as the selector selects them
	Found  int64  `json:"found"`            // events that the selector found
	Reason string `json:"reason,omitempty"` // why the selector is not used; "": it is
}

// trusted reports whether the selector is used.
func (t trial) trusted() bool { return t.At != 0 && t.Reason == "" }

// due reports whether the selector is to be tried.
func (t trial) due(now time.Time) bool { return now.Sub(time.UnixMilli(t.At)) >= trialEvery }

// judge returns the result of a trial at an instant: it compares the counts of the
// whole day with those of the selector's answer.
func judge(whole, found lateCount, at time.Time) trial {
	t := trial{At: at.UnixMilli(), Whole: whole.late, Found: found.late}
	switch {
	case whole.without > 0:
		t.Reason = fmt.Sprintf("%d events have no %s", whole.without, processed)
	case found.early+found.without > 0:
		t.Reason = fmt.Sprintf("%d events came that were not asked for", found.early+found.without)
	case whole.late == 0:
		t.Reason = "the day has no event that was processed near its end or later"
	case found.late < whole.late:
		t.Reason = fmt.Sprintf("%d of %d events were found", found.late, whole.late)
	}
	return t
}

// lateCount counts events by the time at which they were processed.
type lateCount struct {
	since   int64 // unix milliseconds
	early   int64 // processed before since
	late    int64 // processed at since or later
	without int64 // that do not say when
}

// add counts a line of an export. A line that is not JSON counts as an event that does
// not say when it was processed; one without an event, such as an error, is skipped.
func (c *lateCount) add(line []byte) {
	var e struct {
		Event      json.RawMessage `json:"event"`
		Properties struct {
			Processed *int64 `json:"mp_processing_time_ms"`
		} `json:"properties"`
	}
	switch err := json.Unmarshal(line, &e); {
	case err == nil && e.Event == nil: // not an event
	case err != nil || e.Properties.Processed == nil:
		c.without++
	case *e.Properties.Processed < c.since:
		c.early++
	default:
		c.late++
	}
}

// tries reports whether a query is for a day that is due to be a trial.
func (s *Source) tries(q Query) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	return q.Why == Again && q.Since == 0 && q.From == q.To && s.schedule.leaves(q.From, s.schedule.today(now)) && s.schedule.trial.due(now)
}

// trialSince returns the instant, in unix milliseconds, that the selector of a trial for
// a day begins with.
func (s *Source) trialSince(d journal.Day) int64 {
	return s.schedule.begins(d + 1).Add(-trialSpan).UnixMilli()
}

// try asks for the events of a day a second time, with the selector, and keeps the result
// of the comparison with the whole day. A query that fails has no result: another day is
// tried.
func (s *Source) try(ctx context.Context, f *flight, whole lateCount, store Store) error {
	trying := &flight{query: Query{From: f.query.From, To: f.query.To, Why: Again, Since: whole.since}}
	s.join(trying)
	found := lateCount{since: whole.since}
	d, err := s.download(ctx, trying, found.add)
	if err == nil {
		result := judge(whole, found, s.o.Now())
		d.trial = &result
		err = s.store(ctx, d, store)
	}
	s.leave(trying)
	if s.refuses(trying.query, err) || KindOf(err) != 0 {
		return nil
	}
	return err
}

// refuses reports whether an error means that the server does not take the selector. It
// notes that as the result of a trial, so that days are pulled whole until the next one.
func (s *Source) refuses(q Query, err error) bool {
	if q.Since == 0 || KindOf(err) != BadRequest {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedule.trial = trial{At: s.o.Now().UnixMilli(), Reason: err.Error()}
	return true
}

// Late describes how late events are asked for.
type Late struct {
	Selects bool      // by the time of processing, and not by whole days
	Tried   time.Time // zero: never
	Reason  string    // why not, after a trial
}

func (t trial) late() (l Late) {
	if t.At != 0 {
		l = Late{Selects: t.trusted(), Tried: time.UnixMilli(t.At), Reason: t.Reason}
	}
	return l
}
