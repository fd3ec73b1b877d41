package upkeep

import (
	"context"
	"log/slog"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/operation"
)

// A clock that is set years ahead would make every row old. One that is more than leap
// ahead of the pass before, or of the latest seal when there was no pass, is believed
// once it has gone on from there for doubt: a host that was stopped for long removes
// rows a week later, and a clock that is corrected within the week has removed none.
const (
	leap  = 45 * 24 * time.Hour
	doubt = 7 * 24 * time.Hour
)

// counted is the time by which the age of rows is counted, and since when the clock is
// further ahead; zero: it is not.
type counted struct{ to, aheadSince time.Time }

// cutoff returns the first day that retention keeps.
func (c counted) cutoff(retention time.Duration) journal.Day {
	return journal.DayOf(c.to.Add(-retention).Unix())
}

// count returns by which time the next pass counts.
func (u *Upkeep) count(ctx context.Context) (counted, error) {
	last, err := u.Last(ctx)
	if err != nil {
		return counted{}, err
	}
	var before counted
	if last != nil {
		before = counted{last.CountedTo, last.AheadSince}
	}
	if before.to.IsZero() {
		if before.to, err = u.o.Catalog.LatestSeal(ctx); err != nil {
			return counted{}, err
		}
	}
	return before.next(u.o.Now().UTC()), nil
}

// next returns by which time a pass counts that begins at now.
func (c counted) next(now time.Time) counted {
	since := now.Sub(c.aheadSince)
	switch {
	case c.to.IsZero() || now.Sub(c.to) <= leap:
		return counted{to: now}
	case c.aheadSince.IsZero() || since < 0 || since > leap:
		return counted{c.to, now} // from where it has to go on
	case since >= doubt:
		return counted{to: now}
	}
	return c
}

// note puts the time into the report of a pass, and says so when the clock is not
// believed.
func (c counted) note(report *operation.Upkeep, log *slog.Logger) {
	report.CountedTo, report.AheadSince = c.to, c.aheadSince
	if !c.aheadSince.IsZero() {
		log.Warn("the clock is far ahead of the last time that old rows were looked for; no further rows are removed until it has gone on for some days. Set it if it is wrong",
			"clock", report.StartedAt, "last", c.to, "removed_from", c.aheadSince.Add(doubt))
	}
}
