package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// AcquireRepair leases a pipeline to owner for a repair of its committed runs,
// with the pipeline's next fence. While the lease lasts no other owner can lease
// one of its runs. pipeline.ErrLeased when another owner repairs the pipeline or
// carries out one of its runs. The lease names no run.
func (c *Catalog) AcquireRepair(ctx context.Context, pipelineID, owner string, ttl time.Duration) (pipeline.Lease, error) {
	lease := pipeline.Lease{PipelineID: pipelineID, Owner: owner}
	err := c.Update(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE pipelines SET fence = fence + 1, repair_owner = ?, repair_expires_at = `+nowMillis+` + ?
			WHERE id = ? AND (repair_owner IN ('', ?) OR repair_expires_at < `+nowMillis+`)
			AND NOT EXISTS (SELECT 1 FROM runs WHERE pipeline = pipelines.id AND owner NOT IN ('', ?) AND lease_expires_at >= `+nowMillis+`)
			RETURNING fence`, owner, ttl.Milliseconds(), pipelineID, owner, owner).Scan(&lease.Fence)
		if errors.Is(err, sql.ErrNoRows) {
			return pipeline.ErrLeased
		}
		if err != nil {
			return fmt.Errorf("lease for a repair: %w", err)
		}
		return nil
	})
	return lease, err
}

// RenewRepair extends the lease of a repair; pipeline.ErrLeaseLost when the
// pipeline has a newer fence.
func (c *Catalog) RenewRepair(ctx context.Context, lease pipeline.Lease, ttl time.Duration) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE pipelines SET repair_expires_at = `+nowMillis+` + ? WHERE id = ? AND repair_owner = ? AND fence = ?`,
			ttl.Milliseconds(), lease.PipelineID, lease.Owner, lease.Fence)
		return oneRow(result, err, pipeline.ErrLeaseLost)
	})
}

// ReleaseRepair ends the lease of a repair; pipeline.ErrLeaseLost when the
// pipeline has a newer fence.
func (c *Catalog) ReleaseRepair(ctx context.Context, lease pipeline.Lease) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE pipelines SET repair_owner = '', repair_expires_at = 0 WHERE id = ? AND repair_owner = ? AND fence = ?`,
			lease.PipelineID, lease.Owner, lease.Fence)
		return oneRow(result, err, pipeline.ErrLeaseLost)
	})
}

// CommittedRun returns a run that succeeded; nil if the catalog has none of this
// number.
func (c *Catalog) CommittedRun(ctx context.Context, pipelineID string, number int64) (*pipeline.Run, error) {
	runs, err := c.runs(ctx, `WHERE pipeline = ? AND number = ? AND state = 'succeeded'`, pipelineID, number)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	return runs[0].Run, nil
}
