package catalog

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
	"github.com/penstock-io/penstock/sdk/batch"
)

// CommitRewrite implements journal.Rewrites.
func (c *Catalog) CommitRewrite(ctx context.Context, r journal.Rewrite) error {
	replaced, err := json.Marshal(r.Replaced)
	if err != nil {
		return fmt.Errorf("encode replaced files: %w", err)
	}
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM pending WHERE blob = ?`, r.Blob)
		if err := oneRow(result, err, journal.ErrPendingGone); err != nil {
			return err
		}
		for _, old := range r.Replaced {
			if err := takeFile(ctx, tx, r.Project, old); err != nil {
				return err
			}
		}
		if err := holdRemoved(ctx, tx, r); err != nil {
			return err
		}
		if err := insertRewrite(ctx, tx, r, replaced); err != nil {
			return err
		}
		return replaceRuns(ctx, tx, r)
	})
}

// takeFile takes a file out of the list of files; journal.ErrFilesMoved if it is not
// there, or its commit record was not confirmed.
func takeFile(ctx context.Context, tx *sql.Tx, project int64, old journal.Replaced) error {
	var result sql.Result
	var err error
	if old.Merged {
		result, err = tx.ExecContext(ctx, `DELETE FROM merged WHERE project = ? AND to_seq = ? AND from_seq = ? AND blob = ? AND replaced IS NULL`,
			project, old.To, old.From, old.Blob)
	} else {
		result, err = tx.ExecContext(ctx, `UPDATE segments SET merged = seq WHERE project = ? AND seq = ? AND blob = ? AND merged IS NULL AND cursors IS NULL`,
			project, old.From, old.Blob)
	}
	return oneRow(result, err, journal.ErrFilesMoved)
}

// insertRewrite inserts a file and the places of its seals, whose segments exist.
func insertRewrite(ctx context.Context, tx *sql.Tx, r journal.Rewrite, replaced []byte) error {
	update, err := tx.PrepareContext(ctx, `UPDATE segments SET merged = ?, extents = ?, places = ?, row_count = ?, bytes = ? WHERE project = ? AND seq = ?`)
	if err != nil {
		return fmt.Errorf("place seals: %w", err)
	}
	defer update.Close()
	for _, s := range r.Seals {
		sum := journal.Remaining(s)
		result, err := update.ExecContext(ctx, r.To, packSegment(s.Extents), packPlaces(s.First), sum.Rows, sum.Bytes, r.Project, s.Seq)
		if err := oneRow(result, err, journal.ErrFilesMoved); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO merged (project, to_seq, from_seq, revision, blob, size, key_count, replaced) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		r.Project, r.To, r.From, r.Revision, r.Blob, r.Size, r.Keys, replaced)
	if err != nil {
		return fmt.Errorf("insert file of seals %d to %d: %w", r.From, r.To, err)
	}
	return nil
}

// replaceRuns puts the keys of a file in the place of the runs of keys that lie within
// its seals. A larger run stays: it has the same keys.
func replaceRuns(ctx context.Context, tx *sql.Tx, r journal.Rewrite) error {
	var from, to sql.NullInt64
	err := tx.QueryRowContext(ctx, `SELECT MIN(from_seq), MAX(to_seq) FROM key_runs WHERE project = ? AND from_seq >= ? AND to_seq <= ?`,
		r.Project, r.From, r.To).Scan(&from, &to)
	if err != nil {
		return fmt.Errorf("runs of keys: %w", err)
	}
	if !from.Valid {
		return nil
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM key_runs WHERE project = ? AND from_seq >= ? AND to_seq <= ?`, r.Project, r.From, r.To)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO key_runs (project, from_seq, to_seq, blob, key_count) VALUES (?, ?, ?, ?, ?)`,
			r.Project, from.Int64, to.Int64, r.Blob, r.Keys)
	}
	if err != nil {
		return fmt.Errorf("replace runs of keys: %w", err)
	}
	return nil
}

// holdRemoved returns journal.ErrHeld if a rewrite removes rows that a pipeline has
// not exported.
func holdRemoved(ctx context.Context, tx *sql.Tx, r journal.Rewrite) error {
	holders, err := holders(ctx, tx, r.Project)
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
			if e.Blocks > 0 && s.Extents[i].Blocks == 0 && Holder(holders, s.Seq, i, e) != "" {
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
		if h, err = holders(ctx, tx, project); err != nil {
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

func holders(ctx context.Context, tx *sql.Tx, project int64) ([]Holding, error) {
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

// Unconfirmed implements journal.Rewrites.
func (c *Catalog) Unconfirmed(ctx context.Context, project int64) ([]journal.Rewrite, error) {
	var found []journal.Rewrite
	err := c.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT from_seq, to_seq, revision, blob, size, key_count, replaced FROM merged WHERE project = ? AND replaced IS NOT NULL ORDER BY to_seq`, project)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r := journal.Rewrite{File: journal.File{Project: project, Merged: true}}
			var replaced []byte
			if err := rows.Scan(&r.From, &r.To, &r.Revision, &r.Blob, &r.Size, &r.Keys, &replaced); err != nil {
				return err
			}
			if err := json.Unmarshal(replaced, &r.Replaced); err != nil {
				return fmt.Errorf("files before seals %d to %d: %w", r.From, r.To, err)
			}
			found = append(found, r)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list rewrites: %w", err)
	}
	for i := range found {
		err := c.segments(ctx, project, found[i].From, found[i].To, func(s journal.Segment) error {
			found[i].Seals = append(found[i].Seals, s)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Rewritten implements journal.Rewrites.
func (c *Catalog) Rewritten(ctx context.Context, project int64) ([]journal.Replaced, error) {
	return c.files(ctx, `SELECT from_seq, to_seq, blob, 1, revision FROM merged WHERE project = ? ORDER BY to_seq`, project)
}

// Confirmed implements journal.Rewrites.
func (c *Catalog) Confirmed(ctx context.Context, project int64) ([]journal.Replaced, error) {
	return c.files(ctx, `SELECT seq, seq, blob, 0, 0 FROM segments WHERE project = ?1 AND merged IS NULL AND cursors IS NULL
		UNION ALL SELECT from_seq, to_seq, blob, 1, revision FROM merged WHERE project = ?1 AND replaced IS NULL
		UNION ALL SELECT file.value ->> '$.from', file.value ->> '$.to', file.value ->> '$.blob', COALESCE(file.value ->> '$.merged', 0), COALESCE(file.value ->> '$.revision', 0)
			FROM merged, json_each(merged.replaced) AS file WHERE merged.project = ?1 AND merged.replaced IS NOT NULL`, project)
}

func (c *Catalog) files(ctx context.Context, query string, project int64) ([]journal.Replaced, error) {
	rows, err := c.read.QueryContext(ctx, query, project)
	if err != nil {
		return nil, fmt.Errorf("list commit records: %w", err)
	}
	defer rows.Close()
	var all []journal.Replaced
	for rows.Next() {
		var r journal.Replaced
		if err := rows.Scan(&r.From, &r.To, &r.Blob, &r.Merged, &r.Revision); err != nil {
			return nil, fmt.Errorf("list commit records: %w", err)
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// ConfirmRewrite implements journal.Rewrites.
func (c *Catalog) ConfirmRewrite(ctx context.Context, project int64, blob string) error {
	if _, err := c.write.ExecContext(ctx, `UPDATE merged SET replaced = NULL WHERE project = ? AND blob = ?`, project, blob); err != nil {
		return fmt.Errorf("confirm the commit record of %s: %w", blob, err)
	}
	return nil
}

// RestoreRewrite inserts a rewrite and its seals from a commit record while a catalog
// is rebuilt. It comes in the place of its seals: see RestoreSeal.
func (c *Catalog) RestoreRewrite(ctx context.Context, r journal.Rewrite) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE projects SET seq = ? WHERE id = ? AND seq = ?`, r.To, r.Project, r.From-1)
		if err := oneRow(result, err, journal.ErrSequenceMoved); err != nil {
			return err
		}
		for _, m := range r.Cursors {
			if err := setCursor(ctx, tx, r.Project, m); err != nil {
				return err
			}
		}
		for _, s := range r.Seals {
			s.Blob = s.Name
			if err := insertSeal(ctx, tx, journal.Seal{Segment: s}, true); err != nil {
				return err
			}
		}
		if err := insertRewrite(ctx, tx, r, nil); err != nil {
			return err
		}
		return replaceRuns(ctx, tx, r)
	})
}

// Files visits a project's files in the order of their seals, from that of the seal
// after on. fn may end the visit with pipeline.ErrStop.
func (c *Catalog) Files(ctx context.Context, project, after int64, fn func(journal.File) error) error {
	var file *journal.File
	flush := func() error {
		if file == nil {
			return nil
		}
		f := *file
		file = nil
		return fn(f)
	}
	err := c.Read(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT s.seq, s.blob, s.size, s.sealed_at, s.extents, s.places, m.blob, m.from_seq, m.to_seq, m.revision, m.size, COALESCE(m.key_count, s.key_count)
			FROM segments s LEFT JOIN merged m ON m.project = s.project AND m.to_seq = s.merged WHERE s.project = ? AND s.seq > ? ORDER BY s.seq`, project, after)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			s, f, err := scanPlaced(rows, project)
			if err != nil {
				return err
			}
			if file != nil && file.Blob == f.Blob {
				file.Seals = append(file.Seals, s)
				continue
			}
			if err := flush(); err != nil {
				return err
			}
			f.Seals = []journal.Segment{s}
			file = &f
		}
		if err := rows.Err(); err != nil {
			return err
		}
		return flush()
	})
	if err != nil && !errors.Is(err, pipeline.ErrStop) {
		return fmt.Errorf("list files: %w", err)
	}
	return nil
}

// scanPlaced reads a segment and the file that it lies in.
func scanPlaced(rows *sql.Rows, project int64) (journal.Segment, journal.File, error) {
	s, f := journal.Segment{Project: project}, journal.File{Project: project}
	var sealedAt int64
	var extents, places []byte
	var blob sql.NullString
	var from, to, revision, size sql.NullInt64
	if err := rows.Scan(&s.Seq, &s.Name, &s.Size, &sealedAt, &extents, &places, &blob, &from, &to, &revision, &size, &f.Keys); err != nil {
		return s, f, err
	}
	s.SealedAt = fromMillis(sealedAt)
	f.Blob, f.From, f.To, f.Size = s.Name, s.Seq, s.Seq, s.Size
	if blob.Valid {
		f.Blob, f.From, f.To, f.Revision, f.Size, f.Merged = blob.String, from.Int64, to.Int64, revision.Int64, size.Int64, true
	}
	s.Blob = f.Blob
	var err error
	if s.Extents, err = unpackSegment(nil, extents); err == nil {
		s.First, err = unpackPlaces(places)
	}
	if err != nil {
		return s, f, fmt.Errorf("extents of segment %d: %w", s.Seq, err)
	}
	return s, f, nil
}

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

// Places are stored as varints: count, then each.
func packPlaces(first []int64) []byte {
	b := binary.AppendUvarint(nil, uint64(len(first)))
	for _, v := range first {
		b = binary.AppendVarint(b, v)
	}
	return b
}

// unpackPlaces returns nil for NULL.
func unpackPlaces(b []byte) ([]int64, error) {
	if b == nil {
		return nil, nil
	}
	count, b, err := unpackCount(b)
	if err != nil {
		return nil, err
	}
	first := make([]int64, count)
	_, err = unpackInts(first, b)
	return first, err
}

// LatestSeal returns when the latest seal of any project was made; zero: there is none.
func (c *Catalog) LatestSeal(ctx context.Context) (time.Time, error) {
	var at sql.NullInt64
	if err := c.read.QueryRowContext(ctx, `SELECT MAX(sealed_at) FROM segments`).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("latest seal: %w", err)
	}
	if !at.Valid {
		return time.Time{}, nil
	}
	return fromMillis(at.Int64), nil
}

// SetUpkeep keeps the report of the latest pass over the journals, as JSON.
func (c *Catalog) SetUpkeep(ctx context.Context, report any) error {
	value, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode upkeep: %w", err)
	}
	_, err = c.write.ExecContext(ctx, `INSERT INTO upkeep (id, value) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET value = excluded.value`, value)
	if err != nil {
		return fmt.Errorf("set upkeep: %w", err)
	}
	return nil
}

// Upkeep reads the report of the latest pass; false: there was none.
func (c *Catalog) Upkeep(ctx context.Context, report any) (bool, error) {
	var value []byte
	err := c.read.QueryRowContext(ctx, `SELECT value FROM upkeep`).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(value, report)
	}
	if err != nil {
		return false, fmt.Errorf("read upkeep: %w", err)
	}
	return true, nil
}
