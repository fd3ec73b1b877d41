package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// ErrGenerationMoved says that another fold has set a newer generation.
var ErrGenerationMoved = errors.New("another fold came in between")

// Generation returns the latest generation of a stream, or nil.
func (c *Catalog) Generation(ctx context.Context, project int64, stream batch.Stream) (*pipeline.Generation, error) {
	var encoded []byte
	err := c.read.QueryRowContext(ctx, `SELECT generation FROM generations WHERE project = ? AND stream = ?`, project, stream.String()).Scan(&encoded)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("generation of %s of project %d: %w", stream, project, err)
	}
	return decodeGeneration(encoded)
}

// SetGeneration makes next the latest generation of a stream in the place of
// last, nil if there was none. ErrGenerationMoved when last is not the latest.
func (c *Catalog) SetGeneration(ctx context.Context, project int64, stream batch.Stream, last, next *pipeline.Generation) error {
	encoded, err := encodeGeneration(next)
	if err != nil {
		return err
	}
	return c.Update(ctx, func(tx *sql.Tx) error {
		var found []byte
		err := tx.QueryRowContext(ctx, `SELECT generation FROM generations WHERE project = ? AND stream = ?`, project, stream.String()).Scan(&found)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("generation of %s: %w", stream, err)
		}
		current, err := decodeGeneration(found)
		if err != nil {
			return err
		}
		if (current == nil) != (last == nil) || current != nil && *current != *last {
			return ErrGenerationMoved
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO generations (project, stream, generation) VALUES (?, ?, ?)
			ON CONFLICT (project, stream) DO UPDATE SET generation = excluded.generation`, project, stream.String(), encoded)
		if err != nil {
			return fmt.Errorf("set generation of %s: %w", stream, err)
		}
		return nil
	})
}

// Generations lists the generations of a stream that are in use: the latest,
// and those of runs that are not done.
func (c *Catalog) Generations(ctx context.Context, project int64, stream batch.Stream) ([]pipeline.Generation, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT generation FROM generations WHERE project = ? AND stream = ?
		UNION SELECT r.generation FROM runs r JOIN pipelines p ON p.id = r.pipeline
		WHERE p.project = ? AND p.stream = ? AND r.state <> 'succeeded' AND r.generation IS NOT NULL`,
		project, stream.String(), project, stream.String())
	if err != nil {
		return nil, fmt.Errorf("list generations of %s: %w", stream, err)
	}
	defer rows.Close()
	var used []pipeline.Generation
	for rows.Next() {
		var encoded []byte
		if err := rows.Scan(&encoded); err != nil {
			return nil, fmt.Errorf("list generations of %s: %w", stream, err)
		}
		g, err := decodeGeneration(encoded)
		if err != nil {
			return nil, err
		}
		used = append(used, *g)
	}
	return used, rows.Err()
}

// encodeGeneration returns nil for no generation, which is stored as NULL.
func encodeGeneration(g *pipeline.Generation) (any, error) {
	if g == nil {
		return nil, nil
	}
	encoded, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("encode generation: %w", err)
	}
	return string(encoded), nil
}

func decodeGeneration(encoded []byte) (*pipeline.Generation, error) {
	if encoded == nil {
		return nil, nil
	}
	g := new(pipeline.Generation)
	if err := json.Unmarshal(encoded, g); err != nil {
		return nil, fmt.Errorf("decode generation: %w", err)
	}
	return g, nil
}
