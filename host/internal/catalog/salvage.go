package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Salvage is the part of another catalog that RestoreFrom has copied.
type Salvage struct {
	Pipelines int64
	Runs      int64
	// RunsError says why the runs could not be read; nil: they were.
	RunsError error
	// QuarantineError says the same of the quarantine's ledger.
	QuarantineError error
}

// ErrOtherJournal says that a catalog lists seals that the journal does not
// have: its pipelines' cursors mean nothing there.
var ErrOtherJournal = errors.New("it lists seals that the journal does not have")

// RestoreFrom copies the identity, the pipelines with their ids, cursors and
// targets, the runs and the quarantine's ledger of the catalog in the file at
// path, which no other process has open and which has the present schema. The
// receiver holds the segments of the same journal. Without an error at least the
// pipelines were copied; with one, nothing was. DiskFailed reports whether the
// error is the disk's, and so says nothing about the old catalog.
func (c *Catalog) RestoreFrom(ctx context.Context, path string) (s Salvage, err error) {
	conn, err := c.write.Conn(ctx)
	if err != nil {
		return s, fmt.Errorf("restore from catalog %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, `ATTACH DATABASE ? AS old`, path); err != nil {
		return s, fmt.Errorf("restore from catalog %s: %w", path, err)
	}
	defer func() {
		_, detachErr := conn.ExecContext(ctx, `DETACH DATABASE old`)
		err = errors.Join(err, detachErr)
	}()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return s, fmt.Errorf("restore from catalog %s: %w", path, err)
	}
	if s, err = restore(ctx, tx); err != nil {
		return Salvage{}, errors.Join(fmt.Errorf("restore from catalog %s: %w", path, err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return Salvage{}, fmt.Errorf("restore from catalog %s: %w", path, err)
	}
	return s, nil
}

// restore copies from the catalog that is attached as "old".
func restore(ctx context.Context, tx *sql.Tx) (s Salvage, err error) {
	if err := sameJournal(ctx, tx); err != nil {
		return s, err
	}
	for _, statement := range []string{
		`UPDATE identity SET id = (SELECT id FROM old.identity)`,
		`INSERT INTO pipelines SELECT * FROM old.pipelines`,
		`INSERT INTO targets SELECT * FROM old.targets`,
		`INSERT INTO pipeline_gaps SELECT * FROM old.pipeline_gaps`,
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return s, err
		}
	}
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM pipelines`).Scan(&s.Pipelines); err != nil {
		return s, err
	}
	if s.RunsError = part(ctx, tx, `INSERT INTO runs SELECT * FROM old.runs`); s.RunsError == nil {
		err = tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM runs`).Scan(&s.Runs)
	}
	s.QuarantineError = part(ctx, tx, `INSERT INTO quarantine SELECT * FROM old.quarantine`)
	for _, failed := range []error{s.RunsError, s.QuarantineError} {
		if DiskFailed(failed) {
			return s, failed // the old catalog may be whole
		}
	}
	return s, err
}

// part carries out a statement wholly or not at all, and leaves the transaction
// usable when it fails.
func part(ctx context.Context, tx *sql.Tx, statement string) error {
	if _, err := tx.ExecContext(ctx, `SAVEPOINT part`); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, statement)
	if err != nil {
		_, undone := tx.ExecContext(ctx, `ROLLBACK TO part`)
		err = errors.Join(err, undone)
	}
	_, released := tx.ExecContext(ctx, `RELEASE part`)
	return errors.Join(err, released)
}

// sameJournal returns ErrOtherJournal if the old catalog lists another segment
// at a sequence, or a cursor that is ahead of the journal.
func sameJournal(ctx context.Context, tx *sql.Tx) error {
	for _, query := range []string{
		`SELECT COUNT(*) FROM old.segments o WHERE NOT EXISTS
			(SELECT 1 FROM segments s WHERE s.project = o.project AND s.seq = o.seq AND s.blob = o.blob)`,
		`SELECT COUNT(*) FROM old.pipelines p WHERE NOT EXISTS
			(SELECT 1 FROM projects j WHERE j.id = p.project AND j.seq >= MAX(p.cursor ->> '$.live.seq', p.cursor ->> '$.cut'))`,
	} {
		var other int64
		if err := tx.QueryRowContext(ctx, query).Scan(&other); err != nil {
			return err
		}
		if other > 0 {
			return ErrOtherJournal
		}
	}
	return nil
}

// Check reads the whole catalog and returns an error if its file is damaged.
func (c *Catalog) Check(ctx context.Context) error {
	var result string
	if err := c.read.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&result); err != nil {
		return fmt.Errorf("check catalog: %w", err)
	}
	if result != "ok" {
		return fmt.Errorf("check catalog: %w: %s", ErrDamaged, result)
	}
	return nil
}
