package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// holdRemoved returns journal.ErrHeld if a rewrite removes rows that a pipeline has
// not exported.
func holdRemoved(ctx context.Context, tx *sql.Tx, r journal.Rewrite) error {
	held, err := holdings(ctx, tx, r.Project)
	if err != nil {
		return err
	}
	for _, s := range r.Seals {
		var packed []byte
		if err := tx.QueryRowContext(ctx, `SELECT extents FROM segments WHERE project = ? AND seq = ?`, r.Project, s.Seq).Scan(&packed); err != nil {
			return fmt.Errorf("extents of seal %d: %w", s.Seq, err)
		}
		before, err := unpackSegment(nil, packed)
		if err != nil {
			return fmt.Errorf("extents of seal %d: %w", s.Seq, err)
		}
		for i, e := range before {
			if e.Blocks > 0 && s.Extents[i].Blocks == 0 && Holder(held, s.Seq, i, e) != "" {
				return journal.ErrHeld
			}
		}
	}
	return nil
}

// Holding is a pipeline that keeps rows from being removed.
type Holding struct {
	Pipeline *pipeline.Pipeline
	Run      int64 // its run that is not done; 0: none
	pinned   map[journal.ExtentRef]bool
}

// Holder names the first pipeline that has yet to export an extent, and its run if
// that is planned; "": there is none.
func Holder(holdings []Holding, seq int64, index int, e journal.Extent) string {
	x := pipeline.Extent{Ref: journal.ExtentRef{Seq: seq, Index: index}, UTCDate: e.UTCDate, ZoneDate: e.ZoneDate}
	for _, h := range holdings {
		if pipeline.StreamKind(h.Pipeline.Stream) != e.Kind {
			continue
		}
		if h.pinned[x.Ref] {
			return fmt.Sprintf("run %d of pipeline %s", h.Run, h.Pipeline.Name)
		}
		if !h.Pipeline.Passed(&x) {
			return h.name()
		}
	}
	return ""
}

// name names the pipeline, and how far it has exported.
func (h *Holding) name() string {
	if h.Pipeline.ID == "" {
		return fmt.Sprintf("pipeline %s, which is configured and could not be registered yet", h.Pipeline.Name)
	}
	c := h.Pipeline.Cursor
	at := fmt.Sprintf("has exported up to seal %d", c.Live.Seq)
	if !c.BackfillDone {
		at = "is not done with its backfill"
	}
	if h.Pipeline.State == pipeline.Paused {
		at += " and is paused"
	}
	return fmt.Sprintf("pipeline %s, which %s", h.Pipeline.Name, at)
}

// Holdings returns what the pipelines of a project keep from being removed. Pipelines
// of people and identity export generations, and are left out. A configured pipeline
// that is not registered, because its destination could not be asked yet, keeps
// all rows of its dates, and one whose later to_date is not, those up to it.
func (c *Catalog) Holdings(ctx context.Context, project int64, configured []pipeline.Definition) (h []Holding, err error) {
	err = c.Read(ctx, func(tx *sql.Tx) error {
		if h, err = holdings(ctx, tx, project); err != nil {
			return err
		}
		for _, def := range configured {
			if def.ProjectID != project || def.Stream != batch.Events {
				continue
			}
			p, err := pipelineByName(ctx, tx, def.Name)
			if errors.Is(err, ErrUnknownPipeline) {
				h = append(h, Holding{Pipeline: &pipeline.Pipeline{Definition: def, State: pipeline.Active, Cursor: pipeline.NewCursor(math.MaxInt64)}})
				continue
			}
			if err != nil {
				return err
			}
			for i := range h {
				if h[i].Pipeline.ID == p.ID {
					h[i].Pipeline.To = max(p.To, def.To)
				}
			}
		}
		return nil
	})
	return h, err
}

// holdings returns the registered pipelines of events of a project that are not over, with
// the extents that their runs pin.
func holdings(ctx context.Context, tx *sql.Tx, project int64) ([]Holding, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+pipelineColumns+` FROM pipelines WHERE project = ? AND stream = ? AND state <> ? ORDER BY name`,
		project, batch.Events.String(), string(pipeline.Cancelled))
	if err != nil {
		return nil, fmt.Errorf("list pipelines: %w", err)
	}
	defer rows.Close()
	var all []Holding
	for rows.Next() {
		p, err := scanPipeline(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, Holding{Pipeline: p})
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list pipelines: %w", err)
	}
	for i := range all {
		if err := all[i].pin(ctx, tx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// pin notes the extents of the pipeline's runs that are not done.
func (h *Holding) pin(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT number, extents FROM runs WHERE pipeline = ? AND state <> 'succeeded'`, h.Pipeline.ID)
	if err != nil {
		return fmt.Errorf("runs of pipeline %s: %w", h.Pipeline.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var packed []byte
		if err := rows.Scan(&h.Run, &packed); err != nil {
			return fmt.Errorf("runs of pipeline %s: %w", h.Pipeline.Name, err)
		}
		extents, err := unpackExtents(packed)
		if err != nil {
			return fmt.Errorf("run %d of pipeline %s: %w", h.Run, h.Pipeline.Name, err)
		}
		if h.pinned == nil {
			h.pinned = make(map[journal.ExtentRef]bool, len(extents))
		}
		for _, e := range extents {
			h.pinned[e.Ref] = true
		}
	}
	return rows.Err()
}
