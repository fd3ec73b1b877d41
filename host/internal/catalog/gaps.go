package catalog

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

// removedExtents visits the extents of a kind that retention has removed.
func removedExtents(ctx context.Context, tx *sql.Tx, project int64, kind journal.Kind, fn func(pipeline.Extent)) error {
	// Only rewrites remove rows.
	rows, err := tx.QueryContext(ctx, `SELECT seq, extents FROM segments WHERE project = ? AND merged IS NOT NULL`, project)
	if err != nil {
		return fmt.Errorf("list removed rows: %w", err)
	}
	defer rows.Close()
	var seq int64
	var packed sql.RawBytes
	var all []journal.Extent
	for rows.Next() {
		if err := rows.Scan(&seq, &packed); err != nil {
			return fmt.Errorf("list removed rows: %w", err)
		}
		if all, err = unpackSegment(all[:0], packed); err != nil {
			return fmt.Errorf("extents of segment %d: %w", seq, err)
		}
		for i, e := range all {
			if e.Kind == kind && e.Blocks == 0 {
				fn(pipeline.Extent{Ref: journal.ExtentRef{Seq: seq, Index: i}, UTCDate: e.UTCDate, ZoneDate: e.ZoneDate, Rows: e.Rows})
			}
		}
	}
	return rows.Err()
}

// Gap is rows of a pipeline's dates that the journal had removed before the pipeline
// was registered, or before its to_date was set so late: it does not export them.
type Gap struct {
	Rows     int64 // 0: none
	From, To journal.Day
}

// add adds removed rows.
func (g *Gap) add(day journal.Day, rows int64) {
	if g.Rows == 0 {
		g.From, g.To = day, day
	}
	g.From, g.To, g.Rows = min(g.From, day), max(g.To, day), g.Rows+rows
}

// PipelineGap returns the gap of a pipeline.
func (c *Catalog) PipelineGap(ctx context.Context, pipelineID string) (g Gap, err error) {
	err = c.Read(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT COALESCE(SUM(row_count), 0), COALESCE(MIN(from_day), 0), COALESCE(MAX(to_day), 0) FROM pipeline_gaps WHERE pipeline = ?`,
			pipelineID).Scan(&g.Rows, &g.From, &g.To)
		if err != nil {
			return fmt.Errorf("gap of pipeline: %w", err)
		}
		return nil
	})
	return g, err
}

// noteGap notes the gap of a pipeline that gets the dates after one. Rows that it needs
// no longer, since another pipeline whose target it adopts has exported them, are
// no part of it.
func noteGap(ctx context.Context, tx *sql.Tx, p *pipeline.Pipeline, after journal.Day) error {
	if pipeline.Replaced(p.Stream) {
		return nil
	}
	var g Gap
	err := removedExtents(ctx, tx, p.ProjectID, pipeline.StreamKind(p.Stream), func(e pipeline.Extent) {
		if e.UTCDate > after && !p.Passed(&e) {
			g.add(e.UTCDate, e.Rows)
		}
	})
	if err != nil || g.Rows == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO pipeline_gaps (pipeline, row_count, from_day, to_day) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET row_count = row_count + excluded.row_count, from_day = MIN(from_day, excluded.from_day), to_day = MAX(to_day, excluded.to_day)`,
		p.ID, g.Rows, int64(g.From), int64(g.To))
	if err != nil {
		return fmt.Errorf("note the gap of pipeline %s: %w", p.Name, err)
	}
	return nil
}
