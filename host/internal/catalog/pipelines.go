package catalog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// ErrUnknownPipeline says that no pipeline of that name is registered.
var ErrUnknownPipeline = errors.New("no such pipeline")

// RegisterPipeline returns the registered pipeline of def's name. It registers
// the pipeline first if there is none, with a random id and a cursor at the
// journal's present sequence. It claims the targets, also those that came with
// a changed destination, for its dates. If another pipeline has a target for
// overlapping dates, or has it for other dates and this one is new there, the
// error is a *TargetTakenError. With def.Adopt the target is taken over, and the
// pipeline passes over the rows that the other one has exported; an *AdoptError
// says that this is not possible. If def changes a property that is fixed at
// registration, the error is a *pipeline.ChangedError.
func (c *Catalog) RegisterPipeline(ctx context.Context, def pipeline.Definition, targets []pipeline.Target, now time.Time) (*pipeline.Pipeline, error) {
	var registered *pipeline.Pipeline
	err := c.Update(ctx, func(tx *sql.Tx) error {
		p, err := pipelineByName(ctx, tx, def.Name)
		fresh := errors.Is(err, ErrUnknownPipeline)
		if fresh {
			p, err = insertPipeline(ctx, tx, def, now)
		}
		if err != nil {
			return err
		}
		if err := p.Unchanged(def); err != nil {
			return err
		}
		if p.State == pipeline.Cancelled {
			registered = p
			return nil // it claims nothing further
		}
		had := p.To // the last of the dates before
		if p.To = def.To; fresh {
			had = p.From - 1
		}
		if _, err := tx.ExecContext(ctx, `UPDATE pipelines SET to_day = ? WHERE id = ?`, int64(def.To), p.ID); err != nil {
			return fmt.Errorf("set to_date: %w", err)
		}
		if err := claimTargets(ctx, tx, p, targets, def.Adopt); err != nil {
			return err
		}
		if p.To > had {
			if err := noteGap(ctx, tx, p, had); err != nil {
				return err
			}
		}
		p.Definition = def // properties that are not fixed follow the configuration
		registered = p
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("register pipeline %s: %w", def.Name, err)
	}
	return registered, nil
}

func insertPipeline(ctx context.Context, tx *sql.Tx, def pipeline.Definition, now time.Time) (*pipeline.Pipeline, error) {
	var seq int64
	if err := tx.QueryRowContext(ctx, `SELECT seq FROM projects WHERE id = ?`, def.ProjectID).Scan(&seq); err != nil {
		return nil, fmt.Errorf("sequence of project %d: %w", def.ProjectID, err)
	}
	p := &pipeline.Pipeline{Definition: def, ID: newID(), State: pipeline.Active, Cursor: pipeline.NewCursor(seq), CreatedAt: now}
	cursor, err := json.Marshal(p.Cursor)
	if err != nil {
		return nil, fmt.Errorf("encode cursor: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO pipelines
		(id, name, project, stream, destination, from_day, to_day, state, cursor, fence, last_run, created_at, planned_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, 0)`,
		p.ID, def.Name, def.ProjectID, def.Stream.String(), def.Destination, int64(def.From), int64(def.To),
		string(p.State), cursor, now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("insert: %w", err)
	}
	return p, nil
}

// newID is 10 random characters of [0-9a-z].
func newID() string {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
	id := make([]byte, 0, 10)
	var b [1]byte
	for len(id) < cap(id) {
		rand.Read(b[:]) // never fails, and never returns less
		// 252 is the largest multiple of 36 in a byte: above it letters would
		// not be equally likely.
		if b[0] < 252 {
			id = append(id, alphabet[b[0]%36])
		}
	}
	return string(id)
}

const pipelineColumns = `id, name, project, stream, destination, from_day, to_day, state, cursor, fence, last_run, committed_run, committed_content, created_at, planned_at, looked_at`

func pipelineByName(ctx context.Context, q querier, name string) (*pipeline.Pipeline, error) {
	p, err := scanPipeline(q.QueryRowContext(ctx, `SELECT `+pipelineColumns+` FROM pipelines WHERE name = ?`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: %s", ErrUnknownPipeline, name)
	}
	return p, err
}

// querier holds the queries that a transaction and a database share.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func scanPipeline(row interface{ Scan(...any) error }) (*pipeline.Pipeline, error) {
	var p pipeline.Pipeline
	var stream, state string
	var cursor []byte
	var created, planned, looked int64
	err := row.Scan(&p.ID, &p.Name, &p.ProjectID, &stream, &p.Destination, &p.From, &p.To, &state, &cursor, &p.Fence, &p.LastRun, &p.Committed.Number, &p.Committed.Content, &created, &planned, &looked)
	if err != nil {
		return nil, err
	}
	if p.Stream, err = batch.ParseStream(stream); err != nil {
		return nil, fmt.Errorf("pipeline %s: %w", p.Name, err)
	}
	if err := json.Unmarshal(cursor, &p.Cursor); err != nil {
		return nil, fmt.Errorf("cursor of pipeline %s: %w", p.Name, err)
	}
	p.State = pipeline.State(state)
	p.CreatedAt, p.PlannedAt, p.LookedAt = fromMillis(created), fromMillis(planned), fromMillis(looked)
	return &p, nil
}

// Pipeline returns the registered pipeline of that name. Fields that follow the
// configuration (limits, order, schedule) are not set.
func (c *Catalog) Pipeline(ctx context.Context, name string) (*pipeline.Pipeline, error) {
	return pipelineByName(ctx, c.read, name) // one statement sees one state
}

// Pipelines returns all registered pipelines, by name; not those that were forgotten.
func (c *Catalog) Pipelines(ctx context.Context) ([]*pipeline.Pipeline, error) {
	var pipelines []*pipeline.Pipeline
	err := c.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT `+pipelineColumns+` FROM pipelines WHERE forgotten_at = 0 ORDER BY name`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			p, err := scanPipeline(rows)
			if err != nil {
				return err
			}
			pipelines = append(pipelines, p)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list pipelines: %w", err)
	}
	return pipelines, nil
}

// SetPipelineState pauses or resumes a pipeline; ErrCancelled for one that is over.
func (c *Catalog) SetPipelineState(ctx context.Context, name string, state pipeline.State) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		p, err := pipelineByName(ctx, tx, name)
		if err != nil {
			return err
		}
		if p.State == pipeline.Cancelled {
			return fmt.Errorf("%w: %s", ErrCancelled, name)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE pipelines SET state = ? WHERE id = ?`, string(state), p.ID); err != nil {
			return fmt.Errorf("set state of pipeline %s: %w", name, err)
		}
		return nil
	})
}

// NoteLook notes that a pipeline was compared with the journal at a time and that
// nothing was left to export.
func (c *Catalog) NoteLook(ctx context.Context, pipelineID string, at time.Time) error {
	if _, err := c.write.ExecContext(ctx, `UPDATE pipelines SET looked_at = ? WHERE id = ?`, at.UnixMilli(), pipelineID); err != nil {
		return fmt.Errorf("note an iteration of pipeline %s: %w", pipelineID, err)
	}
	return nil
}

// MoveCursor moves the cursor of a pipeline that has nothing to export past
// extents that are out of its range. It does nothing if a run was planned after p
// was read.
func (c *Catalog) MoveCursor(ctx context.Context, p *pipeline.Pipeline, next pipeline.Cursor) error {
	cursor, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode cursor: %w", err)
	}
	return c.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE pipelines SET cursor = ? WHERE id = ? AND last_run = ?
			AND NOT EXISTS (SELECT 1 FROM runs WHERE pipeline = pipelines.id AND state <> 'succeeded')`, cursor, p.ID, p.LastRun)
		if err != nil {
			return fmt.Errorf("move cursor of pipeline %s: %w", p.Name, err)
		}
		return nil
	})
}
