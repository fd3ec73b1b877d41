package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// CancelledClass is the error class of a run that its pipeline's end has taken back. Its
// state is failed, and it is not tried again.
const CancelledClass = "cancelled"

// ErrCancelled says that a pipeline is over.
var ErrCancelled = errors.New("the pipeline is over: it was cancelled")

// BegunError says that a run of a pipeline was begun and is not done, so that its rows
// may be at the destination or not.
type BegunError struct {
	Pipeline string
	Run      int64
}

func (e *BegunError) Error() string {
	return fmt.Sprintf("run %d of pipeline %s was begun and is not done: its rows may be at the destination or not", e.Run, e.Pipeline)
}

// CancelPipeline ends a pipeline for good. Its open run, of which the caller knows that
// nothing is at the destination and that it cannot be committed, is marked as cancelled.
// The dates that the pipeline has written stay taken; the others are free. It returns
// what stays.
func (c *Catalog) CancelPipeline(ctx context.Context, name string) (kept []Kept, err error) {
	err = c.Update(ctx, func(tx *sql.Tx) error {
		p, err := pipelineByName(ctx, tx, name)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE runs SET state = 'failed', error = 'the pipeline was cancelled', error_class = ?, extents = ?, owner = '',
			lease_expires_at = 0, prepared = NULL, finished_at = `+nowMillis+` WHERE pipeline = ? AND state <> 'succeeded'`, CancelledClass, packExtents(nil), p.ID)
		if err != nil {
			return fmt.Errorf("cancel the open run: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE pipelines SET state = ? WHERE id = ?`, string(pipeline.Cancelled), p.ID); err != nil {
			return fmt.Errorf("set state: %w", err)
		}
		if err := keepWritten(ctx, tx, p); err != nil {
			return err
		}
		kept, err = keptBy(ctx, tx, p.ID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cancel pipeline %s: %w", name, err)
	}
	return kept, nil
}

// keepWritten narrows the claims of a pipeline that is over to the dates of its runs that
// succeeded. Without any there is nothing to keep.
func keepWritten(ctx context.Context, tx *sql.Tx, p *pipeline.Pipeline) error {
	var from, to sql.NullInt64
	err := tx.QueryRowContext(ctx, `SELECT MIN(from_day), MAX(to_day) FROM runs WHERE pipeline = ? AND state = 'succeeded'`, p.ID).Scan(&from, &to)
	if err != nil {
		return fmt.Errorf("dates of runs: %w", err)
	}
	days := pipeline.Days{From: journal.Day(from.Int64), To: journal.Day(to.Int64)}
	switch {
	case !from.Valid:
		_, err = tx.ExecContext(ctx, `DELETE FROM targets WHERE pipeline = ?`, p.ID)
	case pipeline.Replaced(p.Stream):
		return nil
	default:
		_, err = tx.ExecContext(ctx, `UPDATE targets SET from_day = ?, to_day = ? WHERE pipeline = ?`, int64(days.From), int64(days.To), p.ID)
	}
	if err != nil {
		return fmt.Errorf("keep the dates that were written: %w", err)
	}
	return nil
}

// Forgotten names the parts of a pipeline that ForgetPipeline has dropped and kept.
type Forgotten struct {
	ID   string
	Runs int64
	Kept []Kept
}

// ForgetPipeline drops a pipeline and the records of its runs. Its name is free. The
// dates that it wrote stay taken, and another pipeline may adopt them, unless emptied
// says that its rows were removed from the destination. A *BegunError says that it is not
// known which dates those are.
func (c *Catalog) ForgetPipeline(ctx context.Context, name string, emptied bool, now time.Time) (f Forgotten, err error) {
	err = c.Update(ctx, func(tx *sql.Tx) error {
		p, err := pipelineByName(ctx, tx, name)
		if err != nil {
			return err
		}
		f.ID = p.ID
		if !emptied {
			if err := begun(ctx, tx, p); err != nil {
				return err
			}
			if p.State != pipeline.Cancelled {
				if err := keepWritten(ctx, tx, p); err != nil {
					return err
				}
			}
			if f.Kept, err = keptBy(ctx, tx, p.ID); err != nil {
				return err
			}
		}
		result, err := tx.ExecContext(ctx, `DELETE FROM runs WHERE pipeline = ?`, p.ID)
		if err != nil {
			return err
		}
		if f.Runs, err = result.RowsAffected(); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM pipeline_gaps WHERE pipeline = ?`, p.ID); err != nil {
			return err
		}
		if len(f.Kept) > 0 {
			_, err := tx.ExecContext(ctx, `UPDATE pipelines SET name = name || '#' || id, state = ?, forgotten_at = ? WHERE id = ?`,
				string(pipeline.Cancelled), now.UnixMilli(), p.ID)
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM targets WHERE pipeline = ?`, p.ID); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM pipelines WHERE id = ?`, p.ID)
		return err
	})
	if err != nil {
		return Forgotten{}, fmt.Errorf("forget pipeline %s: %w", name, err)
	}
	return f, nil
}

// begun returns a *BegunError if a run of the pipeline was begun and is not done.
func begun(ctx context.Context, tx *sql.Tx, p *pipeline.Pipeline) error {
	var open int64
	err := tx.QueryRowContext(ctx, `SELECT number FROM runs WHERE pipeline = ? AND state <> 'succeeded' AND error_class <> ? AND fence > 0`,
		p.ID, CancelledClass).Scan(&open)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("open run of pipeline %s: %w", p.Name, err)
	}
	return &BegunError{Pipeline: ShownName(p.Name), Run: open}
}

// ShownName returns the name that a pipeline had before it was forgotten.
func ShownName(name string) string {
	if before, _, forgotten := strings.Cut(name, "#"); forgotten {
		return before + " (forgotten)"
	}
	return name
}
