package snowflake

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/ledgers"
	"github.com/penstock-io/penstock/sdk"
)

// ledgerColumns are those of a target's ledger, with the values of its first row. The
// table has one row for each pipeline that has ever opened a run, and one with an empty
// id, the lock. Every UPDATE locks the table until the end of its transaction.
var ledgerColumns = []struct{ name, kind, first string }{
	{"PIPELINE_ID", "VARCHAR", "''"}, // empty: the lock
	{"PIPELINE", "VARCHAR", "''"},
	{"PROJECT_ID", "NUMBER(38,0)", ""}, // the Mixpanel project whose rows the target holds
	{"VERSION", "NUMBER(38,0)", "0"},   // of the lock
	{"FENCE", "NUMBER(38,0)", "0"},     // of the attempt that may commit
	{"HOLDER", "VARCHAR", "''"},        // content of the run that holds the fence
	{"FORMER", "BOOLEAN", "FALSE"},     // another pipeline has adopted the target
	{"RUN", "NUMBER(38,0)", "0"},       // last committed run
	{"CONTENT", "VARCHAR", "''"},       // of the last committed run
	{"RECEIPT", "VARCHAR", "''"},       // of the last committed run, as JSON
	{"UPDATED_AT", "TIMESTAMP_NTZ", "SYSDATE()"},
}

// createLedger creates a ledger together with its lock, in one statement: of several
// that are run at a time the first creates the table, and the others fail.
func (c config) createLedger(stream sdk.Stream, projectID int64) string {
	var names, values []string
	for _, col := range ledgerColumns {
		value := col.first
		if value == "" {
			value = strconv.FormatInt(projectID, 10)
		}
		names = append(names, `"`+col.name+`" `+col.kind)
		values = append(values, value+` AS "`+col.name+`"`)
	}
	return "CREATE TABLE " + c.in(ledgerTable(stream)) + " (" + strings.Join(names, ", ") +
		") AS SELECT " + strings.Join(values, ", ")
}

// ledger is the ledger of one target, as SQL refers to it.
type ledger struct {
	table string // with database and schema
	name  string
}

func (s *service) ledgerOf(stream sdk.Stream) ledger {
	return ledger{s.config.in(ledgerTable(stream)), ledgerTable(stream)}
}

// target is the ledger's target in errors about a run.
func (l ledger) target(run sdk.Run) ledgers.Target {
	return ledgers.Target{Name: viewOf(run.Stream), Place: "schema", Ledger: l.name}
}

// grant is the statement that lets the role use the ledger.
func (l ledger) grant(c config) string { return c.grantOn("SELECT, INSERT, UPDATE", "TABLE", l.table) }

// read returns the entries by pipeline id; with an id only that pipeline's.
func (l ledger) read(ctx context.Context, x *session, id string) (map[string]ledgers.Entry, error) {
	text := `SELECT "PIPELINE_ID", "PIPELINE", "PROJECT_ID", "FENCE", "HOLDER", "FORMER", "RUN", "CONTENT", "RECEIPT" FROM ` + l.table
	var args []any
	if id != "" {
		text += ` WHERE "PIPELINE_ID" = ?`
		args = append(args, id)
	}
	rows, err := x.rows(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	entries := make(map[string]ledgers.Entry)
	for _, r := range rows {
		e, err := parseEntry(r)
		if _, twice := entries[e.PipelineID]; twice {
			err = errors.Join(err, fmt.Errorf("it has pipeline %q twice", e.PipelineID))
		}
		if err != nil {
			return nil, l.damaged(err)
		}
		entries[e.PipelineID] = e
	}
	return entries, nil
}

func (l ledger) damaged(err error) error {
	return sdk.Permanent(fmt.Errorf("the ledger %s is damaged: %w; restore it with time travel (CREATE TABLE … CLONE … AT)", l.name, err))
}

func parseEntry(r row) (ledgers.Entry, error) {
	var errs []error
	number := func(name string) int64 {
		n, err := strconv.ParseInt(r[name], 10, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("its column %s has %q", strings.ToUpper(name), r[name]))
		}
		return n
	}
	e := ledgers.Entry{
		PipelineID: r["pipeline_id"], Pipeline: r["pipeline"], ProjectID: number("project_id"), Fence: number("fence"), Holder: r["holder"],
		Last: sdk.LastRun{Number: number("run"), Content: r["content"]}, Receipt: r["receipt"],
	}
	var err error
	if e.Former, err = strconv.ParseBool(r["former"]); err != nil {
		errs = append(errs, fmt.Errorf("its column FORMER has %q", r["former"]))
	}
	return e, errors.Join(errs...)
}

// claim makes the run's pipeline the holder of the target with the run's fence, and
// returns its entry: that before the claim if the pipeline did not hold the target. No attempt with an older fence can commit from then
// on. A claim that is made again changes nothing.
func (l ledger) claim(ctx context.Context, x *session, run sdk.Run) (ledgers.Entry, error) {
	n, err := x.change(ctx, `UPDATE `+l.table+` SET "FENCE" = ?, "HOLDER" = ?, "PIPELINE" = ?, "UPDATED_AT" = SYSDATE()`+
		` WHERE "PIPELINE_ID" = ? AND "PROJECT_ID" = ? AND "FENCE" <= ? AND "FORMER" = FALSE`,
		run.Fence, run.Content, run.Pipeline, run.PipelineID, run.ProjectID, run.Fence)
	if err != nil {
		return ledgers.Entry{}, err
	}
	if n != 1 {
		return l.claimNew(ctx, x, run)
	}
	entries, err := l.read(ctx, x, run.PipelineID)
	return entries[run.PipelineID], err
}

// claimNew is claim for a pipeline that does not hold the target. The UPDATE of the
// lock comes first: claims of several pipelines follow one another.
func (l ledger) claimNew(ctx context.Context, x *session, run sdk.Run) (ledgers.Entry, error) {
	var mine ledgers.Entry
	err := x.transact(ctx, func(transaction string) error {
		if err := l.lock(ctx, x); err != nil {
			return err
		}
		entries, err := l.read(ctx, x, "")
		if err == nil {
			err = l.target(run).Admit(entries[""].ProjectID, entries, run)
		}
		if err != nil {
			return err
		}
		var known bool
		mine, known = entries[run.PipelineID]
		if run.Adopt && (!known || run.Mode == sdk.Replace) {
			if err := x.run(ctx, `UPDATE `+l.table+` SET "FORMER" = TRUE WHERE "PIPELINE_ID" <> '' AND "PIPELINE_ID" <> ?`, run.PipelineID); err != nil {
				return err
			}
		}
		return l.enter(ctx, x, transaction, run, known)
	})
	return mine, err
}

// lock locks the ledger until the end of the transaction, or waits until other
// transactions have ended.
func (l ledger) lock(ctx context.Context, x *session) error {
	n, err := x.change(ctx, `UPDATE `+l.table+` SET "VERSION" = "VERSION" + 1, "UPDATED_AT" = SYSDATE() WHERE "PIPELINE_ID" = ''`)
	if err == nil && n != 1 {
		err = l.damaged(fmt.Errorf("it has %d rows with an empty id, and must have one", n))
	}
	return err
}

// enter writes the fence of a run's pipeline. It is the last statement of a transaction,
// as record is: the lock is held no longer than the transaction.
func (l ledger) enter(ctx context.Context, x *session, transaction string, run sdk.Run, known bool) error {
	text, args := `INSERT INTO `+l.table+` ("PIPELINE_ID", "PIPELINE", "PROJECT_ID", "VERSION", "FENCE", "HOLDER", "FORMER", "RUN", "CONTENT", "RECEIPT", "UPDATED_AT")`+
		` SELECT ?, ?, ?, 0, ?, ?, FALSE, 0, '', '', SYSDATE() FROM `+l.table+` WHERE "PIPELINE_ID" = '' AND CURRENT_TRANSACTION() = ?`,
		[]any{run.PipelineID, run.Pipeline, run.ProjectID, run.Fence, run.Content, transaction}
	if known {
		text, args = `UPDATE `+l.table+` SET "PIPELINE" = ?, "FENCE" = ?, "HOLDER" = ?, "FORMER" = FALSE, "UPDATED_AT" = SYSDATE() WHERE "PIPELINE_ID" = ? AND CURRENT_TRANSACTION() = ?`,
			[]any{run.Pipeline, run.Fence, run.Content, run.PipelineID, transaction}
	}
	n, err := x.change(ctx, text, args...)
	if err == nil && n != 1 {
		err = sdk.Retryable(fmt.Errorf("the claim has changed %d rows of the ledger %s, and should change 1: the service may have ended its transaction", n, l.name), 0)
	}
	return err
}

// errOvertaken is the error of a commit that does not hold the target, or whose run is
// committed already, or whose transaction the service has ended.
var errOvertaken = errors.New("the ledger has another fence, or a later run, or the service has ended the transaction")

// record makes a run the last committed one, if it holds the target. It is the last
// statement of a transaction: it locks the ledger. Without that transaction, which the
// service may have ended together with the rows, it changes nothing.
func (l ledger) record(ctx context.Context, x *session, transaction string, run sdk.Run, receipt string) error {
	n, err := x.change(ctx, `UPDATE `+l.table+` SET "RUN" = ?, "CONTENT" = ?, "RECEIPT" = ?, "UPDATED_AT" = SYSDATE()`+
		` WHERE "PIPELINE_ID" = ? AND "FENCE" = ? AND "HOLDER" = ? AND "RUN" < ? AND "FORMER" = FALSE AND CURRENT_TRANSACTION() = ?`,
		run.Number, run.Content, receipt, run.PipelineID, run.Fence, run.Content, run.Number, transaction)
	if err != nil {
		return err
	}
	if n > 1 {
		return l.damaged(fmt.Errorf("it has pipeline %q %d times", run.PipelineID, n))
	}
	if n == 0 {
		return errOvertaken
	}
	return nil
}

// errNotKept is the error of a COMMIT that succeeds without a transaction.
var errNotKept = errors.New("the service had ended the transaction before COMMIT")

// confirm reads, in the session of a COMMIT that has succeeded, whether it has kept the
// run.
func (l ledger) confirm(ctx context.Context, x *session, run sdk.Run) error {
	entries, err := l.read(ctx, x, run.PipelineID)
	if err != nil {
		return unknownCommit{err}
	}
	if done, err := entries[run.PipelineID].Last.Holds(run); err != nil || done {
		return err
	}
	return unknownCommit{errNotKept}
}
