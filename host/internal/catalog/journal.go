package catalog

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/penstock-io/penstock/host/internal/journal"
	"github.com/penstock-io/penstock/host/internal/journal/keys"
	"github.com/penstock-io/penstock/host/internal/pipeline"
)

var _ journal.Catalog = (*Catalog)(nil)

// Sequence implements journal.Catalog. That of a project that is not registered
// is 0.
func (c *Catalog) Sequence(ctx context.Context, project int64) (seq int64, err error) {
	err = c.read.QueryRowContext(ctx, `SELECT seq FROM projects WHERE id = ?`, project).Scan(&seq)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("sequence of project %d: %w", project, err)
	}
	return seq, nil
}

// InsertPending implements journal.Catalog.
func (c *Catalog) InsertPending(ctx context.Context, project int64, blob string, ttl time.Duration) error {
	_, err := c.write.ExecContext(ctx, `INSERT INTO pending (blob, project, owner, expires_at) VALUES (?, ?, ?, `+nowMillis+` + ?)`,
		blob, project, c.owner, ttl.Milliseconds())
	if err != nil {
		return fmt.Errorf("announce %s: %w", blob, err)
	}
	return nil
}

// CommitSeal implements journal.Catalog.
func (c *Catalog) CommitSeal(ctx context.Context, seal journal.Seal) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE projects SET seq = seq + 1 WHERE id = ? AND seq = ?`, seal.Project, seal.Seq-1)
		if err := oneRow(result, err, journal.ErrSequenceMoved); err != nil {
			return err
		}
		result, err = tx.ExecContext(ctx, `DELETE FROM pending WHERE blob = ?`, seal.Blob)
		if err := oneRow(result, err, journal.ErrPendingGone); err != nil {
			return err
		}
		for _, m := range seal.Cursors {
			if err := moveCursor(ctx, tx, seal.Project, m); err != nil {
				return err
			}
		}
		return insertSeal(ctx, tx, seal, false)
	})
}

// moveCursor moves one source's cursor by compare-and-set.
func moveCursor(ctx context.Context, tx *sql.Tx, project int64, m journal.CursorMove) error {
	var found []byte
	err := tx.QueryRowContext(ctx, `SELECT value FROM cursors WHERE project = ? AND source = ? AND position = ?`, project, m.Source, m.Position).Scan(&found)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("cursor of %s: %w", m.Source, err)
	}
	if (err != nil) != (m.From == nil) || !bytes.Equal(found, m.From) {
		return &journal.CursorConflictError{Source: m.Source, Position: m.Position}
	}
	return setCursor(ctx, tx, project, m)
}

func setCursor(ctx context.Context, tx *sql.Tx, project int64, m journal.CursorMove) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO cursors (project, source, position, value) VALUES (?, ?, ?, ?)
		ON CONFLICT (project, source, position) DO UPDATE SET value = excluded.value`, project, m.Source, m.Position, m.To)
	if err != nil {
		return fmt.Errorf("move cursor of %s: %w", m.Source, err)
	}
	return nil
}

// insertSeal inserts a segment and its run of keys. Unless recorded, the
// cursors stay with it until its commit record is confirmed.
func insertSeal(ctx context.Context, tx *sql.Tx, seal journal.Seal, recorded bool) error {
	var cursors []byte
	if !recorded {
		moves := seal.Cursors
		if moves == nil {
			moves = []journal.CursorMove{}
		}
		var err error
		if cursors, err = json.Marshal(moves); err != nil {
			return fmt.Errorf("encode cursors: %w", err)
		}
	}
	var rows, size int64
	from, to := int64(0), int64(-1)
	for i, e := range seal.Extents {
		if e.Blocks > 0 {
			rows += e.Rows
			size += e.Bytes
		}
		if day := int64(e.UTCDate); i == 0 || day < from {
			from = day
		}
		if day := int64(e.UTCDate); i == 0 || day > to {
			to = day
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO segments (project, seq, blob, size, sealed_at, row_count, bytes, from_day, to_day, extents, cursors, key_count)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, seal.Project, seal.Seq, seal.Blob, seal.Size, seal.SealedAt.UnixMilli(),
		rows, size, from, to, packSegment(seal.Extents), cursors, seal.Keys)
	if err != nil {
		return fmt.Errorf("insert segment %d: %w", seal.Seq, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO key_runs (project, from_seq, to_seq, blob, key_count) VALUES (?, ?, ?, ?, ?)`,
		seal.Project, seal.Seq, seal.Seq, seal.Blob, seal.Keys)
	if err != nil {
		return fmt.Errorf("insert keys of segment %d: %w", seal.Seq, err)
	}
	return nil
}

// RestoreSeal inserts a seal from a commit record while a catalog is rebuilt. Seals
// must come in the order of their sequences.
func (c *Catalog) RestoreSeal(ctx context.Context, seal journal.Seal) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE projects SET seq = ? WHERE id = ? AND seq = ?`, seal.Seq, seal.Project, seal.Seq-1)
		if err := oneRow(result, err, journal.ErrSequenceMoved); err != nil {
			return err
		}
		for _, m := range seal.Cursors {
			if err := setCursor(ctx, tx, seal.Project, m); err != nil {
				return err
			}
		}
		return insertSeal(ctx, tx, seal, true)
	})
}

// Unrecorded implements journal.Catalog.
func (c *Catalog) Unrecorded(ctx context.Context, project int64) ([]journal.Seal, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT seq, blob, size, sealed_at, cursors FROM segments
		WHERE project = ? AND cursors IS NOT NULL ORDER BY seq`, project)
	if err != nil {
		return nil, fmt.Errorf("list seals: %w", err)
	}
	defer rows.Close()
	var seals []journal.Seal
	for rows.Next() {
		s := journal.Seal{Segment: journal.Segment{Project: project}}
		var sealedAt int64
		var cursors []byte
		if err := rows.Scan(&s.Seq, &s.Blob, &s.Size, &sealedAt, &cursors); err != nil {
			return nil, fmt.Errorf("list seals: %w", err)
		}
		s.SealedAt = fromMillis(sealedAt)
		if err := json.Unmarshal(cursors, &s.Cursors); err != nil {
			return nil, fmt.Errorf("cursors of seal %d: %w", s.Seq, err)
		}
		seals = append(seals, s)
	}
	return seals, rows.Err()
}

// MarkRecorded implements journal.Catalog.
func (c *Catalog) MarkRecorded(ctx context.Context, project, seq int64) error {
	if _, err := c.write.ExecContext(ctx, `UPDATE segments SET cursors = NULL WHERE project = ? AND seq = ?`, project, seq); err != nil {
		return fmt.Errorf("confirm the commit record of seal %d: %w", seq, err)
	}
	return nil
}

// ExpiredPending implements journal.Catalog. Announcements of this process expire
// too: a seal that still writes the blob then takes too long.
func (c *Catalog) ExpiredPending(ctx context.Context, project int64) ([]string, error) {
	return c.blobs(ctx, `SELECT blob FROM pending WHERE project = ? AND expires_at < `+nowMillis, project)
}

// Pending implements journal.Catalog.
func (c *Catalog) Pending(ctx context.Context, project int64) ([]string, error) {
	return c.blobs(ctx, `SELECT blob FROM pending WHERE project = ?`, project)
}

// Blobs implements journal.Catalog.
func (c *Catalog) Blobs(ctx context.Context, project int64) ([]string, error) {
	return c.blobs(ctx, `SELECT blob FROM segments WHERE project = ?1 AND merged IS NULL
		UNION ALL SELECT blob FROM merged WHERE project = ?1
		UNION ALL SELECT file.value ->> '$.blob' FROM merged, json_each(merged.replaced) AS file WHERE merged.project = ?1 AND merged.replaced IS NOT NULL`, project)
}

func (c *Catalog) blobs(ctx context.Context, query string, project int64) ([]string, error) {
	rows, err := c.read.QueryContext(ctx, query, project)
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	defer rows.Close()
	var blobs []string
	for rows.Next() {
		var blob string
		if err := rows.Scan(&blob); err != nil {
			return nil, fmt.Errorf("list blobs: %w", err)
		}
		blobs = append(blobs, blob)
	}
	return blobs, rows.Err()
}

// ExpirePending ends the time of everything that other processes announced:
// the caller knows that there are none, because it holds the lock of the data
// directory.
func (c *Catalog) ExpirePending(ctx context.Context) error {
	if _, err := c.write.ExecContext(ctx, `UPDATE pending SET expires_at = 0 WHERE owner <> ?`, c.owner); err != nil {
		return fmt.Errorf("expire announcements: %w", err)
	}
	return nil
}

// DropPending implements journal.Catalog.
func (c *Catalog) DropPending(ctx context.Context, blob string) (bool, error) {
	result, err := c.write.ExecContext(ctx, `DELETE FROM pending WHERE blob = ?`, blob)
	if err != nil {
		return false, fmt.Errorf("drop announcement of %s: %w", blob, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// KeyRuns implements journal.Catalog.
func (c *Catalog) KeyRuns(ctx context.Context, project int64) ([]keys.Run, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT blob, from_seq, to_seq, key_count FROM key_runs WHERE project = ? ORDER BY from_seq`, project)
	if err != nil {
		return nil, fmt.Errorf("list runs of keys: %w", err)
	}
	defer rows.Close()
	var runs []keys.Run
	for rows.Next() {
		var r keys.Run
		if err := rows.Scan(&r.Blob, &r.From, &r.To, &r.Keys); err != nil {
			return nil, fmt.Errorf("list runs of keys: %w", err)
		}
		runs = append(runs, r)
	}
	return runs, rows.Err()
}

// ReplaceKeyRuns implements journal.Catalog.
func (c *Catalog) ReplaceKeyRuns(ctx context.Context, project int64, old []keys.Run, merged keys.Run) error {
	return c.Update(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `DELETE FROM pending WHERE blob = ?`, merged.Blob)
		if err := oneRow(result, err, journal.ErrPendingGone); err != nil {
			return err
		}
		for _, r := range old {
			result, err := tx.ExecContext(ctx, `DELETE FROM key_runs WHERE project = ? AND from_seq = ? AND blob = ?`, project, r.From, r.Blob)
			if err := oneRow(result, err, journal.ErrRunsMoved); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO key_runs (project, from_seq, to_seq, blob, key_count) VALUES (?, ?, ?, ?, ?)`,
			project, merged.From, merged.To, merged.Blob, merged.Keys)
		return err
	})
}

// Blob returns the name of a segment: the blob that its seal wrote, in which its rows
// may no longer be.
func (c *Catalog) Blob(ctx context.Context, project, seq int64) (blob string, err error) {
	err = c.read.QueryRowContext(ctx, `SELECT blob FROM segments WHERE project = ? AND seq = ?`, project, seq).Scan(&blob)
	if err != nil {
		return "", fmt.Errorf("look up segment %d: %w", seq, err)
	}
	return blob, nil
}

// Segment implements journal.Catalog.
func (c *Catalog) Segment(ctx context.Context, project, seq int64) (journal.Segment, error) {
	var found *journal.Segment
	err := c.segments(ctx, project, seq, seq, func(s journal.Segment) error {
		found = &s
		return nil
	})
	if err == nil && found == nil {
		err = sql.ErrNoRows
	}
	if err != nil {
		return journal.Segment{}, fmt.Errorf("look up segment %d: %w", seq, err)
	}
	return *found, nil
}

// Cursors returns a source's cursors by position.
func (c *Catalog) Cursors(ctx context.Context, project int64, source string) (map[string][]byte, error) {
	rows, err := c.read.QueryContext(ctx, `SELECT position, value FROM cursors WHERE project = ? AND source = ?`, project, source)
	if err != nil {
		return nil, fmt.Errorf("cursors of %s: %w", source, err)
	}
	defer rows.Close()
	cursors := map[string][]byte{}
	for rows.Next() {
		var position string
		var value []byte
		if err := rows.Scan(&position, &value); err != nil {
			return nil, fmt.Errorf("cursors of %s: %w", source, err)
		}
		cursors[position] = value
	}
	return cursors, rows.Err()
}

// Segments visits a project's segments in order.
func (c *Catalog) Segments(ctx context.Context, project int64, fn func(journal.Segment) error) error {
	return c.segments(ctx, project, 0, math.MaxInt64, fn)
}

// segments visits the segments of the seals from one to another.
func (c *Catalog) segments(ctx context.Context, project, from, to int64, fn func(journal.Segment) error) error {
	rows, err := c.read.QueryContext(ctx, `SELECT s.seq, s.blob, s.size, s.sealed_at, s.extents, s.places, m.blob, m.from_seq, m.to_seq, m.revision, m.size, s.key_count
		FROM segments s LEFT JOIN merged m ON m.project = s.project AND m.to_seq = s.merged WHERE s.project = ? AND s.seq BETWEEN ? AND ? ORDER BY s.seq`, project, from, to)
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		s, _, err := scanPlaced(rows, project)
		if err != nil {
			return fmt.Errorf("list segments: %w", err)
		}
		if err := fn(s); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Extents visits the extents of a project's segments, for planning: see
// pipeline.Segments. Those that retention has removed are left out. fn must not keep
// its slice, which is used again.
func (c *Catalog) Extents(ctx context.Context, project int64, kind journal.Kind, after, to int64, fn func(seq int64, extents []pipeline.Extent) error) error {
	rows, err := c.read.QueryContext(ctx, `SELECT seq, sealed_at, extents FROM segments WHERE project = ? AND seq > ? AND seq <= ? ORDER BY seq`, project, after, to)
	if err != nil {
		return fmt.Errorf("list extents: %w", err)
	}
	return visitExtents(rows, kind, fn)
}

// ExtentsOutside visits the extents that Extents visits, of those segments that have dates
// before first or after last. Other dates of these segments are visited, too.
func (c *Catalog) ExtentsOutside(ctx context.Context, project int64, kind journal.Kind, after, to int64, first, last journal.Day, fn func(seq int64, extents []pipeline.Extent) error) error {
	rows, err := c.read.QueryContext(ctx, `SELECT seq, sealed_at, extents FROM segments WHERE project = ? AND seq > ? AND seq <= ? AND (from_day < ? OR to_day > ?) ORDER BY seq`,
		project, after, to, int64(first), int64(last))
	if err != nil {
		return fmt.Errorf("list extents: %w", err)
	}
	return visitExtents(rows, kind, fn)
}

// visitExtents visits the extents of the segments in rows, and closes rows.
func visitExtents(rows *sql.Rows, kind journal.Kind, fn func(seq int64, extents []pipeline.Extent) error) error {
	defer rows.Close()
	var seq, sealed int64
	var packed sql.RawBytes
	var all []journal.Extent
	var some []pipeline.Extent
	var err error
	for rows.Next() {
		if err := rows.Scan(&seq, &sealed, &packed); err != nil {
			return fmt.Errorf("list extents: %w", err)
		}
		sealedAt := fromMillis(sealed)
		if all, err = unpackSegment(all[:0], packed); err != nil {
			return fmt.Errorf("extents of segment %d: %w", seq, err)
		}
		some = some[:0]
		for i, e := range all {
			if e.Kind == kind && e.Blocks > 0 {
				some = append(some, pipeline.Extent{
					Ref: journal.ExtentRef{Seq: seq, Index: i}, UTCDate: e.UTCDate, ZoneDate: e.ZoneDate,
					Rows: e.Rows, RowsBytes: e.RowsBytes, Bytes: e.Bytes, SealedAt: sealedAt,
				})
			}
		}
		if err := fn(seq, some); err != nil {
			return err
		}
	}
	return rows.Err()
}

// A segment's extents are stored as varints: count, then for each kind, UTC
// date, days from it to the zone's date, rows, rows' bytes, bytes as stored,
// blocks, least time, seconds from it to the most.
func packSegment(extents []journal.Extent) []byte {
	b := binary.AppendUvarint(nil, uint64(len(extents)))
	for _, e := range extents {
		for _, v := range [...]int64{
			int64(e.Kind), int64(e.UTCDate), int64(e.ZoneDate - e.UTCDate), e.Rows, e.RowsBytes, e.Bytes, e.Blocks, e.MinTime, e.MaxTime - e.MinTime,
		} {
			b = binary.AppendVarint(b, v)
		}
	}
	return b
}

func unpackSegment(dst []journal.Extent, b []byte) ([]journal.Extent, error) {
	count, b, err := unpackCount(b)
	for range count {
		var v [9]int64
		if b, err = unpackInts(v[:], b); err != nil {
			break
		}
		dst = append(dst, journal.Extent{
			Partition: journal.Partition{Kind: journal.Kind(v[0]), UTCDate: journal.Day(v[1]), ZoneDate: journal.Day(v[1] + v[2])},
			Rows:      v[3], RowsBytes: v[4], Bytes: v[5], Blocks: v[6], MinTime: v[7], MaxTime: v[7] + v[8],
		})
	}
	return dst, err
}

// unpackCount returns the length of a packed list, which is 0 with an error, and its
// packed items. An item takes a byte at least.
func unpackCount(b []byte) (count uint64, items []byte, err error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) {
		return 0, nil, errDamaged
	}
	return count, b[n:], nil
}

// unpackInts fills v with the integers that b begins with, and returns the rest of b.
func unpackInts(v []int64, b []byte) (rest []byte, err error) {
	for i := range v {
		value, n := binary.Varint(b)
		if n <= 0 {
			return nil, errDamaged
		}
		v[i], b = value, b[n:]
	}
	return b, nil
}

var errDamaged = errors.New("the list is damaged")
