package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// TargetTakenError says that a pipeline was refused because a target of it holds, or
// will hold, another pipeline's rows of the same dates; or that the target is another
// pipeline's, and destinations would refuse it there whatever its dates are.
type TargetTakenError struct {
	Pipeline string // that was refused
	URI      string // its target

	Other  string // the pipeline that has the dates
	Theirs string // its target: the same place, or one of the two lies in the other

	Stream batch.Stream
	Days   pipeline.Days // that both have; of a set without meaning
	Apart  bool          // they have no dates in common, and one target
}

func (e *TargetTakenError) Error() string {
	set := pipeline.Replaced(e.Stream)
	switch {
	case e.Apart:
		return fmt.Sprintf("pipelines %s and %s have the target %s in common, and no dates; destinations refuse a second pipeline at a target unless it has adopt = true",
			e.Pipeline, e.Other, e.URI)
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

// AdoptError says that a pipeline cannot go on where another one stopped.
type AdoptError struct {
	Pipeline string // that has adopt = true
	Other    string // whose target it would take over
	URI      string
	Reason   string // a sentence without a subject, and what to do
}

func (e *AdoptError) Error() string {
	return fmt.Sprintf("pipeline %s cannot adopt %s from pipeline %s: %s", e.Pipeline, e.URI, e.Other, e.Reason)
}

// claim is a pipeline's right to dates of a target.
type claim struct {
	pipeline string // id
	name     string
	target   pipeline.Target
	days     pipeline.Days
	overlaps bool // it has dates of the pipeline that is compared with it
}

// claimTargets notes that the pipeline writes to some targets. Other pipelines' claims to
// overlapping dates there are refused, and to other dates unless p has been there before.
// With adopt those of overlapping dates are adopted: p's cursor passes over what these
// pipelines have exported.
func claimTargets(ctx context.Context, tx *sql.Tx, p *pipeline.Pipeline, targets []pipeline.Target, adopt bool) error {
	days, err := claimedDays(ctx, tx, p)
	if err != nil {
		return err
	}
	adopted := false
	for _, target := range targets {
		others, err := otherClaims(ctx, tx, p.ID, days, target, adopt)
		if err != nil {
			return err
		}
		for _, c := range others {
			if !adopt {
				return taken(&p.Definition, target, c)
			}
			part, err := adoptable(ctx, tx, &p.Definition, target, c)
			if err != nil {
				return err
			}
			if !c.overlaps {
				continue // its rows of other dates are none of p's
			}
			adopted = part != nil && p.Cursor.Adopt(*part) || adopted
			_, err = tx.ExecContext(ctx, `UPDATE targets SET adopted_by = ? WHERE uri = ? AND project = ? AND stream = ? AND pipeline = ?`,
				p.ID, c.target.URI, c.target.ProjectID, c.target.Stream.String(), c.pipeline)
			if err != nil {
				return fmt.Errorf("adopt target: %w", err)
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO targets (uri, project, stream, pipeline, from_day, to_day) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET from_day = excluded.from_day, to_day = excluded.to_day, adopted_by = ''`,
			target.URI, target.ProjectID, target.Stream.String(), p.ID, int64(days.From), int64(days.To))
		if err != nil {
			return fmt.Errorf("claim target: %w", err)
		}
	}
	if adopted {
		return setAdopted(ctx, tx, p)
	}
	return nil
}

// claimedDays returns the dates that a pipeline has a claim to: those of its
// definition, and those that it wrote before its to_date was changed.
func claimedDays(ctx context.Context, tx *sql.Tx, p *pipeline.Pipeline) (pipeline.Days, error) {
	days := p.Days()
	if pipeline.Replaced(p.Stream) {
		return days, nil
	}
	var last sql.NullInt64
	if err := tx.QueryRowContext(ctx, `SELECT MAX(to_day) FROM runs WHERE pipeline = ?`, p.ID).Scan(&last); err != nil {
		return days, fmt.Errorf("dates of runs: %w", err)
	}
	if last.Valid {
		days.To = max(days.To, journal.Day(last.Int64))
	}
	return days, nil
}

// adoptable returns the part of the journal that the pipeline of a claim has exported;
// nil for a set, which is replaced, and for other dates. The error is an *AdoptError if it is not certain
// which part that is, or if it is another project's.
func adoptable(ctx context.Context, tx *sql.Tx, def *pipeline.Definition, target pipeline.Target, c claim) (*pipeline.Exported, error) {
	refused := &AdoptError{Pipeline: def.Name, Other: ShownName(c.name), URI: target.URI}
	if c.target.ProjectID != target.ProjectID {
		refused.Reason = "it exports another project, whose rows would be mixed with these. Choose another place"
		return nil, refused
	}
	if pipeline.Replaced(target.Stream) || !c.overlaps {
		return nil, nil
	}
	other, err := pipelineByName(ctx, tx, c.name)
	if err != nil {
		return nil, err
	}
	var open *BegunError
	switch err := begun(ctx, tx, other); {
	case errors.As(err, &open):
		refused.Reason = fmt.Sprintf("its run %d was begun and is not done, so that its rows may be there or not. Let that run end first, or cancel that pipeline", open.Run)
		return nil, refused
	case err != nil:
		return nil, err
	case other.Cursor.Uncertain():
		refused.Reason = "an older version has begun its backfill. Let it do a run with this version first"
		return nil, refused
	}
	part := other.Exported()
	return &part, nil
}

// setAdopted stores the cursor of a pipeline that has adopted a target, and that after
// its open run, if there is one.
func setAdopted(ctx context.Context, tx *sql.Tx, p *pipeline.Pipeline) error {
	encoded, err := json.Marshal(p.Cursor)
	if err != nil {
		return fmt.Errorf("encode cursor: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE pipelines SET cursor = ? WHERE id = ?`, encoded, p.ID); err != nil {
		return fmt.Errorf("set cursor: %w", err)
	}
	var open int64
	err = tx.QueryRowContext(ctx, `SELECT number FROM runs WHERE pipeline = ? AND state <> 'succeeded'`, p.ID).Scan(&open)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if err != nil {
		return fmt.Errorf("open run: %w", err)
	}
	next, err := runCursor(ctx, tx, p.ID, open)
	if err != nil {
		return err
	}
	next.Inherit(p.Cursor)
	if encoded, err = json.Marshal(next); err != nil {
		return fmt.Errorf("encode cursor: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE runs SET next_cursor = ? WHERE pipeline = ? AND number = ?`, encoded, p.ID, open); err != nil {
		return fmt.Errorf("set the cursor after run %d: %w", open, err)
	}
	return nil
}

// taken returns the refusal of a pipeline that another one's claim excludes.
func taken(def *pipeline.Definition, target pipeline.Target, c claim) *TargetTakenError {
	days, _ := def.Days().Common(c.days)
	return &TargetTakenError{
		Pipeline: def.Name, URI: target.URI, Other: ShownName(c.name), Theirs: c.target.URI, Stream: target.Stream, Days: days, Apart: !c.overlaps,
	}
}

// otherClaims returns the claims of pipelines other than that of the id to some of the
// days at a place that target meets, and to any days at target itself while the pipeline
// of the id has no claim there, in the order of their names. Claims that this pipeline has
// adopted are left out, and with adopt those to other days, unless they are of another
// project: a thousand pipelines may have followed one another at a place.
func otherClaims(ctx context.Context, q querier, id string, days pipeline.Days, target pipeline.Target, adopt bool) ([]claim, error) {
	place, at := meeting(target)
	args := append([]any{
		int64(days.To), int64(days.From), target.Stream.String(), id, id, target.URI, adopt, target.ProjectID, id, target.URI, target.Stream.String(),
	}, at...)
	rows, err := q.QueryContext(ctx, `SELECT t.pipeline, p.name, t.uri, t.project, t.from_day, t.to_day, t.from_day <= ? AND t.to_day >= ? AS overlaps
		FROM targets t JOIN pipelines p ON p.id = t.pipeline WHERE t.stream = ? AND t.pipeline <> ? AND (t.adopted_by = '' OR t.adopted_by <> ?)
		AND (overlaps OR t.uri = ? AND (NOT ? OR t.project <> ?)
			AND NOT EXISTS (SELECT 1 FROM targets mine WHERE mine.pipeline = ? AND mine.uri = ? AND mine.stream = ?))
		AND (`+place+`) ORDER BY p.name, t.uri`, args...)
	if err != nil {
		return nil, fmt.Errorf("look up target: %w", err)
	}
	defer rows.Close()
	var claims []claim
	for rows.Next() {
		c := claim{target: pipeline.Target{Stream: target.Stream}}
		if err := rows.Scan(&c.pipeline, &c.name, &c.target.URI, &c.target.ProjectID, &c.days.From, &c.days.To, &c.overlaps); err != nil {
			return nil, fmt.Errorf("look up target: %w", err)
		}
		claims = append(claims, c)
	}
	return claims, rows.Err()
}

// meeting returns the condition that a claim in t is at a place that target meets, with
// its arguments.
func meeting(target pipeline.Target) (condition string, args []any) {
	dirs := pipeline.Directories(target.URI)
	condition = `t.uri IN (?` + strings.Repeat(`, ?`, len(dirs)) + `)`
	args = append(args, target.URI)
	for _, dir := range dirs {
		args = append(args, dir)
	}
	if strings.HasSuffix(target.URI, "/") {
		condition += ` OR t.uri > ? AND t.uri < ?` // '0' comes after '/'
		args = append(args, target.URI, strings.TrimSuffix(target.URI, "/")+"0")
	}
	return condition, args
}

// Claim is the right of a pipeline to dates of a place.
type Claim struct {
	Pipeline string // its name
	URI      string
}

// Claims returns the claims of other pipelines to dates of def at places that one of
// targets meets, in the order of their names. Pipelines that were cancelled are left out.
func (c *Catalog) Claims(ctx context.Context, def pipeline.Definition, targets []pipeline.Target) ([]Claim, error) {
	var claims []Claim
	err := c.Read(ctx, func(tx *sql.Tx) error {
		days := def.Days()
		for _, target := range targets {
			place, at := meeting(target)
			args := append([]any{target.Stream.String(), int64(days.To), int64(days.From), def.Name, string(pipeline.Cancelled)}, at...)
			rows, err := tx.QueryContext(ctx, `SELECT p.name, t.uri FROM targets t JOIN pipelines p ON p.id = t.pipeline
				WHERE t.stream = ? AND t.from_day <= ? AND t.to_day >= ? AND p.name <> ? AND p.state <> ? AND (`+place+`) ORDER BY p.name, t.uri`, args...)
			if err != nil {
				return err
			}
			if claims, err = scanClaims(rows, claims); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up targets: %w", err)
	}
	return claims, nil
}

func scanClaims(rows *sql.Rows, claims []Claim) ([]Claim, error) {
	defer rows.Close()
	for rows.Next() {
		var c Claim
		if err := rows.Scan(&c.Pipeline, &c.URI); err != nil {
			return nil, err
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
			others, err := otherClaims(ctx, tx, id, def.Days(), target, def.Adopt)
			if err != nil {
				return err
			}
			for _, c := range others {
				if !def.Adopt {
					return taken(&def, target, c)
				}
				if _, err := adoptable(ctx, tx, &def, target, c); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Kept are the dates of a pipeline at a target.
type Kept struct {
	URI  string
	Days pipeline.Days
	// AdoptedBy is the name of the pipeline that goes on there; empty: there is none.
	AdoptedBy string
}

// Targets returns the claims of a pipeline.
func (c *Catalog) Targets(ctx context.Context, pipelineID string) ([]Kept, error) {
	var kept []Kept
	err := c.Read(ctx, func(tx *sql.Tx) (err error) {
		kept, err = keptBy(ctx, tx, pipelineID)
		return err
	})
	return kept, err
}

func keptBy(ctx context.Context, tx *sql.Tx, pipelineID string) ([]Kept, error) {
	rows, err := tx.QueryContext(ctx, `SELECT uri, from_day, to_day, COALESCE((SELECT name FROM pipelines WHERE id = adopted_by), '')
		FROM targets WHERE pipeline = ? ORDER BY uri`, pipelineID)
	if err != nil {
		return nil, fmt.Errorf("list targets: %w", err)
	}
	defer rows.Close()
	var kept []Kept
	for rows.Next() {
		var k Kept
		if err := rows.Scan(&k.URI, &k.Days.From, &k.Days.To, &k.AdoptedBy); err != nil {
			return nil, fmt.Errorf("list targets: %w", err)
		}
		k.AdoptedBy = ShownName(k.AdoptedBy)
		kept = append(kept, k)
	}
	return kept, rows.Err()
}
