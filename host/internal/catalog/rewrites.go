package catalog

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/pipeline"
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
