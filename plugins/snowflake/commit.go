package snowflake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock-io/penstock/plugins/internal/ledgers"
	"github.com/penstock-io/penstock/sdk"
)

// statusTime bounds the wait of Status for the ledger's lock: a commit that holds it
// for longer is in doubt.
const statusTime = 30 * time.Second

// Commit implements sdk.Destination.
func (d *destination) Commit(ctx context.Context, run sdk.Run, receipt sdk.Receipt) error {
	a, err := d.attempt(run)
	if err != nil {
		return d.notOpen(ctx, run, err)
	}
	text, err := ledgers.EncodeReceipt(run.Number, receipt, a.earlier)
	if err != nil {
		return err
	}
	a.committing = true
	begun := d.now()
	err = d.within(ctx, tagOf(run), func(x *session) error { return d.commit(ctx, x, a, text) })
	if err != nil {
		if refusedRow(err) {
			d.suspect(a)
		}
		if err := d.settled(ctx, a, err); err != nil {
			return err
		}
	}
	d.report(a, d.now().Sub(begun))
	if len(a.files) > 0 {
		removing, cancel := context.WithTimeout(ctx, removeTime)
		defer cancel()
		if err := d.removeFiles(removing, a); err != nil {
			d.log.Warn("files were not removed from the stage; the next run removes them", "error", err)
		}
	}
	d.end(a)
	return nil
}

// commit carries out the transaction: the rows first, the ledger last. A session that
// is lost takes its transaction and its temporary table with it, so that the whole is
// done again; the ledger tells a commit whose answer was lost.
func (d *destination) commit(ctx context.Context, x *session, a *attempt, receipt string) error {
	table := rawTable(a.run.Stream)
	if a.run.Mode == sdk.Replace {
		table = loadPrefix + strings.ToUpper(attemptOf(a.run))
		defer x.restore(ctx, "DROP TABLE IF EXISTS "+d.config.in(table))
		if err := d.loadAside(ctx, x, a, table); err != nil {
			return err
		}
	}
	l := d.ledgerOf(a.run.Stream)
	err := x.transact(ctx, func(transaction string) error {
		var err error
		if a.run.Mode == sdk.Replace {
			err = d.replace(ctx, x, a, table)
		} else {
			err = d.config.load(ctx, x, table, d.stage.name(), attemptDir(a.run), a.files)
		}
		if err != nil {
			return err
		}
		return l.record(ctx, x, transaction, a.run, receipt)
	})
	if err != nil {
		return err
	}
	return l.confirm(ctx, x, a.run)
}

// loadAside loads a set into a temporary table, which ends with the session.
func (d *destination) loadAside(ctx context.Context, x *session, a *attempt, table string) error {
	for _, text := range []string{"DROP TABLE IF EXISTS " + d.config.in(table), "CREATE TEMPORARY TABLE " + d.config.in(table) + ` ("DATA" VARIANT)`} {
		if err := x.run(ctx, text); err != nil {
			return err
		}
	}
	return d.config.load(ctx, x, table, d.stage.name(), attemptDir(a.run), a.files)
}

// replace replaces the rows of a set.
func (d *destination) replace(ctx context.Context, x *session, a *attempt, table string) error {
	n, err := x.change(ctx, "INSERT OVERWRITE INTO "+d.config.in(rawTable(a.run.Stream))+` ("DATA") SELECT "DATA" FROM `+d.config.in(table))
	if err == nil && uint64(n) != a.rows {
		err = sdk.Retryable(fmt.Errorf("%d rows of the set were inserted of %d", n, a.rows), 0)
	}
	return err
}

// report writes the line of a committed run, with the facts that its credits depend
// on.
func (d *destination) report(a *attempt, took time.Duration) {
	var stored int64
	for _, f := range a.files {
		stored += f.size
	}
	d.log.Info("run committed", "pipeline", a.run.Pipeline, "run", a.run.Number, "rows", a.rows, "files", len(a.files), "bytes_loaded", stored,
		"bytes_of_rows", a.bytes, "commit_seconds", took.Seconds(), "seconds", d.now().Sub(a.started).Seconds(), "warehouse", d.config.Warehouse)
}

// settled returns the outcome of a commit that ended with an error: nil if the run is
// committed, whatever the answer was. An attempt that a newer one has overtaken can
// fail in any statement: the newer one has removed its files.
func (d *destination) settled(ctx context.Context, a *attempt, cause error) error {
	l := d.ledgerOf(a.run.Stream)
	read := d.peek
	if errors.Is(cause, errOvertaken) || errors.As(cause, new(unknownCommit)) || isSessionLost(cause) {
		read = d.latest
	}
	e, err := read(ctx, a.run, l)
	if err != nil {
		return errors.Join(d.commitError(a, cause), err)
	}
	done, err := l.target(a.run).Settled(e, a.run, a.run.Content)
	if err != nil || done {
		return err
	}
	return d.commitError(a, cause)
}

// commitError classifies the error of a commit.
func (d *destination) commitError(a *attempt, err error) error {
	if refusedRow(err) && !a.all {
		return sdk.Retryable(fmt.Errorf("commit: COPY refused a row of a batch without flags; the next attempt decodes every batch: %w", err), 0)
	}
	if errors.Is(err, errOvertaken) {
		return sdk.Retryable(fmt.Errorf("commit: %w", err), 0)
	}
	grant := d.config.grantOn("SELECT, INSERT, TRUNCATE", "TABLE", d.config.in(rawTable(a.run.Stream)))
	return d.classify("commit", grant, err)
}

// latest reads the pipeline's entry as it is after every commit that is going on: the
// statement before waits for the ledger's lock, and what follows a change in its
// session sees all changes before it. A plain read can be behind the commit of another
// session.
func (d *destination) latest(ctx context.Context, run sdk.Run, l ledger) (ledgers.Entry, error) {
	var e ledgers.Entry
	err := d.within(ctx, tagOf(run), func(x *session) error {
		if err := l.lock(ctx, x); err != nil {
			return err
		}
		entries, err := l.read(ctx, x, run.PipelineID)
		e = entries[run.PipelineID]
		return err
	})
	return e, d.classify("read the ledger "+l.name, l.grant(d.config), err)
}

// peek reads the pipeline's entry as some commit has left it, maybe not the last one.
func (d *destination) peek(ctx context.Context, run sdk.Run, l ledger) (ledgers.Entry, error) {
	var e ledgers.Entry
	err := d.within(ctx, tagOf(run), func(x *session) error {
		entries, err := l.read(ctx, x, run.PipelineID)
		e = entries[run.PipelineID]
		return err
	})
	if isMissing(err) {
		return e, err
	}
	return e, d.classify("read the ledger "+l.name, l.grant(d.config), err)
}

// Status implements sdk.Destination. It asks the ledger again, behind its lock, before
// it says that a run is absent.
func (d *destination) Status(ctx context.Context, run sdk.Run) (sdk.Status, error) {
	l := d.ledgerOf(run.Stream)
	e, err := d.peek(ctx, run, l)
	if isMissing(err) {
		return d.withoutLedger(ctx, run, l, err)
	}
	if err != nil {
		return sdk.Status{}, err
	}
	if e.Last.Number >= run.Number {
		return e.Status(run), nil
	}
	waiting, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	again, err := d.latest(waiting, run, l)
	switch {
	case err == nil:
		return again.Status(run), nil
	case ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || hasNumber(err, lockTimedOut)):
		return sdk.Status{State: sdk.InDoubt, Last: e.Last, Fence: e.Fence}, nil
	}
	return sdk.Status{}, err
}

// withoutLedger is the status of a run whose ledger was answered to be missing: the run
// is absent if the schema is visible and has no ledger. The service gives the same answer
// for a schema that the role may not use any more.
func (d *destination) withoutLedger(ctx context.Context, run sdk.Run, l ledger, missing error) (sdk.Status, error) {
	var found bool
	err := d.within(ctx, tagOf(run), func(x *session) error {
		var err error
		found, err = d.exists(ctx, x, "TABLE", l.name)
		return err
	})
	if err == nil && found {
		err = missing
	}
	if err != nil {
		return sdk.Status{}, d.classify("read the ledger "+l.name, l.grant(d.config), err)
	}
	return sdk.Status{State: sdk.Absent}, nil
}

// notOpen is the answer to the commit of a run that is not open: it may be committed.
func (d *destination) notOpen(ctx context.Context, run sdk.Run, notOpen error) error {
	status, err := d.Status(ctx, run)
	if err != nil {
		return err
	}
	done, err := status.Last.Holds(run)
	if err == nil && !done {
		err = notOpen
	}
	return err
}
