package bigquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	cloud "cloud.google.com/go/bigquery"

	"github.com/penstock-io/penstock/plugins/internal/ledgers"
	"github.com/penstock-io/penstock/sdk"
)

// With mode = "load" the parts of a run of events are loaded into the days of
// mp_master_event themselves. Their job ids are made of the run's content and the part, and
// not of the attempt: a part that any attempt has loaded is not loaded again. Parts are
// cut in the same places by every attempt, since a run is always sent in the same batches.

// The values of attribute mode.
const (
	modeTransaction = "transaction"
	modeLoad        = "load"
)

// appends reports whether the rows of a run are loaded into the table of events itself,
// without a transaction.
func (c config) appends(run sdk.Run) bool { return c.Mode == modeLoad && run.Mode == sdk.Append }

// appendStem is the stem of the job that loads a part of a partition, in every attempt. A
// partition has its number also if others have no row, or none that is loaded.
func appendStem(run sdk.Run, partition, part int) string {
	return fmt.Sprintf("append_%s_%08d_%s_d%05d_p%05d", run.PipelineID, run.Number, label(run.Content), partition, part)
}

// appendMark begins the holder in the ledger of a run that is loaded without a
// transaction. The run's number and content follow: the number too, since rows that are
// planned again are another run with equal content.
const appendMark = "load "

// holder is the text of the ledger for the run that holds the fence.
func (c config) holder(run sdk.Run) string {
	if c.appends(run) {
		return fmt.Sprintf("%s%d %s", appendMark, run.Number, run.Content)
	}
	return run.Content
}

// heldBy returns the run of a pipeline that holds the fence, with the number of the given
// one if the ledger does not tell it. appended is whether it is loaded without a
// transaction.
func heldBy(e ledgers.Entry, run sdk.Run) (held sdk.Run, appended bool) {
	held = run
	held.Fence, held.Content = e.Fence, e.Holder
	rest, appended := strings.CutPrefix(e.Holder, appendMark)
	if !appended {
		return held, false
	}
	number, content, _ := strings.Cut(rest, " ")
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		held.Number, held.Content = n, content
	}
	return held, true
}

// The parts whose jobs tell whether a run was begun: parts are loaded concurrently, so
// that the first one need not be the first to have a job.
const (
	probedPartitions = 3 * blockCount
	probedParts      = 2
)

// checkBegun refuses a run of which other rows, or the same in a transaction or by
// another number, may have been loaded without one: they would be there twice.
func (d *destination) checkBegun(ctx context.Context, run sdk.Run) error {
	l, err := d.readLedger(ctx)
	if err != nil || l == nil {
		return err
	}
	mine := l.of(run)
	held, appended := heldBy(mine, run)
	if !appended || mine.Holder == d.config.holder(run) || held.Number <= mine.Last.Number {
		return nil
	}
	begun, err := d.mayBeLoaded(ctx, held)
	if err != nil || !begun {
		return err
	}
	if run.Adopt {
		d.log.Warn("rows of a run that was given up may be in the table; they are not looked at, because adopt = true", "table", eventsTable, "run", held.Number)
		return nil
	}
	return sdk.Configuration(fmt.Errorf("run %d of pipeline %s was begun with mode = \"load\" and given up, or is sent with other rows or another mode now: rows of it may be in %s", held.Number, run.Pipeline, eventsTable),
		"compare with `penstock pipelines verify`, delete the rows that no run has recorded, and set adopt = true for one run")
}

// checkLeft returns the error of a run that is given up, and leaves rows that cannot be
// told from others. An earlier attempt, of another process, may have loaded them.
func (d *destination) checkLeft(ctx context.Context, a *attempt) error {
	count := ""
	if a.loaded.jobs > 0 {
		count = strconv.Itoa(a.loaded.jobs) + " "
	} else if begun, err := d.mayBeLoaded(ctx, a.run); err != nil || !begun {
		return err
	} else if a.run.Adopt {
		d.log.Warn("rows of a run that is given up may be in the table; they are not looked at, because adopt = true", "table", eventsTable, "run", a.run.Number)
		return nil
	}
	return sdk.Configuration(fmt.Errorf("%sloads of run %d stay in %s: with mode = \"load\" no row tells its run", count, a.run.Number, eventsTable),
		"delete the rows of the run's days that no run has recorded: `penstock pipelines verify` shows them; then set adopt = true, and give the run up again")
}

// mayBeLoaded reports whether rows of a run may have been loaded without a transaction.
func (d *destination) mayBeLoaded(ctx context.Context, run sdk.Run) (bool, error) {
	for partition := range probedPartitions {
		for part := 1; part <= probedParts; part++ {
			if loaded, err := d.mayLoad(ctx, appendStem(run, partition, part)); loaded || err != nil {
				return loaded, err
			}
		}
	}
	return false, nil
}

// mayLoad reports whether a try of a stem has loaded its part, or may still do so.
func (s *service) mayLoad(ctx context.Context, stem string) (bool, error) {
	stem, err := s.inScope(ctx, stem)
	if err != nil {
		return false, err
	}
	for n := 1; ; n++ {
		id := jobID(stem, n)
		j, err := s.job(ctx, id)
		switch {
		case isNotFound(err):
			return false, nil
		case err != nil:
			return false, s.classify("state of job "+id, err)
		case !isDone(j) || failureOf(id, j) == nil:
			return true, nil
		}
	}
}

// loadedBefore returns the job that has loaded a part, in this attempt or another, after
// it has ended; nil: there is none. next is the first try whose id is free.
func (s *service) loadedBefore(ctx context.Context, stem string) (j *cloud.JobStatus, next int, err error) {
	stem, err = s.inScope(ctx, stem)
	if err != nil {
		return nil, 0, err
	}
	for next = 1; ; next++ {
		id := jobID(stem, next)
		j, err = s.job(ctx, id)
		if isNotFound(err) {
			return nil, next, nil
		}
		if err == nil && !isDone(j) {
			j, err = s.end(ctx, id, loadLimit)
		}
		if err != nil || failureOf(id, j) == nil {
			return j, next, err
		}
	}
}

// loadAppended loads a part into its day unless it is there.
func (a *attempt) loadAppended(s *service, l *loading, held bool) (*cloud.JobStatus, error) {
	before, next, err := s.loadedBefore(a.ctx, l.stem)
	if err == nil && before == nil {
		err = s.stillHolds(a.ctx, a.run)
	}
	if err != nil || before != nil {
		if !held {
			// The writer goes on to the end of the part, whose rows are counted.
			_, readErr := io.Copy(io.Discard, l.part)
			err = errors.Join(err, readErr)
			l.part.stopReading()
		} else {
			l.part.release()
		}
		return before, err
	}
	l.first = next
	return a.loadRows(s, l, held)
}

// stillHolds returns the error of an attempt that another one has overtaken. A load has
// no condition: one that is frozen between this question and its load is not stopped.
func (s *service) stillHolds(ctx context.Context, run sdk.Run) error {
	l, err := s.readLedger(ctx)
	if err != nil || l == nil {
		return err // the commit needs the ledger, and tells that it is gone
	}
	mine := l.of(run)
	switch {
	case mine.Fence > run.Fence:
		return ledgers.Fenced(mine.Fence, run.Fence)
	case mine.Holder != s.config.holder(run):
		return ledgers.SameFence(run.Fence)
	}
	return nil
}

// changesPerDay is how many changes of partitions an ingestion-time partitioned table
// takes in a day (UTC). Loads are counted, statements are not.
const changesPerDay = 11_000

// changesToday returns how many changes of partitions committed runs have made today.
func (d *destination) changesToday(ctx context.Context) (int, error) {
	today := d.now().UTC().Truncate(24 * time.Hour)
	changes := 0
	err := d.eachRow(ctx, exportLog, func(row map[string]cloud.Value) error {
		at, ok := row["exported_at"].(time.Time)
		jobs, counted := row["load_jobs"].(int64)
		if ok && counted && !at.Before(today) && row["data_source"] == sdk.Events.String() {
			changes += int(jobs)
		}
		return nil
	})
	return changes, err
}

// watchChanges returns an error instead of a load that the table would refuse, and warns
// when most of the day's changes are used. Loads of attempts that have failed count at the service and
// are not known here.
func (d *destination) watchChanges(a *attempt) error {
	if !d.config.appends(a.run) {
		return nil
	}
	used := a.changesBefore + a.parts
	if used >= changesPerDay {
		tomorrow := d.now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		return sdk.Retryable(fmt.Errorf("%s takes %d changes of partitions in a day (UTC), one for each load, and %d are used", eventsTable, changesPerDay, used), tomorrow.Sub(d.now()))
	}
	if used == changesPerDay*8/10 {
		d.log.Warn("most of the changes of partitions that the table takes in a day are used; raise min_interval, or use mode = \"transaction\"",
			"table", eventsTable, "used", used, "limit", changesPerDay)
	}
	return nil
}
