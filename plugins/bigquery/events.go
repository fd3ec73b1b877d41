package bigquery

import (
	"context"
	"errors"
	"fmt"

	cloud "cloud.google.com/go/bigquery"

	"github.com/penstock-io/penstock/plugins/internal/ledgers"
	"github.com/penstock-io/penstock/sdk"
)

// commitStem is the stem of the jobs that commit a run. It is derived from the
// attempt that holds the fence, so that Status can ask for them.
func commitStem(run sdk.Run) string { return "commit_" + attemptName(run) }

// commitEvents moves the staged rows into the table of events, together with the
// record of the run.
func (d *destination) commitEvents(ctx context.Context, a *attempt, receipt sdk.Receipt) error {
	text, err := ledgers.EncodeReceipt(a.run.Number, receipt, nil) // the export log has the earlier contents
	if err != nil {
		return err
	}
	row := totals(a.run, eventsTable, a.started, receipt)
	row.receipt, row.stagedIn, row.jobs = text, a.table, a.loaded.jobs
	j, err := d.run(ctx, commitStem(a.run), scriptLimit, d.commitStatement(row))
	if err != nil {
		if err := d.settled(ctx, a.run, d.classify("commit", err)); err != nil {
			return err
		}
	}
	billed := int64(0)
	if q, ok := statistics[*cloud.QueryStatistics](j); ok {
		billed = q.TotalBytesBilled
	}
	d.log.Info("run committed", "pipeline", a.run.Pipeline, "run", a.run.Number, "rows", row.exported,
		"load_jobs", a.loaded.jobs, "bytes_loaded", a.loaded.bytes, "bytes_billed", billed)
	if a.table != "" {
		if err := d.deleteTable(ctx, a.table); err != nil {
			d.log.Warn("a staging table was not deleted; it expires by itself", "table", a.table, "error", err)
		}
	}
	return nil
}

// settled returns the outcome of a commit that ended with an error: nil if the run is
// committed, whatever the answer was.
func (d *destination) settled(ctx context.Context, run sdk.Run, cause error) error {
	l, err := d.ledgerAfter(ctx, run)
	if err != nil {
		return errors.Join(err, cause) // the class is that of the state that is not known
	}
	if l == nil {
		return sdk.Permanent(fmt.Errorf("%w; the ledger %s was deleted", cause, ledgerTable))
	}
	if done, err := eventsTarget.Settled(l.of(run), run, d.config.holder(run)); done || err != nil {
		return err
	}
	return cause
}

// errBehind is the error of a ledger that does not show a run whose COMMIT has succeeded.
var errBehind = errors.New("the COMMIT has succeeded, and the ledger does not show it")

// ledgerAfter reads the ledger after a commit of a run, of which it has the last word
// if it shows the run. If it does not, and the script's COMMIT has succeeded, the ledger
// that was read is an old one: it is read again.
func (d *destination) ledgerAfter(ctx context.Context, run sdk.Run) (*ledger, error) {
	pause := firstPause
	for try := 1; ; try++ {
		l, err := d.readLedger(ctx)
		if err != nil || l == nil || l.of(run).Last.Number >= run.Number || l.of(run).Fence != run.Fence {
			return l, err
		}
		committed, err := d.hasCommitted(ctx, commitStem(run))
		if err != nil || !committed {
			return l, err
		}
		if try == maxTries {
			return nil, sdk.Retryable(errBehind, 0)
		}
		if err := d.sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, longestPause)
	}
}

// eventsStatus reads the state of a run from the ledger. A commit that may still be
// running is in doubt.
func (d *destination) eventsStatus(ctx context.Context, run sdk.Run) (sdk.Status, error) {
	l, err := d.readLedger(ctx)
	if isMissingDataset(err) {
		return sdk.Status{State: sdk.Absent}, nil
	}
	if err != nil || l == nil {
		return sdk.Status{State: sdk.Absent}, err
	}
	mine := l.of(run)
	if mine.Last.Number < run.Number && mine.Fence > 0 {
		holder, _ := heldBy(mine, run)
		running, err := d.unfinished(ctx, commitStem(holder))
		if err != nil {
			return sdk.Status{}, err
		}
		if running {
			return sdk.Status{State: sdk.InDoubt, Last: mine.Last, Fence: mine.Fence}, nil
		}
		// A commit that ended between the two is in the ledger now.
		l, err = d.ledgerAfter(ctx, holder)
		if errors.Is(err, errBehind) {
			return sdk.Status{State: sdk.InDoubt, Last: mine.Last, Fence: mine.Fence}, nil
		}
		if err != nil || l == nil {
			return sdk.Status{State: sdk.Absent}, err
		}
		mine = l.of(run)
	}
	status := mine.Status(run)
	if run.Number < mine.Last.Number {
		status.Content, err = d.loggedContent(ctx, run)
	}
	return status, err
}

// errFound ends the reading of a table.
var errFound = errors.New("found")

// loggedContent returns the content of a committed run of events before the last one, from
// the export log, which the run's transaction has written; empty: the row is not there.
func (d *destination) loggedContent(ctx context.Context, run sdk.Run) (content string, err error) {
	err = d.eachRow(ctx, exportLog, func(row map[string]cloud.Value) error {
		name, _ := row["export_id"].(string)
		id, number, ok := parseExportID(name)
		if !ok || id != run.PipelineID || number != run.Number || row["data_source"] != sdk.Events.String() {
			return nil
		}
		content, _ = row["content"].(string)
		return errFound
	})
	if errors.Is(err, errFound) || isNotFound(err) {
		err = nil
	}
	return content, err
}

// ensureResolved creates the view mp_master_event_resolved if the configuration
// wants it and the mappings exist.
func (d *destination) ensureResolved(ctx context.Context) error {
	if !d.config.wantsResolved() {
		return nil
	}
	mappings, err := d.getTable(ctx, viewName(identityTable))
	if err != nil || mappings == nil {
		return err
	}
	view := d.table(nil, "Events without duplicates, with the distinct id that the mappings resolve to.")
	view.ViewQuery = d.resolvedQuery()
	_, err = d.ensureTable(ctx, resolvedTable, view)
	return err
}

// resolvedQuery joins events with the mappings of their distinct ids. Of rows that
// are equal in the four fields that identify an event it keeps one.
func (s *service) resolvedQuery() string {
	columns := names(columnsOf(sdk.Events))
	return "SELECT e.event_date, " + prefixed("e.", columnsOf(sdk.Events)) + ", COALESCE(m.resolved_distinct_id, e.distinct_id) AS resolved_distinct_id\n" +
		"FROM (\n  SELECT DATE(_PARTITIONTIME) AS event_date, " + columns + "\n  FROM " + s.config.quoted(eventsTable) + "\n  WHERE TRUE\n" +
		"  QUALIFY ROW_NUMBER() OVER (PARTITION BY DATE(_PARTITIONTIME), event_name, time, distinct_id, insert_id) = 1\n) AS e\n" +
		"LEFT JOIN " + s.config.quoted(viewName(identityTable)) + " AS m ON m.distinct_id = e.distinct_id"
}

func prefixed(prefix string, schema cloud.Schema) string {
	out := ""
	for i, f := range schema {
		if i > 0 {
			out += ", "
		}
		out += prefix + f.Name
	}
	return out
}
