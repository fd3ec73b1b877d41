package catalog

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// ErrRunPlanned says that the pipeline has a run that is not done.
var ErrRunPlanned = errors.New("pipeline has a run that is not done")

// InsertRun plans a run of the pipeline: the extents or the generation that it
// exports are fixed from then on. It sets the run's pipeline, state and number,
// which is the pipeline's last plus one; ErrRunPlanned when another is not done
// yet.
func (c *Catalog) InsertRun(ctx context.Context, p *pipeline.Pipeline, run *pipeline.Run) error {
	run.PipelineID, run.Number, run.State = p.ID, p.LastRun+1, pipeline.RunPlanned
	cursor, err := json.Marshal(run.Next)
	if err != nil {
		return fmt.Errorf("encode cursor: %w", err)
	}
	generation, err := encodeGeneration(run.Generation)
	if err != nil {
		return err
	}
	totals := run.Totals()
	err = c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE pipelines SET last_run = ?, planned_at = ?, looked_at = ? WHERE id = ? AND last_run = ?
			AND NOT EXISTS (SELECT 1 FROM runs WHERE pipeline = pipelines.id AND state <> 'succeeded')`,
			run.Number, run.PlannedAt.UnixMilli(), run.PlannedAt.UnixMilli(), p.ID, p.LastRun)
		if err != nil {
			return err
		}
		if err := oneRow(result, err, ErrRunPlanned); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO runs
			(pipeline, number, content, state, extents, generation, next_cursor, from_day, to_day, row_count, bytes, fence, owner, lease_expires_at, planned_at, as_of, finished_at, error, receipt)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', 0, ?, ?, 0, '', NULL)`,
			run.PipelineID, run.Number, run.Content, string(run.State), packExtents(run.Extents), generation, cursor, int64(totals.From), int64(totals.To),
			totals.Rows, totals.Bytes, run.PlannedAt.UnixMilli(), run.AsOf.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("plan run %d of pipeline %s: %w", run.Number, p.Name, err)
	}
	return nil
}

// SetContent notes the content of a run that was planned without one.
func (c *Catalog) SetContent(ctx context.Context, run *pipeline.Run, content string) error {
	_, err := c.write.ExecContext(ctx, `UPDATE runs SET content = ? WHERE pipeline = ? AND number = ? AND content = ''`,
		content, run.PipelineID, run.Number)
	if err != nil {
		return fmt.Errorf("set the content of run %d: %w", run.Number, err)
	}
	run.Content = content
	return nil
}

// ReplaceRun gives a run of extents that is leased, and was never prepared, the extents,
// the cursor, the content and the time AsOf of another plan. pipeline.ErrLeaseLost when the
// lease's fence is not the latest, or the run is not such a run.
func (c *Catalog) ReplaceRun(ctx context.Context, lease pipeline.Lease, plan *pipeline.Run) error {
	cursor, err := json.Marshal(plan.Next)
	if err != nil {
		return fmt.Errorf("encode cursor: %w", err)
	}
	totals := plan.Totals()
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE runs SET content = ?, extents = ?, next_cursor = ?, from_day = ?, to_day = ?, row_count = ?, bytes = ?, as_of = ?
			WHERE pipeline = ? AND number = ? AND owner = ? AND fence = ? AND state = 'running' AND prepared IS NULL AND generation IS NULL
			AND EXISTS (SELECT 1 FROM pipelines WHERE id = runs.pipeline AND fence = runs.fence AND last_run = runs.number)`,
			plan.Content, packExtents(plan.Extents), cursor, int64(totals.From), int64(totals.To), totals.Rows, totals.Bytes, plan.AsOf.UnixMilli(),
			lease.PipelineID, lease.Number, lease.Owner, lease.Fence)
		return oneRow(result, err, pipeline.ErrLeaseLost)
	})
}

// OpenRun returns the pipeline's run that is not done, or nil.
func (c *Catalog) OpenRun(ctx context.Context, pipelineID string) (*pipeline.Run, error) {
	runs, err := c.runs(ctx, `WHERE pipeline = ? AND state <> 'succeeded' AND error_class <> ? ORDER BY number LIMIT 1`, pipelineID, CancelledClass)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	return runs[0].Run, nil
}

// RunRecord is a run with the fence and the owner of its lease, and with the attempts
// at it.
type RunRecord struct {
	*pipeline.Run
	Fence     int64
	Owner     string
	Attempts  int64
	StartedAt time.Time // the first attempt; zero: there was none, or an older host made it
	PluginLog []string  // the plugin's last lines, oldest first, when the last attempt failed; nil: it did not, or there were none
}

// Run returns a run of a pipeline; nil: there is none of that number.
func (c *Catalog) Run(ctx context.Context, pipelineID string, number int64) (*RunRecord, error) {
	runs, err := c.runs(ctx, `WHERE pipeline = ? AND number = ?`, pipelineID, number)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	return &runs[0], nil
}

// Runs returns the latest runs of a pipeline, latest first.
func (c *Catalog) Runs(ctx context.Context, pipelineID string, limit int) ([]RunRecord, error) {
	return c.runs(ctx, `WHERE pipeline = ? ORDER BY number DESC LIMIT ?`, pipelineID, limit)
}

// RunsBefore returns the latest runs of a pipeline with numbers below before, latest first.
func (c *Catalog) RunsBefore(ctx context.Context, pipelineID string, before int64, limit int) ([]RunRecord, error) {
	return c.runs(ctx, `WHERE pipeline = ? AND number < ? ORDER BY number DESC LIMIT ?`, pipelineID, before, limit)
}

// LastSuccess returns when the latest run of a pipeline ended that succeeded; zero: none
// has.
func (c *Catalog) LastSuccess(ctx context.Context, pipelineID string) (time.Time, error) {
	var finished int64
	err := c.read.QueryRowContext(ctx, `SELECT finished_at FROM runs WHERE pipeline = ? AND state = 'succeeded' ORDER BY number DESC LIMIT 1`, pipelineID).Scan(&finished)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("look for the last run that succeeded: %w", err)
	}
	return fromMillis(finished), nil
}

// ExportedTotals sums up the receipts of a pipeline's succeeded runs.
func (c *Catalog) ExportedTotals(ctx context.Context, pipelineID string) (rows, rejected, bytes int64, err error) {
	err = c.Read(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT COALESCE(SUM(receipt ->> '$.rows'), 0), COALESCE(SUM(receipt ->> '$.rejected'), 0),
			COALESCE(SUM(receipt ->> '$.stored_bytes'), 0) FROM runs WHERE pipeline = ? AND state = 'succeeded'`, pipelineID).Scan(&rows, &rejected, &bytes)
	})
	if err != nil {
		return 0, 0, 0, fmt.Errorf("sum up runs: %w", err)
	}
	return rows, rejected, bytes, nil
}

// ExportedChanges sums up, by reason, the rows that the plugin changed to fit the
// destination, over a pipeline's succeeded runs; nil if there are none.
func (c *Catalog) ExportedChanges(ctx context.Context, pipelineID string) (map[string]int64, error) {
	var changed map[string]int64
	err := c.Read(ctx, func(tx *sql.Tx) error {
		changed = nil
		rows, err := tx.QueryContext(ctx, `SELECT reason.key, SUM(reason.value) FROM runs, json_each(receipt, '$.changed') AS reason
			WHERE pipeline = ? AND state = 'succeeded' GROUP BY reason.key`, pipelineID)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var reason string
			var n int64
			if err := rows.Scan(&reason, &n); err != nil {
				return err
			}
			if changed == nil {
				changed = make(map[string]int64)
			}
			changed[reason] = n
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("sum up changed rows: %w", err)
	}
	return changed, nil
}

func (c *Catalog) runs(ctx context.Context, where string, args ...any) ([]RunRecord, error) {
	runs, err := queryRuns(ctx, c.read, where, args...) // one statement sees one state
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return runs, nil
}

func queryRuns(ctx context.Context, q querier, where string, args ...any) ([]RunRecord, error) {
	rows, err := q.QueryContext(ctx, `SELECT pipeline, number, content, state, extents, generation, next_cursor, fence, owner, planned_at, as_of, finished_at, error, error_class, prepared, receipt, attempts, started_at, plugin_log
		FROM runs `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var runs []RunRecord
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, rows.Err()
}

func scanRun(rows *sql.Rows) (RunRecord, error) {
	r := RunRecord{Run: &pipeline.Run{}}
	var state, log string
	var extents, generation, cursor, prepared, receipt []byte
	var planned, asOf, finished, started int64
	err := rows.Scan(&r.PipelineID, &r.Number, &r.Content, &state, &extents, &generation, &cursor, &r.Fence, &r.Owner, &planned, &asOf, &finished, &r.Error, &r.ErrorClass, &prepared, &receipt, &r.Attempts, &started, &log)
	if err != nil {
		return r, err
	}
	r.State = pipeline.RunState(state)
	r.PlannedAt, r.AsOf, r.FinishedAt, r.StartedAt = fromMillis(planned), fromMillis(asOf), fromMillis(finished), fromMillis(started)
	if r.Extents, err = unpackExtents(extents); err != nil {
		return r, fmt.Errorf("extents of run %d: %w", r.Number, err)
	}
	if r.Generation, err = decodeGeneration(generation); err != nil {
		return r, fmt.Errorf("run %d: %w", r.Number, err)
	}
	if err := json.Unmarshal(cursor, &r.Next); err != nil {
		return r, fmt.Errorf("cursor of run %d: %w", r.Number, err)
	}
	if log != "" {
		if err := json.Unmarshal([]byte(log), &r.PluginLog); err != nil {
			return r, fmt.Errorf("plugin's log of run %d: %w", r.Number, err)
		}
	}
	if r.Prepared, err = decodeReceipt(prepared); err == nil {
		r.Receipt, err = decodeReceipt(receipt)
	}
	if err != nil {
		return r, fmt.Errorf("receipt of run %d: %w", r.Number, err)
	}
	return r, nil
}

// decodeReceipt returns nil for no receipt, which is stored as NULL.
func decodeReceipt(encoded []byte) (*pipeline.Receipt, error) {
	if encoded == nil {
		return nil, nil
	}
	r := new(pipeline.Receipt)
	return r, json.Unmarshal(encoded, r)
}

// AcquireRun leases a run that is not done to owner, with the pipeline's next
// fence. Time is the database's. pipeline.ErrLeased when another owner's
// lease on the run, or on the pipeline for a repair, has not expired.
func (c *Catalog) AcquireRun(ctx context.Context, pipelineID string, number int64, owner string, ttl time.Duration) (pipeline.Lease, error) {
	lease := pipeline.Lease{PipelineID: pipelineID, Number: number, Owner: owner}
	err := c.Update(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE pipelines SET fence = fence + 1 WHERE id = ? RETURNING fence`, pipelineID).Scan(&lease.Fence)
		if err != nil {
			return fmt.Errorf("next fence: %w", err)
		}
		result, err := tx.ExecContext(ctx, `UPDATE runs SET state = 'running', owner = ?, fence = ?, lease_expires_at = `+nowMillis+` + ?, error = '', error_class = '', plugin_log = '',
			attempts = attempts + 1, started_at = CASE started_at WHEN 0 THEN `+nowMillis+` ELSE started_at END
			WHERE pipeline = ? AND number = ? AND state IN ('planned', 'running') AND (owner = '' OR owner = ? OR lease_expires_at < `+nowMillis+`)
			AND NOT EXISTS (SELECT 1 FROM pipelines WHERE id = runs.pipeline AND repair_owner NOT IN ('', ?) AND repair_expires_at >= `+nowMillis+`)`,
			owner, lease.Fence, ttl.Milliseconds(), pipelineID, number, owner, owner)
		if err := oneRow(result, err, pipeline.ErrLeased); err != pipeline.ErrLeased {
			return err
		}
		return leased(ctx, tx, pipelineID, number)
	})
	return lease, err
}

// leased returns the reason why a run cannot be leased, with the owner that has it.
func leased(ctx context.Context, tx *sql.Tx, pipelineID string, number int64) error {
	var state, owner, repairing string
	err := tx.QueryRowContext(ctx, `SELECT r.state, r.owner, p.repair_owner FROM runs r JOIN pipelines p ON p.id = r.pipeline WHERE r.pipeline = ? AND r.number = ?`,
		pipelineID, number).Scan(&state, &owner, &repairing)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w: there is no run %d", pipeline.ErrLeased, number)
	case err != nil:
		return err
	case state != string(pipeline.RunPlanned) && state != string(pipeline.RunRunning):
		return fmt.Errorf("%w: run %d is %s", pipeline.ErrLeased, number, state)
	case repairing != "":
		return fmt.Errorf("%w: %s repairs the pipeline", pipeline.ErrLeased, repairing)
	}
	return fmt.Errorf("%w: %s carries out run %d", pipeline.ErrLeased, owner, number)
}

// nowMillis is the database's clock.
const nowMillis = `CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)`

// oneRow is err, or missing when the statement changed no row.
func oneRow(result sql.Result, err, missing error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return missing
	}
	return nil
}

// RenewRun extends a lease; pipeline.ErrLeaseLost when a newer fence has the
// run.
func (c *Catalog) RenewRun(ctx context.Context, lease pipeline.Lease, ttl time.Duration) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE runs SET lease_expires_at = `+nowMillis+` + ?
			WHERE pipeline = ? AND number = ? AND owner = ? AND fence = ? AND state = 'running'`,
			ttl.Milliseconds(), lease.PipelineID, lease.Number, lease.Owner, lease.Fence)
		return oneRow(result, err, pipeline.ErrLeaseLost)
	})
}

// RecordPrepared keeps the receipt of the run's prepared data, before the
// destination is asked to commit. pipeline.ErrLeaseLost when a newer fence has
// the run.
func (c *Catalog) RecordPrepared(ctx context.Context, lease pipeline.Lease, receipt pipeline.Receipt) error {
	encoded, err := json.Marshal(receipt)
	if err != nil {
		return fmt.Errorf("encode receipt: %w", err)
	}
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE runs SET prepared = ? WHERE pipeline = ? AND number = ? AND fence = ? AND state = 'running'`,
			string(encoded), lease.PipelineID, lease.Number, lease.Fence)
		return oneRow(result, err, pipeline.ErrLeaseLost)
	})
}

// RaiseFence has the pipeline's next lease take a fence above one that its
// destination has recorded and that this catalog never gave.
// pipeline.ErrLeaseLost when the lease's fence is not the catalog's latest.
func (c *Catalog) RaiseFence(ctx context.Context, lease pipeline.Lease, recorded int64) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE pipelines SET fence = MAX(fence, ?) WHERE id = ? AND fence = ?`,
			recorded, lease.PipelineID, lease.Fence)
		return oneRow(result, err, pipeline.ErrLeaseLost)
	})
}

// RecordReceipt marks the run as succeeded and moves the pipeline's cursor,
// in one transaction. pipeline.ErrLeaseLost when the lease's fence is not the
// latest.
func (c *Catalog) RecordReceipt(ctx context.Context, lease pipeline.Lease, receipt pipeline.Receipt) error {
	encoded, err := json.Marshal(receipt)
	if err != nil {
		return fmt.Errorf("encode receipt: %w", err)
	}
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE runs SET state = 'succeeded', receipt = ?, prepared = NULL, finished_at = `+nowMillis+`, owner = '', error = '', error_class = ''
			WHERE pipeline = ? AND number = ? AND fence = ? AND state = 'running'`,
			string(encoded), lease.PipelineID, lease.Number, lease.Fence)
		if err := oneRow(result, err, pipeline.ErrLeaseLost); err != nil {
			return err
		}
		result, err = tx.ExecContext(ctx, `UPDATE pipelines
			SET (cursor, committed_run, committed_content) = (SELECT next_cursor, number, content FROM runs WHERE pipeline = ? AND number = ?)
			WHERE id = ? AND fence = ? AND last_run = ?`,
			lease.PipelineID, lease.Number, lease.PipelineID, lease.Fence, lease.Number)
		return oneRow(result, err, pipeline.ErrLeaseLost)
	})
}

// RecordLog keeps the plugin's last log lines with an attempt that fails, until the next
// attempt begins. RecordFailure follows. pipeline.ErrLeaseLost when a newer fence has the
// run.
func (c *Catalog) RecordLog(ctx context.Context, lease pipeline.Lease, lines []string) error {
	encoded, err := json.Marshal(lines)
	if err != nil {
		return fmt.Errorf("encode log lines: %w", err)
	}
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE runs SET plugin_log = ? WHERE pipeline = ? AND number = ? AND fence = ? AND state = 'running'`,
			string(encoded), lease.PipelineID, lease.Number, lease.Fence)
		return oneRow(result, err, pipeline.ErrLeaseLost)
	})
}

// RecordFailure notes why an attempt ended, with the class of the error, and
// releases the lease. With final the run is failed, and stays so until RetryRun or
// RetryFailed.
func (c *Catalog) RecordFailure(ctx context.Context, lease pipeline.Lease, reason, class string, final bool) error {
	state := pipeline.RunRunning
	if final {
		state = pipeline.RunFailed
	}
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE runs SET state = ?, error = ?, error_class = ?, owner = '', lease_expires_at = 0
			WHERE pipeline = ? AND number = ? AND fence = ? AND state = 'running'`,
			string(state), reason, class, lease.PipelineID, lease.Number, lease.Fence)
		return oneRow(result, err, pipeline.ErrLeaseLost)
	})
}

// ExpireLeases ends the leases of all other owners: the caller knows that no other
// owner lives, because it holds the lock of the data directory. Fences do not
// change.
func (c *Catalog) ExpireLeases(ctx context.Context) error {
	_, err := c.write.ExecContext(ctx, `UPDATE runs SET owner = '', lease_expires_at = 0 WHERE owner <> ? AND owner <> ''`, c.owner)
	if err == nil {
		_, err = c.write.ExecContext(ctx, `UPDATE pipelines SET repair_owner = '', repair_expires_at = 0 WHERE repair_owner NOT IN ('', ?)`, c.owner)
	}
	if err != nil {
		return fmt.Errorf("expire leases: %w", err)
	}
	return nil
}

// RetryRun lets a failed run be tried again.
func (c *Catalog) RetryRun(ctx context.Context, pipelineID string, number int64) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE runs SET state = 'planned' WHERE pipeline = ? AND number = ? AND state = 'failed' AND error_class <> ?`, pipelineID, number, CancelledClass)
		return oneRow(result, err, fmt.Errorf("there is no failed run %d to try again", number))
	})
}

// RetryFailed lets a pipeline's failed run, if there is one, be tried again. It
// reports whether there was one.
func (c *Catalog) RetryFailed(ctx context.Context, pipelineID string) (bool, error) {
	result, err := c.write.ExecContext(ctx, `UPDATE runs SET state = 'planned' WHERE pipeline = ? AND state = 'failed' AND error_class <> ?`, pipelineID, CancelledClass)
	if err != nil {
		return false, fmt.Errorf("retry the failed run of pipeline %s: %w", pipelineID, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// RunContents returns the contents of a pipeline's runs that succeeded, by
// number.
func (c *Catalog) RunContents(ctx context.Context, pipelineID string) (map[int64]string, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT number, content FROM runs WHERE pipeline = ? AND state = 'succeeded'`, pipelineID)
	if err != nil {
		return nil, fmt.Errorf("contents of runs: %w", err)
	}
	defer rows.Close()
	contents := map[int64]string{}
	for rows.Next() {
		var number int64
		var content string
		if err := rows.Scan(&number, &content); err != nil {
			return nil, fmt.Errorf("contents of runs: %w", err)
		}
		contents[number] = content
	}
	return contents, rows.Err()
}

// Restart is where a pipeline goes on whose destination holds other runs than
// the catalog has recorded.
type Restart struct {
	Agreed int64              // the last run that both have; 0: none
	Last   pipeline.Committed // the destination's
	Fence  int64              // recorded by the destination
}

// RestartPipeline makes the pipeline export again the rows after the last run that
// both have. The catalog forgets the runs after the agreed one, including a run
// that is not done; their numbers are not used again, and the next run comes after
// the destination's last. The pipeline is due at once. ErrRunPlanned when p is not
// the pipeline's present state.
func (c *Catalog) RestartPipeline(ctx context.Context, p *pipeline.Pipeline, r Restart) error {
	err := c.Update(ctx, func(tx *sql.Tx) error {
		cursor, err := restartCursor(ctx, tx, p, r)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM runs WHERE pipeline = ? AND (state <> 'succeeded' OR number > ?)`, p.ID, r.Agreed)
		if err != nil {
			return err
		}
		encoded, err := json.Marshal(cursor)
		if err != nil {
			return fmt.Errorf("encode cursor: %w", err)
		}
		result, err := tx.ExecContext(ctx, `UPDATE pipelines SET cursor = ?, last_run = MAX(last_run, ?), committed_run = ?, committed_content = ?,
			fence = MAX(fence, ?), planned_at = 0, looked_at = 0 WHERE id = ? AND last_run = ? AND fence = ?`,
			encoded, r.Last.Number, r.Last.Number, r.Last.Content, r.Fence, p.ID, p.LastRun, p.Fence)
		return oneRow(result, err, ErrRunPlanned)
	})
	if err != nil {
		return fmt.Errorf("restart pipeline %s: %w", p.Name, err)
	}
	return nil
}

// RestartGap returns the rows that RestartPipeline would have the pipeline export again
// and that retention has removed.
func (c *Catalog) RestartGap(ctx context.Context, p *pipeline.Pipeline, r Restart) (g Gap, err error) {
	err = c.Read(ctx, func(tx *sql.Tx) error {
		g = Gap{}
		again := *p
		if again.Cursor, err = restartCursor(ctx, tx, p, r); err != nil {
			return err
		}
		return removedExtents(ctx, tx, p.ProjectID, pipeline.StreamKind(p.Stream), func(e pipeline.Extent) {
			if p.Passed(&e) && !again.Passed(&e) {
				g.add(e.UTCDate, e.Rows)
			}
		})
	})
	return g, err
}

// restartCursor returns the cursor after the last run that catalog and destination both
// have.
func restartCursor(ctx context.Context, tx *sql.Tx, p *pipeline.Pipeline, r Restart) (cursor pipeline.Cursor, err error) {
	if r.Agreed == p.Committed.Number {
		return p.Cursor, nil // may be past extents that are out of range
	}
	if cursor = pipeline.NewCursor(p.Cursor.Cut); r.Agreed > 0 {
		if cursor, err = runCursor(ctx, tx, p.ID, r.Agreed); err != nil {
			return cursor, err
		}
	}
	cursor.Inherit(p.Cursor)
	return cursor, nil
}

// runCursor returns a pipeline's cursor after a run.
func runCursor(ctx context.Context, tx *sql.Tx, pipelineID string, number int64) (cursor pipeline.Cursor, err error) {
	var encoded []byte
	err = tx.QueryRowContext(ctx, `SELECT next_cursor FROM runs WHERE pipeline = ? AND number = ?`, pipelineID, number).Scan(&encoded)
	if err == nil {
		err = json.Unmarshal(encoded, &cursor)
	}
	if err != nil {
		return cursor, fmt.Errorf("cursor after run %d: %w", number, err)
	}
	return cursor, nil
}

// A run's extents are stored as varints: sequence, index, both dates, rows,
// rows' bytes, bytes as stored.
func packExtents(extents []pipeline.Extent) []byte {
	packed := binary.AppendUvarint(nil, uint64(len(extents)))
	for _, e := range extents {
		for _, v := range []int64{e.Ref.Seq, int64(e.Ref.Index), int64(e.UTCDate), int64(e.ZoneDate), e.Rows, e.RowsBytes, e.Bytes} {
			packed = binary.AppendVarint(packed, v)
		}
	}
	return packed
}

func unpackExtents(packed []byte) ([]pipeline.Extent, error) {
	count, packed, err := unpackCount(packed)
	if err != nil {
		return nil, err
	}
	extents := make([]pipeline.Extent, 0, count)
	for range count {
		var v [7]int64
		if packed, err = unpackInts(v[:], packed); err != nil {
			return nil, err
		}
		extents = append(extents, pipeline.Extent{
			Ref:     journal.ExtentRef{Seq: v[0], Index: int(v[1])},
			UTCDate: journal.Day(v[2]), ZoneDate: journal.Day(v[3]), Rows: v[4], RowsBytes: v[5], Bytes: v[6],
		})
	}
	return extents, nil
}
