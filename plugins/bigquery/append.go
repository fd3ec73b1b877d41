package bigquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	cloud "cloud.google.com/go/bigquery"

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

// appends reports whether events are loaded into their days without a transaction.
func (c config) appends() bool { return c.Mode == modeLoad }

// appendStem is the stem of the job that loads a part of a partition, in every attempt. A
// partition has its number also if others have no row, or none that is loaded.
func appendStem(run sdk.Run, partition, part int) string {
	return fmt.Sprintf("append_%s_%08d_%s_d%05d_p%05d", run.PipelineID, run.Number, label(run.Content), partition, part)
}

// appendMark begins the holder in the ledger of a run that is loaded without a
// transaction.
const appendMark = "load "

// holder is the text of the ledger for the run that holds the fence.
func (c config) holder(run sdk.Run) string {
	if c.appends() {
		return appendMark + run.Content
	}
	return run.Content
}

// heldContent returns the content of the run that holds the fence.
func (e entry) heldContent() string { return strings.TrimPrefix(e.holder, appendMark) }

// probedPartitions is the number of partitions whose jobs tell whether a run was begun:
// parts are loaded concurrently, so that the first one need not be the first to have a job.
const probedPartitions = 3 * blockCount

// checkBegun refuses a run of which other rows, or the same in a transaction, may have
// been loaded without one: they would be there twice.
func (d *destination) checkBegun(ctx context.Context, run sdk.Run) error {
	l, err := d.readLedger(ctx)
	if err != nil || l == nil || run.Adopt {
		return err
	}
	mine := l.of(run)
	if !strings.HasPrefix(mine.holder, appendMark) || mine.heldContent() == mine.last.Content || mine.holder == d.config.holder(run) {
		return nil
	}
	held := run
	held.Content = mine.heldContent()
	for held.Number = mine.last.Number + 1; held.Number <= run.Number && held.Number <= mine.last.Number+2; held.Number++ {
		for partition := range probedPartitions {
			begun, err := d.hasJob(ctx, appendStem(held, partition, 1))
			if err != nil {
				return err
			}
			if begun {
				return sdk.Configuration(fmt.Errorf("run %d of pipeline %s was begun with mode = \"load\" and given up, or is sent with other rows or another mode now: rows of it may be in %s", held.Number, run.Pipeline, eventsTable),
					"compare with `penstock pipelines verify`, delete the rows that no run has recorded, and set adopt = true for one run")
			}
		}
	}
	return nil
}

// hasJob reports whether the first try of a stem exists.
func (s *service) hasJob(ctx context.Context, stem string) (bool, error) {
	stem, err := s.inScope(ctx, stem)
	if err != nil {
		return false, err
	}
	_, err = s.job(ctx, jobID(stem, 1))
	if isNotFound(err) {
		return false, nil
	}
	return err == nil, s.classify("state of job "+jobID(stem, 1), err)
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
	if !d.config.appends() || a.run.Mode != sdk.Append {
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
