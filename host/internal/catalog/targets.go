package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// TargetTakenError says that a pipeline was refused because a target of it holds, or
// will hold, another pipeline's rows of the same dates.
type TargetTakenError struct {
	Pipeline string // that was refused
	URI      string // its target

	Other  string // the pipeline that has the dates
	Theirs string // its target: the same place, or one of the two lies in the other

	Stream batch.Stream
	Days   pipeline.Days // that both have; of a set without meaning
}

func (e *TargetTakenError) Error() string {
	set := pipeline.Replaced(e.Stream)
	switch {
	case e.Theirs != e.URI && set:
		return fmt.Sprintf("pipeline %s writes to %s and pipeline %s to %s, one of which lies in the other", e.Pipeline, e.URI, e.Other, e.Theirs)
	case e.Theirs != e.URI:
		return fmt.Sprintf("pipeline %s writes to %s and pipeline %s to %s, one of which lies in the other, and they have the dates %s in common",
			e.Pipeline, e.URI, e.Other, e.Theirs, e.Days)
	case set:
		return fmt.Sprintf("pipelines %s and %s have the target %s in common, and each run replaces the set there", e.Pipeline, e.Other, e.URI)
	}
	return fmt.Sprintf("pipelines %s and %s have the target %s and the dates %s in common", e.Pipeline, e.Other, e.URI, e.Days)
}

// claim is a pipeline's right to dates of a target.
type claim struct {
	pipeline string // id
	name     string
	target   pipeline.Target
	days     pipeline.Days
}

// claimTarget notes that the pipeline writes to a target. Other pipelines' claims to
// overlapping dates there are refused, or dropped with adopt.
func claimTarget(ctx context.Context, tx *sql.Tx, p *pipeline.Pipeline, target pipeline.Target, adopt bool) error {
	others, err := otherClaims(ctx, tx, p.ID, p.Days(), target)
	if err != nil {
		return err
	}
	for _, c := range others {
		if !adopt {
			return taken(&p.Definition, target, c)
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM targets WHERE uri = ? AND project = ? AND stream = ? AND pipeline = ?`,
			c.target.URI, c.target.ProjectID, c.target.Stream.String(), c.pipeline)
		if err != nil {
			return fmt.Errorf("adopt target: %w", err)
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO targets (uri, project, stream, pipeline, from_day, to_day) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, target.URI, target.ProjectID, target.Stream.String(), p.ID, int64(p.From), int64(p.To))
	if err != nil {
		return fmt.Errorf("claim target: %w", err)
	}
	return nil
}

// taken returns the refusal of a pipeline that another one's claim excludes.
func taken(def *pipeline.Definition, target pipeline.Target, c claim) *TargetTakenError {
	days, _ := def.Days().Common(c.days)
	return &TargetTakenError{
		Pipeline: def.Name, URI: target.URI, Other: c.name, Theirs: c.target.URI, Stream: target.Stream, Days: days,
	}
}

// otherClaims returns the claims of pipelines other than that of the id to some of the
// days at a place that target meets, in the order of their names.
func otherClaims(ctx context.Context, q querier, id string, days pipeline.Days, target pipeline.Target) ([]claim, error) {
	dirs := pipeline.Directories(target.URI)
	args := []any{target.Stream.String(), id, int64(days.To), int64(days.From), target.URI}
	for _, dir := range dirs {
		args = append(args, dir)
	}
	place := `uri IN (?` + strings.Repeat(`, ?`, len(dirs)) + `)`
	if strings.HasSuffix(target.URI, "/") {
		place += ` OR uri > ? AND uri < ?` // '0' comes after '/'
		args = append(args, target.URI, strings.TrimSuffix(target.URI, "/")+"0")
	}
	rows, err := q.QueryContext(ctx, `SELECT t.pipeline, p.name, t.uri, t.project, t.from_day, t.to_day FROM targets t JOIN pipelines p ON p.id = t.pipeline
		WHERE t.stream = ? AND t.pipeline <> ? AND t.from_day <= ? AND t.to_day >= ? AND (`+place+`) ORDER BY p.name, t.uri`, args...)
	if err != nil {
		return nil, fmt.Errorf("look up target: %w", err)
	}
	defer rows.Close()
	var claims []claim
	for rows.Next() {
		c := claim{target: pipeline.Target{Stream: target.Stream}}
		if err := rows.Scan(&c.pipeline, &c.name, &c.target.URI, &c.target.ProjectID, &c.days.From, &c.days.To); err != nil {
			return nil, fmt.Errorf("look up target: %w", err)
		}
		claims = append(claims, c)
	}
	return claims, rows.Err()
}

// TargetsTaken returns the error that RegisterPipeline would return because of
// another pipeline's claims, without claiming anything.
func (c *Catalog) TargetsTaken(ctx context.Context, def pipeline.Definition, targets []pipeline.Target) error {
	return c.Read(ctx, func(tx *sql.Tx) error {
		id := "" // of a pipeline that is not registered yet
		switch p, err := pipelineByName(ctx, tx, def.Name); {
		case err == nil:
			id = p.ID
		case !errors.Is(err, ErrUnknownPipeline):
			return err
		}
		for _, target := range targets {
			others, err := otherClaims(ctx, tx, id, def.Days(), target)
			if err != nil {
				return err
			}
			if len(others) > 0 {
				return taken(&def, target, others[0])
			}
		}
		return nil
	})
}
